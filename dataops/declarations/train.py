"""Training, declared: the features of a model, the trainers to compare, and what is measured of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from dataops.declarations.declaration import (
    ColumnName,
    DatasetName,
    Declaration,
    ModelName,
    Sql,
    Text,
    TrainerName,
    find_repeats,
)
from dataops.declarations.inputs import INPUT, evaluation_name
from dataops.declarations.loader import Finding
from dataops.declarations.metrics import Metric
from dataops.governance.grant import Purpose


class NumericFeatures(Declaration):
    """Columns that enter a model as numbers."""

    columns: tuple[ColumnName, ...] = ()
    """Names of numeric columns. Default: none."""
    impute: Literal["median", "mean"] | float = "median"
    """What stands in for a missing value: `median` or `mean` of the training rows, or a number in the column's unit.
    Default: `median`."""
    scale: Literal["standard", "none"] = "standard"
    """`standard` shifts to mean 0 and scales to standard deviation 1 over the training rows; `none` leaves values as
    they are. Default: `standard`."""

    def check(self) -> Iterator[Finding]:
        """Repeated columns."""
        yield from find_repeats(self.columns, ("columns",))


class CategoricalFeatures(Declaration):
    """Columns that enter a model as one of a set of values."""

    columns: tuple[ColumnName, ...] = ()
    """Names of columns of text, booleans or whole numbers. Default: none."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """Training rows that a value needs to count as a category, at least 1; rarer values are coded as unknown.
    Default: 1."""
    encode: Literal["ordinal"] = "ordinal"
    """How categories become numbers: `ordinal`, a code per category in sorted order, 0 for unknown. Default:
    `ordinal`."""

    def check(self) -> Iterator[Finding]:
        """Repeated columns."""
        yield from find_repeats(self.columns, ("columns",))


class FeatureSpec(Declaration):
    """The columns that a model sees, and how; frozen into the model version as its feature program."""

    numeric: NumericFeatures = NumericFeatures()
    """Columns that enter as numbers. Default: none."""
    categorical: CategoricalFeatures = CategoricalFeatures()
    """Columns that enter as categories. Default: none."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All feature columns: the numeric ones, then the categorical ones."""
        return (*self.numeric.columns, *self.categorical.columns)

    def check(self) -> Iterator[Finding]:
        """No feature at all, or one listed as both kinds."""
        if not self.columns:
            yield Finding(place=(), message="no features: list columns under numeric or categorical")
        for position, name in enumerate(self.categorical.columns):
            if name in self.numeric.columns:
                place = ("categorical", "columns", position)
                yield Finding(place=place, message=f"{name!r} is listed under numeric too; keep one of the two")


class Candidate(Declaration):
    """One trainer with its parameters; the candidates of a job are trained on the same rows and compared."""

    trainer: TrainerName
    """`logistic`, `xgboost`, or another that an installed package offers (entry points `dataops.trainers`)."""
    params: dict[str, JsonValue] = Field(default_factory=dict)
    """The trainer's parameters by name; the trainer refuses unknown ones. Default: the trainer's own defaults."""


class Evaluate(Declaration):
    """What is measured on each candidate."""

    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = (Metric.ROC_AUC, Metric.LOG_LOSS)
    """`roc_auc`, `log_loss`, `brier`, `average_precision`, `accuracy`; the first one leads lists and tables.
    Default: `[roc_auc, log_loss]`."""
    slices: tuple[ColumnName, ...] = ()
    """Columns by whose values the metrics are reported as well. Default: none."""
    datasets: tuple[DatasetName, ...] = ()
    """More datasets to evaluate on, besides the test rows of the input. Default: none."""

    def check(self) -> Iterator[Finding]:
        """Repeated names."""
        for key in ("metrics", "slices", "datasets"):
            yield from find_repeats(getattr(self, key), (key,))


class TrainJob(Declaration):
    """Trains one or more candidates on a prepared dataset and registers them as versions of a model."""

    name: ModelName
    """The job's name, unique in its file; it is the name of the model, too."""
    job: Literal["train"] = "train"
    """The kind of job: `train`."""
    input: DatasetName
    """The prepared dataset to train on."""
    target: Sql
    """What is to be predicted: a column, or a SQL expression, of true/false or 1/0."""
    features: FeatureSpec
    """The columns that the model sees."""
    weight: ColumnName | None = None
    """A numeric column that says how much each row counts. Default: every row counts 1."""
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)]
    """Trainers to compare, one at least."""
    evaluate: Evaluate = Evaluate()
    """What is measured. Default: ROC AUC and log-loss on the test rows."""
    description: str = ""
    """What the model is for; stands on its card. Default: nothing."""
    limits: tuple[Text, ...] = ()
    """What the model is not good for; stands on its card. Default: none."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Where chance is involved, it starts here: 0 to 4294967295. Default: 0."""

    @property
    def inputs(self) -> Mapping[str, tuple[str, Purpose]]:
        """What is read for what: learning and judging are two readings, also of one dataset."""
        judged = dict.fromkeys([self.input, *self.evaluate.datasets])
        return {
            INPUT: (self.input, Purpose.TRAIN),
            **{evaluation_name(name): (name, Purpose.EVALUATE) for name in judged},
        }

    def check(self) -> Iterator[Finding]:
        """The target or the weight among the features, repeated candidates."""
        for kind, spec in (("numeric", self.features.numeric), ("categorical", self.features.categorical)):
            for position, name in enumerate(spec.columns):
                if name in (self.target.strip().strip('"'), self.weight):
                    what = "weight" if name == self.weight else "target"
                    place = ("features", kind, "columns", position)
                    yield Finding(place=place, message=f"{name!r} is the {what}, so it can't be a feature")
        for position, candidate in enumerate(self.candidates):
            if candidate in self.candidates[:position]:
                yield Finding(place=("candidates", position), message="the same trainer and params are listed twice")
