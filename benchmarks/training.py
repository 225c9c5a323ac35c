"""Training against what people use today: linear trainers (`logistic.py`), then boosting (`boosting.py`).

    python benchmarks/training.py            # both: an hour
    python benchmarks/training.py --quick    # a tenth of the rows, one turn each: minutes

Each is a benchmark of its own, with options and a record of its own. The last line is one JSON object: the ratios of
both that compare the same work, and which peer is left out and why.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

COMPARED: Mapping[str, Mapping[str, str]] = {
    "logistic": {
        "logistic: scikit-learn/dataops": "scikit-learn/dataops, fit",
        "logistic: spark/dataops": "spark/dataops, fit",
        "logistic: dask-ml/dataops": "dask-ml/dataops, fit",
    },
    "boosting": {
        "boosting: dataops/xgboost": "dataops/xgboost, XGBoost alone plus our read",
        "boosting: spark/dataops": "xgboost.spark/dataops, from the files to the model",
        "summary: dask-ml/dataops": "dask-ml/dataops, summary",
        "summary: spark/dataops": "spark/dataops, summary",
    },
}
"""Benchmark -> name here -> name of the ratio there; dask-ml's logistic regression is of 250,000 rows."""


def main() -> None:
    """Runs them, one after another, with the options that were given."""
    answers, codes = {}, []
    for name in COMPARED:
        command = [sys.executable, "-u", str(Path(__file__).parent / f"{name}.py"), *sys.argv[1:]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            last = _shown(running.stdout or ())
        codes.append(abs(running.returncode))
        if not running.returncode and last.startswith("{"):
            answers[name] = json.loads(last)
    if answers:  # `--help` gives none
        print(json.dumps(together(answers)), flush=True)
    sys.exit(max(codes))


def _shown(lines: Iterable[str]) -> str:
    """The last of the `lines`, all of which are printed as they come."""
    last = ""
    for last in lines:
        print(last, end="", flush=True)
    return last


def together(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One object of the last lines of the benchmarks; a ratio that one of them didn't take is left out."""
    ratios = {
        name: answer["ratios"][there]
        for benchmark, answer in answers.items()
        for name, there in COMPARED[benchmark].items()
        if there in answer["ratios"]
    }
    taken = {name for names in COMPARED.values() for name in names}
    left_out = dict.fromkeys(sorted(taken - set(ratios)), "not measured, see above")
    records = {benchmark: answer["record"] for benchmark, answer in answers.items()}
    return {"question": "training", "ratios": ratios, "left_out": left_out, "record": records}


if __name__ == "__main__":
    main()
