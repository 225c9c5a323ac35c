"""Candidates of a train job, fitted in a run: what it needs, how far it came, what is kept of it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from dataops.declarations.train import Candidate
from dataops.engine.connect import Connection
from dataops.errors import Compute, InvalidInput
from dataops.training import boosting, boosting_room, boosting_rounds, candidates, spilled
from dataops.training.boosting import XgboostRank
from dataops.training.candidates import _needs
from tests.line.people import make_workspace
from tests.line.running import Line

JOBS = """\
name: wealth
job: train
input: people_old
target: rich
features:
  numeric: {columns: [age, hours]}
  categorical: {columns: [trade]}
candidates: [CANDIDATES]
evaluate: {metrics: [roc_auc]}
"""
STOPPING = "{trainer: TRAINER, params: {rounds: 60, learning_rate: 1, early_stopping: 3}}"
PLAIN = "{trainer: xgboost, params: {rounds: 12, max_depth: 3}}"


@pytest.fixture
def line_of(tmp_path):
    def make(client, *asked: str) -> Line:
        folder = make_workspace(tmp_path / "town", files=2)
        (folder / "jobs" / "people.yaml").write_text(JOBS.replace("CANDIDATES", ", ".join(asked)))
        return Line(folder=folder, connection=Connection(client=client, dashboard="", workers=2, threads=1))

    return make


def events(outcome, name):
    return [event for event in outcome.state.events if event["event"] == name]


def lineages(line, outcome):
    registry = line.workspace.registry
    return [registry.read_manifest("wealth", one["version"]).lineage for one in outcome.state.result["versions"]]


def test_a_version_tells_how_many_rounds_it_has_and_on_how_many_rows_that_was_decided(cluster, line_of):
    line = line_of(cluster, STOPPING.replace("TRAINER", "xgboost"), STOPPING.replace("TRAINER", "lightgbm"))
    outcome = line.run("wealth")
    for lineage in lineages(line, outcome):
        fit = lineage["fit"]
        assert set(fit) == {"rounds", "rounds_trained", "held_out_rows", "held_out_loss"}
        assert 1 <= fit["rounds"] < fit["rounds_trained"] < 60
        assert 20 < fit["held_out_rows"] < 120  # an eighth of four fifths of 800, less those that the policy leaves out
    first, second = (lineage["fit"]["held_out_rows"] for lineage in lineages(line, outcome))
    assert first == second  # the same rows for every trainer


def test_rows_to_calibrate_on_are_none_that_a_fit_or_a_search_holds_out(cluster, line_of):
    stopping = STOPPING.replace("TRAINER", "xgboost")
    searching = "search: {method: grid, space: {max_depth: {int: [2, 3]}}}"
    asked = (stopping.replace("}}", "}, calibrate: isotonic}"), PLAIN.replace("max_depth: 3}}", f"}}, {searching}}}"))
    line = line_of(cluster, *asked, asked[1].replace("search", "calibrate: sigmoid, search"))
    outcome = line.run("wealth")
    stopped, _, searched = lineages(line, outcome)
    told = stopped["fit"]["calibration"]
    assert told["method"] == "isotonic"
    assert 40 < told["rows"] < 120  # an eighth of four fifths of 800, less those that the policy leaves out
    assert searched["fit"]["calibration"] == {"method": "sigmoid", "rows": told["rows"]}  # the same rows
    assert 20 < stopped["fit"]["held_out_rows"] < 120
    registry = line.workspace.registry
    packages = [registry.read("wealth", one["version"]).package for one in outcome.state.result["versions"]]
    assert [one.calibration and one.calibration.method for one in packages] == ["isotonic", None, "sigmoid"]
    assert packages[1].model != packages[2].model  # of seven eighths of the rows


def test_what_is_needed_and_how_far_it_came_is_shown_and_kept(cluster, line_of, monkeypatch):
    monkeypatch.setattr(candidates, "SECONDS_BETWEEN_EVENTS", 0)
    monkeypatch.setattr(boosting_rounds, "CHUNK_SECONDS", 0)
    line = line_of(cluster, PLAIN, "{trainer: logistic}")
    outcome = line.run("wealth")
    [needs] = events(outcome, "fit_needs")
    assert needs["candidate"] == "xgboost"
    assert "bytes a row for 3 columns" in needs["needs"]
    told = events(outcome, "rounds_done")
    assert [event["rounds"] for event in told] == list(range(1, 13))
    assert {event["of"] for event in told} == {12}
    assert told[-1]["loss"] < told[0]["loss"]
    said = line.said.getvalue()
    assert needs["needs"] in said
    assert "rows quantised in" in said
    assert f"12 of 12 rounds, loss {told[-1]['loss']:.4f}" in said
    boosted, logistic = lineages(line, outcome)
    assert boosted["fit"] == {"rounds": 12}
    assert logistic["fit"]["converged"] is True
    assert 2 <= logistic["fit"]["passes"] <= 12


def test_parts_that_memory_cant_hold_lie_on_disks_where_all_trainers_stream(cluster, line_of, monkeypatch):
    line = line_of(cluster, "{trainer: logistic}")
    [in_memory] = line.run("wealth").state.result["versions"]
    monkeypatch.setattr(spilled, "HELD_SHARE", 0.0)
    outcome = line.run("wealth", again=True)
    [on_disk] = outcome.state.result["versions"]
    [told] = events(outcome, "parts_on_disk")
    assert "they lie on the workers' disks" in told["why"]
    assert told["why"] in line.said.getvalue()
    models = [line.workspace.registry.read("wealth", one["version"]).package.model for one in (in_memory, on_disk)]
    assert models[0] == models[1]
    both = JOBS.replace("CANDIDATES", "{trainer: logistic}, " + PLAIN)
    (line.folder / "jobs" / "people.yaml").write_text(both)
    assert not events(line.run("wealth"), "parts_on_disk")


def test_what_cannot_fit_is_refused_before_a_row_is_encoded(cluster, line_of, monkeypatch):
    line = line_of(cluster, "{trainer: logistic}", PLAIN)
    monkeypatch.setattr(boosting_room, "PROCESS_BYTES", 10**15)
    with pytest.raises(Compute, match="so it doesn't fit, and nothing was started"):
        line.run("wealth")
    assert "summarise" in line.said.getvalue()
    assert "encode" not in line.said.getvalue()
    assert not list(line.folder.glob("**/versions/*/manifest.json"))


def test_a_search_is_looked_at_where_it_is_costliest():
    asked = []

    def ask(params, *, shared):
        asked.append((params["max_bin"], params["max_depth"], shared))
        if params["max_depth"] == 9 and params["max_bin"] > 256:
            raise InvalidInput("these don't go together")
        if params["max_bin"] > 10_000:
            raise Compute("so it doesn't fit")
        return f"{params['max_bin']} bins"

    def candidate(**space):
        return Candidate.model_validate({"trainer": "xgboost", "params": {"rounds": 9}, "search": {"space": space}})

    small = candidate(max_bin={"int": [64, 512]}, max_depth={"one_of": [9, 3]})
    assert _needs(ask, small, shared=False) == "of its trials, that at max_bin 512, max_depth 3: 512 bins"
    assert {(bins, depth) for bins, depth, _ in asked} == {(64, 9), (64, 3), (512, 9), (512, 3)}
    assert all(shared for _, _, shared in asked)
    large = candidate(max_bin={"int": [64, 20_000]}, max_depth={"one_of": [3]})
    with pytest.raises(Compute, match="a trial at max_bin 20000, max_depth 3 could not be fitted: so it") as refused:
        _needs(ask, large, shared=False)
    assert not refused.value.may_pass


@pytest.mark.faults
def test_a_worker_killed_during_the_fit_of_a_job_costs_no_round_that_was_kept(
    mortal_cluster, line_of, monkeypatch, tmp_path, caplog
):
    mark = tmp_path / "killed"

    class Killing(XgboostRank):
        def advance(self, rounds, *, save):
            if self._done == 6:
                try:
                    mark.touch(exist_ok=False)
                except FileExistsError:
                    return super().advance(rounds, save=save)
                os.kill(os.getpid(), signal.SIGKILL)
            return super().advance(rounds, save=save)

    monkeypatch.setattr(boosting_rounds, "CHUNK_SECONDS", 0)
    line = line_of(mortal_cluster, PLAIN)
    undisturbed = line.run("wealth")
    boost = boosting_rounds.boost
    monkeypatch.setattr(boosting, "boost", lambda library, *given: boost(replace(library, rank=Killing), *given))
    disturbed = line.run("wealth", again=True)
    assert mark.exists()
    assert "workers lost in attempt 1 of 3, after round 6" in caplog.text
    figures = [
        outcome.state.result["versions"][0]["metrics"]["holdout"]["overall"]["roc_auc"]
        for outcome in (undisturbed, disturbed)
    ]
    assert figures[1] == pytest.approx(figures[0], abs=0.001)
    assert line.said.getvalue().count("rows quantised in") == 3
