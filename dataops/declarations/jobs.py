"""Job files: what to prepare, train and rescore.

1. A file holds one or more jobs, parted by ``---``; each has a ``name`` of its own and says its kind in ``job``.
2. A declaration names datasets, columns and models; it never says who may read what: that is the policies' part.
3. ``where`` is the population and holds wherever the declaration runs, also in front of rescoring; ``labelled`` says
   which rows have a known outcome, and holds for training and evaluation only.
4. SQL expressions are text here; they are parsed where the columns' types are known.
5. ``derive`` runs in the order of the file, so a job's record keeps that order (`job_record`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, ValidationError

from dataops.declarations.declaration import (
    ChallengerName,
    ColumnName,
    DatasetName,
    Declaration,
    JobName,
    ModelName,
    Sql,
    Text,
    TrainerName,
    find_repeats,
)
from dataops.declarations.loader import Document, Finding, read_yaml, validate
from dataops.declarations.references import ModelReference, parse_model_reference
from dataops.errors import Format, InvalidInput, NotFound, near_match
from dataops.governance.grant import Purpose
from dataops.records import Record

_HASH = re.compile(r"hash\((.*)\)", re.DOTALL)
_KEY_COLUMN = re.compile(r'\s*(?:"([^"]+)"|([^\s,()"]+))\s*')


INPUT = "input"
"""What a run calls the dataset that its job names as input."""

LABELS = "labels"
SCORE_KEYS, LABEL_KEYS = "score_keys", "label_keys"
"""What a run that measures realised performance calls the outcomes, and the keys of both sides."""

OWN = ""
"""What the job's own model is called among those of one pass."""

HOLDOUT = "holdout"
"""What metrics call the rows of its input that training held back."""


def evaluation_name(dataset: str) -> str:
    """What a run calls `dataset` where it is read for evaluation."""
    return f"evaluate:{dataset}"


class Repeated(StrEnum):
    """What becomes of a file that was taken under another name."""

    SKIP = "skip"
    SCORE = "score"


class Late(StrEnum):
    """What becomes of a file below the watermark."""

    SCORE = "score"
    SKIP = "skip"
    STOP = "stop"


class Metric(StrEnum):
    """A figure of a model's quality on labelled rows."""

    ROC_AUC = "roc_auc"
    LOG_LOSS = "log_loss"
    BRIER = "brier"
    AVERAGE_PRECISION = "average_precision"
    ACCURACY = "accuracy"

    @property
    def higher_is_better(self) -> bool:
        """Which of two values is better; a loss is better when it is low."""
        return self not in (Metric.LOG_LOSS, Metric.BRIER)


def parse_split_columns(text: str) -> tuple[str, ...]:
    """The columns in ``hash(a)`` or ``hash(a, "b c")``.

    Raises
    ------
    InvalidInput : anything else.
    """
    whole = _HASH.fullmatch(text.strip())
    found = [_KEY_COLUMN.fullmatch(part) for part in whole.group(1).split(",")] if whole else []
    if not found or None in found:
        raise InvalidInput("expected 'hash(column)' or 'hash(column, other)'; a name with spaces stands in \"...\"")
    return tuple(match.group(1) or match.group(2) for match in found if match)


def _require_split(text: str) -> str:
    columns = parse_split_columns(text)
    if len(set(columns)) < len(columns):
        raise InvalidInput("a column is listed twice")
    return text


def _require_reference(text: str) -> str:
    parse_model_reference(text)
    return text


class Split(Declaration):
    """Which rows are kept for testing: decided by a hash of key columns, so the same key is always on the same side."""

    by: Annotated[str, AfterValidator(_require_split)]
    """`hash(column)` or `hash(column, other)`: the columns that name a person or thing, all of whose rows stay
    together."""
    test: Annotated[float, Field(gt=0, lt=1)]
    """Share of the keys that is kept for testing: more than 0, less than 1."""

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns named in `by`."""
        return parse_split_columns(self.by)


class PrepareJob(Declaration):
    """Reads a governed dataset, derives columns, selects rows, splits, and publishes a snapshot of a new dataset."""

    name: JobName
    """The job's name, unique in its file: lower-case letters, digits, `_` and `-`, 63 characters at most."""
    job: Literal["prepare"] = "prepare"
    """The kind of job: `prepare`."""
    input: DatasetName
    """The dataset of the catalog to read; its contract and the policies say which columns and rows are given."""
    purpose: Purpose = Purpose.TRAIN
    """What the data is read for: `train`, `evaluate`, `score` or `benchmark`. Default: `train`."""
    derive: dict[ColumnName, Sql] = Field(default_factory=dict)
    """New columns: name to SQL expression over the columns before it, in order. Default: none."""
    where: Sql | None = None
    """The population: a SQL predicate; rows where it is not true are left out, in training and rescoring alike.
    Default: all rows."""
    labelled: Sql | None = None
    """The rows whose outcome is known: a SQL predicate that holds for training and evaluation, never for rescoring.
    Default: all rows."""
    split: Split | None = None
    """How rows are parted into a training and a test set. Default: not at all."""
    output: DatasetName
    """The dataset to publish."""
    columns: tuple[ColumnName, ...] | None = None
    """The columns to keep, in this order. Default: all that the policies give, and all derived ones."""

    @property
    def inputs(self) -> Mapping[str, tuple[str, Purpose]]:
        """What is read for what: the run's name of each input -> dataset and purpose."""
        return {INPUT: (self.input, self.purpose)}

    def check(self) -> Iterator[Finding]:
        """Repeated columns, no columns, an output that is the input."""
        yield from find_repeats(self.columns or (), ("columns",))
        if self.columns == ():
            yield Finding(place=("columns",), message="keeps no column: list some, or leave the key out to keep all")
        yield from _find_same_dataset(self.input, self.output)


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


class Output(StrEnum):
    """A column that a model gives for each row."""

    PROBABILITY = "probability"
    PREDICTION = "prediction"
    MARGIN = "margin"
    DECILE = "decile"


class DriftMetric(StrEnum):
    """How far rows are from those that a model was judged on."""

    PSI = "psi"
    JS = "js"
    KS = "ks"
    MISSING = "missing"
    UNKNOWN = "unknown"


class ErrorBudget(Declaration):
    """How many rows may fail before a rescore fails."""

    max_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the rows that may be set aside, 0 to 1, of those that the policies' filters let through; more fails
    the run, and nothing is published. Default: 0."""
    max_rows: Annotated[int, Field(ge=0)] | None = None
    """Rows that may be set aside, at least 0; more fails the run, whatever `max_rate` says. Default: no such limit."""


class DriftLimit(Declaration):
    """A limit on how far rows may be from those that the model was judged on."""

    metric: DriftMetric
    """`psi` (population stability index), `js` (Jensen-Shannon distance, 0 to 1), `ks` (Kolmogorov-Smirnov, 0 to 1),
    `missing` or `unknown` (how much the share of values changed that are missing, or that the model doesn't know)."""
    of: tuple[ColumnName, ...] = ()
    """The features that it holds for; `scores` are the model's scores. Default: all features and the scores."""
    warn: Annotated[float, Field(ge=0)] | None = None
    """From this value on the run warns, and publishes. Default: it doesn't."""
    stop: Annotated[float, Field(ge=0)] | None = None
    """From this value on the run fails, and nothing is published. Default: it doesn't."""

    def check(self) -> Iterator[Finding]:
        """Repeated features, a limit that does nothing, a stop below the warning."""
        yield from find_repeats(self.of, ("of",))
        if self.warn is None and self.stop is None:
            yield Finding(place=(), message="does nothing: give warn, stop, or both")
        if self.warn is not None and self.stop is not None and self.stop < self.warn:
            yield Finding(place=("stop",), message="stops before it warns: give a stop that is not below warn")


class Monitor(Declaration):
    """What is counted of the rows while they are scored."""

    drift: bool = True
    """Whether features and scores are counted and compared with those that the model was judged on. Default: true."""
    slices: tuple[ColumnName, ...] = ()
    """Columns by whose values drift is told as well, of those that the model was judged by (`evaluate.slices`).
    Default: none."""
    limits: tuple[DriftLimit, ...] | None = None
    """What warns and what stops a run. Default: warnings from `psi` 0.25, `missing` 0.05 and `unknown` 0.05 on."""

    def check(self) -> Iterator[Finding]:
        """Repeated columns, slices or limits of nothing."""
        yield from find_repeats(self.slices, ("slices",))
        for key in ("slices", "limits"):
            if getattr(self, key) and not self.drift:
                yield Finding(place=(key,), message="nothing is counted where drift is false")


class Timeouts(Declaration):
    """How long a run may take."""

    run_seconds: Annotated[float, Field(gt=0)] | None = None
    """Seconds from when the cluster is there, anew at each resume, after which no more units are scored: it is looked
    at while units are handed out, so what comes after them may take longer. The run fails and can be resumed. Default:
    no such limit."""
    stalled_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """Seconds without any unit done after which the units in hand are given out once more, and the second time the run
    fails and can be resumed. Default: 1800."""


class FollowedInput(Declaration):
    """A dataset whose files are scored as they arrive, each once."""

    dataset: DatasetName
    """The dataset of the catalog to score; its files may arrive at any time."""
    follow: Literal[True]
    """`true`: each run takes the files that no run before it took, and adds their scores to the output. To score the
    whole dataset at every run, write `input: DATASET`."""
    settle_seconds: Annotated[float, Field(ge=0, le=31_536_000)] = 60.0
    """Age from which on a file is taken, by the storage's clock; younger ones may still be written. A year
    (31,536,000) at most. Default: 60."""
    repeated: Repeated = Repeated.SKIP
    """What becomes of a file that was taken under another name: `skip` or `score`. Default: `skip`."""
    watermark: ColumnName | None = None
    """A partition column of dates or timestamps, by which a file is late. Default: no file is."""
    lateness_seconds: Annotated[float, Field(ge=0)] = 0.0
    """How far below the newest time that runs before took a file may lie and not be late. Default: 0."""
    late: Late = Late.SCORE
    """What becomes of late files: `score` them like others, `skip` them, or `stop`: the job is refused. Default:
    `score`."""

    def check(self) -> Iterator[Finding]:
        """A rule for late files without a watermark."""
        if self.watermark is not None:
            return
        message = "no file is late without a watermark: name a partition column of times"
        if self.late is not Late.SCORE:
            yield Finding(place=("late",), message=message)
        if self.lateness_seconds:
            yield Finding(place=("lateness_seconds",), message=message)


class RescoreJob(Declaration):
    """Scores a dataset with a registered model version; the version's own prepare declaration runs in front."""

    name: JobName
    """The job's name, unique in its file."""
    job: Literal["rescore"] = "rescore"
    """The kind of job: `rescore`."""
    model: Annotated[str, AfterValidator(_require_reference)]
    """The model version: `income@champion` (an alias), `income@3` (a version) or `income` (its champion)."""
    challengers: dict[ChallengerName, Annotated[str, AfterValidator(_require_reference)]] = Field(default_factory=dict)
    """More versions to score in the same pass, each with a name in which its columns end: `next: income@3` gives
    `probability_next`. How they differ from `model` is counted. Default: none."""
    input: DatasetName | FollowedInput
    """The dataset to score: the raw one, or one that the model's prepare declaration made. With
    `{dataset: NAME, follow: true}` its files are scored as they arrive, each once."""
    keep: tuple[ColumnName, ...] = ()
    """Columns of the input to write beside the score, if the policies give them. Default: none."""
    outputs: Annotated[tuple[Output, ...], Field(min_length=1)] = (Output.PROBABILITY, Output.PREDICTION)
    """What each model gives: `probability` (of the positive class), `prediction` (whether it reaches `threshold`),
    `margin` (log odds), `decile` (1 to 10, by edges fixed when the model was judged). Default:
    `[probability, prediction]`."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The probability from which on a prediction is true, 0 to 1. Default: 0.5."""
    sort_by: tuple[ColumnName, ...] = ()
    """Columns of the output by which the rows of each part are sorted, the first one first. Default: as they came."""
    errors: ErrorBudget = ErrorBudget()
    """How many rows may fail. Default: none."""
    monitor: Monitor = Monitor()
    """What is counted of the rows. Default: drift of features and scores, with warnings."""
    timeouts: Timeouts = Timeouts()
    """How long it may take. Default: as long as units get done."""
    output: DatasetName
    """The dataset of scores to publish."""

    @property
    def inputs(self) -> Mapping[str, tuple[str, Purpose]]:
        """What is read for what."""
        return {INPUT: (input_of(self), Purpose.SCORE)}

    @property
    def followed(self) -> FollowedInput | None:
        """How files are taken as they arrive; None where the whole dataset is scored."""
        return self.input if isinstance(self.input, FollowedInput) else None

    @property
    def reference(self) -> ModelReference:
        """`model` as a value."""
        return parse_model_reference(self.model)

    def check(self) -> Iterator[Finding]:
        """Repeated columns, an output that is the input."""
        for key in ("keep", "outputs", "sort_by"):
            yield from find_repeats(getattr(self, key), (key,))
        yield from _find_same_dataset(input_of(self), self.output)


class EvaluateJob(Declaration):
    """Joins scores with the outcomes that became known later, and measures how well the models did."""

    name: JobName
    """The job's name, unique in its file."""
    job: Literal["evaluate"] = "evaluate"
    """The kind of job: `evaluate`."""
    scores: DatasetName
    """The dataset of scores: the output of a rescore job that keeps `key` and the probability."""
    labels: DatasetName
    """The dataset that holds the outcomes, read to evaluate; keys on both sides are read to score, so that they are
    masked alike."""
    key: Annotated[tuple[ColumnName, ...], Field(min_length=1)]
    """The columns that name a row in both datasets; unique among the outcomes."""
    target: Sql
    """The outcome: a column of `labels`, or a SQL expression, of true/false or 1/0. Where it is null, nothing is known
    yet."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = (Metric.ROC_AUC, Metric.LOG_LOSS)
    """What is measured, as in `evaluate` of a train job; the first one leads. Default: `[roc_auc, log_loss]`."""
    slices: tuple[ColumnName, ...] = ()
    """Columns of `labels` by whose values the metrics are reported as well. Default: none."""

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
        if self.scores == self.labels:
            yield Finding(
                place=("labels",), message=f"'{self.labels}' holds the scores; outcomes are a dataset of their own"
            )


def column_name(output: Output, model: str) -> str:
    """The column of `output` of the model called `model` in the job; the job's own is `OWN`."""
    return f"{output}_{model}" if model else str(output)


def score_names(job: RescoreJob) -> tuple[str, ...]:
    """The columns of scores that `job` writes, model after model."""
    return tuple(column_name(output, model) for model in (OWN, *job.challengers) for output in job.outputs)


WritingJob = PrepareJob | RescoreJob
"""A job whose outcome is a dataset."""

Job = WritingJob | TrainJob | EvaluateJob

KINDS: Mapping[str, type[Job]] = {
    "prepare": PrepareJob,
    "train": TrainJob,
    "rescore": RescoreJob,
    "evaluate": EvaluateJob,
}


def input_of(job: PrepareJob | TrainJob | RescoreJob) -> str:
    """The name of the dataset that `job` reads as its input."""
    return job.input.dataset if isinstance(job.input, FollowedInput) else job.input


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredJob:
    """A job with the document that declares it."""

    job: Job
    document: Document


def parse_job(document: Document) -> DeclaredJob:
    """The job that `document` declares.

    Raises
    ------
    InvalidInput : all findings, each with file, line and path.
    """
    if not isinstance(document.value, dict):
        raise InvalidInput(f"{document.where()}: expected a job: a mapping with the keys 'name' and 'job'")
    kind = document.value.get("job")
    if kind is None:
        raise InvalidInput(f"{document.where(('job',))}: job: the kind of job is missing: {' or '.join(KINDS)}")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise InvalidInput(f"{document.where(('job',))}: job: unknown kind of job.{near_match(str(kind), KINDS)}")
    return DeclaredJob(job=validate(document, model), document=document)


def read_jobs(path: Path) -> list[DeclaredJob]:
    """The jobs in the file at `path`, in its order.

    Raises
    ------
    InvalidInput : findings of all the file's jobs; a name that two of them have; no job at all.
    """
    jobs: list[DeclaredJob] = []
    findings: list[str] = []
    lines: dict[str, int] = {}
    for document in read_yaml(path):
        try:
            declared = parse_job(document)
        except InvalidInput as error:
            findings.append(str(error))
            continue
        name, line = declared.job.name, document.line(("name",))
        if name in lines:
            findings.append(f"{path}:{line}: name: a job '{name}' is already declared on line {lines[name]}")
        lines.setdefault(name, line)
        jobs.append(declared)
    if findings or not jobs:
        raise InvalidInput("\n".join(findings) or f"{path}: declares no job")
    return jobs


def find_job(path: Path, name: str | None = None) -> DeclaredJob:
    """The job called `name` in the file at `path`, or its only one.

    Raises
    ------
    NotFound : no job of that name.
    InvalidInput : no name was given, and the file declares several jobs.
    """
    jobs = {declared.job.name: declared for declared in read_jobs(path)}
    if name is None and len(jobs) > 1:
        raise InvalidInput(f"{path}: declares {len(jobs)} jobs; name one of them: {', '.join(jobs)}")
    chosen = next(iter(jobs)) if name is None else name
    if chosen not in jobs:
        raise NotFound(f"{path}: declares no job '{chosen}'.{near_match(chosen, jobs)}")
    return jobs[chosen]


def job_record(job: Job) -> Record:
    """`job` as JSON values for a record; ``derive`` as a list of pairs, since canonical JSON sorts mappings."""
    record: Record = job.model_dump(mode="json")
    if isinstance(job, PrepareJob):
        record["derive"] = [[name, expression] for name, expression in job.derive.items()]
    return record


def job_from_record(record: Mapping[str, Any]) -> Job:
    """The job that `job_record` made `record` of.

    Raises
    ------
    Format : not such a record.
    """
    model = KINDS.get(str(record.get("job")))
    if model is None:
        raise Format(f"expected the record of a job, one of {', '.join(KINDS)}; found {record.get('job')!r}")
    body = dict(record)
    try:
        if "derive" in body:
            body["derive"] = dict(body["derive"])
        return model.model_validate_json(json.dumps(body), strict=True)
    except (ValidationError, TypeError, ValueError):
        raise Format(
            f"the record of a {record['job']} job holds keys or values that this release does not know"
        ) from None


def _find_same_dataset(source: str, output: str) -> Iterator[Finding]:
    if source == output:
        yield Finding(place=("output",), message=f"'{output}' is the input; a job writes a dataset of its own")
