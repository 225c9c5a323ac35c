"""Rescoring again after 2 percent of the input changed, and after nothing did.

    python benchmarks/incremental.py            # 12 million flights in fifty files, three rounds: minutes
    python benchmarks/incremental.py --quick    # a tenth of the rows, one round

A round: score all (``--again``), score again with nothing changed, with one row changed, with one file of fifty
changed, score all again. The scores that were taken over are compared row by row with those of scoring all before a
figure counts. Each run is a process of its own, and its start-up (importing, the cluster) is apart; what else a run
takes before its first rows and after its last ones is what it takes to score one row, which lies in a file by itself:
the goal, 5 percent of scoring all plus start-up, is of the seconds beyond that one's. A file is one unit, which one
worker scores while the others have nothing to do: so beside the seconds stand CPU seconds: all of them, and those
beyond planning, less what a run takes that finds nothing to score. The last line is one JSON object.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from compared import compare_rows, read_output
from history import arguments, data_of_files, write_record
from measuring import Spread, Watched, end_on_signal, phases_of, require
from ours import parts_of, run_apart, run_here
from pace import cores
from scored_sets import FIFTY, FIFTY_FILES, QUICK, data_of, make_workspace

from dataops.runs.workspace import Workspace

LIMIT = 0.05
CPU, BEYOND = "CPU", "CPU beyond planning"
FULL, UNCHANGED, ONE_ROW, CHANGED = "all", "nothing changed", "one row changed", "2 percent changed"
FULL_AGAIN = "all, once more"
ASKED = f"{CHANGED} beyond one row/{FULL}"
ONE_ROW_FILE = "one-row.parquet"  # behind the fifty


def main() -> None:
    """Measures, prints a table, writes the record."""
    end_on_signal()
    parser = arguments(__doc__, "incremental", quick="a tenth of the rows, one round")
    parser.add_argument("--rows", type=int, default=None, help="instead of twelve million")
    parser.add_argument("--rounds", type=int, default=None, help="default: 3, with --quick 1")
    given = parser.parse_args()
    rows = given.rows or FIFTY_FILES.rows // (QUICK if given.quick else 1)
    rounds = given.rounds or (1 if given.quick else 3)
    with tempfile.TemporaryDirectory(prefix="dataops-incremental-") as folder:
        workspace = make_workspace(Path(folder), FIFTY_FILES, data_of(FIFTY_FILES, rows))
        add_one_row(Path(folder) / "data" / "data")
        for name in ("ready", "scorer"):
            run_here(workspace, name)
        runs = [run_round(workspace, turn) for turn in range(rounds)]
    ratios = {
        f"{name}/{FULL}": Spread.of([_work(one[name]) / _work(one[FULL]) for one in runs])
        for name in (UNCHANGED, ONE_ROW, CHANGED, FULL_AGAIN)
    }
    ratios[ASKED] = Spread.of([(_work(one[CHANGED]) - _work(one[ONE_ROW])) / _work(one[FULL]) for one in runs])
    ratios[f"{CHANGED}/{FULL}, {CPU}"] = Spread.of([_cpu(one[CHANGED]) / _cpu(one[FULL]) for one in runs])
    ratios[f"{CHANGED}/{FULL}, {BEYOND}"] = Spread.of(
        [(_cpu(one[CHANGED]) - _cpu(one[UNCHANGED])) / (_cpu(one[FULL]) - _cpu(one[UNCHANGED])) for one in runs]
    )
    limits = {ASKED: LIMIT} if rows == FIFTY_FILES.rows else {}  # of fewer rows nothing is asked
    show(runs, ratios, rows, limits)
    ratios[f"null: {FULL_AGAIN}/{FULL}"] = ratios.pop(f"{FULL_AGAIN}/{FULL}")
    record: dict[str, Any] = {
        "question": "incremental",
        "quick": given.quick,
        "rows": rows,
        "limits": limits,
    }
    record["runs"] = [_recorded(one) for one in runs]
    phases: dict[str, list[float]] = {}
    for name in (FULL, UNCHANGED, ONE_ROW, CHANGED):
        phases |= phases_of([one[name] for one in runs], f"{name}: ")
    data = data_of_files((data_of(FIFTY_FILES, rows) / "data").iterdir(), rows)
    write_record(given.record, record, ratios, phases=phases, data=data, cluster=(cores(), 1))


def run_round(workspace: Workspace, turn: int) -> dict[str, Watched]:
    """Runs by name."""
    runs = {FULL: run_apart(workspace, "scores", "--again"), UNCHANGED: run_apart(workspace, "scores")}
    require(bool(runs[UNCHANGED].told["skipped"]), "nothing changed, so nothing is scored")
    files = sorted((workspace.settings.workspace / "data" / "data").iterdir())
    for name, file in ((ONE_ROW, files[-1]), (CHANGED, files[(7 + 11 * turn) % FIFTY])):
        change_file(file)
        runs[name] = run_apart(workspace, "scores")
        (linked,) = runs[name].told["linked"]
        units = 1 if name == ONE_ROW else linked["units"] // FIFTY
        require(linked["units"] - linked["linked"] == units, "only the file that changed is scored")
    keep = FIFTY_FILES.keep
    taken_over = read_output(parts_of(workspace, "scores"), keep)
    runs[FULL_AGAIN] = run_apart(workspace, "scores", "--again")
    worst = compare_rows(CHANGED, taken_over, read_output(parts_of(workspace, "scores"), keep), keep)
    require(worst == 0.0, "scores that were taken over are those of scoring all, to the bit")
    print(f"round {turn + 1} checked: {linked['linked']} of {linked['units']} units taken over, rows equal", flush=True)
    return runs


def add_one_row(folder: Path) -> None:
    """A file more, of the first flight of all."""
    first = pq.ParquetFile(min(folder.iterdir()))
    row = next(first.iter_batches(batch_size=1))
    pq.write_table(pa.Table.from_batches([row]), folder / ONE_ROW_FILE, compression="zstd")


def change_file(path: Path) -> None:
    """The file has other rows: its flights in turned order, each longer by a mile."""
    table = pq.read_table(path)
    turned = table.take(pa.array(range(table.num_rows - 1, -1, -1)))
    place = turned.schema.get_field_index("distance")
    longer = pc.add(turned.column(place), 1)
    scratch = path.with_name(f".{path.name}")
    pq.write_table(turned.set_column(place, "distance", longer), scratch, compression="zstd")
    scratch.replace(path)  # the cache's own file, which this was a link to, stays


def _work(run: Watched) -> float:
    return run.phases["work"].seconds


def _cpu(run: Watched) -> float:
    return run.phases["work"].cpu_seconds


def show(
    runs: Sequence[Mapping[str, Watched]], ratios: Mapping[str, Spread], rows: int, limits: Mapping[str, float]
) -> None:
    """The tables."""
    print(f"\n{rows:,} flights in {FIFTY} files\n{'':<28}{'work s':>9}{'start s':>9}{'after s':>9}{'CPU s':>9}")
    for name in runs[0]:
        phases = [one[name].phases for one in runs]
        row = [Spread.of([one[phase].seconds for one in phases]).median for phase in ("work", "start", "end")]
        cpu = Spread.of([one["work"].cpu_seconds for one in phases]).median
        print(f"{name:<28}{row[0]:9.2f}{row[1]:9.2f}{row[2]:9.2f}{cpu:9.2f}")
    print(f"\n{'':<48}{'median':>8}{'min':>8}{'max':>8}  asked")
    for name, one in ratios.items():
        limit = limits.get(name)
        asked = "" if limit is None else f"at most {limit}{'  MISSED' if one.median > limit else ''}"
        print(f"{name:<48}{one.median:8.3f}{one.min:8.3f}{one.max:8.3f}  {asked}", flush=True)


def _recorded(runs: Mapping[str, Watched]) -> dict[str, Any]:
    return {
        name: {
            "seconds": {phase: one.seconds for phase, one in run.phases.items()},
            "cpu_seconds": {phase: one.cpu_seconds for phase, one in run.phases.items()},
            "linked": run.told["linked"],
            "skipped": run.told["skipped"],
        }
        for name, run in runs.items()
    }


if __name__ == "__main__":
    main()
