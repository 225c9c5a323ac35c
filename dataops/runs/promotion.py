"""Promotion from the command line: which version is meant, which rules hold, who asks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dataops.declarations.loader import read_yaml, validate
from dataops.declarations.promotion import Promotion
from dataops.declarations.references import parse_model_reference
from dataops.errors import NotFound, near_match
from dataops.promotion.evidence import Sources
from dataops.promotion.override import Override
from dataops.promotion.promote import Promoted, promote
from dataops.records import format_time, now_utc
from dataops.registry.aliases import resolve_reference
from dataops.runs.audit import announced, signed
from dataops.runs.candidates import best_candidate
from dataops.runs.promotion_evidence import find_impact, find_realised, learned_from
from dataops.runs.workspace import Workspace, os_user

RULES_FILE = "jobs/promotion.yaml"
_REASON_LENGTH = 300  # what the audit takes; the verdict keeps all of it

Note = Callable[[str], object]
"""Is told, in words, what went wrong beside what was asked for."""


def _unsaid(_: str) -> None:
    """For who has nobody to tell."""


def promote_reference(
    workspace: Workspace,
    reference: str,
    *,
    reason: str,
    rules: str | None = None,
    override: Override | None = None,
    note: Note = _unsaid,
) -> Promoted:
    """The promotion of ``income@3``, or of ``income``'s best candidate, to champion; `note` is told what went wrong
    beside it.

    Raises
    ------
    NotFound : no such model or version, besides what `promote_version` raises.
    InvalidInput : not a reference.
    """
    model = parse_model_reference(reference).model
    if "@" in reference:
        version = resolve_reference(workspace.registry, reference).version
    else:
        version = best_candidate(workspace.registry, model, read_rules(workspace, model, rules), note=note)
    return promote_version(workspace, model, version, reason=reason, rules=rules, override=override, note=note)


def promote_version(
    workspace: Workspace,
    model: str,
    version: int,
    *,
    reason: str,
    rules: str | None = None,
    override: Override | None = None,
    note: Note = _unsaid,
) -> Promoted:
    """The promotion of `model` version `version` to champion, judged by the rules in the file; the audit is told before
    and after.

    Parameters
    ----------
    override : promotes it also where a gate says no.
    note : is told what kept the audit from being signed.

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
            realised=partial(find_realised, workspace.ledger, now=now_utc()),
            learned_from=lambda candidate: learned_from(workspace.ledger, candidate),
        ),
        key=workspace.signing_key(),
    )
    told = {"model": model, "version": version, "reason": reason[:_REASON_LENGTH]}
    if override is not None:
        told |= {"reason": override.why[:_REASON_LENGTH], "until": format_time(override.until)}
    event = "model_promote" if override is None else "model_override"
    with signed(workspace) as signing, announced(workspace, event, told) as came:
        promoted = ask(override=override)
        came.facts |= {"alias": promoted.move.alias, "version": version, "generation": promoted.move.generation}
        came.facts |= {"verdict": promoted.verdict_digest, "moved": promoted.moved, "overridden": promoted.overridden}
    if signing.note:
        note(signing.note)
    return promoted


def read_rules(workspace: Workspace, model: str, rules: str | None = None) -> Promotion:
    """The promotion rules of `model` in the file at `rules`, by default the workspace's."""
    path = workspace.find_file(rules) if rules else workspace.settings.workspace / RULES_FILE
    if not path.is_file():
        raise NotFound(
            f"{path}: no such file, and without rules nothing is promoted. Write one, for example\n"
            f"  model: {model}\n  rules:\n    - {{metric: roc_auc, minimum: 0.7}}"
        )
    known = {gate.model: gate for gate in (validate(document, Promotion) for document in read_yaml(path))}
    if model not in known:
        raise NotFound(f"{path}: no promotion rules for model '{model}'.{near_match(model, known)}")
    return known[model]
