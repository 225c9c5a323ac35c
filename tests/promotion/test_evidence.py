"""Which runs are evidence: those of the workspace's own jobs, and of them the newest; what was submitted is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dataops.records import format_time
from dataops.runs.ledger import Ledger, Run, is_submitted
from dataops.runs.promotion_evidence import done_runs
from dataops.storage.objects import MemoryStore

START = datetime(2026, 1, 1, tzinfo=UTC)


def add(ledger: Ledger, run_id: str, *, after: timedelta) -> None:
    """A run of an evaluate job that is done."""
    run = Run(
        id=run_id,
        job="later",
        kind="evaluate",
        declaration={},
        source="x",
        principal="ana",
        roles=(),
        inputs={},
        model=None,
        code={"digest": "c"},
        work_digest="sha256:" + "0" * 64,
        created_at=format_time(START + after),
    )
    ledger.start(run, {})
    ledger.emit(run_id, "run_done", result={})


def test_a_run_that_somebody_submitted_is_no_evidence_however_new() -> None:
    ledger = Ledger(MemoryStore())
    add(ledger, "later-20260101t000000-aaaaaa", after=timedelta(0))
    add(ledger, "later-20260101t010000-bbbbbb", after=timedelta(hours=1))
    add(ledger, "later-20260101t020000-sbbbbbb", after=timedelta(hours=2))
    found = [state.run.id for state in done_runs(ledger, "later", kind="evaluate")]
    assert found == ["later-20260101t010000-bbbbbb", "later-20260101t000000-aaaaaa"]


@pytest.mark.parametrize(
    ("run_id", "submitted"),
    [
        ("later-20260101t000000-s0a1b2c", True),
        ("later-20260101t000000-0a1b2c", False),
        ("a-s0a1b2c-20260101t000000-0a1b2c", False),
    ],
)
def test_an_id_says_whether_somebody_submitted_it(run_id: str, submitted: bool) -> None:
    assert is_submitted(run_id) is submitted
