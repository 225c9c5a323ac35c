"""A verdict on file: a record for machines and a page for someone who wasn't there.

1. Both are written for every judgement, also when it refuses.
2. The record holds all that the page says; the page is made from the record alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dataops.declarations.metrics import Metric
from dataops.errors import Storage
from dataops.models.markdown import number, plain, table
from dataops.promotion.findings import Verdict
from dataops.records import Record, digest_bytes, encode_record
from dataops.registry.versions import Registry

_UNITS = {"seconds": " s", "memory_mb": " MB", "ms_per_row": " ms"}
_OF_METRICS = ("metric", "realised")  # kinds of rule: of the others nothing is better or worse
_NONE_OF = ("schema", "classifications")
_RELATIVE = {
    "max_loss": "may lose {} against the champion",
    "min_gain": "has to gain {} on the champion",
    "max_positive_change": "may differ by {} from the champion",
}


def verdict_record(verdict: Verdict, **circumstances: Any) -> Record:
    """The verdict as the body of a record, with who asked for what, when, and against which champion.

    Parameters
    ----------
    verdict
        The judgement.
    circumstances
        model, version, version_digest, alias, champion (``{version, digest, generation}`` or None), promotion (the
        rules as declared), actor, reason, judged_at, override (``{why, by, until}`` or None); JSON types.
    """
    return {
        **circumstances,
        "passed": verdict.passed,
        "reasons": list(verdict.reasons),
        "findings": [finding.record() for finding in verdict.findings],
    }


def write_verdict(registry: Registry, record: Record) -> str:
    """The digest of a verdict's record, once it and its page are on file."""
    data = encode_record("verdict", 1, record)
    verdict_digest = digest_bytes(data)
    key = verdict_key(record["model"], verdict_digest)
    # The page first: where the record is, the page is.
    for name, content in ((f"{key}.md", verdict_page(record).encode("utf-8")), (f"{key}.json", data)):
        if not registry.store.put_if_absent(name, content):
            raise Storage(f"{name} is there with other bytes: it was changed after it was written")
    return verdict_digest


def verdict_key(model: str, verdict_digest: str) -> str:
    """Where a verdict lies in the registry, without the ``.json`` or ``.md``."""
    return f"{model}/verdicts/{verdict_digest.removeprefix('sha256:')}"


def verdict_page(record: Mapping[str, Any]) -> str:
    """The page for a verdict's record, Markdown."""
    override = record.get("override")
    outcome = "may be promoted" if record["passed"] else "is not promoted"
    outcome = "is promoted against its gates" if override else outcome
    lines = [
        f"# {plain(record['model'])} version {record['version']} {outcome} to {plain(record['alias'])}",
        "",
        f"- **Why:** {'; '.join(plain(reason) for reason in record['reasons'])}",
        *_overridden(override),
        f"- **Compared with:** {_champion(record['champion'])}",
        f"- **Asked for by:** {plain(record['actor'])}, at {plain(record['judged_at'])}: {plain(record['reason'])}",
        f"- **Version digest:** {plain(record['version_digest'])}",
        "",
    ]
    for heading, told in (("What failed", _failed), ("What could not be judged", _skipped)):
        if found := told(record["findings"]):
            lines += [f"## {heading}", "", *(f"- {plain(line)}" for line in found), ""]
    return "\n".join([*lines, "## Rules", "", *_rules(record["findings"]), ""])


def _failed(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    return [tell(finding) for finding in findings if finding["outcome"] == "failed"]


def _skipped(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What wasn't judged; limits that weren't for one reason together."""
    by_reason: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        if finding["outcome"] == "skipped":
            by_reason.setdefault(finding["note"], []).append(finding)
    return [
        tell(some[0]) if len(some) == 1 else f"{reason}: {len(some)} limits, of {_rules_of(some)}"
        for reason, some in by_reason.items()
    ]


def _rules_of(findings: Sequence[Mapping[str, Any]]) -> str:
    *others, last = dict.fromkeys(str(finding["rule"]) for finding in findings)
    return f"rules {', '.join(others)} and {last}" if others else f"rule {last}"


def _overridden(override: Mapping[str, Any] | None) -> Iterator[str]:
    if override:
        day = str(override["until"])[:10]
        yield f"- **Overridden by:** {plain(override['by'])}, until {plain(day)}: {plain(override['why'])}"


def _champion(champion: Mapping[str, Any] | None) -> str:
    if champion is None:
        return "nothing, there is no champion yet"
    return (
        f"version {champion['version']}, generation {champion['generation']} of the alias ({plain(champion['digest'])})"
    )


def _rules(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    if not findings:
        return ["None were set."]
    headings = ("rule", "what", "of", "rows", "value", "limit", "champion", "outcome")
    lines = ["Each limit of each rule of the promotion file, in its order; all of them have to hold."]
    measured = dict.fromkeys(finding["metric"] for finding in findings if finding.get("kind", "metric") in _OF_METRICS)
    better = {name: "higher" if Metric(name).higher_is_better else "lower" for name in measured}
    lines += [f"Of {plain(name)} {word} is better." for name, word in better.items()]
    return [" ".join(lines), "", *table(headings, [_row(finding) for finding in findings])]


def _row(finding: Mapping[str, Any]) -> list[str]:
    unit = _UNITS.get(finding["limit"], "")
    return [
        number(finding["rule"]) if finding["rule"] else "every version",
        plain(finding["metric"]),
        plain(_of(finding) or "the version"),
        "" if finding.get("rows") is None else number(finding["rows"]),
        number(finding["value"]) + (unit if finding["value"] is not None else ""),
        plain(_limit(finding)),
        "" if finding["champion"] is None else number(finding["champion"]),
        "**FAILED**" if finding["outcome"] == "failed" else plain(finding["outcome"]),
    ]


def tell(finding: Mapping[str, Any]) -> str:
    """One line that says how a finding went and why, for someone who sees nothing else of it."""
    of = _of(finding)
    rule = f"rule {finding['rule']}" if finding["rule"] else "every version"
    where = f"{rule}, {finding['metric']}{f' on {of}' if of else ''}"
    if finding["value"] is None:
        return f"{where}: {finding['note'] or finding['outcome']}"
    rows = f" ({number(finding['rows'])} rows)" if finding.get("slice") and finding.get("rows") else ""
    note = f"; {finding['note']}" if finding["note"] else ""
    unit = _UNITS.get(finding["limit"], "")
    return f"{where}{rows}: {number(finding['value'])}{unit}, {_limit(finding)}{_champions(finding)}{note}"


def _champions(finding: Mapping[str, Any]) -> str:
    """The champion's figure, where a limit is relative to it."""
    if finding["champion"] is None or finding["limit"] not in _RELATIVE:
        return ""
    return f"; the champion has {number(finding['champion'])}"


def _of(finding: Mapping[str, Any]) -> str:
    """The rows that a finding is about; empty where it is about the version itself."""
    sliced = finding.get("slice")
    told = finding.get("dataset") or ""
    return f"{told} where {sliced['column']} is {sliced['value']}" if sliced else told


def _limit(finding: Mapping[str, Any]) -> str:
    """What a finding is held against, in words."""
    limit, declared = finding["limit"], number(finding["declared"])
    if limit in _NONE_OF:
        return "there may be none"
    if limit not in _RELATIVE:
        word = "at least" if limit.startswith("min") else "at most"
        return f"{word} {declared}{_UNITS.get(limit, '')}"
    bound = "" if finding["bound"] in (None, finding["declared"]) else f" (to {number(finding['bound'])})"
    return f"{_RELATIVE[limit].format(declared)}{bound}{_gain(finding)}"


def _gain(finding: Mapping[str, Any]) -> str:
    """How sure the gain is, where the rule asks."""
    if finding.get("confidence") is None:
        return ""
    sure = f", {100 * finding['confidence']:.3g} % sure"
    if finding["gain"] is None:
        return sure
    low = "how far below isn't known" if finding["low"] is None else f"{number(finding['low'])} at least"
    return f"{sure}: it gains {number(finding['gain'])}, {low}"
