"""Candidates: which version of a model a bare name means when it is promoted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from dataops.declarations.metrics import HOLDOUT
from dataops.declarations.promotion import MetricRule, Promotion
from dataops.errors import DataopsError, Format, Integrity, NotFound
from dataops.models.package import SUBMITTED_BY, Manifest
from dataops.promotion.findings import Metrics
from dataops.registry.aliases import resolve
from dataops.registry.versions import Registry


def best_candidate(
    registry: Registry, model: str, promotion: Promotion, *, note: Callable[[str], object] = lambda _: None
) -> int:
    """The version that the newest train run of `model` registered and that is best by the metric of the
    first rule that names one.

    Of equals the first; without such a rule the newest. One that can't be read or trusted is passed over, and `note`
    is told; but which run is the newest, it doesn't decide. What somebody submitted, and nobody signed, is as if it
    weren't there.

    Raises
    ------
    NotFound : no such model, or no version of it.
    Integrity, Format : of none that came into question is anything left, or which run is the newest can't be trusted.
    """
    numbers = registry.numbers(model)
    if not numbers:
        resolve(registry, model)  # says that there is no such model, and which one is near
        raise NotFound(f"model '{model}' has no version: run a train job")
    passed: list[DataopsError] = []
    manifests = {
        number: one
        for number, one in _manifests(registry, model, numbers, passed)
        if not _is_only_submitted(registry, one, passed)
    }
    newest = max(manifests, default=0)
    rule = next((rule for rule in promotion.rules if isinstance(rule, MetricRule)), None)
    if rule is None:
        found = {newest: 0.0} if newest else {}
    else:
        run = manifests[newest].lineage.get("run") if newest else None
        candidates = [number for number, one in manifests.items() if one.lineage.get("run") == run]
        found = dict(_figures(registry, model, candidates, rule, passed))
        if any(number > max(found, default=0) for number in manifests.keys() - set(candidates)):
            found = {}  # the newest can't be trusted, and says that it is of a run older than another version
    if not found:
        raise passed[-1]
    for one in passed:
        note(f"passed over: {one}")
    return max(found, key=lambda number: found[number])


def _manifests(
    registry: Registry, model: str, numbers: list[int], passed: list[DataopsError]
) -> Iterator[tuple[int, Manifest]]:
    """The manifests that can be read, by number; why the others can't goes to `passed`."""
    for number in numbers:
        try:
            yield number, registry.read_manifest(model, number)
        except (NotFound, Integrity, Format) as error:
            passed.append(error)


def _is_only_submitted(registry: Registry, manifest: Manifest, passed: list[DataopsError]) -> bool:
    """Whether it was trained for somebody who submitted that, and nobody ever signed it; if so, `passed` says it."""
    submitter, model, version = manifest.lineage.get(SUBMITTED_BY), manifest.model, manifest.version
    if submitter is None or registry.judge(model, version, registry.trust.signers or ()):
        return False
    passed.append(
        Integrity(
            f"{model}@{version} was submitted by '{submitter}', and nobody signed it: `dataops model sign "
            f"{model}@{version}` vouches for it"
        )
    )
    return True


def _figures(
    registry: Registry, model: str, candidates: list[int], rule: MetricRule, passed: list[DataopsError]
) -> Iterator[tuple[int, float]]:
    """How good by `rule` those are that can be read and trusted, by number; why the others can't goes to `passed`."""
    for number in candidates:
        try:
            yield number, _goodness(registry.read(model, number).package.metrics, rule)
        except (NotFound, Integrity, Format) as error:
            passed.append(error)


def _goodness(metrics: Metrics, rule: MetricRule) -> float:
    """The rule's metric over all rows, turned so that more is better; what wasn't measured is worst."""
    figure = metrics.get(rule.dataset or HOLDOUT, {}).get("overall", {}).get(rule.metric.value)
    if figure is None or math.isnan(figure):
        return -math.inf
    return float(figure) if rule.metric.higher_is_better else -float(figure)
