"""Drift figures against scipy and by hand, over whole tables; what chance gives; limits."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from dataops.declarations.monitor import DriftLimit
from dataops.features.cells import MISSING
from dataops.features.encoder import encode
from dataops.features.profile import count_profile
from dataops.features.reference import Reference, make_reference
from dataops.features.slices import OTHERS, slice_places
from dataops.rescoring.column_drift import NOTICEABLE, jensen_shannon, stability_index
from dataops.rescoring.drift import Population, compare
from dataops.rescoring.drift_limits import DEFAULT_LIMITS, check_limits, drift_record
from tests.features.profiles import fit, spec_of

N = 4000
COUNTS = st.lists(st.integers(0, 5000), min_size=2, max_size=12)


def people(seed: int, n_rows: int = N, **changes: Any) -> pa.Table:
    """Rows with a number of many zeros, a category and a side."""
    random = np.random.default_rng(seed)
    hours = np.where(random.random(n_rows) < 0.4, 0.0, np.round(random.gamma(4, 10, n_rows)))
    columns = {
        "x": pa.array(hours, mask=random.random(n_rows) < 0.03),
        "c": random.choice(["clerk", "nurse", "smith", "baker"], n_rows, p=[0.5, 0.3, 0.15, 0.05]),
        "score": random.beta(1, 4, n_rows).astype(np.float32),
        "side": random.choice(["east", "west"], n_rows, p=[0.7, 0.3]),
    }
    return pa.table(columns | changes)


class Compared:
    """Rows then, that a model learnt from and was judged on, and rows now."""

    def __init__(self, then: pa.Table, now: pa.Table, *, least: int = 1, slices: Sequence[str] = ()) -> None:
        self.then, self.now = then, now
        self.encoder, self.cells = fit(then)
        spec = spec_of(self.cells, sliced=False)
        sides = {
            value: self._count(spec, then.filter(pa.array([side == value for side in then["side"].to_pylist()])))
            for value in ("east", "west")
        }
        self.reference: Reference = make_reference(
            spec,
            self._count(spec, then),
            {"side": sides},
            dataset="holdout",
            histogram=[0] * 20,
            decile_edges=None,
            least=least,
        )
        sliced = self.reference.spec.with_slices(slices)
        places = [slice_places(now.column(name), values) for name, values in sliced.slices]
        self.counts = count_profile(sliced, encode(self.encoder, now), now["score"].to_numpy(), places)
        self.populations = compare(self.reference, self.counts, slices, min_group_size=least)

    def _count(self, spec: Any, table: pa.Table) -> Any:
        return count_profile(spec, encode(self.encoder, table), table["score"].to_numpy())

    @property
    def overall(self) -> dict[str, Any]:
        return {one.name: one for one in self.populations[0].columns}

    def raised(self, *limits: DriftLimit) -> set[tuple[str, str]]:
        found = check_limits(self.populations, limits or None)
        return {(str(one.metric), one.column) for one in found if one.slice_column is None}


class TestFormulas:
    @given(COUNTS, st.data())
    def test_jensen_shannon_is_scipys(self, then: list[int], data: st.DataObject) -> None:
        now = data.draw(st.lists(st.integers(0, 5000), min_size=len(then), max_size=len(then)))
        assume(any(then) and any(now))
        found = jensen_shannon(np.array(then), np.array(now))
        assert found == pytest.approx(float(jensenshannon(then, now, base=2)), abs=1e-7)

    def test_the_stability_index_is_that_of_a_worked_example(self) -> None:
        # 30, 40, 30 percent, then 20, 40, 40: (-.1) ln(2/3) + 0 + .1 ln(4/3), of counts too large for half a row
        expected = -0.1 * math.log(2 / 3) + 0.1 * math.log(4 / 3)
        assert stability_index(np.array([3, 4, 3]) * 10**7, np.array([2, 4, 4]) * 10**7) == pytest.approx(expected)
        by_hand = sum((q / 101.5 - p / 101.5) * math.log(q / p) for p, q in ((30.5, 20.5), (70.5, 60.5), (0.5, 20.5)))
        assert stability_index(np.array([30, 70, 0]), np.array([20, 60, 20])) == pytest.approx(by_hand)

    @given(COUNTS)
    def test_equal_shares_have_no_drift(self, counts: list[int]) -> None:
        assume(any(counts))
        some = np.array(counts)
        assert stability_index(some, some) == 0
        assert jensen_shannon(some, some * 3) == pytest.approx(0, abs=1e-7)


class TestKolmogorovSmirnov:
    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 10**6), st.floats(-20, 20), st.floats(0.5, 2))
    def test_lies_within_its_bound_of_scipys_on_the_whole_table(self, seed: int, shift: float, widen: float) -> None:
        then = people(seed)
        later = people(seed + 1)
        moved = np.round(later["x"].to_numpy() * widen + shift, 1)
        found = Compared(then, later.set_column(0, "x", pa.array(moved, from_pandas=True))).overall["x"]
        valid = [table[~np.isnan(table)] for table in (then["x"].to_numpy(), moved)]
        exact = ks_2samp(*valid).statistic
        ks = found.figures["ks"]
        assert ks - 1e-9 <= exact <= ks + found.ks_error_bound + 1e-9

    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 10**6), st.integers(0, 30))
    def test_is_exact_where_each_value_has_a_cell_of_its_own(self, seed: int, shift: int) -> None:
        random = np.random.default_rng(seed)
        then = people(1, x=random.integers(0, 20, N).astype(float))
        now = people(2, x=np.minimum(random.integers(0, 20, N) + shift, 19).astype(float))
        found = Compared(then, now).overall["x"]
        assert found.figures["ks"] == pytest.approx(ks_2samp(then["x"].to_numpy(), now["x"].to_numpy()).statistic)
        assert found.ks_error_bound == 0

    def test_leaves_out_what_is_missing(self) -> None:
        then, now = people(1), people(1)
        holes = pa.array(now["x"].to_numpy(), mask=np.arange(N) % 2 == 0, from_pandas=True)
        found = Compared(then, now.set_column(0, "x", holes)).overall["x"]
        exact = ks_2samp(
            *([table[~np.isnan(table)] for table in (then["x"].to_numpy(), holes.to_numpy(False))])
        ).statistic
        assert found.figures["ks"] <= exact + 1e-9
        assert found.figures["ks"] < 0.05
        missing = [np.isnan(values).mean() for values in (then["x"].to_numpy(), holes.to_numpy(False))]
        assert found.figures["missing"] == pytest.approx(missing[1] - missing[0])

    def test_is_none_where_all_is_missing_now_and_the_others_say_so(self) -> None:
        found = Compared(people(1), people(2, x=pa.nulls(N, pa.float64()))).overall["x"]
        assert found.figures["ks"] == 0
        assert found.figures["missing"] > 0.9
        assert found.figures["psi"] > 1


class TestFigures:
    def test_are_those_of_the_whole_tables_by_hand(self) -> None:
        now = people(2, c=np.random.default_rng(5).choice(["clerk", "nurse", "smith", "potter"], N))
        found = Compared(people(1), now)
        category = found.overall["c"]
        before, after = (table["c"].to_pylist() for table in (found.then, found.now))
        known = ("clerk", "nurse", "smith", "baker")
        shares = [
            [sum(text not in known for text in texts), *(texts.count(text) for text in sorted(known))]
            for texts in (before, after)
        ]
        assert category.figures["psi"] == pytest.approx(stability_index(*map(np.array, shares)))
        assert category.figures["js"] == pytest.approx(float(jensenshannon(*shares, base=2)))
        assert category.figures["unknown"] == shares[1][0] / N
        assert category.shares["unknown"] == (0.0, shares[1][0] / N)
        assert list(category.then) == pytest.approx([share / N for share in shares[0]])

    def test_of_two_samples_of_one_population_stay_below_what_chance_gives(self) -> None:
        for seed in range(20):
            found = Compared(people(seed), people(seed + 100), slices=["side"])
            assert check_limits(found.populations, [DriftLimit(metric=m, warn=0) for m in ("psi", "js", "ks")]) == []

    def test_are_not_made_of_so_few_rows_that_they_are_noise(self) -> None:
        found = Compared(people(1), people(2, 200))
        assert all(not one.figures for one in found.overall.values() if one.name != "c")
        record = found.populations[0].record()
        assert {"column": "x", "kind": "number", "too_few": True} in record["columns"]
        assert all(one["chance"]["psi"] <= NOTICEABLE for one in record["columns"] if "chance" in one)

    def test_are_not_made_of_fewer_rows_than_the_policies_ask_for(self) -> None:
        found = Compared(people(1), people(2), least=N + 1)
        assert all(not one.figures for one in found.overall.values())
        assert (found.populations[0].rows, found.populations[0].rows_then) == (None, None)

    def test_tell_no_share_of_fewer_rows_than_the_policies_ask_for(self) -> None:
        rows = np.arange(N)
        now = people(2, c=np.where(rows < 30, "potter", "clerk"), x=pa.array(rows % 50 + 0.0, mask=rows < 30))
        found = Compared(people(1, x=rows % 50 + 0.0), now, least=50).overall
        assert found["x"].shares["missing"] == (0.0, None)
        assert found["c"].shares["unknown"] == (0.0, None)
        assert (found["x"].figures["missing"], found["c"].figures["unknown"]) == (0, 0)
        for one in found.values():
            assert all(share == 0 or round(share * N) >= 50 for share in one.now)
        plain = Compared(people(1, x=rows % 50 + 0.0), now).overall
        assert plain["x"].shares["missing"] == (0.0, 30 / N)

    def test_survive_json_and_hold_no_value(self) -> None:
        found = Compared(people(1), people(2), slices=["side"])
        text = json.dumps(drift_record(found.reference, found.populations, []))
        assert "clerk" not in text
        assert json.loads(text)["slices"].keys() == {"side"}


class TestSlices:
    def test_of_few_rows_are_not_had_by_difference(self) -> None:
        sides = [pa.array(["west"] * few + ["east"] * (N - few)) for few in (1000, 3)]
        then, now = (people(seed, side=side) for seed, side in enumerate(sides))
        found = {one.value: one for one in Compared(then, now, least=50, slices=["side"]).populations}
        assert {value: one.rows for value, one in found.items()} == {None: N, "west": None, "east": None}
        assert {value: one.rows_then for value, one in found.items()} == {None: N, "west": 1000, "east": 3000}
        assert not [column for value in ("west", "east") for column in found[value].columns if column.figures]
        later = {one.value: one for one in Compared(now, then, least=50, slices=["side"]).populations}
        assert [one.rows_then for one in later.values()].count(None) == len(later) - 1

    def test_are_compared_with_their_own_rows(self) -> None:
        now = people(2)
        west = np.array(now["side"].to_pylist()) == "west"
        now = now.set_column(0, "x", pa.array(np.where(west, 500.0, now["x"].to_numpy()), from_pandas=True))
        found = Compared(people(1), now, slices=["side"])
        raised = {(one.column, one.value) for one in check_limits(found.populations, None)}
        assert ("x", "west") in raised
        assert not [one for one in raised if one[1] == "east"]

    def test_that_the_reference_does_not_know_are_the_others_and_have_no_figures(self) -> None:
        found = Compared(people(1), people(2, side=np.array(["north"] * N)), slices=["side"])
        by_value = {one.value: one for one in found.populations[1:]}
        assert by_value[OTHERS].rows == N
        assert all(not column.figures for column in by_value[OTHERS].columns)
        assert by_value["east"].rows is None

    def test_of_all_values_add_up_to_all_rows(self) -> None:
        found = Compared(people(1), people(2), slices=["side"])
        assert sum(one.rows or 0 for one in found.populations[1:]) == N


class TestLimits:
    def test_by_default_warn_of_what_moved_and_of_nothing_else(self) -> None:
        assert all(limit.stop is None for limit in DEFAULT_LIMITS)
        then = people(1)
        assert Compared(then, people(2)).raised() == set()
        moved = people(2).set_column(0, "x", pa.array(people(2)["x"].to_numpy() + 40, from_pandas=True))
        assert Compared(then, moved).raised() == {("psi", "x")}
        holes = pa.array(people(2)["x"].to_numpy(), mask=np.arange(N) % 5 == 0, from_pandas=True)
        assert ("missing", "x") in Compared(then, people(2, x=holes)).raised()
        texts = np.where(np.arange(N) % 10 == 0, "potter", people(2)["c"].to_numpy())
        assert Compared(then, people(2, c=texts)).raised() == {("unknown", "c"), ("psi", "c")}
        scores = people(2)["score"].to_numpy()
        assert Compared(then, people(2, score=np.sqrt(scores))).raised() == {("psi", "scores")}

    def test_hold_for_the_features_that_they_name(self) -> None:
        found = Compared(people(1), people(2, x=np.full(N, 7.0), score=np.full(N, 0.9, np.float32)))
        assert found.raised(DriftLimit(metric="psi", of=("scores",), warn=0.1)) == {("psi", "scores")}
        assert found.raised(DriftLimit(metric="ks", of=("x",), warn=0.1)) == {("ks", "x")}

    def test_stop_or_warn_by_their_values_those_that_stop_first(self) -> None:
        found = Compared(people(1), people(2, x=np.full(N, 7.0), c=np.array(["clerk"] * N)))
        limits = [DriftLimit(metric="js", of=("c",), warn=0.1), DriftLimit(metric="psi", of=("x",), warn=0.1, stop=1.0)]
        raised = check_limits(found.populations, limits)
        assert [(one.column, one.stops, one.limit) for one in raised] == [("x", True, 1.0), ("c", False, 0.1)]

    def test_are_not_broken_by_what_chance_alone_could_give(self) -> None:
        found = Compared(people(1), people(2))
        assert found.raised(DriftLimit(metric="psi", warn=1e-6)) == set()

    def test_are_told_without_a_slices_value(self) -> None:
        found = Compared(people(1), people(2, x=np.full(N, 7.0)), slices=["side"])
        told = [one.spell() for one in check_limits(found.populations, None)]
        assert any("in a part by 'side'" in text for text in told)
        assert not any(value in text for value in ("east", "west") for text in told)


def test_rows_without_a_number_are_not_counted_where_their_fill_lies() -> None:
    found = Compared(people(1), people(2))
    assert found.counts[found.reference.spec.starts[1] + MISSING] == found.now["x"].null_count


def test_no_rows_at_all_are_too_few() -> None:
    populations: list[Population] = Compared(people(1), people(2).slice(0, 0)).populations
    assert all(not column.figures for column in populations[0].columns)
    assert check_limits(populations, None) == []
