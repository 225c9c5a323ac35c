"""What an application has to import: no cluster and no frames, and nothing that an import runs."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from dataops.declarations.signers import SIGNERS_FILE, add_signer
from tests.runtime.examples import AT, make_key, make_registry, promote, register

SCRIPT = """
import sys
import pyarrow as pa
from dataops.runtime import UNSIGNED, load
rows = [{"age": 41, "job": "clerk"}, {"age": None, "job": "pilot"}, {"age": 20, "job": None}]
with load(sys.argv[1], "income", trust=UNSIGNED if sys.argv[2] == "unsigned" else sys.argv[2]) as model:
    dicts = model.predict(rows).tolist()
    ages = pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer((41).to_bytes(8, "little"))])
    ends = pa.py_buffer(b"\\0\\0\\0\\0\\5\\0\\0\\0")
    jobs = pa.Array.from_buffers(pa.string(), 1, [None, ends, pa.py_buffer(b"clerk")])
    assert model.predict(pa.table({"age": ages, "job": jobs})).tolist() == dicts[:1]
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[3].split(",")))))
"""
HEAVY = "bokeh,click,dask,dask_ml,distributed,fsspec,jinja2,pandas,rich,scipy,sklearn,skops,sqlglot,xgboost"


def imported(models: Path, trust: str, among: str) -> list[str]:
    command = [sys.executable, "-c", SCRIPT, str(models), trust, among]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("golden", [True, False])
def test_loading_and_scoring_dicts_and_arrow_imports_nothing_heavy(tmp_path: Path, golden: bool) -> None:
    registry = make_registry(tmp_path / "models")
    register(registry, 1.0, golden=golden)
    promote(registry, 1)
    assert imported(tmp_path / "models", "unsigned", f"{HEAVY},cryptography,pydantic,yaml") == []


def test_a_file_of_signers_is_all_that_asks_for_a_parser(tmp_path: Path) -> None:
    key, signer = make_key(tmp_path / "keys")
    add_signer(tmp_path, signer)
    registry = make_registry(tmp_path / "models")
    register(registry, 1.0, key=key, at=AT + timedelta(hours=1))
    promote(registry, 1, key=key)
    assert imported(tmp_path / "models", str(tmp_path / SIGNERS_FILE), f"{HEAVY},yaml") == ["yaml"]
