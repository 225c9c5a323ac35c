"""Where k-means starts: scikit-learn's, tried several times on a sample of the rows on one worker.

1. The sample is the rows of least rank (`groups.row_ranks`), put in an order that their ranks and values alone decide:
   it is the same for any cluster and any cut into units. Rows of weight 0 aren't among them.
2. The best of the tries is what all rows start from: few passes over them are left.
3. One thread, so that the same sample and seed give the same centres.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dataops.errors import Compute, InvalidInput
from dataops.records import new_nonce
from dataops.training.failures import lasting
from dataops.training.kmeans_passes import Centres, codes_of
from dataops.training.linear_layout import Layout
from dataops.training.parts import EncodedPart, PartsOnCluster, Stored, gather, held, submit
from dataops.training.sampled import limit_of, ranks_of
from dataops.training.sampled_room import roomiest

SAMPLE_ROWS = 20_000
ROWS_OF_A_CENTRE = 50
MOST_VALUES = 16_000_000
"""Encoded values of a sample, which takes some 200 MB then while it is learnt from."""
_ITERATIONS, _TOLERANCE = 100, 1e-4
_DENSE_COLUMNS = 64  # with more, rows are kept without their zeros


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a start is looked for.

    Attributes
    ----------
    init : ``k-means++`` or ``random``, scikit-learn's words.
    tries : how many are compared.
    """

    clusters: int
    init: str
    tries: int
    seed: int
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sampled:
    """Rows of a sample: values as they are encoded, ranks, and weights where rows have them."""

    values: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.uint32]
    weight: npt.NDArray[np.float32] | None


def sample_rows(clusters: int, columns: int) -> int:
    """How many rows a start is looked for on, at most.

    Raises
    ------
    Compute : so many clusters and columns don't fit.
    """
    rows, fits = max(SAMPLE_ROWS, ROWS_OF_A_CENTRE * clusters), MOST_VALUES // max(columns, 1)
    if fits < 2 * clusters:
        told = f"kmeans: {clusters} clusters of {columns:,} columns are more than a start can be looked for on"
        raise lasting(Compute(f"{told}; take fewer of either"))
    return min(rows, fits)


def find_start(parts: PartsOnCluster, start: Start) -> Centres:
    """The centres that a fit starts from; some may be equal, where the sample has fewer different rows.

    Raises
    ------
    InvalidInput : there are fewer rows than clusters.
    Compute : a task failed.
    """
    client, name = parts.client, f"kmeans-start-{new_nonce()}"
    limit = limit_of(parts, sample_rows(start.clusters, start.layout.n_columns))
    taken = [submit(client, _take, future, limit, key=f"{name}-{unit}") for unit, future in enumerate(parts.futures)]
    where = [roomiest(client).worker]
    found = submit(client, fit_start, taken, start, key=name, workers=where, allow_other_workers=True)
    centres: Centres = gather(client, [found], what="start")[0]
    return centres


def fit_start(taken: Sequence[Sampled], start: Start) -> Centres:
    """The best of some fits on all rows of `taken`.

    Raises
    ------
    InvalidInput : there are fewer rows than clusters.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    values, weight = _in_order(taken)
    if len(values) < start.clusters:
        raise InvalidInput(
            f"can't train: {start.clusters} clusters take as many different rows, and there are {len(values)} of "
            "weight above 0; take fewer `clusters`, or give more rows"
        )
    model = KMeans(
        n_clusters=start.clusters,
        init=start.init,
        n_init=start.tries,
        max_iter=_ITERATIONS,
        tol=_TOLERANCE,
        random_state=start.seed,
        algorithm="lloyd",
    )
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different rows than clusters: all rows will tell
        model.fit(_columns(values, start.layout), sample_weight=weight)
    found, n_numeric = np.asarray(model.cluster_centers_, np.float64).T, start.layout.n_numeric
    return Centres(numeric=np.ascontiguousarray(found[:n_numeric]), shares=np.ascontiguousarray(found[n_numeric:]))


def _take(given: EncodedPart | Stored, limit: int) -> Sampled:
    part = held(given)
    ranks = ranks_of(part)
    chosen = ranks < limit
    if part.weight is not None:
        chosen &= part.weight > 0
    return Sampled(
        values=part.encoded.values[chosen],
        ranks=ranks[chosen],
        weight=None if part.weight is None else part.weight[chosen],
    )


def _in_order(taken: Sequence[Sampled]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64] | None]:
    """Values and weights of the sample: by rank, those of one rank by weight and values."""
    values, ranks = np.concatenate([one.values for one in taken]), np.concatenate([one.ranks for one in taken])
    weight = None
    if any(one.weight is not None for one in taken):
        weight = np.concatenate([one.weight for one in taken if one.weight is not None]).astype(np.float64)
    order = np.lexsort([*values.T[::-1], *([] if weight is None else [weight]), ranks])
    return values[order], None if weight is None else weight[order]


def _columns(values: npt.NDArray[np.float32], layout: Layout) -> Any:
    """The rows with a column for each code, float64: without their zeros, where there are many."""
    from scipy import sparse

    n_rows, n_numeric, n_codes = len(values), layout.n_numeric, sum(layout.sizes)
    numeric = values[:, :n_numeric].astype(np.float64)
    if not n_codes:
        return numeric
    begins = np.array([codes.start for codes in codes_of(layout)], np.int64)
    places = (values[:, n_numeric:].astype(np.int64) + begins).ravel()
    ends = np.arange(n_rows + 1) * len(begins)
    codes = sparse.csr_matrix((np.ones(len(places)), places, ends), shape=(n_rows, n_codes))
    both = sparse.hstack([sparse.csr_matrix(numeric), codes], format="csr")
    return both.toarray() if n_numeric + n_codes <= _DENSE_COLUMNS else both
