"""Promotion in a workspace: impact of a real rescore, what a version learned from, overrides on the audit."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dataops.errors import Conflict
from dataops.models.predictor import BOOSTED
from dataops.promotion.override import Override
from dataops.promotion.verdict import verdict_key
from dataops.records import now_utc
from dataops.runs.audit import check_audit
from dataops.runs.promotion import promote_version
from tests.rescoring.examples import PROGRAM, register
from tests.runs.offline import JOBS, Offline

FLOOR = "- {metric: roc_auc, minimum: 0.1}"
IMPACT = "- {impact: {job: people_scores, max_flipped: 1, min_rank_correlation: -1, max_moved: 1}}"
CLASSES = "- {classifications: {allowed: [work, pii.quasi]}}"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """A town whose champion is version 1, and whose scores were made by it with version 2 beside."""
    town = Offline.make(tmp_path_factory.mktemp("promotion") / "town", files=1)
    register(town.workspace, BOOSTED)
    register(town.workspace, program=PROGRAM.after_preparation())
    promote(town, 1, FLOOR)
    town.change(JOBS, "model: wealth@1", "model: wealth@1\nchallengers: {next: wealth@2}")
    return town


def promote(town: Offline, version: int, *rules: str, **options: Any) -> Any:
    lines = "\n".join(rules)
    (town.folder / "jobs" / "promotion.yaml").write_text(f"format: 1\nmodel: wealth\nrules:\n{lines}\n")
    return promote_version(town.workspace, "wealth", version, reason="test", **options)


def findings(town: Offline, verdict_digest: str) -> list[dict[str, Any]]:
    data = town.workspace.registry.store.get(f"{verdict_key('wealth', verdict_digest)}.json")
    return list(json.loads(data)["findings"])


def test_an_impact_is_that_of_a_run_that_scored_both(compared: Offline, tmp_path: Path) -> None:
    town = compared.copied(tmp_path)
    with pytest.raises(
        Conflict, match="no run of job 'people_scores' is known here: run a rescore that scores wealth@2"
    ):
        promote(town, 2, FLOOR, IMPACT)
    run = town.run().state.run.id
    with pytest.raises(Conflict, match=rf"{run} scored wealth@2 beside wealth@1"):  # and nobody scored version 3
        promote(town, 3, FLOOR, IMPACT)
    with pytest.raises(Conflict, match=r"no run of '.*' is known here"):
        promote(town, 2, FLOOR, "- {impact: {run: people_scores-20200101t000000-aaaaaa, max_flipped: 1}}")
    promoted = promote(town, 2, FLOOR, IMPACT, f"- {{impact: {{run: {run}, challenger: next, max_flipped: 1}}}}")
    judged = findings(town, promoted.verdict_digest)[1:]
    assert {finding["dataset"] for finding in judged} == {run}
    assert [finding["limit"] for finding in judged] == [
        "max_flipped",
        "min_rank_correlation",
        "max_moved",
        "max_flipped",
    ]
    assert all(finding["value"] is not None and finding["rows"] for finding in judged)
    with pytest.raises(Conflict, match=rf"{run} scored wealth@2 beside wealth@1"):  # the champion is another now
        promote(town, 3, FLOOR, IMPACT)


def test_an_impact_has_the_age_of_its_run(compared: Offline, tmp_path: Path) -> None:
    town = compared.copied(tmp_path)
    run = town.run().state.run.id
    with pytest.raises(Conflict, match=rf"{run} is [0-9.]+ days old, and one of more than 1e-09 isn't judged"):
        promote(town, 2, FLOOR, "- {impact: {job: people_scores, max_age_days: 0.000000001, max_flipped: 1}}")
    assert promote(town, 2, FLOOR, "- {impact: {job: people_scores, max_age_days: 1, max_flipped: 1}}").moved


def test_what_nobody_here_trained_is_not_promoted_where_its_classes_matter(compared: Offline, tmp_path: Path) -> None:
    town = compared.copied(tmp_path)
    with pytest.raises(Conflict, match="the run that trained it isn't in this storage"):
        promote(town, 2, FLOOR, CLASSES)
    taken = Override(why="trained elsewhere, looked at", until=now_utc() + timedelta(days=3))
    promoted = promote(town, 2, FLOOR, CLASSES, override=taken)
    assert [finding["outcome"] for finding in findings(town, promoted.verdict_digest)] == [
        "passed",
        "passed",
        "failed",
    ]


def test_every_promotion_is_told_to_the_audit_before_and_after_and_a_refusal_too(
    compared: Offline, tmp_path: Path
) -> None:
    town = compared.copied(tmp_path)
    with pytest.raises(Conflict):
        promote(town, 2, "- {metric: roc_auc, minimum: 0.99}")
    promoted = promote(town, 2, FLOOR)
    entries = [entry.body for entry in town.workspace.audit.entries()]
    told = [one for one in entries if one["event"].startswith("model_promote")][-4:]
    assert [one["event"] for one in told] == ["model_promote", "model_promote_result"] * 2
    assert [one.get("outcome") for one in told] == [None, "failed", None, "done"]
    assert {(one["model"], one["version"], one["reason"]) for one in (told[0], told[2])} == {("wealth", 2, "test")}
    made = (told[3]["alias"], told[3]["generation"], told[3]["verdict"], told[3]["moved"])
    assert made == ("champion", promoted.move.generation, promoted.verdict_digest, True)
    assert check_audit(town.workspace).findings == ()


def test_an_override_is_told_to_the_audit_before_and_after(compared: Offline, tmp_path: Path) -> None:
    town = compared.copied(tmp_path)
    high = "- {metric: roc_auc, minimum: 0.99}"
    with pytest.raises(Conflict):
        promote(town, 2, high)
    promoted = promote(town, 2, high, override=Override(why="agreed", until=now_utc() + timedelta(days=3)))
    assert promoted.overridden
    told = [entry.body for entry in town.workspace.audit.entries() if entry.body["event"].startswith("model_override")]
    assert [one["event"] for one in told] == ["model_override", "model_override_result"]
    assert (told[0]["model"], told[0]["version"], told[0]["reason"]) == ("wealth", 2, "agreed")
    assert (told[1]["outcome"], told[1]["verdict"], told[1]["overridden"]) == ("done", promoted.verdict_digest, True)
