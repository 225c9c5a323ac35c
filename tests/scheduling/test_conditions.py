"""Conditions of steps: what earlier steps came to, figures and drift of the newest runs, and what isn't known."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dataops.runs.workspace import Workspace
from dataops.scheduling.conditions import holds, largest_psi
from tests.scheduling.figures import NOW, judged, make_schedule, make_workspace, moved, on_record, open_slot

DAY = timedelta(days=1)
FIGURE = {"job": "later", "model": "income", "metric": "roc_auc"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("conditions") / "town")


def asked(
    workspace: Workspace, condition: Any, outcomes: tuple[str | None, ...] = ("done", "promoted")
) -> tuple[bool, str]:
    job = {"job": "scores", "file": "jobs/x.yaml"}
    schedule = make_schedule(job, {"promote": "income"}, {**job, "job": "all", "if": condition})
    return holds(workspace, schedule.steps[2], open_slot(schedule, *outcomes))


def test_a_step_without_a_condition_always_runs(workspace: Workspace) -> None:
    schedule = make_schedule({"job": "scores", "file": "jobs/x.yaml"})
    assert holds(workspace, schedule.steps[0], open_slot(schedule)) == (True, "")


@pytest.mark.parametrize(
    ("condition", "outcomes", "expected"),
    [
        ("promoted", ("done", "promoted"), (True, "promote:income promoted a version")),
        ("promoted", ("done", "refused"), (False, "no step before promoted a version")),
        ("refused", ("done", "refused"), (True, "promote:income had a promotion refused")),
        ("rolled_back", ("done", "skipped"), (False, "no step before rolled back")),
        ({"changed": "scores"}, ("done", "skipped"), (True, "scores did new work")),
        ({"changed": "scores"}, ("unchanged", "skipped"), (False, "scores did no new work: unchanged")),
        ({"changed": "scores"}, ("skipped", "skipped"), (False, "scores did no new work: skipped")),
    ],
)
def test_a_condition_on_earlier_steps_is_about_what_they_came_to(
    workspace: Workspace, condition: Any, outcomes: tuple[str, ...], expected: tuple[bool, str]
) -> None:
    assert asked(workspace, condition, outcomes) == expected


def test_a_figure_is_that_of_the_champion_in_the_newest_run(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "town")
    low = {"figure": {**FIGURE, "below": 0.66, "min_rows": 500}}
    assert asked(workspace, low) == (False, "income has no champion, so nothing judged it")
    moved(workspace, 1)
    assert asked(workspace, low) == (False, "no run of job 'later' is done")
    run = judged(workspace, {"own": (1, 0.60, 400), "next": (2, 0.5, 900)}, at=NOW - 9 * DAY)
    told = f"{run} judged 400 rows of income@1, and fewer than 500 don't count"
    assert asked(workspace, low) == (False, told)
    judged(workspace, {"own (income@1)": (1, 0.65, 900), "own (income@2)": (2, 0.9, 900)}, at=NOW - 8 * DAY)
    assert asked(workspace, low) == (True, "roc_auc of income@1 is 0.6500 on 900 rows, below 0.66")
    high = {"figure": {**FIGURE, "above": 0.64}}
    assert asked(workspace, high) == (True, "roc_auc of income@1 is 0.6500 on 900 rows, above 0.64")
    assert asked(workspace, {"figure": {**FIGURE, "above": 0.65}})[0] is False
    assert asked(workspace, {"figure": {**FIGURE, "metric": "brier", "below": 1}})[1].endswith(
        "has no brier of income@1"
    )
    # an id may say the time that a run is meant for: what counts is when it began
    newest = judged(workspace, {"next": (1, 0.1, 900)}, at=NOW - 7 * DAY)
    assert asked(workspace, low) == (False, f"{newest} judged no row that income@1 scored as champion")


def test_drift_is_that_of_whatever_moved_most_in_the_newest_run(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "town")
    limit = {"drift": {"job": "batch", "psi": 0.25}}
    assert asked(workspace, limit) == (False, "no run of job 'batch' is done")
    run = on_record(workspace, "batch", "rescore", {"drift": {"unknown": "no reference"}}, at=NOW - 2 * DAY)
    assert asked(workspace, limit) == (False, f"{run} doesn't say how far data moved")
    columns = [{"column": "age", "psi": 0.1}, {"column": "job", "psi": 0.25}, {"column": "rare"}]
    run = on_record(workspace, "batch", "rescore", {"drift": {"columns": columns}}, at=NOW - DAY)
    assert asked(workspace, limit) == (True, f"psi of job is 0.250 in {run}, from 0.25 on")
    assert asked(workspace, {"drift": {"job": "batch", "psi": 0.26}})[0] is False


def test_a_result_without_figures_of_drift_tells_none() -> None:
    assert largest_psi({}) is None
    assert largest_psi({"drift": {"columns": [{"column": "age", "psi": None}]}}) is None
