"""Occasions: new snapshots, promotions and drift, each told once, and none of before."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataops.errors import Storage
from dataops.records import format_time, now_utc
from dataops.registry.moves import MoveKind
from dataops.runs.ledger import Ledger, Run
from dataops.runs.workspace import Workspace, open_workspace
from dataops.scheduling.drifts import Drifts
from dataops.scheduling.occasions import look
from dataops.scheduling.slots import Occasion
from dataops.scheduling.state import ScheduleState
from dataops.storage.objects import Store
from tests.line.people import make_people
from tests.line.people import make_workspace as make_town
from tests.scheduling.counting import Counting
from tests.scheduling.figures import NOW, make_schedule, make_workspace, moved, on_record

HOUR = timedelta(hours=1)
STATE = ScheduleState(name="nightly", digest="sha256:1", when="sha256:2", since=NOW)


def watching(when: dict[str, Any]) -> Any:
    return make_schedule({"job": "scores", "file": "jobs/x.yaml"}, when=when)


def keys(found: list[Occasion]) -> list[str]:
    return [one.key for one in found]


def test_a_clock_has_no_occasions_and_nothing_happened_before_a_schedule_was_seen(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "town")
    moved(workspace, 1, at=NOW)
    assert look(workspace, watching({"cron": "0 6 * * *"}), STATE) == []
    assert look(workspace, watching({"promoted": "income"}), None) == []
    assert look(workspace, watching({"promoted": "income"}), replace(STATE, since=NOW + HOUR)) == []


def test_a_promotion_is_an_occasion_and_a_rollback_is_none(tmp_path: Path) -> None:
    workspace, when = make_workspace(tmp_path / "town"), watching({"promoted": "income"})
    moved(workspace, 1, at=NOW - HOUR)
    moved(workspace, 2, at=NOW)
    moved(workspace, 1, at=NOW + HOUR, kind=MoveKind.ROLLED_BACK)
    moved(workspace, 3, at=NOW + 2 * HOUR)
    moved(workspace, 3, at=NOW + 2 * HOUR, alias="challenger")
    found = look(workspace, when, STATE)
    assert keys(found) == ["promotion-2", "promotion-4"]
    assert (found[1].at, found[1].number) == (NOW + 2 * HOUR, 4)
    assert found[1].facts == {"model": "income", "version": 3, "generation": 4}
    assert keys(look(workspace, when, replace(STATE, seen=2))) == ["promotion-4"]
    assert look(workspace, when, replace(STATE, seen=4)) == []
    assert look(workspace, watching({"promoted": "nobody"}), STATE) == []


def test_drift_beyond_the_limit_is_an_occasion_by_the_time_that_its_run_was_done(tmp_path: Path) -> None:
    workspace, when = make_workspace(tmp_path / "town"), watching({"drift": {"job": "batch", "psi": 0.25}})
    for psi in (0.3, 0.2, 0.4):
        on_record(workspace, "batch", "rescore", {"drift": {"columns": [{"column": "age", "psi": psi}]}})
    first, second = look(workspace, when, replace(STATE, since=now_utc() - HOUR))
    assert (first.facts["psi"], second.facts["psi"], second.facts["column"]) == (0.3, 0.4, "age")
    assert first.number < second.number
    assert first.key == f"drift-{first.facts['run']}"
    assert look(workspace, when, replace(STATE, since=now_utc() - HOUR, seen=first.number)) == [second]


def test_a_run_that_a_slower_clock_dates_earlier_is_found_though_it_is_recorded_later(tmp_path: Path) -> None:
    workspace, when = make_workspace(tmp_path / "town"), watching({"drift": {"job": "batch", "psi": 0.25}})
    late, early = drifted(workspace, now_utc()), drifted(workspace, now_utc() - HOUR)
    state = replace(STATE, since=now_utc() - 2 * HOUR)
    found = look(workspace, when, state)
    assert [one.facts["run"] for one in found] == [early, late]
    assert all(one.by_time for one in found)
    seen_late = replace(state, seen=found[0].number - 1, beyond=(found[1].number,))
    assert look(workspace, when, seen_late) == found[:1]


def test_each_look_reads_what_is_new_alone(tmp_path: Path) -> None:
    workspace, when = make_workspace(tmp_path / "town"), watching({"drift": {"job": "batch", "psi": 0.25}})
    store = Counting(workspace.store)
    counted = replace(workspace, store=store)  # type: ignore[arg-type]
    for _ in range(40):
        drifted(workspace, now_utc())
    state, drifts = replace(STATE, since=now_utc() - HOUR), Drifts()
    assert len(look(counted, when, state, drifts)) == 40
    working = drifted(workspace, now_utc(), is_done=False)
    store.gets = 0
    assert len(look(counted, when, state, drifts)) == 40
    assert len(look(counted, when, state, drifts)) == 40
    assert store.gets <= 4
    workspace.ledger.emit(working, "run_done", result=DRIFT)
    workspace.ledger.emit(working, "run_done", result={})  # a driver that was thought dead
    assert [one.facts["run"] for one in look(counted, when, state, drifts)][-1] == working
    assert look(counted, when, state) == look(counted, when, state, drifts)


def test_a_run_that_the_store_could_not_read_once_is_found_by_the_next_look(tmp_path: Path) -> None:
    workspace, when = make_workspace(tmp_path / "town"), watching({"drift": {"job": "batch", "psi": 0.25}})
    run, state, drifts = drifted(workspace, now_utc()), replace(STATE, since=now_utc() - HOUR), Drifts()
    store = Failing(workspace.store, f"runs/{run}/run.json")
    with pytest.raises(Storage, match="not now"):
        look(replace(workspace, ledger=Ledger(store)), when, state, drifts)  # type: ignore[arg-type]
    assert store.failures == 1
    assert [one.facts["run"] for one in look(workspace, when, state, drifts)] == [run]


class Failing(Counting):
    """A store that can't give one record."""

    def __init__(self, inner: Store, key: str) -> None:
        super().__init__(inner)
        self.key, self.failures = key, 0

    def get(self, key: str) -> bytes:
        if key == self.key:
            self.failures += 1
            raise Storage("not now")
        return super().get(key)


def test_runs_that_somebody_submitted_and_replays_are_no_occasion(tmp_path: Path) -> None:
    workspace, when = make_workspace(tmp_path / "town"), watching({"drift": {"job": "batch", "psi": 0.25}})
    drifted(workspace, now_utc(), id="batch-20260310t060000-s1a2b3c")
    drifted(workspace, now_utc(), replay_of="batch-20260310t050000-1a2b3c")
    drifted(workspace, now_utc(), kind="train")
    drifted(workspace, now_utc(), id="other-20260310t060000-1a2b3c")
    assert look(workspace, when, replace(STATE, since=now_utc() - HOUR)) == []


DRIFT = {"drift": {"columns": [{"column": "age", "psi": 0.3}]}}


def drifted(workspace: Workspace, done_at: datetime, *, is_done: bool = True, **run: Any) -> str:
    """The id of a run that drifted, done at that time by the clock of its machine."""
    number = len(workspace.ledger.ids())
    facts = {
        "job": "batch",
        "kind": "rescore",
        "declaration": {},
        "source": "jobs/x.yaml",
        "principal": "ana",
        "roles": (),
        "inputs": {},
        "model": None,
        "code": {"digest": "sha256:0"},
        "work_digest": f"sha256:{number}",
        "created_at": format_time(NOW),
        "id": f"batch-20260310t060000-{number:06x}",
    }
    made = Run(**{**facts, **run})
    workspace.ledger.start(made, {})
    workspace.ledger.emit(made.id, "run_started", code="sha256:0", principal="ana")
    if is_done:
        with patch("dataops.runs.ledger.now_utc", lambda: done_at):
            workspace.ledger.emit(made.id, "run_done", result=DRIFT)
    return made.id


def test_files_that_arrive_are_a_snapshot_and_so_an_occasion(tmp_path: Path) -> None:
    folder = make_town(tmp_path / "town", files=1)
    workspace, when = open_workspace(str(folder), {}), watching({"snapshot": "people_new"})
    state = replace(STATE, since=now_utc() - HOUR)
    assert keys(look(workspace, when, state)) == ["snapshot-1"]
    assert keys(look(workspace, when, state)) == ["snapshot-1"]  # a look decides nothing
    table = make_people(np.random.default_rng(5), 9000, 20, "secret")
    pq.write_table(table, folder / "data/people_new/part-009.parquet")
    (found,) = look(workspace, when, replace(state, seen=1))
    assert (found.key, found.facts) == ("snapshot-2", {"dataset": "people_new", "snapshot": 2})
    assert keys(look(workspace, when, state)) == ["snapshot-1", "snapshot-2"]
    assert look(workspace, watching({"snapshot": "not_made_yet"}), state) == []


@pytest.mark.parametrize("since", [timedelta(hours=-1), timedelta(hours=1)])
def test_a_snapshot_of_before_is_none(tmp_path: Path, since: timedelta) -> None:
    folder = make_town(tmp_path / "town", files=1)
    workspace, when = open_workspace(str(folder), {}), watching({"snapshot": "people_new"})
    found = look(workspace, when, replace(STATE, since=now_utc() + since))
    assert bool(found) is (since < timedelta(0))
