"""Realised performance, declared: scores, and the outcomes that became known later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from dataops.declarations.declaration import (
    ColumnName,
    DatasetName,
    Declaration,
    JobName,
    Sql,
    find_other_tasks,
    find_repeats,
)
from dataops.declarations.inputs import INPUT, LABEL_KEYS, LABELS, SCORE_KEYS
from dataops.declarations.loader import Finding
from dataops.declarations.metrics import Metric, Points, Task, without_usual
from dataops.governance.grant import Purpose


class Latest(Declaration):
    """Which outcomes are judged, by when they are of."""

    column: ColumnName
    """The column of `labels` that says it: dates or timestamps. Where it is null, the outcome isn't judged."""
    days: Annotated[float, Field(gt=0, le=36_600)]
    """How many days up to the newest known outcome are judged, above 0."""


class EvaluateJob(Declaration):
    """Joins scores with the outcomes that became known later, and measures how well the models did."""

    name: JobName
    """The job's name, unique in its file."""
    job: Literal["evaluate"] = "evaluate"
    """The kind of job: `evaluate`."""
    scores: DatasetName
    """The dataset of scores: the output of a rescore job that keeps `key` and the probability, or the prediction of a
    regression."""
    labels: DatasetName
    """The dataset that holds the outcomes, read to evaluate; keys on both sides are read to score, so that they are
    masked alike."""
    key: Annotated[tuple[ColumnName, ...], Field(min_length=1)]
    """The columns that name a row in both datasets; unique among the outcomes."""
    target: Sql
    """The outcome: a column of `labels`, or a SQL expression, of true/false or 1/0; where regressions are judged, of
    numbers. Where it is null, nothing is known yet."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = (Metric.ROC_AUC, Metric.LOG_LOSS)
    """What is measured, as in `evaluate` of a train job; the first one leads. Metrics of a regression (`rmse`, `mae`,
    `r2`, `quantile_loss`) judge regressions. Default: `[roc_auc, log_loss]`."""
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of which `quantile_loss` is the loss, between 0 and 1. Default: 0.5."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """From which probability on a row counts as positive for `accuracy`, `f1`, `precision` and `recall`, 0 to 1. They
    are left out where fewer rows reach it, or miss it, than the policies show figures about. Default: 0.5."""
    top_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Which share of the rows, those of the highest probabilities, `lift` compares with all rows, above 0, up to 1. It
    is left out where these, or the others, are fewer than the policies show figures about. Default: 0.1."""
    slices: tuple[ColumnName, ...] = ()
    """Columns of `labels` by whose values the metrics are reported as well. Default: none."""

    latest: Latest | None = None
    """Judges only the newest outcomes: `{column: seen_at, days: 14}` those that are less than so many days older than
    the newest one that is known. Default: all outcomes."""

    @model_serializer(mode="wrap")
    def _without_usual(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_usual(serialise(self))

    @property
    def points(self) -> Points:
        """What some metrics are taken at."""
        return Points(quantile=self.quantile, threshold=self.threshold, top_share=self.top_share)

    @property
    def task(self) -> Task:
        """The task of the models that are judged, by what is measured."""
        return self.metrics[0].task

    @property
    def inputs(self) -> Mapping[str, tuple[str, Purpose]]:
        """What is read for what."""
        return {
            INPUT: (self.scores, Purpose.EVALUATE),
            SCORE_KEYS: (self.scores, Purpose.SCORE),
            LABELS: (self.labels, Purpose.EVALUATE),
            LABEL_KEYS: (self.labels, Purpose.SCORE),
        }

    def check(self) -> Iterator[Finding]:
        """Repeated names, outcomes that are the scores."""
        for key in ("key", "metrics", "slices"):
            yield from find_repeats(getattr(self, key), (key,))
        yield from find_other_tasks(self.metrics, self.task, ("metrics",))
        if self.task is Task.CLUSTERS:
            message = f"{self.metrics[0]} needs no outcomes: a clustering has none, and is judged when it is trained"
            yield Finding(place=("metrics",), message=message)
        if self.scores == self.labels:
            yield Finding(
                place=("labels",), message=f"'{self.labels}' holds the scores; outcomes are a dataset of their own"
            )
