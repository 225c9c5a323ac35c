"""What recording a run costs the cluster, and what its page costs.

    python benchmarks/recorder.py            # ten rounds: ten minutes
    python benchmarks/recorder.py --quick    # two rounds of a fifth of the tasks

1. Tasks are those of a job (`Work.map_units`), each with the same fixed work and no reading or writing, on a Dask
   scheduler and two workers that are processes of their own. CPU seconds of these three are taken from outside; the
   driver's own are told apart.
2. ``tasks`` take 50 ms of a processor, less than a job's usually do, which are made to last up to a second; ``tiny``
   ones take 1 ms: no job has such, and they show what a task costs.
3. A round is plain, recorded, plain again (``null``: what its ratio strays from 1 is noise), recorded and shown. A
   ratio is of two runs of one round. Runs that are shown are on a cluster of their own with the same shape: a page that
   is there once stays there.
4. Before a figure counts, the records have to hold every task.
5. The last line is one JSON object.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from history import arguments, write_record
from measuring import Spread, end_on_signal, require

from dataops.datasets.snapshot import Fragment, RowGroup
from dataops.datasets.units import Unit
from dataops.engine.connect import Connection
from dataops.engine.noted import Recorded
from dataops.engine.progress import Progress
from dataops.engine.recorder import begin_recording
from dataops.engine.work import Work
from dataops.records import new_nonce
from dataops.runs.showing import shown

LIMIT = 1.02
WORKERS = 2
PLAIN, RECORDED, NULL, SHOWN = "plain", "recorded", "null", "recorded and shown"
LARGE = 2**30  # decoded bytes of a unit: it is a task of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Tasks of one size: `rounds` of hashing each, and how many a run has."""

    name: str
    rounds: int
    tasks: int


LOADS = (Load(name="tasks", rounds=50, tasks=120), Load(name="tiny", rounds=1, tasks=1_000))
_MILLISECOND = bytes(1_500_000)  # SHA-256 of so many takes about as long


def burn(rounds: int, unit: Unit) -> int:
    """A fixed amount of work."""
    for _ in range(rounds):
        hashlib.sha256(_MILLISECOND).digest()
    return unit.rows


def main() -> None:
    """Measures, prints, writes the record."""
    end_on_signal()
    parser = arguments(__doc__, "recorder", quick="two rounds of a fifth of the tasks")
    parser.add_argument("--rounds", type=int, default=None, help="default: 10, with --quick 2")
    given = parser.parse_args()
    rounds, share = given.rounds or (2 if given.quick else 10), 5 if given.quick else 1
    with ExitStack() as stack:
        plain, page = (stack.enter_context(processes()) for _ in range(2))
        runs = {one.name: measure(plain, page, one, one.tasks // share, rounds) for one in LOADS}
    ratios = {
        f"{what}/plain (CPU seconds), {name}": Spread.of([one[what]["cluster"] / one[PLAIN]["cluster"] for one in some])
        for name, some in runs.items()
        for what in (RECORDED, NULL, SHOWN)
    }
    show(runs, ratios)
    limits = {f"{what}/plain (CPU seconds), tasks": LIMIT for what in (RECORDED, SHOWN)}
    phases = {
        f"{what}, {name} (CPU seconds)": [one[what]["cluster"] for one in some]
        for name, some in runs.items()
        for what in (PLAIN, RECORDED, SHOWN)
    }
    record = {"question": "recorder", "quick": given.quick, "limits": limits, "runs": runs}
    write_record(given.record, record, ratios, phases=phases, cluster=(WORKERS, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A Dask scheduler and workers, each a process."""

    client: Any
    pids: Mapping[str, Sequence[int]]

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far: of the Dask scheduler, of all workers, of both, and of this process."""
        used = {name: sum(_cpu(pid) for pid in pids) for name, pids in self.pids.items()}
        return {**used, "cluster": sum(used.values()), "driver": _cpu(os.getpid())}


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@contextmanager
def processes() -> Iterator[Cluster]:
    """A cluster whose Dask scheduler is a process as well."""
    from distributed import Client
    from distributed.deploy.subprocess import SubprocessCluster

    with (
        SubprocessCluster(
            host="127.0.0.1",
            n_workers=WORKERS,
            threads_per_worker=1,
            worker_class="distributed.Worker",
            dashboard_address="127.0.0.1:0",
        ) as started,
        Client(started, set_as_default=False) as client,
    ):
        client.wait_for_workers(WORKERS)
        pids = {"scheduler": [client.run_on_scheduler(os.getpid)], "workers": list(client.run(os.getpid).values())}
        yield Cluster(client=client, pids=pids)


def measure(plain: Cluster, page: Cluster, load: Load, tasks: int, rounds: int) -> list[dict[str, dict[str, float]]]:
    """CPU seconds of each run by name, round by round; one round before doesn't count."""
    units = [_unit(number) for number in range(tasks)]
    found = []
    for turn in range(rounds + 1):
        one = {
            PLAIN: run(plain, load, units, recorded=False),
            RECORDED: run(plain, load, units, recorded=True),
            NULL: run(plain, load, units, recorded=False),
            SHOWN: run(page, load, units, recorded=True, on_page=True),
        }
        if turn:
            found.append(one)
            told = ", ".join(f"{name} {cpu['cluster']:.2f}" for name, cpu in one.items())
            print(f"{load.name}, round {turn}: CPU seconds {told}", flush=True)
    return found


def run(
    cluster: Cluster, load: Load, units: Sequence[Unit], *, recorded: bool, on_page: bool = False
) -> dict[str, float]:
    """CPU seconds that a run over `units` took."""
    name, progress = f"run-{new_nonce()}", Progress(io.StringIO(), quiet=True)
    before = cluster.cpu()
    with ExitStack() as stack:
        take = begin_recording(cluster.client, name) if recorded else None
        teller = None
        if on_page:
            connection = Connection(
                client=cluster.client, dashboard=cluster.client.dashboard_link, workers=WORKERS, threads=1
            )
            asked: dict[str, Any] = {"inputs": [], "reads": {}, "linked_rows": 0, "result": {}, "champions": []}
            told = shown(connection, name, job="burn", kind="prepare", figures=asked, progress=progress)
            teller, _ = stack.enter_context(told)
        work = Work(client=cluster.client, run=name, emit=_unheard, progress=progress, teller=teller)
        work.map_units("burn", burn, load.rounds, units)
        noted = take() if take else None
    after = cluster.cpu()
    if noted is not None:
        require_all(noted, len(units))
    return {key: after[key] - before[key] for key in after}


def require_all(noted: Recorded, tasks: int) -> None:
    """Nothing, if every task is in the records."""
    require(len({one.task for one in noted.tasks}) == tasks, "every task is recorded")
    require(len({one.worker for one in noted.samples}) == WORKERS, "every worker is recorded")


def _unheard(_event: str, /, **_fields: Any) -> None:
    pass


def _unit(number: int) -> Unit:
    group = RowGroup(rows=1000, size_bytes=LARGE)
    fragment = Fragment(
        path=f"part-{number}.parquet", size_bytes=LARGE, digest="sha256:0", row_groups=(group,), modified_ns=1
    )
    return Unit(id=f"u{number:06d}", fragment=fragment, start_group=0, stop_group=1, first_row=0)


def show(runs: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]], ratios: Mapping[str, Spread]) -> None:
    """The tables."""
    print(f"\n{'median CPU seconds':<30}{'scheduler':>10}{'workers':>10}{'driver':>10}")
    middle: Callable[[Sequence[float]], float] = lambda values: Spread.of(values).median  # noqa: E731
    for load, some in runs.items():
        for what in (PLAIN, RECORDED, SHOWN):
            cpu = [middle([one[what][key] for one in some]) for key in ("scheduler", "workers", "driver")]
            print(f"{f'{load}: {what}':<30}{cpu[0]:10.2f}{cpu[1]:10.2f}{cpu[2]:10.2f}")
    print(f"\n{'':<48}{'median':>8}{'min':>8}{'max':>8}  asked")
    for name, one in ratios.items():
        judged = name.endswith(", tasks") and not name.startswith(NULL)
        asked = f"at most {LIMIT}{'  MISSED' if one.median > LIMIT else ''}" if judged else ""
        print(f"{name:<48}{one.median:8.3f}{one.min:8.3f}{one.max:8.3f}  {asked}", flush=True)


if __name__ == "__main__":
    main()
