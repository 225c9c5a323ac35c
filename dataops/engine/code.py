"""Which code ran: recorded with every run and model version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import dataops


@cache
def code_identity() -> Mapping[str, str]:
    """Version of the package, and one digest over its Python files: two runs with the same digest ran the same code."""
    hasher = hashlib.sha256()
    folder = Path(dataops.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        hasher.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        hasher.update(path.read_bytes())
    return {"version": dataops.__version__, "digest": f"sha256:{hasher.hexdigest()}"}
