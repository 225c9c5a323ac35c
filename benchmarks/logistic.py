"""Logistic regression of late flights, origin and destination one-hot: dataops, scikit-learn, Spark's MLlib, dask-ml.

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
3. dask-ml's solvers take a dense matrix, 12 GB of 2.5 million rows: it learns from 250,000, and dataops from the same
   ones beside it. dask-ml penalises the intercept too. A penalty on top can't lower the objective by which all are
   judged, and what it costs is within what everybody is allowed.
4. Every measurement is a process of its own, in turns, with as many threads as cores; start-up is apart. One contestant
   runs twice a turn (``null``): what its ratio to itself strays from 1 is noise.
5. What is asked of the ratios is asked at 2.5 million rows.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
FEW = 250_000  # rows whose dense matrix fits into memory beside what a solver makes of it: 1 GB
L2 = 1.0
SAME = 1e-5  # of the objective
LIMITS = {"scikit-learn/dataops, fit": 3.0, "spark/dataops, fit": 6.0}  # at `ROWS`
OURS, NULL, SCIKIT, SPARK_NAME = "dataops", "dataops null", "scikit-learn", "spark"
OURS_FEW, DASK_ML = "dataops, few rows", "dask-ml"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Who fits: its command, its environment variables, and what it is told (of `make_workspace`)."""

    command: tuple[str, ...]
    env: Mapping[str, str]
    spec: Mapping[str, Any]


def main() -> None:
    """Measures, prints tables, writes the record."""
    end_on_signal()
    parser = arguments(__doc__, "logistic", quick="a tenth of the rows, one turn")
    parser.add_argument("--turns", type=int, default=None, help="default: 3, with --quick 1")
    parser.add_argument("--rows", type=int, default=None, help="instead of 2.5 million")
    parser.add_argument("--only", default=f"{SCIKIT},{SPARK_NAME},{DASK_ML}", help="peers; we always run")
    given = parser.parse_args()
    rows = given.rows or ROWS // (QUICK if given.quick else 1)
    turns = given.turns or (1 if given.quick else 3)
    peers = set(given.only.split(","))
    with tempfile.TemporaryDirectory(prefix="dataops-logistic-") as scratch:
        spec = make_workspace(Path(scratch) / "all", rows)
        few = spec if rows <= FEW or DASK_ML not in peers else make_workspace(Path(scratch) / "few", FEW)
        data = data_of_files(Path(spec["folder"]).iterdir(), spec["rows"])
        contestants, missing = find_contestants(spec, few, peers)
        runs, costs = measure(contestants, turns)
    for name, why in missing.items():
        print(f"  {name} is left out: {why}", flush=True)
    ratios, limits = find_ratios(runs), limits_at(rows)
    show(runs, ratios, limits)
    record: dict[str, Any] = {
        "question": "logistic",
        "quick": given.quick,
        "rows": rows,
        "rows_learnt": {name: one.spec["rows"] for name, one in contestants.items()},
        "limits": limits,
        "missing": missing,
    }
    steps = runs[OURS][0]["seconds"]
    phases = {step: [one["seconds"][step] for one in runs[OURS]] for step in steps}
    phases = {"start": [one["start_seconds"] for one in runs[OURS]], **phases}
    record["runs"] = runs
    write_record(given.record, record, ratios, phases=phases, data=data, cluster=(1, cores()), costs=costs)


def limits_at(rows: int) -> dict[str, float]:
    """What is asked of the ratios when `rows` are learnt from: nothing, but at the size that it is meant for."""
    return dict(LIMITS) if rows == ROWS else {}


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


def find_contestants(
    spec: Mapping[str, Any], few: Mapping[str, Any], peers: set[str]
) -> tuple[dict[str, Contestant], dict[str, str]]:
    """Contestants in the order of a turn, and why a peer is missing.

    Parameters
    ----------
    few : what dask-ml is told; where that isn't `spec`, dataops runs there too.
    """
    found = dict.fromkeys((OURS, NULL), contestant("fit_linear.py", spec))
    missing = {}
    if SCIKIT in peers:
        threads = {**ENVIRONMENT, "OMP_NUM_THREADS": str(spec["cores"])}
        found |= {f"{SCIKIT} {solver}": contestant("fit_scikit.py", spec, solver, env=threads) for solver in SOLVERS}
    if SPARK_NAME in peers:
        try:
            python = build(SPARK)
            found[SPARK_NAME] = contestant("fit_spark.py", spec, env=variables(SPARK, python), python=str(python))
        except CannotBuild as error:
            missing[SPARK_NAME] = str(error)
    if DASK_ML in peers:
        found |= {} if few is spec else {OURS_FEW: contestant("fit_linear.py", few)}
        found[DASK_ML] = contestant("fit_dask_ml.py", few)
    return found, missing


def contestant(
    script: str,
    spec: Mapping[str, Any],
    *options: str,
    env: Mapping[str, str] = ENVIRONMENT,
    python: str = sys.executable,
) -> Contestant:
    """Who fits by the script, one of the peers'."""
    told = str(Path(spec["workspace"]) / "spec.json")
    return Contestant(command=(python, str(PEERS / script), told, *options), env=env, spec=spec)


def measure(
    contestants: Mapping[str, Contestant], turns: int
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, dict[str, Any]]]:
    """Runs by contestant, and what each took."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    seen: dict[str, list[Watched]] = {name: [] for name in contestants}
    for turn in range(turns):
        for name, one in contestants.items():
            watched = watch(one.command, env=one.env)
            found = outcome_of(watched, one.spec)
            runs[name].append(found)
            seen[name].append(watched)
            steps = ", ".join(f"{step} {value:.2f} s" for step, value in found["seconds"].items())
            steps += f", all {found['whole']:.2f} s"
            print(f"  turn {turn + 1}: {name:<30} {steps}; objective {found['objective']:.4f}", flush=True)
        check(runs)
    costs = [costs_of({name: seen[name]}, one.spec["rows"]) for name, one in contestants.items()]
    return runs, {name: cost for one in costs for name, cost in one.items()}


def outcome_of(watched: Watched, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a run took, and the objective that it reached."""
    told = dict(watched.told)
    return {
        "rows": spec["rows"],
        "seconds": told["seconds"],
        "whole": told.get("whole", sum(told["seconds"].values())),
        "cpu_seconds": watched.phases["work"].cpu_seconds,
        "start_seconds": watched.phases["start"].seconds,
        "peak_bytes": watched.peak,
        "objective": objective_of(spec, told["model"]),
        "passes": told.get("passes"),
    }


def check(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """All that learnt from the same rows reached the same objective.

    Raises
    ------
    AssertionError : one didn't.
    """
    for name, found in runs.items():
        rows = found[-1]["rows"]
        least = min(one["objective"] for others in runs.values() for one in others if one["rows"] == rows)
        apart = found[-1]["objective"] / least - 1
        require(apart <= SAME, f"{name} is {apart:.1e} above the least objective")
        print(f"  checked: {name} is {apart:.1e} above the least objective of {rows:,} rows", flush=True)


def find_ratios(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Spread]:
    """Ratios of seconds, run by run of one turn, to dataops on the same rows; of scikit-learn's solvers the faster one
    of a turn.
    """

    def seconds(name: str, turn: int, what: str) -> float:
        of = [found[turn] for one, found in runs.items() if one in (name, *(f"{name} {solver}" for solver in SOLVERS))]
        return float(min(one["seconds"]["fit"] if what == "fit" else one["whole"] for one in of))

    turns = range(len(runs[OURS]))
    present = [name for name in (SCIKIT, SPARK_NAME, DASK_ML) if any(one.startswith(name) for one in runs)]
    ratios = {}
    for what in ("fit", "all"):
        for name in (*present, NULL):
            ours = OURS_FEW if name == DASK_ML and OURS_FEW in runs else OURS
            ratios[f"{name}/{OURS}, {what}"] = Spread.of(
                [seconds(name, turn, what) / seconds(ours, turn, what) for turn in turns]
            )
    return ratios


def show(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], ratios: Mapping[str, Spread], limits: Mapping[str, float]
) -> None:
    """The tables."""
    print(f"\n{'':<32}{'rows':>11}{'fit s':>9}{'all s':>9}{'CPU s':>9}{'largest':>11}")
    for name, found in runs.items():
        fit, whole = (
            Spread.of([one["seconds"]["fit"] for one in found]).median,
            Spread.of([one["whole"] for one in found]).median,
        )
        cpu = Spread.of([one["cpu_seconds"] for one in found]).median
        peak = max(one["peak_bytes"] for one in found) / 2**20
        print(f"{name:<32}{found[0]['rows']:11,}{fit:9.2f}{whole:9.2f}{cpu:9.1f}{peak:8,.0f} MB")
    few = f" (of {runs[DASK_ML][0]['rows']:,} rows)" if DASK_ML in runs else ""
    print(f"\n{'':<46}{'median':>8}{'min':>8}{'max':>8}  asked")
    for name, one in ratios.items():
        limit = limits.get(name)
        asked = "" if limit is None else f"at least {limit}{'  MISSED' if one.median < limit else ''}"
        named = name + (few if name.startswith(DASK_ML) else "")
        print(f"{named:<46}{one.median:8.2f}{one.min:8.2f}{one.max:8.2f}  {asked}", flush=True)


if __name__ == "__main__":
    main()
