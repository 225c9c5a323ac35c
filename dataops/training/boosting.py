"""Gradient boosting: rounds on quantised rows that stay where they are, and trainer ``xgboost``.

1. Each unit goes from its part into its worker's quantised matrix: no row reaches the driver. Units without rows are
   left out, since XGBoost fails on them (dmlc/xgboost#9795). Parts that nobody else needs are released then.
2. Parameters are a closed list, for each task its own; method (``hist``) and the objective for classes are ours.
3. Runs of units are given to workers in the order of ranks, because a library's sums depend on which rank holds which
   rows: the same shape of cluster gives the same bytes, another shape the same figures within noise.
4. What it will need of memory is known before a row is read, and refused where there isn't as much.
5. Rounds are trained a few at a time, and the model so far is kept by the driver. Libraries can't go on after a lost
   worker: the ranks are made anew on the workers that are there, and go on from the model that was kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dataops.declarations.metrics import Task
from dataops.features.encoder import Encoder
from dataops.models.predictor import BOOSTED
from dataops.training.boosting_library import SHARED, Library, of_numbers, signs
from dataops.training.boosting_ranks import Advance, Batch, Order, Seat, batches
from dataops.training.boosting_room import Room, Table
from dataops.training.boosting_rounds import boost
from dataops.training.parts import EncodedPart, PartsOnCluster
from dataops.training.trainers import Parameter, number, whole

if TYPE_CHECKING:
    from distributed import Client
    from distributed.scheduler import Scheduler

# A default of None leaves XGBoost's own. Bounds: https://xgboost.readthedocs.io/en/stable/parameter.html
PARAMETERS = {
    **SHARED,
    "max_depth": Parameter(default=None, parse=whole(1, 64)),
    "max_leaves": Parameter(default=None, parse=whole(0, 1_000_000)),
    "learning_rate": Parameter(default=None, parse=number(0, 1, above=True)),
    "min_child_weight": Parameter(default=None, parse=number(0, 1e12)),
    "subsample": Parameter(default=None, parse=number(0, 1, above=True)),
    "colsample_bytree": Parameter(default=None, parse=number(0, 1, above=True)),
    "colsample_bylevel": Parameter(default=None, parse=number(0, 1, above=True)),
    "colsample_bynode": Parameter(default=None, parse=number(0, 1, above=True)),
    "reg_lambda": Parameter(default=None, parse=number(0, 1e12)),
    "reg_alpha": Parameter(default=None, parse=number(0, 1e12)),
    "gamma": Parameter(default=None, parse=number(0, 1e12)),
    "max_delta_step": Parameter(default=None, parse=number(0, 1e6)),
    "max_bin": Parameter(default=256, parse=whole(2, 65_536)),
}


_OBJECTIVES = {
    None: "binary:logistic",
    "squared_error": "reg:squarederror",
    "poisson": "count:poisson",
    "absolute_error": "reg:absoluteerror",
}


class BoostingTrainer:
    """Trainer ``xgboost``: what all boosting takes (`boosting_library.SHARED`) and XGBoost's own in `PARAMETERS`.

    Of a regression the parameter `objective`, and nothing about classes.
    """

    holds_out: ClassVar[bool] = True
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.REGRESSION})

    def __init__(self, task: Task = Task.BINARY) -> None:
        self._library = LIBRARIES[task]

    def for_task(self, task: Task) -> BoostingTrainer:
        """The trainer of models of `task`."""
        return BoostingTrainer(task)

    def require_params(self, params: Mapping[str, Any]) -> None:
        """Nothing, or InvalidInput with every finding."""
        self._library.parse(params)

    def require_room(
        self,
        client: Client,
        rows: Sequence[int],
        encoder: Encoder,
        params: Mapping[str, Any],
        *,
        weighted: bool,
        shared: bool,
        copied: bool = False,
    ) -> str:
        """See `boosting_room.NeedsRoom`."""
        values = self._library.parse(params)
        how = {"weighted": weighted, "shared": shared, "copied": copied}
        return self._library.require_room(client, rows, encoder, values, **how)

    def fit(self, parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> tuple[str, bytes]:
        """The format ``xgboost-ubj/1`` and the model's bytes."""
        return BOOSTED, fit_xgboost(parts, params, seed)


def fit_xgboost(parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> bytes:
    """The trained booster as UBJ.

    Raises
    ------
    InvalidInput : wrong parameters, or rows that can't be trained on.
    Compute : it doesn't fit in memory, training failed, or workers were lost again and again.
    """
    return boost(LIBRARIES[parts.task], parts, params, seed)


class XgboostRank:
    """A share of the rows in XGBoost; see `boosting_ranks.Rank`."""

    library: ClassVar[str] = "xgboost"

    def __init__(self, seat: Seat, order: Order, parts: Sequence[EncodedPart]) -> None:
        import xgboost

        self._alone, self._rank, self._order = seat.ranks == 1, seat.rank, order
        if not self._alone:
            task = f"[dataops-{seat.rank:06d}]"  # the tracker gives ranks in the order of these
            xgboost.collective.init(**seat.meeting, DMLC_TASK_ID=task)
        self._matrices, self._names = [_quantised(parts, order, seat)], ["train"]
        if order.held_out:
            self._matrices.append(_quantised(parts, order, seat, ref=self._matrices[0]))
            self._names.append("held_out")
        given = {"model_file": bytearray(order.saved)} if order.saved else {}
        params = {**order.params, "eval_metric": order.metric, "nthread": seat.threads}
        self._booster = xgboost.Booster(params, self._matrices, **given)
        self._done = self._booster.num_boosted_rounds() if order.saved else 0

    def advance(self, rounds: int, *, save: bool) -> Advance:
        """`rounds` more."""
        held_out = []
        for _ in range(rounds):
            self._booster.update(self._matrices[0], self._done)
            self._done += 1
            if self._order.held_out:
                held_out.append(self._loss(1))
        mine = self._rank == 0  # losses are those of all ranks together
        return Advance(
            rounds=rounds,
            held_out=tuple(held_out),
            loss=None if self._order.held_out else self._loss(0),
            weights=(float(mine), float(mine)),
            model=bytes(self._booster.save_raw("ubj")) if save and mine else None,
        )

    def _loss(self, place: int) -> float:
        told = self._booster.eval_set([(self._matrices[place], self._names[place])])
        return float(told.rpartition(":")[2])

    def close(self) -> None:
        """Leave the other ranks, and let the matrices go."""
        import xgboost

        self._matrices.clear()
        del self._booster
        if not self._alone:
            xgboost.collective.finalize()


def _quantised(parts: Sequence[EncodedPart], order: Order, seat: Seat, *, ref: Any = None) -> Any:
    """The matrix of the rows to train on, or, in the bins of `ref`, of those held out.

    It is made by all ranks, also by one that has no such rows. Nothing of it keeps the parts.
    """
    import xgboost

    settings = {"max_bin": order.params["max_bin"], "nthread": seat.threads, "ref": ref}
    held_out = ref is not None
    if next(batches(parts, order, held_out=held_out), None) is None:
        return xgboost.QuantileDMatrix(np.empty((0, ref.num_col()), np.float32), **settings)
    rows = _iterator()(lambda: batches(parts, order, held_out=held_out))
    try:
        return xgboost.QuantileDMatrix(rows, **settings)
    finally:
        rows.begin = None


@lru_cache(maxsize=1)
def _iterator() -> Any:
    """XGBoost's iterator over batches; `begin` gives them anew."""
    import xgboost

    class Rows(xgboost.DataIter):
        def __init__(self, begin: Callable[[], Iterator[Batch]]) -> None:
            self.begin: Callable[[], Iterator[Batch]] | None = begin
            self._left = begin()
            super().__init__(release_data=True)

        def reset(self) -> None:
            self._left = self.begin() if self.begin else iter(())

        def next(self, take: Any) -> bool:
            batch = next(self._left, None)
            if batch is None:
                return False
            take(data=batch.values, label=batch.target, weight=batch.weight)
            return True

    return Rows


def _params(values: Mapping[str, Any], encoder: Encoder, seed: int) -> dict[str, Any]:
    """XGBoost's parameters."""
    given = {name: values[name] for name in PARAMETERS if name not in SHARED and values[name] is not None}
    if values["monotone_constraints"]:
        found = signs("xgboost", values["monotone_constraints"], encoder)
        given["monotone_constraints"] = f"({','.join(map(str, found))})"
    ours = {"objective": _OBJECTIVES[values.get("objective")], "tree_method": "hist", "verbosity": 0}
    # chance by round: what is drawn doesn't depend on how many rounds are trained at a time
    return {**given, **ours, "seed": seed, "seed_per_iteration": True}


def _cut(model: bytes, rounds: int) -> bytes:
    import xgboost

    return bytes(xgboost.Booster(model_file=bytearray(model))[:rounds].save_raw("ubj"))


def _room(table: Table) -> Room:
    """What XGBoost's ``hist`` keeps of dense rows: see ADR 0029."""
    bins, bits = table.columns * table.bin_bytes, table.columns / 8
    # bins by row and by column, a bit for each that could be missing, where a row begins, target, weight
    held = 2 * bins + bits + 8 + 4 + 4 * table.weighted
    # gradients, prediction, the row's place in the tree and room to part the rows by it
    return Room(making=held, held=held, rounds=8 + 4 + 8 + 16 + 4, fixed=32 * 2**20)


def _meet(client: Client, workers: Sequence[str]) -> list[dict[str, Any]]:
    """XGBoost's tracker, on the scheduler, and what it tells the ranks; nothing where there is one rank."""
    if len(workers) == 1:
        return [{}]
    return [client.run_on_scheduler(_start_tracker, len(workers))] * len(workers)


def _start_tracker(ranks: int, dask_scheduler: Scheduler) -> dict[str, Any]:
    from distributed.comm import get_address_host
    from xgboost.tracker import RabitTracker

    tracker = RabitTracker(n_workers=ranks, host_ip=get_address_host(dask_scheduler.address), sortby="task")
    tracker.start()
    threading.Thread(target=tracker.wait_for, daemon=True).start()
    return dict(tracker.worker_args())


XGBOOST = Library(
    name="xgboost",
    parameters=PARAMETERS,
    params=_params,
    rank=XgboostRank,
    meet=_meet,
    metric={None: "logloss"},
    cut=_cut,
    room=_room,
)
LIBRARIES = {
    Task.BINARY: XGBOOST,
    Task.REGRESSION: replace(
        XGBOOST,
        parameters=of_numbers(PARAMETERS),
        metric={"squared_error": "rmse", "poisson": "poisson-nloglik", "absolute_error": "mae"},
    ),
}
