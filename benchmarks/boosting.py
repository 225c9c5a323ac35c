"""XGBoost through dataops against pandas and XGBoost, and XGBoost on Dask by hand, all from the same Parquet files,
threads and rounds.

Asked are: how long the fit takes beside XGBoost's own on the ready matrix; how long reading and fitting take beside
XGBoost alone plus our read (the goal: at most 1.3), and all, from when the job is asked for until its model is there,
beside what pandas and XGBoost took from the files to the model; how far apart the AUCs are, on the same
rows held out; how long the summary pass takes beside dask-ml's scaler and encoders; with ``--room``, what boosting
needs of memory on 30 million flights with workers of 1 GiB, what it then takes, and where it refuses.

dask-ml's scaler and encoders get the rows alone that are learnt from, in files of their own, and count once they found
the means, scales and categories that a job with standard scaling registers.

The flights are three million of 2001 (`flights`), in as many copies as it takes; eight features; a policy that allows
all. Every measurement is a process of its own (`measuring.watch`), in turns.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from flights import OPEN, fetch_flights
from history import arguments, data_of_files, write_record
from measuring import Spread, costs_of, require, watch
from pace import cores

from dataops.runs.init import init_workspace

PEERS = Path(__file__).parent / "peers"
ROWS = 3_000_000  # of one copy
ALONE, SUMMARY = "dataops/xgboost, XGBoost alone plus our read", "dask-ml/dataops, summary"
LIMITS = {ALONE: 1.3, SUMMARY: 5.0}  # at most beside XGBoost alone, at least beside dask-ml
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
SCALED = JOB.replace("name: late", "name: scaled").replace("scale: none", "scale: standard").format(rounds=1)
SAME = 1e-6
CLOSE = 0.003  # AUCs of boosters whose bins differ a little


def main() -> None:
    parser = arguments(__doc__, "boosting", quick="3 million rows, 10 rounds, one turn")
    parser.add_argument("--turns", type=int, default=3, help="how often each is measured")
    parser.add_argument("--room", action="store_true", help="memory on 30 million flights, and nothing else")
    told = parser.parse_args()
    copies, rounds, turns = (1, 10, 1) if told.quick else (4, 100, told.turns)
    with tempfile.TemporaryDirectory(prefix="dataops-boosting-") as scratch:
        if told.room:
            folder = make_workspace(Path(scratch), 1 if told.quick else 10, JOB.format(rounds=3))
            show_room(folder)
            return
        jobs = f"{JOB.format(rounds=rounds)}---\n{SCALED}"
        folder = make_workspace(Path(scratch), copies, jobs)
        write_learnt(folder / "learnt", copies)
        scaled = _watch("fit_dataops.py", folder, "scaled", "1", str(cores()), "auto")
        runs = [measure(folder, rounds, scaled) for _ in range(turns)]
    names = {
        "fit": "dataops/XGBoost, fit",
        "alone": ALONE,
        "all": "dataops/pandas and XGBoost, from the files to the model",
        "by_hand": "xgboost.dask/dataops, from the files to the model",
        "summary": SUMMARY,
    }
    ratios = {name: Spread.of([run[key] for run in runs]) for key, name in names.items()}
    figures = {"AUC, apart": Spread.of([run["auc"] for run in runs])}
    record = {"question": "boosting", "quick": told.quick, "rounds": rounds, "rows": copies * ROWS, "runs": runs}
    record["limits"] = LIMITS
    steps = runs[0]["dataops"]["seconds"]
    phases = {step: [float(run["dataops"]["seconds"][step]) for run in runs] for step in steps}
    data = data_of_files([fetch_flights()], copies * ROWS) | {"copies": copies}
    who = {
        "dataops": "dataops",
        "pandas": "pandas and XGBoost",
        "xgboost_dask": "xgboost.dask",
        "dask_ml": "dask-ml, summary",
    }
    watched = {name: [run[key].pop("watched") for run in runs] for key, name in who.items()}
    costs = costs_of(watched, copies * ROWS)
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


def write_learnt(folder: Path, copies: int) -> None:
    """The rows that are learnt from, in as many files and row groups as all rows."""
    folder.mkdir()
    source, first = pq.ParquetFile(fetch_flights()), folder / "flights-00.parquet"
    with pq.ParquetWriter(first, source.schema_arrow, compression="zstd") as writer:
        before = 0
        for group in range(source.num_row_groups):
            rows = source.read_row_group(group)
            learnt = np.arange(before, before + len(rows)) % 5 != 4
            before += len(rows)
            writer.write_table(rows.filter(pc.and_(pa.array(learnt), rows["delay"].is_valid())))
    for number in range(1, copies):
        shutil.copy(first, folder / f"flights-{number:02d}.parquet")


def check_summary(theirs: Mapping[str, Any], scaled: Mapping[str, Any]) -> None:
    """dask-ml found what we did.

    Raises
    ------
    AssertionError : it didn't.
    """
    for what in ("means", "scales"):
        apart = np.abs(np.array(theirs[what]) / np.array(scaled[what]) - 1).max()
        require(bool(apart <= SAME), f"dask-ml's {what} are {apart:.1e} apart from ours")
    require(theirs["categories"] == scaled["categories"], "dask-ml's categories aren't ours")
    print(f"  checked: dask-ml's means, scales and categories are ours to {SAME:g}", flush=True)


def measure(folder: Path, rounds: int, scaled: Mapping[str, Any]) -> dict[str, Any]:
    """One turn: dataops and its peers, and what it comes to.

    Parameters
    ----------
    scaled : what the job with standard scaling found in the same rows.
    """
    threads = str(cores())
    ours = _watch("fit_dataops.py", folder, "late", "1", threads, "auto")
    flights, learnt = folder / "data" / "flights", folder / "learnt"
    theirs = _watch("fit_pandas.py", flights, str(rounds), threads)
    by_hand = _watch("fit_xgboost_dask.py", learnt, flights, str(rounds), "1", threads)
    summary = _watch("summary_dask_ml.py", learnt, "1", threads)
    check_summary(summary, scaled)
    mine, yours = ours["seconds"], theirs["seconds"]
    read, fit = mine["summarise"] + mine["encode"], mine["fit xgboost"]
    own = yours["quantise"] + yours["rounds"]
    aucs = [one["metrics"]["roc_auc"] for one in (ours, theirs, by_hand)]
    for other in (theirs, by_hand):
        rows, judged = ours["metrics"]["rows"], other["metrics"]["rows"]
        require(rows == judged, f"{rows} rows were judged, not {judged}")
    require(max(aucs) - min(aucs) <= CLOSE, f"AUCs of the same rows and rounds are {aucs}")
    found = {
        "fit": fit / own,
        "alone": (read + fit) / (own + read),
        "all": ours["whole"] / sum(yours.values()),
        "by_hand": sum(by_hand["seconds"].values()) / ours["whole"],
        "auc": max(aucs) - min(aucs),
        "summary": summary["seconds"] / mine["summarise"],
    }
    print(
        f"  dataops: {_split(mine)}, all {ours['whole']:.1f} s; "
        f"of the fit {ours['quantised']:.1f} s until all rows are quantised"
    )
    print(f"  pandas and XGBoost: {_split(yours)}, all {sum(yours.values()):.1f} s")
    print(f"  xgboost.dask: {_split(by_hand['seconds'])}, all {sum(by_hand['seconds'].values()):.1f} s")
    print(f"  dask-ml's summary {summary['seconds']:.1f} s")
    print(f"  AUC {', '.join(f'{one:.6f}' for one in aucs)}; {ours['needs']}")
    print(f"  ratios: {', '.join(f'{name} {value:.4g}' for name, value in found.items())}", flush=True)
    return {**found, "dataops": ours, "pandas": theirs, "xgboost_dask": by_hand, "dask_ml": summary}


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
