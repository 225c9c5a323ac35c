"""A benchmark from its folder to its result."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dataops.bench.course import Course, begin, run_course
from dataops.bench.making import Data
from dataops.bench.page import render_page
from dataops.bench.place import Place, at_work, clear, take_place
from dataops.bench.quality import check_canaries, check_models, check_rows, rows_learnt
from dataops.bench.results import METRIC, Check, Result, add_result, read_results
from dataops.bench.room import require_room
from dataops.bench.scores import check_scores
from dataops.bench.sizes import TABLES, Size
from dataops.declarations.clusters import read_cluster
from dataops.declarations.templates import template_folder
from dataops.engine.code import code_identity
from dataops.engine.connect import usable_cores
from dataops.engine.progress import Progress
from dataops.records import format_time, now_utc
from dataops.runs.workspace import Workspace
from dataops.settings import find_file

PACKAGES = ("dask", "distributed", "pyarrow", "numpy", "scikit-learn", "xgboost-cpu", "xgboost", "pandas")


def run_bench(
    folder: Path,
    size: Size,
    *,
    cluster: str | None,
    storage: str | None,
    workers: int | None,
    streams: int,
    keep: bool,
    progress: Progress,
) -> tuple[Place, Result]:
    """The result of one benchmark in `folder`, added to those that lie there.

    Parameters
    ----------
    cluster : a cluster file, from the present folder; None: processes on this machine.
    storage : a URL below which everything large lies; None: `folder`.
    streams : how many rescores run side by side.
    keep : leave data, datasets and models; those of a run that is invalid, or below a `storage`, stay anyway.

    Raises
    ------
    DataopsError : of the family that says what to do; a phase that fails leaves no result.
    """
    place = take_place(folder, size, storage)
    with at_work(place):
        cluster_file = find_file(Path.cwd(), cluster) if cluster else template_folder() / "cluster" / "local.yaml"
        progress.say(f"bench: scale {size.scale:g}, seed {size.seed}, in {folder}")
        result = _measured(place, cluster_file.resolve(), workers=workers, streams=streams, progress=progress)
        add_result(place.results, result)
        write_page(place)
        if result.throughput is not None and not keep and storage is None:
            clear(place)
    return place, result


def _measured(place: Place, cluster_file: Path, *, workers: int | None, streams: int, progress: Progress) -> Result:
    """What the benchmark comes to, from the first part of its data to the last check."""
    began = time.monotonic()
    require_room(place.size, read_cluster(cluster_file, workspace=place.folder), workers=workers)
    course, data = begin(place, cluster_file, workers=workers, progress=progress)
    workspace, held = run_course(course, data, streams)
    checks = _judged(course, workspace, data)
    return Result(
        measured_at=format_time(now_utc()),
        scale=place.size.scale,
        seed=place.size.seed,
        streams=streams,
        phases=tuple(course.phases),
        checks=checks,
        seconds=time.monotonic() - began,
        data=_told_of(data, held),
        cluster={"kind": course.cluster.kind, **course.shape},
        machine=machine(),
        versions=versions(),
        code=dict(code_identity()),
        metric=METRIC,
    )


def write_page(place: Place) -> None:
    """The page of the newest result in the folder, in place of the one before."""
    results, strange = read_results(place.results)
    attempt = place.page.with_suffix(".tmp")
    attempt.write_text(render_page(results, strange=strange), encoding="utf-8")
    attempt.replace(place.page)


def _judged(course: Course, workspace: Workspace, data: Data) -> tuple[Check, ...]:
    settings, trained = workspace.settings, course.outcomes["fraud"]
    course.progress.start("checks", 0)
    canaries, _, _ = course.on_cluster(lambda client: check_canaries(client, (settings.storage, settings.registry)))
    return (
        *check_models(trained),
        *check_rows(course.outcomes, data, workspace),
        *check_scores(workspace, course.scored, data, data_url=course.place.data_url, learnt=rows_learnt(trained)),
        canaries,
    )


def _told_of(data: Data, held: int) -> dict[str, Any]:
    return {
        "digest": data.digest,
        "rows": {table: data.rows(table) for table in TABLES},
        "files": len(data.parts),
        "size_bytes": data.size_bytes,
        "decoded_bytes": held,
    }


def machine() -> Mapping[str, Any]:
    """What this machine is, as far as it says; its name stays here."""
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None,
        "python": platform.python_version(),
    }


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8", errors="replace").splitlines() if told.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def versions() -> Mapping[str, str]:
    """The versions of what computes."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
