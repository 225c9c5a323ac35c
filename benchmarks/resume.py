"""What it costs to resume a rescore that was killed after some of its units were done.

    python benchmarks/resume.py            # 12 million flights in fifty files, killed at 20, 50 and 80 percent
    python benchmarks/resume.py --quick    # a tenth of the rows, killed at 50 percent, one round

1. The run is started as a person starts it, and everything of it is killed (SIGKILL to its driver and its workers) once
   so many of its fifty units have their record; then ``dataops job resume RUN`` does the others.
2. The scores of the resumed run are compared with an undisturbed run's, row by row, to the bit, before a figure counts.
3. ``resume`` is all that the second process takes, its start and its cluster's too. The ratio is of what both processes
   took to an undisturbed one: beyond 1 is another start, units that were under way, and what finding out takes.
4. A round is undisturbed, killed and resumed at each share, undisturbed again (``null``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa
from compared import compare_rows, read_output
from history import arguments, data_of_files, write_record
from measuring import Spread, end_on_signal, require
from ours import parts_of, run_here
from pace import cores
from scored_sets import FIFTY, FIFTY_FILES, QUICK, data_of, make_workspace

from dataops.runs.workspace import Workspace

SHARES, QUICK_SHARES = (20, 50, 80), (50,)
PROGRAM = (sys.executable, "-m", "dataops.cli.main")
JOB = "scores"
POLL_SECONDS, LONGEST = 0.02, 1800.0
WHOLE, NULL = "undisturbed", "null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """A run that was killed and resumed: seconds of both processes, and units that were done when it was killed."""

    before: float
    resumed: float
    units: int


def main() -> None:
    """Measures, prints, writes the record."""
    end_on_signal()
    parser = arguments(__doc__, "resume", quick="a tenth of the rows, killed at 50 percent, one round")
    parser.add_argument("--rows", type=int, default=None, help="instead of twelve million")
    parser.add_argument("--rounds", type=int, default=None, help="default: 3, with --quick 1")
    parser.add_argument("--shares", default="", help="percent of units at which a run is killed: 20,50,80")
    given = parser.parse_args()
    rows = given.rows or FIFTY_FILES.rows // (QUICK if given.quick else 1)
    rounds = given.rounds or (1 if given.quick else 3)
    shares = [int(one) for one in given.shares.split(",") if one] or (QUICK_SHARES if given.quick else SHARES)
    with tempfile.TemporaryDirectory(prefix="dataops-resume-") as folder:
        files = data_of(FIFTY_FILES, rows)
        workspace = make_workspace(Path(folder), FIFTY_FILES, files)
        for name in ("ready", "scorer"):
            run_here(workspace, name)
        whole: dict[str, list[float]] = {WHOLE: [], NULL: []}
        killed: dict[int, list[Killed]] = {share: [] for share in shares}
        for turn in range(rounds):
            measure_round(workspace, turn, whole, killed)
        data = data_of_files((files / "data").iterdir(), rows)
    ratios = find_ratios(whole, killed)
    show(whole, killed, ratios, rows)
    phases = {
        WHOLE: whole[WHOLE],
        **{f"resume at {share}%": [one.resumed for one in killed[share]] for share in killed},
    }
    units = {str(share): [one.units for one in found] for share, found in killed.items()}
    record = {"question": "resume", "quick": given.quick, "rows": rows, "units_done": units}
    write_record(given.record, record, ratios, phases=phases, data=data, cluster=(cores(), 1))


def measure_round(
    workspace: Workspace, turn: int, whole: Mapping[str, list[float]], killed: Mapping[int, list[Killed]]
) -> None:
    """One undisturbed run, one of each share, and one undisturbed again; all gave the same scores."""
    whole[WHOLE].append(undisturbed(workspace))
    expected = scores_of(workspace)
    for share, found in killed.items():
        found.append(killed_and_resumed(workspace, share))
        same_scores(f"killed at {share} percent", scores_of(workspace), expected)
        print(f"round {turn + 1}: killed after {found[-1].units} of {FIFTY} units, resumed, scores equal", flush=True)
    whole[NULL].append(undisturbed(workspace))


def undisturbed(workspace: Workspace) -> float:
    """Seconds of a run that nobody disturbs."""
    begun = time.perf_counter()
    with started(workspace, "job", "run", "jobs/jobs.yaml", JOB, "--again", "--json") as process:
        _, said = process.communicate(timeout=LONGEST)
    require(process.returncode == 0, f"the run ended with {process.returncode}: {said[-500:]}")
    return time.perf_counter() - begun


def killed_and_resumed(workspace: Workspace, share: int) -> Killed:
    """A run that is killed once `share` percent of its units are done, and then resumed."""
    known, begun = runs_of(workspace), time.perf_counter()
    with started(workspace, "job", "run", "jobs/jobs.yaml", JOB, "--again", "--json") as process:
        run, units = wait_for_units(workspace, process, known, FIFTY * share // 100)
        before = kill(process, begun)
    begun = time.perf_counter()
    with started(workspace, "job", "resume", run, "--json") as process:
        answer, said = process.communicate(timeout=LONGEST)
    resumed = time.perf_counter() - begun
    require(process.returncode == 0, f"resuming ended with {process.returncode}: {said[-500:]}")
    require(run in json.dumps(json.loads(answer)), "the run that was killed is the one that was resumed")
    return Killed(before=before, resumed=resumed, units=units)


def started(workspace: Workspace, *words: str) -> subprocess.Popen[str]:
    """A verb's process, in a session of its own."""
    return subprocess.Popen(
        [*PROGRAM, *words],
        cwd=workspace.settings.workspace,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_units(
    workspace: Workspace, process: subprocess.Popen[str], known: set[str], wanted: int
) -> tuple[str, int]:
    """The new run, and how many units it has done: as many as are wanted, or a few more."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end and process.poll() is None:
        for run in runs_of(workspace) - known:
            done = len(list((_runs_folder(workspace) / run / "units").glob("*.json")))
            if done >= wanted:
                return run, done
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"wrong result: the run ended with {process.poll()} before {wanted} units were done")


def kill(process: subprocess.Popen[str], begun: float) -> float:
    """Seconds until the driver and all below it were gone."""
    below = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for one in below:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    took = time.perf_counter() - begun
    process.wait()
    psutil.wait_procs(below, timeout=10)
    return took


def runs_of(workspace: Workspace) -> set[str]:
    """Runs that made units of the scores."""
    folder = _runs_folder(workspace)
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _runs_folder(workspace: Workspace) -> Path:
    return Path(workspace.settings.storage.removeprefix("file://")) / "datasets" / JOB / "runs"


def scores_of(workspace: Workspace) -> pa.Table:
    """The newest scores."""
    return read_output(parts_of(workspace, JOB), FIFTY_FILES.keep)


def same_scores(name: str, got: pa.Table, expected: pa.Table) -> None:
    """Nothing, if every row has the same score, to the bit."""
    require(compare_rows(name, got, expected, FIFTY_FILES.keep) == 0.0, f"{name}: the scores of an undisturbed run")


def find_ratios(whole: Mapping[str, Sequence[float]], killed: Mapping[int, Sequence[Killed]]) -> dict[str, Spread]:
    """What both processes took to an undisturbed one, round by round."""
    found = {
        f"killed at {share}% and resumed/{WHOLE}": Spread.of(
            [(one.before + one.resumed) / took for one, took in zip(some, whole[WHOLE], strict=True)]
        )
        for share, some in killed.items()
    }
    pairs = zip(whole[NULL], whole[WHOLE], strict=True)
    return found | {f"null: {WHOLE}/{WHOLE}": Spread.of([one / other for one, other in pairs])}


def show(
    whole: Mapping[str, Sequence[float]],
    killed: Mapping[int, Sequence[Killed]],
    ratios: Mapping[str, Spread],
    rows: int,
) -> None:
    """The tables."""
    print(f"\n{rows:,} flights in {FIFTY} files: undisturbed {Spread.of(whole[WHOLE]).median:.2f} s")
    for share, found in killed.items():
        before, resumed = (Spread.of(one).median for one in zip(*[(k.before, k.resumed) for k in found], strict=True))
        print(f"killed at {share}%: {before:.2f} s until then, resumed in {resumed:.2f} s")
    for name, one in ratios.items():
        print(f"{name:<40}{one.median:8.2f} ({one.min:.2f} to {one.max:.2f})", flush=True)


if __name__ == "__main__":
    main()
