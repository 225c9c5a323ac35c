"""What a unit costs besides its rows, and whether memory grows with the rows.

    python benchmarks/units.py            # plans 100,000 tiny units and does them all: many minutes
    python benchmarks/units.py --quick    # 2,000 of them; a tenth of the rows for memory

1. Tiny units: files of four rows each, every one a unit. Opening (footers), opening again, the whole plan of the job,
   then a rescore: what a unit costs is its seconds of work, and CPU seconds of all processes.
2. Memory: the same job over one time and ten times the rows, in units of equal size. Peaks are those of the largest
   worker process. The last line is one JSON object.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from history import arguments, write_record
from measuring import Spread, Watched, end_on_signal, require, seconds
from ours import parts_of, run_apart, run_here
from pace import cores
from scored_sets import FIFTY, FIFTY_FILES, QUICK, TINY_FILES, TINY_ROWS, ScoredSet, data_of, make_workspace

from dataops.declarations.jobs import find_job
from dataops.runs.planning import plan_job
from dataops.runs.workspace import Workspace

MEMORY_LIMIT, TIMES = 1.1, 10
WORKER = "multiprocessing.spawn"


def main() -> None:
    """Measures, prints, writes the record."""
    end_on_signal()
    parser = arguments(__doc__, "units", quick="2,000 tiny units, a tenth of the rows")
    parser.add_argument("--units", type=int, default=None, help="tiny units, instead of 100,000")
    parser.add_argument("--rows", type=int, default=None, help="ten times the rows, instead of twelve million")
    given = parser.parse_args()
    units = given.units or (2_000 if given.quick else TINY_FILES.rows // TINY_ROWS)
    rows = given.rows or FIFTY_FILES.rows // (QUICK if given.quick else 1)
    with tempfile.TemporaryDirectory(prefix="dataops-units-") as folder:
        tiny = measure_tiny(Path(folder), units)
    with tempfile.TemporaryDirectory(prefix="dataops-units-") as folder:
        peaks = measure_memory(Path(folder), rows)
    ratios = {f"{TIMES}x the rows/1x, memory": Spread.of([peaks[f"{TIMES}x"] / peaks["1x"]])}
    worst = ratios[f"{TIMES}x the rows/1x, memory"].median
    print(
        f"memory of a worker: {peaks['1x'] / 2**20:,.0f} MB at 1x, {peaks[f'{TIMES}x'] / 2**20:,.0f} MB at {TIMES}x: "
    )
    print(f"  {worst:.3f} times (at most {MEMORY_LIMIT}{'  MISSED' if worst > MEMORY_LIMIT else ''})", flush=True)
    record = {"question": "units", "quick": given.quick, "units": units, "tiny": tiny, "rows": rows}
    phases = {name: [one] for name, one in tiny.items()}
    figures = {f"{name}, ms a unit": Spread.of([one / units * 1e3]) for name, one in tiny.items()}
    record["peak_bytes"] = peaks
    write_record(given.record, record, ratios, phases=phases, cluster=(cores(), 1), figures=figures)


def measure_tiny(folder: Path, units: int) -> dict[str, float]:
    """Seconds by what was done."""
    workspace = trained(folder, TINY_FILES, units * TINY_ROWS)
    found = find_job(workspace.settings.workspace / "jobs" / "jobs.yaml", "scores")
    job, source = found.job, found.document.source
    spent = {
        "open, all footers new": seconds(lambda: workspace.open_inputs(job)),
        "open again": seconds(lambda: workspace.open_inputs(job)),
        "open and plan": seconds(lambda: plan_job(workspace, job, workspace.open_inputs(job), source=source)),
    }
    run = run_apart(workspace, "scores", "--again")
    counts = run.told["result"]["reads"]["input"]["counts"]
    require(counts["passed"] == units * TINY_ROWS, "every row of every tiny unit was scored")
    work = run.phases["work"]
    spent |= {"rescore": work.seconds, "rescore, CPU": work.cpu_seconds}
    again = run_apart(workspace, "scores")
    require(bool(again.told["skipped"]), "nothing changed, so nothing is scored")
    spent["rescore with nothing changed"] = again.phases["work"].seconds
    print(f"\n{units:,} units of {TINY_ROWS} rows")
    for name, one in spent.items():
        print(f"  {name:<32}{one:10.2f} s {one / units * 1e3:10.3f} ms a unit", flush=True)
    print(f"  largest process {run.peak / 2**20:,.0f} MB, largest worker {run.peak_of(WORKER) / 2**20:,.0f} MB")
    return spent


def measure_memory(folder: Path, rows: int) -> dict[str, int]:
    """Bytes that the largest worker held, by how many rows there were."""
    peaks = {}
    workspace = trained(folder, FIFTY_FILES, rows)
    data = workspace.settings.workspace / "data" / "data"
    for name, files in ((f"{TIMES}x", FIFTY), ("1x", FIFTY // TIMES)):
        for path in sorted(data.iterdir())[files:]:
            path.unlink()
        run = run_apart(workspace, "scores_drift", "--again")
        _require_rows(run, workspace, rows * files // FIFTY)
        peaks[name] = run.peak_of(WORKER)
    return peaks


def trained(folder: Path, scored: ScoredSet, rows: int) -> Workspace:
    """A workspace over the set, with a registered version."""
    workspace = make_workspace(folder, scored, data_of(scored, rows))
    for name in ("ready", "scorer"):
        run_here(workspace, name)
    return workspace


def _require_rows(run: Watched, workspace: Workspace, rows: int) -> None:
    counts = run.told["result"]["reads"]["input"]["counts"]
    require(counts["passed"] == counts["read"] == rows, "every row was scored")
    require(len(parts_of(workspace, "scores_drift")) > 0, "there are parts")


if __name__ == "__main__":
    main()
