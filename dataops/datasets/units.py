"""Units of work: ranges of row groups of one Parquet file, planned from footers alone.

1. Each row group of each fragment is in exactly one unit; a unit never spans two fragments.
2. The plan depends on the fragments and the target size only, never on workers or time; it is frozen in the run before
   anything runs.
3. A unit of a *replay* gives only the rows that a quarantine file names. Which rows those are stays in that file: a
   worker reads it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataops.datasets.snapshot import Fragment, RowGroup
from dataops.records import Record

TARGET_BYTES = 64 * 2**20  # uncompressed, as encoded: in memory a unit is a multiple of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Row groups `start_group` to `stop_group` (exclusive) of `fragment`; `first_row` is their offset in the file.

    Attributes
    ----------
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

    @property
    def groups(self) -> tuple[RowGroup, ...]:
        """The row groups of this unit."""
        return self.fragment.row_groups[self.start_group : self.stop_group]

    @property
    def rows(self) -> int:
        """Rows to account for: those of the row groups, of a replay those of the quarantine file."""
        return self.aside.rows if self.aside is not None else sum(group.rows for group in self.groups)

    @property
    def size_bytes(self) -> int:
        """Uncompressed bytes of all columns as encoded, from the footer; in memory they may be several times that."""
        return sum(group.size_bytes for group in self.groups)

    def record(self) -> Record:
        """JSON types, with the fragment by its path: `plan_from_record` puts both together again."""
        record: Record = {
            "id": self.id,
            "path": self.fragment.path,
            "start_group": self.start_group,
            "stop_group": self.stop_group,
            "first_row": self.first_row,
        }
        if self.aside is None:
            return record
        return {**record, "aside": self.aside.record(), "aside_key": list(self.aside_key)}


def plan_units(fragments: Iterable[Fragment], target_bytes: int = TARGET_BYTES) -> tuple[Unit, ...]:
    """Units of about `target_bytes` uncompressed bytes each, in the order of `fragments`; a fragment without rows has
    none.
    """
    ranges = (
        (fragment, start, stop, first_row)
        for fragment in fragments
        for start, stop, first_row, rows in _ranges(fragment.row_groups, target_bytes)
        if rows
    )
    return tuple(
        Unit(id=f"u{number:06d}", fragment=fragment, start_group=start, stop_group=stop, first_row=first_row)
        for number, (fragment, start, stop, first_row) in enumerate(ranges)
    )


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
    """The plan as JSON types: fragments once, units by path."""
    fragments = {unit.fragment.path: unit.fragment for unit in units}
    return {
        "fragments": [fragment.record() for fragment in fragments.values()],
        "units": [unit.record() for unit in units],
    }


def plan_from_record(record: Mapping[str, Any]) -> tuple[Unit, ...]:
    """The units that `plan_record` wrote."""
    fragments = {item["path"]: Fragment.from_record(item) for item in record["fragments"]}
    return tuple(
        Unit(
            id=item["id"],
            fragment=fragments[item["path"]],
            start_group=item["start_group"],
            stop_group=item["stop_group"],
            first_row=item["first_row"],
            aside=Fragment.from_record(item["aside"]) if "aside" in item else None,
            aside_key=tuple(item.get("aside_key", ())),
        )
        for item in record["units"]
    )
