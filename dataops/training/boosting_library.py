"""What a boosting library is to `boosting_rounds`: its parameters, its share of the work, the memory that it takes.

A library is one for each task: a task has its own parameters, objectives and metrics. Rounds, ranks and memory know
nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataops.errors import InvalidInput, near_match
from dataops.features.encoder import Encoder
from dataops.training.boosting_gang import Meet
from dataops.training.boosting_ranks import Rank
from dataops.training.boosting_room import Room, Table, need_of, require_fits, told_need, usable_share, worker_rooms
from dataops.training.groups import GROUPS
from dataops.training.trainers import Parameter, number, one_of, parse_params, whole

if TYPE_CHECKING:
    from distributed import Client

BALANCED = "balanced"


def _directions(value: Any) -> dict[str, int]:
    right = isinstance(value, Mapping) and all(isinstance(sign, int) and sign in {-1, 0, 1} for sign in value.values())
    if not right:
        raise ValueError("a mapping of numeric features to -1, 0 or 1")
    return {str(name): int(sign) for name, sign in value.items()}


def _balanced_or_number(value: Any) -> float | str:
    try:
        return BALANCED if value == BALANCED else number(0, 1e12, above=True)(value)
    except ValueError as error:
        raise ValueError(f"'balanced' or {error}") from None


SHARED: Mapping[str, Parameter] = {
    "rounds": Parameter(default=200, parse=whole(1, 100_000)),
    "early_stopping": Parameter(default=None, parse=whole(1, 100_000)),
    "held_out": Parameter(default=0.125, parse=number(1 / GROUPS, 0.5)),
    "class_weight": Parameter(default=None, parse=one_of(BALANCED, None)),
    "scale_pos_weight": Parameter(default=None, parse=_balanced_or_number),
    "monotone_constraints": Parameter(default=None, parse=_directions),
}


_OF_CLASSES = ("class_weight", "scale_pos_weight")
OBJECTIVES = ("squared_error", "poisson", "absolute_error")


def of_numbers(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """The parameters of a regression: those of `parameters` that aren't about classes, and an objective."""
    kept = {name: parameter for name, parameter in parameters.items() if name not in _OF_CLASSES}
    return {**kept, "objective": Parameter(default=OBJECTIVES[0], parse=one_of(*OBJECTIVES))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A library that boosts models of one task.

    Attributes
    ----------
    name : the trainer's.
    parameters : `SHARED` and the library's own.
    params : the library's parameters from values, encoder and seed; `scale_pos_weight` is set by `boosting_rounds`.
    rank, meet : its share of the work on a worker, and how these find each other.
    metric : its name of the loss, by objective; classes have one, None.
    cut : a model with its first rounds alone.
    room : the memory that it takes.
    """

    name: str
    parameters: Mapping[str, Parameter]
    params: Callable[[Mapping[str, Any], Encoder, int], dict[str, Any]]
    rank: type[Rank]
    meet: Meet
    metric: Mapping[str | None, str]
    cut: Callable[[bytes, int], bytes]
    room: Callable[[Table], Room]

    def parse(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A value for each parameter.

        Raises
        ------
        InvalidInput : with every finding.
        """
        values = parse_params(self.name, params, self.parameters)
        if values.get("class_weight") and values.get("scale_pos_weight"):
            raise InvalidInput(
                f"trainer {self.name}: class_weight and scale_pos_weight both weigh the classes; keep one of them"
            )
        if "held_out" in params and not values["early_stopping"]:
            raise InvalidInput(
                f"trainer {self.name}: held_out: rows are held out for early_stopping, which isn't given"
            )
        return values

    def groups(self, values: Mapping[str, Any]) -> int:
        """How many groups of rows are held out."""
        return max(1, round(values["held_out"] * GROUPS)) if values["early_stopping"] else 0

    def require_room(
        self,
        client: Client,
        rows: Sequence[int],
        encoder: Encoder,
        values: Mapping[str, Any],
        *,
        weighted: bool,
        shared: bool,
        copied: bool = False,
    ) -> str:
        """What a fit with the parsed `values` will need, in words; see `boosting_room.NeedsRoom`.

        Raises
        ------
        Compute : the workers don't have as much.
        """
        table = Table(
            columns=columns_of(encoder),
            bins=values["max_bin"],
            weighted=weighted or bool(values.get("class_weight")),
            held_out=bool(values["early_stopping"]),
        )
        rooms = worker_rooms(client)
        used = max((room.used for room in rooms), default=0)
        need = need_of(rows, len(rooms), table, self.room(table), process=used, shared=shared, copied=copied)
        require_fits(self.name, need, table, rooms, usable_share())
        return told_need(self.name, need, table)


def columns_of(encoder: Encoder) -> int:
    """The columns of the matrix that `encoder` makes."""
    return len(encoder.numeric) + len(encoder.categorical)


def signs(trainer: str, directions: Mapping[str, int], encoder: Encoder) -> list[int]:
    """The sign of each matrix column. A category's codes have no order that a sign could follow.

    Raises
    ------
    InvalidInput : a name is that of no numeric feature.
    """
    numeric = [column.name for column in encoder.numeric]
    findings = [
        f"'{name}' is no numeric feature.{near_match(name, numeric)}" for name in directions if name not in numeric
    ]
    if findings:
        raise InvalidInput(f"trainer {trainer}: monotone_constraints: " + " ".join(findings))
    return [directions.get(name, 0) for name in numeric] + [0] * len(encoder.categorical)
