"""Which code ran: recorded with every run and model version, and the same on all workers of a run."""

from __future__ import annotations

import hashlib
import platform
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dataops.errors import Compute
from dataops.version import VERSION

LIBRARIES = (
    "lightgbm",
    "numba",
    "numpy",
    "optuna",
    "pyarrow",
    "scikit-learn",
    "scikit-learn-intelex",
    "scipy",
    "skops",
    "sqlglot",
    "xgboost",
    "xgboost-cpu",
)
"""What computes values, or decides on rows: another version may give other bytes."""
PYTHON = "python"


@cache
def library_versions() -> Mapping[str, str]:
    """The version of Python, and of each of `LIBRARIES` that is there."""
    found = {PYTHON: platform.python_version()}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@cache
def code_identity() -> Mapping[str, str]:
    """Version of the package, and one digest over its Python files and `library_versions`: two runs with the same
    digest ran the same code.
    """
    hasher = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        hasher.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        hasher.update(path.read_bytes())
    for name, installed in library_versions().items():
        hasher.update(f"{name} {installed}\0".encode())
    return {"version": VERSION, "digest": f"sha256:{hasher.hexdigest()}"}


def require_code(expected: Mapping[str, str]) -> None:
    """Nothing, where this process runs the `expected` code: a worker may have joined after its run had looked.

    Raises
    ------
    Compute : it runs other code.
    """
    here = code_identity()
    if here != expected:
        raise Compute(
            f"a worker on {socket.gethostname()} runs other code than the run: {told_apart(here, expected)}; units "
            "and models would come out otherwise. Install the same dataops with the same libraries there"
        )


def told_apart(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """How the code that was `found` differs from the `expected` one."""
    if found["version"] != expected["version"]:
        return f"version {found['version']} and not {expected['version']}"
    return f"version {found['version']}, of other files, libraries or Python"
