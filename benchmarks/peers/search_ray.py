"""A grid searched by Ray Tune, as its guide advises for data that fit into memory: rows lie once in Ray's object store
(``tune.with_parameters``), trials run side by side with a core each, and actors are used again for the next trial.

Called with the folder of the Parquet files, the rounds, the workers, and the grid as JSON. Told are the seconds of each
step, the trials, and the AUC of the best on the rows that were held out. What trials import is start-up, for everybody;
their actors can't be had before the work begins, so it is told apart and isn't in the seconds.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from telling import Steps, tell, tell_phase, versions

HELD_OUT = 6 / 32  # of the rows to learn from, as dataops does


def main() -> None:
    """Searches."""
    import ray

    tell(versions=versions("ray", "pandas", "numpy", "scikit-learn", "xgboost-cpu"))
    scratch = tempfile.mkdtemp(prefix="ray-")  # a short path: sockets lie below it
    # by default 15: other work on the machine would slow Ray down alone
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # that is its name
    try:
        ray.init(
            num_cpus=int(sys.argv[3]),
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _temp_dir=scratch,
            _node_ip_address="127.0.0.1",
        )
        _search(scratch)
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


def _search(scratch: str) -> None:
    import numpy as np
    import xgboost
    from flights_matrix import read_matrix
    from ray import tune
    from sklearn.metrics import roc_auc_score

    folder, rounds, workers, grid = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    settings = {"metric": "roc_auc", "mode": "max"}
    kept = {"storage_path": scratch, "verbose": 0}
    nothing = tune.with_resources(lambda _: {"roc_auc": 0.0}, {"cpu": 1})
    tune.Tuner(nothing, tune_config=tune.TuneConfig(**settings), run_config=tune.RunConfig(**kept)).fit()
    tell_phase("work")  # what Tune itself imports late is there by now
    steps = Steps()
    matrix, target, train, test = read_matrix(folder, steps.took)
    rows, labels = matrix[train], target[train]
    held = np.random.default_rng(0).random(len(rows)) < HELD_OUT
    steps.took("features")
    parts = {"rows": rows[~held], "labels": labels[~held], "judged": rows[held], "truth": labels[held]}
    found = tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, rounds=rounds, **parts), {"cpu": 1}),
        param_space={name: tune.grid_search(values) for name, values in grid.items()},
        tune_config=tune.TuneConfig(reuse_actors=True, **settings),
        run_config=tune.RunConfig(**kept),
    ).fit()
    steps.took("search")
    best = found.get_best_result()
    model = xgboost.XGBClassifier(
        n_estimators=rounds, tree_method="hist", max_bin=256, n_jobs=workers, **best.config
    ).fit(rows, labels)
    steps.took("fit")
    tell_phase("end")
    late, late_cpu = (sum(one.metrics[name] for one in found) for name in ("imported", "imported_cpu"))
    steps.seconds["search"] -= late / workers  # side by side
    scores = model.predict_proba(matrix[test])[:, 1]
    tell(
        seconds=steps.seconds,
        imported={"seconds": late / workers, "cpu_seconds": late_cpu},
        trials=found.num_terminated,
        best={name: float(value) for name, value in best.config.items()},
        figure=float(best.metrics["roc_auc"]),
        metrics={"rows": int(test.sum()), "roc_auc": float(roc_auc_score(target[test], scores))},
    )


def _trial(config: dict[str, Any], *, rounds: int, rows: Any, labels: Any, judged: Any, truth: Any) -> dict[str, float]:
    """The AUC of one point on the rows `judged`, and what importing took."""
    began, cpu = time.perf_counter(), time.process_time()
    import xgboost
    from sklearn.metrics import roc_auc_score

    imported, imported_cpu = time.perf_counter() - began, time.process_time() - cpu
    model = xgboost.XGBClassifier(n_estimators=rounds, tree_method="hist", max_bin=256, n_jobs=1, **config)
    scores = model.fit(rows, labels).predict_proba(judged)[:, 1]
    return {"roc_auc": float(roc_auc_score(truth, scores)), "imported": imported, "imported_cpu": imported_cpu}


if __name__ == "__main__":
    main()
