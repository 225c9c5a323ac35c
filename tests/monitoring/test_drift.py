from __future__ import annotations

import copy
from typing import Any

import pytest

from dataops.monitoring.drift import BAR_HEIGHT, CHART_WIDTH, TOO_FEW, Drift, drift
from dataops.monitoring.report import render_report
from tests.monitoring import sample


def section(**changes: Any) -> Drift:
    figures = copy.deepcopy(sample.rescore_figures())
    figures["result"]["drift"] |= changes
    found = drift(figures)
    assert found is not None
    return found


def test_the_score_stands_first_then_what_moved_most_then_what_has_too_few_rows() -> None:
    shown = section()
    assert [one.name for one in shown.features] == ["scores", "education", "age", "occupation"]
    assert [one.level for one in shown.features] == [1, 2, 0, 0]
    assert shown.features[-1].psi == TOO_FEW
    assert not shown.features[-1].bars


def test_figures_are_written_with_what_bounds_them() -> None:
    _, education, age, _ = section().features
    assert (age.psi, age.js, age.ks) == ("0.012", "0.030", "0.020 to 0.031")
    assert (education.missing, education.unknown, education.ks) == ("0% to 10.0%", "2.0%", "")
    assert age.missing == f"0% to {TOO_FEW}"


def test_a_small_chart_has_a_pair_of_bars_for_each_cell_within_its_frame() -> None:
    for one in section().features[:-1]:
        assert len(one.bars) == 2 * len(one.shares)
        assert all(0 <= bar.y <= BAR_HEIGHT and bar.y + bar.height <= BAR_HEIGHT + 0.01 for bar in one.bars)
        assert max(bar.x + bar.width for bar in one.bars) <= CHART_WIDTH
        assert max(bar.height for bar in one.bars) == BAR_HEIGHT


def test_a_limit_is_told_once_for_all_rows_and_slices() -> None:
    (one,) = section().raised
    assert (one.what, one.figure, one.limit) == ("stability index of education", "0.310", "0.25")
    assert one.where == ("all rows", "sex: Female")


def test_a_slice_has_a_column_for_each_value_and_says_where_rows_are_few() -> None:
    (by_sex,) = section().slices
    assert [value for value, _ in by_sex.values] == ["Female", "Male"]
    assert by_sex.rows[1] == ("education", (("0.310", 2), (TOO_FEW, 0)))


def test_scores_then_and_now_are_shares_of_their_rows() -> None:
    scores = section().scores
    assert len(scores) == 20
    assert [round(sum(one[side] for one in scores), 6) for side in (1, 2)] == [100, 100]


def test_a_run_that_can_not_tell_says_why() -> None:
    figures = copy.deepcopy(sample.rescore_figures())
    figures["result"]["drift"] = {"unknown": "there is no reference"}
    found = drift(figures)
    assert found == Drift(unknown="there is no reference")
    assert "Unknown: there is no reference." in render_report(figures, scripts="../scripts")


@pytest.mark.parametrize("make", [sample.ALL[kind] for kind in sorted(sample.ALL) if kind != "rescore"])
def test_other_runs_have_no_section(make: Any) -> None:
    if "drift" not in make()["result"]:
        assert drift(make()) is None


def test_the_page_names_what_moved_and_draws_both_distributions() -> None:
    page = render_report(sample.rescore_figures(), scripts="../scripts")
    assert "stability index of education" in page
    assert page.count("<svg") == 3
    assert 'id="drift"' in page
