"""The seam of trainers: encoded parts in, model bytes of a named format out.

1. A trainer is found by name among the entry points of the group ``dataops.trainers`` and loaded when used.
2. Its parameters are a closed list, each with a default and bounds; they are checked before any data is read.
3. The same parts, parameters, seed and shape of cluster give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

from dataops.declarations.metrics import Task
from dataops.errors import InvalidInput, near_match
from dataops.training.parts import PartsOnCluster

GROUP = "dataops.trainers"


class Trainer(Protocol):
    """Fits one kind of model.

    One with a true attribute ``streams`` goes over parts by the functions of `dataops.training.parts` alone, so that
    they may lie on workers' disks. One with an attribute ``tasks`` makes models of these tasks, others classifiers; one
    with a method ``for_task`` gives the trainer that makes those of one task, with parameters of its own.
    """

    def require_params(self, params: Mapping[str, Any]) -> None:
        """Nothing, if `fit` will take `params`; else InvalidInput with every finding."""

    def fit(self, parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> tuple[str, bytes]:
        """The model's format (see `dataops.models.predictor`) and bytes.

        Raises
        ------
        InvalidInput : no such model can be fitted to the rows.
        Compute : it failed; `failures.lasting` where it would on any cluster, so that a search tries the next point.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a trainer: `parse` gives the value or raises ValueError saying what was expected."""

    default: Any
    parse: Callable[[Any], Any]


def load_trainer(name: str, task: Task = Task.BINARY) -> Trainer:
    """The trainer of that name, for models of `task`.

    Raises
    ------
    InvalidInput : no installed package offers it, or it makes no such models.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise InvalidInput(f"there is no trainer '{name}'.{near_match(name, found)}")
    trainer = found[name].load()()
    if task not in tasks_of(trainer):
        others = sorted(other for other, entry in found.items() if task in tasks_of(entry.load()))
        raise InvalidInput(f"trainer {name} makes no models of task {task}; {', '.join(others) or 'none here'} would")
    of_task: Trainer = trainer.for_task(task) if hasattr(trainer, "for_task") else trainer
    return of_task


def tasks_of(trainer: object) -> Collection[Task]:
    """The tasks that `trainer` makes models of."""
    return getattr(trainer, "tasks", (Task.BINARY,))


def streams(trainer: Trainer) -> bool:
    """Whether the parts that `trainer` takes may lie on workers' disks."""
    return bool(getattr(trainer, "streams", False))


def samples(trainer: Trainer) -> bool:
    """Whether `trainer` takes a sample of the rows by their ranks: see `groups.row_ranks`."""
    return bool(getattr(trainer, "samples", False))


def parse_params(trainer: str, params: Mapping[str, Any], known: Mapping[str, Parameter]) -> dict[str, Any]:
    """A value for every known parameter: the given one, checked, or its default.

    Raises
    ------
    InvalidInput : unknown names and wrong values, all of them at once.
    """
    findings = [
        f"unknown parameter '{name}'.{near_match(name, known)}"
        for name in sorted(map(str, params))
        if name not in known
    ]
    values = {}
    for name, parameter in known.items():
        try:
            values[name] = parameter.parse(params[name]) if name in params else parameter.default
        except ValueError as error:
            findings.append(f"{name}: expected {error}, found {params[name]!r}")
    if findings:
        raise InvalidInput(f"trainer {trainer}: " + "; ".join(findings))
    return values


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A parser of whole numbers from `low` to `high`."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return parse


def number(low: float, high: float, *, above: bool = False) -> Callable[[Any], float]:
    """A parser of numbers from `low` (with `above`: more than `low`) to `high`."""

    def parse(value: Any) -> float:
        right = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
        if not right or (above and value == low):
            raise ValueError(f"a number {'above' if above else 'from'} {low:g} to {high:g}")
        return float(value)

    return parse


def one_of(*allowed: str | None) -> Callable[[Any], str | None]:
    """A parser of one of these words; None is null."""
    words = ", ".join("null" if word is None else word for word in allowed)

    def parse(value: Any) -> str | None:
        if (value is not None and not isinstance(value, str)) or value not in allowed:
            raise ValueError(f"one of {words}")
        return value

    return parse
