"""Export as a Delta table, so that Spark, DuckDB and Polars read what was published.

1. Rows leave by a governed read: what the exporter may not see isn't in the table, and masks are in its values.
2. The files come first, under names made of snapshot and bytes; one commit makes them the whole table. Readers see the
   table as it was, or all of it as it is. No commit adds what it removes: its actions have no order.
3. The commit names dataset and snapshot as its transaction. A snapshot that the table holds, or a later one, isn't
   exported again: to repeat an export changes nothing, also when two do it at once.
4. A table belongs to one dataset under one effect: rows that two people may see differently are never mixed.
5. Partition values stand in the table's log, not in names of folders. What wouldn't be read there as what it was is
   refused.
6. Files of exports that were replaced, or that lost to a newer one, stay until somebody vacuums the table.

Delta's protocol: https://github.com/delta-io/delta/blob/master/PROTOCOL.md, "Transaction Identifiers" and "Add File".
delta-rs neither looks for a transaction that is there already nor at the files that it is told of: both are done here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataops.datasets.commit import parquet_bytes
from dataops.errors import AlreadyExists, Conflict, InvalidInput, near_match
from dataops.records import digest_bytes
from dataops.storage.disk import local_folder, redact, sync_folder
from dataops.storage.files import DataFiles, open_files

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, RemoveAction

EXTRA = "`make setup` in a clone of the project installs it, or pip install '.[delta]' there"
_APP = "dataops"
_TRIES = 5
_WIDER: Mapping[pa.DataType, pa.DataType] = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
}
"""Types that Delta hasn't, and the ones that hold all their values."""
_YEAR = re.compile(r"(?!0000)\d{4}-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export came to; `written` is False where the table held the snapshot already."""

    url: str
    version: int
    snapshot: int
    files: int
    rows: int
    written: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A Delta table to export to: `dataset` at `snapshot`, as `effect` (a digest) shows it."""

    url: str
    dataset: str
    snapshot: int
    effect: str
    partition_by: tuple[str, ...] = ()

    @property
    def app(self) -> str:
        """The identifier of the table's transactions."""
        return f"{_APP}/{self.dataset}/{self.effect}"


def export_delta(target: Delta, schema: pa.Schema, tables: Iterable[pa.Table]) -> Exported:
    """The table at `target` with the rows of `tables`, instead of what it held.

    Parameters
    ----------
    schema : of `tables`, also where there are none.

    Raises
    ------
    InvalidInput : `deltalake` isn't installed; a type that Delta hasn't; a partition that is no column, or whose values
        a log can't hold; a table that holds something else.
    Conflict : others kept changing the table.
    """
    plain = delta_schema(schema)
    _require_partitions(target, plain)
    earlier = find_export(target)
    if earlier is not None:
        return earlier
    files = open_files(target.url)
    written = [
        part
        for number, table in enumerate(tables)
        for part in _write(files, f"{target.snapshot:06d}-{number:06d}", _cast(table, plain), target.partition_by)
    ]
    committed = _commit(target, plain, written)
    found = find_export(target)
    if found is None:
        raise Conflict(f"{target.url}: the table changed while it was written; export again")
    return replace(found, written=committed and found.snapshot == target.snapshot)


def delta_schema(schema: pa.Schema) -> pa.Schema:
    """`schema` in types that Delta has and that hold the same values.

    Raises
    ------
    InvalidInput : names each column that has none.
    """
    fields, findings = [], []
    for field in schema:
        kind = _delta_type(field.type)
        if kind is None:
            findings.append(f"column '{field.name}' is {field.type}")
        fields.append(pa.field(field.name, kind or field.type))
    if findings:
        raise InvalidInput(
            f"Delta has no such type: {', '.join(findings)}; derive another column of it, or leave it out"
        )
    return pa.schema(fields)


def _delta_type(kind: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_timestamp(kind):
        return pa.timestamp("us", tz=None if kind.tz is None else "UTC")
    if types.is_list(kind) or types.is_large_list(kind):
        inner = _delta_type(kind.value_type)
        return None if inner is None else pa.list_(inner)
    kind = _WIDER.get(kind, kind)
    same = (types.is_boolean, types.is_signed_integer, types.is_floating, types.is_string, types.is_date32)
    has = any(test(kind) for test in (*same, types.is_binary, types.is_decimal128))
    return kind if has else None


def _require_partitions(target: Delta, schema: pa.Schema) -> None:
    unknown = [name for name in target.partition_by if name not in schema.names]
    if unknown:
        raise InvalidInput(f"partition by '{unknown[0]}': no such column.{near_match(unknown[0], schema.names)}")
    if len(target.partition_by) == len(schema.names):
        raise InvalidInput("partitioned by all columns: a file would hold none")
    wrong = [name for name in target.partition_by if not _is_partition(schema.field(name).type)]
    if wrong:
        raise InvalidInput(
            f"partition by '{wrong[0]}': it is {schema.field(wrong[0]).type}; partitions are truth values, whole "
            "numbers, texts, dates or times"
        )


def _is_partition(kind: pa.DataType) -> bool:
    types = pa.types
    tests = (types.is_boolean, types.is_signed_integer, types.is_string, types.is_date32, types.is_timestamp)
    return any(test(kind) for test in tests)


def find_export(target: Delta) -> Exported | None:
    """What the table holds, if it is `target`'s snapshot or a later one; None where it is older or isn't there.

    Raises
    ------
    InvalidInput : the table is somebody else's, or shows the dataset under another effect, or in other partitions.
    """
    table = _open(target.url)
    return None if table is None else _held(target, table)


def _held(target: Delta, table: DeltaTable) -> Exported | None:
    """What `table` holds, as it was when it was opened; see `find_export`."""
    known = table.transaction_version(target.app)
    if known is None:
        raise InvalidInput(
            f"{target.url} is a Delta table that holds something else than dataset '{target.dataset}' as the policies "
            "let you read it now; choose another folder"
        )
    if tuple(table.metadata().partition_columns) != target.partition_by:
        raise InvalidInput(f"{target.url} is partitioned otherwise; choose another folder, or the same partitions")
    if known < target.snapshot:
        return None
    rows = table.get_add_actions(flatten=True)
    return Exported(
        url=target.url,
        version=table.version(),
        snapshot=known,
        files=rows.num_rows,
        rows=pc.sum(pa.table(rows).column("num_records")).as_py() or 0,
        written=False,
    )


def _open(url: str) -> DeltaTable | None:
    try:
        from deltalake import DeltaTable
    except ImportError:
        raise InvalidInput(f"exporting as Delta needs the package deltalake: {EXTRA}") from None
    folder = str(_folder(url))
    return DeltaTable(folder) if DeltaTable.is_deltatable(folder) else None


def _folder(url: str) -> Path:
    folder = local_folder(url)
    if folder is None:
        raise InvalidInput(
            f"{redact(url)}: Delta tables are exported to folders of this machine; copy it on from there"
        )
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    path: str
    size_bytes: int
    rows: int
    partition: Mapping[str, str | None]


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    try:
        return table.cast(schema)
    except pa.ArrowInvalid:  # its text holds the value
        raise InvalidInput(
            "a time finer than a microsecond, or beyond Delta's years: Delta can't hold it; derive a coarser column"
        ) from None


def _write(files: DataFiles, name: str, table: pa.Table, partition_by: Sequence[str]) -> Iterator[_Written]:
    """The files of `table`, which is `name` in the export, one for each combination of partition values in it."""
    for place, (values, rows) in enumerate(_partitions(table, partition_by)):
        data = parquet_bytes(rows)
        digest = digest_bytes(memoryview(data).tobytes()).removeprefix("sha256:")
        path = f"part-{name}-{place:04d}-{digest[:32]}.parquet"
        with suppress(AlreadyExists):  # of an export that died, or a copy of this one: the name vouches for the bytes
            files.write(path, partial(_put, data))
        yield _Written(path=path, size_bytes=data.size, rows=rows.num_rows, partition=values)


def _put(data: pa.Buffer, sink: IO[bytes]) -> None:
    sink.write(data)


def _partitions(table: pa.Table, partition_by: Sequence[str]) -> Iterator[tuple[Mapping[str, str | None], pa.Table]]:
    """The rows of each combination of partition values, as they came, without the partition columns."""
    if not table.num_rows:
        return
    if not partition_by:
        yield {}, table
        return
    spelled, codes = zip(*(_spelled(name, table.column(name)) for name in partition_by), strict=True)
    order = np.lexsort(codes[::-1])  # stable
    sorted_codes = np.stack(codes)[:, order]
    changes = np.flatnonzero((sorted_codes[:, 1:] != sorted_codes[:, :-1]).any(axis=0)) + 1
    rows = table.drop_columns(list(partition_by)).take(pa.array(order))
    for start, stop in pairwise([0, *changes.tolist(), table.num_rows]):
        chosen = zip(partition_by, spelled, sorted_codes[:, start], strict=True)
        yield {name: values[code] for name, values, code in chosen}, rows.slice(start, stop - start)


def _spelled(name: str, column: pa.ChunkedArray) -> tuple[list[str | None], npt.NDArray[np.int32]]:
    """The values of a partition as Delta's protocol writes them ("Partition Value Serialization"), and the place among
    them of each row's.

    Raises
    ------
    InvalidInput : an empty text, or a year, that would come back as something else.
    """
    coded = pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
    values, codes = coded.dictionary.cast(pa.string()).to_pylist(), coded.indices.to_numpy()
    kind = coded.type.value_type
    temporal = pa.types.is_temporal(kind)
    lost = [code for code, value in enumerate(values) if value is not None and _is_lost(value, temporal=temporal)]
    if lost:
        what = (
            "a year that isn't one of 1 to 9999" if temporal else "an empty text, which Delta takes for a missing value"
        )
        rows = int(np.isin(codes, lost).sum())
        raise InvalidInput(
            f"partition by '{name}': {rows} rows of one part hold {what}; partition by another column, or derive one"
        )
    if pa.types.is_timestamp(kind) and kind.tz is not None:  # only in this form it says that it is UTC
        values = [None if value is None else value.replace(" ", "T") for value in values]
    return values, codes


def _is_lost(value: str, *, temporal: bool) -> bool:
    """Whether a partition value that is written so wouldn't be read as what it was."""
    return _YEAR.match(value) is None if temporal else not value


def _commit(target: Delta, schema: pa.Schema, written: Sequence[_Written]) -> bool:
    """Whether one commit of ours made `written` the table; False where it holds this snapshot or a later one.

    The version that is looked at is the one that is committed on. delta-rs may not take a later one by itself: over a
    table that was empty it would leave the rows of two snapshots beside each other.
    """
    from deltalake import CommitProperties, Schema, Transaction
    from deltalake.exceptions import DeltaError
    from deltalake.transaction import create_table_with_add_actions

    properties = CommitProperties(
        app_transactions=[Transaction(target.app, target.snapshot)],
        custom_metadata={"dataset": target.dataset, "snapshot": str(target.snapshot)},
        max_commit_retries=0,
    )
    kinds, partitions = Schema.from_arrow(schema), list(target.partition_by)
    for _ in range(_TRIES):
        table = _open(target.url)
        if table is not None and _held(target, table) is not None:
            return False
        try:
            if table is None:
                create_table_with_add_actions(
                    str(_folder(target.url)),
                    kinds,
                    [_add(part) for part in written],
                    mode="error",
                    partition_by=partitions,
                    commit_properties=properties,
                )
            else:
                adds: list[AddAction | RemoveAction] = [_add(part) for part in written]
                table.create_write_transaction(
                    adds, mode="overwrite", schema=kinds, partition_by=partitions, commit_properties=properties
                )
        except DeltaError:  # somebody else committed: look again
            continue
        _make_lasting(target.url)
        return True
    raise Conflict(f"{target.url}: others kept changing the table; export again")


def _add(part: _Written) -> AddAction:
    from deltalake.transaction import AddAction

    stats = json.dumps({"numRecords": part.rows})
    return AddAction(part.path, part.size_bytes, dict(part.partition), 0, True, stats)  # noqa: FBT003  # rows changed


def _make_lasting(url: str) -> None:
    """The log on the disk: delta-rs leaves that to the system, and takes an empty log file for an empty commit."""
    log = _folder(url) / "_delta_log"
    for file in sorted(log.glob("*.json"))[-2:]:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(log)
