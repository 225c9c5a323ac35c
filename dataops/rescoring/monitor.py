"""Monitoring in the scoring pass: what of a job is counted, and what a run makes of all units' counts (`monitored`).

1. A version without a reference is scored all the same, and the run's figures say that drift is unknown; a job that
   asks for slices or limits of its own is refused with such a version.
2. Limits are judged before anything is published, on the job's own model. Of a replay no drift is told: its rows are
   those that were set aside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dataops.datasets.commit import UnitRecord
from dataops.declarations.monitor import DriftLimit, Monitor
from dataops.declarations.outputs import OWN
from dataops.declarations.rescore import RescoreJob
from dataops.errors import ContractViolation, InvalidInput, near_match
from dataops.features.cells import SCORES
from dataops.features.profile import dense_counts
from dataops.features.reference import Reference
from dataops.records import Record
from dataops.rescoring.drift import compare
from dataops.rescoring.drift_limits import Raised, check_limits, drift_record
from dataops.rescoring.monitored import Monitored

NO_REFERENCE = "the model version holds no reference: it was made by an earlier release"
NOT_COUNTED = "not all units counted their rows: an earlier release began this run"
_TOLD = 5


def plan_monitoring(reference: Reference | None, monitor: Monitor, *, own: bool, where: str) -> Monitored | None:
    """How rows are counted, or None where they aren't.

    Parameters
    ----------
    own : whether it is of the job's own model: a challenger's reference may lack a slice.

    Raises
    ------
    InvalidInput : the job names a slice or a feature that the version wasn't judged by, or there is no reference.
    """
    if not monitor.drift:
        return None
    if reference is None:
        if own and (monitor.slices or monitor.limits):
            asked = "monitor.slices" if monitor.slices else "monitor.limits"
            raise InvalidInput(f"{where}: {asked}: {NO_REFERENCE}. Train it anew, or leave {asked} out")
        return None
    known = [name for name, _ in reference.spec.slices]
    if own:
        _require_known(monitor.slices, known, "slices", "slice that the model was judged by (evaluate.slices)", where)
        features = [SCORES, *(cells.name for cells in reference.spec.columns)]
        for limit in monitor.limits or ():
            _require_known(limit.of, features, "limits.of", "feature of the model", where)
    return Monitored(
        reference=reference, spec=reference.spec.with_slices([name for name in monitor.slices if name in known])
    )


def _require_known(names: Sequence[str], known: Sequence[str], key: str, what: str, where: str) -> None:
    for name in names:
        if name not in known:
            raise InvalidInput(f"{where}: monitor.{key}: '{name}' is no {what}.{near_match(name, known)}")


def drift_figures(
    monitored: Monitored | None,
    records: Sequence[UnitRecord],
    *,
    model: str,
    limits: Sequence[DriftLimit] | None,
    min_group_size: int,
) -> tuple[Record, list[Raised]]:
    """What a run's result says of the drift of one model's rows, and the limits that were reached.

    Parameters
    ----------
    model : what the units' records call it.
    limits : the job's; None: `drift_limits.DEFAULT_LIMITS`.
    """
    if monitored is None:
        return {"unknown": NO_REFERENCE}, []
    found = [record.summary.get("profile", {}).get(model) for record in records]
    if any(one is None for one in found):
        return {"unknown": NOT_COUNTED}, []
    counts = np.zeros(monitored.spec.size, np.int64)
    for one in found:
        counts += dense_counts(one, monitored.spec.size)
    populations = compare(monitored.reference, counts, monitored.slices, min_group_size=min_group_size)
    raised = check_limits(populations, limits)
    return drift_record(monitored.reference, populations, raised), raised


def drift_by_model(
    job: RescoreJob, models: Mapping[str, Monitored | None], records: Sequence[UnitRecord], *, min_group_size: int
) -> dict[str, tuple[Record, list[Raised]]]:
    """`drift_figures` of each model, by its name in `job`, whose limits are for its own model; none where it monitors
    nothing.

    Parameters
    ----------
    models : how the rows of each are counted.
    """
    if not job.monitor.drift:
        return {}
    return {
        name: drift_figures(
            monitored,
            records,
            model=name,
            limits=job.monitor.limits if name == OWN else (),
            min_group_size=min_group_size,
        )
        for name, monitored in models.items()
    }


def require_no_stop(raised: Sequence[Raised], dataset: str) -> None:
    """Nothing, unless a limit stops the run.

    Raises
    ------
    ContractViolation : one does.
    """
    if stops := [one for one in raised if one.stops]:
        raise ContractViolation(
            f"the rows of '{dataset}' drifted from those that the model was judged on: {_told(stops)}. Nothing was "
            "published: find out why, train anew, or change monitor.limits"
        )


def warning_of(raised: Sequence[Raised]) -> str | None:
    """One line about the limits that were reached; None where none was."""
    return _told(raised) if raised else None


def _told(raised: Sequence[Raised]) -> str:
    """The first of `raised`, once for a feature's figure in all of its slices."""
    first = {(one.metric, one.column): one for one in reversed(raised)}
    told = "; ".join(one.spell() for one in sorted(first.values(), key=raised.index)[:_TOLD])
    return f"{told}; and {len(first) - _TOLD} more" if len(first) > _TOLD else told


def event_of(raised: Sequence[Raised]) -> list[Mapping[str, Any]]:
    """What an event says of the limits: of slices how many values reached them, not which."""
    found: dict[tuple[str, str, bool, str | None], dict[str, Any]] = {}
    for one in raised:
        record = {key: value for key, value in one.record().items() if key != "value"}
        found.setdefault((one.metric, one.column, one.stops, one.slice_column), {**record, "values": 0})["values"] += 1
    return [one if "slice" in one else {key: one[key] for key in one if key != "values"} for one in found.values()]


def counted_slices(job: RescoreJob) -> tuple[str, ...]:
    """The columns that rows are counted by, if they are."""
    return job.monitor.slices if job.monitor.drift else ()
