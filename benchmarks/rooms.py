"""Rows a second of each pure step of the pass over a unit, in one process, on the census (299,285 people): medians.

python benchmarks/rooms.py            # five times each
python benchmarks/rooms.py --quick    # a tenth of the rows, three times each
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from history import arguments, data_of_files, write_record
from measuring import Spread, require, seconds

from dataops.declarations.jobs import find_job
from dataops.declarations.loader import read_document
from dataops.declarations.templates import template_folder
from dataops.declarations.train import TrainJob
from dataops.demo.census import ARCHIVE, write_census
from dataops.demo.fetch import cache_folder, fetch
from dataops.features.encoder import encode
from dataops.features.fitting import asked_of, fit_encoder
from dataops.features.summary import summarise
from dataops.governance.checking import check_rows
from dataops.governance.expressions import evaluate, parse_expression
from dataops.governance.masking import apply_mask, parse_mask
from dataops.governance.odcs import parse_contract

REPEATS, QUICK_REPEATS = 5, 3
QUICK = 10


def main() -> None:
    """Measures, prints, writes the record."""
    given = arguments(__doc__, "rooms", quick="a tenth of the rows, three times").parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folders = write_census(fetch(ARCHIVE, cache_folder(os.environ)), Path(folder))
        files = [*sorted(folders.historical.iterdir()), *sorted(folders.production.iterdir())]
        whole = pa.concat_tables([pq.read_table(path) for path in files])
        data = data_of_files(files, whole.num_rows)
        table = whole.slice(0, whole.num_rows // QUICK).combine_chunks() if given.quick else whole
        all_steps = {"read Parquet, all columns": lambda: [pq.read_table(path) for path in files], **steps(table)}
        repeats = QUICK_REPEATS if given.quick else REPEATS
        found: dict[str, list[float]] = {name: [] for name in all_steps}
        for _ in range(repeats):  # in turns: what else the machine does touches all of them
            for name, step in all_steps.items():
                found[name].append(seconds(step))
    read = whole.num_rows
    rates = {
        f"{name}, rows/s": Spread.of([(read if name.startswith("read") else table.num_rows) / one for one in spent])
        for name, spent in found.items()
    }
    for name, spent in found.items():
        took, rate = Spread.of(spent), rates[f"{name}, rows/s"].median
        print(f"{name:<40} {took.median:8.3f} s ({took.min:.3f} to {took.max:.3f}) {rate:14,.0f} rows/s")
    record: dict[str, Any] = {"question": "rooms", "quick": given.quick}
    write_record(given.record, record, {}, phases=found, data=data, cluster=(1, 1), figures=rates)


def steps(table: pa.Table) -> dict[str, Callable[[], object]]:
    """What is measured, by name; that each does something is looked at before."""
    jobs = template_folder() / "jobs"
    document = read_document(jobs / "contracts" / "census.yaml")
    contract = parse_contract(document.value, source=document.source, lines=document.lines)
    job = find_job(jobs / "census.yaml", "income").job
    if not isinstance(job, TrainJob):
        raise TypeError("the demo's job 'income' is not a train job")
    asked = asked_of(job.features)
    numeric, categorical = asked.numeric, asked.categorical
    band = parse_expression("cut(age, 15, 25, 35, 45, 55, 65, 95)", where="benchmark")
    generalise = parse_mask({"generalise": {"width": 5}}, where="benchmark")
    encoder = fit_encoder(summarise(table, numeric, categorical), job.features)
    columns = len(job.features.columns)
    require(len(apply_mask(generalise, table["age"], key=None)) == table.num_rows, "a band for each age")
    require(len(encode(encoder, table).numeric) == table.num_rows, "a row for each row")
    return {
        f"check {len(contract.rules)} rules": lambda: check_rows(contract, table),
        "generalise one column": lambda: apply_mask(generalise, table["age"], key=None),
        "evaluate one expression": lambda: evaluate(band, table),
        f"summarise {columns} columns": lambda: summarise(table, numeric, categorical),
        f"encode {columns} columns": lambda: encode(encoder, table),
    }


if __name__ == "__main__":
    main()
