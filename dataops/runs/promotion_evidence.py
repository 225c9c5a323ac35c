"""What a workspace's runs know of a version that is to be promoted: what it would change, and what it learned from.

1. An impact counts only if the run scored this very version beside this very champion, both by their digests.
2. Figures are those of the run's result, which anybody may see who sees runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from dataops.declarations.inputs import INPUT
from dataops.declarations.promotion import ImpactLimits
from dataops.declarations.train import TrainJob
from dataops.errors import NotFound
from dataops.promotion.findings import Measured
from dataops.records import parse_time
from dataops.registry.moves import AliasMove
from dataops.registry.versions import LoadedVersion
from dataops.runs.ledger import Ledger, Run, RunState, State, job_of
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
    ids = [limits.run] if limits.run else [one for one in reversed(ledger.ids()) if job_of(one) == limits.job]
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
