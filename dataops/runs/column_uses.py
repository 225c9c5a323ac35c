"""What jobs need of the columns that they read, so that a mask which destroys it can be found before anything runs.

A use is traced through the ``derive`` of the prepare job that makes the job's input: what spoils a target is the mask
on the raw column that it is derived from, where that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from dataops.declarations.jobs import DeclaredJob, input_of
from dataops.declarations.join import JoinJob
from dataops.declarations.prepare import PrepareJob
from dataops.declarations.rescore import RescoreJob
from dataops.declarations.train import TrainJob
from dataops.errors import InvalidInput
from dataops.governance.expressions import parse_expression
from dataops.governance.grant import Purpose
from dataops.governance.policy_world import ColumnUse, Place, Use

PlaceOf = Callable[[DeclaredJob, str], Place]


def uses_of(jobs: Sequence[DeclaredJob], place: PlaceOf) -> tuple[ColumnUse, ...]:
    """The columns that `jobs` split, train and keep by.

    Parameters
    ----------
    place : where a key of a job stands.
    """
    prepared = {one.job.output: one.job for one in jobs if isinstance(one.job, PrepareJob)}
    return tuple(use for one in jobs for use in _of_job(one, prepared, place))


def _of_job(declared: DeclaredJob, prepared: Mapping[str, PrepareJob], place: PlaceOf) -> Iterator[ColumnUse]:
    job = declared.job
    if isinstance(job, PrepareJob):
        yield from _of_preparing(declared, job, place)
    elif isinstance(job, JoinJob):
        yield from _of_joining(declared, job, place)
    elif isinstance(job, RescoreJob) and job.keep:
        yield _use(declared, input_of(job), Purpose.SCORE, Use.KEEP, job.keep, place(declared, "keep"))
    elif isinstance(job, TrainJob):
        yield from _of_training(declared, job, prepared.get(job.input), place)


def _of_preparing(declared: DeclaredJob, job: PrepareJob, place: PlaceOf) -> Iterator[ColumnUse]:
    conditions = {"where": job.where, "labelled": job.labelled}
    used: list[tuple[Use, str, tuple[str, ...]]] = [
        (Use.COLUMN, "columns", job.columns or ()),
        (Use.COLUMN, "derive", tuple(job.derive)),
        *((Use.COLUMN, key, _columns(text)) for key, text in conditions.items() if text),
        (Use.SPLIT, "split", job.split.key_columns if job.split else ()),
    ]
    for use, key, names in used:
        if names:
            yield _use(declared, job.input, job.purpose, use, _sources(names, job), place(declared, key))


def _of_joining(declared: DeclaredJob, job: JoinJob, place: PlaceOf) -> Iterator[ColumnUse]:
    counted = [name for one in job.aggregations.values() for name in one.columns]
    first = [*(job.deduplicate.columns if job.deduplicate else ()), *job.group_by, *counted]
    used = {"columns": job.columns or (), "group_by" if job.group_by else "deduplicate": first}
    for key, names in used.items():
        if names:
            yield _use(declared, job.input, job.purpose, Use.COLUMN, names, place(declared, key))
    for join in job.joins:
        times = ((join.asof.at,), join.asof.columns) if join.asof else ((), ())
        theirs = [*join.columns, *(name for one in join.aggregations.values() for name in one.columns)]
        at, purpose = place(declared, "joins"), join.purpose or job.purpose
        yield _use(declared, job.input, job.purpose, Use.KEY, [*join.on, *times[0]], at)
        yield _use(declared, join.dataset, purpose, Use.KEY, [*join.keys, *times[1]], at)
        if theirs:
            yield _use(declared, join.dataset, purpose, Use.COLUMN, theirs, at)


def _of_training(
    declared: DeclaredJob, job: TrainJob, prepare: PrepareJob | None, place: PlaceOf
) -> Iterator[ColumnUse]:
    used: list[tuple[Use, str, tuple[str, ...]]] = [
        (Use.TARGET, "target", _columns(job.target or "0")),
        (Use.WEIGHT, "weight", (job.weight,) if job.weight else ()),
        (Use.FEATURE, "features", job.features.columns),
    ]
    for use, key, names in used:
        if names:
            yield _use(declared, job.input, Purpose.TRAIN, use, names, place(declared, key))
            if prepare is not None:
                raw = _sources(names, prepare)
                yield _use(declared, prepare.input, prepare.purpose, use, raw, place(declared, key))
    labels = _sources(_columns(job.target or "0"), prepare)
    for dataset in job.evaluate.datasets if labels else ():
        yield _use(declared, dataset, Purpose.EVALUATE, Use.TARGET, labels, place(declared, "evaluate"))


def _use(
    declared: DeclaredJob, dataset: str, purpose: Purpose, use: Use, columns: Iterable[str], place: Place
) -> ColumnUse:
    return ColumnUse(
        job=declared.job.name, dataset=dataset, purpose=purpose, use=use, columns=tuple(columns), place=place
    )


def _sources(names: Iterable[str], prepare: PrepareJob | None) -> tuple[str, ...]:
    """The columns of the prepare job's input that `names` are made of, through all that it derives."""
    found: dict[str, None] = {}
    left = list(names)
    derive = dict(prepare.derive) if prepare else {}
    while left:
        name = left.pop(0)
        text = derive.pop(name, None)  # once: what derives from itself is refused elsewhere
        if text is None:
            found[name] = None
        else:
            left += _columns(text)
    return tuple(found)


def _columns(text: str) -> tuple[str, ...]:
    """The columns of an expression; none where it can't be read, which the job itself says."""
    try:
        return parse_expression(text, where="job").columns
    except InvalidInput:
        return ()
