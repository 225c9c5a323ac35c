"""XGBoost through dataops against pandas and XGBoost, both from the same Parquet files, threads and rounds.

Asked are: how long the fit takes beside XGBoost's own on the ready matrix; how far apart the AUCs are, on the same
rows held out; how long the summary pass takes beside dask-ml's scaler and encoders; with ``--room``, what boosting
needs of memory on 30 million flights with workers of 1 GiB, what it then takes, and where it refuses.

The flights are three million of 2001 (`flights`), in as many copies as it takes; eight features; a policy that allows
all. Every measurement is a process of its own (`measuring.watch`), in turns.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from flights import OPEN, fetch_flights
from history import arguments, data_of_files, write_record
from measuring import Spread, costs_of, require, watch
from pace import cores

from dataops.runs.init import init_workspace

PEERS = Path(__file__).parent / "peers"
POLICY = """\
format: dataops/policy/1
name: all
rules:
  - {id: all, effect: allow, roles: [data_science], purposes: [train, evaluate], zones: [historical],
     datasets: ["*"], columns: {classifications: ["*"]}}
"""
JOB = """\
name: late
job: train
input: flights_open
target: delay > 15
features:
  numeric: {{columns: [distance], scale: none}}
  dates: {{columns: [date], parts: [month, day, weekday, hour, minute]}}
  categorical: {{columns: [origin, destination]}}
candidates: [{{trainer: xgboost, params: {{rounds: {rounds}, max_depth: 6}}}}]
evaluate: {{metrics: [roc_auc]}}
"""


def main() -> None:
    parser = arguments(__doc__, "boosting", quick="3 million rows, 10 rounds, one turn")
    parser.add_argument("--turns", type=int, default=2, help="how often each is measured")
    parser.add_argument("--room", action="store_true", help="memory on 30 million flights, and nothing else")
    told = parser.parse_args()
    copies, rounds, turns = (1, 10, 1) if told.quick else (4, 100, told.turns)
    with tempfile.TemporaryDirectory(prefix="dataops-boosting-") as scratch:
        if told.room:
            folder = make_workspace(Path(scratch), 1 if told.quick else 10, JOB.format(rounds=3))
            show_room(folder)
            return
        folder = make_workspace(Path(scratch), copies, JOB.format(rounds=rounds))
        runs = [measure(folder, rounds) for _ in range(turns)]
    names = {
        "fit": "dataops/XGBoost, fit",
        "all": "dataops/pandas and XGBoost, all",
        "summary": "dask-ml/dataops, summary",
    }
    ratios = {name: Spread.of([run[key] for run in runs]) for key, name in names.items()}
    figures = {"AUC, apart": Spread.of([run["auc"] for run in runs])}
    record = {"question": "boosting", "quick": told.quick, "rounds": rounds, "rows": copies * 3_000_000, "runs": runs}
    steps = runs[0]["dataops"]["seconds"]
    phases = {step: [float(run["dataops"]["seconds"][step]) for run in runs] for step in steps}
    data = data_of_files([fetch_flights()], 3_000_000) | {"copies": copies}
    who = {"dataops": "dataops", "pandas": "pandas and XGBoost", "dask_ml": "dask-ml, summary"}
    watched = {name: [run[key].pop("watched") for run in runs] for key, name in who.items()}
    costs = costs_of(watched, copies * 3_000_000)
    write_record(
        told.record, record, ratios, phases=phases, data=data, cluster=(1, cores()), figures=figures, costs=costs
    )


def make_workspace(folder: Path, copies: int, job: str) -> Path:
    """A workspace over `copies` of the flights, with one job."""
    init_workspace(folder)
    data, first = folder / "data" / "flights", fetch_flights()
    data.mkdir(parents=True)
    for number in range(copies):
        shutil.copy(first, data / f"flights-{number:02d}.parquet")
    (folder / "contracts" / "flights_open.yaml").write_text(OPEN)
    (folder / "policies" / "all.yaml").write_text(POLICY)
    entry = "name: flights_open\nurl: data/flights\nzone: historical\ncontract: contracts/flights_open.yaml\n"
    (folder / "catalog" / "flights_open.yaml").write_text(entry)
    (folder / "jobs" / "jobs.yaml").write_text(job)
    return folder


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """One turn: the three peers, and what it comes to."""
    threads = str(cores())
    ours = _watch("fit_dataops.py", folder, "late", "1", threads, "auto")
    theirs = _watch("fit_pandas.py", folder / "data" / "flights", str(rounds), threads)
    summary = _watch("summary_dask_ml.py", folder / "data" / "flights", "1", threads)
    mine, yours = ours["seconds"], theirs["seconds"]
    read, fit = mine["summarise"] + mine["encode"], mine["fit xgboost"]
    own = yours["quantise"] + yours["rounds"]
    rows, other = ours["metrics"]["rows"], theirs["metrics"]["rows"]
    require(rows == other, f"{rows} rows were judged, not {other}")
    found = {
        "fit": fit / own,
        "all": (read + fit) / (own + read),
        "auc": abs(ours["metrics"]["roc_auc"] - theirs["metrics"]["roc_auc"]),
        "summary": summary["seconds"] / mine["summarise"],
    }
    print(f"  dataops: {_split(mine)}; of the fit {ours['quantised']:.1f} s until all rows are quantised")
    print(f"  pandas and XGBoost: {_split(yours)}; dask-ml's summary {summary['seconds']:.1f} s")
    print(f"  AUC {ours['metrics']['roc_auc']:.6f} and {theirs['metrics']['roc_auc']:.6f}; {ours['needs']}")
    print(f"  ratios: {', '.join(f'{name} {value:.4g}' for name, value in found.items())}", flush=True)
    return {**found, "dataops": ours, "pandas": theirs, "dask_ml": summary}


def show_room(folder: Path) -> None:
    """What boosting needs with workers of 1 GiB: five of them do, two are refused."""
    for workers in ("2", "5"):
        watched = watch([sys.executable, str(PEERS / "fit_dataops.py"), str(folder), "late", workers, "1", "1 GiB"])
        if "refused" in watched.told:
            print(f"  {workers} workers: refused: {watched.told['refused']}", flush=True)
            continue
        print(f"  {workers} workers: {watched.told['needs']}")
        held = ", ".join(f"{name} {peak / 1e6:,.0f} MB" for name, peak in watched.peaks[: int(workers) + 2])
        print(f"  peaks: {held}")
        print(f"  {_split(watched.told['seconds'])}", flush=True)


def _watch(peer: str, *given: object) -> dict[str, Any]:
    """What it told, and as ``watched`` what it took."""
    watched = watch([sys.executable, str(PEERS / peer), *map(str, given)])
    return {**watched.told, "watched": watched}


def _split(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())


if __name__ == "__main__":
    main()
