"""A logistic train job through dataops, in a process of its own: told are the seconds of each phase, those of all from
when the job is asked for until its model is there, and the model.

Called with the file that `logistic.py` wrote.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from telling import tell, tell_phase, versions
from whole import load_driver, seconds_to_model

PRELOAD = ["dataops.training.linear", "dataops.rescoring.score", "dataops.training.linear_kernels"]


def main() -> None:
    """Trains."""
    from dataops.declarations.clusters import LocalFile, Shape
    from dataops.declarations.jobs import find_job
    from dataops.engine.progress import Progress
    from dataops.models.linear import LinearModel
    from dataops.runs.execute import Options, run_job
    from dataops.runs.workspace import open_workspace

    spec = json.loads(Path(sys.argv[1]).read_text())
    workspace = open_workspace(spec["workspace"])
    shape = Shape(workers=spec.get("workers", 1), threads=spec["cores"])
    config = {"distributed.worker.preload": PRELOAD}  # what workers import is start-up, for everybody
    cluster = LocalFile(train=shape, config=config, memory_limit=spec.get("memory_limit", "auto"))
    found = find_job(workspace.settings.workspace / "jobs" / "jobs.yaml", "late")
    tell(versions=versions("dask", "numpy", "numba", "pyarrow"))
    load_driver()
    tell_phase("work")
    options = Options(cluster=cluster, again=True)
    progress = Progress(sys.stderr, quiet=True)
    asked = time.time()
    outcome = run_job(workspace, found.job, source=found.document.source, options=options, progress=progress)
    tell_phase("end")
    events = [dict(event) for event in outcome.state.events]
    took = {event["phase"]: event["seconds"] for event in events if event["event"] == "phase_ended"}
    [version] = outcome.state.result["versions"]
    package = workspace.registry.read("late", version["version"]).package
    model, encoder = LinearModel.from_bytes(package.model), package.program.encoder
    categorical = {
        column.name: dict(zip(column.categories, weights[1:], strict=True))
        for column, weights in zip(encoder.categorical, model.categorical, strict=True)
    }
    names = ("distance", "hour", "weekday")  # in the order of the job's features
    on_disk = [event["why"] for event in events if event["event"] == "parts_on_disk"]
    lineage = workspace.registry.read_manifest("late", version["version"]).lineage
    tell(
        on_disk="".join(on_disk),
        whole=seconds_to_model(events, asked),
        passes=lineage["fit"]["passes"],
        seconds={"summarise": took["summarise"], "encode": took["encode"], "fit": took["fit logistic"]},
        model={
            "intercept": model.intercept,
            "numeric": dict(zip(names, model.numeric, strict=True)),
            "categorical": categorical,
        },
    )


if __name__ == "__main__":
    main()
