"""Decoding: the columns of one unit from its Parquet file, in the types of the contract, before anything is decided.

1. The file must still be the one that was planned: size, time and footer of a source, size of a part.
2. Only the columns that are asked for are decoded, of nested columns only the leaves. Dictionaries become plain values:
   a dictionary keeps values that no row has any more.
3. Columns are found by their path in the files (`Column.path`), which must name one column of a file only.
4. Partition columns are columns; schema metadata, pandas attributes and indexes don't come along.
5. No error holds a value of a row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from dataops.datasets.snapshot import Fragment
from dataops.datasets.source import HIVE_NULL, footer_digest
from dataops.datasets.units import Unit
from dataops.errors import ContractViolation, Integrity, NotFound, Storage
from dataops.governance.column_types import casts_losslessly
from dataops.governance.contract import Column, Contract
from dataops.governance.grant import Effect
from dataops.governance.leaves import leaf_values, leaves_of, twin_findings
from dataops.storage.files import open_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All that a worker needs to read a dataset under a grant; holds the folder of the keys, never a key.

    Attributes
    ----------
    expires_at : time (`records.format_time`) from which on nothing is read any more; None: the grant has no end.
    survey : URL of the folder with what a look at the whole dataset found; None where no rule or mask needs one.
    quarantine : URL of the folder of all quarantine files; of a replay only.
    """

    dataset: str
    url: str
    contract: Contract
    effect: Effect
    purpose: str
    keys_folder: str
    expires_at: str | None = None
    survey: str | None = None
    quarantine: str | None = None


def decode_unit(source: Source, unit: Unit, names: Collection[str]) -> pa.Table:
    """The columns `names` of `unit` in the contract's types, without metadata."""
    partition = dict(unit.fragment.partition)
    columns = [column for column in source.contract.columns if column.name in names]
    stored = [column for column in columns if folder_name(column, partition) is None]
    read = _read_columns(source, unit, stored)
    arrays, fields = [], []
    for column in columns:
        folder = folder_name(column, partition)
        values = read[column.name] if folder is None else _partition_values(partition[folder], unit.rows)
        if folder is None and unit.fragment.modified_ns is not None:
            # our own parts hold what Parquet makes of the column's type
            _require_lossless(source, unit, column, values.type)
        arrays.append(_cast(source, unit, column.name, values, column.type))
        fields.append(pa.field(column.name, column.type))
    return pa.table(arrays, schema=pa.schema(fields))


def folder_name(column: Column, partition: Mapping[str, str]) -> str | None:
    """The partition that `column` is, by its folder's name; None for one that lies in the files."""
    return column.path[0] if len(column.path) == 1 and column.path[0] in partition else None


def _partition_values(value: str, rows: int) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([None if value == HIVE_NULL else value] * rows, pa.string())])


def _require_lossless(source: Source, unit: Unit, column: Column, stored: pa.DataType) -> None:
    if not casts_losslessly(stored, column.type):
        raise ContractViolation(
            f"dataset '{source.dataset}': column '{column.name}' of {unit.fragment.shown} is {stored}, which doesn't "
            f"fit into {column.type}, as its contract asks for, without loss"
        )


def _cast(source: Source, unit: Unit, name: str, values: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if values.type == wanted:
        return values
    try:
        return values.cast(wanted)
    except pa.ArrowException:  # its text holds the value that could not be cast
        raise ContractViolation(
            f"dataset '{source.dataset}': column '{name}' of {unit.fragment.shown} is {values.type} and holds values "
            f"that are no {wanted}, which its contract asks for"
        ) from None


def _read_columns(source: Source, unit: Unit, columns: Sequence[Column]) -> dict[str, pa.ChunkedArray]:
    """The values of `columns` by name, as they are stored, of as many rows as were read."""
    fragment, files = unit.fragment, open_files(source.url)
    _require_unchanged(source, fragment)
    try:
        with files.open(fragment.path) as opened:
            if fragment.modified_ns is not None and footer_digest(opened, fragment.path) != fragment.digest:
                raise _changed(source, fragment)  # replaced with its size and time kept, or since we looked
            parquet = pq.ParquetFile(opened, page_checksum_verification=True)
            indices = _leaf_indices(source, unit, columns, parquet)
            groups = list(range(unit.start_group, unit.stop_group))
            table = parquet.reader.read_row_groups(groups, column_indices=indices, use_threads=False)
        return {column.name: leaf_values(table.column(column.path[0]), column.path[1:]) for column in columns}
    except NotFound:
        raise _changed(source, fragment) from None
    except Storage:  # may pass: to be tried again
        raise
    except (pa.ArrowException, OSError, UnicodeError) as error:  # the last from names in a damaged footer
        if errno := getattr(error, "errno", None):  # the disk's word; Arrow's own findings have no number
            raise Storage(f"dataset '{source.dataset}': reading {fragment.shown} failed, errno {errno}") from None
        raise Integrity(
            f"dataset '{source.dataset}': {fragment.shown} can't be decoded ({type(error).__name__} in unit {unit.id})"
        ) from None


def _leaf_indices(source: Source, unit: Unit, columns: Sequence[Column], parquet: pq.ParquetFile) -> list[int]:
    """Where the leaves of `columns` stand among the file's; by number, since a dotted name can mean two leaves."""
    schema = parquet.schema_arrow
    where = f"dataset '{source.dataset}': {unit.fragment.shown}"
    if twins := twin_findings(schema):
        raise ContractViolation(f"{where}: {twins[0]}")
    leaves = leaves_of(schema)
    if len(leaves) != parquet.metadata.num_columns:
        raise Integrity(f"{where}: its footer lists {parquet.metadata.num_columns} columns, its schema {len(leaves)}")
    known = {leaf.path: leaf.index for leaf in leaves}
    missing = [column.name for column in columns if column.path not in known]
    if missing:
        raise ContractViolation(f"{where} lacks the column '{missing[0]}', which its contract lists")
    return sorted(known[column.path] for column in columns)


def _require_unchanged(source: Source, fragment: Fragment) -> None:
    try:
        stat = open_files(source.url).stat(fragment.path)
    except NotFound:
        raise _changed(source, fragment) from None
    modified = stat.mtime_ns if fragment.modified_ns is None else fragment.modified_ns
    if (stat.size_bytes, stat.mtime_ns) != (fragment.size_bytes, modified):
        raise _changed(source, fragment)


def _changed(source: Source, fragment: Fragment) -> Integrity:
    return Integrity(
        f"dataset '{source.dataset}': {fragment.shown} changed or went away after the run was planned; "
        "start a new run to take the data as it is now"
    )
