"""MLflow's python function over a version's folder: ``<folder> <rows.parquet> <probabilities.npy>``."""

from __future__ import annotations

import sys

import mlflow.pyfunc
import numpy as np
import pandas as pd


def main() -> None:
    """Scores."""
    folder, rows, output = sys.argv[1:4]
    model = mlflow.pyfunc.load_model(folder, suppress_warnings=True)
    frame = pd.read_parquet(rows)
    # the signature says double for whole numbers, which may be missing; MLflow makes none of 64 bits a double by itself
    whole = frame.select_dtypes("int64").columns
    np.save(output, model.predict(frame.astype(dict.fromkeys(whole, "float64"))))


if __name__ == "__main__":
    main()
