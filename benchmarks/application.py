"""What an application waits for: import, first load, and requests while versions change.

``python -m benchmarks.application`` prints it; the application is examples/app, in a process where Dask, pandas and
scikit-learn can't be imported, asked over HTTP by two threads; promotions and rollbacks take turns. Last, how long
answers take while a large model is read beside them.
"""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import xgboost

from dataops.features.encoder import Encoded
from dataops.models.native import load_native
from dataops.models.predictor import BOOSTED, Predictor, load_predictor

sys.path.insert(0, str(Path(__file__).parent))
from history import arguments, write_record
from measuring import Spread, require

from tests.runtime.examples import make_registry, promote, register, wait_until
from tests.runtime.traffic import EVERY, Client, Traffic, change_versions, serving

QUICK = 5
_FIRST = """
import sys, time
begun = time.perf_counter()
from dataops.runtime import UNSIGNED, load
imported = time.perf_counter()
model = load(sys.argv[1], "income", trust=UNSIGNED, every=None)
loaded = time.perf_counter()
model.predict([{"age": 40, "job": "clerk"}])
print(f"{imported - begun:.3f} {loaded - imported:.3f} {time.perf_counter() - loaded:.4f}")
heavy = ("dask", "distributed", "pandas", "sklearn", "xgboost")
print(" ".join(name for name in heavy if name in sys.modules) or "none")
"""


def main() -> None:
    parser = arguments(__doc__, "application", quick="a fifth of the requests")
    parser.add_argument("--requests", type=int, default=10_000)
    given = parser.parse_args()
    requests = given.requests // (QUICK if given.quick else 1)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        registry = make_registry(models)
        for number in (1, 2):
            register(registry, float(number))
        promote(registry, 1)
        phases = print_first(models)
        figures = print_traffic(models, requests)
    figures |= print_held_up(trees=1000)
    record = {"question": "application", "quick": given.quick, "requests": requests}
    write_record(given.record, record, {}, phases=phases, figures=figures)


def print_first(models: Path) -> dict[str, list[float]]:
    """Seconds of fresh processes, the medians of five; one before has the bytecode written and the files at hand."""
    command = [sys.executable, "-c", _FIRST, str(models)]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n") for _ in range(6)]
    times = [tuple(float(one) for one in run[0].split()) for run in runs[1:]]
    names = ("import", "first load", "first answer")
    for place, name in enumerate(names):
        spread = Spread.of([one[place] * 1000 for one in times])
        print(f"{name:<13} median {spread.median:6.1f} ms   least {spread.min:6.1f} ms   longest {spread.max:6.1f} ms")
    print(f"heavy libraries imported: {runs[0][1]}")
    return {name: [one[place] for one in times] for place, name in enumerate(names)}


def print_traffic(models: Path, requests: int) -> dict[str, Spread]:
    """How long requests take while nothing changes, and while versions change."""
    with serving(models, "--every", str(EVERY)) as port, Traffic(Client(port), threads=2) as traffic:
        wait_until(lambda: len(traffic.answers) >= requests // 5, 600)
        quiet, took = len(traffic.answers), []
        while len(traffic.answers) < requests:
            took += change_versions(models, traffic, rounds=1)
    usual = np.array([seconds for _, seconds, _ in traffic.answers[:quiet]]) * 1000
    changing = np.array([seconds for _, seconds, _ in traffic.answers[quiet:]]) * 1000
    print(f"{len(traffic.answers):,} requests, {len(traffic.failures)} failed, {len(took)} changes of version")
    print(
        f"a change is served after {np.median(took):.2f} s (median), {max(took):.2f} s at most; looks every {EVERY:g} s"
    )
    require(not traffic.failures, f"{len(traffic.failures)} requests failed")
    figures = {"seconds until a change is served": Spread.of(took)}
    for name, one in (("quiet", usual), ("changing", changing)):
        figures[f"a request while {name}, ms"] = Spread.of(one.tolist())
        half, most = np.percentile(one, [50, 99])
        print(f"{name:9} median {half:6.2f} ms   p99 {most:6.2f} ms   longest {one.max():6.2f} ms")
    print(f"longest while changing is {changing.max() - np.percentile(usual, 99):.1f} ms beyond the usual p99")
    return figures


def read_trees(data: bytes) -> Predictor:
    """As the runtime does: by XGBoost's library, or its package where that lies elsewhere."""
    return load_native(data) or load_predictor(BOOSTED, data)


def print_held_up(trees: int) -> dict[str, Spread]:
    """How long answers of trees take while nothing happens, and while large models are read beside them."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(20_000, 30)).astype(np.float32)
    matrix = xgboost.DMatrix(rows, rows[:, 0] + rows[:, 1] * rows[:, 2] + random.normal(size=len(rows)) > 0)
    trained = xgboost.train({"objective": "binary:logistic", "max_depth": 6, "eta": 0.05}, matrix, trees)
    data = bytes(trained.save_raw("ubj"))
    model = read_trees(data)
    row = Encoded.of(rows[:1], np.empty((1, 0), np.int32))
    done, took = threading.Event(), []

    def ask() -> None:
        here, there = socket.socketpair()
        while not done.wait(0.002):
            begun = time.perf_counter()
            for _ in range(4):  # as often as an answer over HTTP lets go of Python's lock
                here.send(b"rows")
                there.recv(4)
            model.predict(row)
            took.append((begun, time.perf_counter()))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    loads = []
    gc.collect()  # of what the imports left here, a tenth of a second
    for _ in range(8):
        time.sleep(0.3)
        begun = time.perf_counter()
        read_trees(data)
        loads.append((begun, time.perf_counter()))
    done.set()
    for thread in threads:
        thread.join()
    print(
        f"{trees:,} trees are read in {np.median([end - begun for begun, end in loads]) * 1000:.0f} ms, beside answers:"
    )
    beside = [any(a < end and begun < b for a, b in loads) for begun, end in took]
    figures = {}
    for name, wanted in (("quiet", False), ("reading", True)):
        seconds = [end - begun for (begun, end), one in zip(took, beside, strict=True) if one == wanted]
        half, most = np.percentile(seconds, [50, 99]) * 1000
        print(f"{name:9} median {half:6.2f} ms   p99 {most:6.2f} ms   longest {max(seconds) * 1000:6.2f} ms")
        figures[f"an answer while {name}, ms"] = Spread.of([one * 1000 for one in seconds])
    return figures


if __name__ == "__main__":
    main()
