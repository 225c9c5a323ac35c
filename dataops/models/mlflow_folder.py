"""What makes a version's folder an MLflow model as well: ``MLmodel`` and what it names, made from the version alone.

1. ``MLmodel`` names a module of the installed package as its loader and carries no code; what the loader trusts is not
   in it (`dataops.runtime.mlflow`).
2. The signature is the program's source columns; the input example are the golden rows, which are nobody's.
3. The same package gives the same bytes, whatever is installed: requirements are ranges.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.types as pt

from dataops.declarations.metrics import Task
from dataops.features.program import FeatureProgram
from dataops.models.golden import Golden, describe
from dataops.models.predictor import BOOSTED, LIGHTGBM, SKLEARN

MLMODEL, PYTHON_ENV, REQUIREMENTS, EXAMPLE = "MLmodel", "python_env.yaml", "requirements.txt", "input_example.json"
MLFLOW_FILES = frozenset({MLMODEL, PYTHON_ENV, REQUIREMENTS, EXAMPLE})
LOADER = "dataops.runtime.mlflow"

_LIBRARIES: Mapping[str, tuple[str, ...]] = {
    BOOSTED: ("xgboost>=3.2",),
    LIGHTGBM: ("lightgbm>=4.6",),
    SKLEARN: ("scikit-learn>=1.9", "skops>=0.16"),
}


def mlflow_files(program: FeatureProgram, model_format: str, golden: Golden) -> dict[str, bytes]:
    """The files by name."""
    inputs = [{"name": field.name, "type": _type(field.type), "required": False} for field in program.schema()]
    output = [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}]
    example = {"artifact_path": EXAMPLE, "type": "dataframe", "pandas_orient": "split"}
    described: dict[str, object] = {
        "flavors": {"python_function": {"env": {"virtualenv": PYTHON_ENV}, "loader_module": LOADER}},
        "saved_input_example_info": example,
        "signature": {"inputs": json.dumps(inputs), "outputs": json.dumps(output), "params": None},
    }
    if golden.task is not Task.BINARY:
        described["metadata"] = {"task": str(golden.task)}
    requirements = ["dataops>=0.1", *_LIBRARIES.get(model_format, ())]
    environment = {"python": "3.11", "dependencies": [f"-r {REQUIREMENTS}"]}
    return {  # JSON is YAML
        MLMODEL: _lines(described),
        PYTHON_ENV: _lines(environment),
        REQUIREMENTS: "".join(f"{line}\n" for line in requirements).encode(),
        EXAMPLE: _lines(describe(golden)),
    }


def _lines(value: object) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _type(kind: pa.DataType) -> str:
    """MLflow's word. Whole numbers are doubles: its long knows no missing value, and the program casts them back."""
    if pt.is_boolean(kind):
        return "boolean"
    if pt.is_integer(kind) or pt.is_floating(kind):
        return "double"
    return "datetime" if pt.is_timestamp(kind) or pt.is_date(kind) else "string"
