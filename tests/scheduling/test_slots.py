"""Names that follow from slots: the same for whoever does a slot again, others for any other slot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.records import NAME_PATTERN
from dataops.runs.ledger import job_of
from dataops.scheduling.slots import jitter_seconds, key_of, run_id_of
from tests.scheduling.scheduled import at, schedule

SLOT: dict[str, Any] = {
    "schedule": "nightly",
    "digest_": "sha256:" + "1" * 64,
    "key": "20260101t023000z",
    "nominal": at("02:30"),
    "step": 0,
    "job": "flights_scores",
}


def run_id(**changed: Any) -> str:
    fields = {**SLOT, **changed}
    named = {name: fields.pop(name) for name in ("schedule", "digest_", "key", "nominal")}
    return run_id_of(*named.values(), **fields)


def test_a_key_is_the_time_in_utc_whatever_zone_it_is_given_in() -> None:
    assert key_of(at("02:30")) == "20260101t023000z"
    moved = at("02:30").astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert key_of(moved) == "20260101t023000z"
    assert NAME_PATTERN.fullmatch(key_of(moved))


def test_a_run_id_reads_like_every_other_and_is_always_the_same() -> None:
    assert run_id() == run_id()
    assert job_of(run_id()) == "flights_scores"
    assert run_id().rsplit("-", 2)[1] == "20260101t023000"
    assert len(run_id().rsplit("-", 1)[1]) == 6


@pytest.mark.parametrize(
    "changed",
    [
        {"schedule": "hourly"},
        {"digest_": "sha256:" + "2" * 64},
        {"key": "snapshot-17"},
        {"nominal": at("02:31")},
        {"step": 1},
        {"attempt": 2},
        {"again": 1},
        {"job": "other"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_any_other_slot_step_or_attempt_has_other_runs(changed: dict[str, Any]) -> None:
    assert run_id(**changed) != run_id()


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda one: one.replace(tzinfo=UTC)))  # noqa: DTZ001
def test_a_slot_waits_a_part_of_the_jitter_and_always_the_same(nominal: datetime) -> None:
    declared = schedule(jitter="5m")
    waits = jitter_seconds(declared, key_of(nominal))
    assert 0 <= waits < 300
    assert waits == jitter_seconds(declared, key_of(nominal))
    assert jitter_seconds(schedule(), key_of(nominal)) == 0


def test_jitter_spreads_slots_over_all_of_it() -> None:
    declared = schedule(jitter="100s")
    waits = [jitter_seconds(declared, key_of(at("00:00") + timedelta(minutes=number))) for number in range(1000)]
    assert all(50 <= sum(ten <= wait < ten + 10 for wait in waits) <= 150 for ten in range(0, 100, 10))
    others = [jitter_seconds(schedule(jitter="100s", name="t"), key_of(at("00:00")))]
    assert others != waits[:1]
