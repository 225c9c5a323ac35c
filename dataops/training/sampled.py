"""Trainer ``sklearn``: any estimator of the list, fitted on a sample of the rows on one worker.

1. The sample is the rows of least rank (`groups.row_ranks`): `rows` of them, or all where there are no more. A row's
   rank hangs on its file and its place there alone, so that the sample is the same for any cluster and any cut into
   units. It is taken where the rows lie, and put together in unit order: none comes to the driver.
2. What it takes of memory is told, and refused where it can't be had, before a row is encoded.
3. The same sample and seed give the same bytes: products of matrices run on one thread, and what takes several (trees)
   doesn't depend on how many.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dataops.declarations.metrics import Task
from dataops.errors import InvalidInput
from dataops.features.encoder import Encoder
from dataops.models.predictor import SKLEARN
from dataops.models.skops_writing import to_bytes
from dataops.records import new_nonce
from dataops.training.boosting_room import usable_share
from dataops.training.groups import Ranks, row_ranks
from dataops.training.incremental import piped
from dataops.training.parts import EncodedPart, PartsOnCluster, Stored, gather, held, map_parts, merge_parts, submit
from dataops.training.sampled_room import Place, SampleNeed, need_of_sample, require_sample_fits, roomiest
from dataops.training.scaling import scale_rows, spread_of
from dataops.training.sklearn_estimators import (
    CLASS_WEIGHT,
    ESTIMATOR,
    ON_A_SAMPLE,
    SCALE,
    Estimator,
    parse_estimator,
    refused,
    require_writable,
)
from dataops.training.trainable import class_factors, require_trainable
from dataops.training.trainers import Parameter, whole

if TYPE_CHECKING:
    from distributed import Client

NAME, ROWS = "sklearn", "rows"
PARAMETERS = {ROWS: Parameter(default=100_000, parse=whole(1, 100_000_000))}
_ALL = 1 << 32  # more than any rank
_COARSE = 16  # bits of a rank that rows are counted by first


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleFit:
    """What a worker needs to fit, beside the rows.

    Attributes
    ----------
    params : as the job gives them; checked.
    threads : how many a fit may take.
    """

    params: Mapping[str, Any]
    seed: int
    encoder: Encoder
    threads: int


class SampleTrainer:
    """Trainer ``sklearn``.

    Parameters: `estimator`, one of `sklearn_estimators.ON_A_SAMPLE`, with that one's own; `rows`, the most that it is
    fitted on; `class_weight` (``balanced``, or null); `scale`, whether columns are scaled in front of it.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    samples: ClassVar[bool] = True

    def require_params(self, params: Mapping[str, Any]) -> None:
        """Nothing, or InvalidInput with every finding; Compute where skops isn't installed."""
        require_writable(NAME, *parse_estimator(NAME, params, ON_A_SAMPLE, PARAMETERS))

    def require_room(
        self,
        client: Client,
        rows: Sequence[int],
        encoder: Encoder,
        params: Mapping[str, Any],
        *,
        weighted: bool,  # noqa: ARG002 - counted in any case
        shared: bool,  # noqa: ARG002 - encoded parts may go to the disk
        copied: bool = False,  # noqa: ARG002 - as above
    ) -> str:
        """See `boosting_room.NeedsRoom`."""
        estimator, values = parse_estimator(NAME, params, ON_A_SAMPLE, PARAMETERS)
        return str(_place_for(client, rows, encoder, estimator, values)[1])

    def fit(self, parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> tuple[str, bytes]:
        """The format ``sklearn-skops/1`` and the model's bytes."""
        return SKLEARN, fit_sample(parts, params, seed)


def _place_for(
    client: Client, rows: Sequence[int], encoder: Encoder, estimator: Estimator, values: Mapping[str, Any]
) -> tuple[Place, SampleNeed]:
    """The worker to fit on, and what it takes of it; Compute where it hasn't as much."""
    place, columns = roomiest(client), len(encoder.columns)
    need = need_of_sample(estimator, values, rows=min(values[ROWS], sum(rows)), columns=columns, place=place)
    require_sample_fits(need, place, usable_share())
    return place, need


def fit_sample(parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> bytes:
    """The fitted estimator, or a pipeline that ends with it, as a skops file.

    Raises
    ------
    InvalidInput : wrong parameters, rows that can't be trained on, or a sample of one class only.
    Compute : it doesn't fit in memory, a task failed, or the fit left the range of numbers.
    """
    estimator, values = parse_estimator(NAME, params, ON_A_SAMPLE, PARAMETERS)
    require_trainable(parts)
    place = _place_for(parts.client, parts.rows, parts.encoder, estimator, values)[0]  # also for a trial of a search
    limit = limit_of(parts, values[ROWS])
    client, name = parts.client, f"fit-sample-{new_nonce()}"
    taken = [
        submit(client, take_sample, future, limit, key=f"{name}-{unit}") for unit, future in enumerate(parts.futures)
    ]
    wanted = SampleFit(params=params, seed=seed, encoder=parts.encoder, threads=place.threads)
    fitted = submit(client, fit_rows, taken, wanted, key=name, workers=[place.worker], allow_other_workers=True)
    data, facts = gather(client, [fitted], what="fit")[0]
    parts.fitting.facts.update({**facts, "of": sum(parts.rows)})
    return bytes(data)


def limit_of(parts: PartsOnCluster, rows: int) -> int:
    """The rank below which there are `rows` rows, or as many as there are."""
    if sum(parts.rows) <= rows:
        return _ALL
    counts = np.cumsum(merge_parts(parts, _count_coarse, _add))
    cell = int(np.searchsorted(counts, rows, side="right"))  # the first that would be too many
    before = int(counts[cell - 1]) if cell else 0
    ranks = np.sort(np.concatenate(map_parts(parts, _ranks_in, cell)))
    return int(ranks[rows - before])


def take_sample(given: EncodedPart | Stored, limit: int) -> EncodedPart:
    """The rows of a part whose rank is below `limit` and whose weight is above 0."""
    part = held(given)
    chosen = ranks_of(part) < limit
    if part.weight is not None:
        chosen &= part.weight > 0
    rows = np.flatnonzero(chosen)
    return EncodedPart(
        encoded=part.encoded.of_rows(rows),
        target=part.target[rows],
        weight=None if part.weight is None else part.weight[rows],
    )


def ranks_of(part: EncodedPart) -> Ranks:
    """The rank of each row; by its place in the part alone, where nobody told it."""
    return row_ranks("", np.arange(part.rows)) if part.ranks is None else part.ranks


def fit_rows(taken: Sequence[EncodedPart], wanted: SampleFit) -> tuple[bytes, dict[str, Any]]:
    """The skops file of what is fitted on all rows of `taken`, and what was found out.

    Raises
    ------
    InvalidInput : one class only.
    Compute : the fit left the range of numbers.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    estimator, values = parse_estimator(NAME, wanted.params, ON_A_SAMPLE, PARAMETERS)
    rows, target = _matrix(taken, double=estimator.double), np.concatenate([part.target for part in taken])
    weight = _weights(taken, target, balanced=bool(values[CLASS_WEIGHT]))
    spread = spread_of(rows) if values.get(SCALE) else None
    if spread is not None:
        scale_rows(rows, spread)
    model = estimator.make(values, wanted.seed, wanted.encoder)
    if hasattr(model, "n_jobs") and hasattr(model, "n_estimators"):
        model.n_jobs = wanted.threads
    with threadpool_limits({"blas": 1, "openmp": wanted.threads}), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            model.fit(rows, target.astype(np.float64), sample_weight=weight)
        except ValueError as error:
            raise refused(NAME, error) from None
    converged = not any(issubclass(one.category, ConvergenceWarning) for one in told)
    return to_bytes(piped(model, spread)), {ESTIMATOR: values[ESTIMATOR], ROWS: len(rows), "converged": converged}


def _matrix(taken: Sequence[EncodedPart], *, double: bool) -> np.ndarray:
    kind = np.float64 if double else np.float32
    return np.concatenate([part.encoded.values for part in taken], axis=0, dtype=kind)


def _weights(taken: Sequence[EncodedPart], target: np.ndarray, *, balanced: bool) -> np.ndarray | None:
    """The weight of each row, float64 (n_rows,); None where all weigh 1."""
    weighted = any(part.weight is not None for part in taken)
    weight = np.ones(len(target))
    if weighted:
        weight = np.concatenate([part.weight for part in taken if part.weight is not None]).astype(np.float64)
    negative, positive = (float(weight[target == one].sum()) for one in (0, 1))
    if not negative or not positive:
        raise InvalidInput(
            f"can't train: the sample of {len(target)} rows has one class only; raise `rows` of trainer {NAME}"
        )
    if balanced:
        factors = class_factors((negative, positive), balanced=True)
        weight *= np.where(target == 1, factors[1], factors[0])
    return weight if weighted or balanced else None


def _count_coarse(part: EncodedPart, _argument: object) -> np.ndarray:
    return np.bincount(ranks_of(part) >> np.uint32(32 - _COARSE), minlength=1 << _COARSE)


def _add(many: Sequence[np.ndarray]) -> np.ndarray:
    found: np.ndarray = np.sum(many, axis=0)
    return found


def _ranks_in(part: EncodedPart, cell: Any) -> Ranks:
    ranks = ranks_of(part)
    found: Ranks = ranks[(ranks >> np.uint32(32 - _COARSE)) == cell]
    return found
