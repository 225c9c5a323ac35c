"""What a registry on disk takes: registering a version, promoting it, loading it, and an application's swap to it.

    python benchmarks/registry.py            # twenty turns
    python benchmarks/registry.py --quick    # three turns

1. The versions hold boosted trees of 20,000 flights (100 rounds) with their program, as training registers them; each
   is another version, of other lineage. One more turn goes first and doesn't count.
2. ``verified read`` is the registry's own: every byte of the version is checked. ``load`` is an application's first
   handle, ``swap`` a handle's look after a promotion, ``look`` one that finds nothing new. The handle has to serve the
   version that was promoted, and to answer as the model does.
3. Without signatures, on one local disk; ``null`` is a second verified read of the same version.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from history import arguments, data_of_files, write_record
from measuring import Spread, end_on_signal, require, seconds
from ours import run_here
from scored_sets import NARROW, data_of, make_workspace

from dataops.models.package import Package
from dataops.records import now_utc
from dataops.registry.aliases import CHAMPION, move
from dataops.registry.versions import Registry
from dataops.runtime import UNSIGNED, load
from dataops.storage.objects import open_store

ROWS = 20_000
TURNS, QUICK_TURNS = 20, 3
MODEL = "scorer"
NULL = "null: verified read/verified read"


def main() -> None:
    """Measures, prints, writes the record."""
    end_on_signal()
    parser = arguments(__doc__, "registry", quick="three turns")
    parser.add_argument("--turns", type=int, default=None, help="default: 20, with --quick 3")
    given = parser.parse_args()
    turns = given.turns or (QUICK_TURNS if given.quick else TURNS)
    with tempfile.TemporaryDirectory(prefix="dataops-registry-") as folder:
        files = data_of(NARROW, ROWS)
        package, rows = trained(Path(folder) / "workspace", files)
        phases = measure(Path(folder) / "models", package, rows, turns)
        data = data_of_files((files / "data").iterdir(), ROWS)
    again = phases.pop("verified read, once more")
    ratios = {NULL: Spread.of([one / other for one, other in zip(again, phases["verified read"], strict=True)])}
    for name, found in phases.items():
        spread = Spread.of([one * 1000 for one in found])
        print(f"{name:<20}{spread.median:10.2f} ms ({spread.min:.2f} to {spread.max:.2f})", flush=True)
    record = {"question": "registry", "quick": given.quick, "model_bytes": len(package.model)}
    figures = {f"{name}, ms": Spread.of([one * 1000 for one in found]) for name, found in phases.items()}
    write_record(given.record, record, ratios, phases=phases, data=data, figures=figures)


def trained(folder: Path, files: Path) -> tuple[Package, Any]:
    """A version that training registered, and rows to ask it about."""
    workspace = make_workspace(folder, NARROW, files)
    for name in ("ready", "scorer"):
        run_here(workspace, name)
    [first, *_] = sorted((files / "data").iterdir())
    return workspace.registry.read(MODEL, 1).package, pq.read_table(first, columns=list(NARROW.columns)).slice(0, 100)


def measure(models: Path, package: Package, rows: Any, turns: int) -> dict[str, list[float]]:
    """Seconds of each step, turn by turn."""
    registry = Registry(open_store(str(models)), UNSIGNED)
    promote(registry, register(registry, package, 0))
    expected = None
    found: dict[str, list[float]] = {}
    with closing(load(models, MODEL, trust=UNSIGNED, every=None)) as handle:
        for turn in range(1, turns + 2):
            number = turn + 1
            steps: dict[str, Callable[[], object]] = {
                "register": lambda turn=turn: register(registry, package, turn),
                "verified read": lambda number=number: registry.read(MODEL, number),
                "verified read, once more": lambda number=number: registry.read(MODEL, number),
                "promote": lambda number=number: promote(registry, number),
                "swap": handle.refresh,
                "look": handle.refresh,
                "load": lambda: load(models, MODEL, trust=UNSIGNED, every=None).close(),
                "predict 100 rows": lambda: handle.predict(rows),
            }
            for name, step in steps.items():
                took = seconds(step)
                if turn > 1:
                    found.setdefault(name, []).append(took)
            require(handle.version.version == number, "the handle serves what was promoted")
            answers = handle.predict(rows)
            expected = answers if expected is None else expected
            require(bool(np.array_equal(answers, expected)), "every version answers as the model does")
    return found


def register(registry: Registry, package: Package, turn: int) -> int:
    """The number of a version that nobody registered yet."""
    another = replace(package, lineage={**package.lineage, "run": f"benchmark-{turn}"})
    return registry.register(MODEL, another, at=now_utc()).version


def promote(registry: Registry, number: int) -> None:
    """The champion is that version."""
    move(registry, MODEL, CHAMPION, number, actor="benchmark", reason="measured")


if __name__ == "__main__":
    main()
