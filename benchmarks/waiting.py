"""How threads of native libraries wait for each other: spinning (their default) or asleep (what our workers do).

    python benchmarks/waiting.py            # a million rows, five turns
    python benchmarks/waiting.py --quick    # a tenth of the rows, three turns

XGBoost fits the same matrix with as many threads as there are cores: on a machine of its own, and beside one process
that wants a core as well. Every fit is a process; spinning and asleep take turns, and their models are compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from history import arguments, write_record
from measuring import Spread, end_on_signal

ROWS, ROUNDS = 1_000_000, 50
_FIT = f"""
import hashlib, json, os, sys, time
import numpy as np, xgboost
random = np.random.default_rng(0)
x = random.normal(size=(int(sys.argv[1]), 8)).astype(np.float32)
y = x[:, 0] + random.normal(size=len(x)) > 0
threads = len(os.sched_getaffinity(0))
data = xgboost.QuantileDMatrix(x, y, nthread=threads)
wall, cpu = time.perf_counter(), time.process_time()
params = {{"objective": "binary:logistic", "max_depth": 6, "nthread": threads}}
model = xgboost.train(params, data, num_boost_round={ROUNDS})
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({{"wall": wall, "cpu": cpu, "model": hashlib.sha256(model.save_raw("ubj")).hexdigest()}}))
"""


def main() -> None:
    """Measures, prints, writes the record."""
    end_on_signal()
    given = arguments(__doc__, "waiting", quick="a tenth of the rows, three turns").parse_args()
    rows, turns = (ROWS // 10, 3) if given.quick else (ROWS, 5)
    ratios, runs = {}, {}
    for place, others in (("alone", 0), ("beside another", 1)):
        with busy(others):
            found = [{policy: fit(rows, policy) for policy in ("active", "passive")} for _ in range(turns)]
        if len({one["model"] for turn in found for one in turn.values()}) > 1:
            sys.exit("the models differ: no time counts")
        runs[place] = found
        for what in ("wall", "cpu"):
            name = f"spinning/asleep, {what}, {place}"
            ratios[name] = Spread.of([turn["active"][what] / turn["passive"][what] for turn in found])
            print(
                f"{name:40} {ratios[name].median:5.2f}  ({ratios[name].min:.2f} to {ratios[name].max:.2f})", flush=True
            )
    phases = {f"asleep, {place}": [float(turn["passive"]["wall"]) for turn in found] for place, found in runs.items()}
    record = {"question": "waiting", "quick": given.quick, "rows": rows, "runs": runs}
    write_record(given.record, record, ratios, phases=phases)


def fit(rows: int, policy: str) -> dict[str, float | str]:
    """One fit in a process of its own; `active` is what the library does when nobody says."""
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if policy == "passive":
        env["OMP_WAIT_POLICY"] = policy
    told = subprocess.run([sys.executable, "-c", _FIT, str(rows)], env=env, check=True, capture_output=True, text=True)
    return dict(json.loads(told.stdout))


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that want a core each."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in spinning:
            one.kill()
            one.wait()


if __name__ == "__main__":
    main()
