"""What a train job reads, resolved: the rows to learn from, the rows to judge on, the steps that the model takes along.

1. Columns, target, trainers and parameters are checked against the grants before a row is read.
2. A model is judged on data that went through the preparation of its training set: on the rows that were held back, on
   datasets that this preparation made, or on raw ones with it put in front.
3. A model repeats on raw data all that was done to its training set. So what it can't repeat can't be a feature (a
   pseudonym, a column that was hidden, anything made of them), and a set that was prepared from a prepared one is none
   to train on: a model carries one preparation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dataops.datasets.access import GovernedInput
from dataops.datasets.reading import Source
from dataops.declarations.inputs import INPUT, evaluation_name
from dataops.declarations.metrics import HOLDOUT, Task
from dataops.declarations.train import Candidate, TrainJob
from dataops.errors import InvalidInput
from dataops.features.fitting import require_types
from dataops.features.steps import RowSteps
from dataops.governance.contract import Column, schema_of
from dataops.governance.expressions import Expression, parse_expression, result_type
from dataops.governance.marks import mark, plain_marks
from dataops.governance.masking import MaskKind
from dataops.preparation.split import TEST, TRAIN
from dataops.training.grouping import BY_PLACE, grouping_of, needs_groups
from dataops.training.reading import Selection
from dataops.training.search import require_search
from dataops.training.tasks import judge_of
from dataops.training.trainers import load_trainer

_NO_TARGET = "0"
"""What a clustering reads as the target of each row: nothing is set aside for it, and no column is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """A train job, resolved against its inputs.

    Attributes
    ----------
    learn : the rows to learn from.
    judge : the rows to judge on, by the run's name of the input.
    steps : what the model puts in front of raw data.
    columns : the feature columns as the encoder takes them.
    """

    job: TrainJob
    learn: Selection
    judge: Mapping[str, Selection]
    steps: RowSteps
    columns: tuple[Column, ...]

    def reading(self, sources: Mapping[str, Source]) -> TrainPlan:
        """The plan over `sources`, by the run's name of the input."""
        judge = {name: replace(one, source=sources[name]) for name, one in self.judge.items()}
        return replace(self, learn=replace(self.learn, source=sources[INPUT]), judge=judge)

    def columns_read(self) -> dict[str, tuple[str, ...]]:
        """The columns that are read, by the run's name of the input."""
        return {INPUT: self.learn.read, **{name: one.read for name, one in self.judge.items()}}

    def metrics_name(self, input_name: str) -> str:
        """The name that metrics on the input of that name are reported under."""
        return HOLDOUT if input_name == evaluation_name(self.job.input) else self.job.inputs[input_name][0]


def plan_train(job: TrainJob, inputs: Mapping[str, GovernedInput], *, where: str) -> TrainPlan:
    """`job` over `inputs`.

    Raises
    ------
    AccessDenied : a feature, the target, the weight or a slice is denied for the purpose that it is read for.
    InvalidInput : an unknown column, a target that its task doesn't take, a feature that it is made of, a pseudonym as
        feature, a column whose type can't be such a feature, unknown trainers or parameters, a trainer of another task.
    """
    given = inputs[INPUT]
    target = parse_expression(_NO_TARGET if job.target is None else job.target, where=f"{where}: target")
    wanted = (*job.features.columns, *target.columns, *((job.weight,) if job.weight else ()))
    how: dict[str, Any] = {"weight": job.weight, "task": job.task, "where": where}
    grouping = grouping_of(given) if needs_groups(job) else BY_PLACE
    wanted = (*wanted, *grouping.columns)
    learn = _select(given, wanted, target, split=_split_column(given), side=TRAIN, grouping=grouping, **how)
    _require_no_pseudonyms(job, given, where)
    _require_prepared_once(given, where)
    granted = {column.name: column for column in given.masked_columns()}
    kind = result_type(target, schema_of(granted.values()), where=f"{where}: target")
    judge_of(job.task).require_target(kind, where)
    _require_no_target(job, target, given, where)
    steps = _model_steps(job, given, where)
    _require_repeatable([granted[name] for name in job.features.columns], steps, where)
    _require_types(job, granted, where)
    for number, candidate in enumerate(job.candidates):
        _require_trainer(candidate, job.task, f"{where}: candidates[{number}]")
    return TrainPlan(
        job=job,
        learn=learn,
        judge={name: _judging(job, one, given, target, steps, where) for name, one in inputs.items() if name != INPUT},
        steps=steps,
        columns=tuple(granted[name] for name in job.features.columns),
    )


def _select(
    given: GovernedInput, wanted: Collection[str], target: Expression, *, split: str | None, where: str, **how: Any
) -> Selection:
    """The `wanted` columns of `given`, with the one that says on which side a row is."""
    needed = {*wanted, *((split,) if split else ())}
    given.require_columns(sorted(needed), where=where)
    if split and (mask := given.grant.effect.columns[split]) is not None:
        raise InvalidInput(
            f"{where}: the policy masks '{split}', which says on which side a row is ({mask}), for purpose "
            f"'{given.grant.purpose}': what masks the columns that the rows were split by masks the side too, unless "
            "they were masked so when the rows were split. Let one mask hold for both purposes, or split by others"
        )
    read = tuple(name for name in given.grant.effect.columns if name in needed)
    return Selection(source=given.source, read=read, target=target, split_column=split, **how)


def _split_column(given: GovernedInput) -> str | None:
    split: str | None = given.dataset.lineage.get("split")
    return split


def _require_no_target(job: TrainJob, target: Expression, given: GovernedInput, where: str) -> None:
    """No feature that the target is made of, or that is made of the target, here or by the steps that prepared the
    dataset.
    """
    declared = given.dataset.lineage.get("preparation")
    made = {} if declared is None else dict(RowSteps.from_record(declared["steps"]).derive)
    sources, answers = _made_of(target.columns, made), _answers(target, made)
    wrong = "a model would read the answer there instead of learning what it hangs on; leave it out"
    if findings := [name for name in job.features.columns if name in sources]:
        raise InvalidInput(f"{where}: features: the target ({target.sql}) is made of {', '.join(findings)}: {wrong}")
    told = {name: answers & _made_of([name], made) for name in job.features.columns}
    if findings := [name for name, of in told.items() if of]:
        of = ", ".join(sorted(set().union(*told.values())))
        raise InvalidInput(
            f"{where}: features: {', '.join(findings)}: made of {of}, which says by itself what the target "
            f"({target.sql}) is: {wrong}"
        )


def _made_of(names: Iterable[str], made: Mapping[str, Expression]) -> set[str]:
    """`names`, and all columns that these are made of by the steps that make columns."""
    sources: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in sources:
            sources.add(name)
            left += made[name].columns if name in made else ()
    return sources


def _answers(target: Expression, made: Mapping[str, Expression]) -> set[str]:
    """The columns each of which says the target all by itself: the one that it is made of, the one that this is made
    of, and so on; none where it is made of several, of which others are made rightly (an hour of one of two times).
    """
    answers: set[str] = set()
    step: Expression | None = target
    while step is not None and len(step.columns) == 1 and not answers.issuperset(step.columns):
        (name,) = step.columns
        answers.add(name)
        step = made.get(name)
    return answers


def _require_no_pseudonyms(job: TrainJob, given: GovernedInput, where: str) -> None:
    for name in job.features.columns:
        mask = given.grant.decision(name).mask  # also one that the stored values carry already
        if mask is not None and mask.kind is MaskKind.PSEUDONYM:
            raise InvalidInput(
                f"{where}: features: '{name}' is a pseudonym, which means nothing to a model; leave it out"
            )


def _require_prepared_once(given: GovernedInput, where: str) -> None:
    if given.dataset.lineage.get("input_preparation_digest"):
        raise InvalidInput(
            f"{where}: input: '{given.dataset.name}' was prepared from '{given.dataset.lineage['input']}', which was "
            "prepared itself. A model carries one preparation and would skip the first on raw data; put the steps of "
            "both into one prepare job"
        )


def _require_repeatable(features: Collection[Column], steps: RowSteps, where: str) -> None:
    repeated = {mark(mask) for _, mask in steps.generalise}
    hidden = [column.name for column in features if plain_marks(column) - repeated]
    if hidden:
        raise InvalidInput(
            f"{where}: features: {', '.join(hidden)}: made of what the policies mask in a way that a model can't "
            "repeat on raw data (only generalising is); leave it out"
        )


def _require_types(job: TrainJob, granted: Mapping[str, Column], where: str) -> None:
    try:
        require_types(job.features, schema_of([granted[name] for name in job.features.columns]))
    except InvalidInput as error:
        raise InvalidInput(f"{where}: features: {error}") from None


def _require_trainer(candidate: Candidate, task: Task, where: str) -> None:
    try:
        trainer = load_trainer(candidate.trainer, task)
        trainer.require_params(candidate.params)
        if candidate.search is not None:
            require_search(candidate.search, trainer, candidate.trainer, candidate.params)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from None


def _model_steps(job: TrainJob, given: GovernedInput, where: str) -> RowSteps:
    """What raw data needs in front of the encoder to look as the training set does."""
    masks = tuple(pair for pair in given.generalisations() if pair[0] in job.features.columns)
    declared = given.dataset.lineage.get("preparation")
    if declared is None:
        return RowSteps(generalise=masks)
    made_by = RowSteps.from_record(declared["steps"])
    later = [name for name, mask in masks if (name, mask) not in made_by.generalise]
    if later:
        raise InvalidInput(
            f"{where}: the policy generalises {', '.join(later)} now, but '{given.dataset.name}' was prepared without; "
            "prepare it again, so that training and rescoring see the same"
        )
    return made_by.needed_for(job.features.columns)


def _judging(
    job: TrainJob,
    one: GovernedInput,
    trained_on: GovernedInput,
    target: Expression,
    repeated: RowSteps,
    where: str,
) -> Selection:
    """How `one` is read to judge models that were trained on `trained_on` and carry the steps `repeated`."""
    place = f"{where}: evaluate: dataset '{one.dataset.name}'"
    wanted = (*job.features.columns, *target.columns, *job.evaluate.slices)
    how: dict[str, Any] = {"slices": job.evaluate.slices, "task": job.task, "where": place}
    features = {*job.features.columns, *repeated.sources_for(job.features.columns)}
    one.grant.require_masks(features, repeated.generalise, what=f"{place}: the model")
    made_by, trained_by = (each.dataset.lineage.get("preparation_digest") for each in (one, trained_on))
    declared = trained_on.dataset.lineage.get("preparation")
    view = RowSteps() if declared else repeated  # raw data, which may be masked less here than for training
    if one.dataset.name == trained_on.dataset.name:
        split = _split_column(one)
        return _select(one, wanted, target, split=split, side=TEST, steps=view, **how)
    if made_by == trained_by or declared is None:
        return _select(one, wanted, target, split=None, steps=view, **how)
    if made_by is not None:
        raise InvalidInput(
            f"{place} was prepared by another declaration than '{trained_on.dataset.name}'; name the raw dataset"
        )
    labelled = parse_expression(declared["labelled"], where="labelled") if declared["labelled"] else None
    made = {*wanted, *(labelled.columns if labelled else ())}
    steps = RowSteps.from_record(declared["steps"]).needed_for(made)
    sources = steps.sources_for(made)
    return _select(one, sources, target, split=None, steps=steps, labelled=labelled, **how)
