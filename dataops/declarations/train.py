"""Training, declared: the features of a model, the trainers to compare, and what is measured of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, SerializerFunctionWrapHandler, model_serializer

from dataops.declarations.declaration import (
    ColumnName,
    DatasetName,
    Declaration,
    ModelName,
    Sql,
    Text,
    TrainerName,
    find_other_tasks,
    find_repeats,
)
from dataops.declarations.features import FeatureSpec
from dataops.declarations.inputs import INPUT, evaluation_name
from dataops.declarations.loader import Finding
from dataops.declarations.metrics import DEFAULT_METRICS, Metric, Points, Task, without_usual
from dataops.declarations.search import Search
from dataops.governance.grant import Purpose


class Candidate(Declaration):
    """One trainer with its parameters; the candidates of a job are trained on the same rows and compared."""

    trainer: TrainerName
    """`logistic`, `xgboost`, `lightgbm`, `incremental`, `sklearn`, for a regression `linear`, `poisson`, `xgboost`,
    `lightgbm`, for clusters `kmeans`; or another that an installed package offers (entry points `dataops.trainers`)."""
    params: dict[str, JsonValue] = Field(default_factory=dict)
    """The trainer's parameters by name; the trainer refuses unknown ones. Default: the trainer's own defaults."""
    search: Search | None = None
    """Parameters that are searched for; the best ones are fitted on all training rows. Default: nothing is searched."""
    calibrate: Literal["sigmoid", "isotonic"] | None = None
    """What makes its probabilities those that an eighth of the training rows bears out, from which it doesn't learn (by
    time the newest, whole days or hours): `sigmoid` (a line over log odds, by Platt; for few rows) or `isotonic` (a
    rising curve; from some thousand rows on). The order of scores stays. Default: they are as the trainer gives
    them."""

    @model_serializer(mode="wrap")
    def _without_search(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A candidate that is neither searched for nor calibrated is the record that earlier releases wrote."""
        later = ("search", "calibrate")
        return {key: value for key, value in serialise(self).items() if key not in later or value is not None}

    def check(self) -> Iterator[Finding]:
        """Parameters that are both given and searched for."""
        for name in self.search.space if self.search else ():
            if name in self.params:
                yield Finding(place=("search", "space", name), message=f"{name!r} is among the params, too")


class Evaluate(Declaration):
    """What is measured on each candidate."""

    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] | None = None
    """`roc_auc`, `log_loss`, `brier`, `average_precision`, `accuracy`, `f1`, `precision`, `recall`, `lift`,
    `calibration_error`; of a regression `rmse`, `mae`, `r2`, `quantile_loss`; of clusters `silhouette`, `inertia`; the
    first one leads lists and tables. Default: `[roc_auc, log_loss]`, of a regression `[rmse, mae]`, of clusters
    `[silhouette, inertia]`."""
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of which `quantile_loss` is the loss, between 0 and 1; at 0.5 it is half of `mae`. Default: 0.5."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """From which probability on a row counts as positive for `accuracy`, `f1`, `precision` and `recall`, 0 to 1. They
    are left out where fewer rows reach it, or miss it, than the policies show figures about. Default: 0.5."""
    top_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Which share of the rows, those of the highest probabilities, `lift` compares with all rows, above 0, up to 1. It
    is left out where these, or the others, are fewer than the policies show figures about. Default: 0.1."""
    slices: tuple[ColumnName, ...] = ()
    """Columns by whose values the metrics are reported as well. Default: none."""
    datasets: tuple[DatasetName, ...] = ()
    """More datasets to evaluate on, besides the test rows of the input. Default: none."""

    @model_serializer(mode="wrap")
    def _without_usual(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_usual(serialise(self))

    @property
    def points(self) -> Points:
        """What some metrics are taken at."""
        return Points(quantile=self.quantile, threshold=self.threshold, top_share=self.top_share)

    def check(self) -> Iterator[Finding]:
        """Repeated names."""
        for key in ("metrics", "slices", "datasets"):
            yield from find_repeats(getattr(self, key) or (), (key,))


class TrainJob(Declaration):
    """Trains one or more candidates on a prepared dataset and registers them as versions of a model."""

    name: ModelName
    """The job's name, unique in its file; it is the name of the model, too."""
    job: Literal["train"] = "train"
    """The kind of job: `train`."""
    input: DatasetName
    """The prepared dataset to train on."""
    task: Task = Task.BINARY
    """What the model gives: `binary` (how likely the target is true), `regression` (a number) or `clusters` (which of
    several groups of rows that are alike). Default: `binary`."""
    target: Sql | None = None
    """What is to be predicted: a column, or a SQL expression, of true/false or 1/0; of a regression a number, and rows
    where it is null, infinite or not a number are set aside. Required, but for `task: clusters`, which has none."""
    features: FeatureSpec
    """The columns that the model sees."""
    weight: ColumnName | None = None
    """A numeric column that says how much each row counts. Default: every row counts 1."""
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)]
    """Trainers to compare, one at least."""
    evaluate: Evaluate = Evaluate()
    """What is measured. Default: ROC AUC and log-loss, of a regression RMSE and MAE, of clusters silhouette and
    inertia, on the test rows."""
    description: str = ""
    """What the model is for; stands on its card. Default: nothing."""
    limits: tuple[Text, ...] = ()
    """What the model is not good for; stands on its card. Default: none."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Where chance is involved, it starts here: 0 to 4294967295. Default: 0."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is measured, the first one leads."""
        return self.evaluate.metrics or DEFAULT_METRICS[self.task]

    @property
    def inputs(self) -> Mapping[str, tuple[str, Purpose]]:
        """What is read for what: learning and judging are two readings, also of one dataset."""
        judged = dict.fromkeys([self.input, *self.evaluate.datasets])
        return {
            INPUT: (self.input, Purpose.TRAIN),
            **{evaluation_name(name): (name, Purpose.EVALUATE) for name in judged},
        }

    def check(self) -> Iterator[Finding]:
        """A target that is missing, or that there can't be, or the weight, among the features; metrics of another task,
        repeated candidates.
        """
        yield from self._find_target()
        yield from find_other_tasks(self.metrics, self.task, ("evaluate", "metrics"))
        if self.task is not Task.BINARY:
            yield from self._find_classes()
        for place, name in self.features.places():
            if name in ((self.target or "").strip().strip('"'), self.weight):
                what = "weight" if name == self.weight else "target"
                yield Finding(place=("features", *place), message=f"{name!r} is the {what}, so it can't be a feature")
        for position, candidate in enumerate(self.candidates):
            if candidate in self.candidates[:position]:
                yield Finding(place=("candidates", position), message="the same trainer and params are listed twice")
            if candidate.calibrate and self.task is not Task.BINARY:
                message = "only probabilities are calibrated, and this job's models give none"
                yield Finding(place=("candidates", position, "calibrate"), message=message)
            metric = candidate.search and candidate.search.metric
            if metric and metric.task is not self.task:
                message = f"{metric} is a figure of {metric.task} models, and this one is none"
                yield Finding(place=("candidates", position, "search", "metric"), message=message)
            counted = candidate.search is not None and "clusters" in candidate.search.space
            if counted and (metric or self.metrics[0]) is Metric.INERTIA:
                message = "inertia is lower with each cluster more: search their number by silhouette"
                yield Finding(place=("candidates", position, "search"), message=message)

    def _find_target(self) -> Iterator[Finding]:
        """A target that is missing, or that there can't be."""
        if self.task is Task.CLUSTERS and self.target is not None:
            message = "clusters are found without a target: leave it out, or `task` if the target is to be predicted"
            yield Finding(place=("target",), message=message)
        if self.task is not Task.CLUSTERS and self.target is None:
            message = "a required key is missing: what is to be predicted (only `task: clusters` has no target)"
            yield Finding(place=("target",), message=message)

    def _find_classes(self) -> Iterator[Finding]:
        """Features that are made of classes of the target."""
        for position, group in enumerate((*self.features.categorical_groups, *self.features.all_crosses)):
            if group.encode == "target":
                message = f"`encode: target` takes a target of true/false or 1/0; one of task {self.task} has none"
                kind = "categorical" if position < len(self.features.categorical_groups) else "crosses"
                yield Finding(place=("features", kind), message=message)
