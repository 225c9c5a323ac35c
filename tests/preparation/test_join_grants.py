"""Grants that end while a join is under way: what was read under them is used no more, and nothing is published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from dataops.datasets import allowed, commit
from dataops.datasets.reading import Source
from dataops.datasets.snapshot import read_snapshot
from dataops.errors import AccessDenied
from dataops.preparation import join_tasks
from dataops.preparation.join import run_join
from dataops.preparation.join_plan import JoinPlan
from dataops.records import format_time, now_utc
from dataops.runs.workspace import Workspace, open_workspace
from dataops.storage.objects import open_store
from tests.line.voyages import make_port
from tests.preparation.here import Here
from tests.preparation.joining import PARTED, job_of, plan_of

END = now_utc() + timedelta(hours=1)
EACH_WEATHER = {"by": ["port", "hour"], "order": "seen_at"}


@dataclass(slots=True)
class Late(Here):
    """Does the phase `late`, and what follows, when the grants have ended."""

    late: str = ""
    over: bool = False

    def map_units(
        self, phase: str, function: Callable[..., Any], context: Any, units: Sequence[Any], *, done: Mapping[str, Any]
    ) -> list[Any]:
        self.over |= phase == self.late
        at = END + timedelta(seconds=1) if self.over else now_utc()
        with patch.object(allowed, "now_utc", lambda: at):
            return Here.map_units(self, phase, function, context, units, done=done)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return open_workspace(str(make_port(tmp_path_factory.mktemp("grants") / "port")), {})


def _ending(source: Source) -> Source:
    return replace(source, expires_at=format_time(END))


def _of_main(plan: JoinPlan) -> JoinPlan:
    return replace(plan, source=_ending(plan.source))


def _of_joined(plan: JoinPlan) -> JoinPlan:
    return replace(plan, joins=tuple(replace(one, source=_ending(one.source)) for one in plan.joins))


@pytest.mark.parametrize(
    ("name", "changes", "ended", "late", "limits"),
    [
        ("sailings", {}, _of_joined, "join", {}),
        ("sailings", {}, _of_joined, "join", PARTED),
        ("sailings", {}, _of_joined, "match-2", PARTED),
        ("by_port", {}, _of_main, "aggregate", PARTED),
        ("newest", {}, _of_main, "settle-main", PARTED),
        ("loud", {"deduplicate": EACH_WEATHER}, _of_joined, "settle-1", PARTED),
    ],
    ids=["given to every worker", "by key", "matched", "grouped", "named", "joined dataset named"],
)
def test_rows_are_used_no_more_once_their_grant_has_ended(
    port: Workspace,
    tmp_path: Path,
    name: str,
    changes: dict[str, Any],
    ended: Callable[[JoinPlan], JoinPlan],
    late: str,
    limits: dict[str, int],
) -> None:
    commit.open_storage.cache_clear()
    join_tasks._SIDES._exchange = None
    job = job_of(port, name)
    if changes:
        job = job_of(port, name, joins=[job.joins[0].model_dump() | changes])
    plan, inputs = plan_of(port, job, **limits)
    work = Late(late=late)
    with pytest.raises(AccessDenied, match="what was granted ended"):
        run_join(ended(plan), inputs, work, storage=str(tmp_path))  # type: ignore[arg-type]
    assert work.over
    assert read_snapshot(open_store(str(tmp_path)), name) is None
    done = {path.name for path in tmp_path.rglob("exchange/*.json") if path.name.startswith(late)}
    assert not done
