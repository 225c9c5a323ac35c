"""What each kind of feature costs a row, on one core: in the summary, and in the encoder.

    python benchmarks/features.py            # a million rows, five turns
    python benchmarks/features.py --quick    # a tenth of the rows, three turns

The rows are of the narrow set of `scored_sets`, whose date, distance and two texts are those of flights. Seconds are of
the processor, in turns over all kinds; the table tells medians.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from history import arguments, data_of_files, write_record
from measuring import Spread, require
from scored_sets import NARROW, data_of

from dataops.declarations.features import FeatureSpec
from dataops.features.encoder import OutOfFold, encode
from dataops.features.fitting import asked_of, fit_features
from dataops.features.making import with_made
from dataops.features.summary import summarise
from dataops.features.target import FOLDS, Outcomes

ROWS, SOURCE_ROWS = 1_000_000, 4_000_000
TURNS, QUICK_TURNS = 5, 3
QUICK = 10
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
    """Nanoseconds a row of each kind, and the record."""
    given = arguments(__doc__, "features", quick="a tenth of the rows, three turns").parse_args()
    pa.set_cpu_count(1)
    (path, *_) = sorted((data_of(NARROW, SOURCE_ROWS) / "data").iterdir())
    rows = ROWS // QUICK if given.quick else ROWS
    table = pq.read_table(path, read_dictionary=["origin", "destination"]).slice(0, rows)
    require(table.num_rows == rows, "rows to measure with")
    table = table.filter(pc.is_valid(table["delay"])).combine_chunks()
    target = pc.greater(table["delay"], 15).to_numpy(zero_copy_only=False).astype(np.float32)
    folds = np.random.default_rng(1).integers(0, FOLDS, table.num_rows).astype(np.uint8)
    outcomes = Outcomes(target=target, folds=folds)
    steps = {name: _steps(declared, table, outcomes) for name, declared in CASES.items()}
    found: dict[str, list[float]] = {f"{name}: {step}": [] for name, some in steps.items() for step in some}
    for _ in range(QUICK_TURNS if given.quick else TURNS):
        for name, some in steps.items():
            for step, do in some.items():
                found[f"{name}: {step}"].append(_seconds(do))
    nanoseconds = {
        f"{name}, ns a row": Spread.of([one / table.num_rows * 1e9 for one in some]) for name, some in found.items()
    }
    print(f"{'kind':20}{'summary':>12}{'encode':>12}{'out of fold':>14}   median ns a row")
    for name, some in steps.items():
        print(f"{name:20}" + "".join(f"{nanoseconds[f'{name}: {step}, ns a row'].median:>12.1f}" for step in some))
    record = {"question": "features", "quick": given.quick}
    data = data_of_files([path], rows)
    write_record(given.record, record, {}, phases=found, data=data, cluster=(1, 1), figures=nanoseconds)


def _steps(declared: Mapping[str, Any], table: pa.Table, outcomes: Outcomes) -> dict[str, Callable[[], object]]:
    """What is done with one kind, by name."""
    spec = FeatureSpec.model_validate_json(json.dumps(declared), strict=True)
    asked = asked_of(spec)
    of_target = outcomes if asked.targets else None

    def summary() -> object:
        return summarise(with_made(table, asked.made), asked.numeric, asked.categorical, asked.targets, of_target)

    fitted = fit_features(
        summarise(with_made(table, asked.made), asked.numeric, asked.categorical, asked.targets, of_target), spec
    )
    found: dict[str, Callable[[], object]] = {"summary": summary, "encode": lambda: encode(fitted.encoder, table)}
    if fitted.by_fold:
        out_of_fold = OutOfFold(folds=outcomes.folds, values=fitted.by_fold)
        found["out of fold"] = lambda: encode(fitted.encoder, table, out_of_fold)
    return found


def _seconds(do: Callable[[], object]) -> float:
    begun = time.process_time()
    do()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
