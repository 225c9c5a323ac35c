"""What phases did, by the events of a run that was cut off, lost or taken up again."""

from __future__ import annotations

from typing import Any

from dataops.runs.phases import ended_phases


def start(rows: int, phase: str = "score") -> dict[str, Any]:
    return {"event": "phase_started", "phase": phase, "units": 1, "rows": rows}


def end(seconds: float, outcome: str = "done", phase: str = "score") -> dict[str, Any]:
    return {"event": "phase_ended", "phase": phase, "outcome": outcome, "seconds": seconds}


BEGUN, RESUMED, LOST, KEPT = (
    {"event": name} for name in ("run_started", "run_resumed", "cluster_lost", "recording_kept")
)


def told(*events: dict[str, Any]) -> list[tuple[float, int, bool, int, bool]]:
    return [(one.seconds, one.rows, one.failed, one.attempt, one.recorded) for one in ended_phases(events)]


def test_a_phase_that_ended_well_did_all_its_rows() -> None:
    assert told(BEGUN, start(100), end(4.0), KEPT) == [(4.0, 100, False, 1, True)]
    assert told(BEGUN, start(100), end(4.0)) == [(4.0, 100, False, 1, False)]


def test_what_a_lost_cluster_had_done_is_what_the_next_one_had_not_to_do() -> None:
    assert told(BEGUN, start(100), end(2.0, "failed"), LOST, start(40), end(1.0), KEPT) == [
        (2.0, 60, True, 1, False),
        (1.0, 40, False, 2, True),
    ]


def test_of_a_driver_that_died_neither_seconds_nor_rows_count() -> None:
    assert told(BEGUN, start(100), RESUMED, start(40), end(1.0), KEPT) == [(1.0, 40, False, 2, True)]


def test_what_began_anew_had_done_nothing_that_lasts() -> None:
    assert told(BEGUN, start(100), end(2.0, "failed"), KEPT, RESUMED, start(100), end(4.0), KEPT) == [
        (2.0, 0, True, 1, True),
        (4.0, 100, False, 2, True),
    ]


def test_a_phase_that_failed_for_good_has_no_rows() -> None:
    assert told(BEGUN, start(100), end(2.0, "failed"), KEPT) == [(2.0, 0, True, 1, True)]


def test_phases_of_one_name_in_one_attempt_each_count() -> None:
    assert told(BEGUN, start(100), end(1.0), start(30, "judge"), end(0.5, phase="judge"), start(100), end(2.0)) == [
        (1.0, 100, False, 1, False),
        (0.5, 30, False, 1, False),
        (2.0, 100, False, 1, False),
    ]


def test_an_end_without_a_beginning_has_its_seconds() -> None:
    assert told(BEGUN, end(3.0)) == [(3.0, 0, False, 1, False)]
