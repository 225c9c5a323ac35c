import json
import pickle
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataops.errors import Format, InvalidInput
from dataops.features.encoder import CategoricalColumn, Encoder, NumericColumn
from dataops.features.making import DatePart
from dataops.features.program import FeatureProgram, compose_program
from dataops.features.steps import RowSteps
from dataops.governance.expressions import parse_expression
from dataops.governance.masking import parse_mask
from dataops.records import canonical_bytes

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "age": pa.int64(),
        "delay": pa.float64(),
        "origin": pa.large_string(),
        "at": pa.timestamp("us", "UTC"),
    }
)
STEPS = RowSteps(
    generalise=(("age", parse_mask({"generalise": {"width": 5}}, where="test")),),
    derive=tuple(
        (name, parse_expression(text, where="test"))
        for name, text in {"late": "delay > 15", "year": "extract(year from at)", "unused": "id || 'x'"}.items()
    ),
    where=parse_expression("delay is not null", where="test"),
)
ENCODER = Encoder(
    numeric=(
        NumericColumn(name="age", fill=40.0, mean=40.0, scale=10.0),
        NumericColumn(name="year", fill=0, mean=0, scale=1),
    ),
    categorical=(
        CategoricalColumn(name="late", categories=("false", "true")),
        CategoricalColumn(name="origin", categories=("JFK", "LGA")),
    ),
)
PROGRAM = compose_program(SCHEMA, STEPS, ENCODER)
TABLE = pa.table(
    {
        "id": ["a", "b", "c"],
        "age": [43, None, 58],
        "delay": [20.0, None, 3.0],
        "origin": pa.array(["LGA", "JFK", "ORD"], pa.large_string()),
        "at": pa.array([0, 0, None], pa.timestamp("us", "UTC")),
    },
)


def test_the_kept_rows_come_with_their_columns_and_encoded() -> None:
    table, encoded = PROGRAM.run(TABLE)
    assert table.column("id").to_pylist() == ["a", "c"]
    assert encoded.numeric.tolist() == [[0.0, 1970.0], [1.5, 0.0]]
    assert encoded.codes.tolist() == [[2, 2], [1, 0]]
    assert encoded.unknown == {"late": 0, "origin": 1}


def test_only_sources_and_steps_that_features_need_are_part_of_it() -> None:
    assert PROGRAM.source_columns() == ("age", "delay", "origin", "at")
    assert [name for name, _ in PROGRAM.steps.derive] == ["late", "year"]
    assert dict(PROGRAM.sources) == {
        "age": "int64",
        "delay": "double",
        "origin": "string",
        "at": "timestamp[us, tz=UTC]",
    }


def test_a_program_survives_json_and_pickle_and_gives_the_same_outputs() -> None:
    for again in (
        FeatureProgram.from_record(json.loads(canonical_bytes(PROGRAM.record()))),
        pickle.loads(pickle.dumps(PROGRAM)),
    ):
        assert again == PROGRAM
        assert again.digest == PROGRAM.digest
        assert again.run(TABLE)[1].values.tobytes() == PROGRAM.run(TABLE)[1].values.tobytes()


def test_a_source_that_arrives_in_another_type_changes_nothing() -> None:
    other = pa.table(
        {
            "age": pa.array([43.0, np.nan, 58.0], pa.float32()),
            "delay": pa.array([20, None, 3], pa.int8()),
            "origin": pa.array(["LGA", "JFK", "ORD"]).dictionary_encode(),
            "at": pa.array([0, 0, None], pa.timestamp("s", "UTC")),
        }
    )
    assert PROGRAM.run(other)[1].values.tobytes() == PROGRAM.run(TABLE)[1].values.tobytes()


def test_a_source_without_any_value_may_have_lost_its_type() -> None:
    encoded = PROGRAM.run(TABLE.set_column(1, "age", pa.nulls(3)))[1]
    assert encoded.numeric[:, 0].tolist() == [0.0, 0.0]


AT = datetime(2024, 7, 1, 8, tzinfo=UTC)
MIDNIGHTS = [datetime(2024, 7, day, tzinfo=UTC).replace(tzinfo=None) for day in (1, 2)]


def _program_of_days(kind: pa.DataType) -> FeatureProgram:
    part = DatePart(name="day(at)", source="at", part="day")
    number = NumericColumn(name="day(at)", fill=0, mean=0, scale=1)
    encoder = Encoder(numeric=(number,), categorical=(), made=(part,))
    return compose_program(pa.schema({"at": kind}), RowSteps(), encoder)


@pytest.mark.parametrize(
    ("fitted", "given", "message"),
    [
        (pa.timestamp("us"), pa.array([AT], pa.timestamp("us", "America/New_York")), "'at' is .*, without a zone"),
        (pa.timestamp("us", "UTC"), pa.array([AT.replace(tzinfo=None)]), "'at' is .*, so give it with its zone"),
        (pa.timestamp("us", "UTC"), pa.array([AT.date()]), "'at' is date32.*, so give it with its zone"),
        (pa.date32(), pa.array([AT], pa.timestamp("us", "UTC")), "'at' is .*, without a zone"),
        (pa.date32(), pa.array([AT.replace(hour=0)], pa.timestamp("us", "UTC")), "'at' is .*, without a zone"),
        (pa.date32(), pa.array([MIDNIGHTS[0], AT.replace(tzinfo=None)]), "'at' is .*, which can't hold all"),
        (pa.timestamp("ns"), pa.array([date(9999, 12, 31)]), "'at' is .*, which can't hold all"),
    ],
    ids=["zone_to_none", "none_to_zone", "date_to_zone", "zone_to_date", "midnight", "hours_to_date", "too_late"],
)
def test_a_time_that_would_mean_another_is_refused_by_name(fitted: pa.DataType, given: pa.Array, message: str) -> None:
    program, table = _program_of_days(fitted), pa.table({"at": given})
    with pytest.raises(InvalidInput, match=message):
        program.run(table)
    with pytest.raises(InvalidInput, match=message):
        program.to_sklearn().transform(table.to_pandas())


@pytest.mark.parametrize(
    ("fitted", "given"),
    [
        (pa.date32(), pa.array(MIDNIGHTS, pa.timestamp("ns"))),
        (pa.date32(), pa.array([at.date() for at in MIDNIGHTS], pa.date64())),
        (pa.timestamp("ms"), pa.array([at.date() for at in MIDNIGHTS])),
        (pa.timestamp("ms", "UTC"), pa.array(MIDNIGHTS).cast(pa.timestamp("us", "Europe/Paris"))),
    ],
    ids=["midnights", "date64", "dates", "another_zone"],
)
def test_a_time_that_means_the_same_may_have_another_type(fitted: pa.DataType, given: pa.Array) -> None:
    assert _program_of_days(fitted).run(pa.table({"at": given}))[1].numeric.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize("fitted", [pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.date32()], ids=str)
@pytest.mark.parametrize("given", [pa.timestamp("ns"), pa.timestamp("ns", "UTC")], ids=str)
def test_times_that_are_all_missing_may_have_any_zone(fitted: pa.DataType, given: pa.DataType) -> None:
    assert _program_of_days(fitted).run(pa.table({"at": pa.nulls(2, given)}))[1].numeric.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(
    "column",
    [pa.array(["43", "secret", "58"]), pa.array([43.5, 1.0, 2.0]), pa.array([2**63, 1, 2], pa.uint64())],
    ids=["text", "fractions", "too_large"],
)
def test_a_source_that_cannot_take_the_fitted_type_is_refused_without_its_values(column: pa.Array) -> None:
    with pytest.raises(InvalidInput, match=r"'age' is .*trained on int64") as refused:
        PROGRAM.run(TABLE.set_column(1, "age", column))
    assert not any(value in str(refused.value) for value in ("secret", "43", str(2**63)))


def test_a_missing_source_is_refused_with_its_near_match() -> None:
    with pytest.raises(InvalidInput, match=r"'delay'.*Did you mean 'delays'"):
        PROGRAM.run(TABLE.rename_columns(["id", "age", "delays", "origin", "at"]))


def test_data_that_was_prepared_needs_no_steps() -> None:
    prepared, encoded = PROGRAM.run(TABLE)
    program = PROGRAM.after_preparation()
    assert program.source_columns() == ("age", "origin", "late", "year")
    assert program.steps == RowSteps()
    assert program.run(prepared)[1].values.tobytes() == encoded.values.tobytes()


@pytest.mark.parametrize(
    ("feature", "message"),
    [("agee", "'agee'.*Did you mean 'age'"), ("origin", "'origin' is string, not a number")],
    ids=["unknown", "text_as_number"],
)
def test_a_feature_that_the_data_cannot_give_is_refused(feature: str, message: str) -> None:
    encoder = Encoder(numeric=(NumericColumn(name=feature, fill=0, mean=0, scale=1),), categorical=())
    with pytest.raises(InvalidInput, match=message):
        compose_program(SCHEMA, STEPS, encoder)


def test_a_decimal_and_a_nested_source() -> None:
    encoder = Encoder(numeric=(NumericColumn(name="x", fill=0, mean=0, scale=1),), categorical=())
    program = compose_program(pa.schema({"x": pa.decimal128(5, 2)}), RowSteps(), encoder)
    assert FeatureProgram.from_record(program.record()) == program
    with pytest.raises(InvalidInput, match=r"'x'.*no feature can be made"):
        compose_program(pa.schema({"x": pa.list_(pa.int8())}), RowSteps(), encoder)


@pytest.mark.parametrize(
    "change",
    [
        {"sources": [["age", "int64"]]},
        {"sources": [*PROGRAM.record()["sources"], ["id", "string"]]},
        {"sources": [["age", "py_object"]]},
        {"steps": {}},
        {"encoder": None},
        {"sources": 3},
    ],
    ids=["sources_missing", "sources_unused", "unknown_type", "no_steps", "no_encoder", "no_sources"],
)
def test_a_record_that_is_no_whole_program_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Format, match="not "):
        FeatureProgram.from_record({**PROGRAM.record(), **change})


def test_another_program_has_another_digest() -> None:
    assert replace(PROGRAM, steps=replace(PROGRAM.steps, where=None)).digest != PROGRAM.digest


@pytest.mark.parametrize("module", ["dataops.features.program", "dataops.models.predictor"])
def test_importing_brings_no_dask_and_no_training_library(module: str) -> None:
    heavy = {"dask", "distributed", "xgboost", "sklearn", "scipy"}
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_program_runs_where_pandas_and_dask_are_not_installed() -> None:
    code = """
import json, sys
class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pandas", "dask", "distributed"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotInstalled())
import pyarrow as pa
from dataops.features.program import FeatureProgram
program = FeatureProgram.from_record(json.loads(sys.stdin.read()))
table = pa.table({"age": [43], "delay": [20.0], "origin": ["LGA"], "at": pa.array([0], pa.timestamp("us", "UTC"))})
print(program.run(table)[1].values.tolist())
"""
    record = canonical_bytes(PROGRAM.record()).decode()
    found = subprocess.run([sys.executable, "-c", code], input=record, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[[0.0, 1970.0, 2.0, 2.0]]"
