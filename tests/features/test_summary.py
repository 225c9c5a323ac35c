import itertools
import json
import math
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import Format, InvalidInput, NotFound
from dataops.features.summary import Merging, Summary, merge, summarise
from dataops.records import canonical_bytes

NUMBERS = st.one_of(st.none(), st.floats(), st.integers(-9000, 9000).map(float), st.sampled_from([0.0, -0.0]))
TEXTS = st.one_of(st.none(), st.sampled_from(["a", "b", "", "é", "\U0001f600"]), st.text(max_size=3))
ROWS = st.lists(st.tuples(NUMBERS, TEXTS), max_size=60)


def table_of(rows: list[tuple[float | None, str | None]]) -> pa.Table:
    numbers, texts = [row[0] for row in rows], [row[1] for row in rows]
    return pa.table({"x": pa.array(numbers, pa.float64()), "c": pa.array(texts, pa.string())})


def summary_of(rows: list[tuple[float | None, str | None]]) -> Summary:
    return summarise(table_of(rows), ["x"], ["c"])


def same(left: Summary, right: Summary) -> bool:
    return canonical_bytes(left.record()) == canonical_bytes(right.record())


@settings(max_examples=50)
@given(ROWS, st.lists(st.integers(0, 60), max_size=4))
def test_any_split_of_the_rows_gives_the_same_summary(rows: Any, cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(rows)]
    parts = [summary_of(rows[start:stop]) for start, stop in itertools.pairwise(bounds)]
    assert same(merge(parts), summary_of(rows))


@settings(max_examples=30)
@given(ROWS, ROWS, ROWS)
def test_merging_is_associative_and_commutative(first: Any, second: Any, third: Any) -> None:
    a, b, c = summary_of(first), summary_of(second), summary_of(third)
    assert same(merge([merge([a, b]), c]), merge([a, merge([b, c])]))
    assert same(merge([a, b, c]), merge([c, a, b]))


def test_summaries_merged_as_they_come_are_those_merged_at_once() -> None:
    parts = [summary_of([(number / 7, "abc"[number % 3]), (None, None)]) for number in range(150)]
    merging = Merging()
    for part in parts:
        merging.add(part)
    assert same(merging.merged(), merge(parts))
    with pytest.raises(InvalidInput, match="no summary to merge"):
        Merging().merged()


def quantile_of(values: Any, probability: float) -> float:
    """The inverted distribution function, in whole numbers; NumPy's own is off by a rank where 0.07 * 100 is not 7."""
    rank = math.ceil(Fraction(str(probability)) * len(values))
    return float(np.sort(values)[max(rank, 1) - 1])


@pytest.mark.parametrize("rows", [100, 1000, 3000])
def test_quantiles_of_hundredths_are_of_the_very_rank(rows: int) -> None:
    column = summarise(pa.table({"x": range(1, rows + 1)}), ["x"], []).numeric_column("x")
    found = [column.quantile(hundredth / 100) for hundredth in range(1, 101)]
    assert found == [hundredth * rows // 100 for hundredth in range(1, 101)]


@settings(max_examples=50)
@given(
    st.lists(st.floats(-1e300, 1e300).filter(lambda value: value == 0 or abs(value) > 1e-300), min_size=1, max_size=80),
    st.floats(0, 1),
)
def test_a_quantile_is_the_inverted_cdf_within_its_bound(values: list[float], probability: float) -> None:
    found = summarise(pa.table({"x": values}), ["x"], []).numeric_column("x").quantile(probability)
    expected = quantile_of(values, probability)
    assert abs(found - expected) <= 2**-13 * abs(expected)


@settings(max_examples=50)
@given(st.lists(st.integers(-8192, 8192), min_size=1, max_size=80))
def test_quantiles_of_small_integers_are_exact(values: list[int]) -> None:
    column = summarise(pa.table({"x": values}), ["x"], []).numeric_column("x")
    assert column.median() == np.median(values)
    for probability in (0.0, 0.1, 0.5, 0.9, 1.0):
        assert column.quantile(probability) == quantile_of(values, probability)


def test_quantiles_of_many_random_values_stay_within_the_bound() -> None:
    values = np.random.default_rng(1).lognormal(3, 4, 100_000) * np.random.default_rng(2).choice([-1, 1], 100_000)
    column = summarise(pa.table({"x": values}), ["x"], []).numeric_column("x")
    for probability in np.linspace(0, 1, 41):
        expected = quantile_of(values, probability)
        assert column.quantile(probability) == pytest.approx(expected, rel=2**-13, abs=0)


@settings(max_examples=50)
@given(st.lists(st.floats(-1e150, 1e150), min_size=1, max_size=60))
def test_mean_and_deviation_are_correctly_rounded(values: list[float]) -> None:
    column = summarise(pa.table({"x": values}), ["x"], []).numeric_column("x")
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / len(exact)
    assert column.mean() == float(mean)
    assert column.moments(0.0) == (float(mean), pytest.approx(float(variance) ** 0.5, rel=1e-15))


@pytest.mark.parametrize("distinct", [1, 3, 200, 5000])
def test_floats_are_counted_by_value_or_added_one_by_one_to_the_same_summary(distinct: int) -> None:
    random = np.random.default_rng(distinct)
    known = np.concatenate([random.normal(0, 10.0 ** random.integers(-200, 150), distinct), [0.0, -0.0, 0.1, -1e300]])
    known = np.concatenate([known, [float("nan"), float("inf"), float("-inf")]])
    values = random.choice(known, 40_000)
    table = pa.table({"x": pa.array(values, mask=random.random(40_000) < 0.1)})
    parts = [summarise(table[start : start + 1000], ["x"], []) for start in range(0, 40_000, 1000)]  # too few to count
    assert same(summarise(table, ["x"], []), merge(parts))


def test_a_large_offset_costs_no_precision() -> None:
    values = 1.7e15 + np.arange(1000)  # times in microseconds: the textbook formula gives a wrong variance here
    _, deviation = summarise(pa.table({"x": values}), ["x"], []).numeric_column("x").moments(0.0)
    assert deviation == pytest.approx(np.arange(1000).std(), rel=1e-12)


def test_a_constant_column_has_deviation_zero_to_the_bit() -> None:
    column = summarise(pa.table({"x": [0.1] * 12345}), ["x"], []).numeric_column("x")
    assert column.moments(column.mean()) == (0.1, 0.0)


def test_the_largest_floats_have_a_mean_a_deviation_and_quantiles() -> None:
    largest = 1.7976931348623157e308
    column = summarise(pa.table({"x": [largest, -largest]}), ["x"], []).numeric_column("x")
    assert column.moments(0.0) == (0.0, largest)
    assert (column.quantile(0.0), column.quantile(1.0), column.median()) == (-largest, largest, 0.0)


@settings(max_examples=50)
@given(ROWS)
def test_counts_and_extremes_are_exact(rows: Any) -> None:
    summary = summary_of(rows)
    column = summary.numeric_column("x")
    values = np.array([np.nan if row[0] is None else row[0] for row in rows])
    finite = values[np.isfinite(values)] if len(rows) else np.array([])
    assert (column.rows, column.missing, column.infinite) == (len(rows), np.isnan(values).sum(), np.isinf(values).sum())
    assert (column.minimum, column.maximum) == ((min(finite), max(finite)) if len(finite) else (None, None))
    assert int(column.counts.sum()) == column.finite == len(finite)


@settings(max_examples=50)
@given(ROWS)
def test_categories_are_counted_exactly_and_sorted_as_python_sorts(rows: Any) -> None:
    column = summary_of(rows).categorical_column("c")
    texts = [row[1] for row in rows if row[1] is not None]
    assert column.values.to_pylist() == sorted(set(texts))
    assert column.counts.tolist() == [texts.count(text) for text in sorted(set(texts))]
    assert column.missing == len(rows) - len(texts)
    assert column.frequent(2) == tuple(text for text in sorted(set(texts)) if texts.count(text) >= 2)


@settings(max_examples=30)
@given(ROWS)
def test_a_summary_survives_json_and_pickle(rows: Any) -> None:
    summary = summary_of(rows)
    assert same(Summary.from_record(json.loads(canonical_bytes(summary.record()))), summary)
    assert same(pickle.loads(pickle.dumps(summary)), summary)


@settings(max_examples=20)
@given(ROWS)
def test_storage_of_the_column_does_not_show(rows: Any) -> None:
    table = table_of(rows)
    other = pa.table({"x": table.column("x"), "c": table.column("c").cast(pa.large_string()).dictionary_encode()})
    assert same(summarise(other, ["x"], ["c"]), summarise(table, ["x"], ["c"]))


def test_a_merged_summary_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no summary to merge"):
        merge([])


def test_summaries_of_different_columns_do_not_merge() -> None:
    table = table_of([(1.0, "a")])
    with pytest.raises(InvalidInput, match="same columns"):
        merge([summarise(table, ["x"], []), summarise(table, [], ["c"])])


def test_an_unknown_column_is_refused_with_its_near_match() -> None:
    table = table_of([(1.0, "a")])
    with pytest.raises(InvalidInput, match=r"'xx'.*Did you mean 'x'"):
        summarise(table, ["xx"], [])
    with pytest.raises(NotFound, match="Did you mean 'x'"):
        summarise(table, ["x"], []).numeric_column("xx")
    with pytest.raises(NotFound, match="no column 'd'"):
        summarise(table, [], ["c"]).categorical_column("d")


def test_an_empty_column_has_no_mean_and_no_quantile() -> None:
    column = summary_of([(None, None), (float("inf"), None)]).numeric_column("x")
    for ask in (column.mean, column.median, lambda: column.quantile(0.5)):
        with pytest.raises(InvalidInput, match="'x' has no finite value among 2 rows"):
            ask()


@pytest.mark.parametrize("record", [{}, {"rows": 1, "numeric": [{}], "categorical": []}, {"rows": 1, "numeric": 3}])
def test_what_is_no_summary_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(Format, match="not a summary"):
        Summary.from_record(record)


def test_a_thousand_columns_and_one_row() -> None:
    table = pa.table({f"x{i}": [float(i)] for i in range(1000)})
    summary = summarise(table, table.column_names, [])
    assert [column.mean() for column in summary.numeric] == [float(i) for i in range(1000)]
