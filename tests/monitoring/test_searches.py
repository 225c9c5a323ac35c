"""Searches on the page of a train run: every trial, the best in bold, losses by rounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import GlyphRenderer

from dataops.monitoring.report import render_report
from dataops.monitoring.searches import SearchChart, search_panel, searches, spell_params
from tests.monitoring import sample


def trial(number: int, outcome: str, figure: float | None, curve: list[list[float]], **more: Any) -> dict[str, Any]:
    params = {"learning_rate": 0.123456, "booster": "<b>tree</b>"}
    return {
        "trial": number,
        "params": params,
        "outcome": outcome,
        "figure": figure,
        "curve": curve,
        "why": None,
        "seconds": 1.5,
        **more,
    }


def figures() -> dict[str, Any]:
    made = sample.train_figures()
    boosted = [
        trial(0, "done", 0.91, [[1, 0.6], [3, 0.5], [9, 0.4]]),
        trial(1, "pruned", None, [[1, 0.7]]),
        trial(2, "failed", None, [], why="out of luck"),
    ]
    made["result"]["searches"] = {
        "xgboost": {"metric": "roc_auc", "best": 0, "trials": boosted},
        "logistic": {"metric": "log_loss", "best": 0, "trials": [trial(0, "done", 0.2, [])]},
    }
    return made


def test_searches_stand_by_candidate_with_the_best_trial_named() -> None:
    logistic, xgboost = searches(figures())
    assert (logistic.candidate, logistic.has_curves) == ("logistic", False)
    assert [one.best for one in xgboost.trials] == [True, False, False]
    assert [one.why for one in xgboost.trials] == ["", "", "out of luck"]
    assert searches(sample.train_figures()) == ()
    assert spell_params({"rate": 0.123456, "depth": 3, "kind": None}) == "rate 0.1235, depth 3, kind None"


def test_a_line_for_each_trial_with_the_best_one_over_the_others() -> None:
    (_, xgboost) = searches(figures())
    drawn = [one for one in search_panel(xgboost).renderers if isinstance(one, GlyphRenderer)]
    last = drawn[-1].data_source.data
    assert curves(last) == [([1, 3, 9], [0.6, 0.5, 0.4], {0})]
    assert len({one.glyph.line_color for one in drawn}) == 3
    pruned = next(one for one in drawn if one.name == "pruned")
    assert curves(pruned.data_source.data) == [([1], [0.7], {1})]


def curves(data: Any) -> list[tuple[list[float], list[float], set[float]]]:
    """Rounds, losses and numbers of the trials in a source, which are parted by gaps."""
    gaps = np.flatnonzero(np.isnan(data["loss"]))
    parts = [np.split(data[name], gaps + 1) for name in ("rounds", "loss", "trial")]
    return [(list(rounds[:-1]), list(losses[:-1]), set(trials)) for rounds, losses, trials in zip(*parts, strict=True)][
        :-1
    ]


def test_a_chart_of_many_trials_has_no_more_models_and_sends_only_what_is_new() -> None:
    def search(trials: int) -> Any:
        made = figures()
        tried = [trial(number, "done" if number else "pruned", 0.9, [[1, 0.6], [3, 0.5]]) for number in range(trials)]
        made["result"]["searches"] = {"xgboost": {"metric": "roc_auc", "best": 1, "trials": tried}}
        return searches(made)[0]

    few, many = search_panel(search(3)), SearchChart()
    many.show(search(300))
    assert len(many.figure.references()) == len(few.references())
    sent = {one.name: one.data_source.data for one in many.figure.renderers if one.name}
    assert len(curves(sent["done"])) == 298
    many.show(search(301))
    now = {one.name: one.data_source.data for one in many.figure.renderers if one.name}
    assert len(curves(now["done"])) == 299
    assert now["pruned"]["loss"] is sent["pruned"]["loss"]


def test_the_page_has_every_trial_as_text_and_a_chart_where_there_are_rounds() -> None:
    page = render_report(figures(), scripts="scripts")
    assert "What was tried for xgboost" in page
    assert "failed: out of luck" in page
    assert "<b>tree" not in page
    assert 'id="search-1"' in page
    assert 'id="search-0"' not in page
