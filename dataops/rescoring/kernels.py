"""What scores each model of a run: decided on the driver, kept with the model version and with the run.

1. A version's trees are measured once for a storage and the code: all runs that may choose take what was found then, so
   that runs of one version over as many rows give the same bytes. With few rows XGBoost scores: loading oneDAL would
   take longer than it saves.
2. A run keeps what it took, before it links or scores a unit: whoever resumes it, and every worker, scores so. What it
   took is part of its basis (`linking`), so that units which another library scored aren't linked.
3. All rows of the run count, also those of units that it will link: a night with few new rows scores as those before.
4. No library is loaded on the driver but to measure: not without oneDAL, not for few rows, not for a version that was
   measured. XGBoost's scores differ from oneDAL's by `onedal.TOLERANCE` at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import cast

from dataops.datasets.units import Unit
from dataops.declarations.outputs import Output
from dataops.engine.code import code_identity
from dataops.errors import NotFound
from dataops.models.boosted import BoostedModel
from dataops.models.onedal import Choice, choose, is_installed
from dataops.models.predictor import BOOSTED, Kernel
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
    found: dict[str, Kernel] = {}
    if may_choose(plan, units):
        choices = {model.name: _choice(store, registry, model.version) for model in plan.models}
        found = _for_rows(choices, units)
    return keep_kernels(store, key, found)


def known_kernels(store: Store, plan: ScorePlan, units: Sequence[Unit]) -> dict[str, Kernel]:
    """What a run over `units` would take as far as it was measured before; nothing is measured or written."""
    if not may_choose(plan, units):
        return {}
    return _for_rows({model.name: _measured(store, model.version) for model in plan.models}, units)


def may_choose(plan: ScorePlan, units: Sequence[Unit]) -> bool:
    """Whether there is a choice: where margins are written, XGBoost gives them and the probabilities."""
    if Output.MARGIN in plan.outputs:
        return False
    return is_installed() and sum(unit.rows for unit in units) >= LEAST_ROWS


def predictors(plan: ScorePlan, kernels: Mapping[str, Kernel]) -> dict[str, str]:
    """What a run's result says of what scored each model: the library, or the format of a model that we score."""
    return {
        model.name: kernels.get(model.name) or model.version.model_format.partition("-")[0] for model in plan.models
    }


def _for_rows(choices: Mapping[str, Choice | None], units: Sequence[Unit]) -> dict[str, Kernel]:
    rows = sum(unit.rows for unit in units)
    return {name: choice.for_rows(rows) for name, choice in choices.items() if choice is not None}


def _choice(store: Store, registry: str, version: ModelVersion) -> Choice | None:
    """What was, or is now, found of `version`; None where there is no choice, since it has no trees of XGBoost."""
    if version.model_format != BOOSTED:
        return None
    kept = _measured(store, version)
    if kept is not None:
        return kept
    predictor = read_predictor(registry, version)
    return keep_choice(store, _version_key(version), choose(predictor)) if isinstance(predictor, BoostedModel) else None


def _measured(store: Store, version: ModelVersion) -> Choice | None:
    return read_choice(store, _version_key(version))


def _version_key(version: ModelVersion) -> str:
    code = code_identity()["digest"]  # of the libraries too: another oneDAL is measured anew
    return f"kernels/{version.digest.removeprefix('sha256:')}/{code.removeprefix('sha256:')}.json"


def keep_choice(store: Store, key: str, choice: Choice) -> Choice:
    """What was put first under `key`."""
    store.put_if_absent(key, encode_record("kernel-choice", 1, asdict(choice)))
    return read_choice(store, key) or choice


def read_choice(store: Store, key: str) -> Choice | None:
    """What was put under `key`; None for nothing."""
    try:
        body = decode_record(store.get(key), "kernel-choice", 1)
    except NotFound:
        return None
    return Choice(kernel=body["kernel"], reason=body["reason"], row_seconds=float(body["row_seconds"]))


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
