"""One of two writers of the same runs: does every unit of each, in an order of its own, and publishes.

``python -m tests.faults.writer FOLDER``: FOLDER/work holds what to do; each line of stdin is a run, an order, and maybe
a death; each line of stdout the digest of the manifest that this writer came to.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from dataops.datasets.access import GovernedInput
from dataops.datasets.units import Unit
from dataops.engine.tasks import Task
from dataops.records import digest_bytes
from dataops.rescoring.plan import ScorePlan
from dataops.rescoring.run import run_rescore
from dataops.storage.objects import open_store
from tests.engine.inline import InlineWork
from tests.faults.dying import deaths_of, mortal


class OrderedWork(InlineWork):
    """Work without a cluster, in an order that follows from its seed; units with a record are done all the same."""

    def phase(self, *_: object, **__: object) -> nullcontext[None]:
        return nullcontext()

    def map_units(self, phase: str, function: Task, context: Any, units: Sequence[Unit], **named: Any) -> list[Any]:
        def landed(unit: Unit, result: Any) -> None:
            if unit.id not in named["done"]:  # what is there was counted
                named["landed"](unit, result)

        return InlineWork.map_units(self, phase, function, context, units, landed=landed)


def main(folder: str) -> None:
    plan, given, registry = _read(Path(folder) / "work")
    storage = str(Path(folder) / "storage")
    open_store(storage)
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        told = json.loads(line)
        marks = Path(folder) / "marks" / told["run"]
        marks.mkdir(parents=True, exist_ok=True)
        work = OrderedWork(run=told["run"], seed=told["seed"])
        with mortal(deaths_of(told["deaths"]), marks):
            manifest, _, _ = run_rescore(plan, given, work.work, storage=storage, registry=registry)
        print(digest_bytes(manifest.to_bytes()), flush=True)  # noqa: T201


def _read(path: Path) -> tuple[ScorePlan, GovernedInput, str]:
    plan, given, registry = pickle.loads(path.read_bytes())
    return plan, given, registry


if __name__ == "__main__":
    main(sys.argv[1])
