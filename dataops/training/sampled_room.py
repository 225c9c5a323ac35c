"""How much memory a fit on a sample takes of its worker: told before anything starts, refused where it can't be had.

1. It is a bound: of trees, as if they grew to the last leaf that their parameters allow.
2. Bytes of a row and of a node were derived from what scikit-learn keeps and measured: see ADR 0032.
3. A worker takes no more than the share of its limit at which Dask pauses it. Encoded parts that lie there go to its
   disk meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataops.engine.memory import in_use
from dataops.engine.workers import known_workers
from dataops.errors import Compute
from dataops.models.sklearn import MOST_BYTES
from dataops.training.boosting_room import PROCESS_BYTES, in_mb
from dataops.training.failures import lasting
from dataops.training.sklearn_estimators import Estimator

if TYPE_CHECKING:
    from distributed import Client

NODE_BYTES = 80
"""Of a tree's node: 64, and two values."""
COPIES = 6
"""Of a model while it is written: the tree, its file, the file numbered anew, and what is read back."""
_ROW_BYTES = 100  # vectors of a row that estimators make: targets, weights, gradients, order
_THREAD_BYTES = 56  # of a row, for each tree that grows at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleNeed:
    """What a fit takes of its worker.

    Attributes
    ----------
    rows, columns : of the sample.
    row_bytes : bytes a row.
    model_bytes : at most, of the model itself.
    process_bytes : of the worker before.
    """

    rows: int
    columns: int
    row_bytes: int
    model_bytes: int
    process_bytes: int

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.process_bytes + self.rows * self.row_bytes + COPIES * self.model_bytes

    def __str__(self) -> str:
        return (
            f"sklearn takes a sample of {self.rows:,} rows to one worker, {self.row_bytes:,} bytes each for "
            f"{self.columns} columns: {in_mb(self.bytes)} at most, {in_mb(self.process_bytes)} of it however few, and "
            f"{in_mb(COPIES * self.model_bytes)} for the model while it is written"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A worker to fit on; memory in bytes: its limit (0: none), and what is in use that isn't a part."""

    worker: str
    limit: int
    used: int
    threads: int


def roomiest(client: Client) -> Place:
    """The worker with most room; of equal ones the first by address.

    Raises
    ------
    Compute : there is no worker.
    """
    used = in_use(client)
    found = [
        Place(
            worker=address,
            limit=int(worker.get("memory_limit") or 0),
            used=used.get(address, 0),
            threads=int(worker["nthreads"]),
        )
        for address, worker in sorted(known_workers(client).items())
    ]
    if not found:
        raise Compute("there is no worker to fit on")
    return max(found, key=lambda place: (place.limit - place.used) if place.limit else math.inf)


def need_of_sample(
    estimator: Estimator, values: Mapping[str, Any], *, rows: int, columns: int, place: Place
) -> SampleNeed:
    """What a fit on `rows` rows takes."""
    grows_trees = "min_samples_leaf" in values
    by_histograms = "max_bins" in values
    pieces, matrix = 4 * (columns + 2), (8 if estimator.double else 4) * columns
    more = 2 * columns if by_histograms else _THREAD_BYTES * place.threads if grows_trees else 0
    return SampleNeed(
        rows=rows,
        columns=columns,
        row_bytes=pieces + matrix + more + _ROW_BYTES,
        model_bytes=_tree_bytes(values, rows) if grows_trees else _dense_bytes(values, columns),
        process_bytes=max(place.used, PROCESS_BYTES),
    )


def require_sample_fits(need: SampleNeed, place: Place, share: float) -> None:
    """Nothing, if the worker has as much, and the model fits a file.

    Parameters
    ----------
    share : of a worker's limit that may be used, above 0 to 1.

    Raises
    ------
    Compute : with the numbers, and what would help.
    """
    if need.model_bytes > MOST_BYTES:
        too_large = (
            f"sklearn: a model of {need.rows:,} rows could take {in_mb(need.model_bytes)}, and a file of one may take "
            f"{in_mb(MOST_BYTES)}. Nothing was started. Set `max_leaf_nodes` or `max_depth`, raise `min_samples_leaf`, "
            "or take fewer trees or `rows`"
        )
        raise lasting(Compute(too_large))
    if not place.limit or need.bytes <= share * place.limit:
        return
    why = (
        f"{need}. The worker with most room has {in_mb(place.limit)}, of which {share:.0%} may be used, so it doesn't "
        f"fit, and nothing was started. Take fewer `rows`, or smaller trees, or give each worker "
        f"{in_mb(need.bytes / share)} (`memory_limit` of the cluster file)"
    )
    raise lasting(Compute(why))


def _tree_bytes(values: Mapping[str, Any], rows: int) -> int:
    leaves: int = max(rows // int(values["min_samples_leaf"]), 1)
    if values["max_leaf_nodes"]:
        leaves = min(leaves, int(values["max_leaf_nodes"]))
    if values["max_depth"]:
        leaves = min(leaves, 1 << int(values["max_depth"]))
    trees: int = values.get("n_estimators") or values.get("max_iter") or 1
    return int(2 * leaves * trees * NODE_BYTES)


def _dense_bytes(values: Mapping[str, Any], columns: int) -> int:
    sizes = [columns, *values.get("hidden_layer_sizes", ()), 1]
    # a network keeps gradients and moments of each weight while it learns
    weights = sum(int(one) * (int(other) + 1) for one, other in zip(sizes[1:], sizes[:-1], strict=True))
    return 8 * 5 * weights
