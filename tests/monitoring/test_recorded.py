from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.monitoring import recorded
from dataops.monitoring.recorded import recorded_figures
from dataops.records import canonical_bytes
from tests.monitoring.recorded_runs import a_rescore, attempt, part, sampled, summed


def figures(*attempts: Any) -> dict[str, Any]:
    found = recorded_figures(attempts)
    assert found is not None
    assert json.loads(canonical_bytes(found)) == found  # as a page needs them
    return found


def bars(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    stream = found["stream"]
    return list(zip(*(stream[name] for name in ("lane", "began", "ended", "tasks")), strict=True))


def test_a_run_without_records_has_no_figures() -> None:
    assert recorded_figures([]) is None


def test_records_that_cannot_be_read_are_told_of() -> None:
    assert recorded_figures([], ["gone"]) == {"problems": ["gone"], "seconds": 0.0}


def test_a_phase_says_what_its_tasks_and_workers_did() -> None:
    found = figures(*a_rescore())
    survey, score = found["phases"]
    assert (survey["phase"], survey["tasks"], survey["rows"], survey["failed"]) == ("survey", 4, 200_000, 0)
    assert (score["phase"], score["tasks"], score["rows"]) == ("score", 13, 13 * 12_000)
    assert score["busy_seconds"] == pytest.approx(12.7)
    assert score["transfer_seconds"] == pytest.approx(0.05)
    assert score["cpu_seconds"] == 4.0
    assert score["cpu_percent"] == pytest.approx(180.0)
    assert score["peak_memory"] == 10**9 + 9 * 10**7 + 10**8  # of worker 1, in the ninth second
    assert survey["peak_memory"] == 10**9 + 10**7 + 10**8
    assert survey["cpu_percent"] is None  # two moments say too little
    assert (found["workers"], found["threads"], found["memory_limit"]) == (2, 2, 2 * 10**9)


def test_sums_of_a_phase_hold_what_was_too_much_to_be_kept() -> None:
    score = summed("score", tasks=9, failed=2, rows=900, compute=8.5, transfer=1.5, disk=0.5)
    publish = summed("publish", tasks=1, failed=0, rows=0, compute=0.25)
    first = attempt([part(0, 1.0, 2.0, rows=100)], left_out=8, sums=[*score, *publish])
    second = attempt([part(0, 1.0, 2.0, rows=100)])  # of before there were such sums
    found = figures(first, second)
    keys = ("tasks", "failed", "rows", "busy_seconds", "transfer_seconds", "disk_seconds")
    assert {one["phase"]: tuple(one[key] for key in keys) for one in found["phases"]} == {
        "score": (10, 2, 1000, 9.5, 1.5, 0.5),
        "publish": (1, 0, 0, 0.25, 0.0, 0.0),
    }
    assert found["stream"]["names"] == ["score"]
    assert found["whole"] is True
    assert figures(first, attempt([part(0, 1.0, 2.0)], left_out=1))["whole"] is False


def test_where_dask_added_one_phase_to_another_no_processor_time_is_told() -> None:
    (one,) = a_rescore()
    spans = one.spans.slice(0, 1)  # of the survey alone
    found = figures(replace(one, spans=spans))
    assert [phase["cpu_seconds"] for phase in found["phases"]] == [None, None]


def test_attempts_stand_one_after_the_other_whatever_lay_between() -> None:
    first = attempt([part(0, 1.0, 2.0, rows=10)], sampled(3, 1), seconds=3.0, workers=1)
    second = attempt([part(0, 1.0, 2.0, rows=10)], sampled(3, 1), seconds=3.0, workers=1, began=1_790_900_000.0)
    found = figures(first, second)
    assert (found["seconds"], found["attempts"]) == (6.0, [3.0])
    assert bars(found) == [(0, 1.0, 2.0, 1), (0, 4.0, 5.0, 1)]
    (score,) = found["phases"]
    assert (score["tasks"], score["rows"], score["cpu_seconds"]) == (2, 20, 8.0)


def test_a_worker_has_as_many_lanes_as_it_did_tasks_at_once() -> None:
    parts = [part(0, 0.0, 2.0), part(1, 1.0, 3.0), part(2, 2.0, 4.0), part(3, 0.5, 1.0, worker=1)]
    found = figures(attempt(parts))
    assert found["stream"]["lanes"] == [0, 0, 1]
    assert bars(found) == [(0, 0.0, 2.0, 1), (0, 2.0, 4.0, 1), (1, 1.0, 3.0, 1), (2, 0.5, 1.0, 1)]


def test_what_a_task_waited_for_is_in_its_lane_and_no_lane_of_its_own() -> None:
    parts = [part(0, 0.0, 2.0), part(1, 1.0, 1.5, action="transfer"), part(1, 2.0, 3.0)]
    found = figures(attempt(parts))
    assert found["stream"]["lanes"] == [0]
    assert found["stream"]["compute"] == [True, False, True]


def test_many_tasks_become_few_bars_that_lose_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "MAX_BARS", 50)
    parts = [part(number, number * 0.01, number * 0.01 + 0.008, worker=number % 2) for number in range(1000)]
    found = figures(attempt(parts))
    drawn = bars(found)
    assert len(drawn) <= 50
    assert sum(tasks for *_, tasks in drawn) == 1000
    assert min(began for _, began, _, _ in drawn) == 0.0
    assert max(ended for _, _, ended, _ in drawn) == pytest.approx(9.998)


def test_a_failed_task_stays_seen_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "MAX_BARS", 5)
    parts = [part(number, number * 0.1, number * 0.1 + 0.09, failed=number == 40) for number in range(100)]
    found = figures(attempt(parts))
    assert any(found["stream"]["failed"])
    assert found["phases"][0]["failed"] == 1


def test_lanes_beyond_what_can_be_seen_are_counted() -> None:
    parts = [part(number, 0.0, 1.0, worker=number) for number in range(60)]
    stream = figures(attempt(parts, workers=60))["stream"]
    assert (len(stream["lanes"]), stream["hidden_lanes"]) == (recorded.MAX_LANES, 12)


def test_of_many_workers_the_memory_of_the_largest_and_the_one_in_the_middle_is_shown() -> None:
    few = figures(attempt([], sampled(4, 3), workers=3, seconds=4.0))["memory"]
    assert [line["name"] for line in few] == ["worker 1", "worker 2", "worker 3"]
    many = figures(attempt([], sampled(4, 9), workers=9, seconds=4.0))["memory"]
    assert [line["name"] for line in many] == ["the largest", "in the middle"]
    assert many[0]["bytes"][0] == 10**9 + 8 * 10**8
    assert many[1]["bytes"][0] == 10**9 + 4 * 10**8


def test_memory_over_hours_keeps_its_peaks_in_few_points() -> None:
    samples = sampled(5000, 1)
    samples[2500] = samples[2500]._replace(memory=9 * 10**12)
    (line,) = figures(attempt([], samples, workers=1, seconds=5000.0))["memory"]
    assert len(line["bytes"]) <= recorded.MAX_POINTS
    assert 9 * 10**12 in line["bytes"]


@given(
    spans=st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9), st.integers(0, 10**6)), min_size=1, max_size=40),
)
def test_rows_over_time_add_up_to_all_rows(spans: list[tuple[float, float, int]]) -> None:
    parts = [part(n, min(a, b), max(a, b), rows=rows, worker=n % 2) for n, (a, b, rows) in enumerate(spans)]
    rate = figures(attempt(parts))["rate"]
    width = 10.0 / (recorded.MAX_POINTS // 2)
    total = sum(rows for *_, rows in spans)
    assert sum(rate["rows"]) * width == pytest.approx(total, rel=0.001, abs=1.0)


def test_nothing_recorded_can_be_shown() -> None:
    found = figures(attempt([], [], seconds=0.0))
    assert (found["phases"], found["memory"], found["rate"]["at"], bars(found)) == ([], [], [], [])
