"""Searches through the whole line: trials, the best fitted on all rows, going on after a crash, trained again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from distributed import Client

from dataops.cli.main import main
from dataops.declarations.jobs import find_job
from dataops.engine.connect import Connection
from dataops.errors import InvalidInput, Storage
from dataops.monitoring.report import render_report
from dataops.runs.execute import Outcome
from dataops.runs.report import report_figures
from dataops.runs.reproduced import Verdict
from dataops.training import search as searching
from tests.line.people import JOBS, make_workspace
from tests.line.running import Line
from tests.line.test_reproduce import again

CANDIDATES = """\
candidates:
  - trainer: logistic
    search: {method: grid, metric: log_loss, space: {l2: {one_of: [0.01, 1.0, 1000000.0]}}}
  - trainer: xgboost
    params: {max_depth: 2}
    search: {method: tpe, trials: 6, pruner: asha, space: {rounds: {int: [5, 27]}, learning_rate: {log: [0.0001, 0.5]}}}
"""
PLAIN = """\
candidates:
  - {trainer: logistic, params: {l2: %s}}
  - {trainer: xgboost, params: {max_depth: 2, rounds: %s, learning_rate: %s}}
"""


def declare(line: Line, candidates: str) -> None:
    start, end = JOBS.index("candidates:"), JOBS.index("evaluate:")
    (line.folder / "jobs" / "people.yaml").write_text(JOBS[:start] + candidates + JOBS[end:])


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, cluster: Client) -> Line:
    folder = make_workspace(tmp_path_factory.mktemp("searched") / "town")
    made = Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))
    made.run("people_ready")
    declare(made, CANDIDATES)
    return made


@pytest.fixture(scope="module")
def searched(town: Line) -> Outcome:
    return town.run("wealth")


def trials(outcome: Outcome) -> dict[str, Any]:
    """The searches of a run, without what the clock says."""
    return {
        name: [{key: value for key, value in one.items() if key != "seconds"} for one in search["trials"]]
        for name, search in outcome.state.result["searches"].items()
    }


def best_params(outcome: Outcome) -> dict[str, Any]:
    found = outcome.state.result["searches"]
    return {name: one["trials"][one["best"]]["params"] for name, one in found.items()}


def test_every_trial_is_in_the_result_and_the_search_in_the_lineage(town, searched):
    found = searched.state.result["searches"]
    assert [one["params"]["l2"] for one in found["logistic"]["trials"]] == [0.01, 1.0, 1e6]
    assert (found["logistic"]["metric"], found["xgboost"]["metric"]) == ("log_loss", "roc_auc")
    assert len(found["xgboost"]["trials"]) == 6
    assert all(one["outcome"] in ("done", "pruned") for one in found["xgboost"]["trials"])
    best = found["xgboost"]["trials"][found["xgboost"]["best"]]
    assert best["figure"] == max(one["figure"] for one in found["xgboost"]["trials"] if one["figure"] is not None)
    lineage = town.workspace.registry.read("wealth", 2).package.lineage
    assert lineage["params"] == {"max_depth": 2, **best["params"]}
    assert lineage["search"]["space"] == {"rounds": {"int": [5, 27]}, "learning_rate": {"log": [0.0001, 0.5]}}
    assert sum(lineage["search"]["trials"].values()) == 6
    assert (lineage["search"]["best"], lineage["search"]["seed"]) == (found["xgboost"]["best"], 0)


def test_whoever_watches_the_cluster_sees_the_very_trials(cluster: Client, searched):
    told = cluster.run_on_scheduler(_searches_of, run=searched.state.run.id)
    found = searched.state.result["searches"]
    assert told.keys() == found.keys()
    for name, search in found.items():
        assert told[name]["best"] == search["best"]
        assert [_known(one) for one in told[name]["trials"]] == [_known(one) for one in search["trials"]]


def _known(trial: Any) -> Any:
    return [trial[name] for name in ("trial", "params", "outcome", "figure")], [list(point) for point in trial["curve"]]


def _searches_of(dask_scheduler: Any, run: str) -> Any:
    """What the messages say, without the result that came after them."""
    from dataclasses import replace

    from dataops.monitoring.page import NAME
    from dataops.monitoring.page_views import as_figures

    shown = dask_scheduler.plugins[NAME].board.runs[run]
    return as_figures(replace(shown, figures={}))["result"]["searches"]


def test_the_best_parameters_are_fitted_on_all_training_rows(town, searched):
    best = best_params(searched)
    declare(town, PLAIN % (best["logistic"]["l2"], best["xgboost"]["rounds"], best["xgboost"]["learning_rate"]))
    try:
        plain = town.run("wealth")
    finally:
        declare(town, CANDIDATES)
    assert "searches" not in plain.state.result
    for one, other in zip(searched.state.result["versions"], plain.state.result["versions"], strict=True):
        first, second = (town.workspace.registry.read("wealth", each["version"]).package for each in (one, other))
        assert first.model == second.model
        assert first.metrics == second.metrics
        assert first.lineage["params"] == second.lineage["params"]


def test_an_equal_seed_gives_equal_trials_and_another_gives_others(town, searched):
    assert trials(town.run("wealth", again=True)) == trials(searched)
    declare(town, CANDIDATES + "seed: 5\n")
    try:
        other = town.run("wealth")
    finally:
        declare(town, CANDIDATES)
    assert trials(other)["xgboost"] != trials(searched)["xgboost"]


def test_a_run_that_died_goes_on_with_the_trials_it_had(town, searched):
    judged: list[Any] = []
    evaluate = searching.evaluate_on_cluster

    def counted(*arguments: Any, **how: Any) -> Any:
        judged.append(arguments[1:])
        if len(judged) == 5:
            raise Storage("gone for a moment")
        return evaluate(*arguments, **how)

    with patch.object(searching, "evaluate_on_cluster", counted):
        with pytest.raises(Storage):
            town.run("wealth", again=True)
        run = town.workspace.ledger.ids()[-1]
        assert len(judged) == 5
        resumed = town.resume(run)
    assert trials(resumed) == trials(searched)
    done = [one for search in trials(searched).values() for one in search if one["outcome"] == "done"]
    assert len(judged) == len(done) + 1  # the one that died is judged again, no other
    kept = [path.parent.name for path in (town.storage / "runs" / run / "search").rglob("*.json")]
    assert set(kept) == {"logistic", "xgboost"}


def test_a_version_of_a_search_is_trained_again_without_searching(town, searched):
    with patch.object(searching.Searching, "run", side_effect=AssertionError):
        found = again(town, "wealth@2")
    assert (found.verdict, dict(found.not_as_it_was)) == (Verdict.BIT_EQUAL, {})


def test_people_see_every_trial(town, searched):
    run = searched.state.run.id

    def call(*more: str) -> str:
        called = CliRunner().invoke(main, ["job", "show", run, "-w", str(town.folder), *more])
        assert called.exit_code == 0, called.output
        return called.stdout

    shown = call()
    assert "trials of xgboost" in shown
    assert "the best of 3 trials" in shown
    assert shown.count("learning_rate") == 7  # six trials, and the best one in the facts
    assert len(json.loads(call("--json"))["result"]["searches"]["xgboost"]["trials"]) == 6
    page = render_report(report_figures(searched.state), scripts="scripts")
    assert "What was tried for xgboost" in page
    assert 'id="search-1"' in page
    assert 'id="search-0"' not in page  # a grid of penalties has no rounds


def test_a_space_that_the_trainer_does_not_take_is_refused_before_a_run_exists(town, tmp_path: Path):
    runs = town.workspace.ledger.ids()
    job = tmp_path / "jobs.yaml"
    start, end = JOBS.index("candidates:"), JOBS.index("evaluate:")
    wrong = "candidates: [{trainer: xgboost, search: {space: {max_depth: {int: [0, 3]}, rouns: {int: [1, 9]}}}}]\n"
    job.write_text(JOBS[:start] + wrong + JOBS[end:])
    assert find_job(job, "wealth").job.name == "wealth"
    with pytest.raises(InvalidInput) as raised:
        town.run("wealth", file=str(job))
    assert "candidates[0]: search: " in str(raised.value)
    assert "unknown parameter 'rouns'" in str(raised.value)
    assert "max_depth: expected" in str(raised.value)
    assert town.workspace.ledger.ids() == runs
