from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.monitoring.compared import (
    NOISE_SECONDS,
    Compared,
    PhaseTook,
    Side,
    Verdict,
    compare_sides,
    compared_record,
)


def side(run: str = "a", facts: dict[str, str] | None = None, **phases: PhaseTook | float) -> Side:
    took = {name: one if isinstance(one, PhaseTook) else PhaseTook(seconds=one) for name, one in phases.items()}
    return Side(run=run, state="done", created_at="2026-01-31T12:00:00Z", facts=facts or {}, phases=took)


def compared(first: Any, second: Any, **given: Any) -> Compared:
    return compare_sides(side("a", score=first), side("b", score=second), **given)


def took(seconds: float, **known: Any) -> PhaseTook:
    return PhaseTook(seconds=seconds, **{"rows": 1000, "tasks": 10, **known})


def test_a_phase_that_took_longer_beyond_noise_is_named_with_both_times() -> None:
    found = compared(20.0, 30.0)
    (pair,) = found.phases
    assert (pair.verdict, pair.ratio, pair.per_row, pair.extra_seconds) == (Verdict.SLOWER, 1.5, False, 10.0)
    assert found.said == "'score' got slower: 1.50 times as long (20.0 s, then 30.0 s)."


@pytest.mark.parametrize(
    ("first", "second"), [(20.0, 21.9), (0.2, 0.65), (20.0, 18.1)], ids=["percent", "seconds", "less"]
)
def test_what_is_within_noise_is_no_difference(first: float, second: float) -> None:
    found = compared(first, second)
    assert found.phases[0].verdict is Verdict.SAME
    assert found.said == "Nothing got slower or faster beyond noise (10 percent and 0.5 seconds)."


def test_noise_is_for_the_machines_owner_to_know() -> None:
    assert compared(20.0, 21.9, noise_percent=5.0).phases[0].verdict is Verdict.SLOWER
    assert compared(20.0, 30.0, noise_percent=60.0).phases[0].verdict is Verdict.SAME


def test_phases_of_other_rows_are_compared_by_the_row() -> None:
    same_pace = compared(took(10.0), took(20.0, rows=2000))
    assert (same_pace.phases[0].verdict, same_pace.phases[0].per_row) == (Verdict.SAME, True)
    slower = compared(took(10.0), took(10.0, rows=500))
    assert slower.phases[0].ratio == pytest.approx(2.0)
    assert "2.00 times as long a row" in slower.said


def test_the_worst_comes_first_and_what_got_faster_last() -> None:
    found = compare_sides(
        side(encode=10.0, fit=100.0, judge=10.0, read=30.0), side(encode=12.0, fit=150.0, judge=13.0, read=10.0)
    )
    assert found.said == (
        "'fit' got slower: 1.50 times as long (1 min 40 s, then 2 min 30 s). "
        "Also slower: 'judge' (1.30 times as long), 'encode' (1.20 times as long). Faster: 'read' (0.33 times as long)."
    )


def test_nothing_slower_and_something_faster_says_both() -> None:
    said = compare_sides(side(score=20.0, publish=1.0), side(score=10.0, publish=1.0)).said
    assert said.startswith("Nothing got slower beyond noise")
    assert said.endswith("Faster: 'score' (0.50 times as long).")


@pytest.mark.parametrize(
    ("then", "now", "why"),
    [
        ((10.0, 12.0, 0.9), (20.0, 24.0, 0.9), "2.00 times the processor time"),
        ((10.0, 12.0, 0.9), (10.1, 24.0, 0.9), "longer for the same processor time"),
        ((10.0, 18.0, 0.9), (10.0, 18.0, 0.45), "45%, 90% before"),
    ],
)
def test_why_is_said_as_far_as_the_records_show_it(then: Any, now: Any, why: str) -> None:
    names = ("cpu_seconds", "busy_seconds", "busy")
    known = [dict(zip(names, one, strict=True)) for one in (then, now)]
    assert why in compared(took(10.0, **known[0]), took(20.0, **known[1])).said


def test_without_records_no_reason_is_guessed() -> None:
    assert compared(took(10.0), took(20.0)).said == "'score' got slower: 2.00 times as long (10.0 s, then 20.0 s)."


def test_a_phase_of_several_attempts_says_so() -> None:
    said = compared(took(10.0), took(20.0, attempts=2)).said
    assert said == "'score' got slower: 2.00 times as long (10.0 s, then 20.0 s in 2 attempts)."


def test_more_processor_time_for_more_rows_is_no_reason() -> None:
    now = took(40.0, rows=2000, cpu_seconds=20.0, busy_seconds=24.0, busy=0.3)
    said = compared(took(10.0, cpu_seconds=10.0, busy_seconds=12.0, busy=0.6), now).said
    assert "processor time" not in said
    assert "30%, 60% before" in said


def test_phases_of_one_run_alone_and_failed_ones_are_not_judged() -> None:
    found = compare_sides(side(score=10.0, link=1.0), side(score=PhaseTook(seconds=50.0, failed=True), publish=9.0))
    assert [(one.phase, one.verdict) for one in found.phases] == [
        ("score", Verdict.NOT_JUDGED),
        ("link", Verdict.NOT_JUDGED),
        ("publish", Verdict.NOT_JUDGED),
    ]
    assert "no phase in common" in found.said


def test_what_is_not_the_same_is_told_from_both_sides() -> None:
    first = side(facts={"input": "census, snapshot 1", "code": "1", "model": "income@1"}, score=1.0)
    second = side(facts={"input": "census, snapshot 2", "code": "1", "challenger": "income@2"}, score=1.0)
    assert compare_sides(first, second).differences == (
        ("input", "census, snapshot 1", "census, snapshot 2"),
        ("model", "income@1", "-"),
        ("challenger", "-", "income@2"),
    )


def test_the_record_is_json() -> None:
    found = compare_sides(side("a", score=took(10.0), link=1.0), side("b", score=took(20.0)))
    record = compared_record(found)
    assert json.loads(json.dumps(record)) == record
    assert record["phases"][0]["a"]["rows_per_second"] == 100.0
    assert record["phases"][1]["b"] is None
    assert record["noise"] == {"percent": 10.0, "seconds": NOISE_SECONDS}


@given(seconds=st.floats(0.001, 10**6), rows=st.none() | st.integers(0, 10**9))
def test_a_run_is_as_fast_as_itself(seconds: float, rows: int | None) -> None:
    found = compared(PhaseTook(seconds=seconds, rows=rows), PhaseTook(seconds=seconds, rows=rows))
    assert found.phases[0].verdict is Verdict.SAME
    assert found.differences == ()


@given(first=st.floats(0.01, 10**5), second=st.floats(0.01, 10**5))
def test_what_is_slower_one_way_is_faster_the_other_way_or_within_noise(first: float, second: float) -> None:
    there, back = compared(first, second).phases[0].verdict, compared(second, first).phases[0].verdict
    assert (there, back) not in [(Verdict.SLOWER, Verdict.SLOWER), (Verdict.FASTER, Verdict.FASTER)]
