"""Training's two benchmarks answer as one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.scripts import BENCHMARKS

ANSWERS = {
    "logistic": {"scikit-learn/dataops, fit": {"median": 5.0}, "dataops null/dataops, fit": {"median": 1.0}},
    "boosting": {
        "dataops/xgboost, XGBoost alone plus our read": {"median": 1.1},
        "xgboost.spark/dataops, from the files to the model": {"median": 2.0},
        "dask-ml/dataops, summary": {"median": 6.0},
        "spark/dataops, summary": {"median": 20.0},
    },
}
ASK = "import sys; print('asked', *sys.argv[1:]); print({line!r}); sys.exit({code})"


@pytest.mark.parametrize("fails", [False, True])
def test_the_last_line_has_the_ratios_of_both_and_what_is_left_out(tmp_path: Path, *, fails: bool) -> None:
    script = tmp_path / "training.py"
    script.write_bytes((BENCHMARKS / "training.py").read_bytes())
    for name, ratios in ANSWERS.items():
        line = json.dumps({"question": name, "ratios": ratios, "record": f"/records/{name}.json"})
        code = 3 if fails and name == "boosting" else 0
        (tmp_path / f"{name}.py").write_text(ASK.format(line=line, code=code))
    done = subprocess.run([sys.executable, script, "--quick"], capture_output=True, text=True, check=False)
    *shown, last = done.stdout.splitlines()
    assert shown.count("asked --quick") == 2
    told = json.loads(last)
    assert told["ratios"]["logistic: scikit-learn/dataops"] == {"median": 5.0}
    assert ("boosting: dataops/xgboost" in told["ratios"]) is not fails
    for name in ("boosting: spark/dataops", "summary: dask-ml/dataops", "summary: spark/dataops"):
        assert (name in told["ratios"]) is not fails
        assert (name in told["left_out"]) is fails
    assert {"logistic: dask-ml/dataops", "logistic: spark/dataops"} <= set(told["left_out"])
    assert done.returncode == (3 if fails else 0)
