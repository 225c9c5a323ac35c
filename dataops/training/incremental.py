"""Trainer ``incremental``: an estimator that learns from a part of the rows after another, over all of them.

1. The model goes to the parts, in unit order, from worker to worker: rows stay where they are. So one worker learns at
   a time, and the result is the same for any number of workers, to the bit.
2. A step takes a copy of the model and is a pure task: what a lost worker had learnt is learnt again from what the
   driver kept last, and comes out the same.
3. Rows of a unit are taken in an order drawn from seed, epoch and unit. Rows of weight 0 teach nothing.
4. Products of matrices run on one thread, since their sums depend on how many there are.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dataops.declarations.metrics import Task
from dataops.models.predictor import SKLEARN
from dataops.models.skops_writing import to_bytes
from dataops.records import new_nonce
from dataops.training.fitting import Rounds
from dataops.training.linear_look import look_at, merge_looks
from dataops.training.parts import EncodedPart, PartsOnCluster, Stored, as_is, gather, held, map_parts, submit
from dataops.training.scaling import Spread, scale_rows, spread_of_parts
from dataops.training.sklearn_estimators import (
    BY_PARTS,
    CLASS_WEIGHT,
    ESTIMATOR,
    SCALE,
    diverged,
    parse_estimator,
    refused,
    require_writable,
)
from dataops.training.trainable import class_factors, merge_facts, raise_untrainable
from dataops.training.trainers import Parameter, whole

if TYPE_CHECKING:
    from distributed import Future

NAME = "incremental"
PARAMETERS = {"epochs": Parameter(default=5, parse=whole(1, 1000))}
BATCH_ROWS = 8192
STEPS_AT_A_TIME = 16
"""Units between two looks of the driver, which keeps the model that it sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """How rows are learnt from.

    Attributes
    ----------
    factors : what weights of rows of target 0 and of target 1 are multiplied by.
    spread : what is taken off the rows; None: nothing is.
    """

    seed: int
    factors: tuple[float, float]
    spread: Spread | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """A model so far.

    Attributes
    ----------
    losses, rows : the sum of log losses of rows that were looked at before they were learnt from, in this epoch.
    """

    model: Any
    losses: float = 0.0
    rows: int = 0

    @property
    def loss(self) -> float:
        """The mean of the losses; NaN of no rows."""
        return self.losses / self.rows if self.rows else float("nan")


class IncrementalTrainer:
    """Trainer ``incremental``.

    Parameters: `estimator`, one of `sklearn_estimators.BY_PARTS`, with that one's own; `epochs`, how often every row is
    learnt from; `class_weight` (``balanced``, or null); `scale`, whether columns are scaled in front of it.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    streams: ClassVar[bool] = True

    def require_params(self, params: Mapping[str, Any]) -> None:
        """Nothing, or InvalidInput with every finding; Compute where skops isn't installed."""
        require_writable(NAME, *parse_estimator(NAME, params, BY_PARTS, PARAMETERS))

    def fit(self, parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> tuple[str, bytes]:
        """The format ``sklearn-skops/1`` and the model's bytes."""
        return SKLEARN, to_bytes(fit_incremental(parts, params, seed))


def fit_incremental(parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> Any:
    """The fitted estimator, or a pipeline that ends with it.

    Raises
    ------
    InvalidInput : wrong parameters, or rows that can't be trained on.
    Compute : a task failed, or the fit left the range of numbers.
    """
    estimator, values = parse_estimator(NAME, params, BY_PARTS, PARAMETERS)
    by_class = _weights_by_class(parts)
    learning = Learning(
        seed=seed,
        factors=class_factors(by_class, balanced=bool(values[CLASS_WEIGHT])),
        spread=spread_of_parts(parts) if values[SCALE] else None,
    )
    learnt, started = Learnt(model=estimator.make(values, seed)), time.monotonic()
    losses: list[float | None] = []
    for epoch in range(values["epochs"]):
        learnt = _epoch(parts, learning, replace(learnt, losses=0.0, rows=0), epoch)
        losses.append(learnt.loss if learnt.rows >= parts.fitting.least else None)
        parts.fitting.rounds(
            Rounds(
                done=epoch + 1,
                of=values["epochs"],
                loss=losses[-1],
                held_out=False,
                seconds=time.monotonic() - started,
            )
        )
    parts.fitting.facts.update({ESTIMATOR: values[ESTIMATOR], "epochs": values["epochs"], "losses": losses})
    return piped(learnt.model, learning.spread)


def piped(model: Any, spread: Spread | None) -> Any:
    """`model` behind the scaler that its rows went through, if they did."""
    if spread is None:
        return model
    from sklearn.pipeline import Pipeline

    return Pipeline([("scale", spread.scaler()), ("model", model)])


def _weights_by_class(parts: PartsOnCluster) -> tuple[float, float]:
    """The weight of each class, if the rows can be trained on."""
    looks = map_parts(parts, look_at)
    raise_untrainable(merge_facts([look.facts for look in looks]), parts.encoder)
    return merge_looks(looks).by_class


def _epoch(parts: PartsOnCluster, learning: Learning, learnt: Learnt, epoch: int) -> Learnt:
    """What is learnt of every part, once, in unit order."""
    units = [unit for unit, rows in enumerate(parts.rows) if rows]
    for start in range(0, len(units), STEPS_AT_A_TIME):
        learnt = _steps(parts, learning, learnt, epoch, units[start : start + STEPS_AT_A_TIME])
    return learnt


def _steps(parts: PartsOnCluster, learning: Learning, learnt: Learnt, epoch: int, units: Sequence[int]) -> Learnt:
    """What is learnt of some units, each by a task that takes the model from the one before."""
    client, name = parts.client, f"learn-{new_nonce()}"
    # as tasks, not as scattered values: these would be gone with their worker
    how = client.submit(as_is, learning, key=f"how-{name}", pure=False)
    so_far: Future[Any] = client.submit(as_is, learnt, key=f"start-{name}", pure=False)
    threads = client.nthreads()
    holders = client.who_has([parts.futures[unit] for unit in units])
    for unit in units:
        where = sorted(worker for worker in holders.get(parts.futures[unit].key, ()) if worker in threads)
        so_far = submit(
            client,
            learn_part,
            so_far,
            parts.futures[unit],
            how,
            (epoch, unit),
            key=f"{name}-{unit}",
            workers=where or None,
            allow_other_workers=bool(where),
        )
    found: Learnt = gather(client, [so_far], what="learn")[0]
    return found


def learn_part(learnt: Learnt, part: EncodedPart | Stored, learning: Learning, place: tuple[int, int]) -> Learnt:
    """What is learnt of one part; `learnt` stays as it is.

    Parameters
    ----------
    place : the epoch and the unit.

    Raises
    ------
    Compute : the model left the range of numbers.
    """
    from threadpoolctl import threadpool_limits

    model, losses, rows = copy.deepcopy(learnt.model), learnt.losses, learnt.rows
    with threadpool_limits(limits=1), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for number, (values, target, weight) in enumerate(batches(held(part), learning, place)):
            if number == 0 and hasattr(model, "classes_"):
                losses, rows = losses + _log_loss(model, values, target), rows + len(target)
            _learn(model, values, target, weight)
    return Learnt(model=model, losses=losses, rows=rows)


def batches(
    part: EncodedPart, learning: Learning, place: tuple[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Values, targets and weights in float64, `BATCH_ROWS` rows at a time."""
    order = np.random.default_rng([learning.seed, *place]).permutation(part.rows)
    if part.weight is not None:
        order = order[part.weight[order] > 0]
    for start in range(0, len(order), BATCH_ROWS):
        rows = order[start : start + BATCH_ROWS]
        values = part.encoded.values[rows].astype(np.float64)
        if learning.spread is not None:
            scale_rows(values, learning.spread)
        target = part.target[rows].astype(np.float64)
        weight = np.where(target == 1, learning.factors[1], learning.factors[0])
        yield values, target, weight if part.weight is None else weight * part.weight[rows]


def _learn(model: Any, values: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
    if hasattr(model, "loss_curve_"):
        model.loss_curve_ = []  # of each batch: it would grow with the rows
    try:
        model.partial_fit(values, target, classes=np.array([0.0, 1.0]), sample_weight=weight)
    except ValueError as error:
        raise refused(NAME, error) from None
    coefficients = model.coefs_ if hasattr(model, "coefs_") else [model.coef_]
    if not all(np.isfinite(one).all() for one in coefficients):
        raise diverged(NAME)


def _log_loss(model: Any, values: np.ndarray, target: np.ndarray) -> float:
    chance = np.clip(model.predict_proba(values)[:, 1], 1e-15, 1 - 1e-15)
    return float(-np.log(np.where(target == 1, chance, 1 - chance)).sum())
