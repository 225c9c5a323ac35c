"""Expiry and garbage over runs: what was asked for stands in the audit, and nobody reads what is gone unawares."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

from dataops.datasets.snapshot import read_snapshot
from dataops.datasets.verify import verify_dataset
from dataops.errors import NotFound, Storage
from dataops.records import now_utc
from dataops.runs.lineage import walk_from
from dataops.runs.retention import collect_garbage, expire_dataset
from tests.line.running import Line

DAY = timedelta(days=1)


def stopped(town: Line, job: str, *, at: str) -> str:
    """The run of `job` that failed for want of storage, at a function of its pass."""
    with patch(at, side_effect=Storage("full")), pytest.raises(Storage) as error:
        town.run(job)
    return str(error.value.__notes__).split("resume ")[1].split("`")[0]


def audited(town: Line, event: str) -> list[dict[str, Any]]:
    return [dict(entry.body) for entry in town.workspace.audit.entries() if entry.body["event"] == event]


def parts(town: Line) -> int:
    return len(list((town.storage / "datasets").rglob("*.parquet")))


def test_the_whole_way_of_a_dataset_that_expires(town: Line) -> None:
    made = town.run("people_ready")
    rows = len(town.rows("people_ready"))
    training = stopped(town, "wealth", at="dataops.training.train.fit_encoder")
    later = now_utc() + 40 * DAY
    plan, number = expire_dataset(town.workspace, "people_ready", older_than=30 * DAY, at=later, do=False)
    assert ([one.run for one in plan.gone], number) == ([made.state.run.id], None)
    assert audited(town, "expiry") == []
    _, number = expire_dataset(town.workspace, "people_ready", older_than=30 * DAY, at=later, do=True)
    assert number == 2
    (said,) = audited(town, "expiry")
    assert (said["dataset"], said["runs"], said["rows"]) == ("people_ready", [made.state.run.id], rows)

    with pytest.raises(NotFound, match=r"inputs expired: dataset 'people_ready' as of snapshot 1"):
        town.resume(training)
    with pytest.raises(NotFound, match=r"all rows of dataset 'people_ready' expired.*Run the job"):
        town.run("wealth")

    assert verify_dataset(town.workspace.settings, town.workspace.store, "people_ready").findings == ()
    # lineage still knows
    walked = walk_from(town.workspace, "people_ready@1", ways=["up"])
    assert walked["up"].record()["steps"][0]["places"][0]["name"] == "people_old"

    assert parts(town) > 0
    for days, left in ((0, True), (8, False)):
        collect_garbage(town.workspace, dataset=None, grace=7 * DAY, at=later + days * DAY, do=True)
        assert (parts(town) > 0) is left
    assert list((town.storage / "quarantine").rglob("*.parquet")) == []
    (collected,) = audited(town, "collection")
    assert (collected["run"], collected["reason"]) == (made.state.run.id, "expired")

    anew = town.run("people_ready")  # not skipped: what it made is gone
    assert not anew.skipped
    assert town.rows("people_ready")


def test_a_dry_run_changes_nothing(town: Line) -> None:
    town.run("people_ready")
    town.run("people_ready", again=True)
    before = sorted(path for path in town.folder.rglob("*"))
    collected = collect_garbage(town.workspace, dataset=None, grace=timedelta(0), at=now_utc(), do=False)
    assert [one.reason for one in collected.marked] == ["replaced"]
    assert sorted(path for path in town.folder.rglob("*")) == before


def test_without_grace_one_call_does_both_steps(town: Line) -> None:
    first = town.run("people_ready")
    town.run("people_ready", again=True)
    had = parts(town)
    collected = collect_garbage(town.workspace, dataset=None, grace=timedelta(0), at=now_utc(), do=True)
    assert ([one.run for one in collected.deleted], collected.marked) == ([first.state.run.id], ())
    assert parts(town) == had // 2
    assert read_snapshot(town.workspace.store, "people_ready") is not None


def test_a_run_that_was_given_up_is_not_resumed(town: Line) -> None:
    run = stopped(town, "people_ready", at="dataops.preparation.prepare.publish")
    collect_garbage(town.workspace, dataset=None, grace=7 * DAY, at=now_utc() + 8 * DAY, do=True)
    with pytest.raises(NotFound, match=f"run {run} showed no sign of life"):
        town.resume(run)
    assert read_snapshot(town.workspace.store, "people_ready") is None


def test_a_run_that_may_still_publish_is_left_alone(town: Line) -> None:
    run = stopped(town, "people_ready", at="dataops.preparation.prepare.publish")
    collected = collect_garbage(town.workspace, dataset=None, grace=7 * DAY, at=now_utc() + 6 * DAY, do=True)
    assert (collected.marked, collected.deleted) == ((), ())
    town.resume(run)
    assert town.rows("people_ready")


def test_an_audit_that_cannot_be_written_lets_nothing_go(town: Line) -> None:
    town.run("people_ready")
    town.run("people_ready", again=True)
    had = parts(town)
    with patch("dataops.runs.retention.record_event", side_effect=Storage("full")):
        with pytest.raises(Storage):
            expire_dataset(town.workspace, "people_ready", older_than=timedelta(0), at=now_utc() + DAY, do=True)
        with pytest.raises(Storage):
            collect_garbage(town.workspace, dataset=None, grace=timedelta(0), at=now_utc(), do=True)
    assert parts(town) == had
    assert read_snapshot(town.workspace.store, "people_ready").number == 2  # type: ignore[union-attr]
