"""A train job through dataops, in a process of its own: told are the seconds of each phase, those of all from when the
job is asked for until its model is there, and what the version says.

Called with a workspace, a job, workers, threads, a memory limit, and what workers import at their start-up if that is
not what boosting needs.
"""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

from telling import tell, tell_phase, versions
from whole import load_driver, seconds_to_model

QUANTISED = re.compile(r"quantised in ([0-9.]+) s")


def main() -> None:
    """Trains."""
    from dataops.declarations.clusters import LocalFile, Shape
    from dataops.declarations.jobs import find_job
    from dataops.engine.progress import Progress
    from dataops.errors import Compute
    from dataops.runs.execute import Options, run_job
    from dataops.runs.workspace import open_workspace

    folder, name, workers, threads, memory_limit, *preload = sys.argv[1:]
    workspace = open_workspace(folder)
    shape = Shape(workers=int(workers), threads=int(threads))
    config = {"distributed.worker.preload": preload or ["xgboost", "dataops.training.candidates"]}
    cluster = LocalFile(train=shape, memory_limit=memory_limit, config=config)
    found = find_job(workspace.settings.workspace / "jobs" / "jobs.yaml", name)
    said = io.StringIO()
    tell(versions=versions("dask", "numpy", "pyarrow", "xgboost-cpu"))
    load_driver()
    tell_phase("work")
    asked = time.time()
    try:
        options = Options(cluster=cluster, again=True)
        outcome = run_job(workspace, found.job, source=found.document.source, options=options, progress=Progress(said))
    except Compute as error:
        tell(refused=str(error))
        return
    tell_phase("end")
    events = [dict(event) for event in outcome.state.events]
    seconds = {event["phase"]: event["seconds"] for event in events if event["event"] == "phase_ended"}
    on_disk = [event["why"] for event in events if event["event"] == "parts_on_disk"]
    needs = [event["needs"] for event in events if event["event"] == "fit_needs"]
    quantised = QUANTISED.findall(said.getvalue())
    [version] = outcome.state.result["versions"]
    holdout = version["metrics"]["holdout"]
    metrics = {"rows": holdout["rows"], "roc_auc": holdout["overall"]["roc_auc"]}
    lineage = workspace.registry.read_manifest(name, version["version"]).lineage
    encoder = workspace.registry.read(name, version["version"]).package.program.encoder
    tell(
        means=[column.mean for column in encoder.numeric],
        scales=[column.scale for column in encoder.numeric],
        categories={column.name: list(column.categories) for column in encoder.categorical},
    )
    tell(search=_plain(lineage.get("search")), phases=seconds, on_disk="".join(on_disk))
    tell(
        seconds=seconds,
        whole=seconds_to_model(events, asked),
        quantised=float(quantised[-1]) if quantised else None,
        needs=needs[-1] if needs else None,
        metrics=metrics,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    main()
