"""Units of work: ranges of row groups of one Parquet file, planned from footers alone.

1. Each row group of each fragment is in exactly one unit; a unit never spans two fragments.
2. The plan depends on the fragments and the target size only, never on workers or time; it is frozen in the run before
   anything runs. So a unit of yesterday is found again by its `identity`.
3. A unit carries its own row groups, not those of the whole file: a file of many units would travel with each of them.
4. A unit of a *replay* gives only the rows that a quarantine file names. Which rows those are stays in that file: a
   worker reads it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dataops.datasets.snapshot import Fragment, RowGroup
from dataops.errors import Integrity
from dataops.records import Record, digest

TARGET_BYTES = 64 * 2**20  # decoded, as far as footers tell: see `row_groups`


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Row groups `start_group` to `stop_group` (exclusive) of a file; `first_row` is their offset in it.

    Attributes
    ----------
    fragment : the file, with these row groups alone.
    aside : of a replay: the quarantine file whose rows alone are read, relative to the quarantine's folder.
    aside_key : of a replay over a file that changed: columns by whose values those rows are found again; none: by their
        place.
    """

    id: str
    fragment: Fragment
    start_group: int
    stop_group: int
    first_row: int
    aside: Fragment | None = None
    aside_key: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.fragment.row_groups) != self.stop_group - self.start_group:
            raise Integrity(
                f"unit {self.id}: row groups {self.start_group} to {self.stop_group} are "
                f"{self.stop_group - self.start_group}, {len(self.fragment.row_groups)} came along"
            )

    @property
    def groups(self) -> tuple[RowGroup, ...]:
        """The row groups of this unit."""
        return self.fragment.row_groups

    @property
    def rows(self) -> int:
        """Rows to account for: those of the row groups, of a replay those of the quarantine file."""
        return self.aside.rows if self.aside is not None else self.fragment.rows

    @property
    def size_bytes(self) -> int:
        """Bytes of all columns once they are decoded, as far as the footer tells."""
        return sum(group.size_bytes for group in self.groups)

    @property
    def identity(self) -> str:
        """Digest of which rows these are: the file as it was found, and the range of row groups."""
        return digest([self.fragment.identity, self.start_group, self.stop_group])

    def rows_of(self, group: int) -> int:
        """Rows of the row group `group`, counted in the file."""
        return self.groups[group - self.start_group].rows

    def record(self) -> Record:
        """JSON types, with the fragment by its path: `plan_from_record` puts both together again."""
        record: Record = {
            "id": self.id,
            "path": self.fragment.path,
            "start_group": self.start_group,
            "stop_group": self.stop_group,
            "first_row": self.first_row,
            "groups": self.fragment.record()["row_groups"],
        }
        if self.aside is None:
            return record
        return {**record, "aside": self.aside.record(), "aside_key": list(self.aside_key)}


def plan_units(fragments: Iterable[Fragment], target_bytes: int = TARGET_BYTES) -> tuple[Unit, ...]:
    """Units of about `target_bytes` each once decoded, in the order of `fragments`; none of a fragment without rows."""
    ranges = (
        (_with_groups(fragment, start, stop), start, stop, first_row)
        for fragment in fragments
        for start, stop, first_row, rows in _ranges(fragment.row_groups, target_bytes)
        if rows
    )
    return tuple(
        Unit(id=f"u{number:06d}", fragment=fragment, start_group=start, stop_group=stop, first_row=first_row)
        for number, (fragment, start, stop, first_row) in enumerate(ranges)
    )


def _with_groups(fragment: Fragment, start: int, stop: int) -> Fragment:
    """The file with the row groups `start` to `stop` alone."""
    if stop - start == len(fragment.row_groups):
        return fragment
    return replace(fragment, row_groups=fragment.row_groups[start:stop])


def _ranges(groups: Sequence[RowGroup], target_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    """Start, stop, first row and number of rows of each range, in one pass: a file may have many row groups."""
    start, first_row, rows, size_bytes = 0, 0, 0, 0
    for index, group in enumerate(groups):
        if index > start and size_bytes + group.size_bytes > target_bytes:
            yield start, index, first_row, rows
            start, first_row, rows, size_bytes = index, first_row + rows, 0, 0
        rows += group.rows
        size_bytes += group.size_bytes
    if start < len(groups):
        yield start, len(groups), first_row, rows


def plan_record(units: Sequence[Unit]) -> Record:
    """The plan as JSON types: files once, units by path, each with its own row groups."""
    files = {unit.fragment.path: replace(unit.fragment, row_groups=()) for unit in units}
    return {
        "fragments": [file.record() for file in files.values()],
        "units": [unit.record() for unit in units],
    }


def plan_from_record(record: Mapping[str, Any]) -> tuple[Unit, ...]:
    """The units that `plan_record` wrote."""
    fragments = {item["path"]: Fragment.from_record(item) for item in record["fragments"]}
    return tuple(_unit_from_record(item, fragments[item["path"]]) for item in record["units"])


def _unit_from_record(item: Mapping[str, Any], file: Fragment) -> Unit:
    start, stop = item["start_group"], item["stop_group"]
    groups = tuple(RowGroup(rows=rows, size_bytes=size) for rows, size in item.get("groups", ()))
    return Unit(
        id=item["id"],
        # a plan of an older release has all row groups with the file, and none with the unit
        fragment=replace(file, row_groups=groups or file.row_groups[start:stop]),
        start_group=start,
        stop_group=stop,
        first_row=item["first_row"],
        aside=Fragment.from_record(item["aside"]) if "aside" in item else None,
        aside_key=tuple(item.get("aside_key", ())),
    )
