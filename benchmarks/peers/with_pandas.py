"""pandas and scikit-learn in one process with all cores: file by file, only the columns that are needed.

As pandas' guide to larger data advises (load fewer columns; a loop over the files of a folder, each fits into memory).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from pipeline import load_pipeline, score
from telling import read_spec, tell, tell_phase, versions


def main() -> None:
    """Scores."""
    spec, output = read_spec()
    output.mkdir(parents=True)
    tell(versions=versions("pandas", "scikit-learn", "xgboost-cpu", "pyarrow"))
    tell_phase("work")
    pipeline = load_pipeline(sys.argv[1], spec["cores"])
    for path in spec["files"]:
        frame = pd.read_parquet(path, columns=spec["columns"])
        score(pipeline, frame, spec["keep"]).to_parquet(output / Path(path).name, index=False)
    tell_phase("end")


if __name__ == "__main__":
    main()
