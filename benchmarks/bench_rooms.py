"""Rows per second of each pure step of the pass over a unit, in one process, on the census (299,285 people)."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

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

REPEATS = 5


def measure(name: str, n_rows: int, step: Callable[[], object]) -> None:
    """Prints the best of some runs of `step`, which handles `n_rows` rows."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    print(f"{name:<40} {min(seconds):8.3f} s {n_rows / min(seconds):14,.0f} rows/s")


def main() -> None:
    """Measures them."""
    jobs = template_folder() / "jobs"
    document = read_document(jobs / "contracts" / "census.yaml")
    contract = parse_contract(document.value, source=document.source, lines=document.lines)
    job = find_job(jobs / "census.yaml", "income").job
    if not isinstance(job, TrainJob):
        raise TypeError("the demo's job 'income' is not a train job")
    with tempfile.TemporaryDirectory() as folder:
        folders = write_census(fetch(ARCHIVE, cache_folder(os.environ)), Path(folder))
        files = sorted(folders.historical.iterdir()) + sorted(folders.production.iterdir())
        table = pa.concat_tables([pq.read_table(path) for path in files])
        measure("read Parquet, all columns", table.num_rows, lambda: [pq.read_table(path) for path in files])
    asked = asked_of(job.features)
    numeric, categorical = asked.numeric, asked.categorical
    band = parse_expression("cut(age, 15, 25, 35, 45, 55, 65, 95)", where="benchmark")
    generalise = parse_mask({"generalise": {"width": 5}}, where="benchmark")
    encoder = fit_encoder(summarise(table, numeric, categorical), job.features)
    n_rows = table.num_rows
    measure(f"check {len(contract.rules)} rules", n_rows, lambda: check_rows(contract, table))
    measure("generalise one column", n_rows, lambda: apply_mask(generalise, table["age"], key=None))
    measure("evaluate one expression", n_rows, lambda: evaluate(band, table))
    measure(f"summarise {len(job.features.columns)} columns", n_rows, lambda: summarise(table, numeric, categorical))
    measure(f"encode {len(job.features.columns)} columns", n_rows, lambda: encode(encoder, table))


if __name__ == "__main__":
    main()
