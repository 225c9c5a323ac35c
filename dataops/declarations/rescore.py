"""Rescoring, declared: which models score a dataset, the columns they write, what may fail and how long it may take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dataops.declarations.declaration import (
    ChallengerName,
    ColumnName,
    DatasetName,
    Declaration,
    JobName,
    find_repeats,
    find_same_dataset,
)
from dataops.declarations.follow import FollowedInput
from dataops.declarations.inputs import INPUT
from dataops.declarations.loader import Finding
from dataops.declarations.monitor import Monitor
from dataops.declarations.outputs import OWN, Output, column_name
from dataops.declarations.references import ModelReference, parse_model_reference
from dataops.governance.grant import Purpose


class ErrorBudget(Declaration):
    """How many rows may fail before a rescore fails."""

    max_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the rows that may be set aside, 0 to 1, of those that the policies' filters let through; more fails
    the run, and nothing is published. Default: 0."""
    max_rows: Annotated[int, Field(ge=0)] | None = None
    """Rows that may be set aside, at least 0; more fails the run, whatever `max_rate` says. Default: no such limit."""


class Timeouts(Declaration):
    """How long a run may take."""

    run_seconds: Annotated[float, Field(gt=0)] | None = None
    """Seconds from when the cluster is there, anew at each resume, after which no more units are scored: it is looked
    at while units are handed out, so what comes after them may take longer. The run fails and can be resumed. Default:
    no such limit."""
    stalled_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """Seconds without any unit done after which the units in hand are given out once more, and the second time the run
    fails and can be resumed. Default: 1800."""


def _require_reference(text: str) -> str:
    parse_model_reference(text)
    return text


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
    `probability_next`. How they differ from `model` is counted. A clustering has none: numbers of clusters say nothing
    of each other. Default: none."""
    input: DatasetName | FollowedInput
    """The dataset to score: the raw one, or one that the model's prepare declaration made. With
    `{dataset: NAME, follow: true}` its files are scored as they arrive, each once."""
    keep: tuple[ColumnName, ...] = ()
    """Columns of the input to write beside the score, if the policies give them. Default: none."""
    outputs: Annotated[tuple[Output, ...], Field(min_length=1)] | None = None
    """What each model gives: `probability` (of the positive class), `prediction` (whether it reaches `threshold`; of a
    regression the number), `margin` (log odds), `decile` (1 to 10, by edges fixed when the model was judged); a
    regression gives `prediction` and `decile` alone, a clustering `cluster` (its number, from 0) and `distance` (to the
    centre of the cluster, in the units of the features as the model takes them). Default: `[probability, prediction]`,
    of a regression `[prediction]`, of a clustering `[cluster, distance]`."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """The probability from which on a prediction is true, 0 to 1; regressions and clusterings have none. Default:
    0.5."""
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
        return {INPUT: (self.input_dataset, Purpose.SCORE)}

    @property
    def input_dataset(self) -> str:
        """The name of the dataset to score, followed or not."""
        return self.input.dataset if isinstance(self.input, FollowedInput) else self.input

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
            yield from find_repeats(getattr(self, key) or (), (key,))
        yield from find_same_dataset(self.input_dataset, self.output)


def score_names(job: RescoreJob) -> tuple[str, ...]:
    """The columns of scores that `job` may write, model after model; where it doesn't say which, its model does."""
    outputs = job.outputs or (Output.PROBABILITY, Output.PREDICTION)
    return tuple(column_name(output, model) for model in (OWN, *job.challengers) for output in outputs)
