"""Two runs, held against each other by what is on record of them; their clusters may be long gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dataops.monitoring.compared import NOISE_PERCENT, Compared, PhaseTook, Side, compare_sides
from dataops.records import digest
from dataops.runs.ledger import RunState
from dataops.runs.phases import BEGINS, EndedPhase, ended_phases
from dataops.runs.recording import recorded_of
from dataops.runs.workspace import Workspace

_DIGITS = 12  # of a digest: enough to tell two apart


def compare_runs(workspace: Workspace, first: str, second: str, *, noise_percent: float = NOISE_PERCENT) -> Compared:
    """What differs between the runs, and which phases of `second` took longer than those of `first`.

    Raises
    ------
    NotFound : no such run; with the near match.
    """
    sides = [_side(workspace, run) for run in (first, second)]
    return compare_sides(sides[0], sides[1], noise_percent=noise_percent)


def _side(workspace: Workspace, run_id: str) -> Side:
    state = workspace.ledger.state(run_id)
    recorded = recorded_of(workspace.settings.storage, state) or {}
    return Side(
        run=run_id,
        state=state.state.value,
        created_at=state.run.created_at,
        facts={**dict(_facts(state)), "recorded": "yes" if "phases" in recorded else "no"},
        phases=dict(_phases(state, recorded)),
    )


def _facts(state: RunState) -> Iterator[tuple[str, str]]:
    """What may differ, in the order in which people want to know it; of the declaration its digests, since it may hold
    values of rows.
    """
    run = state.run
    yield "job", f"{run.job} ({run.kind})"
    yield "state", state.state.value
    for key, value in _declared(run.declaration):
        yield f"declaration: {key}", value
    for name, pinned in run.inputs.items():
        yield f"{name}", f"{pinned['dataset']}, snapshot {pinned['snapshot']}, {pinned['rows']:,} rows"
        yield f"{name}: policies", _short(pinned["grant"]["effect"]["digest"])
    for name, model in {"model": run.model, **run.challengers}.items():
        if model:
            yield name, f"{model['model']}@{model['version']}"
    yield "code", f"dataops {run.code['version']}, {_short(run.code['digest'])}"
    yield "workers x threads", ", then ".join(dict.fromkeys(_shapes(state)))
    yield "attempts", str(sum(event["event"] in BEGINS for event in state.events))
    if linked := [event for event in state.events if event["event"] == "units_linked"]:
        yield "taken over", f"{linked[-1]['linked']:,} of {linked[-1]['units']:,} units"


def _declared(declaration: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The keys of a declaration, each with a digest: whether it is the same is all that is told."""
    for key, value in sorted(declaration.items()):
        if key not in ("name", "job"):
            yield key, _short(digest(value))


def _shapes(state: RunState) -> Iterator[str]:
    for event in state.events:
        if event["event"] == "cluster_ready":
            yield f"{event['workers']} x {event['threads']}"


def _short(text: str) -> str:
    return text.removeprefix("sha256:")[:_DIGITS]


def _phases(state: RunState, recorded: Mapping[str, Any]) -> Iterator[tuple[str, PhaseTook]]:
    """What each phase that ended took, in order."""
    known = {phase["phase"]: phase for phase in recorded.get("phases", ())}
    whole = recorded.get("whole", False) and not recorded["problems"]
    by_name: dict[str, list[EndedPhase]] = {}
    for one in ended_phases(state.events):
        by_name.setdefault(one.phase, []).append(one)
    for name, ended in by_name.items():
        yield name, _took(ended, known.get(name), recorded.get("threads", 0), whole=whole)


def _took(ended: Sequence[EndedPhase], known: Mapping[str, Any] | None, threads: int, *, whole: bool) -> PhaseTook:
    """What a phase took in all attempts. How many rows were done in that time its events say: a recording may lack an
    attempt, and holds the rows of a task that was done twice twice. Sums of a recording that lacks something are none.
    """
    took = PhaseTook(
        seconds=sum(one.seconds for one in ended),
        failed=ended[-1].failed,
        attempts=len({one.attempt for one in ended}),
        rows=sum(one.rows for one in ended) or None,
    )
    if known is None:
        return took
    cpu = known["cpu_percent"]
    took = replace(took, cores=None if cpu is None else cpu / 100, peak_memory=known["peak_memory"])
    if not whole or not all(one.recorded for one in ended):
        return took
    capacity = took.seconds * threads
    return replace(
        took,
        rows=took.rows or known["rows"],
        tasks=known["tasks"],
        busy_seconds=known["busy_seconds"],
        cpu_seconds=known["cpu_seconds"],
        busy=min(1.0, known["busy_seconds"] / capacity) if capacity else None,
    )
