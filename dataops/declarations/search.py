"""A search for a trainer's parameters, declared: which ones, in what ranges, how, and for how long."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from dataops.declarations.declaration import Declaration
from dataops.declarations.loader import Finding, Place
from dataops.declarations.metrics import Metric
from dataops.errors import near_match

MAX_TRIALS = 10_000
DEFAULT_TRIALS = 20


class Scale(StrEnum):
    """What a parameter may be."""

    INT = "int"
    FLOAT = "float"
    LOG = "log"
    ONE_OF = "one_of"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One parameter of a search.

    Attributes
    ----------
    values : the values to choose from, or the least and the greatest one.
    """

    name: str
    scale: Scale
    values: tuple[Any, ...]

    @property
    def choices(self) -> tuple[Any, ...] | None:
        """All values, where they can be told one by one."""
        if self.scale is Scale.ONE_OF:
            return self.values
        return tuple(range(self.values[0], self.values[1] + 1)) if self.scale is Scale.INT else None

    @property
    def size(self) -> int | None:
        """How many values there are; None where they can't be counted."""
        if self.scale is Scale.ONE_OF:
            return len(self.values)
        return self.values[1] - self.values[0] + 1 if self.scale is Scale.INT else None


class Search(Declaration):
    """Parameters of the trainer that are searched for, on training rows that trials don't learn from."""

    space: Annotated[dict[str, dict[str, list[JsonValue]]], Field(min_length=1)]
    """By parameter one of `int: [3, 10]` (whole numbers, both ends too), `float: [0, 1]`, `log: [0.01, 0.3]` (evenly
    by magnitude), `one_of: [a, b]`."""
    method: Literal["grid", "random", "tpe"] = "random"
    """`grid` tries every point of whole numbers and lists, `random` draws points, `tpe` learns from its trials where
    to look (Optuna, extra `search`). Default: `random`."""
    trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] | None = None
    """How many points are tried, 1 to 10000; a `grid` has as many as it has. Default: 20."""
    pruner: Literal["none", "asha", "hyperband"] = "none"
    """What ends a trial early that does worse than others did after as many rounds (Optuna, extra `search`); for
    trainers that go by rounds. Default: `none`."""
    metric: Metric | None = None
    """What is best. Default: the job's first metric."""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """After so long no further trial begins. Default: all of them are run."""

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The space, in the order of its names."""
        parsed = ((name, *next(iter(one.items()))) for name, one in sorted(self.space.items()))
        return tuple(Dimension(name=name, scale=Scale(scale), values=tuple(values)) for name, scale, values in parsed)

    @property
    def most_trials(self) -> int:
        """How many trials there are, if time allows."""
        if self.method == "grid":
            return math.prod(one.size or 1 for one in self.dimensions)
        return self.trials or DEFAULT_TRIALS

    @property
    def needs_optuna(self) -> bool:
        """Whether Optuna has a part in it."""
        return self.method == "tpe" or self.pruner != "none"

    def check(self) -> Iterator[Finding]:
        """Ranges that are none, points that a grid can't have."""
        findings = [finding for name, one in self.space.items() for finding in _find_wrong(one, ("space", name))]
        yield from findings
        if self.method != "grid":
            return
        if self.trials is not None:
            yield Finding(place=("trials",), message="a grid tries every point of its space: leave trials out")
        for name, one in self.space.items():
            if {Scale.FLOAT, Scale.LOG} & one.keys():
                message = "a grid takes int and one_of: list the values that it is to try"
                yield Finding(place=("space", name), message=message)
        if not findings and self.most_trials > MAX_TRIALS:
            message = f"a grid of {self.most_trials:,} points, at most {MAX_TRIALS:,} are tried"
            yield Finding(place=("space",), message=message)


def _find_wrong(one: Mapping[str, Sequence[Any]], place: Place) -> Iterator[Finding]:
    """What is wrong with the range of one parameter."""
    unknown = [key for key in one if key not in list(Scale)]
    for key in unknown:
        message = f"expected one of int, float, log, one_of, found {key!r}.{near_match(key, list(Scale))}"
        yield Finding(place=(*place, key), message=message)
    if len(one) != 1:
        yield Finding(place=place, message=f"expected one of int, float, log, one_of, found {len(one)} keys")
    for key, values in one.items():
        if key not in unknown and (message := _wrong(Scale(key), values)):
            yield Finding(place=(*place, key), message=message)


def _wrong(scale: Scale, values: Sequence[Any]) -> str:
    """What is wrong with the values of a range, or ""."""
    if scale is Scale.ONE_OF:
        if not values:
            return "expected a list of values, found none"
        repeated = [value for place, value in enumerate(values) if value in values[:place]]
        return f"{repeated[0]!r} is listed twice" if repeated else ""
    kinds = int if scale is Scale.INT else (int, float)
    numbers = all(isinstance(value, kinds) and not isinstance(value, bool) for value in values)
    what = "whole numbers" if scale is Scale.INT else "numbers"
    if len(values) != 2 or not numbers or not values[0] < values[1]:
        return f"expected two {what}, the least and the greatest"
    return "expected numbers above 0" if scale is Scale.LOG and values[0] <= 0 else ""
