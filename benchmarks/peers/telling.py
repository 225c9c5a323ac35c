"""What a measured process tells the one that watches it: lines of JSON behind ``@@``; see `measuring.watch`.

Standard library only: every peer has it, whatever its environment holds.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from pathlib import Path
from typing import Any


def tell(**message: Any) -> None:
    """The line is out, in one write."""
    sys.stdout.write(f"\n@@{json.dumps(message)}\n")
    sys.stdout.flush()


def tell_phase(phase: str) -> None:
    """From now on it is `phase`: ``start``, ``work`` or ``end``."""
    tell(phase=phase, at=time.monotonic())


class Steps:
    """Seconds of each step of some work, one after another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._at = time.perf_counter()

    def took(self, step: str) -> None:
        """The `step` took all the time since the one before."""
        now = time.perf_counter()
        self.seconds[step], self._at = now - self._at, now


def read_spec() -> tuple[dict[str, Any], Path]:
    """What is to be scored and the folder for the output, as the command line says."""
    spec, output = sys.argv[1:3]
    return json.loads(Path(spec).read_text()), Path(output)


def versions(*packages: str) -> dict[str, str]:
    """Versions of the packages of this environment."""
    return {name: importlib.metadata.version(name) for name in packages} | {"python": sys.version.split()[0]}
