"""Rules about impact, judged: what a rescore counted of the candidate beside the champion.

1. A rescore that is too old, or of too few rows, says nothing: whatever rests on it fails.
2. A regression decides nothing: of it only rank correlation and drift are limited.
3. A slice of too few rows is skipped and named. Rows of values that the policies don't show are skipped too, all of
   them together: how many they are is known, whose they are isn't.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from dataops.declarations.metrics import Task
from dataops.declarations.promotion import ImpactLimits, ImpactRule
from dataops.errors import near_match
from dataops.promotion.figures import held
from dataops.promotion.findings import Evidence, Finding, Measured, Outcome

_MOVED = "0.1"  # a step of `dataops.rescoring.impact`
_CHANGES = {
    "max_flipped": "decisions that flip",
    "max_positive_change": "positive decisions",
    "min_rank_correlation": "rank correlation",
    "max_moved": f"probabilities that move by over {_MOVED}",
    "max_psi": "psi",
}
_OF_NUMBERS = frozenset({"min_rank_correlation", "max_psi"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Rows that a rule is about: `slice` is None for all, and for those of which nobody may tell whose they are.

    Attributes
    ----------
    figures : what was counted of them.
    missing, skipped : why there are no figures, and why they aren't judged; "" where that isn't so.
    """

    slice: tuple[str, str] | None = None
    figures: Mapping[str, Any]
    missing: str = ""
    skipped: str = ""


def judge_impact(rule: ImpactRule, evidence: Evidence) -> Iterator[Finding]:
    """A finding for each limit, of each slice where the rule has one."""
    measured = evidence.impacts.get(rule.impact, "no rescore was looked for")
    if isinstance(measured, str):
        outcome, note = Outcome.FAILED, measured
        if evidence.champion is None and not evidence.champion_unreadable:
            outcome, note = Outcome.SKIPPED, "no champion yet, whose decisions could change"
        elif evidence.is_champion:
            outcome, note = Outcome.SKIPPED, "it is the champion itself"
        for limit, declared in rule.impact.limits.items():
            yield Finding(metric=_CHANGES[limit], limit=limit, declared=declared, outcome=outcome, note=note)
        return
    worthless = _worthless(rule.impact, measured)
    for part in [_Part(figures=measured.figures, missing=worthless)] if worthless else _parts(rule, measured):
        yield from _judged(rule.impact, part, measured)


def _judged(limits: ImpactLimits, part: _Part, measured: Measured) -> Iterator[Finding]:
    for limit, declared in limits.limits.items():
        found = Finding(
            metric=_CHANGES[limit],
            dataset=measured.run,
            slice=part.slice,
            rows=part.figures.get("rows"),
            limit=limit,
            declared=declared,
            outcome=Outcome.SKIPPED if part.skipped else Outcome.FAILED,
            note=part.skipped or part.missing or _undecided(limit, measured.figures),
        )
        yield found if found.note else _within(found, part.figures, measured)


def _worthless(limits: ImpactLimits, measured: Measured) -> str:
    """Why nothing rests on this rescore; "" if something does."""
    rows, age = measured.figures.get("rows"), measured.age
    if rows is None:
        return f"{measured.run} scored too few rows for the policies to show anything of"
    if rows < limits.min_rows:
        return f"{measured.run} scored {rows:,} rows, and fewer than {limits.min_rows:,} aren't judged: score more"
    if limits.max_age_days is None:
        return ""
    if age is None:
        return f"nobody knows how old {measured.run} is"
    if age > timedelta(days=limits.max_age_days):
        old = f"{measured.run} is {age / timedelta(days=1):.1f} days old"
        return f"{old}, and one of more than {limits.max_age_days:g} isn't judged: run it anew"
    return ""


def _undecided(limit: str, figures: Mapping[str, Any]) -> str:
    """Why a limit says nothing of a regression; "" if it does, or it is none."""
    if figures.get("task") != Task.REGRESSION or limit in _OF_NUMBERS:
        return ""
    return f"a regression has no {_CHANGES[limit]}: limit {' or '.join(sorted(_OF_NUMBERS))} instead"


def _parts(rule: ImpactRule, measured: Measured) -> Iterator[_Part]:
    """What the rule is about: all rows, or those of one value or of each, and those of values that aren't shown."""
    asked = rule.slice
    if asked is None:
        yield _Part(figures=measured.figures)
        return
    by_value = measured.figures.get("slices", {}).get(asked.column, {})
    if missing := _missing(asked.column, asked.value, measured):
        yield _Part(figures={}, missing=missing)
        return
    for value in sorted(by_value) if asked.value is None else [asked.value]:
        rows = by_value[value]["rows"]
        small = f"{rows} rows, and fewer than {asked.min_rows} aren't judged" if rows < asked.min_rows else ""
        yield _Part(slice=(asked.column, value), figures=by_value[value], skipped=small)
    if asked.value is None and (rest := untold_rows(measured.figures, asked.column)):
        why = f"values of {asked.column} of so few rows ({rest:,} in all) that the policies show no figures of them"
        yield _Part(figures={"rows": rest}, skipped=why)


def _missing(column: str, value: str | None, measured: Measured) -> str:
    """Why there are no figures of the slices, or of the slice; "" if there are, or if their rows alone are known."""
    slices = measured.figures.get("slices", {})
    by_value, rest = slices.get(column, {}), untold_rows(measured.figures, column)
    if not by_value and not rest:
        return f"{measured.run} counted no slices by {column}.{near_match(column, slices)}"
    if value is None or value in by_value:
        return ""
    hidden = f" {rest:,} rows have values that the policies show no figures of." if rest else ""
    return f"{measured.run} has no slice where {column} is {value}.{hidden}{near_match(value, by_value)}"


def untold_rows(figures: Mapping[str, Any], column: str) -> int:
    """Rows whose value of `column` has too few for the policies to show figures of: what the told slices leave of all.

    Parameters
    ----------
    figures : see `dataops.rescoring.impact.impact_figures`.
    """
    slices = figures.get("slices", {})
    if figures.get("rows") is None or column not in slices:
        return 0
    return int(figures["rows"]) - sum(int(one["rows"]) for one in slices[column].values())


def _within(found: Finding, figures: Mapping[str, Any], measured: Measured) -> Finding:
    """`found`, judged."""
    champion: float | None = None
    match found.limit:
        case "max_flipped":
            value = _sum(figures.get("flipped_up"), figures.get("flipped_down"))
        case "max_positive_change":
            champion, value = figures.get("positive_own"), figures.get("positive_challenger")
            value = None if champion is None else value
        case "min_rank_correlation":
            value = figures.get("rank_correlation")
        case "max_moved":
            value = figures.get("moved", {}).get(_MOVED)
        case _:
            if measured.psi is None:
                return replace(found, note=measured.unknown)
            value, worst = max(((psi, name) for name, psi in measured.psi.items()), default=(None, ""))
            found = replace(found, metric=f"psi of {worst}, the largest" if worst else found.metric)
    if value is None:
        return replace(found, note="not told: it stands for too few rows")
    judged = value if champion is None else abs(value - champion)
    outcome = held(judged, found.declared, at_least=found.limit.startswith("min_"))
    return replace(found, bound=found.declared, value=value, champion=champion, outcome=outcome, note="")


def _sum(*parts: float | None) -> float | None:
    return None if None in parts else sum(part for part in parts if part is not None)
