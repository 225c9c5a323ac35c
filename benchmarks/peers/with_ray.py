"""Ray Data: ``map_batches`` with a class on a pool of actors.

As Ray's guide to batch inference advises: a callable class that loads the model once per actor, batches of pandas, only
the columns that are needed, whole blocks as batches. Reads and writes get a share of a core of their own, or they wait
for cores that the actors hold (guide to performance: ``ray_remote_args={"num_cpus": ...}``).
"""

from __future__ import annotations

import logging
import os
import sys

import pandas as pd
import ray
from pipeline import load_pipeline, score
from telling import read_spec, tell, tell_phase, versions


class Scorer:
    """A model, ready to score batches."""

    def __init__(self, spec_path: str, keep: list[str]) -> None:
        self._pipeline, self._keep = load_pipeline(spec_path, 1), keep

    def __call__(self, batch: pd.DataFrame) -> pd.DataFrame:
        return score(self._pipeline, batch, self._keep)


def main() -> None:
    """Scores."""
    spec, output = read_spec()
    cores, shares = spec["cores"], spec["ray"]
    tell(versions=versions("ray", "pandas", "scikit-learn", "xgboost-cpu", "pyarrow"))
    ray.init(
        num_cpus=cores,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}, "worker_process_setup_hook": _import},
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.get([_warm_up.remote() for _ in range(cores)])
    tell_phase("work")
    rows = ray.data.read_parquet(spec["folder"], columns=spec["columns"], ray_remote_args={"num_cpus": shares["read"]})
    scored = rows.map_batches(
        Scorer,
        fn_constructor_args=(sys.argv[1], spec["keep"]),
        batch_format="pandas",
        batch_size=shares["batch"],
        compute=ray.data.ActorPoolStrategy(size=cores),
        num_cpus=shares["actor"],
    )
    scored.write_parquet(str(output), ray_remote_args={"num_cpus": shares["write"]})
    tell_phase("end")
    tell(stats=scored.stats() if os.environ.get("DATAOPS_BENCH_STATS") else "")
    ray.shutdown()


def _import() -> None:
    import pipeline  # noqa: F401 - what workers import is start-up, for everybody


@ray.remote
def _warm_up() -> int:
    import time

    time.sleep(0.5)  # both workers take one
    return os.getpid()


if __name__ == "__main__":
    main()
