"""dataops itself, in a process of its own like everybody else: one run of a rescore job, done anew.

Work is all from the job's declaration to its published snapshot, but for the cluster's start. What follows (the audit's
checkpoint, the report) is told apart: nobody else makes any.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from telling import tell, tell_phase, versions

PRELOAD = (
    "daal4py.mb",
    "pandas",  # by Arrow, as soon as it is given an array of NumPy
    "dataops.preparation.prepare_unit",
    "dataops.rescoring.score",
)


def main() -> None:
    """Scores."""
    from dataops.declarations.jobs import find_job
    from dataops.engine.progress import Progress
    from dataops.runs import execute
    from dataops.runs.workspace import open_workspace

    folder, name, *flags = sys.argv[1:]
    _tell_of_cluster(execute)
    _tell_of_end(execute)
    workspace = open_workspace(folder)
    cluster = workspace.cluster(None)
    preload = [one for one in PRELOAD if _is_here(one)]  # what workers import is start-up, for everybody
    cluster = cluster.model_copy(update={"config": {**cluster.config, "distributed.worker.preload": preload}})
    packages = ["dask", "distributed", "numpy", "pyarrow", "xgboost-cpu"]
    packages += ["scikit-learn-intelex"] if _is_here("daal4py") else []
    tell(versions=versions(*packages))
    tell_phase("work")
    found = find_job(workspace.settings.workspace / "jobs" / "jobs.yaml", name)
    options = execute.Options(cluster=cluster, again="--again" in flags)
    progress = Progress(sys.stderr, quiet=True)
    outcome = execute.run_job(workspace, found.job, source=found.document.source, options=options, progress=progress)
    tell_phase("end")
    linked = [dict(event) for event in outcome.state.events if event["event"] == "units_linked"]
    result = _plain(dict(outcome.state.result))
    phases = {} if outcome.skipped else outcome.state.phase_seconds()
    tell(run=outcome.state.run.id, skipped=outcome.skipped, linked=_plain(linked[-1:]), phases=phases, result=result)


def _is_here(name: str) -> bool:
    return importlib.util.find_spec(name.partition(".")[0]) is not None


def _tell_of_cluster(execute: Any) -> None:
    """The start of the cluster counts as start, and so does its end."""
    connect = execute.connect

    @contextmanager
    def told(*args: Any, **kwargs: Any) -> Iterator[Any]:
        tell_phase("start")
        with connect(*args, **kwargs) as connection:
            tell_phase("work")
            yield connection

    execute.connect = told


def _tell_of_end(execute: Any) -> None:
    """The work ends when the run is done."""
    sign = execute.try_sign_audit

    def told(*args: Any) -> None:
        tell_phase("end")
        sign(*args)

    execute.try_sign_audit = told


def _plain(value: Any) -> Any:
    if hasattr(value, "items"):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


if __name__ == "__main__":
    main()
