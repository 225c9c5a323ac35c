"""dask-ml's scaler and encoders fitted on the same rows and columns, on a cluster of the same shape, then what they
make of all rows; told are the seconds of both, what was found and what came out.

Called with the folder of the Parquet files, workers and threads. What is fitted again and again is persisted, as Dask's
guide asks for data that fit into memory; the persisting is part of the summary's work. Encoded are the persisted rows,
to eight columns float32 that are persisted too: numbers scaled, and places of categories.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd
from telling import tell, tell_phase, versions


def main() -> None:
    """Fits and encodes."""
    import dask
    import dask.dataframe
    from dask_ml.preprocessing import Categorizer, OrdinalEncoder, StandardScaler
    from distributed import Client, LocalCluster, wait

    folder, workers, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    tell(versions=versions("dask", "dask-ml", "pandas", "pyarrow"))
    shape = {"n_workers": workers, "threads_per_worker": threads, "dashboard_address": None}
    with LocalCluster(processes=True, **shape) as cluster, Client(cluster):
        tell_phase("work")
        at = time.perf_counter()
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
        categorizer, encoder = Categorizer(), OrdinalEncoder()
        encoder.fit(categorizer.fit_transform(frame[categories]))
        seconds, at = {"summary": time.perf_counter() - at}, time.perf_counter()
        codes = encoder.transform(categorizer.transform(frame[categories]))
        scaled = scaler.transform(frame[numbers])
        encoded = scaled.assign(**{name: codes[name] for name in categories}).astype(np.float32).persist()
        wait(encoded)
        seconds["encode"] = time.perf_counter() - at
        tell_phase("end")
        sums = pd.concat(dask.compute(*map(dask.delayed(_sums), encoded.to_delayed()))).groupby(level=0).sum()
        rows = int(sums.loc["rows"].iloc[0])
        tell(
            seconds=seconds,
            means=[float(one) for one in scaler.mean_],
            scales=[float(one) for one in scaler.scale_],
            categories={name: list(map(str, categorizer.categories_[name].categories)) for name in categories},
            encoded={"rows": rows, **{name: list(sums.loc[name] / rows) for name in ("means", "squares")}},
        )


def _sums(part: pd.DataFrame) -> pd.DataFrame:
    """Rows, sums and sums of squares of each column, in float64."""
    values = part.astype(np.float64)
    return pd.DataFrame({"rows": values.count(), "means": values.sum(), "squares": (values**2).sum()}).T


if __name__ == "__main__":
    main()
