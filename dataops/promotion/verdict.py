"""A verdict on file: a record for machines and a page for someone who wasn't there.

1. Both are written for every judgement, also when it refuses.
2. The record holds all that the page says; the page is made from the record alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataops.models.markdown import number, plain, table
from dataops.promotion.gates import Verdict
from dataops.records import Record

_SIGNS = {"minimum": "at least", "maximum": "at most"}


def verdict_record(verdict: Verdict, **circumstances: Any) -> Record:
    """The verdict as the body of a record, with who asked for what, when, and against which champion.

    Parameters
    ----------
    verdict
        The judgement.
    circumstances
        model, version, version_digest, alias, champion (``{version, digest, generation}`` or None), promotion (the
        rules as declared), actor, reason, judged_at; JSON types.
    """
    return {
        **circumstances,
        "passed": verdict.passed,
        "reasons": list(verdict.reasons),
        "findings": [finding.record() for finding in verdict.findings],
    }


def verdict_page(record: Mapping[str, Any]) -> str:
    """The page for a verdict's record, Markdown."""
    model, version, alias = plain(record["model"]), record["version"], plain(record["alias"])
    outcome = "may be promoted" if record["passed"] else "is not promoted"
    lines = [
        f"# {model} version {version} {outcome} to {alias}",
        "",
        f"- **Why:** {'; '.join(plain(reason) for reason in record['reasons'])}",
        f"- **Compared with:** {_champion(record['champion'])}",
        f"- **Asked for by:** {plain(record['actor'])}, at {plain(record['judged_at'])}: {plain(record['reason'])}",
        f"- **Version digest:** {plain(record['version_digest'])}",
        "",
        "## Rules",
        "",
    ]
    if not record["findings"]:
        return "\n".join([*lines, "None were set.", ""])
    headings = ("rule", "dataset", "metric", "value", "limit", "champion", "outcome")
    return "\n".join([*lines, *table(headings, [_row(finding) for finding in record["findings"]]), ""])


def _champion(champion: Mapping[str, Any] | None) -> str:
    if champion is None:
        return "nothing, there is no champion yet"
    return (
        f"version {champion['version']}, generation {champion['generation']} of the alias ({plain(champion['digest'])})"
    )


def _row(finding: Mapping[str, Any]) -> list[str]:
    outcome = "**FAILED**" if finding["outcome"] == "failed" else plain(finding["outcome"])
    return [
        number(finding["rule"]),
        plain(finding["dataset"]),
        plain(finding["metric"]),
        number(finding["value"]),
        _limit(finding),
        number(finding["champion"]),
        f"{outcome}: {plain(finding['note'])}" if finding["note"] else outcome,
    ]


def _limit(finding: Mapping[str, Any]) -> str:
    limit, declared = finding["limit"], number(finding["declared"])
    if limit in _SIGNS:
        return f"{_SIGNS[limit]} {declared}"
    bound = "" if finding["bound"] is None else f" (to {number(finding['bound'])})"
    return f"may lose {declared} against the champion{bound}"
