"""What workers do in a survey: duplicates and frequent values found by hash, without a shuffle of rows.

1. `hash_unit`, per unit: a keyed 64-bit hash per row and key, put into buckets by the hash.
2. `compare_bucket`, per bucket of hashes: rows of which two or more have one hash are candidates; rare-masked values
   are counted.
3. `look_again`, per unit with candidates: the second look, at the values themselves: a keyed 128-bit digest of the
   canonical values of the candidates. Two values that share a hash by chance part here (in 10**12 rows they wouldn't
   with a chance of 10**-14, see `pseudonyms`), so the answer is exact and no value leaves the worker's memory.
4. `settle_bucket`, per bucket: of the candidates with one digest the first in the order of the dataset stays.
5. `write_repeats`, per fragment with duplicates: the file that the governed read looks into.

Files in between have names of their own for each attempt, since Dask may run a task twice; a task says which it wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.datasets.allowed import AllowedRows, read_allowed
from dataops.datasets.commit import parquet_bytes
from dataops.datasets.partitioned import read_parts, write_partitioned
from dataops.datasets.reading import Source
from dataops.datasets.survey import Asked, SurveyFile, fragment_id, survey_key
from dataops.datasets.units import Unit
from dataops.governance.hashing import keyed_hashes
from dataops.governance.plain_types import plain_column
from dataops.governance.pseudonyms import pseudonyms
from dataops.records import digest_bytes, new_nonce
from dataops.storage.files import DataFiles, open_files

# question: a place in Asked.keys (of a count: in Asked.rare); unit: its number; row: offset in its file
HASHED = np.dtype([("question", "<i2"), ("hash", "<u8"), ("unit", "<i4"), ("row", "<i8")])
LOOKED = np.dtype([*HASHED.descr, ("high", "<u8"), ("low", "<u8")])
COUNTED = np.dtype([("question", "<i2"), ("hash", "<u8"), ("count", "<i8")])

_MICROSECONDS = {"s": 10**6, "ms": 10**3, "us": 1}
_DAY = 86_400 * 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyContext:
    """What a worker needs for a step of a survey.

    Attributes
    ----------
    url : of the survey's folder.
    folder : for the files in between, relative to `url`.
    units, buckets : how many there are.
    files : what the step before wrote, relative to `url`.
    counts : of the first step, the files with counts of rare-masked values.
    """

    source: Source
    asked: Asked
    key_id: str | None
    url: str
    folder: str
    units: int
    buckets: int
    files: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()

    @property
    def place(self) -> DataFiles:
        """The files of the survey."""
        return open_files(self.url)

    @property
    def key(self) -> bytes:
        """The key that values are hashed with, read by the worker itself."""
        return survey_key(self.source.keys_folder, str(self.key_id))

    def after(self, *, files: Sequence[str | None], counts: Sequence[str | None] = ()) -> SurveyContext:
        """The context of the next step, which reads `files` and `counts` (without those that weren't written)."""
        written = [tuple(path for path in some if path is not None) for some in (files, counts)]
        return replace(self, files=written[0], counts=written[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedUnit:
    """What `hash_unit` says: rows let through, files written, and for each of ``Asked.newest`` the newest time."""

    rows: int
    hashes: str | None = None
    counts: str | None = None
    newest: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a step found: the file that it wrote, and how many rows it has by number of unit and by question."""

    file: str | None = None
    units: dict[int, int] = field(default_factory=dict)
    questions: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What `compare_bucket` found: candidates, and for each of ``Asked.rare`` the sorted hashes of frequent values."""

    candidates: Found
    frequent: tuple[np.ndarray, ...]


def number_of(unit: Unit) -> int:
    """The number of a unit (or bucket) of a survey, whose units are numbered in the order of the dataset's rows."""
    return int(unit.id[1:])


def hash_unit(context: SurveyContext, unit: Unit) -> HashedUnit:
    """The first look at the rows of `unit`."""
    asked = context.asked
    rows = read_allowed(context.source, unit, asked.columns)
    hashed = [_hashed_rows(context, rows, unit, place) for place in range(len(asked.keys))]
    counted = [_counted_values(context, rows, place) for place in range(len(asked.rare))]
    in_buckets = partial(_write, context, unit, parts=context.buckets)
    return HashedUnit(
        rows=len(rows.places),
        hashes=in_buckets("hashes", np.concatenate(hashed), _bucket) if hashed else None,
        counts=in_buckets("counts", np.concatenate(counted), _bucket) if counted else None,
        newest=tuple(newest_time(rows.table.column(name)) for name in asked.newest),
    )


def _hashed_rows(context: SurveyContext, rows: AllowedRows, unit: Unit, place: int) -> np.ndarray:
    columns = [rows.table.column(name) for name in context.asked.keys[place]]
    complete = _complete(columns, len(rows.places))
    hashed = np.empty(int(complete.sum()), HASHED)
    hashed["question"], hashed["unit"] = place, number_of(unit)
    hashed["hash"] = keyed_hashes(columns, key=context.key)[complete]
    hashed["row"] = rows.places.in_file()[complete]
    return hashed


def _complete(columns: Sequence[pa.ChunkedArray], n_rows: int) -> np.ndarray:
    """Which rows have a value in all `columns`: a null equals nothing."""
    complete = np.ones(n_rows, dtype=bool)
    for column in columns:
        complete &= np.asarray(pc.is_valid(column))
    return complete


def _counted_values(context: SurveyContext, rows: AllowedRows, place: int) -> np.ndarray:
    column = rows.table.column(context.asked.rare[place][0])
    hashes = keyed_hashes([column], key=context.key)[np.asarray(pc.is_valid(column))]
    values, counts = np.unique(hashes, return_counts=True)
    counted = np.empty(len(values), COUNTED)
    counted["question"], counted["hash"], counted["count"] = place, values, counts
    return counted


def newest_time(column: pa.ChunkedArray) -> int | None:
    """The newest time in `column` in microseconds since 1970 UTC; None where there is none.

    A date counts as the end of its day: rows of a day may come until then. A time without zone counts as UTC.
    """
    type_ = column.type
    if pa.types.is_date(type_):
        day = pc.max(column.cast(pa.date32()).cast(pa.int32())).as_py()
        return None if day is None else (day + 1) * _DAY
    ticks = pc.max(column.cast(pa.int64())).as_py()  # never by way of `datetime`, whose range is smaller
    if ticks is None or type_.unit == "ns":
        return None if ticks is None else int(ticks) // 1000
    return int(ticks) * _MICROSECONDS[type_.unit]


def compare_bucket(context: SurveyContext, bucket: Unit) -> Compared:
    """The rows of `bucket` that share their hash with another, and the values that are frequent enough."""
    take = partial(read_parts, context.place, number=number_of(bucket), parts=context.buckets)
    hashed = take(paths=context.files, dtype=HASHED)
    counted = take(paths=context.counts, dtype=COUNTED)
    return Compared(
        candidates=_found(context, bucket, "candidates", hashed[_shared(hashed)]),
        frequent=tuple(_frequent(counted, place, least) for place, (_, least) in enumerate(context.asked.rare)),
    )


def _shared(hashed: np.ndarray) -> np.ndarray:
    """Which rows have the hash of another row of their question."""
    shared = np.zeros(len(hashed), dtype=bool)
    for place in np.unique(hashed["question"]):
        mine = np.flatnonzero(hashed["question"] == place)
        hashes = np.ascontiguousarray(hashed["hash"][mine])
        in_order = np.sort(hashes)  # values alone: several times as fast as an order of rows, which few datasets need
        repeated = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
        if len(repeated):
            shared[mine] = np.isin(hashes, repeated)
    return shared


def _same_as_before(sorted_rows: np.ndarray, *names: str) -> np.ndarray:
    """Which of `sorted_rows` equal the one before in the fields `names`."""
    same = np.zeros(len(sorted_rows), dtype=bool)
    if len(same):
        same[1:] = np.logical_and.reduce([sorted_rows[name][1:] == sorted_rows[name][:-1] for name in names])
    return same


def _frequent(counted: np.ndarray, place: int, least: int) -> np.ndarray:
    mine = counted[counted["question"] == place]
    values, which = np.unique(mine["hash"], return_inverse=True)
    totals = np.zeros(len(values), np.int64)
    np.add.at(totals, which, mine["count"])
    return values[totals >= least]


def look_again(context: SurveyContext, unit: Unit) -> str | None:
    """The second look at the candidates of `unit`: the file with the digests of their values, in buckets."""
    candidates = read_parts(context.place, context.files, number_of(unit), dtype=HASHED, parts=context.units)
    concerned = [context.asked.keys[place] for place in np.unique(candidates["question"])]
    rows = read_allowed(context.source, unit, {name for key in concerned for name in key})
    looked, positions = np.empty(len(candidates), LOOKED), rows.places.in_file()
    for name in HASHED.names or ():
        looked[name] = candidates[name]
    for place in np.unique(candidates["question"]):
        mine = candidates["question"] == place
        at = np.searchsorted(positions, candidates["row"][mine])
        columns = [rows.table.column(name).take(pa.array(at)) for name in context.asked.keys[place]]
        looked["high"][mine], looked["low"][mine] = _value_digests(columns, context.key)
    return _write(context, unit, "looks", looked, _bucket, parts=context.buckets)


def _value_digests(columns: Sequence[pa.ChunkedArray], key: bytes) -> tuple[np.ndarray, np.ndarray]:
    """128 bits per row, equal where the canonical values of all `columns` are."""
    parts = [pseudonyms(_comparable(plain_column(column)), key=key).to_pylist() for column in columns]
    joined = b"".join(
        blake2b("".join(row).encode(), digest_size=16, key=key).digest() for row in zip(*parts, strict=True)
    )
    words = np.frombuffer(joined, "<u8").reshape(-1, 2)
    return words[:, 0], words[:, 1]


def _comparable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`column` in a type that has pseudonyms, equal where its values are: they are compared within it alone."""
    type_ = column.type
    if pa.types.is_floating(type_):
        numbers = column.cast(pa.float64()).to_numpy() + 0.0  # no negative zero
        bits = np.where(np.isnan(numbers), np.nan, numbers).view(np.int64)
        return pa.chunked_array([pa.array(bits)])
    if pa.types.is_time(type_):
        return column.cast(pa.int32() if type_.bit_width == 32 else pa.int64())
    if pa.types.is_fixed_size_binary(type_):
        return column.cast(pa.binary())
    return column.cast(pa.string()) if pa.types.is_decimal(type_) else column


def settle_bucket(context: SurveyContext, bucket: Unit) -> Found:
    """The duplicates of `bucket`: of the rows with equal values, all but the first of the dataset."""
    looked = read_parts(context.place, context.files, number_of(bucket), dtype=LOOKED, parts=context.buckets)
    fields = ("question", "hash", "high", "low", "unit", "row")
    looked = looked[np.lexsort([looked[name] for name in reversed(fields)])]
    return _found(context, bucket, "duplicates", looked[_same_as_before(looked, *fields[:4])])


def _found(context: SurveyContext, bucket: Unit, kind: str, rows: np.ndarray) -> Found:
    if not len(rows):
        return Found()
    plain = np.empty(len(rows), HASHED)
    for name in HASHED.names or ():
        plain[name] = rows[name]
    return Found(
        file=_write(context, bucket, kind, plain, _unit, parts=context.units),
        units=_tally(plain["unit"]),
        questions=_tally(plain["question"]),
    )


def _tally(numbers: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(numbers, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatsContext:
    """What a worker needs to write the repeats of a fragment: `units_of` has the first and last unit of each."""

    context: SurveyContext
    units_of: dict[str, tuple[int, int]]


def write_repeats(given: RepeatsContext, fragment: Unit) -> tuple[str, SurveyFile]:
    """The name of the fragment, and its file: which rows repeat the key of an earlier row."""
    context = given.context
    first, last = given.units_of[fragment.id]
    take = partial(read_parts, context.place, context.files, dtype=HASHED, parts=context.units)
    rows = np.concatenate([take(number=number) for number in range(first, last + 1)])
    rows = rows[np.lexsort((rows["question"], rows["row"]))]
    name = fragment_id(fragment.fragment)
    table = pa.table({"row": rows["row"].copy(), "key": rows["question"].copy()})
    return name, write_answer(context, f"repeated/{name}", table)


def write_answer(context: SurveyContext, name: str, table: pa.Table) -> SurveyFile:
    """A file of the answer; its name is this attempt's own."""
    data = parquet_bytes(table)
    path = f"{name}-{new_nonce()}.parquet"
    context.place.write(path, lambda sink: sink.write(data))
    return SurveyFile(path=path, digest=digest_bytes(data), rows=table.num_rows)


def _write(
    context: SurveyContext,
    unit: Unit,
    kind: str,
    records: np.ndarray,
    part_of: Callable[[np.ndarray, int], np.ndarray],
    *,
    parts: int,
) -> str:
    path = f"{context.folder}/{kind}-{unit.id}-{new_nonce()}.bin"
    write_partitioned(context.place, path, records, part_of(records, parts), parts)
    return path


def _bucket(records: np.ndarray, buckets: int) -> np.ndarray:
    """By the hash's upper half, so that buckets are about equal and in the order of the hashes."""
    return ((records["hash"] >> np.uint64(32)) * np.uint64(buckets) >> np.uint64(32)).astype(np.int64)


def _unit(records: np.ndarray, _units: int) -> np.ndarray:
    return records["unit"].astype(np.int64)
