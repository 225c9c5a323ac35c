"""Expiry and garbage over runs: what was asked for stands in the audit, and nobody reads what is gone unawares."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from dataops.datasets.publish import publish
from dataops.datasets.snapshot import read_snapshot
from dataops.datasets.tombstones import Reason
from dataops.datasets.verify import verify_dataset
from dataops.errors import AccessDenied, Conflict, NotFound, Storage
from dataops.governance.audit import verify_audit
from dataops.governance.audit_chain import Kind
from dataops.records import now_utc
from dataops.runs.audit import check_audit
from dataops.runs.lineage import walk_from
from dataops.runs.retention import Collected, Expired, collect_garbage, expire_dataset
from tests.datasets.examples import open_one
from tests.line.people import give_roles
from tests.line.running import Line

DAY = timedelta(days=1)


@pytest.fixture
def town(town: Line) -> Line:
    """A town whose person may let data go."""
    give_roles(town.folder, "data_science", "steward")
    return town


def expired(town: Line, *, days: int, at: datetime, do: bool) -> Expired:
    return expire_dataset(town.workspace, "people_ready", older_than=days * DAY, at=at, do=do)


def collected(town: Line, *, grace: timedelta = 7 * DAY, at: datetime | None = None, do: bool = True) -> Collected:
    return collect_garbage(town.workspace, dataset=None, grace=grace, at=at or now_utc(), do=do)


def unsigned(town: Line) -> list[str]:
    return [one.kind for one in check_audit(town.workspace).findings if one.kind is Kind.UNSIGNED_TAIL]


def mask_rare_regions(town: Line) -> None:
    """What takes a survey to read."""
    rule = "  - {id: few, effect: mask, columns: {names: [region]}, mask: {rare: {min_count: 20}}}\n"
    policy = town.folder / "policies/people.yaml"
    policy.write_text(policy.read_text() + rule)


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
    training = stopped(town, "wealth", at="dataops.training.train.fit_features")
    later = now_utc() + 40 * DAY
    dry = expired(town, days=30, at=later, do=False)
    assert ([one.run for one in dry.plan.gone], dry.snapshot) == ([made.state.run.id], None)
    assert audited(town, "expiry") == []
    done = expired(town, days=30, at=later, do=True)
    assert (done.snapshot, done.note) == (2, None)
    (said,) = audited(town, "expiry")
    assert (said["dataset"], said["runs"], said["rows"]) == ("people_ready", [made.state.run.id], rows)
    (came_of_it,) = audited(town, "expiry_result")
    assert (came_of_it["outcome"], came_of_it["snapshot"], came_of_it["dataset"]) == ("done", 2, "people_ready")
    assert town.workspace.audit.read(came_of_it["announced"]).body == said

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
        collected(town, at=later + days * DAY)
        assert (parts(town) > 0) is left
    assert list((town.storage / "quarantine").rglob("*.parquet")) == []
    (gone,) = audited(town, "collection")
    assert (gone["run"], gone["reason"]) == (made.state.run.id, "expired")
    (came_of_it,) = audited(town, "collection_result")
    assert (came_of_it["outcome"], came_of_it["run"]) == ("done", made.state.run.id)
    assert unsigned(town) == []

    anew = town.run("people_ready")  # not skipped: what it made is gone
    assert not anew.skipped
    assert town.rows("people_ready")


def test_a_dry_run_changes_nothing(town: Line) -> None:
    town.run("people_ready")
    town.run("people_ready", again=True)
    before = sorted(path for path in town.folder.rglob("*"))
    give_roles(town.folder, "data_science")  # looking takes no steward
    before = sorted(path for path in town.folder.rglob("*"))
    found = collected(town, grace=timedelta(0), do=False)
    assert [one.reason for one in found.marked] == ["replaced"]
    assert sorted(path for path in town.folder.rglob("*")) == before


def test_without_grace_one_call_does_both_steps(town: Line) -> None:
    first = town.run("people_ready")
    town.run("people_ready", again=True)
    had = parts(town)
    found = collected(town, grace=timedelta(0))
    assert ([one.run for one in found.deleted], found.marked) == ([first.state.run.id], ())
    assert parts(town) == had // 2
    assert read_snapshot(town.workspace.store, "people_ready") is not None


def test_a_run_that_was_given_up_is_not_resumed(town: Line) -> None:
    run = stopped(town, "people_ready", at="dataops.preparation.prepare.publish")
    collected(town, at=now_utc() + 8 * DAY)
    with pytest.raises(Conflict, match=f"run {run} was given up"):
        town.resume(run)
    assert read_snapshot(town.workspace.store, "people_ready") is None


def test_a_run_that_may_still_publish_is_left_alone(town: Line) -> None:
    run = stopped(town, "people_ready", at="dataops.preparation.prepare.publish")
    found = collected(town, at=now_utc() + 6 * DAY)
    assert (found.marked, found.deleted) == ((), ())
    town.resume(run)
    assert town.rows("people_ready")


def test_an_audit_that_cannot_be_written_lets_nothing_go(town: Line) -> None:
    town.run("people_ready")
    town.run("people_ready", again=True)
    had = parts(town)
    with patch("dataops.runs.audit.record_event", side_effect=Storage("full")):
        with pytest.raises(Storage):
            expired(town, days=0, at=now_utc() + DAY, do=True)
        with pytest.raises(Storage):
            collected(town, grace=timedelta(0))
    assert parts(town) == had
    assert read_snapshot(town.workspace.store, "people_ready").number == 2  # type: ignore[union-attr]


@pytest.mark.parametrize("days", [[1], [1.5, 3]], ids=["one call", "a laptop that was closed for three days"])
def test_a_run_that_was_marked_on_its_way_publishes_nothing(town: Line, days: list[float]) -> None:
    def after_a_while(*given: Any, **named: Any) -> Any:
        for some in days:
            collected(town, grace=DAY, at=now_utc() + some * DAY)
        return publish(*given, **named)

    with (
        patch("dataops.preparation.prepare.publish", after_a_while),
        pytest.raises(Conflict, match=r"was given up.*Start a new run"),
    ):
        town.run("people_ready")
    assert read_snapshot(town.workspace.store, "people_ready") is None
    assert verify_audit(town.workspace.audit) == []
    again = town.run("people_ready")
    assert verify_dataset(town.workspace.settings, town.workspace.store, "people_ready").findings == ()
    assert not again.skipped


@pytest.mark.parametrize("roles", [("data_science",), ()], ids=["no steward", "nobody"])
def test_letting_data_go_is_for_stewards(town: Line, roles: tuple[str, ...]) -> None:
    town.run("people_ready")
    town.run("people_ready", again=True)
    give_roles(town.folder, *roles)
    before = sorted(path for path in town.storage.rglob("*"))
    with pytest.raises(AccessDenied, match="role 'steward' alone"):
        expired(town, days=0, at=now_utc() + DAY, do=True)
    with pytest.raises(AccessDenied, match="role 'steward' alone"):
        collected(town, grace=timedelta(0))
    assert sorted(path for path in town.storage.rglob("*")) == before
    assert expired(town, days=0, at=now_utc() + DAY, do=False).plan.gone


@pytest.mark.parametrize("error", [Conflict("moved on"), Storage("full"), KeyboardInterrupt()])
def test_an_expiry_that_did_not_happen_is_told_and_signed(town: Line, error: BaseException) -> None:
    town.run("people_ready")
    with patch("dataops.runs.retention.expire", side_effect=error), pytest.raises(type(error)):
        expired(town, days=0, at=now_utc() + DAY, do=True)
    (said,) = audited(town, "expiry_result")
    assert (said["outcome"], "snapshot" in said) == ("failed", False)
    assert unsigned(town) == []
    assert read_snapshot(town.workspace.store, "people_ready").number == 1  # type: ignore[union-attr]


def test_a_collection_that_failed_midway_is_told_and_signed(town: Line) -> None:
    town.run("people_ready")
    town.run("people_ready", again=True)
    with patch("dataops.runs.retention.sweep", side_effect=Storage("full")), pytest.raises(Storage):
        collected(town, grace=timedelta(0))
    (said,) = audited(town, "collection_result")
    assert said["outcome"] == "failed"
    assert unsigned(town) == []


def test_what_was_spared_is_said(town: Line) -> None:
    town.run("people_ready")
    town.run("people_ready", again=True)
    had = parts(town)
    with patch("dataops.runs.retention.sweep", return_value=False):
        found = collected(town, grace=timedelta(0))
    assert (len(found.spared), found.deleted) == (1, ())
    assert [one["outcome"] for one in audited(town, "collection_result")] == ["spared"]
    assert parts(town) == had


def test_an_audit_that_can_not_be_signed_is_noted(town: Line) -> None:
    town.run("people_ready")
    town.run("people_ready", again=True)
    shutil.rmtree(town.folder / "keys")
    assert "no checkpoint" in str(collected(town, grace=timedelta(0)).note)
    with patch("dataops.runs.retention.expire", side_effect=Conflict("moved on")), pytest.raises(Conflict) as error:
        expired(town, days=0, at=now_utc() + DAY, do=True)
    assert "no checkpoint" in str(error.value.__notes__)
    assert "no checkpoint" in str(expired(town, days=0, at=now_utc() + DAY, do=True).note)


def test_surveys_of_content_that_is_no_more_go_when_no_living_run_has_them(town: Line) -> None:
    mask_rare_regions(town)
    town.run("people_ready")
    surveys = town.storage / "surveys/people_old"
    assert len(list(surveys.rglob("survey.json"))) == 1
    part = next((town.folder / "data/people_old").glob("*.parquet"))
    part.unlink()
    open_one(town.workspace, "people_old", "train")  # the content is another one by now
    for days, left in ((6, 1), (8, 1), (14, 1), (16, 0)):
        collected(town, at=now_utc() + days * DAY)
        assert len(list(surveys.rglob("survey.json"))) == left
    assert [path for path in surveys.rglob("*") if path.is_file()] == []


def test_a_survey_that_a_living_run_reads_with_is_left(town: Line) -> None:
    mask_rare_regions(town)
    stopped(town, "people_ready", at="dataops.preparation.prepare.publish")
    next((town.folder / "data/people_old").glob("*.parquet")).unlink()
    open_one(town.workspace, "people_old", "train")
    for path in (town.storage / "surveys").rglob("*"):
        os.utime(path, (0, 0))
    surveys = [one for one in collected(town, at=now_utc() + 6 * DAY).marked if one.reason is Reason.SURVEY]
    assert surveys == []
    surveys = [one for one in collected(town, at=now_utc() + 8 * DAY).marked if one.reason is Reason.SURVEY]
    assert len(surveys) == 1
