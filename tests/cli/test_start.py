"""``dataops --help`` is instant because nothing heavy is imported for it; modules are asserted, not seconds."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

HEAVY = (
    *("bokeh", "dask", "dask_ml", "distributed", "fsspec", "jinja2", "numpy", "open_data_contract_standard", "pandas"),
    *("pyarrow", "pydantic", "rich", "scipy", "sklearn", "sqlglot", "xgboost", "yaml"),
)
LIST_IMPORTS = """
import sys
from dataops.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print("\\n".join(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["job", "run", "--help"], ["demo", "-h"]])
def test_help_imports_nothing_heavy(arguments):
    done = subprocess.run(
        [sys.executable, "-c", LIST_IMPORTS, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(HEAVY).isdisjoint(done.stderr.split())
    assert done.stdout


def test_importing_the_package_imports_nothing_else():
    code = "import sys, dataops; print([name for name in sys.modules if name.startswith('dataops')])"
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=environ
    )
    assert sorted(ast.literal_eval(done.stdout)) == ["dataops", "dataops.version"]
