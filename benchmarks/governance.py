"""What governance costs, on three million flights: a governed scan, a governed rescore, pseudonyms of unique keys.

Every ratio is of two measurements that follow each other in one process (A B A B ...), so what else the machine does
touches both. What came out is checked before a figure is printed. The last line is one JSON object.

    python benchmarks/governance.py            # all of it, minutes
    python benchmarks/governance.py --quick    # a tenth of the rows, fewer repeats
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from flights import COLUMNS, N_RULES, fetch_flights, make_workspace
from history import arguments, data_of_files, write_record
from measuring import Spread, in_turns, require, seconds
from pace import cores

from dataops.datasets.access import GovernedInput, open_inputs
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.declarations.jobs import find_job
from dataops.engine.progress import Progress
from dataops.governance.hashing import keyed_hashes
from dataops.governance.pseudonyms import pseudonyms
from dataops.records import parse_time
from dataops.runs.execute import Options, Outcome, run_job
from dataops.runs.workspace import Workspace

LIMITS = {"governed/raw": 2.5, "governed rescore/plain rescore": 1.15}
KEY = bytes(range(32))
TEXTS = ("origin", "destination")
ENCODED = ", texts as dictionaries"
WHOLE = ", start-up included"


def open_for_scan(workspace: Workspace, dataset: str) -> GovernedInput:
    """`dataset`, as the person at the keyboard may read it to score."""
    return open_inputs(workspace.settings, workspace.store, workspace.reader(), {"input": (dataset, "score")})["input"]


def scan_governed(given: GovernedInput, *, encoded: bool) -> list[GovernedRead]:
    """All units by the one governed read; `encoded`: text that lies in dictionaries stays one, as jobs read it."""
    return [read_unit(given.source, unit, COLUMNS, encoded=encoded) for unit in given.units]


def scan_raw(path: Path, *, encoded: bool) -> list[pa.Table]:
    """All row groups by Arrow alone, the same columns, one thread as in a worker; `encoded`: texts stay the
    dictionaries that the file holds, which is Arrow's fastest.
    """
    file = pq.ParquetFile(path, read_dictionary=list(TEXTS) if encoded else None)
    return [
        file.read_row_group(group, columns=list(COLUMNS), use_threads=False) for group in range(file.num_row_groups)
    ]


def check_scan(governed: list[GovernedRead], raw: list[pa.Table]) -> dict[str, int]:
    """Counts of the governed scan, all of them compared with what the raw rows say.

    Raises
    ------
    AssertionError : the scan lost or changed something.
    """
    rows = plain_texts(raw)
    allowed = pc.greater_equal(rows["distance"], 150)
    clean = pc.and_(pc.not_equal(rows["origin"], rows["destination"]), pc.less_equal(pc.abs(rows["delay"]), 1200))
    expected = rows.filter(pc.and_(allowed, pc.and_(clean, pc.greater_equal(rows["delay"], -600))))
    got = plain_texts([one.table for one in governed])
    counts = {name: sum(getattr(one.receipt, name) for one in governed) for name in ("read", "passed", "quarantined")}
    require(counts["read"] == rows.num_rows, "rows read")
    require(counts["passed"] == expected.num_rows == got.num_rows, "rows passed")
    for name in ("date", "delay"):
        require(got[name].combine_chunks().equals(expected[name].combine_chunks()), f"{name} unchanged")
    bands = np.asarray(expected["distance"]) // 50 * 50
    require(bool((np.asarray(got["distance"]) == bands).all()), "distances in bands of 50")
    for name in TEXTS:
        require(pc.all(pc.equal(pc.utf8_length(got[name]), 32)).as_py(), f"{name} is a pseudonym")
        pairs = pa.table({"true": expected[name], "pseudonym": got[name]})
        distinct = pairs.group_by(["true", "pseudonym"]).aggregate([]).num_rows
        require(distinct == pc.count_distinct(expected[name]).as_py(), f"one pseudonym a {name}")
    return counts


def plain_texts(tables: Sequence[pa.Table]) -> pa.Table:
    """All rows, texts as themselves."""
    rows = pa.concat_tables([one.unify_dictionaries() for one in tables])
    for name in TEXTS:
        rows = rows.set_column(rows.schema.get_field_index(name), name, rows[name].cast(pa.string()))
    return rows


Turns = tuple[list[float], list[float]]


def measure_scan(workspace: Workspace, repeats: int, *, encoded: bool) -> Turns:
    """Seconds of the governed and of the raw scan, in turns; both give texts as themselves or as dictionaries."""
    path = workspace.settings.workspace / "data" / "flights" / "flights.parquet"
    given = open_for_scan(workspace, "flights")
    require(len(given.source.contract.rules) == N_RULES, f"{N_RULES} rules")
    counts = check_scan(scan_governed(given, encoded=encoded), scan_raw(path, encoded=encoded))
    print("scan checked:", ", ".join(f"{count:,} {name}" for name, count in counts.items()), flush=True)
    return in_turns(
        lambda: seconds(lambda: scan_governed(given, encoded=encoded)),
        lambda: seconds(lambda: scan_raw(path, encoded=encoded)),
        repeats,
    )


def run(workspace: Workspace, name: str) -> Outcome:
    """The outcome of the job, done anew."""
    found = find_job(workspace.settings.workspace / "jobs" / "flights.yaml", name)
    options = Options(cluster=workspace.cluster(None), again=True)
    return run_job(
        workspace, found.job, source=found.document.source, options=options, progress=Progress(sys.stderr, quiet=True)
    )


def work_seconds(outcome: Outcome) -> float:
    """From the cluster's being ready until the run was done: starting processes costs the same for both."""
    at = {event["event"]: parse_time(event["at"]) for event in outcome.state.events}
    return (at["run_done"] - at["cluster_ready"]).total_seconds()


def measure_rescore(workspace: Workspace, repeats: int) -> tuple[Turns, Turns]:
    """Seconds of the governed and of the open rescore by one model, in turns: from when the cluster is ready, and from
    when the job is asked for, both until the run is done.
    """
    for name in ("flights_ready", "late"):
        run(workspace, name)
    outcomes: dict[str, Outcome] = {}

    def rescore(name: str) -> tuple[float, float]:
        asked = time.perf_counter()
        outcomes[name] = run(workspace, name)
        return work_seconds(outcomes[name]), time.perf_counter() - asked

    rescore("scores_governed"), rescore("scores_open")  # the first of each finds cold caches
    turns = [(rescore("scores_governed"), rescore("scores_open")) for _ in range(repeats)]
    work, whole = [([one[at] for one, _ in turns], [other[at] for _, other in turns]) for at in range(2)]
    counts = {name: one.state.result["reads"]["input"]["counts"] for name, one in outcomes.items()}
    require(counts["scores_governed"]["read"] == counts["scores_open"]["read"], "both read all rows")
    require(counts["scores_open"]["passed"] == counts["scores_open"]["read"], "open: all rows scored")
    models = {str(one.state.result["model"]) for one in outcomes.values()}
    require(len(models) == 1, "one model")
    print("rescore checked:", counts, flush=True)
    return work, whole


def measure_keys(n_rows: int, repeats: int) -> dict[str, Spread]:
    """Rows per second on one core of pseudonyms and hashes of unique keys, and of keys with 200 values."""
    numbers = np.random.default_rng(0).permutation(n_rows)
    texts = pa.array([f"person-{number:08d}" for number in numbers.tolist()])
    columns = {
        "unique whole numbers": pa.chunked_array([pa.array(numbers)]),
        "unique texts": pa.chunked_array([texts]),
        "texts, 200 distinct": pa.chunked_array([texts.take(pa.array(numbers % 200))]),
    }
    found = {}
    for name, column in columns.items():
        for what, step in (("pseudonyms", pseudonyms), ("hashes", lambda c, key: keyed_hashes([c], key=key))):
            spent = [seconds(lambda step=step, column=column: step(column, key=KEY)) for _ in range(repeats)]
            found[f"{what} of {name}"] = Spread.of([n_rows / one for one in spent])
    require(pc.count_distinct(pseudonyms(columns["unique texts"], key=KEY)).as_py() == n_rows, "one pseudonym a key")
    return found


def main() -> None:
    """Measures, prints a table, writes the record."""
    parser = arguments(__doc__, "governance", quick="the first row group, fewer repeats")
    parser.add_argument("--no-rescore", action="store_true", help="leave the rescore out")
    parser.add_argument("--groups", type=int, default=None, help="row groups of a million flights; default: all")
    given = parser.parse_args()
    file = fetch_flights()
    phases: dict[str, list[float]] = {}
    ratios: dict[str, Spread] = {}
    groups = 1 if given.quick else given.groups
    with tempfile.TemporaryDirectory(prefix="dataops-governance-") as folder:
        workspace = make_workspace(Path(folder), file, n_groups=groups)
        measured = {}
        for suffix, encoded in (("", False), (ENCODED, True)):
            name = f"governed scan{suffix}"
            phases[name], raw = measure_scan(workspace, 3 if given.quick else 15, encoded=encoded)
            ratios[f"governed/raw{suffix}"] = of_turns(phases[name], raw)
            measured[f"raw Arrow scan{suffix}"] = "s", Spread.of(raw)
        if not given.no_rescore:
            found = measure_rescore(workspace, 1 if given.quick else 7)
            for suffix, (governed, plain) in zip(("", WHOLE), found, strict=True):
                phases |= {f"governed rescore{suffix}": governed, f"plain rescore{suffix}": plain}
                ratios[f"governed rescore/plain rescore{suffix}"] = of_turns(governed, plain)
        file_of = workspace.settings.workspace / "data" / "flights" / "flights.parquet"
        data = data_of_files([file_of], pq.read_metadata(file_of).num_rows)
    keys = measure_keys(100_000 if given.quick else 1_000_000, 3)
    measured |= {name: ("s", Spread.of(found)) for name, found in phases.items()}
    measured |= {name: ("rows/s/core", spread) for name, spread in keys.items()}
    show(measured, ratios)
    record = {
        "question": "governance",
        "quick": given.quick,
        "limits": LIMITS,
    }
    figures = {f"{name}, rows/s/core": spread for name, spread in keys.items()}
    workers = 1 if given.no_rescore else cores()  # the scan is of this process, on one thread
    write_record(given.record, record, ratios, phases=phases, data=data, cluster=(workers, 1), figures=figures)


def of_turns(first: list[float], second: list[float]) -> Spread:
    """The ratio, turn by turn."""
    return Spread.of([a / b for a, b in zip(first, second, strict=True)])


def show(measured: dict[str, tuple[str, Spread]], ratios: dict[str, Spread]) -> None:
    """The table."""
    print(f"{'':<52}{'median':>14}{'min':>14}{'max':>14}")
    for name, (unit, one) in measured.items():
        form = "14,.0f" if one.median > 1000 else "14.3f"
        print(f"{f'{name} ({unit})':<52}{one.median:{form}}{one.min:{form}}{one.max:{form}}")
    for name, one in ratios.items():
        limit = LIMITS.get(name)
        asked = f" (at most {limit})" if limit else ""
        print(f"{name + asked:<52}{one.median:14.2f}{one.min:14.2f}{one.max:14.2f}")


if __name__ == "__main__":
    main()
