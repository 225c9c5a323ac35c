"""Features as they are asked for: against scikit-learn, for any split, at the edges, under the policies."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.features import FeatureSpec
from dataops.errors import Format, InvalidInput
from dataops.features.binning import fit_cells
from dataops.features.encoder import Encoder, OutOfFold, encode
from dataops.features.fitting import Fitted, asked_of, fit_features
from dataops.features.making import with_made
from dataops.features.profile import count_columns
from dataops.features.program import FeatureProgram, compose_program
from dataops.features.steps import RowSteps
from dataops.features.summary import Summary, merge, summarise
from dataops.features.target import FOLDS, Outcomes
from dataops.records import canonical_bytes

BOUND = 2**-13
EVERYTHING = {
    "numeric": [
        {"columns": ["x"], "indicator": True, "clip": {"quantiles": [0.02, 0.98]}, "scale": "robust"},
        {"columns": ["y"], "log": True, "clip": [0.0, 50.0], "impute": 1.0},
        {"columns": ["n"], "scale": "min_max", "impute": "mean"},
        {"columns": ["x", "y"], "bins": 5},
    ],
    "categorical": [
        {"columns": ["c"], "encode": "target", "min_count": 2},
        {"columns": ["c", "d"], "encode": "frequency"},
        {"columns": ["d"], "encode": "hash", "buckets": 7},
        {"columns": ["c"]},
    ],
    "dates": [
        {"columns": ["at"], "parts": ["hour", "month"], "encode": "cyclical", "zone": "America/New_York"},
        {"columns": ["at"], "parts": ["weekday"], "encode": "category"},
        {"columns": ["at"], "parts": ["year"]},
    ],
    "crosses": [{"columns": ["c", "d"]}, {"columns": ["d", "c"], "encode": "target"}],
}
NUMBERS = st.none() | st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, float("nan"), float("inf"), -1e300])
ROW = st.tuples(
    NUMBERS,
    NUMBERS,
    st.none() | st.integers(-3, 3),
    st.none() | st.sampled_from(["a", "b", "é"]),
    st.none() | st.sampled_from(["p", "q", ""]),
    st.none() | st.integers(0, 2 * 10**9),
    st.integers(0, 1),
    st.integers(0, FOLDS - 1),
)
SCHEMA = pa.schema(
    [
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("n", pa.int32()),
        ("c", pa.string()),
        ("d", pa.string()),
        ("at", pa.timestamp("s", "UTC")),
    ]
)


def spec_of(asked: dict[str, Any]) -> FeatureSpec:
    return FeatureSpec.model_validate_json(json.dumps(asked), strict=True)


def table_of(rows: Any) -> pa.Table:
    columns = list(zip(*rows, strict=True))[: len(SCHEMA)] if rows else [()] * len(SCHEMA)
    return pa.table([pa.array(values, kind) for values, kind in zip(columns, SCHEMA.types, strict=True)], SCHEMA)


def outcomes_of(rows: Any) -> Outcomes:
    return Outcomes(
        target=np.array([row[-2] for row in rows], np.float32), folds=np.array([row[-1] for row in rows], np.uint8)
    )


def summary_of(spec: FeatureSpec, table: pa.Table, outcomes: Outcomes | None = None) -> Summary:
    asked = asked_of(spec)
    return summarise(with_made(table, asked.made), asked.numeric, asked.categorical, asked.targets, outcomes)


def fit(asked: dict[str, Any], table: pa.Table, outcomes: Outcomes | None = None, least: int = 1) -> Fitted:
    spec = spec_of(asked)
    return fit_features(summary_of(spec, table, outcomes), spec, min_group_size=least)


def encoded(asked: dict[str, Any], table: pa.Table, column: int = 0) -> Any:
    return encode(fit(asked, table).encoder, table).values[:, column]


def numbers(**keys: Any) -> dict[str, Any]:
    return {"numeric": {"columns": ["x"], **keys}}


def many() -> pa.Table:
    random = np.random.default_rng(8)
    return pa.table({"x": pa.array(random.lognormal(2, 1.5, 20_000), mask=random.random(20_000) < 0.1)})


@pytest.mark.parametrize("impute", ["median", "mean", 3.5])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("clip", [None, [1.0, 40.0], {"quantiles": [0.05, 0.95]}])
@pytest.mark.parametrize("scale", ["standard", "min_max", "none"])
def test_shaped_numbers_are_what_scikit_learn_makes_of_them_in_a_row(
    impute: Any, log: bool, clip: Any, scale: str
) -> None:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

    table = many()
    values = table["x"].to_numpy()[:, None]
    strategy = {"strategy": impute} if isinstance(impute, str) else {"strategy": "constant", "fill_value": impute}
    expected = SimpleImputer(**strategy).fit_transform(values)
    if clip is not None:
        ends = clip if isinstance(clip, list) else np.nanquantile(values, clip["quantiles"], method="inverted_cdf")
        expected = np.clip(expected, *ends)
    if log:
        expected = FunctionTransformer(np.log1p).fit_transform(expected)
    if scale != "none":
        expected = (StandardScaler() if scale == "standard" else MinMaxScaler()).fit_transform(expected)
    keys = {"impute": impute, "log": log, "scale": scale} | ({} if clip is None else {"clip": clip})
    spread = 1.0 if scale != "none" else float(np.abs(expected).max())
    np.testing.assert_allclose(encoded(numbers(**keys), table), expected[:, 0], rtol=2 * BOUND, atol=2 * BOUND * spread)


def test_robust_takes_median_and_quartiles_of_the_values_that_are_there() -> None:
    table = many()
    values = table["x"].to_numpy()
    low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75])
    expected = (np.where(np.isnan(values), middle, values) - middle) / (high - low)
    np.testing.assert_allclose(encoded(numbers(scale="robust"), table), expected, rtol=4 * BOUND, atol=4 * BOUND)


def test_an_indicator_says_where_there_was_no_finite_number() -> None:
    table = pa.table({"x": [1.0, None, float("nan"), float("inf"), 2.0]})
    fitted = fit(numbers(indicator=True), table)
    found = encode(fitted.encoder, table)
    assert found.values[:, 1].tolist() == [0, 1, 1, 1, 0]
    assert set(found.missing) == {0}  # a mark is there for every row


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-500, 500) | st.sampled_from([0, 7]), min_size=1, max_size=300), st.integers(2, 12))
def test_bins_rise_with_the_values_and_none_is_empty(values: list[int], bins: int) -> None:
    table = pa.table({"x": pa.array([*values, None], pa.int64())})
    codes = encoded(numbers(bins=bins), table)
    assert codes[-1] == 0
    order = np.argsort(values, kind="stable")
    assert (np.diff(codes[:-1][order]) >= 0).all()
    assert set(codes[:-1]) == set(range(1, int(codes.max()) + 1))
    assert codes.max() <= bins
    assert len({(value, code) for value, code in zip(values, codes, strict=False)}) == len(set(values))


@pytest.mark.parametrize("bins", [10, 200])
def test_bins_of_distinct_values_have_equally_many_rows_and_are_scikit_learns(bins: int) -> None:
    from sklearn.preprocessing import KBinsDiscretizer

    values = np.random.default_rng(3).permutation(6000)
    codes = encoded(numbers(bins=bins), pa.table({"x": values}))
    assert np.bincount(codes.astype(int)).tolist() == [0, *[6000 // bins] * bins]
    by_sklearn = KBinsDiscretizer(bins, encode="ordinal", strategy="quantile", quantile_method="inverted_cdf")
    assert np.mean(by_sklearn.fit_transform(values[:, None])[:, 0] == codes - 1) > 0.96  # an edge lies between values


def test_frequencies_are_shares_of_the_training_rows_and_the_unknown_has_none() -> None:
    table = pa.table({"c": ["a", "a", "a", "b", None]})
    asked = {"categorical": {"columns": ["c"], "encode": "frequency"}}
    encoder = fit(asked, table).encoder
    found = encode(encoder, pa.table({"c": ["a", "b", "new", None]}))
    np.testing.assert_array_equal(found.values[:, 0], np.array([0.6, 0.2, 0, 0], np.float32))
    assert (found.unknown, found.missing[0].tolist()) == ({"frequency(c)": 1}, [False, False, False, True])


def test_hashed_categories_have_codes_that_never_change_and_none_is_unknown() -> None:
    asked = {"categorical": {"columns": ["c"], "encode": "hash", "buckets": 1000}}
    encoder = fit(asked, pa.table({"c": ["a"]})).encoder
    found = encode(encoder, pa.table({"c": ["a", "b", "", "é", "new", None]}))
    assert found.values[:, 0].tolist() == [877, 211, 832, 223, 118, 0]
    assert (found.unknown, encoder.code_counts()) == ({}, (1001,))


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=40), st.lists(st.integers(0, 40), max_size=3))
def test_any_split_of_the_rows_gives_the_same_features_to_the_bit(rows: Any, cuts: list[int]) -> None:
    rows = [*rows, (1.0, 2.0, 1, "a", "p", 10**9, 1, 0)]  # at least one value of each
    spec, table = spec_of(EVERYTHING), table_of(rows)
    whole = fit_features(summary_of(spec, table, outcomes_of(rows)), spec)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [summary_of(spec, table[a:b], outcomes_of(rows[a:b])) for a, b in itertools.pairwise(bounds)]
    merged = merge(parts[::-1])
    again = fit_features(merged, spec)
    assert canonical_bytes(again.encoder.record()) == canonical_bytes(whole.encoder.record())
    assert all(again.by_fold[name].tobytes() == values.tobytes() for name, values in whole.by_fold.items())
    found = encode(whole.encoder, table)
    assert np.isfinite(found.values).all()
    assert (found.values[:, found.n_numeric :] < np.array(whole.encoder.code_counts())).all()
    read_back = Encoder.from_record(json.loads(canonical_bytes(whole.encoder.record())))
    assert read_back == whole.encoder
    for row in range(len(rows)):  # what is beside a row doesn't matter
        assert encode(read_back, table[row : row + 1]).values.tobytes() == found.values[row].tobytes()
    cells = fit_cells(merged, again.encoder)
    counts = count_columns(cells, found)
    starts = np.cumsum([0, *(one.n_cells for one in cells)])
    for place, (start, end) in enumerate(itertools.pairwise(starts)):
        assert counts[start:end].sum() == len(rows)
        assert (counts[start:end] >= 0).all()
        assert counts[start] == (found.missing[place].sum() if place in found.missing else 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=20))
def test_an_application_gets_from_raw_rows_what_training_did(rows: Any) -> None:
    rows = [*rows, (1.0, 2.0, 1, "a", "p", 10**9, 1, 0)]
    table = table_of(rows)
    encoder = fit(EVERYTHING, table, outcomes_of(rows)).encoder
    program = FeatureProgram.from_record(json.loads(canonical_bytes(_program(encoder).record())))
    assert program.source_columns() == tuple(SCHEMA.names)
    expected = encode(encoder, table).values.tobytes()
    stored = table.set_column(3, "c", table["c"].cast(pa.dictionary(pa.int32(), pa.string())))
    stored = stored.set_column(2, "n", pa.array([None if row[2] is None else float(row[2]) for row in rows]))
    stored = stored.set_column(5, "at", table["at"].cast(pa.timestamp("us", "Asia/Tokyo")))
    assert program.run(stored)[1].values.tobytes() == expected


def _program(encoder: Encoder) -> FeatureProgram:
    return compose_program(SCHEMA, RowSteps(), encoder)


def test_training_rows_alone_are_encoded_out_of_fold_and_only_by_the_targets_means() -> None:
    random = np.random.default_rng(2)
    table = pa.table({"c": random.choice(list("ab"), 100), "x": random.random(100)})
    outcomes = Outcomes(target=(random.random(100) < 0.5).astype(np.float32), folds=random.integers(0, FOLDS, 100))
    asked = numbers() | {"categorical": {"columns": ["c"], "encode": "target"}}
    fitted = fit(asked, table, outcomes)
    plain = encode(fitted.encoder, table).values
    training = encode(fitted.encoder, table, OutOfFold(folds=outcomes.folds, values=fitted.by_fold)).values
    assert training[:, 0].tobytes() == plain[:, 0].tobytes()
    assert len(set(plain[:, 1])) == 2
    assert len(set(training[:, 1])) == 2 * FOLDS
    assert "by_fold" not in json.dumps(fitted.encoder.record())


class TestAtTheEdges:
    def test_no_row_at_all_encodes_to_nothing(self) -> None:
        table = table_of([(1.0, 2.0, 1, "a", "p", 10**9, 1, 0)])
        outcomes = outcomes_of([(1.0, 2.0, 1, "a", "p", 10**9, 1, 0)])
        encoder = fit(EVERYTHING, table, outcomes).encoder
        assert encode(encoder, table[:0]).values.shape == (0, len(encoder.columns))

    def test_an_empty_unit_changes_nothing(self) -> None:
        rows = [(float(place), 2.0, 1, "a", "p", 10**9, 1, place % 4) for place in range(9)]
        spec, table = spec_of(EVERYTHING), table_of(rows)
        full, empty = summary_of(spec, table, outcomes_of(rows)), summary_of(spec, table[:0], outcomes_of([]))
        expected = canonical_bytes(fit_features(full, spec).encoder.record())
        assert canonical_bytes(fit_features(merge([empty, full, empty]), spec).encoder.record()) == expected

    def test_one_row_is_enough(self) -> None:
        rows = [(1.0, 2.0, 1, "a", "p", 10**9, 1, 0)]
        fitted = fit(EVERYTHING, table_of(rows), outcomes_of(rows))
        found = encode(fitted.encoder, table_of(rows), OutOfFold(folds=np.zeros(1, int), values=fitted.by_fold))
        assert np.isfinite(found.values).all()

    def test_an_all_null_column_has_one_bin_no_frequency_and_the_overall_mean(self) -> None:
        table = pa.table({"x": pa.nulls(6, pa.float64()), "c": pa.nulls(6, pa.string()), "t": pa.nulls(6)})
        outcomes = Outcomes(target=np.array([0, 0, 0, 1, 1, 1], np.float32), folds=np.arange(6) % FOLDS)
        groups = [{"columns": ["c"], "encode": encode} for encode in ("frequency", "target", "hash", "ordinal")]
        asked = {
            "numeric": [{"columns": ["x"], "bins": 4}, {"columns": ["x"], "impute": 2.0, "scale": "min_max"}],
            "categorical": groups,
            "crosses": {"columns": ["c", "t"]},
            "dates": {"columns": ["t"], "parts": ["hour"], "encode": "cyclical"},
        }
        encoder = fit(asked, table, outcomes).encoder
        found = encode(encoder, table)
        assert found.values.tolist() == [[0, 0, 0, 0, 0.5, 0, 0, 0, 0]] * 6
        counts = count_columns(fit_cells(summary_of(spec_of(asked), table, outcomes), encoder), found)
        assert counts[counts > 0].tolist() == [6] * 9  # all in the cell of what is missing
        with pytest.raises(InvalidInput, match=r"'year\(t\)' has no finite value among 6 rows.*impute a number"):
            fit({"dates": {"columns": ["t"], "parts": ["year"]}}, table)

    @pytest.mark.parametrize("scale", ["standard", "min_max", "robust"])
    @pytest.mark.parametrize("log", [False, True])
    def test_a_constant_column_becomes_zeros(self, scale: str, log: bool) -> None:
        table = pa.table({"x": [0.1, 0.1, 0.1]})
        assert encoded(numbers(scale=scale, log=log), table).tolist() == [0, 0, 0]
        assert encoded(numbers(bins=5), table).tolist() == [1, 1, 1]

    def test_infinite_values_are_missing_ones_whatever_is_asked(self) -> None:
        table = pa.table({"x": [1.0, 3.0, float("inf"), float("-inf")]})
        for keys in ({"scale": "min_max"}, {"scale": "robust"}, {"clip": [0.0, 9.0]}, {"log": True}):
            found = encoded(numbers(**keys), table)
            assert np.isfinite(found).all()
            assert found[2] == found[3]
        assert encoded(numbers(bins=2), table).tolist() == [1, 2, 0, 0]

    def test_the_largest_numbers_are_scaled_or_refused(self) -> None:
        largest = float(np.finfo(np.float64).max)
        table = pa.table({"x": [largest, -largest, 0.0]})
        with pytest.raises(InvalidInput, match="'x' spreads further than a number can tell"):
            fit(numbers(scale="min_max"), table)
        assert np.isfinite(encoded(numbers(clip=[-1e308, 1e308], scale="none"), table)).all()
        assert encoded(numbers(bins=3), table).tolist() == [3, 1, 2]

    def test_a_thousand_columns_of_every_kind(self) -> None:
        random = np.random.default_rng(4)
        columns = {f"x{place:03d}": random.normal(size=50) for place in range(1000)}
        names = list(columns)
        asked = {
            "numeric": [
                {"columns": names[:300], "indicator": True, "scale": "robust"},
                {"columns": names[300:600], "bins": 4},
                {"columns": names[600:], "clip": {"quantiles": [0.1, 0.9]}},
            ]
        }
        table = pa.table(columns)
        fitted = fit(asked, table)
        found = encode(fitted.encoder, table)
        assert found.values.shape == (50, 1300)
        one = encode(
            fit({"numeric": {"columns": [names[650]], "clip": {"quantiles": [0.1, 0.9]}}}, table).encoder, table
        )
        assert found.values[:, 650].tobytes() == one.values[:, 0].tobytes()

    def test_a_category_unseen_in_training_looks_up_what_the_rare_ones_have(self) -> None:
        table = pa.table({"c": ["a"] * 6 + ["rare"] * 2})
        outcomes = Outcomes(target=np.array([1, 1, 1, 0, 0, 0, 1, 1], np.float32), folds=np.arange(8) % FOLDS)
        asked = {"categorical": {"columns": ["c"], "encode": "target", "min_count": 3, "smoothing": 0.0}}
        found = encode(fit(asked, table, outcomes).encoder, pa.table({"c": ["a", "rare", "new", None]}))
        assert found.values[:, 0].tolist() == [0.5, 1, 1, 1]
        assert found.unknown == {"target(c)": 2}


class TestUnderThePolicies:
    TABLE = pa.table({"x": [float(place) for place in range(100)]})

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"scale": "min_max"}, "scale: min_max: fewer than 5 values lie at or beyond an end"),
            ({"clip": {"quantiles": [0.0, 0.9]}}, "clip: fewer than 5 values"),
            ({"clip": {"quantiles": [0.1, 0.99]}}, "clip: fewer than 5 values"),
            ({"clip": [-5.0, 90.0], "scale": "min_max"}, "scale: min_max: fewer than 5 values"),
            ({"bins": 30}, "some of 30 bins have fewer than 5 values"),
        ],
    )
    def test_no_end_is_learnt_that_few_values_lie_at(self, keys: Any, message: str) -> None:
        fit(numbers(**keys), self.TABLE)
        with pytest.raises(InvalidInput, match=message):
            fit(numbers(**keys), self.TABLE, least=5)

    @pytest.mark.parametrize(
        "keys",
        [
            {"scale": "robust"},
            {"clip": {"quantiles": [0.05, 0.95]}, "scale": "min_max"},
            {"clip": [10.0, 90.0], "scale": "min_max"},
            {"bins": 20},
        ],
    )
    def test_what_many_values_lie_at_is(self, keys: Any) -> None:
        assert np.isfinite(encode(fit(numbers(**keys), self.TABLE, least=5).encoder, self.TABLE).values).all()

    @pytest.mark.parametrize("how", ["ordinal", "frequency", "target"])
    def test_rare_categories_leave_no_trace(self, how: str) -> None:
        table = pa.table({"c": ["often"] * 20 + ["rare"] * 2})
        outcomes = Outcomes(target=np.array([1, 0] * 10 + [1, 1], np.float32), folds=np.arange(22) % FOLDS)
        asked = {"categorical": {"columns": ["c"], "encode": how}}
        record = fit(asked, table, outcomes, least=5).encoder.record()
        without = Outcomes(target=outcomes.target[:20], folds=outcomes.folds[:20])
        assert record == fit(asked, table[:20], without, least=5).encoder.record()


def test_values_below_zero_have_no_logarithm() -> None:
    table = pa.table({"x": [-1.0, 3.0]})
    with pytest.raises(InvalidInput, match="'x' has values below 0, of which log takes none"):
        fit(numbers(log=True), table)
    assert encoded(numbers(log=True, clip=[0.0, 9.0], scale="none"), table).tolist() == [0, np.float32(np.log(4))]


def test_all_findings_come_at_once() -> None:
    table = pa.table({"x": pa.nulls(3, pa.float64()), "y": [-1.0, 2.0, 3.0]})
    asked = {"numeric": [{"columns": ["x"]}, {"columns": ["y"], "log": True}]}
    with pytest.raises(InvalidInput, match=r"'x' has no finite value.*'y' has values below 0"):
        fit(asked, table)


@pytest.mark.parametrize(
    "change",
    [
        {"numeric": [{"name": "x", "fill": 0, "mean": 0, "scale": 1, "low": 2, "high": 1}]},
        {"numeric": [{"kind": "is_missing", "name": "m"}]},
        {"numeric": [{"kind": "mode", "name": "m", "source": "x"}]},
        {"numeric": [{"kind": "target", "name": "t", "source": "c", "categories": ["a"], "values": [], "other": 0}]},
        {"numeric": [{"kind": "target", "name": "t", "source": "c", "categories": [], "values": [], "other": "nan"}]},
        {"categorical": [{"kind": "bins", "name": "b", "source": "x", "edges": [1, 1]}]},
        {"categorical": [{"kind": "hash", "name": "h", "source": "c", "buckets": 2**24}]},
        {"categorical": [{"kind": "hash", "name": "h", "source": "c", "buckets": True}]},
        {"made": [{"kind": "cross", "name": "unused", "sources": ["a", "b"]}]},
        {"made": [{"kind": "magic", "name": "m", "source": "x"}]},
        {"made": "all"},
    ],
)
def test_a_record_that_is_no_encoder_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Format, match="not an encoder"):
        Encoder.from_record({"numeric": [], "categorical": [], **change})
