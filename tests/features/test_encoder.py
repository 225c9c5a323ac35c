import itertools
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.features import CategoricalFeatures, FeatureSpec, NumericFeatures
from dataops.errors import Format, InvalidInput
from dataops.features.encoder import CategoricalColumn, Encoded, Encoder, NumericColumn, encode
from dataops.features.fitting import asked_of, fit_encoder
from dataops.features.making import with_made
from dataops.features.summary import merge, summarise
from dataops.records import canonical_bytes, digest

NUMBERS = st.one_of(st.none(), st.just(float("nan")), st.floats(-1e6, 1e6, width=32))
TEXTS = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "é", ""]))


def numbers(*columns: str, **keys: Any) -> NumericFeatures:
    return NumericFeatures(columns=columns or ("x",), **{"impute": "mean", **keys})


def categories(*columns: str, **keys: Any) -> CategoricalFeatures:
    return CategoricalFeatures(columns=columns or ("c",), **keys)


def fit(table: pa.Table, **groups: Any) -> Encoder:
    spec = FeatureSpec(**groups)
    asked = asked_of(spec)
    return fit_encoder(summarise(with_made(table, asked.made), asked.numeric, asked.categorical), spec)


def by_sklearn(values: Any, fresh: Any, impute: Any, scale: str) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    filled = (
        SimpleImputer(strategy=impute)
        if isinstance(impute, str)
        else SimpleImputer(strategy="constant", fill_value=impute)
    )
    steps = make_pipeline(filled, *([StandardScaler()] if scale == "standard" else []))
    return steps.fit(values).transform(fresh)


@pytest.mark.parametrize("impute", ["mean", "median", 7.0])
@pytest.mark.parametrize("scale", ["standard", "none"])
def test_numbers_equal_scikit_learn_imputer_and_scaler(impute: Any, scale: str) -> None:
    random = np.random.default_rng(3)
    values = random.integers(-4000, 4000, (5000, 3)).astype(np.float64)  # medians of these are exact
    values[random.random(values.shape) < 0.1] = np.nan
    if impute != "median":
        values[:, 0] = values[:, 0] * 1e-3 + 0.1
    table = pa.table({name: values[:, place] for place, name in enumerate("xyz")})
    encoder = fit(table[:4000], numeric=numbers("x", "y", "z", impute=impute, scale=scale))
    expected = by_sklearn(values[:4000], values, impute, scale)
    np.testing.assert_allclose(encode(encoder, table).numeric, expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=40)
@given(st.lists(st.integers(-100, 100), min_size=1, max_size=30), st.lists(NUMBERS, max_size=30))
def test_any_numbers_equal_scikit_learn(values: list[int], fresh: list[float | None]) -> None:
    encoder = fit(pa.table({"x": pa.array(values, pa.int16())}), numeric=numbers(impute="median"))
    column = np.array([[np.nan if value is None else value] for value in fresh]).reshape(-1, 1)
    found = encode(encoder, pa.table({"x": pa.array(fresh, pa.float64())})).numeric
    if len(fresh):
        np.testing.assert_allclose(
            found, by_sklearn(np.array(values, float)[:, None], column, "median", "standard"), 1e-6, 1e-6
        )
    assert found.shape == (len(fresh), 1)


def test_mean_and_scale_equal_dask_ml() -> None:
    import dask.array as da
    from dask_ml.preprocessing import StandardScaler

    values = np.random.default_rng(4).normal(50, [1, 10, 1000], (10_000, 3))
    scaler = StandardScaler().fit(da.from_array(values, chunks=(3000, 3)))
    table = pa.table({name: values[:, place] for place, name in enumerate("xyz")})
    numeric = fit(table, numeric=numbers("x", "y", "z")).numeric
    np.testing.assert_allclose([column.mean for column in numeric], scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose([column.scale for column in numeric], scaler.scale_, rtol=1e-6)


@settings(max_examples=40)
@given(
    st.lists(TEXTS, min_size=1, max_size=60), st.lists(st.one_of(TEXTS, st.just("new")), max_size=30), st.integers(1, 4)
)
def test_categories_equal_scikit_learn_ordinal_encoder(seen: Any, fresh: Any, min_count: int) -> None:
    from sklearn.preprocessing import OrdinalEncoder

    texts = [text for text in seen if text is not None]
    frequent = sorted({text for text in texts if texts.count(text) >= min_count})
    encoder = fit(pa.table({"c": pa.array(seen, pa.string())}), categorical=categories(min_count=min_count))
    found = encode(encoder, pa.table({"c": pa.array(fresh, pa.string())}))
    assert encoder.categorical[0].categories == tuple(frequent)
    if frequent and fresh:
        reference = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        reference.fit(np.array(frequent, object)[:, None])
        np.testing.assert_array_equal(found.codes, reference.transform(np.array(fresh, object)[:, None]) + 1)
    assert found.unknown == {"c": sum(text is not None and text not in frequent for text in fresh)}


def test_any_split_of_training_rows_gives_the_same_encoder_bytes() -> None:
    random = np.random.default_rng(5)
    table = pa.table(
        {
            "x": pa.array(random.lognormal(0, 5, 3000), mask=random.random(3000) < 0.1),
            "c": random.choice(list("abc"), 3000),
        }
    )
    spec = FeatureSpec(numeric=numbers(impute="median"), categorical=categories())
    whole = fit_encoder(summarise(table, ["x"], ["c"]), spec).record()
    for cuts in ([1500], [1, 2, 2999], list(range(100, 3000, 100))):
        bounds = [0, *cuts, 3000]
        parts = [summarise(table[a:b], ["x"], ["c"]) for a, b in itertools.pairwise(bounds)]
        assert canonical_bytes(fit_encoder(merge(parts), spec).record()) == canonical_bytes(whole)


def test_a_row_is_encoded_the_same_whatever_rows_are_beside_it() -> None:
    random = np.random.default_rng(6)
    table = pa.table({"x": random.normal(size=100), "c": random.choice(["a", "b", "rare"], 100)})
    encoder = fit(table, numeric=numbers(), categorical=categories())
    whole = encode(encoder, table)
    for row in range(0, 100, 7):
        one = encode(encoder, table[row : row + 1])
        assert one.numeric.tobytes() == whole.numeric[row].tobytes()
        assert one.codes.tobytes() == whole.codes[row].tobytes()


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_the_storage_of_text_does_not_show(kind: pa.DataType) -> None:
    encoder = Encoder(numeric=(), categorical=(CategoricalColumn(name="c", categories=("a", "b")),))
    found = encode(encoder, pa.table({"c": pa.array(["b", None, "new", "a"], pa.string()).cast(kind)}))
    assert found.codes.tolist() == [[2], [0], [0], [1]]
    assert found.unknown == {"c": 1}


def test_integer_categories_survive_becoming_floats() -> None:
    encoder = fit(pa.table({"c": [3, 5, 3]}), categorical=categories())
    assert encode(encoder, pa.table({"c": [5.0, None, 3.0]})).codes.ravel().tolist() == [2, 0, 1]
    assert encode(encoder, pa.table({"c": pa.array([float("nan"), 4.5])})).unknown == {"c": 1}


def test_null_nan_and_infinities_are_filled_as_fixed_at_fit() -> None:
    table = pa.table({"x": [1.0, 3.0, None, float("nan"), float("inf"), float("-inf")]})
    encoder = fit(table, numeric=numbers(scale="none"))
    assert encode(encoder, table).numeric.ravel().tolist() == [1, 3, 2, 2, 2, 2]


def test_what_a_float32_cannot_hold_is_cut_to_its_largest() -> None:
    encoder = Encoder(numeric=(NumericColumn(name="x", fill=0.0, mean=0.0, scale=1e-300),), categorical=())
    found = encode(encoder, pa.table({"x": [1e300, -1e300, 1e308]})).numeric.ravel()
    assert np.isfinite(found).all()
    assert found[0] == -found[1] == found[2] == np.finfo(np.float32).max


def test_a_constant_column_becomes_zeros() -> None:
    table = pa.table({"x": [0.1, 0.1, None]})
    assert encode(fit(table, numeric=numbers()), table).numeric.tolist() == [[0], [0], [0]]


def test_an_all_null_column_can_only_be_imputed_with_a_number() -> None:
    table = pa.table({"x": pa.nulls(3, pa.float64()), "y": pa.nulls(3), "c": pa.nulls(3, pa.string())})
    with pytest.raises(InvalidInput, match=r"'x' has no finite value among 3 rows.*'y' has no finite value"):
        fit(table, numeric=numbers("x", "y"))
    encoder = fit(table, numeric=numbers(impute=4), categorical=categories())
    found = encode(encoder, table)
    assert (found.numeric.tolist(), found.codes.tolist(), found.unknown) == ([[0]] * 3, [[0]] * 3, {"c": 0})


def test_one_row_is_enough_and_no_row_encodes_to_nothing() -> None:
    table = pa.table({"x": [5.0], "c": ["a"]})
    encoder = fit(table, numeric=numbers(), categorical=categories())
    assert encode(encoder, table).values.tolist() == [[0, 1]]
    assert encode(encoder, table[:0]).values.shape == (0, 2)


def test_an_empty_training_set_is_refused_for_means_and_fine_for_numbers() -> None:
    table = pa.table({"x": pa.array([], pa.float64())})
    with pytest.raises(InvalidInput, match="can't be fitted on 0 rows"):
        fit(table, numeric=numbers())
    assert fit(table, numeric=numbers(impute=1.0)).numeric[0].scale == 1.0


def test_every_column_that_is_not_summarised_is_named_at_once() -> None:
    spec = FeatureSpec(numeric=numbers("x", "z"), categorical=categories("cc"))
    with pytest.raises(InvalidInput, match=r"'z'.*'cc'.*Did you mean 'c'"):
        fit_encoder(summarise(pa.table({"x": [1.0], "c": ["a"]}), ["x"], ["c"]), spec)


def test_a_missing_column_is_refused_before_anything_is_encoded() -> None:
    encoder = fit(pa.table({"x": [1.0], "c": ["a"]}), numeric=numbers(), categorical=categories())
    with pytest.raises(InvalidInput, match="'c'"):
        encode(encoder, pa.table({"x": [1.0]}))


def test_the_declared_spec_fits() -> None:
    spec = FeatureSpec.model_validate(
        {"numeric": {"columns": ["x"], "impute": "median"}, "categorical": {"columns": ["c"], "min_count": 2}}
    )
    encoder = fit_encoder(summarise(pa.table({"x": [1.0, 3.0], "c": ["a", "a"]}), ["x"], ["c"]), spec)
    assert encoder.numeric == (NumericColumn(name="x", fill=2.0, mean=2.0, scale=1.0),)
    assert encoder.categorical == (CategoricalColumn(name="c", categories=("a",)),)
    assert encoder.code_counts() == (2,)


@settings(max_examples=40)
@given(st.lists(st.tuples(NUMBERS, TEXTS), min_size=1, max_size=40))
def test_an_encoder_survives_json_and_encodes_to_the_same_bytes(rows: Any) -> None:
    table = pa.table(
        {"x": pa.array([row[0] for row in rows], pa.float64()), "c": pa.array([row[1] for row in rows], pa.string())}
    )
    impute = "median" if any(np.isfinite(row[0] or 0) and row[0] is not None for row in rows) else 0
    encoder = fit(table, numeric=numbers(impute=impute), categorical=categories())
    again = Encoder.from_record(json.loads(canonical_bytes(encoder.record())))
    assert again == encoder
    assert digest(again.record()) == digest(encoder.record())
    assert encode(again, table).values.tobytes() == encode(encoder, table).values.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"numeric": [{"name": "x", "fill": 0, "mean": 0, "scale": 0}]},
        {"numeric": [{"name": "x", "fill": 0, "mean": 0}]},
        {"numeric": [{"name": "x", "fill": "nan", "mean": 0, "scale": 1}]},
        {"categorical": [{"name": "c", "categories": ["a", "a"]}]},
        {"categorical": [{"name": "c", "categories": [1]}]},
        {"numeric": None},
    ],
)
def test_a_record_that_is_no_encoder_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Format, match="not an encoder"):
        Encoder.from_record({"numeric": [], "categorical": [], **change})


def test_the_matrix_is_numbers_then_codes_in_c_order() -> None:
    encoded = Encoded.of(numeric=np.array([[0.5], [1.5]], np.float32), codes=np.array([[2, 0], [1, 3]], np.int32))
    matrix = encoded.values
    assert (matrix.dtype, matrix.flags.c_contiguous, encoded.rows) == (np.float32, True, 2)
    assert matrix.tolist() == [[0.5, 2, 0], [1.5, 1, 3]]


def test_the_policies_group_size_binds_whatever_the_job_asks_for() -> None:
    table = pa.table({"c": ["often"] * 5 + ["rare"] * 2, "x": [1.0, 2.0, None, None, None, None, None]})
    summary = summarise(table, ("x",), ("c",))

    def fit_three(**groups: Any) -> Encoder:
        return fit_encoder(summary, FeatureSpec(**groups), min_group_size=3)

    encoder = fit_three(categorical=categories(min_count=1))
    assert b"often" in json.dumps(encoder.record()).encode()
    assert b"rare" not in json.dumps(encoder.record()).encode()
    with pytest.raises(InvalidInput, match="column 'x' has fewer than 3 values"):
        fit_three(numeric=numbers())
    constant = fit_three(numeric=numbers(impute=0.0, scale="none")).numeric[0]
    assert isinstance(constant, NumericColumn)
    assert constant.fill == 0.0
