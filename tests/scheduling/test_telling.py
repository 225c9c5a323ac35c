"""What a script says of each event: a line that a person reads without the code."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from dataops.declarations.schedules import Schedule, schedule_record
from dataops.scheduling import telling
from dataops.scheduling.events import (
    Begun,
    Changed,
    Claimed,
    Ended,
    Event,
    Missed,
    Paused,
    Queued,
    Resumed,
    Skipped,
    StepBegun,
    StepEnded,
    StepRetry,
    Stopping,
    TakenOver,
    Told,
    Unwanted,
    Wanted,
    WantedSlot,
)
from dataops.scheduling.state import OpenSlot, ScheduleState, StepState
from dataops.scheduling.telling import spell_event, spell_line

AT = datetime(2026, 3, 1, 7, 30, 5, tzinfo=UTC)
DUE = datetime(2026, 3, 1, 7, 30, tzinfo=UTC)
KEY = "20260301t073000z"
WHO: dict[str, Any] = {"at": AT, "by": "0123456789ab"}
SLOT: dict[str, Any] = {**WHO, "key": KEY}
DECLARED = schedule_record(
    Schedule.model_validate(
        {
            "name": "nightly",
            "when": {"cron": "30 2 * * *", "time_zone": "America/New_York"},
            "steps": [{"job": "scores", "file": "jobs/a.yaml"}, {"promote": "late"}],
        }
    )
)
STATE = ScheduleState(
    name="nightly",
    digest="d",
    when="w",
    since=DUE,
    open={
        KEY: OpenSlot(
            key=KEY,
            nominal=DUE,
            cause="due",
            digest="d",
            declaration=DECLARED,
            holder="0123456789ab",
            claimed_at=DUE,
            not_before=DUE,
            steps=(StepState(attempt=1, run="r", begun_at=AT - timedelta(seconds=12)), StepState()),
        )
    },
)
CLAIMED = Claimed(**SLOT, nominal=DUE, cause="due", digest="d", declaration=DECLARED, not_before=DUE)
PASSED: dict[str, Any] = {"count": 3, "first": DUE - timedelta(days=2), "last": DUE}
RETRY: dict[str, Any] = {"step": 0, "error": "no answer"}

SAID: list[tuple[Event, str]] = [
    (
        Begun(**WHO, name="nightly", digest="d", when="w", since=DUE),
        "seen for the first time; its slots count from 2026-03-01 07:30 UTC on",
    ),
    (
        Changed(**WHO, digest="e", when="v", since=DUE, dropped=2),
        "declared anew; its slots count from 2026-03-01 07:30 UTC on; 2 slots that waited never come",
    ),
    (CLAIMED, "claimed: due at 2026-03-01 02:30 EST"),
    (
        replace(CLAIMED, cause="catch_up", at=AT + timedelta(hours=3)),
        "claimed: due at 2026-03-01 02:30 EST, 3 h late: catching up",
    ),
    (replace(CLAIMED, cause="queue"), "claimed: it was due at 2026-03-01 02:30 EST, and waited for the one before"),
    (replace(CLAIMED, cause="occasion"), "claimed: it happened at 2026-03-01 07:30 UTC"),
    (
        replace(CLAIMED, cause="backfill", hindsight="what if"),
        "claimed: somebody asked for it, in hindsight (what if)",
    ),
    (
        replace(CLAIMED, not_before=AT + timedelta(minutes=4)),
        "claimed: due at 2026-03-01 02:30 EST; begins in 4 min, its part of the jitter",
    ),
    (
        Skipped(**WHO, **PASSED, reason="it was paused"),
        "3 slots, 2026-02-27 07:30 UTC to 2026-03-01 07:30 UTC, left out: it was paused",
    ),
    (Missed(**WHO, count=1, first=DUE, last=DUE, reason="why"), "the slot of 2026-03-01 07:30 UTC missed: why"),
    (
        Queued(**WHO, cause="catch_up", count=3, first=DUE - timedelta(days=2), until=DUE),
        "3 slots, 2026-02-27 07:30 UTC to 2026-03-01 07:30 UTC, wait to be caught up on, one after another",
    ),
    (
        Queued(**WHO, cause="queue", count=1, first=DUE, until=DUE),
        "the slot of 2026-03-01 07:30 UTC waits for the open one to end",
    ),
    (StepBegun(**SLOT, step=0, attempt=1, run="r"), "step 1 of 2, scores: begun, run r"),
    (StepBegun(**SLOT, step=1, attempt=3, run="r"), "step 2 of 2, promote:late: begun, attempt 3, run r"),
    (StepEnded(**SLOT, step=0, outcome="done"), "step 1 of 2, scores: done in 12 s"),
    (StepEnded(**SLOT, step=0, outcome="unchanged"), "step 1 of 2, scores: nothing had changed in 12 s"),
    (
        StepEnded(**SLOT, step=1, outcome="skipped", facts={"why": "late has no challenger yet"}),
        "step 2 of 2, promote:late: skipped: late has no challenger yet",
    ),
    (
        StepEnded(**SLOT, step=0, outcome="failed", error="Storage: no answer"),
        "step 1 of 2, scores: failed in 12 s: Storage: no answer",
    ),
    (
        StepRetry(**SLOT, **RETRY, next_try_at=AT + timedelta(minutes=2)),
        "step 1 of 2, scores: failed, tried again in 2 min: no answer",
    ),
    (
        StepRetry(**SLOT, **RETRY, next_try_at=AT, anew=True),
        "step 1 of 2, scores: failed, tried again now as a new run: no answer",
    ),
    (TakenOver(**SLOT, held_by="ba9876543210"), "taken over from script ba9876543210, which is gone"),
    (
        Stopping(**SLOT, reason="its deadline of 6h passed", outcome="failed"),
        "to be stopped: its deadline of 6h passed",
    ),
    (Ended(**SLOT, outcome="done"), "done, 5 s after it was claimed"),
    (Ended(**SLOT, outcome="failed", reason="step 1 failed"), "failed, 5 s after it was claimed: step 1 failed"),
    (
        Wanted(at=AT, by="kim", slots=(WantedSlot(key="k", nominal=DUE),), reason="an outage"),
        "kim asks for 1 slot: an outage",
    ),
    (Unwanted(at=AT, by="kim", keys=("k", "l")), "2 slots that somebody had asked for never come"),
    (Paused(at=AT, by="kim", reason="a move"), "paused by kim: a move"),
    (Paused(**WHO, declared=True), "paused by its file"),
    (Resumed(at=AT, by="kim"), "goes on, says kim"),
]


@pytest.mark.parametrize(("event", "said"), SAID, ids=lambda one: one.event if not isinstance(one, str) else "")
def test_an_event_in_words(event: Event, said: str) -> None:
    assert spell_event(event, STATE) == said


def test_every_event_has_words() -> None:
    assert {type(event) for event, _ in SAID} == set(get_args(Event)) - {Told}
    assert {type(event) for event, _ in SAID} == set(telling._spell.registry) - {object}


def test_a_line_is_one_line() -> None:
    line = spell_line(AT, "no role\n  lets you\tread", schedule="nightly", slot=KEY)
    assert line == f"2026-03-01 07:30:05Z  nightly  {KEY}  no role lets you read"
    assert spell_line(AT, "ended").split("  ")[1:3] == ["-", "-"]
