"""dask-ml: `Categorizer`, `DummyEncoder`, `LogisticRegression` on a cluster of the same cores; told are the seconds of
steps and the model.

Called with the file that `logistic.py` wrote. As dask-ml's guide asks, columns are categorised, then one-hot, and its
linear models get a persisted array of float64 with known lengths, in chunks as large as Dask makes them (128 MiB).

1. The solver is L-BFGS, the only one that comes within 1e-5 of the objective. ``newton`` and ``gradient_descent`` know
   no penalty. ``proximal_grad`` takes gradient steps alone: after 900 it is 1e-3 away. ``admm``, the default, is 2e-4
   away or more after 500 to 1,000 passes over the rows (in two chunks or seven, ``rho`` 1 or 30).
2. ``C`` is 1 over the penalty, which is on coefficients of columns as they are: ``normalize`` would scale them, one-hot
   columns too, and so minimise another objective (and scale all rows again in each pass).
3. The constant is a column of the array. ``fit_intercept`` would copy all rows beside one in each pass: half as long
   again. It is penalised either way. What that costs of the objective is below half the square of the best intercept,
   1.2 of 127,000; in fact it is less than 1e-6 of it.
4. L-BFGS ends by the largest part of a gradient that is summed over rows: so the tolerance goes by rows too. At twice
   this one it ended 1.01e-5 away.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from telling import tell, tell_phase, versions

TEXTS = ["origin", "destination"]
TOLERANCE = 1e-5  # a row


def main() -> None:
    """Trains."""
    from distributed import Client, LocalCluster

    _import()
    spec = json.loads(Path(sys.argv[1]).read_text())
    tell(versions=versions("dask", "distributed", "dask-ml", "dask-glm", "pandas", "numpy", "pyarrow"))
    shape = {"n_workers": 1, "threads_per_worker": spec["cores"], "dashboard_address": None}
    with LocalCluster(processes=True, **shape) as cluster, Client(cluster) as client:
        client.run(_import)
        tell_phase("work")
        train(spec)


def train(spec: Mapping[str, Any]) -> None:
    """Trains, and tells what came out."""
    import dask
    import dask.dataframe
    import numpy as np
    from dask_ml.linear_model import LogisticRegression
    from dask_ml.preprocessing import Categorizer, DummyEncoder
    from distributed import wait

    at = time.perf_counter()
    columns = ["date", "delay", "distance", *TEXTS]
    frame = dask.dataframe.read_parquet(spec["folder"], columns=columns, split_row_groups=True)
    date = frame["date"].dt
    numbers = {"distance": frame["distance"], "hour": date.hour, "weekday": date.weekday + 1}
    scaled = {name: (numbers[name] - mean) / spread for name, (mean, spread) in spec["numbers"].items()}
    frame = frame.assign(**scaled, late=frame["delay"] > 15)[[*scaled, *TEXTS, "late"]].persist()
    lengths = tuple(frame.map_partitions(len).compute())
    encoder = DummyEncoder()
    hot = encoder.fit_transform(Categorizer(columns=TEXTS).fit_transform(frame[[*scaled, *TEXTS]]))
    rows = hot.assign(constant=1.0).astype(np.float64).to_dask_array(lengths=lengths).rechunk({0: "auto", 1: -1})
    late = frame["late"].to_dask_array(lengths=lengths).rechunk((rows.chunks[0],))
    rows, late = dask.persist(rows, late)
    wait([rows, late])
    seconds = {"features": time.perf_counter() - at}
    model = LogisticRegression(
        C=1 / spec["l2"],
        solver="lbfgs",
        fit_intercept=False,
        max_iter=1000,
        tol=TOLERANCE * spec["rows"],
        solver_kwargs={"normalize": False},
    ).fit(rows, late)
    seconds["fit"] = time.perf_counter() - at - seconds["features"]
    tell_phase("end")
    weights = [float(one) for one in model.coef_]
    categorical = {
        name: dict(
            zip(map(str, encoder.dtypes_[name].categories), weights[encoder.categorical_blocks_[name]], strict=True)
        )
        for name in TEXTS
    }
    numeric = dict(zip(scaled, weights, strict=False))
    tell(seconds=seconds, model={"intercept": weights[-1], "numeric": numeric, "categorical": categorical})


def _import() -> None:
    """What driver and workers import is start-up, for everybody."""
    import dask_ml.linear_model
    import dask_ml.preprocessing  # noqa: F401


if __name__ == "__main__":
    main()
