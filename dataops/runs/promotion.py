"""Promotion from the command line: which rules hold, who asks."""

from __future__ import annotations

from pathlib import Path

from dataops.declarations.loader import read_yaml, validate
from dataops.declarations.promotion import Promotion
from dataops.errors import NotFound, near_match
from dataops.promotion.promote import Promoted, promote
from dataops.runs.workspace import Workspace, os_user

RULES_FILE = "jobs/promotion.yaml"


def promote_version(
    workspace: Workspace, model: str, version: int, *, reason: str, rules: str | None = None
) -> Promoted:
    """The promotion of `model` version `version` to champion, judged by the rules in the file.

    Raises
    ------
    Conflict : a gate says no; the verdict is on file.
    NotFound : no such version, no rules file, or no rules for this model in it.
    """
    path = Path(rules) if rules else workspace.settings.workspace / RULES_FILE
    known = {gate.model: gate for gate in (validate(document, Promotion) for document in read_yaml(path))}
    if model not in known:
        raise NotFound(f"{path}: no promotion rules for model '{model}'.{near_match(model, known)}")
    return promote(workspace.registry, model, version, promotion=known[model], actor=os_user(), reason=reason)
