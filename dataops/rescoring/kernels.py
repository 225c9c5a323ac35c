"""What scores each model of a run: decided once, on the driver, and kept with the run.

1. Whoever resumes the run, and every worker, takes what was decided: its parts have the same bytes throughout.
2. Nothing is decided, and no library loaded, where there is nothing to choose from: without oneDAL, or for few rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from dataops.datasets.units import Unit
from dataops.declarations.jobs import Output
from dataops.errors import NotFound
from dataops.models.boosted import BoostedModel
from dataops.models.onedal import choose, is_installed
from dataops.models.predictor import Kernel
from dataops.records import decode_record, encode_record
from dataops.rescoring.score import ScoreContext, read_predictor
from dataops.storage.objects import Store

LEAST_ROWS = 1_000_000
"""With fewer, no model is looked at: to load it here would take longer than any choice could save."""


def pinned_kernels(
    store: Store, context: ScoreContext, units: Sequence[Unit], *, begun: bool = False
) -> dict[str, Kernel]:
    """What scores the models of the run whose trees oneDAL may score, by their names in the job.

    Where it may score none, or too few rows are asked of it, that is nothing: XGBoost scores.

    Parameters
    ----------
    begun : units of the run are scored already; if nothing was decided for them, XGBoost did it.
    """
    kept = kept_kernels(store, context.run)
    if kept is None:
        if begun or not may_choose(context, units):
            return {}
        store.put_if_absent(_key(context.run), encode_record("kernels", 1, {"kernels": _choose(context, units)}))
        kept = kept_kernels(store, context.run)
    return kept or {}


def kept_kernels(store: Store, run: str) -> dict[str, Kernel] | None:
    """What was decided for `run`; None where nothing was."""
    try:
        kernels = decode_record(store.get(_key(run)), "kernels", 1)["kernels"]
    except NotFound:
        return None
    return {str(name): cast("Kernel", str(kernel)) for name, kernel in kernels.items()}


def _key(run: str) -> str:
    return f"plans/{run}/kernels.json"


def may_choose(context: ScoreContext, units: Sequence[Unit]) -> bool:
    """Whether there is a choice: where margins are written, XGBoost gives them and the probabilities."""
    if Output.MARGIN in context.plan.job.outputs:
        return False
    return is_installed() and sum(unit.rows for unit in units) >= LEAST_ROWS


def _choose(context: ScoreContext, units: Sequence[Unit]) -> dict[str, str]:
    rows = sum(unit.rows for unit in units)
    predictors = {model.name: read_predictor(context.registry, model.version) for model in context.plan.models}
    return {
        name: choose(predictor, rows).kernel
        for name, predictor in predictors.items()
        if isinstance(predictor, BoostedModel)
    }
