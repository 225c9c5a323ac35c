"""What all declarations have in common: frozen, closed models, the types of their values, checks across keys.

1. Keys that are not declared are refused; values are never coerced (see `dataops.declarations.loader.validate`).
2. The line below a key documents it: pydantic keeps it as the description, and the reference is generated from it.
3. What one key alone can't tell, `check` finds: all findings of a model, each at its own place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from dataops.declarations.loader import Finding, Place
from dataops.declarations.metrics import Metric, Task
from dataops.errors import InvalidInput
from dataops.records import require_name

T = TypeVar("T")

MAX_TEXT_LENGTH = 10_000
MAX_COLUMN_LENGTH = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class FindingsError(ValueError):
    """Findings of one model, with places relative to it."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(finding.message for finding in findings))
        self.findings = tuple(findings)


class Declaration(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def check(self) -> Iterator[Finding]:
        """What is wrong across keys, with places relative to this model; nothing by default."""
        return iter(())

    @model_validator(mode="after")
    def _require_no_findings(self) -> Self:
        if findings := tuple(self.check()):
            raise FindingsError(findings)
        return self


def find_repeats(names: Sequence[str], place: Place) -> Iterator[Finding]:
    """A finding for each name that stands in the list for a second time."""
    for position, name in enumerate(names):
        if name in names[:position]:
            yield Finding(place=(*place, position), message=f"{name!r} is listed twice")


def find_other_tasks(metrics: Sequence[Metric], task: Task, place: Place) -> Iterator[Finding]:
    """A finding for each metric of another task than `task`."""
    known = ", ".join(metric for metric in Metric if metric.task is task)
    for position, metric in enumerate(metrics):
        if metric.task is not task:
            message = f"{metric} is a figure of {metric.task} models, and these are of task {task}: expected {known}"
            yield Finding(place=(*place, position), message=message)


def find_same_dataset(source: str, output: str) -> Iterator[Finding]:
    """A finding if a job writes the dataset that it reads."""
    if source == output:
        yield Finding(place=("output",), message=f"'{output}' is the input; a job writes a dataset of its own")


def _named(what: str) -> AfterValidator:
    def require(name: str) -> str:
        return require_name(name, what)

    return AfterValidator(require)


def _require_column(name: str) -> str:
    if not name.strip() or len(name) > MAX_COLUMN_LENGTH or _CONTROL.search(name):
        raise InvalidInput(f"can't name a column: expected 1 to {MAX_COLUMN_LENGTH} characters, none of them a control")
    return name


def _require_text(text: str) -> str:
    if not text.strip():
        raise InvalidInput("is empty: write something or leave the key out")
    return text


JobName = Annotated[str, _named("job")]
ModelName = Annotated[str, _named("model")]
ChallengerName = Annotated[str, _named("challenger")]
DatasetName = Annotated[str, _named("dataset")]
TrainerName = Annotated[str, _named("trainer")]
RoleName = Annotated[str, _named("role")]
ColumnName = Annotated[str, AfterValidator(_require_column)]
Text = Annotated[str, Field(max_length=MAX_TEXT_LENGTH), AfterValidator(_require_text)]
Sql = Text
