"""What a Dask scheduler knows of runs: a fold over the messages that drivers sent it.

1. Pure: the same messages at the same times give the same board. Times are arguments, by the scheduler's own clock.
2. Bounded: the newest `MOST_RUNS` runs, and of each no more than the limits here and in `bounded`, whatever is sent.
3. Whoever is on a cluster may send: a message that isn't as it should be changes nothing and breaks nothing.
4. There is no person's name in it, no value of a row, and no text of a row filter: the dashboard asks for no password.
5. No phase goes on in a run that doesn't: one whose end nobody told ended with its run, or with the attempt at it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dataops.monitoring import bounded
from dataops.monitoring.bounded import LONGEST_ID, count, number, text
from dataops.monitoring.flow import Done, add, thinned, with_workers
from dataops.monitoring.shown import (
    DONE,
    FAILED,
    KINDS,
    LOST,
    OTHER_KIND,
    RUNNING,
    TROUBLES,
    Board,
    ShownPhase,
    ShownRun,
)

MOST_RUNS = 50
MOST_PHASES = 200
MOST_NOTES = 30
MOST_CANDIDATES = 50
MOST_TRIALS = 1000
MOST_STEPS = 50  # of a trial at which it told its loss
MOST_POINTS = 600  # of a learning curve
MOMENT = 0.001  # seconds; two times nearer to each other are one
OWN = ("client_left", "client_came", "worked")
"""What the Dask scheduler sees by itself: as messages of drivers they count for nothing."""


def apply(board: Board, message: Mapping[str, Any], at: float) -> Board:
    """`board` after `message`, which came `at` seconds since 1970."""
    event, run_id = message.get("event"), message.get("run")
    if event in ("client_left", "client_came"):
        return _after_client(board, event, text(message.get("client")), at)
    if not isinstance(event, str) or not isinstance(run_id, str):
        return board
    run = board.runs.get(run_id[:LONGEST_ID])
    if event == "run_shown":
        return _with_room(_after(board, _begun(run, run_id[:LONGEST_ID], message, at), event, at))
    take = _TAKES.get(event)
    return board if run is None or take is None else _after(board, take(run, message, at), event, at)


def _after(board: Board, run: ShownRun, event: str, at: float) -> Board:
    """`board` with `run` as it is after `event`; one that begins is its newest."""
    before, runs = board.runs.get(run.run), dict(board.runs)
    if event == "run_shown":
        runs.pop(run.run, None)
    return replace(board, runs={**runs, run.run: run}, totals=_totals(board.totals, before, run, event, at))


def _with_room(board: Board) -> Board:
    """`board` without the oldest runs beyond those that are kept; those that ended go first, the newest stays."""
    *others, newest = board.runs
    ended = [name for name in others if board.runs[name].state != RUNNING]
    gone = {*[*ended, *(name for name in others if name not in ended)][: max(0, len(board.runs) - MOST_RUNS)]} - {
        newest
    }
    return replace(board, runs={name: run for name, run in board.runs.items() if name not in gone}) if gone else board


def _begun(known: ShownRun | None, run_id: str, message: Mapping[str, Any], at: float) -> ShownRun:
    """A run that begins, or goes on: then what it did before stays."""
    client, figures = text(message.get("client")), bounded.figures(message.get("figures"))
    there = [text(one) for one in bounded.several(message.get("there"))]
    if known is None:
        kind = text(message.get("kind"))
        kind, job = kind if kind in KINDS else OTHER_KIND, text(message.get("job"), LONGEST_ID)
        run = ShownRun(run=run_id, job=job, kind=kind, client=client, began=at, since=at, figures=figures)
    else:
        closed = known.ended_phases(LOST, at)
        run = replace(closed, client=client, since=at, state=RUNNING, error=None, ended=None, figures=figures)
    return replace(run, flow=with_workers(run.flow, there))


def _after_client(board: Board, event: str, client: str, at: float) -> Board:
    """The runs whose driver is gone without a word are lost; those whose driver comes back go on."""
    was, change = (RUNNING, _lost) if event == "client_left" else (LOST, _back)
    for run in [run for run in board.runs.values() if run.client == client and run.state == was]:
        board = _after(board, change(run, at), event, at)
    return board


def _lost(run: ShownRun, at: float) -> ShownRun:
    return replace(run.ended_phases(LOST, at), state=LOST, ended=at, flow=thinned(run.flow))


def _back(run: ShownRun, at: float) -> ShownRun:
    """`run` with the phases that went on when its driver left."""
    left = (run.ended or at) - MOMENT
    phases = tuple(
        replace(one, outcome=None, seconds=None) if one.outcome == LOST and (one.ended or at) >= left else one
        for one in run.phases
    )
    return replace(run, state=RUNNING, ended=None, since=at, phases=phases)


def _cluster_ready(run: ShownRun, message: Mapping[str, Any], _: float) -> ShownRun:
    return replace(run, workers=count(message.get("workers")), threads=count(message.get("threads")))


def _phase_started(run: ShownRun, message: Mapping[str, Any], at: float) -> ShownRun:
    phase = ShownPhase(
        name=text(message.get("phase")),
        began=at,
        units=count(message.get("units")),
        rows=count(message.get("rows")),
    )
    return replace(run, phases=(*run.phases, phase)[-MOST_PHASES:])


def _progress(run: ShownRun, message: Mapping[str, Any], _: float) -> ShownRun:
    return _with_phase(
        run,
        message,
        lambda phase: replace(
            phase,
            units_done=count(message.get("units")),
            units_before=count(message.get("before")),
            rows_done=count(message.get("rows")),
            counts=bounded.counts(message.get("counts")),
            said=text(message.get("figures")),
            done=count(message.get("done")),
            of=count(message.get("total")),
        ),
    )


def _phase_ended(run: ShownRun, message: Mapping[str, Any], _: float) -> ShownRun:
    outcome = DONE if message.get("outcome") == DONE else FAILED
    seconds = max(0.0, round(number(message.get("seconds")) or 0.0, 3))
    return _with_phase(run, message, lambda phase: replace(phase, outcome=outcome, seconds=seconds))


def _with_phase(run: ShownRun, message: Mapping[str, Any], change: Callable[[ShownPhase], ShownPhase]) -> ShownRun:
    """`run` with its open phase of the message's name changed."""
    name, phases = text(message.get("phase")), list(run.phases)
    for place in range(len(phases) - 1, -1, -1):
        if phases[place].name == name and phases[place].outcome is None:
            phases[place] = change(phases[place])
            return replace(run, phases=tuple(phases))
    return run


def _worked(run: ShownRun, message: Mapping[str, Any], _: float) -> ShownRun:
    tasks = [one for one in bounded.several(message.get("tasks")) if isinstance(one, Done)]
    return replace(run, flow=add(run.flow, tasks)) if tasks else run


def _trial(run: ShownRun, message: Mapping[str, Any], _: float) -> ShownRun:
    """A trial of a search begun, reached a number of rounds, or ended."""
    candidate, place = text(message.get("candidate"), LONGEST_ID), count(message.get("trial"))
    trials = run.searches.get(candidate, {})
    if place not in trials and len(trials) >= MOST_TRIALS:
        return run
    known = {} if message["event"] == "trial_begun" else trials.get(place, {})
    fresh = {"trial": place, "params": {}, "outcome": None, "figure": None, "curve": [], "why": None, "seconds": 0.0}
    one: dict[str, Any] = {**fresh, **known}
    match message["event"]:
        case "trial_begun":
            one["params"] = bounded.params(message.get("params"))
        case "trial_reached":
            loss = number(message.get("loss"))
            step = [] if loss is None else [[count(message.get("rounds")), loss]]
            one["curve"] = [*one["curve"], *step][-MOST_STEPS:]
        case _:
            one["outcome"], one["figure"] = text(message.get("outcome"), LONGEST_ID), number(message.get("figure"))
            one["why"], one["seconds"] = text(message.get("why")) or None, number(message.get("seconds")) or 0.0
    searches, metric = {**run.searches, candidate: {**trials, place: one}}, text(message.get("metric"), LONGEST_ID)
    return replace(run, searches=_bounded(searches), metrics=_bounded({**run.metrics, candidate: metric}))


def _rounds_done(run: ShownRun, message: Mapping[str, Any], _: float) -> ShownRun:
    loss = number(message.get("loss"))
    if loss is None:
        return run
    candidate = text(message.get("candidate"), LONGEST_ID)
    points = (*run.curves.get(candidate, ()), (count(message.get("rounds")), loss))
    thinned = points if len(points) <= MOST_POINTS else (*points[:-1:2], points[-1])
    return replace(run, curves=_bounded({**run.curves, candidate: thinned}))


def _trouble(run: ShownRun, message: Mapping[str, Any], at: float) -> ShownRun:
    event = message["event"]
    run = replace(run, troubles={**run.troubles, event: run.troubles.get(event, 0) + 1})
    return _noted(run, message, at)


def _linked(run: ShownRun, message: Mapping[str, Any], at: float) -> ShownRun:
    return _noted(run, message, at) if count(message.get("linked")) else run


def _noted(run: ShownRun, message: Mapping[str, Any], at: float) -> ShownRun:
    return replace(run, notes=(*run.notes, (at, _spell(message)))[-MOST_NOTES:])


def _spell(message: Mapping[str, Any]) -> str:
    """An event in words; nothing of one that has none."""
    raised, units = bounded.several(message.get("raised")), message.get("units")
    told = {name: text(message.get(name)) for name in ("phase", "unit", "reason", "dataset", "rule", "finding")}
    told["some"] = f"{len(bounded.several(units)) or count(units):,}"
    told["linked"] = f"{count(message.get('linked')):,}"
    told["raised"] = f"{len(raised) or 1:,}"
    told["why"] = text(message.get("why")) or text(message.get("needs"))
    return _WORDS.get(message["event"], "{why}").format_map(told)


_WORDS = {
    "unit_retried": "unit {unit} of '{phase}' is tried again: {reason}",
    "units_killed_workers": "workers died over {some} units of '{phase}'; they go on one by one",
    "units_stalled": "nothing came of {some} units of '{phase}'; they were handed out again",
    "dataset_rule_broken": "dataset '{dataset}' breaks rule '{rule}': {finding}",
    "drifted": "{raised} limits of drift were reached",
    "units_linked": "{linked} of {some} units were scored before, and are taken over",
}


def _run_ended(run: ShownRun, message: Mapping[str, Any], at: float) -> ShownRun:
    if run.state in (DONE, FAILED):  # what came after its end doesn't undo it
        return run
    state = DONE if message.get("state") == DONE else FAILED
    figures, error = bounded.figures(message.get("figures")) or run.figures, text(message.get("error")) or None
    closed = run.ended_phases(state, at)
    return replace(closed, state=state, ended=at, error=error, figures=figures, flow=thinned(run.flow))


_Take = Callable[[ShownRun, Mapping[str, Any], float], ShownRun]
_TAKES: Mapping[str, _Take] = {
    "cluster_ready": _cluster_ready,
    "phase_started": _phase_started,
    "progress": _progress,
    "phase_ended": _phase_ended,
    "worked": _worked,
    "trial_begun": _trial,
    "trial_reached": _trial,
    "trial_ended": _trial,
    "rounds_done": _rounds_done,
    "units_linked": _linked,
    "parts_on_disk": _noted,
    "fit_needs": _noted,
    "run_ended": _run_ended,
    **dict.fromkeys(TROUBLES, _trouble),
}


def _totals(
    totals: Mapping[tuple[str, str], float], before: ShownRun | None, after: ShownRun, event: str, at: float
) -> Mapping[tuple[str, str], float]:
    """The sums by name and label after an event of a run: they only grow. Each attempt at a run counts by itself."""
    more: dict[tuple[str, str], float] = {}
    if before is None:
        return totals
    if event in TROUBLES:
        more[("troubles", event)] = 1
    elif event == "progress":
        more[("units", after.kind)] = after.units_done - before.units_done
        more[("rows", after.kind)] = after.rows_done - before.rows_done
    elif before.state == RUNNING and (after.state != RUNNING or event == "run_shown"):
        state = LOST if after.state == RUNNING else after.state
        more = {("runs", state): 1, ("run_seconds", state): at - before.since}
    elif before.state == LOST and after.state in (DONE, FAILED):  # its driver was away, and its seconds are counted
        more[("runs", after.state)] = 1
    grown = {key: totals.get(key, 0.0) + plus for key, plus in more.items() if plus > 0}
    return {**totals, **grown} if grown else totals


def _bounded(by_candidate: dict[str, Any]) -> dict[str, Any]:
    return dict(itertools.islice(by_candidate.items(), MOST_CANDIDATES))
