"""Points of a search's space: which one a trial tries, from seed and number alone (grid and random).

1. Trial `n` of a seed is the same point, whatever other trials came to, and however often a search was taken up again.
2. Points are JSON: what is recorded is what was tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from dataops.declarations.search import Dimension, Scale
from dataops.errors import InvalidInput
from dataops.training.trainers import Trainer

Point = Mapping[str, Any]

MOST_CORNERS = 256


def grid_point(space: Sequence[Dimension], number: int) -> dict[str, Any]:
    """The point of that number, from 0; the last dimension goes fastest."""
    point = {}
    for dimension in reversed(space):
        choices = dimension.choices or ()
        number, place = divmod(number, len(choices))
        point[dimension.name] = choices[place]
    return dict(reversed(point.items()))


def random_point(space: Sequence[Dimension], seed: int, number: int) -> dict[str, Any]:
    """The point of that number, drawn evenly by each dimension's scale."""
    random = np.random.default_rng([seed, number])
    return {dimension.name: _draw(dimension, random) for dimension in space}


def _draw(dimension: Dimension, random: np.random.Generator) -> Any:
    if dimension.scale is Scale.ONE_OF:
        return dimension.values[int(random.integers(len(dimension.values)))]
    low, high = dimension.values
    if dimension.scale is Scale.INT:
        return int(random.integers(low, high, endpoint=True))
    if dimension.scale is Scale.FLOAT:
        return float(random.uniform(low, high))
    return float(min(max(math.exp(random.uniform(math.log(low), math.log(high))), low), high))


def require_space(trainer: Trainer, params: Point, space: Sequence[Dimension]) -> None:
    """Nothing, if `trainer` takes `params` with the ends and the listed values of each dimension of `space`.

    Raises
    ------
    InvalidInput : it doesn't; all that it finds, once.
    """
    found: dict[str, None] = {}
    for point in _edges(space):
        try:
            trainer.require_params({**params, **point})
        except InvalidInput as error:
            found.update(dict.fromkeys(str(error).split("; ")))
    # the first finding of each point begins with the trainer's name
    told = {text.partition(": ")[2] if text.startswith("trainer ") else text: None for text in found}
    if told:
        raise InvalidInput("search: " + "; ".join(told))


def corners(space: Sequence[Dimension]) -> list[Point]:
    """Points at which what a trial takes may be most: every listed value with both ends of each range, the greatest
    first. Where there are more than `MOST_CORNERS`, both ends of all ranges with each listed value by itself.
    """
    ends = [one.values if one.scale is Scale.ONE_OF else one.values[::-1] for one in space]
    names = [one.name for one in space]
    if math.prod(map(len, ends)) <= MOST_CORNERS:
        return [dict(zip(names, point, strict=True)) for point in product(*ends)]
    found: list[Point] = []
    for place, values in enumerate(ends):
        for of_others in (0, -1):
            point = {name: other[of_others] for name, other in zip(names, ends, strict=True)}
            found += [{**point, names[place]: value} for value in values]
    return found


def _edges(space: Sequence[Dimension]) -> list[Point]:
    """Points that have between them both ends of each range, and every listed value."""
    longest = max(len(dimension.values) for dimension in space)
    return [
        {dimension.name: dimension.values[min(place, len(dimension.values) - 1)] for dimension in space}
        for place in range(longest)
    ]
