"""XGBoost through dataops against pandas and XGBoost, XGBoost on Dask by hand and XGBoost through Spark, all from the
same Parquet files, threads and rounds.

Asked are: how long the fit takes beside XGBoost's own on the ready matrix; how long reading and fitting take beside
XGBoost alone plus our read (the goal: at most 1.3), and all, from when the job is asked for until its model is there,
beside what pandas and XGBoost took from the files to the model; how far apart the AUCs are, on the same
rows held out; how long the summary pass and the encoding take beside dask-ml's and Spark ML's scalers and encoders;
with ``--room``, what boosting needs of memory on 30 million flights with workers of 1 GiB, what it then takes, and
where it refuses.

Peers on Dask and Spark get the rows alone that are learnt from, in files of their own; scalers and encoders count once
they found what a job with standard scaling registers and made of the rows what they should (`summaries`). Their
encoding isn't quite ours: they take rows that lie decoded in memory since their summary; we read all files again, under
the policy, leave out the fifth that is held out, and make the targets too. Distance alone isn't scaled by us.

The flights are three million of 2001 (`flights`), in as many copies as it takes; eight features; a policy that allows
all. Every measurement is a process of its own (`measuring.watch`), in turns. Without an environment of Spark its peers
are left out, and that is said.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from boosting_turn import ALONE, CONTESTANTS, PEERS, RATIOS, SUMMARY, Race, find_spark, measure, split, told_by
from flights import OPEN, fetch_flights
from history import arguments, data_of_files, write_record
from measuring import Spread, costs_of, watch
from pace import cores
from summaries import learnt_rows

from dataops.runs.init import init_workspace

ROWS = 3_000_000  # of one copy
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
        spark, missing = find_spark()
        scaled = told_by("fit_dataops.py", folder, "scaled", "1", str(cores()), "auto")
        rows = learnt_rows(folder / "learnt" / "flights-00.parquet", scaled["categories"])
        race = Race(folder=folder, copies=copies, rounds=rounds, spark=spark, scaled=scaled, rows=rows)
        runs = [measure(race) for _ in range(turns)]
    ratios = {name: Spread.of([run[key] for run in runs]) for key, name in RATIOS.items() if key in runs[0]}
    figures = {"AUC, apart": Spread.of([run["auc"] for run in runs])}
    record = {"question": "boosting", "quick": told.quick, "rounds": rounds, "rows": copies * ROWS, "runs": runs}
    record |= {"limits": LIMITS, "missing": missing}
    steps = runs[0]["dataops"]["seconds"]
    phases = {step: [float(run["dataops"]["seconds"][step]) for run in runs] for step in steps}
    data = data_of_files([fetch_flights()], copies * ROWS) | {"copies": copies}
    watched = {name: [run[key].pop("watched") for run in runs] for key, name in CONTESTANTS.items() if key in runs[0]}
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
        print(f"  {split(watched.told['seconds'])}", flush=True)


if __name__ == "__main__":
    main()
