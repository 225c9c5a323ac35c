"""oneDAL: XGBoost's trees, scored by Intel's library where it is installed, gives the same scores and is faster.

1. It is never a need: where it isn't installed, can't take a model, or differs from XGBoost by more than 1e-6 on rows
   about the model's own thresholds, XGBoost scores.
2. It scores the last rows of a batch in another way than the others, which may differ in the last bit. Rows of zeros
   are put behind each batch, so that a row's score depends on that row alone; the check looks at this too.
3. Which one is faster is measured once for a version (`rescoring.kernels`), on the model's own thresholds; whether that
   is worth loading oneDAL for depends on how many rows there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from dataops.declarations.metrics import Task
from dataops.errors import Compute
from dataops.features.columns import Floats32
from dataops.features.encoder import Encoded
from dataops.models.boosted import BoostedModel
from dataops.models.cell_scores import CellScores
from dataops.models.predictor import Kernel, Margins, Probabilities, require_columns

TOLERANCE = 1e-6
FASTER = 1.2
"""How many times faster it has to be on the batch."""
WORTH_SECONDS = 10.0
"""Of scoring by XGBoost on one core: less isn't worth loading another library for."""
_SHARE_WITH_CELLS = 0.25  # of the rows, about, where rows that trees can't tell apart are scored once
_PADDING = 256  # rows of zeros; the tail that is scored otherwise has less than 64
_CHECK_ROWS = 8192
_REPEATS = 3
_LEAST_SECONDS, _MOST_STEPS = 0.1, 10_000  # of a repeat: some machines count a processor in steps of 10 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What scores a model where there are many rows, and why.

    Attributes
    ----------
    row_seconds : that XGBoost takes for a row on one core, about.
    """

    kernel: Kernel
    reason: str
    row_seconds: float

    def for_rows(self, rows: int) -> Kernel:
        """What scores `rows` rows: oneDAL where it was chosen and XGBoost would take long enough."""
        return self.kernel if rows * self.row_seconds >= WORTH_SECONDS else "xgboost"


class OneDalModel:
    """`BoostedModel`, its probabilities by oneDAL."""

    __slots__ = ("_cells", "_converted", "_model", "_threads")

    def __init__(self, model: BoostedModel, threads: int) -> None:
        self._model, self._threads, self._converted = model, threads, _convert(model, threads)
        self._cells = None if model.grid is None else CellScores(model.grid)

    @property
    def format(self) -> str:
        """The format of the model that it scores."""
        return self._model.format

    @property
    def task(self) -> Task:
        """That of the model that it scores."""
        return self._model.task

    def predict(self, encoded: Encoded) -> Probabilities:
        """``(n_rows,)`` float32, the probability of the positive class."""
        matrix = require_columns(encoded, self._model.columns)
        if not len(matrix):
            return np.empty(0, np.float32)
        return self.of_rows(matrix) if self._cells is None else self._cells.predict(matrix, self.of_rows)

    def margins(self, encoded: Encoded) -> Margins:
        """``(n_rows,)`` float32, the log odds of the positive class, by XGBoost."""
        return self._model.margins(encoded)

    def of_rows(self, matrix: Floats32) -> Floats32:
        """The probabilities of all rows of `matrix`."""
        padded = np.concatenate([matrix, np.zeros((_PADDING, matrix.shape[1]), np.float32)])
        both = self._converted.predict_proba(padded)
        return np.ascontiguousarray(both[: len(matrix), 1], dtype=np.float32)

    def __reduce__(self) -> tuple[Callable[..., OneDalModel], tuple[BoostedModel, int]]:
        return type(self), (self._model, self._threads)


def is_installed() -> bool:
    """Whether oneDAL is here; nothing is loaded."""
    return find_spec("daal4py") is not None


def choose(model: BoostedModel) -> Choice:
    """What scores `model` on one thread, by measurement; oneDAL is installed."""
    if model.task is not Task.BINARY:
        return Choice(kernel="xgboost", reason="oneDAL scores classifiers alone", row_seconds=0.0)
    batch = check_batch(model)
    seconds = _seconds(lambda: model.of_rows(batch, "value"))
    row_seconds = seconds / len(batch) * (1.0 if model.grid is None else _SHARE_WITH_CELLS)

    def chosen(kernel: Kernel, reason: str) -> Choice:
        return Choice(kernel=kernel, reason=reason, row_seconds=row_seconds)

    try:
        other = OneDalModel(model, 1)
        finding = difference(model, other, batch)
    except Exception as error:  # noqa: BLE001  # whatever it can't do, XGBoost can
        return chosen("xgboost", f"oneDAL can't take the model ({type(error).__name__})")
    if finding is not None:
        return chosen("xgboost", finding)
    times = seconds / _seconds(lambda: other.of_rows(batch))
    if times < FASTER:
        return chosen("xgboost", f"oneDAL is {times:.1f} times as fast; {FASTER} are asked for")
    return chosen("onedal", f"oneDAL gives the same scores {times:.1f} times as fast")


def check_batch(model: BoostedModel) -> Floats32:
    """Rows about the thresholds of `model`, float32 (_CHECK_ROWS, n_columns): on them, just beside, and far away."""
    random = np.random.default_rng(0)
    batch = random.normal(scale=3, size=(_CHECK_ROWS, model.columns)).astype(np.float32)
    for place, values in model.thresholds.items():
        drawn = random.choice(np.array(values, np.float32), _CHECK_ROWS)
        beside = np.nextafter(drawn, np.float32(np.inf) * random.choice([-1, 1], _CHECK_ROWS).astype(np.float32))
        batch[:, place] = np.where(random.random(_CHECK_ROWS) < 0.5, drawn, beside)
    return batch


def difference(model: BoostedModel, other: OneDalModel, batch: Floats32) -> str | None:
    """How the scores of `other` differ from those of `model`; None: they don't."""
    found = other.of_rows(batch)
    most = float(np.abs(found - model.of_rows(batch, "value")).max())
    if not most <= TOLERANCE:
        return f"oneDAL's scores differ from XGBoost's by {most:.2g}; {TOLERANCE} are let pass"
    cuts = (slice(0, 1), slice(7, 7 + 64), slice(100, 1000), slice(_CHECK_ROWS - 33, _CHECK_ROWS))
    if any(other.of_rows(batch[rows]).tobytes() != found[rows].tobytes() for rows in cuts):
        return "oneDAL's scores of a row depend on the rows beside it"
    return None


def with_kernel(model: BoostedModel, kernel: Kernel, threads: int) -> BoostedModel | OneDalModel:
    """`model`, scored by `kernel`.

    Raises
    ------
    Compute : it isn't installed here, though the run chose it.
    """
    if kernel == "xgboost":
        return model
    if not is_installed():
        raise Compute(
            "the run scores by oneDAL, which isn't installed on this worker: install dataops[onedal] on all of them"
        )
    return OneDalModel(model, threads)


def _convert(model: BoostedModel, threads: int) -> Any:
    import daal4py
    from daal4py.mb import convert_model

    daal4py.daalinit(threads)
    return convert_model(model.booster)


def _seconds(step: Callable[[], object]) -> float:
    """The least processor seconds of this thread that `step` took."""
    return max(min(_seconds_once(step) for _ in range(_REPEATS)), 1e-9)


def _seconds_once(step: Callable[[], object]) -> float:
    """Those of one `step`, the mean of as many as the clock needs to tell."""
    started, taken, steps = time.thread_time(), 0.0, 0
    while taken < _LEAST_SECONDS and steps < _MOST_STEPS:
        step()
        steps += 1
        taken = time.thread_time() - started
    return taken / steps
