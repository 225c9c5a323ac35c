"""Whether training will fit in the memory of a cluster on this machine: told before anything is made.

The rule is the trainers' own (`dataops.training.boosting_room`), asked with rows and columns that the size tells. It is
asked of no other cluster: what its workers have is known when they are there.
"""

from __future__ import annotations

import logging

from dataops.bench.sizes import PAST, Size
from dataops.declarations.clusters import ClusterFile, LocalFile
from dataops.engine.connect import usable_cores
from dataops.training.boosting_room import Table, WorkerRoom, need_of, require_fits, usable_share

COLUMNS = 17
"""Of the matrix that the job `fraud` of `workspace/jobs.yaml` trains on."""
BINS = 256
LEARNT = 0.78
"""The least share of the payments of the past that is learnt from: four fifths of the customers', less what is set
aside and filtered."""


def require_room(size: Size, cluster: ClusterFile, *, workers: int | None) -> None:
    """Nothing, if the boosted trees of `size` fit, or if that can't be known.

    Parameters
    ----------
    workers : worker processes, instead of what the cluster file says.

    Raises
    ------
    Compute : with the memory that each worker needs.
    """
    if not isinstance(cluster, LocalFile):
        return
    from dask.system import CPU_COUNT
    from distributed.worker_memory import parse_memory_limit

    from dataops.training.boosting import XGBOOST

    resolved, threads = cluster.train.resolve(usable_cores())
    limit = parse_memory_limit(cluster.memory_limit, threads, CPU_COUNT, logger=logging.getLogger(__name__)) or 0
    table = Table(columns=COLUMNS, bins=BINS, weighted=False, held_out=False)
    rows = [round(part.rows * LEARNT) for part in size.parts() if part.table == PAST]
    need = need_of(rows, workers or resolved, table, XGBOOST.room(table), process=0, shared=False)
    require_fits(XGBOOST.name, need, table, [WorkerRoom(limit=limit, used=0)] * (workers or resolved), usable_share())
