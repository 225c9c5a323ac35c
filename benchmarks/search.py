"""A search of eight boosted models beside scikit-learn's grid search on Dask, by joblib, and beside Ray Tune.

    python benchmarks/search.py            # 3 million flights, 50 rounds a model, three turns
    python benchmarks/search.py --quick    # 300,000 flights, 10 rounds, one turn

1. All read the same Parquet files, make the same eight features, try every point of the same grid on four of five
   rows, judge each trial by its AUC on about 19 percent of these, and fit the best point on all of them. dataops holds
   other rows out of its trials than the peers.
2. dataops gives each trial the whole cluster, one after another; the peers give each core a trial of its own. With
   joblib every worker gets a copy of the rows; Ray's read them where they lie.
3. Before a figure counts: eight trials each, and AUCs on the very same rows held out that are within 0.01.
4. Every measurement is a process of its own, in turns; start-up (importing, clusters) is apart. dataops runs twice a
   turn (``null``).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from boosting import PEERS, make_workspace
from flights import fetch_flights
from history import arguments, data_of_files, write_record
from measuring import Spread, Watched, costs_of, end_on_signal, phases_of, require, watch
from pace import cores
from peers.environments import RAY, CannotBuild, build, variables

GRID = {"max_depth": [3, 4, 5, 6], "learning_rate": [0.1, 0.3]}
TRIALS, CLOSE = 8, 0.01
ROWS, QUICK_ROWS, ROUNDS, QUICK_ROUNDS = 3_000_000, 300_000, 50, 10
OURS, NULL, JOBLIB, RAY_TUNE = "dataops", "dataops null", "joblib", "ray tune"
Command = tuple[Sequence[str], Mapping[str, str]]  # and environment variables
JOB = """\
name: late
job: train
input: flights_open
target: delay > 15
features:
  numeric: {{columns: [distance], scale: none}}
  dates: {{columns: [date], parts: [month, day, weekday, hour, minute]}}
  categorical: {{columns: [origin, destination]}}
candidates:
  - trainer: xgboost
    params: {{rounds: {rounds}}}
    search: {{method: grid, space: {{max_depth: {{one_of: [3, 4, 5, 6]}}, learning_rate: {{one_of: [0.1, 0.3]}}}}}}
evaluate: {{metrics: [roc_auc]}}
"""


def main() -> None:
    """Measures, prints, writes the record."""
    end_on_signal()
    parser = arguments(__doc__, "search", quick="300,000 flights, 10 rounds, one turn")
    parser.add_argument("--turns", type=int, default=None, help="default: 3, with --quick 1")
    given = parser.parse_args()
    rows, rounds = (QUICK_ROWS, QUICK_ROUNDS) if given.quick else (ROWS, ROUNDS)
    turns = given.turns or (1 if given.quick else 3)
    with tempfile.TemporaryDirectory(prefix="dataops-search-") as scratch:
        folder = make_workspace(Path(scratch), 1, JOB.format(rounds=rounds))
        [file] = (folder / "data" / "flights").iterdir()
        if rows < ROWS:
            few = pq.read_table(fetch_flights()).slice(0, rows)
            pq.write_table(few, file, row_group_size=rows // 4)
        commands, missing = find_commands(folder, rounds)
        runs = measure(commands, turns)
        data = data_of_files([file], rows)
    ratios = {f"{name}/{OURS}": in_turn(runs[name], runs[OURS]) for name in (JOBLIB, RAY_TUNE) if name in runs}
    ratios[f"null: {OURS}/{OURS}"] = in_turn(runs[NULL], runs[OURS])
    for name, why in missing.items():
        print(f"  {name} is left out: {why}", flush=True)
    show(runs, ratios, rows)
    told = {name: [dict(one.told) for one in found] for name, found in runs.items()}
    record: dict[str, Any] = {
        "question": "search",
        "quick": given.quick,
        "rows": rows,
        "rounds": rounds,
        "missing": missing,
    }
    record["runs"] = told
    phases = phases_of(runs[OURS])
    write_record(given.record, record, ratios, phases=phases, data=data, cluster=(1, cores()), costs=costs_of(runs))


def find_commands(folder: Path, rounds: int) -> tuple[dict[str, Command], dict[str, str]]:
    """Commands of the contestants in the order of a turn, and why a peer is missing."""
    threads, data = str(cores()), str(folder / "data" / "flights")
    given = [data, str(rounds), threads, json.dumps(GRID)]
    ours = [sys.executable, str(PEERS / "fit_dataops.py"), str(folder), "late", "1", threads, "auto"]
    joblib = [sys.executable, str(PEERS / "search_joblib.py"), *given]
    commands: dict[str, Command] = {OURS: (ours, {}), JOBLIB: (joblib, {})}
    missing = {}
    try:
        python = build(RAY)
        commands[RAY_TUNE] = [str(python), str(PEERS / "search_ray.py"), *given], variables(RAY, python)
    except CannotBuild as error:
        missing[RAY_TUNE] = str(error)
    commands[NULL] = ours, {}
    return commands, missing


def measure(commands: Mapping[str, Command], turns: int) -> dict[str, list[Watched]]:
    """Runs by contestant, turn by turn."""
    runs: dict[str, list[Watched]] = {name: [] for name in commands}
    for turn in range(turns):
        for name, (command, env) in commands.items():
            found = watch(command, env=env)
            runs[name].append(found)
            print(f"  turn {turn + 1}: {name:<14}{_work(found):8.2f} s, {_steps(found)}", flush=True)
        check({name: found[-1].told for name, found in runs.items()})
    return runs


def check(told: Mapping[str, Mapping[str, Any]]) -> None:
    """Everybody tried every point, and found about as good a model.

    Raises
    ------
    AssertionError : somebody didn't.
    """
    ours = told[OURS]
    done = ours["search"]["trials"]
    require(max(done.values()) == sum(done.values()) == TRIALS, f"dataops: trials ended as {done}")
    for name in sorted(set(told) - {OURS, NULL}):
        theirs = told[name]
        require(theirs["trials"] == TRIALS, f"{name}: {theirs['trials']} trials")
        rows, other = ours["metrics"]["rows"], theirs["metrics"]["rows"]
        require(rows == other, f"{rows} rows were judged, not {other} as by {name}")
        apart = abs(ours["metrics"]["roc_auc"] - theirs["metrics"]["roc_auc"])
        require(apart <= CLOSE, f"AUCs of dataops and {name} are {apart:.4f} apart")
        print(f"  checked: {name}: {TRIALS} trials each, AUCs {apart:.5f} apart on {rows:,} rows", flush=True)


def in_turn(first: Sequence[Watched], second: Sequence[Watched]) -> Spread:
    """The ratio of seconds, turn by turn."""
    return Spread.of([_work(one) / _work(other) for one, other in zip(first, second, strict=True)])


def show(runs: Mapping[str, Sequence[Watched]], ratios: Mapping[str, Spread], rows: int) -> None:
    """The tables."""
    print(f"\n{rows:,} flights, {TRIALS} trials\n{'':<16}{'work s':>9}{'start s':>9}{'CPU s':>9}{'largest':>11}")
    for name, found in runs.items():
        work = Spread.of([_work(one) for one in found]).median
        start = Spread.of([one.phases["start"].seconds for one in found]).median
        cpu = Spread.of([one.phases["work"].cpu_seconds for one in found]).median
        print(f"{name:<16}{work:9.2f}{start:9.2f}{cpu:9.2f}{max(one.peak for one in found) / 2**20:8,.0f} MB")
    for name, one in ratios.items():
        print(f"{name:<28}{one.median:8.2f} ({one.min:.2f} to {one.max:.2f})", flush=True)


def _work(run: Watched) -> float:
    """Seconds from the files to the model, ours from when the job is asked for: without clusters that start, without
    judging and registering, and without what trials of a peer imported.
    """
    return float(run.told.get("whole", sum(run.told["seconds"].values())))


def _steps(run: Watched) -> str:
    return ", ".join(f"{step} {seconds:.2f} s" for step, seconds in run.told["seconds"].items())


if __name__ == "__main__":
    main()
