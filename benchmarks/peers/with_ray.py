"""Ray Data: ``map_batches`` with a class on a pool of actors.

As Ray's guide to batch inference advises: a callable class that loads the model once per actor, batches of pandas, only
the columns that are needed, whole blocks as batches, as large as Ray makes them (128 MiB; its guide to performance says
not to change that, so small data is one block for one actor). Reads and writes get shares of cores of their own
(``ray_remote_args``, same guide), or they would wait for the cores that the actors hold.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import ray
from telling import read_spec, tell, tell_phase, versions


class Scorer:
    """A model, ready to score batches."""

    def __init__(self, spec_path: str, keep: list[str], notes: str) -> None:
        # what workers import is start-up, for everybody; actors can't be had before the work begins, so it is noted
        began, cpu = time.monotonic(), time.process_time()
        from pipeline import load_pipeline, score

        took = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu}
        Path(notes, f"{os.getpid()}.json").write_text(json.dumps(took))
        self._pipeline, self._keep, self._score = load_pipeline(spec_path, 1), keep, score

    def __call__(self, batch: pd.DataFrame) -> pd.DataFrame:
        return self._score(self._pipeline, batch, self._keep)


def _same(batch: pd.DataFrame) -> pd.DataFrame:
    return batch


def main() -> None:
    """Scores."""
    spec, output = read_spec()
    tell(versions=versions("ray", "pandas", "scikit-learn", "xgboost-cpu", "pyarrow"))
    scratch = tempfile.mkdtemp(prefix="ray-")  # a short path: sockets lie below it
    try:
        _score_all(spec, output, scratch)
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


def _score_all(spec: dict, output: Path, scratch: str) -> None:
    cores, shares = spec["cores"], spec["ray"]
    # by default 15: other work on the machine would slow Ray down alone
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # that is its name
    ray.init(
        num_cpus=cores,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        _temp_dir=scratch,
        _node_ip_address="127.0.0.1",
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    pd.DataFrame({"row": range(100)}).to_parquet(f"{scratch}/row.parquet")
    tiny = ray.data.read_parquet(f"{scratch}/row.parquet").map_batches(_same, batch_format="pandas")
    tiny.write_parquet(f"{scratch}/rows")  # Ray Data's own actors and workers are there then
    tell_phase("work")
    rows = ray.data.read_parquet(spec["folder"], columns=spec["columns"], ray_remote_args={"num_cpus": shares["read"]})
    scored = rows.map_batches(
        Scorer,
        fn_constructor_args=(sys.argv[1], spec["keep"], scratch),
        batch_format="pandas",
        batch_size=shares["batch"],
        compute=ray.data.ActorPoolStrategy(size=cores),
        num_cpus=shares["actor"],
    )
    scored.write_parquet(str(output), ray_remote_args={"num_cpus": shares["write"]})
    tell_phase("end")
    imports = [json.loads(path.read_text()) for path in Path(scratch).glob("*.json")]
    tell(
        imported={
            "seconds": max(one["seconds"] for one in imports),
            "cpu_seconds": sum(one["cpu_seconds"] for one in imports),
            "actors": len(imports),
        }
    )


if __name__ == "__main__":
    main()
