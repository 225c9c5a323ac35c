"""The usual Dask way: ``read_parquet -> map_partitions -> to_parquet`` on a local cluster of one process per core.

As Dask's documentation advises: processes for work that holds the interpreter, only the columns that are needed,
``meta`` given, the model loaded once per worker, partitions as the optimiser sizes them. (``filesystem="arrow"``, which
it calls faster, can't be sent to a cluster by Dask 2026.8 with Arrow 26: ``FileInfo`` doesn't pickle.)
"""

from __future__ import annotations

import sys

import dask.dataframe as dd
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster
from pipeline import load_pipeline, score
from telling import read_spec, tell, tell_phase, versions


def score_partition(frame: pd.DataFrame, spec_path: str, keep: list[str]) -> pd.DataFrame:
    """One partition with its probabilities."""
    return score(load_pipeline(spec_path, 1), frame, keep)


def main() -> None:
    """Scores."""
    spec, output = read_spec()
    tell(versions=versions("dask", "distributed", "pandas", "scikit-learn", "xgboost-cpu", "pyarrow"))
    cluster = LocalCluster(n_workers=spec["cores"], threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with cluster, Client(cluster) as client:
        client.run(_import)
        tell_phase("work")
        frame = dd.read_parquet(spec["folder"], columns=spec["columns"])
        meta = frame._meta[spec["keep"]].assign(probability=np.float32(0))  # noqa: SLF001 - as Dask's guides write it
        tell(partitions=frame.npartitions)
        scored = frame.map_partitions(score_partition, sys.argv[1], spec["keep"], meta=meta)
        scored.to_parquet(str(output), write_index=False)
        tell_phase("end")


def _import() -> None:
    import pipeline  # noqa: F401 - what workers import is start-up, for everybody


if __name__ == "__main__":
    main()
