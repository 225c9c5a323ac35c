"""What parts the rows to learn from into groups, whole ones of which are held out: as the job's split parts them.

1. Rows of one key (a person, an evening) are in one group where the split goes by the hash of keys: another hash than
   the split's, which leaves a part of its range to the other side.
2. Where it goes by time, groups are runs of time with about as many rows each, the newest rows in group 0: what is held
   out is newer than what is learnt from. Whole days stay together, or hours where there are few days.
3. Without a split, or where the split's columns can't be read, rows are parted by their place in the file, and it is
   said why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataops.datasets.access import GovernedInput
from dataops.declarations.train import TrainJob
from dataops.governance.masking import MaskKind
from dataops.records import Record
from dataops.training.groups import GROUPS, Groups

KEYS, TIME = "keys", "time"
_DOMAIN = b"dataops/groups/keys/1"
_BETWEEN, _NULL = "\x1f", "\x00"  # as in `preparation.split`: they keep ("a", "bc") apart from ("ab", "c")
_DAY = 24
_FEW_DAYS = 2 * GROUPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """How rows are parted into groups.

    Attributes
    ----------
    keys : columns; rows of equal values are in one group.
    time : a column of times or dates. Neither of both: by place in the file.
    starts, groups : of times, ascending hours since 1970, and the group of the rows from there on.
    why : why the split's columns don't decide, in words; None where they do, or where there is no split.
    """

    keys: tuple[str, ...] = ()
    time: str | None = None
    starts: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    why: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """What has to be read."""
        return (self.time,) if self.time is not None else self.keys

    def record(self) -> Record:
        """What a version's lineage says of it."""
        return {KEYS: list(self.keys)} if self.keys else {TIME: self.time} if self.time else {"place": True}

    def __str__(self) -> str:
        how = f"by {', '.join(self.columns)}, as the split is" if self.columns else "by their place in the file"
        return f"rows held out of training are parted {how}{f': {self.why}' if self.why else ''}"


BY_PLACE = Grouping()


def needs_groups(job: TrainJob) -> bool:
    """Whether `job` holds rows to learn from out of something."""
    features = job.features
    by_target = any(one.encode == "target" for one in (*features.categorical_groups, *features.all_crosses))
    return by_target or any(one.search or one.calibrate or one.params.get("early_stopping") for one in job.candidates)


def grouping_of(given: GovernedInput) -> Grouping:
    """How the rows of `given` are parted: as its split, as far as that can be known and read."""
    lineage = given.dataset.lineage
    if not lineage.get("split"):
        return BY_PLACE
    declared = lineage.get("split_by")
    if not declared:
        return Grouping(why="an earlier release prepared the dataset, which didn't say what it was split by")
    names = [declared[TIME]] if TIME in declared else declared[KEYS]
    if hidden := _hidden(given, names, by_time=TIME in declared):
        return Grouping(why=hidden)
    return Grouping(time=names[0]) if TIME in declared else Grouping(keys=tuple(names))


def _hidden(given: GovernedInput, names: Sequence[str], *, by_time: bool) -> str | None:
    """Why the split's columns can't decide; None where they can."""
    there, effect = {column.name for column in given.dataset.contract.columns}, given.grant.effect.columns
    if missing := [name for name in names if name not in there]:
        what = f"'{given.dataset.name}' has no column {', '.join(missing)}, which it was split by; keep it in `columns`"
    elif denied := [name for name in names if name not in effect]:
        what = f"the policies deny {', '.join(denied)}, which '{given.dataset.name}' was split by"
    elif masked := [name for name in names if not _tells_alike(effect[name], by_time=by_time)]:
        what = f"the policies mask {', '.join(masked)}, which '{given.dataset.name}' was split by"
    else:
        return None
    alike = "of one time" if by_time else "of one key"
    return f"{what}. Rows {alike} may be held out and learnt from, and figures on rows held out too good"


def _tells_alike(mask: object, *, by_time: bool) -> bool:
    return mask is None or (not by_time and getattr(mask, "kind", None) is MaskKind.PSEUDONYM)


def groups_by(grouping: Grouping, table: pa.Table) -> Groups:
    """The group of each row of `table`, uint8 (n_rows,), by the columns of `grouping`."""
    if grouping.time is None:
        return _key_groups([table.column(name) for name in grouping.keys])
    places = np.searchsorted(np.array(grouping.starts), hours_of(table.column(grouping.time)), side="right") - 1
    return np.array(grouping.groups, np.uint8)[np.maximum(places, 0)]


def _key_groups(keys: Sequence[pa.ChunkedArray]) -> Groups:
    texts = [key.cast(pa.string()) for key in keys]
    joined = pc.binary_join_element_wise(*texts, _BETWEEN, null_handling="replace", null_replacement=_NULL)
    codes = joined.combine_chunks().dictionary_encode()
    hashed = [blake2b(value.encode(), key=_DOMAIN, digest_size=1).digest()[0] for value in codes.dictionary.to_pylist()]
    by_value = np.array(hashed, np.uint8) % np.uint8(GROUPS)
    found: Groups = by_value[codes.indices.to_numpy()]
    return found


def hours_of(times: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Hours since 1970 of each time, int64 (n_rows,); the latest there is, of none."""
    moments = times.cast(pa.timestamp("s", tz=getattr(times.type, "tz", None)), safe=False).cast(pa.int64())
    seconds = pc.fill_null(moments, np.iinfo(np.int64).max).to_numpy()
    found: npt.NDArray[np.int64] = seconds // 3600
    return found


def count_hours(hours: npt.NDArray[np.int64]) -> dict[int, int]:
    """Rows by hour."""
    values, counts = np.unique(hours, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def with_times(grouping: Grouping, counted: Iterable[Mapping[int, int]]) -> Grouping:
    """`grouping` with its runs of time, from rows by hour: the same for any cut of the rows."""
    hours: Counter[int] = Counter()
    for one in counted:
        hours.update(one)
    days: Counter[int] = Counter()
    for hour, rows in hours.items():
        days[hour // _DAY * _DAY] += rows
    cells = days if len(days) >= _FEW_DAYS else hours
    total, newer, found = sum(cells.values()), 0, []
    for cell in sorted(cells, reverse=True):
        found.append((cell, newer * GROUPS // total))
        newer += cells[cell]
    found.reverse()
    kept = [one for number, one in enumerate(found) if number == 0 or one[1] != found[number - 1][1]]
    starts, groups = zip(*kept, strict=True) if kept else ((0,), (0,))
    return Grouping(time=grouping.time, starts=starts, groups=groups)
