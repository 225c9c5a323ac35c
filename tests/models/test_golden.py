"""Golden rows: made from the program alone, the same each time, and a model that answers otherwise is found."""

from __future__ import annotations

import dataclasses
import json
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pytest

from dataops.errors import Format, Integrity, InvalidInput
from dataops.features.encoder import CategoricalColumn, Encoder, NumericColumn
from dataops.features.program import FeatureProgram, compose_program
from dataops.features.steps import RowSteps
from dataops.governance.expressions import parse_expression
from dataops.models.golden import ROWS, TOLERANCE, Golden, check_golden, make_golden
from dataops.models.linear import LinearModel
from dataops.models.scoring import score_table
from dataops.records import canonical_bytes

SCHEMA = pa.schema(
    [
        ("age", pa.int64()),
        ("wage", pa.float64()),
        ("job", pa.string()),
        ("member", pa.bool_()),
        ("paid", pa.decimal128(12, 2)),
        ("born", pa.date32()),
        ("seen", pa.timestamp("us", tz="UTC")),
    ]
)
MODEL = LinearModel(
    intercept=-0.5, numeric=(0.8, 0.01, 0.3), categorical=((0.0, 0.4, -0.7), (0.0, 0.1), (0.2,), (0.3,))
)


def make_program(where: str | None = None) -> FeatureProgram:
    encoder = Encoder(
        numeric=(
            NumericColumn(name="age", fill=40.0, mean=41.5, scale=12.0),
            NumericColumn(name="wage", fill=9.5, mean=10.0, scale=4.0),
            NumericColumn(name="paid", fill=1.0, mean=0.0, scale=1.0),
        ),
        categorical=(
            CategoricalColumn(name="job", categories=("clerk", "nurse")),
            CategoricalColumn(name="member", categories=("true",)),
            CategoricalColumn(name="born", categories=()),
            CategoricalColumn(name="seen", categories=()),
        ),
    )
    kept = None if where is None else parse_expression(where, where="where")
    return compose_program(SCHEMA, RowSteps(where=kept), encoder)


def test_golden_rows_hold_categories_an_unknown_one_and_null() -> None:
    program = make_program()
    golden = make_golden(program, MODEL)
    assert len(golden.rows) == ROWS
    table = golden.table(program)
    assert table.schema == SCHEMA
    jobs = set(table.column("job").to_pylist())
    assert {"clerk", "nurse", None} < jobs
    assert all(table.column(name).null_count for name in ("age", "wage", "job"))
    assert all(probability is not None and 0 < probability < 1 for probability in golden.predictions)


def test_the_same_program_gives_the_same_bytes_and_they_come_back() -> None:
    program = make_program()
    golden = make_golden(program, MODEL)
    written = canonical_bytes(golden.record())
    assert canonical_bytes(make_golden(make_program(), MODEL).record()) == written
    again = Golden.from_record(json.loads(written))
    assert again == golden
    check_golden(again, program, MODEL)


def test_only_rows_that_the_program_keeps_are_golden_where_there_are_such() -> None:
    program = make_program(where="age > 45")
    golden = make_golden(program, MODEL)
    assert golden.predictions
    assert None not in golden.predictions
    assert min(golden.table(program).column("age").to_pylist()) > 45
    dropped = make_golden(make_program(where="age > 10000"), MODEL)
    assert set(dropped.predictions) == {None}
    check_golden(dropped, make_program(where="age > 10000"), MODEL)


def test_a_model_that_answers_otherwise_is_found() -> None:
    program = make_program()
    golden = make_golden(program, MODEL)
    check_golden(golden, program, dataclasses.replace(MODEL, intercept=MODEL.intercept + TOLERANCE / 10))
    other = dataclasses.replace(MODEL, intercept=MODEL.intercept + 100 * TOLERANCE)
    with pytest.raises(Integrity, match="answers otherwise than when it was registered"):
        check_golden(golden, program, other)


def test_golden_rows_of_another_program_are_refused() -> None:
    golden = make_golden(make_program(), MODEL)
    with pytest.raises(Format, match="golden rows have the columns"):
        check_golden(dataclasses.replace(golden, columns=(*golden.columns[:-1], "other")), make_program(), MODEL)
    broken = dataclasses.replace(golden, rows=(("old", *golden.rows[0][1:]), *golden.rows[1:]))
    with pytest.raises(Format, match="can't"):
        check_golden(broken, make_program(), MODEL)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"columns": ["a"], "rows": [[1]], "probabilities": []},
        {"columns": ["a"], "rows": [[1, 2]], "probabilities": [0.5]},
        {"columns": ["a"], "rows": [[{}]], "probabilities": [0.5]},
        {"columns": ["a"], "rows": [[1]], "probabilities": [1.5]},
        {"columns": ["a"], "rows": [[1]], "probabilities": [True]},
    ],
)
def test_what_is_no_record_of_golden_rows_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(Format, match="not golden rows"):
        Golden.from_record(record)


def test_a_row_that_is_dropped_has_the_answer_nan_at_its_place() -> None:
    row = {
        "wage": 9.0,
        "job": "clerk",
        "member": True,
        "paid": None,
        "born": date(1990, 1, 2),
        "seen": datetime(2026, 1, 2),  # noqa: DTZ001 - the schema has the zone
    }
    rows = [{"age": age, **row} for age in (50, 20, None, 60)]
    table = pa.Table.from_pylist(rows, SCHEMA)
    scores = score_table(make_program(where="age > 45"), MODEL, table)
    assert scores.dtype == np.float32
    assert np.isnan(scores).tolist() == [False, True, True, False]
    everyone = score_table(make_program(), MODEL, table)
    assert scores[[0, 3]].tolist() == everyone[[0, 3]].tolist()


def test_a_column_that_is_missing_or_twice_there_is_named() -> None:
    table = make_golden(make_program(), MODEL).table(make_program())
    with pytest.raises(InvalidInput, match="'wage'"):
        score_table(make_program(), MODEL, table.drop_columns(["wage"]))
    with pytest.raises(InvalidInput, match="2 columns named 'age'"):
        score_table(make_program(), MODEL, table.append_column("age", table.column("age")))
