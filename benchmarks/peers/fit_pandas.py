"""pandas and XGBoost on the same files, features and rows: told are the seconds of each step and the AUC.

Called with the folder of the Parquet files, the rounds and the threads.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from telling import tell, tell_phase, versions


def main() -> None:
    """Trains."""
    import numpy as np
    import pandas as pd
    import xgboost
    from sklearn.metrics import roc_auc_score

    folder, rounds, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    seconds, at = {}, time.perf_counter()

    def took(step: str) -> None:
        nonlocal at
        now = time.perf_counter()
        seconds[step], at = now - at, now

    tell(versions=versions("pandas", "numpy", "pyarrow", "xgboost-cpu"))
    tell_phase("work")
    at = time.perf_counter()
    frames = [pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))]
    held_out = np.concatenate([np.arange(len(frame)) % 5 == 4 for frame in frames])
    frame = pd.concat(frames, ignore_index=True)
    del frames
    took("read")
    date = frame["date"].dt
    parts = [date.month, date.day, date.weekday, date.hour, date.minute]
    codes = [frame[name].astype("category").cat.codes for name in ("origin", "destination")]
    matrix = np.column_stack([np.asarray(one, np.float32) for one in (frame["distance"], *parts, *codes)])
    known = frame["delay"].notna().to_numpy()
    target = (frame["delay"] > 15).to_numpy(np.float32)
    train, test = known & ~held_out, known & held_out
    rows, labels = matrix[train], target[train]
    took("features")
    params = {"objective": "binary:logistic", "tree_method": "hist", "max_depth": 6, "nthread": threads}
    data = xgboost.QuantileDMatrix(rows, labels, max_bin=256, nthread=threads)
    took("quantise")
    booster = xgboost.train({**params, "max_bin": 256}, data, num_boost_round=rounds)
    took("rounds")
    tell_phase("end")
    scores = booster.inplace_predict(matrix[test])
    tell(seconds=seconds, metrics={"rows": int(test.sum()), "roc_auc": float(roc_auc_score(target[test], scores))})


if __name__ == "__main__":
    main()
