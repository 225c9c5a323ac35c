"""Logistic regression of late flights, origin and destination one-hot: dataops, scikit-learn and Spark's MLlib.

    python benchmarks/logistic.py            # 2.5 million rows to learn from, three turns: many minutes
    python benchmarks/logistic.py --quick    # a tenth of the rows, one turn

1. All learn from the same rows of the same Parquet files and minimise the same objective, sum of log losses plus half
   the squared coefficients; what they reach is worked out here from their coefficients, and compared, before a time
   counts. scikit-learn runs by its default solver and by the one that its documentation advises for many rows and few
   features; the faster one counts. Means and deviations of numbers are given to peers; dataops learns them.
2. ``fit``: on features that are ready (a sparse matrix, a cached frame, encoded parts). ``all``: from the files to the
   model; of dataops from when the job is asked for (its inputs are opened, a policy decides, units are planned) until
   the model is there, but for the cluster's start. dataops holds every fifth row out by itself, so it reads a quarter
   more rows than the others.
3. Every measurement is a process of its own, in turns, with as many threads as cores; start-up is apart. One contestant
   runs twice a turn (``null``): what its ratio to itself strays from 1 is noise.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from flights import OPEN, fetch_flights
from history import arguments, data_of_files, write_record
from measuring import Spread, Watched, costs_of, end_on_signal, require, watch
from ours import ENVIRONMENT
from pace import cores
from peers.environments import SPARK, CannotBuild, build, variables

from dataops.runs.init import init_workspace

PEERS = Path(__file__).parent / "peers"
FILES, ROWS, QUICK = 4, 2_500_000, 10
L2 = 1.0
SAME = 1e-5  # of the objective
LIMITS = {"scikit-learn/dataops, fit": 3.0, "spark/dataops, fit": 6.0}
OURS, NULL, SCIKIT, SPARK_NAME = "dataops", "dataops null", "scikit-learn", "spark"
SOLVERS = ("lbfgs", "newton-cholesky")
_POLICY = """\
format: dataops/policy/1
name: all
rules:
  - {id: all, effect: allow, roles: [data_science], purposes: [train, evaluate], zones: [historical],
     datasets: ["*"], columns: {classifications: ["*"]}}
"""
_JOB = f"""\
name: late
job: train
input: flights_open
target: delay > 15
features:
  numeric: {{columns: [distance]}}
  dates: {{columns: [date], parts: [hour, weekday]}}
  categorical: {{columns: [origin, destination]}}
candidates: [{{trainer: logistic, params: {{l2: {L2}}}}}]
evaluate: {{metrics: [log_loss]}}
"""


def main() -> None:
    """Measures, prints tables, writes the record."""
    end_on_signal()
    parser = arguments(__doc__, "logistic", quick="a tenth of the rows, one turn")
    parser.add_argument("--turns", type=int, default=None, help="default: 3, with --quick 1")
    parser.add_argument("--rows", type=int, default=None, help="instead of 2.5 million")
    parser.add_argument("--only", default=f"{SCIKIT},{SPARK_NAME}", help="peers; we always run")
    given = parser.parse_args()
    rows = given.rows or ROWS // (QUICK if given.quick else 1)
    turns = given.turns or (1 if given.quick else 3)
    with tempfile.TemporaryDirectory(prefix="dataops-logistic-") as scratch:
        spec = make_workspace(Path(scratch), rows)
        data = data_of_files(Path(spec["folder"]).iterdir(), spec["rows"])
        runs, missing, costs = measure(spec, turns, set(given.only.split(",")))
    ratios = find_ratios(runs)
    show(runs, ratios, rows)
    record: dict[str, Any] = {
        "question": "logistic",
        "quick": given.quick,
        "rows": rows,
        "limits": LIMITS,
        "missing": missing,
    }
    steps = runs[OURS][0]["seconds"]
    phases = {step: [one["seconds"][step] for one in runs[OURS]] for step in steps}
    phases = {"start": [one["start_seconds"] for one in runs[OURS]], **phases}
    record["runs"] = runs
    write_record(given.record, record, ratios, phases=phases, data=data, cluster=(1, cores()), costs=costs)


def make_workspace(folder: Path, rows: int) -> dict[str, Any]:
    """A workspace over flights of which `rows` are learnt from, those rows alone in files for peers, and what peers are
    told.
    """
    write_declarations(folder)
    flights = pq.read_table(fetch_flights()).replace_schema_metadata(None)
    needed = rows // 4 * 5
    flights = pa.concat_tables([flights] * -(-needed // len(flights))).slice(0, needed)
    flights = flights.filter(pc.is_valid(flights["delay"]))
    each = -(-len(flights) // FILES)
    learnt = []
    for number in range(FILES):
        part = flights.slice(number * each, each).combine_chunks()
        held_out = np.arange(len(part)) % 5 == 4
        learnt.append(part.filter(pa.array(~held_out)))
        for name, table in (("flights", part), ("learnt", learnt[-1])):
            path = folder / "data" / name / f"part-{number}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path, compression="zstd", row_group_size=131_072)
    numbers = numbers_of(pa.concat_tables(learnt))
    spec = {
        "workspace": str(folder),
        "folder": str(folder / "data" / "learnt"),
        "cores": cores(),
        "l2": L2,
        "rows": sum(map(len, learnt)),
        "numbers": {name: [float(one.mean()), float(one.std())] for name, one in numbers.items()},
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    return spec


def write_declarations(folder: Path) -> None:
    """A workspace over ``data/flights`` with the job ``late``."""
    init_workspace(folder)
    (folder / "contracts" / "flights_open.yaml").write_text(OPEN)
    (folder / "policies" / "all.yaml").write_text(_POLICY)
    entry = "name: flights_open\nurl: data/flights\nzone: historical\ncontract: contracts/flights_open.yaml\n"
    (folder / "catalog" / "flights_open.yaml").write_text(entry)
    (folder / "jobs" / "jobs.yaml").write_text(_JOB)


def numbers_of(flights: pa.Table) -> dict[str, np.ndarray]:
    """The numeric features, float64."""
    date = flights["date"]
    found = {
        "distance": flights["distance"],
        "hour": pc.hour(date),
        "weekday": pc.day_of_week(date, count_from_zero=False, week_start=1),
    }
    return {name: one.to_numpy().astype(np.float64) for name, one in found.items()}


def objective_of(spec: Mapping[str, Any], model: Mapping[str, Any]) -> float:
    """The objective at the coefficients that somebody found."""
    flights = pq.read_table(spec["folder"])
    margin = np.full(len(flights), float(model["intercept"]))
    squares = 0.0
    for name, values in numbers_of(flights).items():
        mean, spread = spec["numbers"][name]
        margin += model["numeric"][name] * (values - mean) / spread
        squares += model["numeric"][name] ** 2
    for name in ("origin", "destination"):
        encoded = flights[name].combine_chunks().dictionary_encode()
        weights = np.array([model["categorical"][name][text] for text in encoded.dictionary.to_pylist()])
        margin += weights[encoded.indices.to_numpy()]
        squares += float(weights @ weights)
    late = pc.greater(flights["delay"], 15).to_numpy(zero_copy_only=False)
    return float((np.logaddexp(0, margin) - late * margin).sum() + spec["l2"] / 2 * squares)


def measure(
    spec: Mapping[str, Any], turns: int, peers: set[str]
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str], dict[str, dict[str, Any]]]:
    """Runs by contestant, why a peer is missing, and what each took."""
    path = str(Path(spec["workspace"]) / "spec.json")
    contestants: dict[str, tuple[list[str], Mapping[str, str]]] = {}
    contestants[OURS] = contestants[NULL] = [sys.executable, str(PEERS / "fit_linear.py"), path], ENVIRONMENT
    if SCIKIT in peers:
        for solver in SOLVERS:
            command = [sys.executable, str(PEERS / "fit_scikit.py"), path, solver]
            contestants[f"{SCIKIT} {solver}"] = command, {**ENVIRONMENT, "OMP_NUM_THREADS": str(spec["cores"])}
    missing = {}
    if SPARK_NAME in peers:
        try:
            python = build(SPARK)
            contestants[SPARK_NAME] = [str(python), str(PEERS / "fit_spark.py"), path], variables(SPARK, python)
        except CannotBuild as error:
            missing[SPARK_NAME] = str(error)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    seen: dict[str, list[Watched]] = {name: [] for name in contestants}
    for turn in range(turns):
        for name, (command, env) in contestants.items():
            watched = watch(command, env=env)
            told = dict(watched.told)
            found = {
                "seconds": told["seconds"],
                "whole": told.get("whole", sum(told["seconds"].values())),
                "cpu_seconds": watched.phases["work"].cpu_seconds,
                "start_seconds": watched.phases["start"].seconds,
                "peak_bytes": watched.peak,
                "objective": objective_of(spec, told["model"]),
                "passes": told.get("passes"),
            }
            runs[name].append(found)
            seen[name].append(watched)
            steps = ", ".join(f"{step} {value:.2f} s" for step, value in found["seconds"].items())
            steps += f", all {found['whole']:.2f} s"
            print(f"  turn {turn + 1}: {name:<30} {steps}; objective {found['objective']:.4f}", flush=True)
        check(runs)
    return runs, missing, costs_of(seen, spec["rows"])


def check(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """All reached the same objective.

    Raises
    ------
    AssertionError : one didn't.
    """
    least = min(one["objective"] for found in runs.values() for one in found)
    for name, found in runs.items():
        apart = found[-1]["objective"] / least - 1
        require(apart <= SAME, f"{name} is {apart:.1e} above the least objective")
        print(f"  checked: {name} is {apart:.1e} above the least objective", flush=True)


def find_ratios(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Spread]:
    """Ratios of seconds, run by run of one turn; of scikit-learn's solvers the faster one of a turn."""

    def seconds(name: str, turn: int, what: str) -> float:
        of = [found[turn] for one, found in runs.items() if one == name or one.startswith(f"{name} ")]
        took = [one["seconds"]["fit"] if what == "fit" else one["whole"] for one in of]
        return min(took if name == SCIKIT else took[:1])

    turns = range(len(runs[OURS]))
    present = [name for name in (SCIKIT, SPARK_NAME) if any(one.startswith(name) for one in runs)]
    ratios = {}
    for what in ("fit", "all"):
        for name in (*present, NULL):
            ratios[f"{name}/{OURS}, {what}"] = Spread.of(
                [seconds(name, turn, what) / seconds(OURS, turn, what) for turn in turns]
            )
    return ratios


def show(runs: Mapping[str, Sequence[Mapping[str, Any]]], ratios: Mapping[str, Spread], rows: int) -> None:
    """The tables."""
    print(f"\n{rows:,} flights to learn from\n{'':<32}{'fit s':>9}{'all s':>9}{'CPU s':>9}{'largest':>11}")
    for name, found in runs.items():
        fit, whole = (
            Spread.of([one["seconds"]["fit"] for one in found]).median,
            Spread.of([one["whole"] for one in found]).median,
        )
        cpu = Spread.of([one["cpu_seconds"] for one in found]).median
        peak = max(one["peak_bytes"] for one in found) / 2**20
        print(f"{name:<32}{fit:9.2f}{whole:9.2f}{cpu:9.1f}{peak:8,.0f} MB")
    print(f"\n{'':<36}{'median':>8}{'min':>8}{'max':>8}  asked")
    for name, one in ratios.items():
        limit = LIMITS.get(name)
        asked = "" if limit is None else f"at least {limit}{'  MISSED' if one.median < limit else ''}"
        print(f"{name:<36}{one.median:8.2f}{one.min:8.2f}{one.max:8.2f}  {asked}", flush=True)


if __name__ == "__main__":
    main()
