"""Steps that move aliases: what they come to without a process, the verb that they begin, and how that ended."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dataops.cli.main import main
from dataops.registry.aliases import last_move
from dataops.registry.moves import MoveKind
from dataops.runs.workspace import Workspace
from dataops.scheduling.moving import StepResult, came_of, carry_out
from dataops.scheduling.state import Moved, OpenSlot
from dataops.scheduling.working import Result, StepCommand, parse_answer
from tests.scheduling.figures import MODEL, NOW, judged, make_schedule, make_workspace, moved, open_slot

DAY = timedelta(days=1)
GUARD = {"guard": MODEL, "job": "later", "metric": "roc_auc", "minimum": 0.6, "within": "7d", "min_rows": 500}
BY = "schedule nightly, slot 20260310t060000z"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "town")


def asked(workspace: Workspace, step: dict[str, Any], **given: Any) -> StepCommand | StepResult:
    schedule = make_schedule(step)
    slot: OpenSlot = open_slot(schedule)
    folder = Path(workspace.settings.workspace)
    given = {"now": NOW, "promoted": {}, **given}
    return carry_out(folder, schedule.steps[0], slot, run="x-1", **given)  # type: ignore[arg-type]


def done(workspace: Workspace, step: dict[str, Any], **given: Any) -> StepResult:
    """What came of the step, its verb typed in this process."""
    command = asked(workspace, step, **given)
    if isinstance(command, StepResult):
        return command
    typed = CliRunner().invoke(main, list(command.arguments))
    answer = parse_answer(typed.stdout.encode())
    error = answer["error"]["message"] if typed.exit_code else None
    result = Result(exit_code=typed.exit_code, answer=answer, error=error)
    schedule = make_schedule(step)
    return came_of(schedule.steps[0], open_slot(schedule), result)  # type: ignore[arg-type]


def champion(workspace: Workspace) -> tuple[int, str]:
    last = last_move(workspace.registry, MODEL)
    assert last is not None
    return last.version, last.reason


def test_a_challenge_points_the_alias_at_the_best_of_the_newest_training(workspace: Workspace) -> None:
    found = done(workspace, {"challenge": MODEL})
    assert (found.outcome, found.facts["version"], found.facts["alias"]) == ("done", 3, "challenger")
    last = last_move(workspace.registry, MODEL, "challenger")
    assert last is not None
    assert (last.version, last.reason, last.kind) == (3, BY, MoveKind.SET)
    again = done(workspace, {"challenge": MODEL})
    assert (again.outcome, again.why) == ("done", "income@3 is challenger since this slot")
    moved(workspace, 3)
    assert done(workspace, {"challenge": MODEL}).why == "income@3 is champion already"
    moved(workspace, 1, kind=MoveKind.ROLLED_BACK)
    back = done(workspace, {"challenge": MODEL})
    assert (back.outcome, "was rolled back (generation 2)" in back.why) == ("skipped", True)


def test_a_challenge_without_rules_takes_the_newest(workspace: Workspace) -> None:
    (Path(workspace.settings.workspace) / "jobs/promotion.yaml").unlink()
    assert done(workspace, {"challenge": MODEL}).facts["version"] == 3


def test_a_promotion_waits_for_a_challenger(workspace: Workspace) -> None:
    found = done(workspace, {"promote": MODEL})
    assert (found.outcome, found.why) == ("skipped", "income has no challenger yet")
    assert last_move(workspace.registry, MODEL) is None


def test_a_challenger_that_passes_its_gates_is_promoted_once(workspace: Workspace) -> None:
    moved(workspace, 2, alias="challenger")
    command = asked(workspace, {"promote": MODEL})
    assert isinstance(command, StepCommand)
    assert command.arguments[:3] == ("model", "promote", "income@2")  # what was decided on, wherever the alias goes
    found = done(workspace, {"promote": MODEL, "rules": "jobs/promotion.yaml"})
    # made-up versions can't be called, so the gates say no: a refusal is an outcome, and the verdict is on file
    assert (found.outcome, found.facts["version"], found.error) == ("refused", 2, None)
    assert "income@2 is not promoted to champion" in found.why
    moved(workspace, 2, reason=BY)
    told = done(workspace, {"promote": MODEL})
    assert (told.outcome, told.facts["version"], told.facts["generation"]) == ("promoted", 2, 1)


def test_a_champion_of_before_is_not_promoted_again(workspace: Workspace) -> None:
    moved(workspace, 2)
    moved(workspace, 2, alias="challenger")
    found = done(workspace, {"promote": MODEL})
    assert (found.outcome, found.why) == ("skipped", "income@2 is champion already")


def test_what_was_rolled_back_is_promoted_by_no_schedule_until_a_person_did(workspace: Workspace) -> None:
    moved(workspace, 1)
    moved(workspace, 2)
    moved(workspace, 1, kind=MoveKind.ROLLED_BACK)
    found = done(workspace, {"promote": MODEL, "version": "2"})
    assert (found.outcome, "was rolled back (generation 3)" in found.why) == ("skipped", True)
    moved(workspace, 2)
    moved(workspace, 3)
    assert isinstance(asked(workspace, {"promote": MODEL, "version": "2"}), StepCommand)


@pytest.mark.parametrize(
    ("champion_at", "promoted_at", "now", "waits"),
    [
        (NOW - 4 * DAY, None, NOW, False),
        (NOW - 2 * DAY, None, NOW, True),
        (NOW - 9 * DAY, NOW - 2 * DAY, NOW, True),
        (NOW, NOW - 4 * DAY, NOW, False),
        (NOW + 900 * DAY, None, NOW, False),  # made after what the clock says: by another clock
    ],
)
def test_the_cool_down_counts_from_the_slot_that_moved_the_champion_or_from_the_move(
    workspace: Workspace, champion_at: Any, promoted_at: Any, now: Any, waits: bool
) -> None:
    moved(workspace, 1, at=champion_at)
    moved(workspace, 2, alias="challenger")
    promoted = {MODEL: Moved(version=1, at=promoted_at, outcome="promoted")} if promoted_at else {}
    found = asked(workspace, {"promote": MODEL, "cool_down": "3d"}, now=now, promoted=promoted)
    assert isinstance(found, StepResult) is waits
    if isinstance(found, StepResult):
        assert (found.outcome, found.why.endswith("nothing is promoted for 3d")) == ("skipped", True)


@pytest.mark.parametrize(("day", "frozen"), [(9, False), (10, True), (12, True), (13, False)])
def test_nothing_is_promoted_while_it_is_frozen(workspace: Workspace, day: int, frozen: bool) -> None:
    moved(workspace, 2, alias="challenger")
    step = {"promote": MODEL, "freeze": [{"from": "2026-03-10", "to": "2026-03-12"}]}
    found = asked(workspace, step, now=NOW.replace(day=day, hour=23))
    assert isinstance(found, StepResult) is frozen
    if isinstance(found, StepResult):
        assert found.why == "nothing is promoted from 2026-03-10 to 2026-03-12"


def test_a_guard_without_a_champion_or_outcomes_does_nothing(workspace: Workspace) -> None:
    assert done(workspace, GUARD).why == "income has no champion yet"
    moved(workspace, 1, at=NOW - DAY)
    found = done(workspace, GUARD)
    assert (found.outcome, found.why) == ("skipped", "job 'later' judged no row that income@1 scored as champion yet")
    judged(workspace, {"own": (1, 0.65, 900)})
    kept = done(workspace, GUARD)
    assert (kept.outcome, kept.why[:25]) == ("unchanged", "roc_auc is 0.6500 on 900 ")


def test_a_guard_rolls_back_what_disappoints_within_its_probation_and_tells_it_again(workspace: Workspace) -> None:
    moved(workspace, 1, at=NOW - 20 * DAY)
    moved(workspace, 2, at=NOW - DAY)
    run = judged(workspace, {"own (income@1)": (1, 0.65, 900), "own (income@2)": (2, 0.55, 700)})
    late = {MODEL: Moved(version=2, at=NOW - 8 * DAY, outcome="promoted")}
    assert done(workspace, GUARD, promoted=late).why == "7 days of probation are over"
    found = done(workspace, GUARD)
    assert (found.outcome, found.facts["version"], found.facts["model"]) == ("rolled_back", 1, MODEL)
    assert champion(workspace) == (1, f"{BY}: roc_auc is 0.5500 on 700 rows of {run}, below 0.6")
    again = asked(workspace, GUARD)
    assert isinstance(again, StepResult)
    assert (again.outcome, again.facts["version"]) == ("rolled_back", 1)
    assert len(list(workspace.registry.store.list("income/aliases/champion"))) == 3


def test_a_guard_compares_with_the_champion_before(workspace: Workspace) -> None:
    moved(workspace, 1, at=NOW - 20 * DAY)
    moved(workspace, 2, at=NOW - DAY)
    judged(workspace, {"own (income@1)": (1, 0.70, 900), "own (income@2)": (2, 0.62, 700)})
    step = {**GUARD, "minimum": None, "max_loss": 0.1}
    assert done(workspace, step).outcome == "unchanged"
    found = done(workspace, {**step, "max_loss": 0.05})
    assert found.outcome == "rolled_back"
    assert "and income@1 before it had 0.7000: 0.0800 worse, and 0.05 are allowed" in champion(workspace)[1]


def test_a_guard_that_has_nowhere_to_go_back_to_says_so_and_stops_nothing(workspace: Workspace) -> None:
    """The steps behind it may be the ones that bring a better champion."""
    moved(workspace, 1, at=NOW - DAY)
    judged(workspace, {"own": (1, 0.5, 900)})
    found = done(workspace, GUARD)
    assert (found.outcome, found.why.endswith("below 0.6, and there is nothing to go back to")) == ("skipped", True)
    options = ["--job", "later", "--metric", "roc_auc", "--minimum", "0.6", "-w", str(workspace.settings.workspace)]
    typed = CliRunner().invoke(main, ["model", "guard", MODEL, *options])
    assert (typed.exit_code, "no other version was promoted before" in typed.output) == (3, True)


def test_what_cannot_be_read_fails_and_says_so(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "town", versions=0)
    found = done(workspace, {"challenge": MODEL})
    assert (found.outcome, "no model" in (found.error or "")) == ("failed", True)
    (tmp_path / "town/dataops.yaml").write_text("storage: [")
    assert done(workspace, {"challenge": MODEL}).outcome == "failed"


@pytest.mark.parametrize(
    ("result", "outcome", "may_pass"),
    [
        (Result(exit_code=5, error="income@2 is not promoted to champion: 1 of 1 limits failed"), "refused", False),
        (Result(exit_code=5, error="somebody else was first", may_pass=True), "failed", True),
        (Result(exit_code=10, error="the disk is full", may_pass=True), "failed", True),
        (Result(exit_code=-9, error="killed by SIGKILL", may_pass=True), "failed", True),
        (Result(exit_code=0, answer={"version": "income@2", "moved": True, "generation": 4}), "promoted", False),
        (Result(exit_code=0, answer={"version": "income@2", "moved": False, "reason": BY}), "promoted", False),
        (Result(exit_code=0, answer={"version": "income@2", "moved": False, "reason": "x"}), "unchanged", False),
    ],
)
def test_how_a_process_ended_says_what_came_of_a_promotion(result: Result, outcome: str, may_pass: bool) -> None:
    schedule = make_schedule({"promote": MODEL})
    found = came_of(schedule.steps[0], open_slot(schedule), result)  # type: ignore[arg-type]
    assert (found.outcome, found.may_pass) == (outcome, may_pass)
    assert json.dumps(dict(found.facts))
    if outcome in ("promoted", "refused"):
        assert (found.facts["model"], found.facts["version"]) == (MODEL, 2)
