"""Promotion from the command line: which version is meant, which rules hold, who asks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dataops.declarations.loader import read_yaml, validate
from dataops.declarations.metrics import HOLDOUT
from dataops.declarations.promotion import MetricRule, Promotion
from dataops.declarations.references import parse_model_reference
from dataops.errors import NotFound, near_match
from dataops.promotion.evidence import Sources
from dataops.promotion.findings import Metrics
from dataops.promotion.override import Override
from dataops.promotion.promote import Promoted, promote
from dataops.records import format_time, now_utc
from dataops.registry.aliases import resolve, resolve_reference
from dataops.registry.versions import Registry
from dataops.runs.audit import announced, signed
from dataops.runs.promotion_evidence import find_impact, learned_from
from dataops.runs.workspace import Workspace, os_user

RULES_FILE = "jobs/promotion.yaml"
_REASON_LENGTH = 300  # what the audit takes; the verdict keeps all of it


def promote_reference(
    workspace: Workspace, reference: str, *, reason: str, rules: str | None = None, override: Override | None = None
) -> Promoted:
    """The promotion of ``income@3``, or of ``income``'s best candidate, to champion.

    Raises
    ------
    NotFound : no such model or version, besides what `promote_version` raises.
    InvalidInput : not a reference.
    """
    model = parse_model_reference(reference).model
    if "@" in reference:
        version = resolve_reference(workspace.registry, reference).version
    else:
        version = best_candidate(workspace.registry, model, read_rules(workspace, model, rules))
    return promote_version(workspace, model, version, reason=reason, rules=rules, override=override)


def promote_version(
    workspace: Workspace,
    model: str,
    version: int,
    *,
    reason: str,
    rules: str | None = None,
    override: Override | None = None,
) -> Promoted:
    """The promotion of `model` version `version` to champion, judged by the rules in the file.

    Parameters
    ----------
    override : promotes it also where a gate says no.

    Raises
    ------
    Conflict : a gate says no; the verdict is on file.
    NotFound : no such version, no rules file, or no rules for this model in it.
    InvalidInput : the override says nothing, or has no proper end.
    """
    ask = partial(
        promote,
        workspace.registry,
        model,
        version,
        promotion=read_rules(workspace, model, rules),
        actor=os_user(),
        reason=reason,
        sources=Sources(
            impact=partial(find_impact, workspace.ledger, now=now_utc()),
            learned_from=lambda candidate: learned_from(workspace.ledger, candidate),
        ),
        key=workspace.signing_key(),
    )
    return ask() if override is None else _overridden(workspace, ask, model, version, override)


def _overridden(
    workspace: Workspace, ask: Callable[..., Promoted], model: str, version: int, override: Override
) -> Promoted:
    """The promotion that a person may make against its gates; the audit is told before and after."""
    facts = {"model": model, "version": version, "reason": override.why[:_REASON_LENGTH]}
    facts["until"] = format_time(override.until)
    with signed(workspace), announced(workspace, "model_override", facts) as came:
        promoted = ask(override=override)
        came.facts |= {"version": version, "verdict": promoted.verdict_digest, "overridden": promoted.overridden}
    return promoted


def read_rules(workspace: Workspace, model: str, rules: str | None = None) -> Promotion:
    """The promotion rules of `model` in the file at `rules`, by default the workspace's."""
    path = Path(rules) if rules else workspace.settings.workspace / RULES_FILE
    if not path.is_file():
        raise NotFound(
            f"{path}: no such file, and without rules nothing is promoted. Write one, for example\n"
            f"  model: {model}\n  rules:\n    - {{metric: roc_auc, minimum: 0.7}}"
        )
    known = {gate.model: gate for gate in (validate(document, Promotion) for document in read_yaml(path))}
    if model not in known:
        raise NotFound(f"{path}: no promotion rules for model '{model}'.{near_match(model, known)}")
    return known[model]


def best_candidate(registry: Registry, model: str, promotion: Promotion) -> int:
    """The version that the newest train run of `model` registered and that is best by the metric of the
    first rule that names one.

    Of equals the first; without such a rule the newest.
    """
    versions = registry.versions(model)
    if not versions:
        resolve(registry, model)  # says that there is no such model, and which one is near
        raise NotFound(f"model '{model}' has no version: run a train job")
    newest = versions[-1].version
    rule = next((rule for rule in promotion.rules if isinstance(rule, MetricRule)), None)
    if rule is None:
        return newest
    runs = {found.version: registry.read_manifest(model, found.version).lineage.get("run") for found in versions}
    candidates = [version for version, run in runs.items() if run == runs[newest]]
    return max(candidates, key=lambda version: _goodness(registry.read(model, version).package.metrics, rule))


def _goodness(metrics: Metrics, rule: MetricRule) -> float:
    """The rule's metric over all rows, turned so that more is better; what wasn't measured is worst."""
    figure = metrics.get(rule.dataset or HOLDOUT, {}).get("overall", {}).get(rule.metric.value)
    if figure is None or math.isnan(figure):
        return -math.inf
    return float(figure) if rule.metric.higher_is_better else -float(figure)
