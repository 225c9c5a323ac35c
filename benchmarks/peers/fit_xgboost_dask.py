"""XGBoost's own training on Dask, written by hand as its guide advises: told are the seconds of each step and the AUC.

Called with the folder of the Parquet files that are learnt from, that of all files, the rounds, workers and threads.
What is looked at again and again is persisted, as Dask's guide asks for data that fit into memory.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from telling import tell, tell_phase, versions

CATEGORIES = ["origin", "destination"]
PARTS = ["month", "day", "weekday", "hour", "minute"]


def main() -> None:
    """Trains."""
    import dask.dataframe
    from distributed import Client, LocalCluster, wait
    from sklearn.metrics import roc_auc_score
    from xgboost import dask as on_dask

    learnt, whole, rounds, workers, threads = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6])
    seconds = {}
    tell(versions=versions("dask", "distributed", "pandas", "numpy", "pyarrow", "xgboost-cpu"))
    shape = {"n_workers": workers, "threads_per_worker": threads, "dashboard_address": None}
    with LocalCluster(processes=True, **shape) as cluster, Client(cluster) as client:
        tell_phase("work")
        at = time.perf_counter()
        columns = ["date", "delay", "distance", *CATEGORIES]
        frame = dask.dataframe.read_parquet(learnt, columns=columns, split_row_groups=True)
        frame = frame.persist()
        known = {name: sorted(frame[name].drop_duplicates().compute()) for name in CATEGORIES}
        features = frame.map_partitions(features_of, known).persist()
        late = (frame["delay"] > 15).astype(np.float32).persist()
        wait([features, late])
        seconds["read"], at = time.perf_counter() - at, time.perf_counter()
        data = on_dask.DaskQuantileDMatrix(client, features, late, max_bin=256)
        params = {"objective": "binary:logistic", "tree_method": "hist", "max_depth": 6, "max_bin": 256}
        booster = on_dask.train(client, params, data, num_boost_round=rounds)["booster"]
        seconds["fit"] = time.perf_counter() - at
        tell_phase("end")
    frames = [pd.read_parquet(path) for path in sorted(whole.glob("*.parquet"))]
    held = pd.concat([one[(np.arange(len(one)) % 5 == 4) & one["delay"].notna()] for one in frames])
    scores = booster.inplace_predict(features_of(held, known))
    auc = roc_auc_score((held["delay"] > 15).to_numpy(np.float32), scores)
    tell(seconds=seconds, metrics={"rows": len(held), "roc_auc": float(auc)})


def features_of(frame: pd.DataFrame, known: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Eight features float32 of `frame`; `known`: the categories of a column, by whose places it is coded."""
    parts = {name: getattr(frame["date"].dt, name) for name in PARTS}
    codes = {name: pd.Categorical(frame[name], categories=known[name]).codes for name in CATEGORIES}
    return frame[["distance"]].assign(**parts, **codes).astype(np.float32)


if __name__ == "__main__":
    main()
