"""Where the time of each phase of the line goes: what `dataops bench` runs, on one worker with one thread, sampled.

    python benchmarks/where.py               # 3 million payments
    python benchmarks/where.py --quick       # a tenth of them

1. The worker's thread is looked at every ten milliseconds (Dask's statistical profile). A sample counts for the
   innermost of our functions that `STEPS` names, so native code counts for the step that called it.
2. Seconds of a step are its share of the samples, times the seconds in which the worker had a task in hand. ``waiting``
   is the rest of the phases' time: planning the next task, sending it, and what the driver does alone.
3. ``bare`` is what the same columns and rows cost without a rule, a mask, a receipt or a step: Arrow decodes what the
   job reads, and encodes what it writes, in one process with one thread.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from history import arguments, write_record
from measuring import Spread, end_on_signal, require, seconds
from ours import parts_of

from dataops.bench.place import JOBS, RESCORES
from dataops.datasets.commit import parquet_bytes
from dataops.declarations.clusters import Shape
from dataops.declarations.jobs import find_job
from dataops.engine.progress import Progress
from dataops.runs import execute
from dataops.runs.execute import Options, run_job
from dataops.runs.workspace import Workspace, open_workspace

SCALE, QUICK_SCALE = 0.3, 0.03
SAMPLES = {"distributed.worker.profile.interval": "10ms"}
PHASES = {
    "payments": JOBS,
    "payments_joined": JOBS,
    "training": JOBS,
    "arrivals": JOBS,
    "fraud": JOBS,
    "scores": RESCORES,
}
STEPS = (  # where a function is, its name (any, where it is empty), what it does
    ("datasets/allowed.py", "", "decode, policy's filter"),
    ("datasets/footers.py", "", "decode, policy's filter"),
    ("governance/checking.py", "", "contract's rules"),
    ("datasets/survey.py", "", "contract's rules"),
    ("datasets/quarantine.py", "", "rows set aside"),
    ("datasets/scan.py", "_masked", "masks"),
    ("governance/masking.py", "", "masks"),
    ("features/steps.py", "", "derive, where"),
    ("preparation/split.py", "", "split"),
    ("preparation/exchange.py", "", "rows exchanged by key"),
    ("preparation/matching.py", "", "join"),
    ("preparation/asof.py", "", "join"),
    ("preparation/aggregate.py", "", "aggregate"),
    ("preparation/deduplicate.py", "", "join"),
    ("preparation/join_tasks.py", "", "join"),
    ("features/summary.py", "", "summarise"),
    ("features/encoder.py", "", "encode features"),
    ("training/linear_kernels.py", "", "fit"),
    ("training/", "", "train"),
    ("models/", "", "predict"),
    ("rescoring/monitored.py", "", "drift"),
    ("datasets/commit.py", "parquet_bytes", "encode Parquet"),
    ("datasets/commit.py", "_write", "digest, footer, write"),
    ("datasets/commit.py", "commit_unit", "records"),
    ("storage/", "", "digest, footer, write"),
)
REST = "rest"


@dataclass(slots=True)
class Sampled:
    """What was seen of one job."""

    profile: Mapping[str, Any] = field(default_factory=dict)
    busy_seconds: float = 0.0


def main() -> None:
    """Measures, prints, writes the record."""
    end_on_signal()
    given = arguments(__doc__, "where", quick="a tenth of the payments").parse_args()
    scale = QUICK_SCALE if given.quick else SCALE
    tables: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="dataops-where-") as folder:
        place = Path(folder) / "bench"
        make(place, scale)
        workspace = open_workspace(str(place))
        for job, file in PHASES.items():
            tables[job] = sample(workspace, job, file)
            show(job, tables[job])
        shutil.rmtree(place)
    figures = {f"{job}: {step}, s": Spread.of([took]) for job, found in tables.items() for step, took in found.items()}
    record: dict[str, Any] = {"question": "where", "quick": given.quick, "scale": scale, "seconds": tables}
    write_record(given.record, record, {}, phases={}, cluster=(1, 1), figures=figures)


def make(place: Path, scale: float) -> None:
    """The benchmark's workspace after a whole course."""
    command = [
        str(Path(sys.executable).with_name("dataops")),
        "bench",
        "--scale",
        str(scale),
        "--streams",
        "1",
        "--keep",
        str(place),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sample(workspace: Workspace, name: str, file: str) -> dict[str, float]:
    """Seconds of each step of the job, done anew; the whole, the waiting, and the bare work beside."""
    found = find_job(workspace.settings.workspace / file, name)
    cluster = workspace.cluster(None)
    one = Shape(workers=1, threads=1)
    cluster = cluster.model_copy(update={"score": one, "train": one, "config": {**cluster.config, **SAMPLES}})
    options = dataclasses.replace(Options(cluster=cluster), again=True)
    with sampling() as seen:
        outcome = run_job(
            workspace,
            found.job,
            source=found.document.source,
            options=options,
            progress=Progress(sys.stderr, quiet=True),
        )
    whole = sum(outcome.state.phase_seconds().values())
    shares = by_step(seen.profile)
    require(bool(shares), f"samples of {name}")
    steps = {step: share * seen.busy_seconds for step, share in sorted(shares.items(), key=lambda one: -one[1])}
    bare = bare_seconds(workspace, found.job)
    return {**steps, "waiting": whole - seen.busy_seconds, "whole": whole, **({"bare": bare} if bare else {})}


@contextmanager
def sampling() -> Iterator[Sampled]:
    """What the worker of each run was seen to do, when its cluster ends."""
    seen, before = Sampled(), execute.connect

    @contextmanager
    def told(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with before(*args, **kwargs) as connection:
            yield connection
            client = connection.client
            time.sleep(1.5)  # the worker puts its samples together once a second
            seen.profile = client.profile()
            seen.busy_seconds = float(client.run_on_scheduler(_busy_seconds))

    execute.connect = told
    try:
        yield seen
    finally:
        execute.connect = before


def _busy_seconds(dask_scheduler: Any) -> float:
    """Seconds in which tasks were executed."""
    return sum(prefix.all_durations.get("compute", 0.0) for prefix in dask_scheduler.task_prefixes.values())


def by_step(profile: Mapping[str, Any], step: str = REST) -> dict[str, float]:
    """The share of each step in the samples."""
    counts: dict[str, float] = {}
    _count(profile, step, counts)
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else {}


def _count(node: Mapping[str, Any], step: str, counts: dict[str, float]) -> None:
    step = _step_of(node.get("description") or {}) or step
    children = list(node["children"].values())
    own = node["count"] - sum(child["count"] for child in children)
    if own:
        counts[step] = counts.get(step, 0.0) + own
    for child in children:
        _count(child, step, counts)


def _step_of(description: Mapping[str, Any]) -> str | None:
    file, function = str(description.get("filename", "")), str(description.get("name", ""))
    _, _, place = file.rpartition("/dataops/")
    for where, name, step in STEPS:
        if place and (place.startswith(where) if where.endswith("/") else place == where) and name in ("", function):
            return step
    return None


def bare_seconds(workspace: Workspace, job: Any) -> float | None:
    """Seconds in which one thread of Arrow's decodes what the job writes and encodes it again; None of what it fits."""
    output = getattr(job, "output", None)
    if output is None:
        return None
    files = [path for path in parts_of(workspace, output) if Path(path).exists()]
    before = pa.cpu_count()
    pa.set_cpu_count(1)
    try:
        return seconds(lambda: [parquet_bytes(pq.read_table(path, use_threads=False)) for path in files])
    finally:
        pa.set_cpu_count(before)


def show(job: str, steps: Mapping[str, float]) -> None:
    """One table."""
    whole = steps["whole"]
    print(f"\n{job:<28}{'s':>8}{'share':>8}")
    for step, took in steps.items():
        print(f"  {step:<26}{took:8.2f}{took / whole:8.0%}", flush=True)


if __name__ == "__main__":
    main()
