"""Footers: what Parquet's metadata says of a unit before a row of it is decoded.

1. Statistics decide only which row groups needn't be decoded since no row of them can pass the row filters; what they
   don't say may pass.
2. A partition column has one value in a file: its folder's.
3. Bytes are those of the columns that are asked for, as they are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from dataops.datasets.snapshot import Fragment
from dataops.datasets.source import FOOTER_READERS, HIVE_NULL, footer_digest
from dataops.datasets.units import Unit
from dataops.errors import Integrity, passing
from dataops.governance.contract import Column, Contract
from dataops.governance.expressions import Expression
from dataops.governance.leaves import Leaf, leaves_of
from dataops.governance.plain_types import plain_type
from dataops.governance.pruning import Range, may_pass
from dataops.storage.files import DataFiles, open_files
from dataops.storage.side_by_side import side_by_side

MOST_FILES = 2_000  # looked at in a second or two


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a read of some columns under row filters will touch at most.

    Attributes
    ----------
    rows : of the row groups that may hold a row that passes.
    stored_bytes, read_bytes : of all columns in all row groups, and of those that will be read; compressed.
    groups, groups_read : row groups in all, and those that will be decoded.
    files, files_looked_at : files in all, and those whose footers say so. Of the others all rows are counted, and bytes
        are estimated by their sizes.
    """

    rows: int
    stored_bytes: int
    read_bytes: int
    groups: int
    groups_read: int
    files: int = 1
    files_looked_at: int = 1


def expect(
    url: str,
    contract: Contract,
    units: Sequence[Unit],
    columns: Collection[str],
    filters: Sequence[Expression],
    *,
    most_files: int = MOST_FILES,
) -> Expected:
    """What reading `columns` of `units` below `url` under `filters` will touch, by their footers.

    Parameters
    ----------
    most_files : of more files than this only so many are looked at, evenly spread.

    Raises
    ------
    NotFound, Integrity : a file that is gone or no Parquet any more.
    """
    known = {column.name: column for column in contract.columns}
    paths = {known[name].path for name in columns if name in known}
    files = open_files(url)
    by_file: dict[str, list[Unit]] = {}
    for unit in units:
        by_file.setdefault(unit.fragment.path, []).append(unit)
    every = list(by_file.values())
    looked_at = range(0, len(every), max(1, -(-len(every) // most_files)))
    looked = side_by_side(
        lambda place: _expected(files, contract, every[place], paths, filters), looked_at, threads=FOOTER_READERS
    )
    found = Expected(**{name: sum(getattr(one, name) for one in looked) for name in Expected.__slots__})
    others = [of_one for place, of_one in enumerate(every) if place not in looked_at]
    if not others:
        return found
    return _with_others(found, others, sum(every[place][0].fragment.size_bytes for place in looked_at))


def _with_others(found: Expected, others: Sequence[Sequence[Unit]], looked_at_bytes: int) -> Expected:
    """`found` in files of `looked_at_bytes`, and the units of `others`, whose footers weren't looked at."""
    share = sum(of_one[0].fragment.size_bytes for of_one in others) / max(1, looked_at_bytes)
    groups = sum(len(unit.groups) for of_one in others for unit in of_one)
    return Expected(
        rows=found.rows + sum(unit.rows for of_one in others for unit in of_one),
        stored_bytes=round(found.stored_bytes * (1 + share)),
        read_bytes=round(found.read_bytes * (1 + share)),
        groups=found.groups + groups,
        groups_read=found.groups_read + groups,
        files=found.files + len(others),
        files_looked_at=found.files_looked_at,
    )


def _expected(
    files: DataFiles,
    contract: Contract,
    units: Sequence[Unit],
    paths: Collection[tuple[str, ...]],
    filters: Sequence[Expression],
) -> Expected:
    """What the units of one file will touch: its footer is read once for all of them."""
    fragment = units[0].fragment
    with files.open(fragment.path) as opened:
        if fragment.modified_ns is not None and footer_digest(opened, fragment.path) != fragment.digest:
            raise passing(Integrity(f"{fragment.shown} changed after it was looked at; try again"))
        metadata = pq.read_metadata(opened)
    groups = [group for unit in units for group in range(unit.start_group, unit.stop_group)]
    wanted = {leaf.index for path, leaf in _leaves(metadata).items() if path in paths}
    read = groups_that_may_pass(metadata, fragment, contract, groups, filters)
    return Expected(
        rows=sum(metadata.row_group(group).num_rows for group in read),
        stored_bytes=sum(_stored_bytes(metadata.row_group(group), None) for group in groups),
        read_bytes=sum(_stored_bytes(metadata.row_group(group), wanted) for group in read),
        groups=len(groups),
        groups_read=len(read),
    )


def groups_that_may_pass(
    metadata: pq.FileMetaData,
    fragment: Fragment,
    contract: Contract,
    groups: Sequence[int],
    filters: Sequence[Expression],
) -> list[int]:
    """Those of `groups` in which, as far as the footer tells, some row may pass all `filters`."""
    names = {name for one in filters for name in one.columns}
    columns = [column for column in contract.columns if column.name in names]
    leaves = _leaves(metadata) if columns else {}
    kept = []
    for group in groups:
        ranges = {
            column.name: found
            for column in columns
            if (found := _range(metadata.row_group(group), leaves, column, dict(fragment.partition))) is not None
        }
        if all(may_pass(one, ranges) for one in filters):
            kept.append(group)
    return kept


def folder_name(column: Column, partition: Collection[str]) -> str | None:
    """The partition that `column` is; None for one that lies in the files."""
    return column.path[0] if len(column.path) == 1 and column.path[0] in partition else None


def _leaves(metadata: pq.FileMetaData) -> dict[tuple[str, ...], Leaf]:
    """The leaves by their path: a dotted name can mean two of them."""
    return {leaf.path: leaf for leaf in leaves_of(metadata.schema.to_arrow_schema())}


def _range(
    group: pq.RowGroupMetaData, leaves: Mapping[tuple[str, ...], Leaf], column: Column, partition: Mapping[str, str]
) -> Range | None:
    folder = folder_name(column, partition)
    if folder is not None:
        value = partition[folder]
        nulls = group.num_rows if value == HIVE_NULL else 0
        return Range(bounds=_bounds(lambda: pa.array([value, value]), column), nulls=nulls, rows=group.num_rows)
    leaf = leaves.get(column.path)
    statistics = None if leaf is None else group.column(leaf.index).statistics
    if leaf is None or statistics is None:
        return None
    return Range(
        bounds=_bounds(lambda: _stored_bounds(statistics, leaf.type), column) if statistics.has_min_max else None,
        nulls=statistics.null_count if statistics.has_null_count else None,
        rows=group.num_rows,
    )


def _bounds(read: Callable[[], pa.Array], column: Column) -> pa.Array | None:
    """What `read` gives in the column's type; None where it can't be had, since then nothing is known.

    Statistics may hold what Python can't: a day after the year 9999, bytes that are no text. No row makes a read fail.
    """
    try:
        return read().cast(column.type)
    except (pa.ArrowException, ArithmeticError, TypeError, ValueError):
        return None


def _stored_bounds(statistics: pq.Statistics, stored: pa.DataType) -> pa.Array:
    """The least and the greatest value in the type `stored` of the file's column, exactly.

    Raises
    ------
    TypeError : a type whose statistics aren't understood here.
    """
    types = pa.types
    kind = stored.value_type if types.is_dictionary(stored) else stored
    if types.is_timestamp(kind) and kind.unit == "ns":  # Python's own times are coarser
        if "nanoseconds" not in str(statistics.logical_type):
            raise TypeError(str(statistics.logical_type))
        return pa.array([statistics.min_raw, statistics.max_raw], pa.int64()).cast(kind)
    exact = (types.is_integer, types.is_float32, types.is_float64, types.is_boolean, types.is_decimal, types.is_date32)
    if not (any(test(kind) for test in exact) or types.is_timestamp(kind) or plain_type(kind) == pa.string()):
        raise TypeError(str(kind))
    return pa.array([statistics.min, statistics.max], kind)


def _stored_bytes(group: pq.RowGroupMetaData, indices: Collection[int] | None) -> int:
    wanted = range(group.num_columns) if indices is None else indices
    return sum(group.column(index).total_compressed_size for index in wanted)
