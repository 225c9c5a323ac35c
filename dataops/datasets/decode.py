"""Decoding: the columns of one unit from its Parquet file, in the types of the contract, before anything is decided.

1. The file must still be the one that was planned: size, time and footer of a source, size of a part.
2. Only the columns that are asked for are decoded, of nested columns only the leaves. Dictionaries become plain values:
   a dictionary keeps values that no row has any more. Who asks for `encoded` text gets it as it is, and sees to that.
3. Columns are found by their path in the files (`Column.path`), which must name one column of a file only.
4. Partition columns are columns; schema metadata, pandas attributes and indexes don't come along.
5. No error holds a value of a row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataops.datasets.footer_looks import arrow_footer
from dataops.datasets.footers import folder_name, groups_that_may_pass
from dataops.datasets.reading import Source
from dataops.datasets.snapshot import Fragment
from dataops.datasets.source import HIVE_NULL, read_footer
from dataops.datasets.units import Unit
from dataops.errors import ContractViolation, Integrity, NotFound, Storage, passing
from dataops.governance.column_types import casts_losslessly
from dataops.governance.contract import Column
from dataops.governance.expressions import Expression
from dataops.governance.leaves import leaf_values, leaves_of, twin_findings
from dataops.records import digest_bytes
from dataops.storage.files import FileStat, open_files

_LENGTH_BYTES = 4  # of one text in a plain page, beside its characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Columns of a unit, and the row groups of the file that they are from."""

    table: pa.Table
    groups: tuple[int, ...]


def decode_unit(
    source: Source, unit: Unit, names: Collection[str], *, encoded: bool = False, filters: Sequence[Expression] = ()
) -> Decoded:
    """The columns `names` of `unit` in the contract's types, without metadata.

    Parameters
    ----------
    filters : row groups of which the footer tells that no row can pass all of them are left out.
    encoded : text that the file holds as a dictionary stays one, to be checked and masked by its distinct values. Who
        asks for it decodes what is passed on: a dictionary shows values of rows that were left out.
    """
    partition = dict(unit.fragment.partition)
    columns = [column for column in source.contract.columns if column.name in names]
    stored = [column for column in columns if folder_name(column, partition) is None]
    read, groups = _read_columns(source, unit, stored, encoded=encoded, filters=filters)
    rows = sum(unit.rows_of(group) for group in groups)
    arrays, fields = [], []
    for column in columns:
        folder = folder_name(column, partition)
        values = read[column.name] if folder is None else _partition_values(partition[folder], rows)
        if folder is None and unit.fragment.modified_ns is not None:
            # our own parts hold what Parquet makes of the column's type
            _require_lossless(source, unit, column, values.type)
        if not (encoded and _is_encoded_text(values.type, column.type)):
            values = _cast(source, unit, column.name, values, column.type)
        arrays.append(values)
        fields.append(pa.field(column.name, values.type))
    return Decoded(table=pa.table(arrays, schema=pa.schema(fields)), groups=groups)


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


def _is_encoded_text(stored: pa.DataType, wanted: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(stored) and stored.value_type == wanted == pa.string())


def _read_columns(
    source: Source, unit: Unit, columns: Sequence[Column], *, encoded: bool, filters: Sequence[Expression]
) -> tuple[dict[str, pa.ChunkedArray], tuple[int, ...]]:
    """The values of `columns` by name, as they are stored, and the row groups that were read."""
    fragment, files = unit.fragment, open_files(source.url)
    try:
        found, opened = files.open_found(fragment.path)
        with opened:
            _require_unchanged(source, fragment, found)
            planned = None if fragment.modified_ns is None else _planned_footer(source, fragment, opened)
            groups = list(range(unit.start_group, unit.stop_group))
            how = {"page_checksum_verification": True, "pre_buffer": files.far}
            parquet = pq.ParquetFile(opened, metadata=planned, **how)
            # only of a footer that was just found to be the planned one: Arrow aborts on some damaged ones
            if planned and filters:
                groups = groups_that_may_pass(parquet.metadata, fragment, source.contract, groups, filters)
            if planned and encoded and (texts := _encoded_texts(parquet.metadata, groups, columns)):
                options = {"metadata": parquet.metadata, "read_dictionary": texts}
                parquet = pq.ParquetFile(opened, **how, **options)
            indices = _leaf_indices(source, unit, columns, parquet)
            table = parquet.reader.read_row_groups(groups, column_indices=indices, use_threads=False)
        require_inside_dictionaries(table)
        values = {column.name: leaf_values(table.column(column.path[0]), column.path[1:]) for column in columns}
        return values, tuple(groups)
    except NotFound:
        raise _changed(source, fragment) from None
    except Storage:  # may pass: to be tried again
        raise
    except (pa.ArrowException, OSError, UnicodeError) as error:  # the last from names in a damaged footer
        if errno := getattr(error, "errno", None):  # the disk's word; Arrow's own findings have no number
            raise Storage(f"dataset '{source.dataset}': reading {fragment.shown} failed, errno {errno}") from None
        if encoded:  # a footer may say that text lies in dictionaries, and it doesn't
            return _read_columns(source, unit, columns, encoded=False, filters=filters)
        raise Integrity(
            f"dataset '{source.dataset}': {fragment.shown} can't be decoded ({type(error).__name__} in {unit.id}): "
            "put a whole file in its place, then run again"
        ) from None


def _encoded_texts(footer: pq.FileMetaData, groups: Sequence[int], columns: Sequence[Column]) -> list[str]:
    """The columns of text whose values lie in dictionaries: plain text takes four bytes a value or more."""
    texts = {column.path[0] for column in columns if len(column.path) == 1 and pa.types.is_string(column.type)}
    found = []
    for index in range(footer.num_columns):
        name = footer.schema.column(index).path
        chunks = [footer.row_group(group).column(index) for group in groups] if name in texts else []
        if chunks and all(lies_in_dictionary(chunk) for chunk in chunks):
            found.append(name)
    return found


def lies_in_dictionary(chunk: pq.ColumnChunkMetaData) -> bool:
    """Whether the text of `chunk` can be read as a dictionary, and takes less so."""
    # by the encodings: not all writers say where their dictionary begins
    small = chunk.total_uncompressed_size < _LENGTH_BYTES * chunk.num_values
    # the delta encodings are as small, and Arrow can't read them as dictionaries
    encodings = " ".join(chunk.encodings)
    return small and "DICTIONARY" in encodings and "DELTA" not in encodings


def require_inside_dictionaries(table: pa.Table) -> None:
    """Nothing, if every index of a dictionary is in it: Arrow reads those of a damaged page as they are.

    Raises
    ------
    pa.ArrowInvalid : one isn't.
    """
    for column in table.columns:
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
            ends = pc.min_max(chunk.indices)
            if ends["min"].is_valid and not 0 <= ends["min"].as_py() <= ends["max"].as_py() < len(chunk.dictionary):
                raise pa.ArrowInvalid("an index that isn't in its dictionary")


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


def _planned_footer(source: Source, fragment: Fragment, opened: pa.NativeFile) -> pq.FileMetaData:
    footer = read_footer(opened, fragment.path)
    if digest_bytes(footer) != fragment.digest:
        raise _changed(source, fragment)  # replaced with its size and time kept, or since we looked
    return arrow_footer(footer)


def _require_unchanged(source: Source, fragment: Fragment, found: FileStat) -> None:
    modified = found.mtime_ns if fragment.modified_ns is None else fragment.modified_ns
    if (found.size_bytes, found.mtime_ns) != (fragment.size_bytes, modified):
        raise _changed(source, fragment)


def _changed(source: Source, fragment: Fragment) -> Integrity:
    return passing(
        Integrity(
            f"dataset '{source.dataset}': {fragment.shown} changed or went away after the run was planned; "
            "start a new run to take the data as it is now"
        )
    )
