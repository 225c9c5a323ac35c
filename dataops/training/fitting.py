"""What passes between a trainer that fits and the run that it fits for.

1. A trainer asks nothing of it: outside of a run, what is told is heard by nobody.
2. What is told holds no value of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Future


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """How far a fit came that goes by rounds.

    Attributes
    ----------
    done, of : rounds; fewer may be enough.
    loss : the mean loss per row after `done` rounds, on the rows held out or, where there are none, on the others;
        None where these are fewer than `Fitting.least`.
    held_out : which of the two.
    losses : on the rows held out, after each of the rounds; () where there are none, or too few.
    seconds : since the fit began.
    """

    done: int
    of: int
    loss: float | None
    held_out: bool
    seconds: float
    losses: tuple[float, ...] = ()


def _unheard(_told: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """What a run offers to the trainer that fits for it.

    Attributes
    ----------
    rounds : told how far the fit came, now and then; raises where the run has to end.
    say : told what a person should know.
    last_use : nobody needs the parts after this fit, so that a trainer may release them.
    again : makes parts that were released anew, as futures in unit order; None where that can't be done.
    held_out : how many groups of rows (`dataops.training.groups`) a trainer with a true attribute ``holds_out`` isn't
        to learn from, or to stop by; it tells its loss by round, on them or on others that it holds out. Trainers
        without it aren't given these rows.
    copied : all rows lie encoded once more beside those of the parts, and stay.
    least : rows that a figure is told about at least (`Effect.min_group_size`).
    facts : what the trainer found out, as JSON, for the model version's lineage.
    """

    rounds: Callable[[Rounds], None] = _unheard
    say: Callable[[str], None] = _unheard
    last_use: bool = False
    again: Callable[[], tuple[Future[Any], ...]] | None = None
    held_out: int = 0
    copied: bool = False
    least: int = 1
    facts: dict[str, Any] = field(default_factory=dict)
