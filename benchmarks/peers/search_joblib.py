"""A grid searched by scikit-learn on Dask, through joblib: as dask-ml and Dask advise for data that fits into memory.

Called with the folder of the Parquet files, the rounds, the workers, and the grid as JSON. Told are the seconds of each
step, the trials, and the AUC of the best on the rows that were held out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from telling import Steps, tell, tell_phase, versions

HELD_OUT = 6 / 32  # of the rows to learn from, as dataops does


def main() -> None:
    """Searches."""
    import joblib
    import numpy as np
    import xgboost
    from distributed import Client, LocalCluster
    from flights_matrix import read_matrix
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GridSearchCV, PredefinedSplit

    folder, rounds, workers, grid = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    tell(versions=versions("pandas", "numpy", "scikit-learn", "joblib", "dask", "distributed", "xgboost-cpu"))
    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with cluster, Client(cluster) as client:
        client.run(_import)
        tell_phase("work")
        steps = Steps()
        matrix, target, train, test = read_matrix(folder, steps.took)
        rows, labels = matrix[train], target[train]
        steps.took("features")
        fold = np.where(np.random.default_rng(0).random(len(rows)) < HELD_OUT, 0, -1)
        model = xgboost.XGBClassifier(n_estimators=rounds, tree_method="hist", max_bin=256, n_jobs=1)
        search = GridSearchCV(model, grid, scoring="roc_auc", cv=PredefinedSplit(fold), n_jobs=workers, refit=False)
        with joblib.parallel_backend("dask", scatter=[rows, labels]):
            search.fit(rows, labels)
        steps.took("search")
        best = xgboost.XGBClassifier(
            n_estimators=rounds, tree_method="hist", max_bin=256, n_jobs=workers, **search.best_params_
        ).fit(rows, labels)
        steps.took("fit")
        tell_phase("end")
    scores = best.predict_proba(matrix[test])[:, 1]
    tell(
        seconds=steps.seconds,
        trials=len(search.cv_results_["params"]),
        best={name: float(value) for name, value in search.best_params_.items()},
        figure=float(search.best_score_),
        metrics={"rows": int(test.sum()), "roc_auc": float(roc_auc_score(target[test], scores))},
    )


def _import() -> None:
    import sklearn.model_selection  # noqa: F401 - what workers import is start-up, for everybody
    import xgboost  # noqa: F401


if __name__ == "__main__":
    main()
