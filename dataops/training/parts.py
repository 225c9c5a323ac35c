"""Encoded units in worker memory, and the one way that trainers and evaluation run over them.

1. Each unit's part is the future of a pure task, so that a lost worker costs its recomputation and nothing else.
2. A task takes the parts that lie on one worker, as many tasks as that worker has threads: rows never travel.
3. Results come back in unit order, one for each unit, or merged on the workers where merging is exact: nothing
   depends on the number of workers or on where a part lies.
4. What is learnt or told of parts is made by the run's code alone: each task carries which that is (`submit`), for a
   worker may join long after the run had looked, and one with other code refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from dataops.declarations.metrics import Task
from dataops.engine.code import code_identity, require_code
from dataops.engine.memory import give_back
from dataops.errors import InvalidInput
from dataops.features.columns import aligned
from dataops.features.encoder import Encoded, Encoder
from dataops.records import new_nonce
from dataops.training.failures import cluster_failures, told_failure
from dataops.training.fitting import Fitting
from dataops.training.groups import Groups, Ranks

if TYPE_CHECKING:
    from distributed import Client, Future

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
Result = TypeVar("Result")
SliceValues: TypeAlias = pa.Array | np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedPart:
    """One unit, encoded.

    Parameters
    ----------
    encoded : its features, n_rows rows.
    target : float32 (n_rows,), 0 or 1, of a regression any finite number.
    weight : float32 (n_rows,), finite and not negative; None weighs each row 1.
    slices : per column that evaluation reports by, n_rows strings in an Arrow or NumPy array; null is a value.
    groups : uint8 (n_rows,), see `dataops.training.groups.row_groups`; None where nobody judges by them.
    ranks : uint32 (n_rows,), see `dataops.training.groups.row_ranks`; None where nobody takes a sample by them.
    """

    encoded: Encoded
    target: FloatArray
    weight: FloatArray | None = None
    slices: Mapping[str, SliceValues] = field(default_factory=dict)
    groups: Groups | None = None
    ranks: Ranks | None = None

    def __post_init__(self) -> None:
        lengths = {"encoded": self.encoded.rows}
        lengths |= {} if self.weight is None else {"weight": len(self.weight)}
        lengths |= {} if self.groups is None else {"groups": len(self.groups)}
        lengths |= {} if self.ranks is None else {"ranks": len(self.ranks)}
        lengths |= {f"slice {name}": len(values) for name, values in self.slices.items()}
        wrong = {name: n for name, n in lengths.items() if n != self.rows}
        if wrong:
            raise InvalidInput(f"a part of {self.rows} targets holds arrays of other lengths: {wrong}")

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.target)

    def __reduce__(self) -> tuple[Callable[..., EncodedPart], tuple[Any, ...]]:
        by_row = (self.target, self.weight, self.groups, self.ranks)
        return _received, (self.encoded, dict(self.slices), *by_row)

    def __sizeof__(self) -> int:
        # Dask weighs results by this: without it a part would count as some 100 bytes and be moved about freely
        arrays = [self.encoded.values, self.target, self.weight, self.groups, self.ranks, *self.slices.values()]
        return 256 + sum(array.nbytes for array in arrays if array is not None)


def _received(encoded: Encoded, slices: Mapping[str, SliceValues], *by_row: Any) -> EncodedPart:
    """A part that another process sent, or that lay on a disk."""
    target, weight, groups, ranks = map(aligned, by_row)
    return EncodedPart(encoded=encoded, target=target, weight=weight, slices=slices, groups=groups, ranks=ranks)


class Stored(Protocol):
    """A part that isn't in memory."""

    def load(self) -> EncodedPart:
        """The part, in memory."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartsOnCluster:
    """The units of one training or evaluation set, in worker memory or on workers' disks.

    Parameters
    ----------
    client : the cluster's client.
    futures : each resolves to an `EncodedPart`, or to a `Stored` one; in unit order; pure tasks.
    rows : rows of each part.
    encoder : what made the parts.
    fitting : what the run that they were made for offers to the trainer that takes them.
    task : what their targets are.
    """

    client: Client
    futures: tuple[Future[Any], ...]
    rows: tuple[int, ...]
    encoder: Encoder
    fitting: Fitting = field(default_factory=Fitting)
    task: Task = Task.BINARY

    def __post_init__(self) -> None:
        if len(self.futures) != len(self.rows):
            raise InvalidInput(f"{len(self.futures)} parts, but row counts of {len(self.rows)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What one task takes: units, in their order, and the worker that holds them, if one does."""

    worker: str | None
    units: tuple[int, ...]


def map_parts(
    parts: PartsOnCluster, function: Callable[[EncodedPart, Any], Result], argument: object = None
) -> list[Result]:
    """``function(part, argument)`` of every part, in unit order.

    Raises
    ------
    Compute : a task failed with an error that isn't ours.
    """
    groups = plan_groups(parts)
    by_unit: dict[int, Result] = {}
    for group, results in zip(groups, _run(parts, groups, partial(_each, function), argument), strict=True):
        by_unit.update(zip(group.units, results, strict=True))
    return [by_unit[unit] for unit in range(len(parts.futures))]


def merge_parts(
    parts: PartsOnCluster,
    function: Callable[[EncodedPart, Any], Result],
    merge: Callable[[Sequence[Result]], Result],
    argument: object = None,
) -> Result:
    """The merged ``function(part, argument)`` of every part; `merge` must be exact, since it merges where parts lie.

    Raises
    ------
    Compute : a task failed with an error that isn't ours.
    """
    return merge(_run(parts, plan_groups(parts), partial(_merged, function, merge), argument))


def map_groups(
    parts: PartsOnCluster,
    groups: Sequence[Group],
    function: Callable[[Iterable[EncodedPart], Any], Result],
    argument: object = None,
) -> list[Result]:
    """``function(parts of the group, argument)`` of each of `groups`, as `plan_groups` made them: planned once, they
    serve many passes, also when a worker is lost meanwhile. The parts come one at a time, and can be gone over once.

    Raises
    ------
    Compute : a task failed with an error that isn't ours.
    """
    return _run(parts, groups, function, argument)


def sample_parts(parts: PartsOnCluster, stride: int) -> PartsOnCluster:
    """One row of each `stride` of each part, without slices and groups; each stays where its part lies."""
    name = f"sample-{new_nonce()}"
    futures = [
        submit(parts.client, _sample, future, stride, key=f"{name}-{unit}") for unit, future in enumerate(parts.futures)
    ]
    rows = tuple(rows // stride for rows in parts.rows)
    return PartsOnCluster(
        client=parts.client, futures=tuple(futures), rows=rows, encoder=parts.encoder, task=parts.task
    )


def cut_evenly(rows: Sequence[int], n: int) -> list[range]:
    """At most `n` runs of units, none empty, with about as many rows each; the same for the same rows."""
    total, cuts, seen = max(sum(rows), 1), [0], 0
    for unit, count in enumerate(rows):
        # a unit belongs to the run in which its middle row falls
        if unit > cuts[-1] and (seen + count / 2) * n / total >= len(cuts) and len(cuts) < n:
            cuts.append(unit)
        seen += count
    return [range(start, stop) for start, stop in zip(cuts, [*cuts[1:], len(rows)], strict=True) if stop > start]


def place_units(rows: Sequence[int], workers: Sequence[str]) -> dict[int, str]:
    """The worker of each unit that has rows: evenly by rows, each worker a run of units, in the order of `workers`."""
    units = [unit for unit, count in enumerate(rows) if count]
    runs = cut_evenly([rows[unit] for unit in units], len(workers))
    return {units[position]: worker for worker, run in zip(workers, runs, strict=False) for position in run}


def plan_groups(parts: PartsOnCluster) -> list[Group]:
    """The tasks of a pass: parts held by one worker, cut for its threads; an unplaced part goes alone."""
    from distributed import wait

    # wait() asks for the current client
    with cluster_failures("waiting for encoded rows"), parts.client.as_current():
        wait(list(parts.futures))
        holders = parts.client.who_has(parts.futures)
        threads = parts.client.nthreads()
    held: dict[str, list[int]] = {}
    groups = []
    for unit, future in enumerate(parts.futures):
        workers = [worker for worker in holders.get(future.key, ()) if worker in threads]
        if workers:
            held.setdefault(min(workers), []).append(unit)
        else:
            groups.append(Group(worker=None, units=(unit,)))
    for worker, units in held.items():
        for run in cut_evenly([parts.rows[unit] for unit in units], threads[worker]):
            groups.append(Group(worker=worker, units=tuple(units[position] for position in run)))  # noqa: PERF401
    return groups


def _run(
    parts: PartsOnCluster,
    groups: Sequence[Group],
    function: Callable[[Iterable[EncodedPart], Any], Any],
    argument: object,
) -> list[Any]:
    """``function(parts, argument)`` of each group."""
    what = _name_of(function)
    name = f"{what}-{new_nonce()}"
    # The argument (coefficients, a model) travels as a task of its own: once, and again if its worker is lost.
    # As a scattered value it would be gone with the worker.
    given = parts.client.submit(as_is, argument, key=f"argument-{name}", pure=False)
    tasks = [
        submit(
            parts.client,
            _over,
            function,
            [parts.futures[unit] for unit in group.units],
            given,
            key=f"{name}-{number}",
            workers=None if group.worker is None else [group.worker],
            allow_other_workers=group.worker is not None,
        )
        for number, group in enumerate(groups)
    ]
    return gather(parts.client, tasks, what=what)


def submit(client: Client, function: Callable[..., Any], *given: Any, key: str, **where: Any) -> Future[Any]:
    """The future of ``function(*given)``, which raises Compute on a worker that runs other code than this process.

    Parameters
    ----------
    where : Dask's ``workers`` and ``allow_other_workers``.
    """
    return client.submit(_by_same_code, code_identity(), function, *given, key=key, pure=False, **where)


def _by_same_code(code: Mapping[str, str], function: Callable[..., Result], *given: Any) -> Result:
    require_code(code)
    try:
        return function(*given)
    finally:
        give_back()  # else it would add to the rows that lie here


def _name_of(function: Any) -> str:
    """What a task is called: the name of what is done with each part."""
    inner = function.args[0] if isinstance(function, partial) else function
    return str(inner.__name__).strip("_")


def gather(client: Client, futures: Sequence[Future[Any]], *, what: str) -> list[Any]:
    """The results of `futures`.

    Raises
    ------
    DataopsError : as a task raised it.
    Compute : any other error, by its type alone: its text could hold a row's value.
    """
    with cluster_failures(what):
        try:
            return list(client.gather(list(futures)))
        except Exception as error:  # noqa: BLE001 - whatever a task raised crosses as one family
            raise told_failure(error, what=what) from None


def as_is(value: object) -> object:
    """`value`: a task that gives it is done again where its worker is lost, which a scattered value isn't."""
    return value


def held(part: EncodedPart | Stored) -> EncodedPart:
    """`part`, in memory."""
    return part if isinstance(part, EncodedPart) else part.load()


def _over(
    function: Callable[[Iterable[EncodedPart], Any], Result],
    group: Sequence[EncodedPart | Stored],
    argument: object,
) -> Result:
    return function((held(part) for part in group), argument)


def _sample(given: EncodedPart | Stored, stride: int) -> EncodedPart:
    part = held(given)
    # one of each run of rows, at no fixed place in it: rows may lie in an order that repeats
    strata = part.rows // stride
    chosen = np.arange(strata) * stride + np.random.default_rng(stride).integers(0, stride, strata)
    return EncodedPart(
        encoded=part.encoded.of_rows(chosen),
        target=part.target[chosen],
        weight=None if part.weight is None else part.weight[chosen],
    )


def _each(
    function: Callable[[EncodedPart, Any], Result], group: Iterable[EncodedPart], argument: object
) -> list[Result]:
    return [function(part, argument) for part in group]


def _merged(
    function: Callable[[EncodedPart, Any], Result],
    merge: Callable[[Sequence[Result]], Result],
    group: Iterable[EncodedPart],
    argument: object,
) -> Result:
    return merge(_each(function, group, argument))
