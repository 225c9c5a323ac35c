"""A program as scikit-learn's own transformers, against the program: the same matrix, to the bit, for any frame."""

from __future__ import annotations

import datetime as dt
import decimal
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import ColumnTransformer

from dataops.errors import InvalidInput
from dataops.features.encoder import CategoricalColumn, Encoder, NumericColumn
from dataops.features.kinds import BinColumn, HashColumn, IndicatorColumn, LookupColumn
from dataops.features.making import Crossed, DatePart
from dataops.features.program import FeatureProgram, compose_program
from dataops.features.steps import RowSteps
from dataops.governance.expressions import parse_expression
from dataops.governance.masking import parse_mask

# of numbers near the largest there are; the program computes as silently as it clips
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")

BEGIN = dt.datetime(1960, 1, 1, tzinfo=dt.UTC)
MOMENTS = st.integers(0, 3 * 10**15).map(lambda n: BEGIN + dt.timedelta(microseconds=n))
VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "flag": (pa.bool_(), st.booleans()),
    "small": (pa.int16(), st.integers(-4, 4)),
    "count": (pa.int64(), st.integers(-(2**53), 2**53)),
    "ratio": (pa.float64(), st.floats() | st.sampled_from([-0.0, 7.0, 1e308, -1e308, 5e-324, float("inf")])),
    "short": (pa.float32(), st.floats(width=32)),
    "price": (pa.decimal128(9, 2), st.decimals(-1000, 1000, places=2)),
    "word": (pa.string(), st.sampled_from(["a", "b", "", "é", "nan", "None", "unseen"]) | st.text(max_size=2)),
    "day": (pa.date32(), MOMENTS.map(dt.datetime.date)),
    "at": (pa.timestamp("us", "UTC"), MOMENTS),
    "local": (pa.timestamp("ms"), MOMENTS.map(lambda at: at.replace(tzinfo=None, microsecond=7000))),
}
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in VALUES.items()])
STEPS = RowSteps(
    generalise=tuple(
        (name, parse_mask({"generalise": to}, where="test")) for name, to in {"small": {"width": 3}}.items()
    ),
    derive=tuple(
        (name, parse_expression(text, where="test"))
        for name, text in {
            "year": "extract(year from at)",
            "late": "ratio > 15",
            "twice": "small * 2.5",
            "both": "word || '-' || word",
        }.items()
    ),
)
NUMBERS = ("flag", "small", "count", "ratio", "short", "price", "year", "twice")
CATEGORIES = ("flag", "small", "ratio", "word", "day", "at", "local", "late", "both")
FINITE = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 5).map(float)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(1, 8))
    columns = [
        pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind, from_pandas=False)
        for kind, values in VALUES.values()
    ]
    return pa.table(columns, SCHEMA)


@st.composite
def programs(draw: st.DrawFn, table: pa.Table) -> FeatureProgram:
    """A program some of whose categories are those of `table`."""
    prepared, _ = STEPS.apply(table)
    numeric = draw(st.lists(st.sampled_from(NUMBERS), unique=True, max_size=4))
    categorical = draw(st.lists(st.sampled_from(CATEGORIES), unique=True, min_size=0 if numeric else 1, max_size=4))
    scales = FINITE.map(abs).filter(bool)
    encoder = Encoder(
        numeric=tuple(
            NumericColumn(name=name, fill=draw(FINITE), mean=draw(st.just(0.0) | FINITE), scale=draw(scales))
            for name in numeric
        ),
        categorical=tuple(
            CategoricalColumn(name=name, categories=draw(_some_texts(prepared, name))) for name in categorical
        ),
    )
    return compose_program(SCHEMA, STEPS, encoder)


def _some_texts(table: pa.Table, name: str) -> st.SearchStrategy[tuple[str, ...]]:
    from dataops.features.columns import read_categories

    there = [text for text in read_categories(name, table.column(name)).texts.to_pylist() if text is not None]
    return st.lists(st.sampled_from([*there, "a", "true", "0"]), unique=True).map(lambda one: tuple(sorted(one)))


KINDS = ("plain", "objects", "nullable", "arrow", "categories", "another order", "another index")


def frame_of(table: pa.Table, kind: str) -> pd.DataFrame:
    """`table` as different people have it."""
    plain = table.to_pandas()
    nullable = {pa.int64(): pd.Int64Dtype(), pa.int16(): pd.Int16Dtype(), pa.bool_(): pd.BooleanDtype()}
    match kind:
        case "objects":
            without = plain.isna() & (plain.dtypes != "float64").to_numpy()
            return plain.astype(object).where(~without, None)
        case "nullable":
            return table.to_pandas(types_mapper=nullable.get)
        case "arrow":
            return table.to_pandas(types_mapper=pd.ArrowDtype)
        case "categories":
            return plain.assign(word=plain["word"].astype("category"))
        case "another order":
            return plain.iloc[:, ::-1].assign(more=1)
        case "another index":
            return plain.set_index(pd.Index([7] * len(plain)))
    return plain


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(KINDS))
def test_any_frame_gives_the_matrix_of_the_program(data: st.DataObject, kind: str) -> None:
    table = data.draw(tables())
    program = data.draw(programs(table))
    expected = program.run(table)[1].values
    found = program.to_sklearn().transform(frame_of(table, kind))
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


PROGRAM = compose_program(
    SCHEMA,
    STEPS,
    Encoder(
        numeric=(
            NumericColumn(name="ratio", fill=3.5, mean=1.25, scale=0.1),
            NumericColumn(name="year", fill=1990.0, mean=0.0, scale=1.0),
        ),
        categorical=(
            CategoricalColumn(name="word", categories=("a", "b")),
            CategoricalColumn(name="late", categories=()),
            CategoricalColumn(name="ratio", categories=("0", "7")),
        ),
    ),
)
FRAME = pd.DataFrame(
    {
        "ratio": [1.0, None, float("inf"), -0.0, 1e308],
        "word": ["a", None, "unseen", "b", float("nan")],
        "at": pd.to_datetime(["2001-02-03", None, "1999-12-31", "2020-01-01", "1970-01-01"], utc=True),
    }
)


SHAPED = Encoder(
    numeric=(
        NumericColumn(name="small", fill=0.0, mean=0.5, scale=2.0),
        NumericColumn(name="ratio", fill=1.0, mean=2.0, scale=3.0, low=-1.0, high=50.0, log=True),
        IndicatorColumn(name="is_missing(ratio)", source="ratio"),
        LookupColumn(
            name="target(word)", source="word", of="target", categories=("a", "b"), values=(0.25, 0.75), other=0.5
        ),
        NumericColumn(name="sin(hour(at))", fill=0.0, mean=0.0, scale=1.0),
        NumericColumn(name="count", fill=0.0, mean=0.0, scale=1.0),
    ),
    categorical=(
        CategoricalColumn(name="word", categories=("a", "b")),
        BinColumn(name="bins(ratio)", source="ratio", edges=(0.0, 7.0)),
        HashColumn(name="hash(word)", source="word", buckets=5),
        CategoricalColumn(name="cross(word, small)", categories=('["a","0"]', '["b","3"]')),
    ),
    made=(
        DatePart(name="sin(hour(at))", source="at", part="hour", zone="America/New_York", wave="sin"),
        Crossed(name="cross(word, small)", sources=("word", "small")),
    ),
)


@settings(max_examples=30, deadline=None)
@given(tables(), st.sampled_from(KINDS))
def test_features_that_scikit_learn_has_no_class_for_are_made_by_the_encoder_itself(table: pa.Table, kind: str) -> None:
    program = compose_program(SCHEMA, STEPS, SHAPED)
    transformer = program.to_sklearn()
    assert [name for name, _, _ in transformer.transformers] == [
        *("numbers", "features", "numbers_2"),
        *("categories", "features_4"),
    ]
    found = transformer.transform(frame_of(table, kind))
    assert found.tobytes() == program.run(table)[1].values.tobytes()
    names = [name.partition("__")[2] for name in transformer.get_feature_names_out()]
    assert names == [one.name for one in SHAPED.columns]


def test_it_is_a_plain_fitted_column_transformer_of_plain_parts() -> None:
    transformer = PROGRAM.to_sklearn()
    assert type(transformer) is ColumnTransformer
    parts = {name: [type(step).__name__ for _, step in part.steps] for name, part, _ in transformer.transformers}
    assert parts == {
        "numbers": ["FunctionTransformer", "SimpleImputer", "StandardScaler", "FunctionTransformer"],
        "categories": ["FunctionTransformer", "OrdinalEncoder", "FunctionTransformer"],
    }
    assert transformer.transform(FRAME)[:, 2:].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0], [2, 0, 1], [0, 0, 0]]


def test_a_fill_near_the_largest_number_is_that_fill() -> None:
    encoder = Encoder(numeric=(NumericColumn(name="ratio", fill=1.5e308, mean=1e308, scale=1e300),), categorical=())
    found = compose_program(SCHEMA, RowSteps(), encoder).to_sklearn().transform(FRAME)
    assert found[1, 0] == np.float32(5e7)


def test_copies_of_it_and_fitting_it_again_change_nothing() -> None:
    transformer = PROGRAM.to_sklearn()
    expected = transformer.transform(FRAME).tobytes()
    again = [
        pickle.loads(pickle.dumps(transformer)),
        clone(transformer).fit(FRAME.head(2)),
        PROGRAM.to_sklearn().fit(FRAME.tail(1), [1]),
        FeatureProgram.from_record(PROGRAM.record()).to_sklearn(),
    ]
    assert all(one.transform(FRAME).tobytes() == expected for one in again)


def test_the_columns_have_the_names_of_their_features() -> None:
    names = PROGRAM.to_sklearn().get_feature_names_out().tolist()
    assert names == [
        *("numbers__ratio", "numbers__year"),
        *("categories__word", "categories__late", "categories__ratio"),
    ]


def test_rows_of_a_program_that_leaves_some_out_must_be_filtered_by_the_caller() -> None:
    where = parse_expression("ratio is not null", where="test")
    steps = RowSteps(derive=STEPS.derive, where=where)
    program = compose_program(SCHEMA, steps, PROGRAM.encoder)
    with pytest.raises(InvalidInput, match=r"leaves out rows .*filtered=True"):
        program.to_sklearn()
    kept = FRAME[FRAME["ratio"].notna()]
    found = program.to_sklearn(filtered=True).transform(kept)
    assert found.tobytes() == program.run(pa.Table.from_pandas(FRAME, preserve_index=False))[1].values.tobytes()


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("ratio", list("12345"), "'ratio' is .*string; the model was trained on double"),
        ("word", [1, "a"] * 2 + [0], ""),
    ],
    ids=["text", "several_types"],
)
def test_a_column_of_another_type_is_refused_as_by_the_program(column: str, values: list[Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message or "values of several types"):
        PROGRAM.to_sklearn().transform(FRAME.assign(**{column: pd.Series(values, dtype=object)}))


def test_a_decimal_and_a_date_are_read_as_they_are() -> None:
    encoder = Encoder(
        numeric=(NumericColumn(name="price", fill=0.0, mean=0.0, scale=1.0),),
        categorical=(CategoricalColumn(name="day", categories=("2001-02-03",)),),
    )
    frame = pd.DataFrame({"price": [decimal.Decimal("1.50"), None], "day": [dt.date(2001, 2, 3), None]})
    found = compose_program(SCHEMA, RowSteps(), encoder).to_sklearn().transform(frame)
    assert found.tolist() == [[1.5, 1.0], [0.0, 0.0]]


def test_scikit_learn_is_imported_only_when_it_is_asked_for() -> None:
    code = "import sys, dataops.features.sklearn; print(sorted({'sklearn', 'pandas', 'scipy'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
