"""Modules of benchmarks/, which are scripts beside each other: loaded as Python loads them when one of them is run."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


def loaded(name: str) -> ModuleType:
    """The module."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))
