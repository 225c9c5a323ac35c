"""The candidates of a train job, fitted one after another on the same encoded parts.

1. What a candidate needs of memory is told, and refused where it can't be had, before a row is encoded.
2. A unit is encoded on the worker that boosting wants it on, so that no part travels. A part ends with the last
   candidate that takes it.
3. A fit that goes by rounds says how far it came: to a person now and then, to the run's events more rarely.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dataops.datasets.units import Unit
from dataops.declarations.metrics import Metric
from dataops.declarations.train import Candidate, TrainJob
from dataops.engine.telling import Pace
from dataops.engine.work import Phase, Work
from dataops.errors import Compute, InvalidInput
from dataops.models.calibration import Calibration
from dataops.records import new_nonce
from dataops.storage.objects import Store
from dataops.training.boosting_room import NeedsRoom, worker_rooms
from dataops.training.boosting_rows import workers_in_order
from dataops.training.calibrating import calibrate, calibration_sides
from dataops.training.failures import cluster_failures, lasting
from dataops.training.fitting import Fitting, Rounds
from dataops.training.parts import PartsOnCluster, place_units
from dataops.training.reading import PartContext, load_parts, submit_parts
from dataops.training.search import Searched, Searching
from dataops.training.search_space import corners
from dataops.training.search_trials import Heard, TrialLog
from dataops.training.spilled import needs_disk
from dataops.training.trainers import Trainer, load_trainer, samples, streams

if TYPE_CHECKING:
    from distributed import Client, Future

SECONDS_BETWEEN_EVENTS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModel:
    """A candidate's model: its format and bytes, what its trainer found out, as JSON, how its parameters were found
    where they were searched for, and its calibration where it has one.
    """

    model_format: str
    model: bytes
    facts: Mapping[str, Any]
    searched: Searched | None = None
    calibration: Calibration | None = None

    @property
    def loadable(self) -> tuple[str, bytes]:
        """Format and bytes."""
        return self.model_format, self.model


def fit_candidates(
    job: TrainJob,
    context: PartContext,
    units: Sequence[Unit],
    rows: Sequence[int],
    work: Work,
    *,
    store: Store | None = None,
) -> list[FittedModel]:
    """The fitted candidates, in their order.

    Parameters
    ----------
    context : what encodes the rows to learn from.
    rows : of each unit, those that are learnt from.
    store : where trials of a search are kept; a job without a search needs none.

    Raises
    ------
    Compute : a candidate doesn't fit in memory, or failed.
    InvalidInput : the rows can't be trained on.
    """
    trainers = [load_trainer(candidate.trainer, job.task) for candidate in job.candidates]
    _require_room(job, trainers, context, rows, work)
    if any(one.params.get("early_stopping") or one.search or one.calibrate for one in job.candidates):
        context = replace(context, selection=replace(context.selection, grouped=True))
    if any(samples(trainer) for trainer in trainers):
        context = replace(context, selection=replace(context.selection, ranked=True))
    context = _spilling(trainers, context, rows, work, weighted=job.weight is not None)
    parts, _ = load_parts(work, "encode", context, units, _places(work.client, units, rows))

    def again() -> tuple[Future[Any], ...]:
        keys = f"{work.run}-encode-{new_nonce()}"
        return submit_parts(work.client, keys, context, units, _places(work.client, units, rows))[0]

    fitted, least = [], context.selection.source.effect.min_group_size
    for number, (trainer, candidate) in enumerate(zip(trainers, job.candidates, strict=True)):
        name, last = candidate_name(job, number), number + 1 == len(trainers)
        learnt, held_out = (parts, None) if candidate.calibrate is None else calibration_sides(parts)
        searched = _searched(job, number, trainer, learnt, work, store=store, least=least)
        params = candidate.params if searched is None else searched.params
        with work.phase(f"fit {name}") as shown, cluster_failures(f"fit {name}"):
            fitting = Fitting(
                rounds=_telling(work, shown, name), say=work.progress.say, last_use=last, again=again, least=least
            )
            if held_out is not None:  # the rows that both sides are made of stay
                fitting = replace(fitting, last_use=False, again=None, copied=True)
            model_format, model = trainer.fit(replace(learnt, fitting=fitting), params, job.seed)
        made = FittedModel(model_format=model_format, model=model, facts=dict(fitting.facts), searched=searched)
        fitted.append(made if held_out is None else _calibrated(candidate, name, made, held_out, work, least))
    return fitted


def _calibrated(
    candidate: Candidate, name: str, made: FittedModel, held_out: PartsOnCluster, work: Work, least: int
) -> FittedModel:
    """`made` with its calibration, and with what its lineage says of that."""
    assert candidate.calibrate is not None  # noqa: S101  # or nothing was held out
    with work.phase(f"calibrate {name}"), cluster_failures(f"calibrate {name}"):
        found, rows = calibrate(held_out, *made.loadable, candidate.calibrate, least=least)
    return replace(made, calibration=found, facts={**made.facts, "calibration": {"method": found.method, "rows": rows}})


def _searched(
    job: TrainJob,
    number: int,
    trainer: Trainer,
    parts: PartsOnCluster,
    work: Work,
    *,
    store: Store | None,
    least: int,
) -> Searched | None:
    """What the search of the candidate of that number came to; None where it has none.

    Parameters
    ----------
    least : rows that a figure is about at least (`Effect.min_group_size`).
    """
    candidate, name = job.candidates[number], candidate_name(job, number)
    if candidate.search is None:
        return None
    if store is None:
        raise InvalidInput(f"candidate {name} searches, and there is no store to keep its trials in")
    metric = candidate.search.metric or job.metrics[0]
    with work.phase(f"search {name}") as shown, cluster_failures(f"search {name}"):
        return Searching(
            search=candidate.search,
            trainer=trainer,
            params=candidate.params,
            metric=metric,
            seed=job.seed,
            least=least,
            log=TrialLog(store, work.run, name, heard=_hearing(work, name, metric)),
            tell=shown.tell,
            points=job.evaluate.points,
        ).run(parts)


def _hearing(work: Work, name: str, metric: Metric) -> Heard:
    """What hears of trials, for the candidate of that name."""

    def hear(event: Mapping[str, Any]) -> None:
        told = {key: value for key, value in event.items() if key != "event"}
        work.tell(f"trial_{event['event']}", candidate=name, metric=str(metric), **told)

    return hear


def candidate_name(job: TrainJob, number: int) -> str:
    """What a run calls a candidate: its trainer, numbered where several have the same."""
    trainer = job.candidates[number].trainer
    same = [place for place, candidate in enumerate(job.candidates) if candidate.trainer == trainer]
    return trainer if len(same) == 1 else f"{trainer}-{same.index(number) + 1}"


def _require_room(
    job: TrainJob, trainers: Sequence[Trainer], context: PartContext, rows: Sequence[int], work: Work
) -> None:
    """Tell what candidates need, where it can be known; Compute where it can't be had."""
    for number, (trainer, candidate) in enumerate(zip(trainers, job.candidates, strict=True)):
        if isinstance(trainer, NeedsRoom):
            copied = candidate.calibrate is not None
            asked = partial(trainer.require_room, work.client, rows, context.encoder)
            ask = partial(asked, weighted=job.weight is not None, copied=copied)
            needs = _needs(ask, candidate, shared=copied or number + 1 < len(trainers))
            work.progress.say(f"  {needs}")
            work.emit("fit_needs", candidate=candidate_name(job, number), needs=needs)


def _needs(ask: Callable[..., str], candidate: Candidate, *, shared: bool) -> str:
    """What `candidate` will need, in words: of a search at the costliest point of its space, by what `ask` says.

    Parameters
    ----------
    ask : `NeedsRoom.require_room`, but for parameters and `shared`.
    """
    if candidate.search is None:
        return ask(candidate.params, shared=shared)
    told = ""
    for point in corners(candidate.search.dimensions):
        where = ", ".join(f"{name} {value}" for name, value in point.items())
        try:  # parts stay for the trials to come
            needs = ask({**candidate.params, **point}, shared=True)
        except InvalidInput:  # a point whose parameters don't go together is a trial that fails
            continue
        except Compute as error:
            raise lasting(Compute(f"search: a trial at {where} could not be fitted: {error}")) from None
        told = told or f"of its trials, that at {where}: {needs}"
    return told or ask(candidate.params, shared=True)


def _spilling(
    trainers: Sequence[Trainer], context: PartContext, rows: Sequence[int], work: Work, *, weighted: bool
) -> PartContext:
    """`context`, its parts to disk where every trainer takes them from there and memory can't hold them."""
    told = needs_disk(worker_rooms(work.client), rows, context.encoder, weighted=weighted)
    if told is None or not all(streams(trainer) for trainer in trainers):
        return context
    work.progress.say(f"  {told}")
    work.emit("parts_on_disk", why=told)
    return replace(context, spill=True)


def _places(client: Client, units: Sequence[Unit], rows: Sequence[int]) -> dict[str, str]:
    """The worker on which each unit is to lie, by the unit's id."""
    return {units[place].id: worker for place, worker in place_units(rows, workers_in_order(client)).items()}


def _telling(work: Work, shown: Phase, name: str) -> Callable[[Rounds], None]:
    """What hears of rounds, for the candidate of that name."""
    told_at = time.monotonic()
    pace = Pace(told_at)

    def tell(rounds: Rounds) -> None:
        nonlocal told_at
        whose = "loss on rows held out" if rounds.held_out else "loss"
        loss = "" if rounds.loss is None else f", {whose} {rounds.loss:.4f}"
        shown.tell(f"{rounds.done:,} of {rounds.of:,} rounds{loss}", rounds.done, rounds.of)
        now = time.monotonic()
        done = {"candidate": name, "rounds": rounds.done, "of": rounds.of, "loss": rounds.loss}
        if now - told_at >= SECONDS_BETWEEN_EVENTS or rounds.done == rounds.of:
            told_at = now
            work.emit("rounds_done", **done, held_out=rounds.held_out, seconds=round(rounds.seconds, 3))
        elif pace.is_due(now):
            work.tell("rounds_done", **done)
        if work.run_seconds is not None and now > work.started + work.run_seconds:
            raise Compute(f"the run took longer than timeouts.run_seconds allows; {rounds.done} rounds were done")

    return tell
