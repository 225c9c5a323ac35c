"""What each kind of feature costs a row, on one core: in the summary, and in the encoder.

``python benchmarks/features.py`` takes a million rows of the narrow set of `scored_sets`, whose date, distance and two
texts are those of flights. Seconds are of the processor, the least of some turns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scored_sets import NARROW, data_of

from dataops.declarations.features import FeatureSpec
from dataops.features.encoder import OutOfFold, encode
from dataops.features.fitting import asked_of, fit_features
from dataops.features.making import with_made
from dataops.features.summary import summarise
from dataops.features.target import FOLDS, Outcomes

ROWS = 1_000_000
TURNS = 5
CASES = {
    "number": {"numeric": {"columns": ["distance"]}},
    "clip, log, robust": {
        "numeric": {"columns": ["distance"], "clip": {"quantiles": [0.01, 0.99]}, "log": True, "scale": "robust"}
    },
    "with indicator": {"numeric": {"columns": ["distance"], "indicator": True}},
    "20 bins": {"numeric": {"columns": ["distance"], "bins": 20}},
    "200 bins": {"numeric": {"columns": ["distance"], "bins": 200}},
    "ordinal": {"categorical": {"columns": ["origin"]}},
    "frequency": {"categorical": {"columns": ["origin"], "encode": "frequency"}},
    "target": {"categorical": {"columns": ["origin"], "encode": "target"}},
    "hash": {"categorical": {"columns": ["origin"], "encode": "hash"}},
    "hour": {"dates": {"columns": ["date"], "parts": ["hour"]}},
    "hour, cyclical": {"dates": {"columns": ["date"], "parts": ["hour"], "encode": "cyclical"}},
    "weekday, category": {"dates": {"columns": ["date"], "parts": ["weekday"], "encode": "category"}},
    "cross": {"crosses": {"columns": ["origin", "destination"]}},
}


def main() -> None:
    """Nanoseconds a row of each kind."""
    pa.set_cpu_count(1)
    (path, *_) = sorted((data_of(NARROW, NARROW.rows) / "data").iterdir())
    table = pq.read_table(path, read_dictionary=["origin", "destination"]).slice(0, ROWS)
    table = table.filter(pc.is_valid(table["delay"])).combine_chunks()
    target = pc.greater(table["delay"], 15).to_numpy(zero_copy_only=False).astype(np.float32)
    folds = np.random.default_rng(1).integers(0, FOLDS, table.num_rows).astype(np.uint8)
    outcomes = Outcomes(target=target, folds=folds)
    print(f"{'kind':20}{'summary':>12}{'encode':>12}{'out of fold':>14}   ns a row")
    for name, declared in CASES.items():
        spec = FeatureSpec.model_validate_json(json.dumps(declared), strict=True)
        found = _measure(spec, table, outcomes)
        print(f"{name:20}" + "".join(f"{figure:>12.1f}" for figure in found))


def _measure(spec: FeatureSpec, table: pa.Table, outcomes: Outcomes) -> list[float]:
    asked = asked_of(spec)
    of_target = outcomes if asked.targets else None

    def summary() -> object:
        return summarise(with_made(table, asked.made), asked.numeric, asked.categorical, asked.targets, of_target)

    fitted = fit_features(
        summarise(with_made(table, asked.made), asked.numeric, asked.categorical, asked.targets, of_target), spec
    )
    turns: list[Callable[[], object]] = [summary, lambda: encode(fitted.encoder, table)]
    if fitted.by_fold:
        out_of_fold = OutOfFold(folds=outcomes.folds, values=fitted.by_fold)
        turns.append(lambda: encode(fitted.encoder, table, out_of_fold))
    return [_nanoseconds(turn, table.num_rows) for turn in turns]


def _nanoseconds(turn: Callable[[], object], rows: int) -> float:
    best = float("inf")
    for _ in range(TURNS):
        begun = time.process_time()
        turn()
        best = min(best, time.process_time() - begun)
    return best / rows * 1e9


if __name__ == "__main__":
    main()
