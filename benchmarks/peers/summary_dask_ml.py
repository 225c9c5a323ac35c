"""dask-ml's scaler and encoders fitted on the same rows and columns, on a cluster of the same shape; told is what they
found.

Called with the folder of the Parquet files, workers and threads. What is fitted again and again is persisted, as Dask's
guide asks for data that fit into memory; the persisting is part of the work.
"""

from __future__ import annotations

import sys
import time

from telling import tell, tell_phase, versions


def main() -> None:
    """Fits."""
    import dask.dataframe
    from dask_ml.preprocessing import Categorizer, OrdinalEncoder, StandardScaler
    from distributed import Client, LocalCluster

    folder, workers, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    tell(versions=versions("dask", "dask-ml", "pandas", "pyarrow"))
    shape = {"n_workers": workers, "threads_per_worker": threads, "dashboard_address": None}
    with LocalCluster(processes=True, **shape) as cluster, Client(cluster):
        tell_phase("work")
        started = time.perf_counter()
        columns = ["date", "delay", "distance", "origin", "destination"]
        frame = dask.dataframe.read_parquet(folder, columns=columns, split_row_groups=True)
        frame = frame[frame["delay"].notnull()]
        parts = {name: getattr(frame["date"].dt, name) for name in ("month", "day", "weekday", "hour", "minute")}
        parts["weekday"] = parts["weekday"] + 1  # Monday is 1 to us
        frame = frame.assign(**parts)
        numbers, categories = ["distance", *parts], ["origin", "destination"]
        frame = frame[[*numbers, *categories]].persist()
        scaler = StandardScaler().fit(frame[numbers])
        frame[numbers].quantile(0.5).compute()  # the medians that missing numbers become
        categorizer = Categorizer()
        OrdinalEncoder().fit(categorizer.fit_transform(frame[categories]))
        tell(seconds=time.perf_counter() - started)
        tell_phase("end")
        tell(
            means=[float(one) for one in scaler.mean_],
            scales=[float(one) for one in scaler.scale_],
            categories={name: sorted(map(str, categorizer.categories_[name].categories)) for name in categories},
        )


if __name__ == "__main__":
    main()
