"""The steps of a schedule, declared: jobs, challenges, promotions and guards, each on a condition or always.

1. Steps run in their order, in one slot one at a time; one that fails ends its slot.
2. What kind a step is of, its first word says: `job`, `challenge`, `promote` or `guard`.
3. A condition speaks of earlier steps of the same slot, or of figures of the newest run that is done. What isn't known
   doesn't hold: the step is skipped, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, Tag

from dataops.declarations.declaration import Declaration, JobName, ModelName, Text
from dataops.declarations.loader import Finding
from dataops.declarations.metrics import Metric
from dataops.declarations.references import parse_model_reference
from dataops.declarations.times import Duration, Moment, end_of, parse_moment
from dataops.errors import InvalidInput, near_match
from dataops.records import require_name

Loss = Annotated[float, Field(ge=0)]


def _require_file(text: str) -> str:
    path = PurePosixPath(text)
    if text.startswith("-"):
        raise InvalidInput("begins with a dash, which would make an option of it: write './' before it")
    if path.is_absolute() or ".." in path.parts or "\\" in text:
        raise InvalidInput("expected the path of a file below the workspace, like 'jobs/nightly.yaml'")
    return text


def _require_version(text: str) -> str:
    parse_model_reference(f"model@{text}")
    return text


def _require_alias(text: str) -> str:
    return require_name(text, "alias")


FileName = Annotated[Text, AfterValidator(_require_file)]
AliasName = Annotated[str, AfterValidator(_require_alias)]


class DriftLimit(Declaration):
    """How far the batch of a rescore may have moved from the rows that its model was judged on."""

    job: JobName
    """The rescore job; its newest run counts that is done."""
    psi: Annotated[float, Field(gt=0)]
    """Population stability index of the score or a feature, whichever moved most: it holds from there on."""


class Figure(Declaration):
    """A bound on what the newest done run of an evaluate job found of a model."""

    job: JobName
    """The evaluate job."""
    model: ModelName
    """The model whose champion it judged."""
    metric: Metric
    """The figure, one that the job measures."""
    below: float | None = None
    """It holds where the figure is below this. This or `above`."""
    above: float | None = None
    """It holds where the figure is above this. This or `below`."""
    min_rows: Annotated[int, Field(ge=1)] = 1
    """How many rows the figure is of at least; one of fewer isn't known. Default: 1."""

    def check(self) -> Iterator[Finding]:
        """No bound, or two."""
        if (self.below is None) == (self.above is None):
            yield Finding(place=(), message="set below or above, one of them")


class ChangedIf(Declaration):
    """It holds where an earlier step of the slot did new work."""

    changed: JobName
    """The job of that step; it holds unless the step found nothing changed, failed or was skipped."""


class FigureIf(Declaration):
    """It holds where realised performance passed a bound."""

    figure: Figure
    """The figure and its bound."""


class DriftIf(Declaration):
    """It holds where data moved beyond a limit."""

    drift: DriftLimit
    """The rescore and the limit."""


EARLIER = ("promoted", "refused", "rolled_back")
"""Words for what some earlier step of the slot did."""

CONDITIONS: Mapping[str, type[Declaration]] = {"changed": ChangedIf, "figure": FigureIf, "drift": DriftIf}


def _condition_kind(condition: Any) -> str:
    """The class that `condition` is meant to be of, told by its keys, or that it is a word."""
    if isinstance(condition, Declaration):
        return type(condition).__name__
    if not isinstance(condition, Mapping):
        return "word"
    near = [found for key in condition for found in get_close_matches(str(key), CONDITIONS, n=1)]
    return CONDITIONS[[*(key for key in CONDITIONS if key in condition), *near, "changed"][0]].__name__


Condition: TypeAlias = Annotated[
    Annotated[Literal["promoted", "refused", "rolled_back"], Tag("word")]
    | Annotated[ChangedIf, Tag("ChangedIf")]
    | Annotated[FigureIf, Tag("FigureIf")]
    | Annotated[DriftIf, Tag("DriftIf")],
    Discriminator(_condition_kind),
]


class JobStep(Declaration):
    """A job that runs."""

    job: JobName
    """The job's name."""
    file: FileName
    """The file that declares it, below the workspace."""
    condition: Annotated[Condition | None, Field(alias="if")] = None
    """On what condition: `promoted`, `refused`, `rolled_back`, or one of the mappings below. Default: always."""


class ChallengeStep(Declaration):
    """The best candidate of a model's newest training becomes its challenger."""

    challenge: ModelName
    """The model."""
    alias: AliasName = "challenger"
    """The alias that moves. Default: `challenger`."""
    condition: Annotated[Condition | None, Field(alias="if")] = None
    """As for a job."""


class Freeze(Declaration):
    """A time in which nothing is promoted."""

    since: Annotated[Moment, Field(alias="from")]
    """The first moment: a date or a time with its zone."""
    until: Annotated[Moment, Field(alias="to")]
    """The last moment: a time, or a date, that whole day included."""

    def check(self) -> Iterator[Finding]:
        """A window that ends before it begins."""
        if end_of(self.until) <= parse_moment(self.since):
            yield Finding(place=("to",), message=f"{self.until} is not after {self.since}: it would freeze nothing")

    def covers(self, moment: datetime) -> bool:
        """Whether `moment` lies in it."""
        return parse_moment(self.since) <= moment < end_of(self.until)


class PromoteStep(Declaration):
    """A version goes through the gate, and becomes the champion if it passes."""

    promote: ModelName
    """The model."""
    version: Annotated[str, AfterValidator(_require_version)] = "challenger"
    """The version: an alias, or a number as text. Default: `challenger`."""
    rules: FileName = "jobs/promotion.yaml"
    """The promotion file, below the workspace. Default: `jobs/promotion.yaml`."""
    cool_down: Duration | None = None
    """For how long after the champion last changed nothing is promoted. Default: not at all."""
    freeze: tuple[Freeze, ...] = ()
    """Times in which nothing is promoted. Default: none."""
    condition: Annotated[Condition | None, Field(alias="if")] = None
    """As for a job."""


class GuardStep(Declaration):
    """A champion that disappoints within its probation is rolled back."""

    guard: ModelName
    """The model."""
    job: JobName
    """The evaluate job that follows how it does; its newest run counts that is done."""
    metric: Metric
    """The figure that is guarded, one that the job measures."""
    minimum: float | None = None
    """The least value, in the metric's unit. Default: no bound."""
    maximum: float | None = None
    """The greatest value, in the metric's unit. Default: no bound."""
    max_loss: Loss | None = None
    """How much worse than the version before it the champion may do, in the metric's unit. Default: not compared."""
    within: Duration = "7d"
    """The probation: how long after its promotion a champion is rolled back. Default: `7d`."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """How many rows the figure is of at least; by one of fewer nothing is judged. Default: 100."""
    condition: Annotated[Condition | None, Field(alias="if")] = None
    """As for a job."""

    def check(self) -> Iterator[Finding]:
        """A guard that guards nothing."""
        if self.minimum is None and self.maximum is None and self.max_loss is None:
            yield Finding(place=(), message="guards nothing: set minimum, maximum or max_loss")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            message = f"minimum {self.minimum} is above maximum {self.maximum}: any champion would be rolled back"
            yield Finding(place=("minimum",), message=message)


KINDS: Mapping[str, type[Declaration]] = {
    "challenge": ChallengeStep,
    "promote": PromoteStep,
    "guard": GuardStep,
    "job": JobStep,
}
"""The kind of a step by the key that says it."""


def _kind(step: Any) -> str:
    """The class that `step` is meant to be of, told by its keys; by the nearest word, where none of them is known."""
    if not isinstance(step, Mapping):
        return type(step).__name__ if isinstance(step, Declaration) else JobStep.__name__
    known = [key for key in KINDS if key in step and key != "job"]  # a guard names a job as well
    near = [found for key in step if key not in KINDS for found in get_close_matches(str(key), KINDS, n=1)]
    return KINDS[[*known, *near, "job"][0]].__name__


Step: TypeAlias = Annotated[
    Annotated[JobStep, Tag("JobStep")]
    | Annotated[ChallengeStep, Tag("ChallengeStep")]
    | Annotated[PromoteStep, Tag("PromoteStep")]
    | Annotated[GuardStep, Tag("GuardStep")],
    Discriminator(_kind),
]


def name_of(step: Step) -> str:
    """What `step` is about, for messages and run ids: its job, or ``promote:late``."""
    if isinstance(step, JobStep):
        return step.job
    kind = kind_of(step)
    return f"{kind}:{getattr(step, kind)}"


def kind_of(step: Step) -> str:
    """The kind of `step`, a key of `KINDS`."""
    return next(kind for kind, declared in KINDS.items() if isinstance(step, declared))


def find_impossible_conditions(steps: Sequence[Step]) -> Iterator[Finding]:
    """A finding for each condition on what no earlier step of the schedule can have done."""
    for position, step in enumerate(steps):
        place, condition, earlier = ("steps", position, "if"), step.condition, steps[:position]
        jobs = [one.job for one in earlier if isinstance(one, JobStep)]
        if isinstance(condition, ChangedIf) and condition.changed not in jobs:
            message = f"no earlier step runs job '{condition.changed}'.{near_match(condition.changed, jobs)}"
            yield Finding(place=(*place, "changed"), message=message)
        moves = any(isinstance(one, PromoteStep | GuardStep) for one in earlier)
        if isinstance(condition, str) and not moves:
            message = f"no earlier step promotes or guards a model: nothing can have been {condition}"
            yield Finding(place=place, message=message)
