"""Models of data larger than memory, by `logistic` and `incremental`: 3 million flights and 30, workers of 1 GiB.

    python benchmarks/larger.py            # minutes
    python benchmarks/larger.py --quick    # 300,000 and 3 million, workers of 1 GiB all the same

Asked: ten times the rows take at most 1.2 times the memory of a worker process. The rows are the three million flights
of `flights` in as many copies as it takes; four of five are learnt from, the others judged on. Every run is a process
of its own, whose workers are watched from outside. Each is measured once: how far its peak strays
isn't known.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from flights import fetch_flights
from history import arguments, write_record
from logistic import PEERS, write_declarations
from measuring import Spread, end_on_signal, require, watch
from ours import ENVIRONMENT

LIMIT = 1.2
WORKERS, MEMORY = 2, "1 GiB"
COPIES = (1, 10)
CANDIDATES = {
    "logistic": "{trainer: logistic, params: {l2: 1}}",
    "incremental": "{trainer: incremental, params: {estimator: sgd, epochs: 2}}",
}
PRELOAD = ("dataops.training.candidates", "dataops.rescoring.score")


def main() -> None:
    """Measures, prints, writes the record."""
    end_on_signal()
    given = arguments(__doc__, "larger", quick="a tenth of the rows").parse_args()
    runs = {trainer: [measure(trainer, copies, quick=given.quick) for copies in COPIES] for trainer in CANDIDATES}
    ratios = {
        f"{trainer}: memory, ten times the rows": Spread.of([many["worker_bytes"] / few["worker_bytes"]])
        for trainer, (few, many) in runs.items()
    }
    for name, one in ratios.items():
        print(
            f"{name}: {one.median:.2f} times the memory, measured once{'  MISSED' if one.median > LIMIT else ''}",
            flush=True,
        )
    record = {"question": "larger", "quick": given.quick, "limits": dict.fromkeys(ratios, LIMIT), "runs": runs}
    phases = {
        f"{trainer}: {step}, {copies}x": [took]
        for trainer, found in runs.items()
        for copies, one in zip(COPIES, found, strict=True)
        for step, took in one["seconds"].items()
    }
    write_record(given.record, record, ratios, phases=phases, cluster=(WORKERS, 1))


def measure(trainer: str, copies: int, *, quick: bool) -> dict[str, Any]:
    """One run of `trainer` over so many copies of the flights."""
    with tempfile.TemporaryDirectory(prefix="dataops-larger-") as scratch:
        folder, source = Path(scratch), fetch_flights()
        write_declarations(folder)
        jobs, data = folder / "jobs" / "jobs.yaml", folder / "data" / "flights"
        head = jobs.read_text().partition("candidates:")[0]
        jobs.write_text(f"{head}candidates: [{CANDIDATES[trainer]}]\nevaluate: {{metrics: [roc_auc]}}\n")
        data.mkdir(parents=True)
        if quick:
            source = folder / "few.parquet"
            pq.write_table(pq.read_table(fetch_flights()).slice(0, 300_000), source, row_group_size=100_000)
        for number in range(copies):
            shutil.copy(source, data / f"flights-{number:02d}.parquet")
        words = [str(folder), "late", str(WORKERS), "1", MEMORY, *PRELOAD]
        watched = watch([sys.executable, str(PEERS / "fit_dataops.py"), *words], env=ENVIRONMENT)
        rows = pq.read_metadata(source).num_rows * copies
    require("seconds" in watched.told, watched.told.get("refused", "it said nothing"))
    workers = sorted((held for name, held in watched.peaks if "fit_dataops" not in name), reverse=True)[:WORKERS]
    told = watched.told
    steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in told["seconds"].items())
    peaks = ", ".join(f"{one / 2**20:,.0f} MB" for one in workers)
    print(f"  {trainer}, {rows:,} flights: {steps}; workers held at most {peaks}; {told['on_disk'] or 'in memory'}; "
          f"AUC {told['metrics']['roc_auc']:.4f}", flush=True)  # fmt: skip
    return {"rows": rows, "worker_bytes": workers[0], "seconds": told["seconds"], "on_disk": told["on_disk"]}


if __name__ == "__main__":
    main()
