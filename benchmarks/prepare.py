"""Preparing rows: read, derive, filter, write; beside Polars, DuckDB, `dask.dataframe` and Spark.

    python benchmarks/prepare.py                        # 12 million flights, three rounds
    python benchmarks/prepare.py --quick                # a tenth of the rows, one round
    python benchmarks/prepare.py --only polars,duckdb   # some peers; or none

1. Everybody reads the same Parquet files, derives hour, weekday and whether a flight was late, keeps the flights with a
   known delay that went at least 150 miles, and writes eight columns as Parquet, compressed by zstd, on the same cores.
   dataops does it as a job: under a contract and a policy (that allow all), with receipts, records and lineage.
2. What each wrote is compared before a figure counts: the rows, sorted by all columns, equal to the bit.
3. Each is a process of its own, start-up (importing, cluster, JVM) is apart. Rounds are A B C ... A B C ...; dataops
   runs twice a round (``null``). Peers run in environments of their own, built once; one that can't be is left out.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from history import arguments, data_of_files, write_record
from measuring import Spread, Watched, costs_of, end_on_signal, phases_of, require, watch
from ours import parts_of, run_apart
from pace import cores
from peers.environments import DUCKDB, FRAMES, POLARS, SPARK, CannotBuild, build, variables
from scored_sets import NARROW, QUICK, data_of, make_workspace

from dataops.runs.workspace import Workspace

PEERS = {"polars": POLARS, "duckdb": DUCKDB, "dask": FRAMES, "spark": SPARK}
OURS, NULL = "dataops", "dataops null"
COLUMNS = ("date", "delay", "distance", "origin", "destination", "hour", "weekday", "late")
JOB = {
    "name": "prepared",
    "job": "prepare",
    "purpose": "benchmark",
    "input": "rows",
    "derive": {"hour": "extract(hour from date)", "weekday": "extract(dow from date)", "late": "delay > 15"},
    "where": "distance >= 150 and delay is not null",
    "columns": list(COLUMNS),
    "output": "prepared",
}


def main() -> None:
    """Measures, prints, writes the record."""
    end_on_signal()
    parser = arguments(__doc__, "prepare", quick="a tenth of the rows, one round")
    parser.add_argument("--rows", type=int, default=None, help="instead of twelve million")
    parser.add_argument("--rounds", type=int, default=None, help="default: 3, with --quick 1")
    parser.add_argument("--only", default=",".join(PEERS), help=f"some of {', '.join(PEERS)}; we always run")
    given = parser.parse_args()
    rows = given.rows or NARROW.rows // (QUICK if given.quick else 1)
    rounds = given.rounds or (1 if given.quick else 3)
    names = [name for name in given.only.split(",") if name not in ("", "none")]
    if unknown := {*names} - set(PEERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    peers, missing = find_peers(names)
    with tempfile.TemporaryDirectory(prefix="dataops-prepare-") as scratch:
        files = data_of(NARROW, rows)
        workspace = make_workspace(Path(scratch) / "workspace", NARROW, files)
        (workspace.settings.workspace / "jobs" / "jobs.yaml").write_text(json.dumps(JOB))
        runs = measure(workspace, Path(scratch), peers, rounds)
        data = data_of_files((files / "data").iterdir(), rows)
        costs = costs_of(runs, rows, sum(one.stat().st_size for one in (files / "data").iterdir()))
    ratios = {
        (f"null: {OURS}/{OURS}" if name == NULL else f"{name}/{OURS}"): Spread.of(
            [_work(one) / _work(other) for one, other in zip(found, runs[OURS], strict=True)]
        )
        for name, found in runs.items()
        if name != OURS
    }
    show(runs, ratios, rows)
    told = {name: [_recorded(one) for one in found] for name, found in runs.items()}
    record = {"question": "prepare", "quick": given.quick, "rows": rows, "missing": missing, "runs": told}
    phases = phases_of(runs[OURS])
    write_record(given.record, record, ratios, phases=phases, data=data, cluster=(cores(), 1), costs=costs)


def find_peers(names: Sequence[str]) -> tuple[dict[str, tuple[Path, Mapping[str, str]]], dict[str, str]]:
    """Interpreter and variables of each peer, and why one is missing."""
    found: dict[str, tuple[Path, Mapping[str, str]]] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            python = build(PEERS[name])
            found[name] = python, variables(PEERS[name], python)
        except CannotBuild as error:
            missing[name] = str(error)
            print(f"left out: {name}: {error}", flush=True)
    return found, missing


def measure(
    workspace: Workspace, scratch: Path, peers: Mapping[str, tuple[Path, Mapping[str, str]]], rounds: int
) -> dict[str, list[Watched]]:
    """Runs by contestant, round by round, once their outputs are equal."""
    spec = scratch / "spec.json"
    folder = workspace.settings.workspace / "data" / "data"
    spec.write_text(json.dumps({"folder": str(folder), "columns": COLUMNS, "cores": cores()}))
    runs: dict[str, list[Watched]] = {OURS: [], NULL: [], **{name: [] for name in peers}}
    expected = None
    for turn in range(rounds):
        for name, found in runs.items():
            output = scratch / f"out-{turn}-{name.replace(' ', '-')}"
            if name in peers:
                python, env = peers[name]
                script = str(Path(__file__).parent / "peers" / "prepare_peer.py")
                found.append(watch([str(python), script, str(spec), str(output), name], env=env))
                files: Sequence[str] = sorted(map(str, output.rglob("*.parquet")))
            else:
                found.append(run_apart(workspace, "prepared", "--again"))
                files = parts_of(workspace, "prepared")
            got = read_sorted(files)
            expected = got if expected is None else expected
            require(got.equals(expected), f"{name}: the rows of dataops, to the bit")
            work, start = _work(found[-1]), found[-1].phases["start"].seconds
            print(f"  round {turn + 1}: {name:<14}{work:8.2f} s, start-up {start:6.2f} s; {got.num_rows:,} rows equal")
    return runs


def read_sorted(files: Sequence[str]) -> pa.Table:
    """All rows, in one order whoever wrote them, each column in one type."""
    types = {"date": pa.timestamp("us"), "origin": pa.string(), "destination": pa.string(), "late": pa.bool_()}
    schema = pa.schema([(name, types.get(name, pa.int64())) for name in COLUMNS])
    tables = [pq.read_table(path, columns=list(COLUMNS)).replace_schema_metadata(None) for path in files]
    whole = pa.concat_tables([one.cast(schema) for one in tables if one.num_rows])
    return whole.sort_by([(name, "ascending") for name in COLUMNS]).combine_chunks()


def show(runs: Mapping[str, Sequence[Watched]], ratios: Mapping[str, Spread], rows: int) -> None:
    """The tables."""
    print(f"\n{rows:,} flights\n{'':<16}{'work s':>9}{'start s':>9}{'CPU s':>9}{'largest':>11}")
    for name, found in runs.items():
        work, start = (Spread.of([one.phases[phase].seconds for one in found]).median for phase in ("work", "start"))
        cpu = Spread.of([one.phases["work"].cpu_seconds for one in found]).median
        print(f"{name:<16}{work:9.2f}{start:9.2f}{cpu:9.2f}{max(one.peak for one in found) / 2**20:8,.0f} MB")
    print(f"\n{'':<28}{'median':>8}{'min':>8}{'max':>8}")
    for name, one in ratios.items():
        print(f"{name:<28}{one.median:8.2f}{one.min:8.2f}{one.max:8.2f}", flush=True)


def _work(run: Watched) -> float:
    return run.phases["work"].seconds


def _recorded(run: Watched) -> dict[str, Any]:
    return {
        "seconds": {phase: one.seconds for phase, one in run.phases.items()},
        "cpu_seconds": {phase: one.cpu_seconds for phase, one in run.phases.items()},
        "peak_bytes": run.peak,
        "versions": run.told.get("versions"),
    }


if __name__ == "__main__":
    main()
