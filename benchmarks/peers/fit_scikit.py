"""pandas and scikit-learn: sparse one-hot columns, `LogisticRegression`; told are the seconds of steps and the model.

Called with the file that `logistic.py` wrote, and a solver.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from telling import Steps, tell, tell_phase, versions


def main() -> None:
    """Trains."""
    import numpy as np
    import pandas as pd
    from scipy.sparse import csr_matrix, hstack
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import OneHotEncoder

    spec, solver = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
    tell(versions=versions("pandas", "numpy", "scipy", "scikit-learn", "pyarrow"))
    tell_phase("work")
    steps = Steps()
    frame = pd.read_parquet(spec["folder"])
    steps.took("read")
    date, texts = frame["date"].dt, ["origin", "destination"]
    numbers = {"distance": frame["distance"], "hour": date.hour, "weekday": date.weekday + 1}
    dense = np.column_stack([(numbers[name] - mean) / std for name, (mean, std) in spec["numbers"].items()])
    encoder = OneHotEncoder()
    rows = hstack([csr_matrix(dense), encoder.fit_transform(frame[texts])], format="csr")
    target = (frame["delay"] > 15).to_numpy()
    steps.took("features")
    # the default tolerance of 1e-4 ends short of 1e-5 of the objective
    model = LogisticRegression(C=1 / spec["l2"], solver=solver, max_iter=1000, tol=1e-5).fit(rows, target)
    steps.took("fit")
    tell_phase("end")
    names, weights = list(spec["numbers"]), model.coef_[0]
    categorical, first = {}, len(names)
    for name, categories in zip(texts, encoder.categories_, strict=True):
        found = weights[first : first + len(categories)]
        categorical[name] = {str(text): float(one) for text, one in zip(categories, found, strict=True)}
        first += len(categories)
    numeric = {name: float(one) for name, one in zip(names, weights, strict=False)}
    told = {"intercept": float(model.intercept_[0]), "numeric": numeric, "categorical": categorical}
    tell(seconds=steps.seconds, passes=int(model.n_iter_[0]), model=told)


if __name__ == "__main__":
    main()
