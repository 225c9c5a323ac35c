"""Forty and more ways in which a later file's schema drifts from its contract, each read as a run reads it.

`alone` is the verdict where the drifted file is all there is, so that the plan sees it; `beside` where it comes behind
a file that fits, so that the read does. `EQUAL`: the rows are those of the file that fits, in the contract's types.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataops.datasets.scan import read_unit
from dataops.datasets.source import read_fragments, read_schema
from dataops.datasets.units import plan_units
from dataops.errors import InvalidInput
from dataops.governance.checking import table_columns_match
from dataops.governance.contract import Column
from dataops.storage.files import open_files
from tests.attacks.isolated import Case
from tests.datasets.examples import make_contract, make_source

EQUAL, BREAKS, UNFIT = "equal", "ContractViolation", "InvalidInput"
CANARY = "CANARY"
ADDRESS = pa.struct([("street", pa.string()), ("code", pa.int32())])
TABLE = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int64()),
        "age": pa.array([31, 17, 44], pa.int32()),
        "small": pa.array([1, 2, 3], pa.int16()),
        "pay": pa.array([Decimal("1.50"), Decimal("2.00"), None], pa.decimal128(10, 2)),
        "name": pa.array([f"{CANARY}-1", "b", None]),
        "seen": pa.array(
            [dt.datetime(2024, 1, day, 12, tzinfo=dt.UTC) for day in (1, 2, 3)], pa.timestamp("us", "UTC")
        ),
        "local": pa.array([dt.date(2024, 1, day) for day in (1, 2, 3)]).cast(pa.timestamp("us")),
        "day": pa.array([dt.date(2024, 1, day) for day in (1, 2, 3)], pa.date32()),
        "score": pa.array([1.0, 2.0, 4.0], pa.float64()),
        "ok": pa.array([True, False, None]),
        "address": pa.array([{"street": "a", "code": 7}, None, {"street": None, "code": 9}], ADDRESS),
        "tags": pa.array([["x"], [], None], pa.list_(pa.string())),
    }
)
COLUMNS = (
    *(Column(name=field.name, type=field.type) for field in TABLE.schema if field.name not in ("address", "tags")),
    Column(name="address.street", type=pa.string(), stored=("address", "street")),
    Column(name="address.code", type=pa.int32(), stored=("address", "code")),
    Column(name="tags", type=pa.list_(pa.string())),
)
GRANTED = tuple(column.name for column in COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A table that drifted, how it is written, and the verdicts; `column` is named where it is refused."""

    table: Callable[[], pa.Table]
    alone: str = EQUAL
    beside: str = EQUAL
    column: str = ""
    options: Mapping[str, Any] | None = None


def _position(name: str) -> int:
    return TABLE.column_names.index(name)


def retyped(name: str, kind: pa.DataType) -> Callable[[], pa.Table]:
    return lambda: TABLE.set_column(_position(name), name, TABLE.column(name).cast(kind))


def holding(name: str, values: list[Any], kind: pa.DataType) -> Callable[[], pa.Table]:
    return lambda: TABLE.set_column(_position(name), name, pa.array(values, kind))


def renamed(name: str, other: str) -> Callable[[], pa.Table]:
    return lambda: TABLE.rename_columns([other if one == name else one for one in TABLE.column_names])


def wider(name: str, kind: pa.DataType) -> Drift:
    """A type that holds more than the contract's: refused, also where these values would fit."""
    return Drift(table=retyped(name, kind), alone=UNFIT, beside=BREAKS, column=name)


def refused(table: Callable[[], pa.Table], column: str) -> Drift:
    return Drift(table=table, alone=UNFIT, beside=BREAKS, column=column)


def fits(table: Callable[[], pa.Table], **options: Any) -> Drift:
    return Drift(table=table, options=options)


def _streets(kind: pa.DataType, **more: Any) -> list[Any]:
    rows = [{"street": "a", "code": 7, **more}, None, {"street": None, "code": 9, **more}]
    return rows if kind else []


def _not_null() -> pa.Table:
    fields = [field.with_nullable(field.name not in ("id", "age")) for field in TABLE.schema]
    return TABLE.cast(pa.schema(fields))


EXTRA = pa.struct([*ADDRESS, ("floor", pa.int32())])
TURNED = pa.struct([ADDRESS.field("code"), ADDRESS.field("street")])
DRIFTS: Mapping[str, Drift] = {
    "a column more": Drift(table=lambda: TABLE.append_column("new", TABLE.column("age")), alone=UNFIT, column="new"),
    "a column of bytes more": fits(lambda: TABLE.append_column("raw", pa.array([b"x"] * 3))),
    "a column less": refused(lambda: TABLE.drop_columns(["age"]), "age"),
    "a column under another name": refused(renamed("age", "years"), "age"),
    "a name in capitals": refused(renamed("age", "AGE"), "age"),
    "a name with a space behind": refused(renamed("age", "age "), "age"),
    "a name with look-alike letters": refused(renamed("age", "ag\u0435"), "age"),
    "a column twice": refused(lambda: TABLE.append_column("age", TABLE.column("age")), "age"),
    "a column twice, once in capitals": refused(lambda: TABLE.append_column("Age", TABLE.column("age")), "age"),
    "columns in another order": fits(lambda: TABLE.select(TABLE.column_names[::-1])),
    "two columns under each other's names": refused(
        lambda: TABLE.rename_columns([{"id": "small", "small": "id"}.get(name, name) for name in TABLE.column_names]),
        "small",
    ),
    "columns that may not be null": fits(_not_null),
    "whole numbers half as wide": fits(retyped("id", pa.int32())),
    "whole numbers without a sign, half as wide": fits(retyped("id", pa.uint32())),
    "whole numbers twice as wide": wider("age", pa.int64()),
    "whole numbers without a sign": wider("age", pa.uint32()),
    "whole numbers as floats": wider("age", pa.float64()),
    "whole numbers as text": wider("age", pa.string()),
    "whole numbers as decimals": wider("age", pa.decimal128(12, 0)),
    "whole numbers as truth": wider("small", pa.bool_()),
    "floats half as wide": fits(retyped("score", pa.float32())),
    "floats as whole numbers of 32 bits": fits(
        lambda: TABLE.set_column(_position("score"), "score", pa.array([1, 2, 4], pa.int32())),
    ),
    "floats as whole numbers of 64 bits": refused(holding("score", [1, 2, 4], pa.int64()), "score"),
    "truth as whole numbers": wider("ok", pa.int8()),
    "truth as text": wider("ok", pa.string()),
    "decimals of a smaller scale": fits(retyped("pay", pa.decimal128(9, 1))),
    "decimals of a larger scale": wider("pay", pa.decimal128(12, 4)),
    "decimals of more digits": wider("pay", pa.decimal128(18, 2)),
    "decimals of fewer digits": fits(retyped("pay", pa.decimal128(5, 2))),
    "decimals as floats": wider("pay", pa.float64()),
    "times in milliseconds": fits(retyped("seen", pa.timestamp("ms", "UTC"))),
    "times in nanoseconds": wider("seen", pa.timestamp("ns", "UTC")),
    "times of another zone": fits(retyped("seen", pa.timestamp("us", "Europe/Berlin"))),
    "times that lost their zone": wider("seen", pa.timestamp("us")),
    "local times that got a zone": wider("local", pa.timestamp("us", "UTC")),
    "local times in seconds": fits(retyped("local", pa.timestamp("s")), version="1.0"),
    "times of 96 bits": Drift(
        table=lambda: TABLE,
        alone=UNFIT,
        beside=BREAKS,
        column="seen",
        options={"use_deprecated_int96_timestamps": True},
    ),
    "times beyond what the contract's unit holds": fits(
        lambda: TABLE, coerce_timestamps="us", allow_truncated_timestamps=True
    ),
    "days as times": wider("day", pa.timestamp("us")),
    "days as text": wider("day", pa.string()),
    "days as milliseconds": fits(retyped("day", pa.date64())),
    "local times as days": fits(retyped("local", pa.date32())),
    "text in dictionaries": fits(
        lambda: TABLE.set_column(_position("name"), "name", TABLE.column("name").dictionary_encode())
    ),
    "text of large offsets": fits(retyped("name", pa.large_string())),
    "text as views": fits(retyped("name", pa.string_view())),
    "text as bytes": wider("name", pa.binary()),
    "text as numbers": refused(holding("name", [1, 2, 3], pa.int64()), "name"),
    "text that is all null, of no type": Drift(
        table=holding("name", [None] * 3, pa.null()), alone="name null", beside="name null"
    ),
    "a field more in a struct": Drift(
        table=holding("address", _streets(EXTRA, floor=1), EXTRA), alone=UNFIT, column="address.floor"
    ),
    "a field less in a struct": refused(
        holding("address", [{"street": "a"}, None, {"street": None}], pa.struct([("street", pa.string())])),
        "address.code",
    ),
    "fields of a struct in another order": fits(holding("address", _streets(TURNED), TURNED)),
    "a field of a struct of a wider type": refused(
        holding("address", _streets(ADDRESS), pa.struct([("street", pa.string()), ("code", pa.int64())])),
        "address.code",
    ),
    "a struct that became a column": refused(holding("address", ["a", None, "b"], pa.string()), "address.street"),
    "a struct that became a list of them": refused(
        holding("address", [[one] if one else None for one in _streets(ADDRESS)], pa.list_(ADDRESS)), "address.street"
    ),
    "a struct written flat": refused(
        lambda: (
            TABLE.drop_columns(["address"])
            .append_column("address.street", TABLE.column("name"))
            .append_column("address.code", TABLE.column("age"))
        ),
        "address.street",
    ),
    "a list of large offsets": fits(retyped("tags", pa.large_list(pa.string()))),
    "a list that became a column": refused(holding("tags", ["x", "y", None], pa.string()), "tags"),
    "a column that became a list": refused(holding("age", [[31], [17], [44]], pa.list_(pa.int32())), "age"),
    "a list of numbers": refused(holding("tags", [[1], [], None], pa.list_(pa.int64())), "tags"),
    "a list of lists": Drift(table=holding("tags", [[["x"]], [], None], pa.list_(pa.list_(pa.string())))),
    "metadata of schema and pandas": fits(lambda: TABLE.replace_schema_metadata({"pandas": "{}", "note": CANARY})),
    "no Arrow schema": Drift(table=lambda: TABLE, options={"store_schema": False}),
    "no rows": Drift(table=lambda: TABLE.slice(0, 0), alone="no rows", beside="no rows"),
}


def _read(folder: Path) -> pa.Table | None:
    """The rows of the last file; None if there are none."""
    files = open_files(str(folder))
    fragments = read_fragments(files)
    contract = make_contract(columns=COLUMNS)
    findings = table_columns_match(contract, read_schema(files, fragments[:1]))
    if findings:
        raise InvalidInput("; ".join(findings))
    source = make_source(folder, contract=contract)
    tables = {unit.fragment.path: read_unit(source, unit, GRANTED).table for unit in plan_units(fragments)}
    return tables.get("b.parquet")


def wanted(folder: Path) -> pa.Table:
    """The rows of a file that fits."""
    folder.mkdir()
    pq.write_table(TABLE, folder / "b.parquet")
    found = _read(folder)
    assert found is not None
    return found


def _case(drift: Drift, *, beside: bool) -> Case:
    def read(folder: Path) -> str:
        if beside:
            pq.write_table(TABLE, folder / "a.parquet")
        pq.write_table(drift.table(), folder / "b.parquet", **(drift.options or {}))
        os.utime(folder / "b.parquet", ns=(1, 1))
        found, expected = _read(folder), wanted(folder / "_fits")
        if found is None:
            return "no rows"
        differing = [name for name in GRANTED if not found.column(name).equals(expected.column(name))]
        nulls = [name for name in differing if found.column(name).null_count == found.num_rows == 3]
        return EQUAL if not differing else f"{differing[0]} {'null' if nulls == differing else 'differs'}"

    return read


CASES: Mapping[str, Case] = {
    f"{name}: {'beside' if beside else 'alone'}": _case(drift, beside=beside)
    for name, drift in DRIFTS.items()
    for beside in (False, True)
}
