"""What a workspace's runs know of a version that is to be promoted: what it would change, how well it did on outcomes,
and what it learned from.

1. An impact counts only if the run scored this very version beside this very champion, both by their digests. So does
   what an evaluate job measured: on rows that both scored in one pass, of which the run kept figures of both.
2. Figures are those of the run's result, which anybody may see who sees runs.
3. What somebody submitted is no evidence: its job is its writer's, with outcomes of its choice, under any name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from dataops.declarations.inputs import INPUT
from dataops.declarations.metrics import REALISED
from dataops.declarations.promotion import ImpactLimits, RealisedLimits
from dataops.declarations.train import TrainJob
from dataops.errors import NotFound
from dataops.promotion.findings import Judged, Measured
from dataops.records import parse_time
from dataops.registry.moves import AliasMove
from dataops.registry.versions import LoadedVersion
from dataops.runs.ledger import Ledger, Run, RunState, State, is_submitted, job_of
from dataops.runs.planning import job_of_run


def find_impact(
    ledger: Ledger, limits: ImpactLimits, candidate: LoadedVersion, champion: AliasMove, *, now: datetime
) -> Measured | str:
    """What the run that `limits` ask for, or the newest of their job, counted of `candidate` beside `champion`; or why
    there is none.

    Parameters
    ----------
    now : what its age is counted to.
    """
    compared: list[str] = []
    for run in _runs(ledger, limits):
        name = _named(run, limits, candidate)
        if name is None or (run.model or {}).get("digest") != champion.version_digest:
            compared.append(_spell(run))
            continue
        state = ledger.state(run.id)
        if state.state is State.DONE:
            return _measured(state, name, now)
        compared.append(f"{run.id} is {state.state}")
    asked = f"job '{limits.job}'" if limits.job else f"'{limits.run}'"
    wanted = f"{candidate.version.reference} beside {champion.model}@{champion.version}"
    if not compared:
        return f"no run of {asked} is known here: run a rescore that scores {wanted}"
    return f"no run of {asked} that is done scored {wanted} ({compared[0]}): run one that does"


def _runs(ledger: Ledger, limits: ImpactLimits) -> Iterator[Run]:
    """The runs that may count, newest first."""
    ids = [limits.run] if limits.run else _evident(ledger, limits.job)[::-1]
    for run_id in ids:
        try:
            run = ledger.read(run_id)
        except NotFound:
            continue
        if run.kind == "rescore" and run.replay_of is None:
            yield run


def _named(run: Run, limits: ImpactLimits, candidate: LoadedVersion) -> str | None:
    """What the job of `run` calls the candidate; None where it didn't score it."""
    for name, pinned in run.challengers.items():
        if pinned["digest"] == candidate.version.digest and limits.challenger in (None, name):
            return name
    return None


def _spell(run: Run) -> str:
    own = "nothing" if run.model is None else _reference(run.model)
    others = ", ".join(_reference(pinned) for pinned in run.challengers.values()) or "nothing"
    return f"{run.id} scored {others} beside {own}"


def _reference(pinned: Mapping[str, Any]) -> str:
    return f"{pinned['model']}@{pinned['version']}"


def _measured(state: RunState, name: str, now: datetime) -> Measured:
    found = state.result["challengers"][name]
    drift = found.get("drift", {})
    known = Measured(run=state.run.id, figures=found["impact"], age=now - parse_time(state.run.created_at))
    if "columns" not in drift:
        return replace(known, unknown=drift.get("unknown", "the run didn't count drift"))
    return replace(known, psi={one["column"]: one["psi"] for one in drift["columns"] if "psi" in one})


def find_realised(
    ledger: Ledger, limits: RealisedLimits, candidate: LoadedVersion, champion: AliasMove | None, *, now: datetime
) -> Judged | str:
    """What the newest run of the job that `limits` name measured of `candidate` and `champion` on the same rows, or
    without a champion of the candidate alone; or why there is nothing.

    Parameters
    ----------
    now : what its age is counted to.
    """
    newest: str | None = None
    for state in done_runs(ledger, limits.job, kind="evaluate"):
        newest = newest or state.run.id
        digests = (candidate.version.digest, *(() if champion is None else (champion.version_digest,)))
        if (found := _judged(state, digests)) is not None:
            return replace(found, age=now - parse_time(state.run.created_at))
    wanted = candidate.version.reference
    if champion is None:
        told = f"judged {wanted}"
    else:
        told = f"judged {wanted} and {champion.model}@{champion.version} on the same rows"
        wanted = f"{wanted} as a challenger of {champion.model}@{champion.version}"
    if newest is None:
        return f"no run of job '{limits.job}' is done here: score with {wanted}, and judge by it once outcomes came"
    return f"no run of job '{limits.job}' {told} ({newest} is its newest): score with {wanted}, and wait for outcomes"


def _evident(ledger: Ledger, job: str | None) -> list[str]:
    """The runs of the workspace's own `job`, by their ids."""
    return [one for one in ledger.ids() if job_of(one) == job and not is_submitted(one)]


def done_runs(ledger: Ledger, job: str, *, kind: str) -> Iterator[RunState]:
    """The runs of `job` that are done, the one first that began last: an id may say another time, that of a slot. Those
    that somebody submitted are left out.
    """
    runs: list[Run] = []
    for run_id in _evident(ledger, job):
        with suppress(NotFound):  # somebody cleared old runs away meanwhile
            runs.append(ledger.read(run_id))
    for run in sorted(runs, key=lambda one: one.created_at, reverse=True):
        if run.kind == kind and run.replay_of is None:
            with suppress(NotFound):
                state = ledger.state(run.id)
                if state.state is State.DONE:
                    yield state


def _judged(state: RunState, digests: tuple[str, ...]) -> Judged | None:
    """What the run measured of the versions, the candidate first; None where it didn't judge them on the same rows."""
    if len(digests) == 1:
        own = [one for one in state.result["versions"] if one["digest"] == digests[0]]
        if not own:
            return None
        most = max(own, key=lambda one: int(one["judged"]))
        return Judged(run=state.run.id, rows=most["judged"], candidate=most["metrics"][REALISED]["overall"])
    for pair in state.result.get("compared", ()):
        figures = {one["digest"]: one["overall"] for one in pair["versions"]}
        if figures.keys() == set(digests):
            ours, theirs = (figures[digest] for digest in digests)
            return Judged(run=state.run.id, rows=pair["judged"], candidate=ours, champion=theirs)
    return None


def learned_from(ledger: Ledger, candidate: LoadedVersion) -> frozenset[str] | None:
    """The classes of all feature columns as the run that trained `candidate` was granted them; None where that run
    isn't known here.
    """
    try:
        run = ledger.read(str(candidate.manifest.lineage.get("run")))
    except NotFound:
        return None
    job = job_of_run(run)
    if not isinstance(job, TrainJob):
        return None
    decisions = run.inputs[INPUT]["grant"]["decisions"]
    features = set(job.features.columns)
    return frozenset(
        part for one in decisions if one["column"] in features for part in one["classification"].split("+")
    )
