"""What scores each model of a run: decided on the driver, kept with the model version and with the run.

1. A version's trees are measured once for a storage and the code: all runs that may choose take what was found then, so
   that one version gives the same bytes run after run.
2. A run keeps what it took, before it links or scores a unit: whoever resumes it, and every worker, scores so. What it
   took is part of its basis (`linking`), so that units which another library scored aren't linked.
3. All rows of the run count, also those of units that it will link: a night with few new rows scores as those before.
4. No library is loaded where there is nothing to choose from: without oneDAL, or for few rows. XGBoost scores then; it
   differs from oneDAL by `onedal.TOLERANCE` at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from dataops.datasets.units import Unit
from dataops.declarations.jobs import Output
from dataops.engine.code import code_identity
from dataops.errors import NotFound
from dataops.models.boosted import BoostedModel
from dataops.models.onedal import choose, is_installed
from dataops.models.predictor import Kernel
from dataops.records import decode_record, encode_record
from dataops.registry.versions import ModelVersion
from dataops.rescoring.plan import ScorePlan
from dataops.rescoring.score import read_predictor
from dataops.storage.objects import Store

LEAST_ROWS = 1_000_000
"""With fewer, no model is looked at: to load it here would take longer than any choice could save."""


def pinned_kernels(
    store: Store, plan: ScorePlan, units: Sequence[Unit], *, run: str, registry: str
) -> dict[str, Kernel]:
    """What scores the models of `run` whose trees oneDAL may score, by their names in the job.

    Where it may score none, or too few rows are asked of it, that is nothing: XGBoost scores.

    Parameters
    ----------
    units : all of the run, done or not.
    """
    key = f"plans/{run}/kernels.json"
    kept = read_kernels(store, key)
    if kept is not None:
        return kept
    found: dict[str, Kernel | None] = {}
    if may_choose(plan, units):
        rows = sum(unit.rows for unit in units)
        found = {model.name: _of_version(store, registry, model.version, rows) for model in plan.models}
    return keep_kernels(store, key, {name: kernel for name, kernel in found.items() if kernel is not None})


def known_kernels(store: Store, plan: ScorePlan, units: Sequence[Unit]) -> dict[str, Kernel]:
    """What a run over `units` would take as far as it was measured before; nothing is measured or written."""
    if not may_choose(plan, units):
        return {}
    found = {model.name: _measured(store, model.version) for model in plan.models}
    return {name: kernel for name, kernel in found.items() if kernel is not None}


def may_choose(plan: ScorePlan, units: Sequence[Unit]) -> bool:
    """Whether there is a choice: where margins are written, XGBoost gives them and the probabilities."""
    if Output.MARGIN in plan.job.outputs:
        return False
    return is_installed() and sum(unit.rows for unit in units) >= LEAST_ROWS


def predictors(plan: ScorePlan, kernels: Mapping[str, Kernel]) -> dict[str, str]:
    """What a run's result says of what scored each model: the library, or the format of a model that we score."""
    return {
        model.name: kernels.get(model.name) or model.version.model_format.partition("-")[0] for model in plan.models
    }


def _of_version(store: Store, registry: str, version: ModelVersion, rows: int) -> Kernel | None:
    """What scores `version`; None where there is no choice, since it has no trees, or is no matter for so few rows."""
    kept = _measured(store, version)
    if kept is not None:
        return kept
    predictor = read_predictor(registry, version)
    if not isinstance(predictor, BoostedModel):
        return None
    choice = choose(predictor, rows)
    if not choice.measured:
        return None
    return keep_kernels(store, _version_key(version), {version.model: choice.kernel}).get(version.model)


def _measured(store: Store, version: ModelVersion) -> Kernel | None:
    return (read_kernels(store, _version_key(version)) or {}).get(version.model)


def _version_key(version: ModelVersion) -> str:
    code = code_identity()["digest"]  # of the libraries too: another oneDAL is measured anew
    return f"kernels/{version.digest.removeprefix('sha256:')}/{code.removeprefix('sha256:')}.json"


def keep_kernels(store: Store, key: str, kernels: Mapping[str, Kernel]) -> dict[str, Kernel]:
    """What was put first under `key`."""
    store.put_if_absent(key, encode_record("kernels", 1, {"kernels": dict(kernels)}))
    return read_kernels(store, key) or {}


def read_kernels(store: Store, key: str) -> dict[str, Kernel] | None:
    """What was put under `key`; None for nothing."""
    try:
        kernels = decode_record(store.get(key), "kernels", 1)["kernels"]
    except NotFound:
        return None
    return {str(name): cast("Kernel", str(kernel)) for name, kernel in kernels.items()}
