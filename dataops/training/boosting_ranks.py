"""The workers' side of boosting: each rank holds its share of the rows quantised and trains in step with the others.

1. All that a library does for a rank is done in one thread of its own: libraries keep who talks to whom by thread.
2. A rank is held by its worker's process under a name; a worker that dies takes its rank along.
3. Rows held out are never trained on: which they are depends on a row's group alone (`dataops.training.groups`).
4. Weights are scaled to a mean of 1 over the rows trained on, since what regularises counts in rows.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from dataops.engine.memory import give_back
from dataops.training.groups import Groups, row_groups
from dataops.training.parts import EncodedPart, FloatArray

if TYPE_CHECKING:
    from distributed import Worker

OUTPUT = (1, 2)
_BY_PLACE = "by place in the part"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Which groups of rows aren't learnt from.

    Attributes
    ----------
    count : how many the loss is told on.
    before : the first of all, which aren't looked at either: a search judges its trials on them.
    """

    count: int = 0
    before: int = 0

    def __bool__(self) -> bool:
        return bool(self.count)

    def rows(self, part: EncodedPart) -> npt.NDArray[np.bool_]:
        """Those that the loss is told on, (n_rows,)."""
        return self.others(part) ^ (groups_of(part) >= self.before)

    def others(self, part: EncodedPart) -> npt.NDArray[np.bool_]:
        """Those that are learnt from, (n_rows,)."""
        return groups_of(part) >= self.before + self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What every rank is told.

    Parameters
    ----------
    params : the library's own.
    metric : the library's name of the loss that is reported.
    held_out : which groups of rows are held out.
    class_weights : what the weights of negative and positive rows are multiplied with; None leaves rows unweighted.
    saved : the model to go on from; None begins anew.
    """

    params: Mapping[str, Any]
    metric: str
    held_out: HeldOut
    class_weights: tuple[float, float] | None
    saved: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One rank's place: the name that it is held under, its number, threads, and how it finds the others."""

    name: str
    rank: int
    ranks: int
    threads: int
    meeting: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What some rounds came to on one rank.

    Attributes
    ----------
    rounds : how many were trained; fewer than asked for where no tree gains anything any more.
    held_out : the mean loss on its rows held out, after each of the rounds; () where none are.
    loss : the mean loss on its other rows after the last one; None where rows are held out.
    weights : what the two count among the ranks': the sums of weights that they are means over.
    model : the library's bytes, of rank 0 where asked for.
    """

    rounds: int
    held_out: tuple[float, ...]
    loss: float | None
    weights: tuple[float, float]
    model: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Rows as a library takes them, float32: values (n_rows, n_columns), targets and weights (n_rows,)."""

    values: FloatArray
    target: FloatArray
    weight: FloatArray | None

    @property
    def weights(self) -> float:
        """The sum of weights."""
        return float(len(self.target)) if self.weight is None else float(self.weight.sum(dtype=np.float64))


class Rank(Protocol):
    """A library's share of the work on one worker; made, used and closed in one thread.

    Attributes
    ----------
    library : the module that it is imported from.
    """

    library: ClassVar[str]

    def __init__(self, seat: Seat, order: Order, parts: Sequence[EncodedPart]) -> None: ...

    def advance(self, rounds: int, *, save: bool) -> Advance:
        """Train `rounds` more, with the other ranks."""

    def close(self) -> None:
        """Leave the other ranks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    rank: Rank
    thread: ThreadPoolExecutor


_held: dict[str, _Held] = {}


def held_out_rows(part: EncodedPart, groups: int) -> npt.NDArray[np.bool_]:
    """Which rows are held out, (n_rows,): those of the first `groups` groups."""
    return groups_of(part) < groups


def groups_of(part: EncodedPart) -> Groups:
    """The group of each row, uint8 (n_rows,); where nobody told it, one by the row's place in the part."""
    return row_groups(_BY_PLACE, np.arange(part.rows)) if part.groups is None else part.groups


def batches(parts: Sequence[EncodedPart], order: Order, *, held_out: bool) -> Iterator[Batch]:
    """The rows that are (or aren't) held out, a batch a part; none without rows."""
    for part in parts:
        batch = batch_of(part, order, held_out=held_out)
        if batch is not None:
            yield batch


def batch_of(part: EncodedPart, order: Order, *, held_out: bool) -> Batch | None:
    """The rows of one part that are (or aren't) held out; None where there are none."""
    values, target, weight = part.encoded.values, part.target, _weights(part, order)
    if order.held_out:
        chosen = order.held_out.rows(part) if held_out else order.held_out.others(part)
        values, target = values[chosen], target[chosen]
        weight = None if weight is None else weight[chosen]
    elif held_out:
        return None
    return Batch(values=values, target=target, weight=weight) if len(target) else None


def _weights(part: EncodedPart, order: Order) -> FloatArray | None:
    if order.class_weights is None:
        return None
    negative, positive = order.class_weights
    factors = np.where(part.target == 1, positive, negative)
    weights: FloatArray = (factors if part.weight is None else part.weight * factors).astype(np.float32)
    return weights


def start_rank(kind: type[Rank], seat: Seat, order: Order, parts: Sequence[EncodedPart]) -> None:
    """Make a rank of `parts` and hold it."""
    import_module(kind.library)  # not in the rank's thread: XGBoost prints what it logs in the one that imports it
    give_back()  # what reading took
    thread = ThreadPoolExecutor(1, thread_name_prefix=seat.name)
    rank = thread.submit(kind, seat, order, parts).result()
    _held[seat.name] = _Held(rank=rank, thread=thread)


async def advance_rank(names: Mapping[str, str], rounds: int, *, save: bool, dask_worker: Worker) -> Advance:
    """What the rank that this worker holds came to; `names` are those of ranks, by their worker's address."""
    held = _held[names[dask_worker.address]]
    return await asyncio.wrap_future(held.thread.submit(held.rank.advance, rounds, save=save))


def holds_any(keys: AbstractSet[str], dask_worker: Worker) -> bool:
    """Whether this worker holds any of these results."""
    return any(key in dask_worker.data for key in keys)


async def end_rank(names: Mapping[str, str], dask_worker: Worker) -> None:
    """Close the rank that this worker holds, if it does; what it may be busy with isn't waited for."""
    held = _held.pop(names[dask_worker.address], None)
    if held is not None:
        held.thread.submit(held.rank.close)
        held.thread.shutdown(wait=False)


def turn_output_away() -> list[int]:
    """Copies of stdout and stderr, which lead nowhere from now on."""
    kept = [os.dup(stream) for stream in OUTPUT]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in OUTPUT:
        os.dup2(nowhere, stream)
    os.close(nowhere)
    return kept


def turn_output_back(kept: Mapping[str, Sequence[int]], dask_worker: Worker) -> None:
    """Stdout and stderr lead where they did."""
    for stream, copy in zip(OUTPUT, kept[dask_worker.address], strict=True):
        os.dup2(copy, stream)
        os.close(copy)
