"""The rows of a boosting fit: which are held out, how much they weigh, and which worker has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dataops.declarations.metrics import Task
from dataops.engine.workers import known_workers
from dataops.errors import InvalidInput
from dataops.training.boosting_ranks import HeldOut
from dataops.training.parts import EncodedPart, PartsOnCluster, map_parts, place_units

if TYPE_CHECKING:
    from distributed import Client

Sums = npt.NDArray[np.float64]


def _sums_of(part: EncodedPart, argument: tuple[HeldOut, Task]) -> Sums:
    """Float64 (2, 4), of rows to train on and of rows held out: negatives, positives, and the weights of both; of a
    regression all rows are told as positives.
    """
    (groups, task), sums = argument, np.zeros((2, 4))
    none = np.zeros(part.rows, np.bool_)
    for side, chosen in enumerate((groups.others(part), groups.rows(part)) if groups else (~none, none)):
        for value in (0, 1):
            rows = chosen & (part.target == value if task is Task.BINARY else value == 1)
            sums[side, value] = np.count_nonzero(rows)
            sums[side, 2 + value] = (
                sums[side, value] if part.weight is None else part.weight[rows].sum(dtype=np.float64)
            )
    return sums


def sums_by_unit(parts: PartsOnCluster, groups: HeldOut, name: str) -> Sums:
    """The sums of each unit, float64 (n_units, 2, 4); InvalidInput where one side can't be used."""
    by_unit = np.array(map_parts(parts, _sums_of, (groups, parts.task)))
    train, held_out = by_unit.sum(axis=0)
    rows, apart = train[:2].sum(), held_out[:2].sum()
    if not (train[2:] > 0).all() if parts.task is Task.BINARY else not train[2:].sum() > 0:
        raise InvalidInput(
            f"can't train: {name} holds {apart:.0f} rows out for early_stopping, and the other {rows:.0f} are "
            f"{'of one class only' if parts.task is Task.BINARY else 'of weight 0'}; give more rows, or "
            "leave early_stopping out"
        )
    if groups and not held_out[2:].sum() > 0:
        raise InvalidInput(
            f"can't train: of {rows:.0f} rows none of weight above 0 is held out for early_stopping; give more rows, a "
            "larger held_out, or leave early_stopping out"
        )
    return by_unit


def place_rows(sums: Sums, rows: Sequence[int], workers: Sequence[str]) -> dict[int, str]:
    """The worker of each unit that has rows: evenly by those to train on; units without any go to the first worker."""
    to_train = sums[:, 0, :2].sum(axis=1).astype(int).tolist()
    placed = place_units(to_train, workers)
    first = next(iter(placed.values()))
    left = {unit: first for unit, count in enumerate(rows) if count and unit not in placed}
    order = {worker: rank for rank, worker in enumerate(workers)}
    both = {**placed, **left}
    return {unit: both[unit] for unit in sorted(both, key=lambda unit: (order[both[unit]], unit))}


def workers_in_order(client: Client) -> list[str]:
    """Addresses in the order of ranks: by name, which a worker that is started again keeps, then by address."""
    workers = known_workers(client)
    return sorted(
        workers, key=lambda address: (len(str(workers[address]["name"])), str(workers[address]["name"]), address)
    )
