"""What a process that has done nothing yet imports for its first task."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import partial
from typing import Any

from dataops.datasets.units import Unit
from dataops.engine.code import code_identity
from dataops.engine.tasks import Task, attempt_batch

SCRIPT = """
import pickle, sys
(outcome,) = pickle.loads(sys.stdin.buffer.read())()
print(type(outcome).__name__, *sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[1:])))
"""
READERS = ("cryptography", "open_data_contract_standard", "pydantic", "sqlglot")
"""What declarations, contracts, expressions and signatures are read with: workers are told what the driver read."""
OTHERS = ("lightgbm", "optuna", "rich", "scipy", "sklearn", "skops", "xgboost")
"""What other parts of a line load; each takes longer than many a unit."""


def first_task(function: Task, context: Any, unit: Unit) -> str:
    """The type of what `function` gives for `unit` in a fresh process, and what of `READERS` and `OTHERS` it loaded."""
    batch = partial(attempt_batch, code_identity(), function, pickle.dumps(context), pickle.dumps((unit,)))
    command = [sys.executable, "-c", SCRIPT, *READERS, *OTHERS]
    return subprocess.run(command, input=pickle.dumps(batch), stdout=subprocess.PIPE, check=True).stdout.decode()
