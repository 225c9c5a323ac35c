"""pandas and XGBoost on the same files, features and rows: told are the seconds of each step and the AUC.

Called with the folder of the Parquet files, the rounds and the threads.
"""

from __future__ import annotations

import sys
from pathlib import Path

from telling import Steps, tell, tell_phase, versions


def main() -> None:
    """Trains."""
    import xgboost
    from flights_matrix import read_matrix
    from sklearn.metrics import roc_auc_score

    folder, rounds, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    tell(versions=versions("pandas", "numpy", "pyarrow", "xgboost-cpu"))
    tell_phase("work")
    steps = Steps()
    matrix, target, train, test = read_matrix(folder, steps.took)
    rows, labels = matrix[train], target[train]
    steps.took("features")
    params = {"objective": "binary:logistic", "tree_method": "hist", "max_depth": 6, "nthread": threads}
    data = xgboost.QuantileDMatrix(rows, labels, max_bin=256, nthread=threads)
    steps.took("quantise")
    booster = xgboost.train({**params, "max_bin": 256}, data, num_boost_round=rounds)
    steps.took("rounds")
    tell_phase("end")
    scores = booster.inplace_predict(matrix[test])
    tell(
        seconds=steps.seconds, metrics={"rows": int(test.sum()), "roc_auc": float(roc_auc_score(target[test], scores))}
    )


if __name__ == "__main__":
    main()
