"""Four ways to a model's predictions on three million flights, and whether they are equal.

    python benchmarks/equality.py              # 200,000 rows of them
    python benchmarks/equality.py --all        # every row: some minutes

1. Boosted trees and a logistic model are trained by dataops itself on the first 200,000 flights (`scored_sets`), and
   all flights are rescored by a job. Every fifteenth row is then asked for again: of an application's handle, of the
   version's folder by MLflow, and of the pipeline that `to_sklearn` gives.
2. MLflow runs in an environment of its own, built once into the cache; where it can't be built, that way is left out
   and said so.
3. All are compared with the rescore row by row, the kept columns first. The largest difference of two probabilities
   counts: 1e-6 at most, or the script fails. How many rows are equal to the bit as float32 is told beside.
4. The matrix of the program's transformer is compared with the program's: equal to the bit.
5. The last line is one JSON object.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from compared import read_output
from history import arguments, write_record
from measuring import Spread, end_on_signal, require, watch
from ours import parts_of, run_here
from pace import cores
from peers.environments import MLFLOW, CannotBuild, build, variables
from scored_sets import NARROW, ScoredSet, data_of, make_workspace

from dataops.models.package import Package
from dataops.registry.aliases import CHAMPION, move
from dataops.registry.versions import Registry
from dataops.runs.workspace import Workspace
from dataops.runtime import UNSIGNED, load

FLIGHTS = 3_000_000
SAMPLE = 200_000
CLOSE = 1e-6
MODELS = {"xgboost": NARROW, "logistic": replace(NARROW, name="narrow linear", trainer="logistic")}

Scores = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A version, and the rows that it is asked about.

    Attributes
    ----------
    frame : the rows, as a user of pandas has them.
    scores : what the rescore wrote for them.
    """

    workspace: Workspace
    registry: str
    package: Package
    frame: pd.DataFrame
    scores: Scores


def main() -> None:
    """Compares, prints, writes the record."""
    end_on_signal()
    parser = arguments(__doc__, "equality", quick="what is done anyway, without --all")
    parser.add_argument("--all", action="store_true", help=f"all {FLIGHTS:,} rows instead of {SAMPLE:,}")
    given = parser.parse_args()
    rows = FLIGHTS if given.all else SAMPLE
    record: dict[str, Any] = {
        "question": "equality",
        "quick": not given.all,
        "rows": rows,
        "limit": CLOSE,
        "models": {},
    }
    for trainer, scored in MODELS.items():
        with tempfile.TemporaryDirectory(prefix="dataops-equality-") as folder:
            record["models"][trainer] = compare(scored, Path(folder), every=FLIGHTS // rows)
    ways = {f"{way}, {trainer}": one for trainer, found in record["models"].items() for way, one in found.items()}
    phases = {name: [one["seconds"]] for name, one in ways.items()}
    figures = {f"largest difference, {name}": Spread.of([one["largest"]]) for name, one in ways.items()}
    figures |= {f"share of rows equal to the bit, {name}": Spread.of([one["equal"]]) for name, one in ways.items()}
    write_record(given.record, record, {}, phases=phases, cluster=(cores(), 1), figures=figures)


def compare(scored: ScoredSet, folder: Path, *, every: int) -> dict[str, Any]:
    """The largest differences by way, and the seconds that each took."""
    asked = ask(scored, folder, every)
    print(f"\n== {scored.trainer}: {len(asked.frame):,} of {FLIGHTS:,} flights", flush=True)
    ways: Mapping[str, Callable[[Asked, Path], Scores | None]] = {
        "handle": by_handle,
        "mlflow": by_mlflow,
        "to_sklearn": by_sklearn,
    }
    found: dict[str, Any] = {}
    for name, way in ways.items():
        started = time.perf_counter()
        scores = way(asked, folder)
        if scores is None:
            continue
        seconds = time.perf_counter() - started
        require(scores.shape == asked.scores.shape, f"{name}: {len(scores)} answers")
        apart = float(np.abs(scores.astype(np.float64) - asked.scores).max())
        same = float((scores.astype(np.float32) == asked.scores).mean())
        found[name] = {"largest": apart, "equal": same, "seconds": round(seconds, 2)}
        equal = f"as float32 {same:.1%} of rows to the bit"
        print(f"{name:<12} at most {apart:.1e} from the rescore, {equal}, {seconds:.1f} s", flush=True)
        require(apart <= CLOSE, f"{name}: a probability is {apart:.2g} off")
    require_equal_matrix(asked)
    return found


def ask(scored: ScoredSet, folder: Path, every: int) -> Asked:
    """A version is trained, and all flights are rescored."""
    workspace = make_workspace(folder / "workspace", scored, data_of(scored, FLIGHTS))
    for name in ("ready", "scorer", "scores"):
        run_here(workspace, name)
    home = workspace.settings.workspace
    files = sorted((home / "data" / "data").iterdir())
    source = pa.concat_tables([pq.read_table(path, columns=list(scored.columns)) for path in files])
    written = read_output(parts_of(workspace, "scores"), scored.keep)
    require(written.num_rows == source.num_rows == FLIGHTS, f"the rescore: {written.num_rows} rows")
    rows = np.arange(0, FLIGHTS, every)
    frame, scores = source.take(rows).to_pandas(), written.take(rows).to_pandas()
    for column in scored.keep:
        require(bool((frame[column] == scores[column]).all()), f"the rescore: '{column}' of its rows")
    registry = Registry(workspace.registry.store)
    move(registry, "scorer", CHAMPION, 1, actor="benchmark", reason="to be asked")
    package = registry.read("scorer", 1).package
    return Asked(
        workspace=workspace,
        registry=workspace.settings.registry,
        package=package,
        frame=frame,
        scores=scores["probability"].to_numpy(np.float32),
    )


def by_handle(asked: Asked, _: Path) -> Scores:
    """What an application is answered."""
    with load(asked.registry, "scorer", trust=UNSIGNED, every=None) as model:
        return model.predict(asked.frame)


def by_sklearn(asked: Asked, _: Path) -> Scores:
    """What a plain pipeline of scikit-learn gives."""
    probabilities: Scores = asked.package.to_sklearn().predict_proba(asked.frame)[:, 1]
    return probabilities


def by_mlflow(asked: Asked, folder: Path) -> Scores | None:
    """What ``mlflow.pyfunc`` gives for the version's folder; None where MLflow isn't to be had."""
    try:
        python = build(MLFLOW)
    except CannotBuild as error:
        print(f"left out: mlflow: {error}", flush=True)
        return None
    rows, output = folder / "rows.parquet", folder / "mlflow.npy"
    asked.frame.to_parquet(rows)
    version = Path(asked.registry.removeprefix("file://")) / "scorer" / "versions" / "1"
    script = str(Path(__file__).parent / "peers" / "with_mlflow.py")
    watch(
        [str(python), script, str(version), str(rows), str(output)],
        env={**variables(MLFLOW, python), "DATAOPS_TRUST": "unsigned"},
    )
    found: Scores = np.load(output)
    return found


def require_equal_matrix(asked: Asked) -> None:
    """The program's transformer gives the program's matrix."""
    program = asked.package.program
    expected = program.run(pa.Table.from_pandas(asked.frame, preserve_index=False))[1].values
    found = program.to_sklearn().transform(asked.frame)
    require(found.tobytes() == expected.tobytes(), "the transformer's matrix is not the program's")
    print(f"{'transformer':<12} {found.shape[0]:,} x {found.shape[1]} equal to the bit", flush=True)


if __name__ == "__main__":
    main()
