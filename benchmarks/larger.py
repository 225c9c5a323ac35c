"""A linear model of data larger than memory: 3 million flights and 30 million, with workers of 1 GiB.

    python benchmarks/larger.py            # minutes
    python benchmarks/larger.py --quick    # 300,000 and 3 million, workers of 1 GiB all the same

Asked: ten times the rows take at most 1.2 times the memory of a worker process. The rows are the three million flights
of `flights` in as many copies as it takes; four of five are learnt from, the others judged on. Every run is a process
of its own, whose workers are watched from outside.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from flights import fetch_flights
from logistic import PEERS, write_declarations
from measuring import Spread, arguments, end_on_signal, watch, write_record
from ours import ENVIRONMENT

LIMIT = 1.2
WORKERS, MEMORY = 2, "1 GiB"


def main() -> None:
    """Measures, prints, writes the record."""
    end_on_signal()
    given = arguments(__doc__, "larger", quick="a tenth of the rows").parse_args()
    runs = {}
    for copies in (1, 10):
        with tempfile.TemporaryDirectory(prefix="dataops-larger-") as scratch:
            runs[copies] = measure(Path(scratch), copies, quick=given.quick)
    few, many = runs.values()
    ratios = {"memory, ten times the rows": Spread.of([many["worker_bytes"] / few["worker_bytes"]])}
    missed = "  MISSED" if ratios["memory, ten times the rows"].median > LIMIT else ""
    print(f"ten times the rows: {ratios['memory, ten times the rows'].median:.2f} times the memory{missed}", flush=True)
    write_record(given.record, {"question": "larger", "quick": given.quick, "limit": LIMIT, "runs": runs}, ratios)


def measure(folder: Path, copies: int, *, quick: bool) -> dict[str, Any]:
    """One run over so many copies."""
    source, data = fetch_flights(), folder / "data" / "flights"
    write_declarations(folder)
    data.mkdir(parents=True)
    if quick:
        source = folder / "few.parquet"
        pq.write_table(pq.read_table(fetch_flights()).slice(0, 300_000), source, row_group_size=100_000)
    for number in range(copies):
        shutil.copy(source, data / f"flights-{number:02d}.parquet")
    spec = {"workspace": str(folder), "cores": 1, "workers": WORKERS, "memory_limit": MEMORY}
    (folder / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, str(PEERS / "fit_linear.py"), str(folder / "spec.json")]
    watched = watch(command, env=ENVIRONMENT)
    workers = sorted((held for name, held in watched.peaks if "fit_linear" not in name), reverse=True)[:WORKERS]
    told = watched.told
    rows = pq.read_metadata(source).num_rows * copies
    steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in told["seconds"].items())
    peaks = ", ".join(f"{one / 2**20:,.0f} MB" for one in workers)
    print(f"  {rows:,} flights: {steps}; workers held at most {peaks}; {told['on_disk'] or 'in memory'}", flush=True)
    return {"rows": rows, "worker_bytes": workers[0], "seconds": told["seconds"], "on_disk": told["on_disk"]}


if __name__ == "__main__":
    main()
