"""The fold over messages: what a run's drivers say shows, within bounds, and nobody's nonsense breaks it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.declarations import jobs
from dataops.monitoring.board import MOST_NOTES, MOST_PHASES, MOST_POINTS, MOST_RUNS, apply
from dataops.monitoring.bounded import LARGEST_COUNT, LARGEST_FIGURES, MOST_PARAMS
from dataops.monitoring.page_views import board_record, head_text, phases_text, results_text, rows_text, runs_text
from dataops.monitoring.shown import DONE, FAILED, KINDS, LOST, OTHER_KIND, RUNNING, Board
from tests.monitoring.messages import BEGAN, BUSY, RUN, board, said, shown

LEFT = {"event": "client_left", "client": "client-1"}


def test_a_phase_shows_how_far_it_is_how_fast_and_how_long_it_will_take() -> None:
    phase = board(*BUSY).runs[RUN].phase
    assert phase is not None
    assert (phase.name, phase.units_done, phase.rows_done) == ("score", 10, 1000)
    assert phase.share == 0.25
    now = BEGAN + 4 + 10  # ten seconds after it began
    assert phase.rate(now) == 100.0
    assert phase.left(now) == 30.0


def test_a_phase_that_ended_took_what_its_driver_says_and_has_nothing_left() -> None:
    ended = board(*BUSY, said("phase_ended", phase="score", outcome="failed", seconds=7.25)).runs[RUN].phase
    assert ended is not None
    assert (ended.outcome, ended.seconds, ended.elapsed(BEGAN + 999)) == (FAILED, 7.25, 7.25)
    assert ended.left(BEGAN + 999) is None


def test_a_phase_that_goes_by_something_else_says_so_in_its_words() -> None:
    told = said("progress", phase="fit", units=0, rows=0, figures="50 of 200 rounds, loss 0.2", done=50, total=200)
    phase = board(shown(), said("phase_started", phase="fit"), told).runs[RUN].phase
    assert phase is not None
    assert (phase.said, phase.share) == ("50 of 200 rounds, loss 0.2", 0.25)


def test_of_two_phases_of_one_name_the_open_one_goes_on() -> None:
    first = [said("phase_started", phase="x", units=2), said("phase_ended", phase="x", outcome="done", seconds=1)]
    later = [said("phase_started", phase="x", units=4), said("progress", phase="x", units=1, rows=0)]
    phases = board(shown(), *first, *later).runs[RUN].phases
    assert [(one.units, one.units_done, one.outcome) for one in phases] == [(2, 0, DONE), (4, 1, None)]


def test_what_became_of_rows_is_that_of_the_newest_phase_which_counted_any() -> None:
    run = board(*BUSY, said("phase_started", phase="publish")).runs[RUN]
    assert run.counts == {"read": 1000, "passed": 990, "quarantined": 10, "broken:wage_stated": 10}


def test_a_run_ends_once_and_keeps_how() -> None:
    ended = board(*BUSY, said("run_ended", state="done", figures={"result": {"dataset": "d"}}))
    run = board(said("run_ended", state="failed", error="KeyboardInterrupt: interrupted"), after=ended).runs[RUN]
    assert (run.state, run.error, run.figures) == (DONE, None, {"result": {"dataset": "d"}})
    failed = board(*BUSY, said("run_ended", state="failed", error="Compute: it broke")).runs[RUN]
    assert (failed.state, failed.error) == (FAILED, "Compute: it broke")


def test_a_run_whose_driver_left_without_a_word_is_lost_and_others_go_on() -> None:
    other, third = "b-1-2", "c-1-2"
    before = board(*BUSY, shown(other, client="client-2"), shown(third), said("run_ended", third, state="done"))
    after = board({"event": "client_left", "client": "client-1"}, after=before)
    assert {name: run.state for name, run in after.runs.items()} == {RUN: LOST, other: RUNNING, third: DONE}


def test_a_run_that_is_taken_up_again_goes_on_with_what_it_had() -> None:
    lost = board({"event": "client_left", "client": "client-1"}, after=board(*BUSY))
    again = board(shown(client="client-9"), said("phase_started", phase="score"), after=lost).runs[RUN]
    assert (again.state, again.ended, again.client) == (RUNNING, None, "client-9")
    assert [one.name for one in again.phases] == ["link", "score", "score"]


def test_what_a_lost_run_was_at_does_not_go_on() -> None:
    """An hour later it is as fast as it was, nothing is left, and its page says so."""
    lost = board(LEFT, after=board(*BUSY), at=BEGAN + 24)
    phase = lost.runs[RUN].phase
    assert phase is not None
    assert (phase.outcome, phase.elapsed(BEGAN + 3600), phase.rate(BEGAN + 3600)) == (LOST, 20.0, 50.0)
    assert phase.left(BEGAN + 3600) is None
    assert "left" not in phases_text(lost.runs[RUN], BEGAN + 3600)


def test_the_phases_of_an_attempt_that_nobody_ended_end_with_the_next_one_and_with_the_run() -> None:
    again = board(shown(), said("phase_started", phase="score"), after=board(*BUSY), at=BEGAN + 24)
    assert [one.outcome for one in again.runs[RUN].phases] == [DONE, LOST, None]
    ended = board(said("run_ended", state="done"), after=again, at=BEGAN + 30).runs[RUN]
    assert [(one.outcome, one.seconds) for one in ended.phases] == [(DONE, 0.5), (LOST, 20.0), (DONE, 5.0)]


def test_a_driver_that_comes_back_goes_on_with_its_phase_and_its_run() -> None:
    lost = board(LEFT, after=board(*BUSY), at=BEGAN + 10)
    back = board({"event": "client_came", "client": "client-1"}, after=lost, at=BEGAN + 11)
    assert (back.runs[RUN].state, back.runs[RUN].ended) == (RUNNING, None)
    assert [one.outcome for one in back.runs[RUN].phases] == [DONE, None]
    ended = board(said("run_ended", state="done"), after=back, at=BEGAN + 20)
    assert ended.runs[RUN].state == DONE
    seconds = {state: ended.totals["run_seconds", state] for state in (LOST, DONE)}
    assert seconds == {LOST: 10.0, DONE: 9.0}
    other = board({"event": "client_came", "client": "client-2"}, after=lost, at=BEGAN + 11)
    assert other.runs[RUN].state == LOST


def test_how_a_lost_run_ended_is_believed_when_it_is_told_after_all() -> None:
    late = board(said("run_ended", state="done"), after=board(LEFT, after=board(*BUSY)))
    assert late.runs[RUN].state == DONE
    assert (late.totals["runs", LOST], late.totals["runs", DONE]) == (1, 1)


def test_lost_runs_are_counted_once() -> None:
    lost = board(LEFT, LEFT, after=board(*BUSY), at=BEGAN + 10)
    assert (lost.totals["runs", LOST], lost.totals["run_seconds", LOST]) == (1, 10.0)
    unnoticed = board(shown(client="client-2"), LEFT, after=board(*BUSY), at=BEGAN + 10)
    assert (unnoticed.totals["runs", LOST], unnoticed.runs[RUN].state) == (1, RUNNING)


def test_each_attempt_counts_its_own_seconds_and_its_own_units() -> None:
    five = said("progress", phase="score", units=5, rows=500)
    failed = board(shown(), said("phase_started", phase="score", units=10), five, said("run_ended", state="failed"))
    begun = [shown(), said("phase_started", phase="score", units=10)]
    before = said("progress", phase="score", units=5, before=5, rows=0)
    rest = said("progress", phase="score", units=10, before=5, rows=500)
    done = board(*begun, before, rest, said("run_ended", state="done"), after=failed, at=BEGAN + 3600)
    assert done.totals == {
        ("units", "rescore"): 10, ("rows", "rescore"): 1000, ("runs", FAILED): 1, ("run_seconds", FAILED): 3.0,
        ("runs", DONE): 1, ("run_seconds", DONE): 4.0,
    }  # fmt: skip


def test_what_went_wrong_is_counted_by_kind_and_told_in_words() -> None:
    run = board(
        *BUSY,
        said("unit_retried", phase="score", unit="u000003", reason="OSError, errno 5", tries=1),
        said("unit_retried", phase="score", unit="u000004", reason="OSError, errno 5", tries=1),
        said("units_killed_workers", phase="score", units=["u000001", "u000002"]),
    ).runs[RUN]
    assert run.troubles == {"unit_retried": 2, "units_killed_workers": 1}
    assert run.notes[0][1] == "unit u000003 of 'score' is tried again: OSError, errno 5"
    assert "2 units of 'score'" in run.notes[-1][1]


def test_trials_show_as_they_come_and_one_that_begins_anew_starts_afresh() -> None:
    trial = {"candidate": "xgboost", "metric": "roc_auc", "trial": 0}
    reached = [said("trial_reached", **trial, rounds=rounds, loss=1 / rounds) for rounds in (10, 20)]
    begun = said("trial_begun", **trial, params={"depth": 3, "rate": 0.5})
    ended = said("trial_ended", **trial, outcome="done", figure=0.9, why=None, seconds=1.5)
    made = board(shown(), begun, *reached, ended)
    (one,) = made.runs[RUN].searches["xgboost"].values()
    assert one["curve"] == [[10, 0.1], [20, 0.05]]
    assert (one["outcome"], one["figure"], one["params"]) == ("done", 0.9, {"depth": 3, "rate": 0.5})
    (afresh,) = board(begun, reached[0], after=made).runs[RUN].searches["xgboost"].values()
    assert (afresh["curve"], afresh["outcome"]) == ([[10, 0.1]], None)


def test_sums_only_grow_and_outlive_runs_that_were_let_go() -> None:
    made = board(*BUSY, said("progress", phase="score", units=30, rows=3000), said("run_ended", state="done"))
    assert made.totals[("rows", "rescore")] == 3000
    assert made.totals[("runs", "done")] == 1
    many = board(*(shown(f"other-{number}-x") for number in range(MOST_RUNS + 5)), after=made)
    assert RUN not in many.runs
    assert many.totals == made.totals


class TestBounds:
    def test_the_newest_runs_stay_and_those_that_go_on_before_all_others(self) -> None:
        running = shown("running-1-1")
        ended = [message for n in range(MOST_RUNS + 10) for message in (shown(f"r-{n}-x"), _ended(f"r-{n}-x"))]
        made = board(running, *ended)
        assert len(made.runs) == MOST_RUNS
        assert "running-1-1" in made.runs
        assert f"r-{MOST_RUNS + 9}-x" in made.runs
        assert "r-0-x" not in made.runs
        assert made.newest_first[0].run == "running-1-1"
        assert made.newest_first[1].run == f"r-{MOST_RUNS + 9}-x"

    def test_of_a_run_no_more_is_kept_than_a_page_can_show(self) -> None:
        phases = [said("phase_started", phase=f"p{number}") for number in range(MOST_PHASES + 50)]
        notes = [said("unit_retried", phase="p", unit="u", reason="x" * 10_000, tries=1) for _ in range(100)]
        rounds = [said("rounds_done", candidate="c", rounds=n, of=9, loss=0.5) for n in range(5 * MOST_POINTS)]
        run = board(shown(), *phases, *notes, *rounds).runs[RUN]
        assert len(run.phases) == MOST_PHASES
        assert len(run.notes) == MOST_NOTES
        assert max(len(text) for _, text in run.notes) < 2100
        assert len(run.curves["c"]) <= MOST_POINTS
        assert run.curves["c"][-1] == (5 * MOST_POINTS - 1, 0.5)
        assert run.troubles == {"unit_retried": 100}

    def test_figures_that_are_too_large_are_kept_as_far_as_they_fit(self) -> None:
        large = {
            "inputs": [],
            "result": {"dataset": "d", "searches": "x" * LARGEST_FIGURES},
            "champions": ["y"] * 10**6,
        }
        for made in (board(shown(**large)), board(shown(), said("run_ended", state="done", figures=large))):
            assert made.runs[RUN].figures == {"inputs": (), "result": {"dataset": "d"}}
        small = {"inputs": [], "result": {"dataset": "d"}}
        assert board(shown(**small)).runs[RUN].figures == {"inputs": (), "result": {"dataset": "d"}}

    def test_names_numbers_and_parameters_end_somewhere(self) -> None:
        long = "r" * 10_000
        trial = said("trial_begun", long, candidate="c", trial=0, params={str(number): 1 for number in range(1000)})
        made = board(shown(long), trial, said("run_ended", long, state="done"))
        (run,) = made.runs.values()
        assert len(run.run) == len(next(iter(made.runs))) == len(run.job) == 200
        assert run.state == DONE
        assert len(run.searches["c"][0]["params"]) == MOST_PARAMS

    def test_sums_stay_numbers_and_have_no_label_that_a_driver_made_up(self) -> None:
        huge = [said("progress", phase="score", units=1.7e308, rows=1.7e308), said("phase_ended", phase="score")]
        odd = {**shown(), "kind": "kind-of-alice"}
        made = board(odd, *BUSY[1:], *huge, said("phase_started", phase="score"), *huge, said("run_ended", state="x"))
        assert {label for name, label in made.totals if name in ("units", "rows")} <= {OTHER_KIND}
        assert max(made.totals.values(), default=0.0) <= 2 * LARGEST_COUNT
        json.dumps(board_record(made, BEGAN), allow_nan=False)

    def test_every_kind_of_job_has_its_label(self) -> None:
        assert set(KINDS) == set(jobs.KINDS)

    @pytest.mark.parametrize("tasks", [5, "abc", {"a": 1}, [1, None]], ids=str)
    def test_tasks_that_are_none_change_nothing(self, tasks: Any) -> None:
        before = board(*BUSY)
        assert apply(before, {"event": "worked", "run": RUN, "tasks": tasks}, BEGAN).runs[RUN] == before.runs[RUN]


def _ended(run: str) -> dict[str, Any]:
    return said("run_ended", run, state="done")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
EVENTS = (
    "run_shown", "cluster_ready", "phase_started", "progress", "phase_ended", "worked", "trial_begun", "trial_reached",
    "trial_ended", "rounds_done", "unit_retried", "units_killed_workers", "drifted", "fit_needs", "run_ended",
    "client_left", "client_came", "nobody_knows",
)  # fmt: skip
KEYS = (
    "phase", "units", "rows", "counts", "figures", "done", "total", "outcome", "seconds", "tasks", "candidate", "trial",
    "before", "there", "params", "rounds", "loss", "figure", "reason", "raised", "state", "error", "client", "job",
    "kind", "workers",
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.dictionaries(st.sampled_from(KEYS), JSON)), max_size=12))
def test_nonsense_breaks_neither_the_board_nor_its_json(messages: list[tuple[str, dict[str, Any]]]) -> None:
    made = board(*BUSY)
    for event, fields in messages:
        made = apply(made, {"event": event, "run": RUN, **fields}, BEGAN + 60)
    assert isinstance(made, Board)
    json.dumps(board_record(made, BEGAN + 61), allow_nan=False)
    runs_text(made, BEGAN + 61)


@pytest.mark.parametrize("message", [{}, {"event": 3, "run": RUN}, {"event": "progress"}, {"run": RUN}], ids=str)
def test_a_message_without_event_or_run_changes_nothing(message: dict[str, Any]) -> None:
    before = board(*BUSY)
    assert apply(before, message, BEGAN) is before


def test_the_same_messages_give_the_same_text() -> None:
    one, other = board(*BUSY), board(*BUSY)
    for text in (phases_text, rows_text, results_text, head_text):
        arguments = {phases_text: (BEGAN,), head_text: ("", BEGAN)}.get(text, ())
        assert text(one.runs[RUN], *arguments) == text(other.runs[RUN], *arguments)  # type: ignore[operator]
