"""Gradient boosting: XGBoost's own Dask training on quantised matrices.

1. Each unit's matrix is made beside its part and goes from there into its worker's quantised matrix: no row reaches
   the driver. Units without rows are left out, since XGBoost fails on them (dmlc/xgboost#9795).
2. Parameters are a closed list; objective (``binary:logistic``) and method (``hist``) are ours.
3. Runs of units are given to workers in the order of XGBoost's ranks, because its sums depend on which rank holds
   which rows: the same shape of cluster gives the same bytes, another shape the same figures within noise.
4. XGBoost can't go on after a lost worker: training then starts again on the workers that are there, `ATTEMPTS` times.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dataops.errors import Compute, DataopsError, InvalidInput, near_match
from dataops.features.encoder import Encoder
from dataops.models.predictor import BOOSTED
from dataops.training.parts import EncodedPart, FloatArray, PartsOnCluster, place_units
from dataops.training.trainable import require_trainable
from dataops.training.trainers import Parameter, number, parse_params, whole

if TYPE_CHECKING:
    from dask.array import Array
    from distributed import Client, Worker

ATTEMPTS = 3
WORKER_TIMEOUT_SECONDS = 120
STDERR = 2

_log = logging.getLogger(__name__)


def _directions(value: Any) -> dict[str, int]:
    right = isinstance(value, Mapping) and all(isinstance(sign, int) and sign in {-1, 0, 1} for sign in value.values())
    if not right:
        raise ValueError("a mapping of numeric features to -1, 0 or 1")
    return {str(name): int(sign) for name, sign in value.items()}


# A default of None leaves XGBoost's own. Bounds: https://xgboost.readthedocs.io/en/stable/parameter.html
PARAMETERS = {
    "rounds": Parameter(default=200, parse=whole(1, 100_000)),
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
    "scale_pos_weight": Parameter(default=None, parse=number(0, 1e12, above=True)),
    "monotone_constraints": Parameter(default=None, parse=_directions),
}


class BoostingTrainer:
    """Trainer ``xgboost``: `rounds` and the parameters of XGBoost in `PARAMETERS`."""

    def require_params(self, params: Mapping[str, Any]) -> None:
        """Nothing, or InvalidInput with every finding."""
        parse_params("xgboost", params, PARAMETERS)

    def fit(self, parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> tuple[str, bytes]:
        """The format ``xgboost-ubj/1`` and the model's bytes."""
        return BOOSTED, fit_xgboost(parts, params, seed)


def fit_xgboost(parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> bytes:
    """The trained booster as UBJ.

    Raises
    ------
    InvalidInput : wrong parameters, or rows that can't be trained on.
    Compute : training failed, or lost workers `ATTEMPTS` times.
    """
    values = parse_params("xgboost", params, PARAMETERS)
    rounds, booster_params = values["rounds"], _booster_params(values, parts.encoder, seed)
    facts = require_trainable(parts)
    for attempt in range(1, ATTEMPTS + 1):
        workers = set(parts.client.nthreads())
        try:
            return _train(parts, booster_params, rounds, weighted=facts.weighted)
        except DataopsError:
            raise
        except Exception as error:  # noqa: BLE001 - Dask, XGBoost and sockets each have their own when a worker goes
            lost = _lost(parts.client, workers)
            if not lost:
                raise Compute(f"xgboost failed with {type(error).__name__}; the workers' logs say where") from None
            _log.warning("xgboost: %d workers lost in attempt %d of %d", len(lost), attempt, ATTEMPTS)
    raise Compute(f"xgboost lost workers in each of {ATTEMPTS} attempts; look at the workers' memory limit and logs")


def _booster_params(values: Mapping[str, Any], encoder: Encoder, seed: int) -> dict[str, Any]:
    params = {name: value for name, value in values.items() if value is not None and name != "rounds"}
    if "monotone_constraints" in params:
        params["monotone_constraints"] = _signs(params["monotone_constraints"], encoder)
    return {**params, "objective": "binary:logistic", "tree_method": "hist", "seed": seed, "verbosity": 0}


def _signs(directions: Mapping[str, int], encoder: Encoder) -> str:
    """XGBoost's list of signs, by matrix column. A category's codes have no order that a sign could follow."""
    numeric = [column.name for column in encoder.numeric]
    findings = [
        f"'{name}' is no numeric feature.{near_match(name, numeric)}" for name in directions if name not in numeric
    ]
    if findings:
        raise InvalidInput("trainer xgboost: monotone_constraints: " + " ".join(findings))
    signs = [directions.get(name, 0) for name in numeric] + [0] * len(encoder.categorical)
    return f"({','.join(map(str, signs))})"


def _train(parts: PartsOnCluster, params: Mapping[str, Any], rounds: int, *, weighted: bool) -> bytes:
    from xgboost import dask as xgboost_dask

    parts.client.wait_for_workers(1, timeout=WORKER_TIMEOUT_SECONDS)
    placed = place_units(parts.rows, _workers_by_rank(parts.client))
    columns = len(parts.encoder.numeric) + len(parts.encoder.categorical)
    with parts.client.as_current():  # XGBoost asks for the current client, even when it is given one
        data = xgboost_dask.DaskQuantileDMatrix(
            parts.client,
            _chunks(parts, placed, _matrix, (columns,)),
            _chunks(parts, placed, _target, ()),
            weight=_chunks(parts, placed, _weight, ()) if weighted else None,
            max_bin=params["max_bin"],
        )
        with _hushed(parts.client):
            trained = xgboost_dask.train(parts.client, dict(params), data, num_boost_round=rounds)
    return bytes(trained["booster"].save_raw("ubj"))


@contextmanager
def _hushed(client: Client) -> Iterator[None]:
    """Workers that write nothing to stderr: XGBoost's native code says who got which rank, whatever its verbosity."""
    kept = client.run(_turn_stderr_away)
    try:
        yield
    finally:
        there = [worker for worker in client.nthreads() if worker in kept]  # a dead one would be waited for, 30 s
        client.run(_turn_stderr_back, kept, workers=there, on_error="ignore")


def _turn_stderr_away() -> int:
    kept = os.dup(STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    os.close(nowhere)
    return kept


def _turn_stderr_back(kept: Mapping[str, int], dask_worker: Worker) -> None:
    os.dup2(kept[dask_worker.address], STDERR)
    os.close(kept[dask_worker.address])


def _chunks(
    parts: PartsOnCluster,
    placed: Mapping[int, str],
    function: Callable[[EncodedPart], FloatArray],
    width: tuple[int, ...],
) -> Array:
    """A Dask array with a chunk for each placed unit, on its worker: ``function(part)``, float32 (n_rows, *width)."""
    import dask.array
    from dask import delayed

    chunks = []
    for unit, worker in placed.items():
        chunk = parts.client.submit(
            function, parts.futures[unit], workers=[worker], allow_other_workers=True, pure=False
        )
        shape = (parts.rows[unit], *width)
        chunks.append(dask.array.from_delayed(delayed(chunk), shape=shape, dtype=np.float32))
    return dask.array.concatenate(chunks)


def _workers_by_rank(client: Client) -> list[str]:
    """Addresses in the order of XGBoost's ranks: by its task id as text, made of worker name and address."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return sorted(workers, key=lambda address: f"[xgboost.dask-{workers[address]['name']}]:{address}")


def _lost(client: Client, workers: AbstractSet[str]) -> AbstractSet[str]:
    """Those that the Dask scheduler has dropped; if none, those that don't answer, which it may not have seen yet."""
    dropped = workers - set(client.nthreads())
    if dropped:
        return dropped
    answers = client.run(_answer, workers=list(workers), on_error="return")
    return {worker for worker, answer in answers.items() if answer is not True}


def _answer() -> bool:
    return True


def _matrix(part: EncodedPart) -> FloatArray:
    return part.encoded.values


def _target(part: EncodedPart) -> FloatArray:
    return part.target


def _weight(part: EncodedPart) -> FloatArray:
    return np.ones(part.rows, np.float32) if part.weight is None else part.weight
