"""Rules about realised performance, judged: what an evaluate job measured of the candidate and the champion on outcomes
that came later, on the very same rows.

1. A run that is too old, or judged too few rows, says nothing: whatever rests on it fails.
2. A version that didn't score beside the champion was judged by nobody: without such a run the rule fails, and says
   what to do.
3. Without a champion what is relative to it is skipped, and the candidate is judged on the rows that it scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from dataops.declarations.metrics import Metric
from dataops.declarations.promotion import RealisedLimits, RealisedRule
from dataops.errors import near_match
from dataops.promotion.figures import held
from dataops.promotion.findings import Evidence, Finding, Judged, Metrics, Outcome

_RELATIVE = frozenset({"max_loss", "min_gain"})


def judge_realised(rule: RealisedRule, evidence: Evidence) -> Iterator[Finding]:
    """A finding for each limit."""
    asked = rule.realised
    judged = evidence.realised.get(asked, "no evaluate job was looked for")
    for limit, declared in asked.limits.items():
        found = Finding(metric=str(asked.metric), limit=limit, declared=declared, outcome=Outcome.FAILED)
        if evidence.is_champion:
            yield replace(found, outcome=Outcome.SKIPPED, note="it is the champion itself")
        elif isinstance(judged, str):
            yield replace(found, note=judged)
        else:
            yield _judge(replace(found, dataset=judged.run, rows=judged.rows), asked, judged)


def _judge(found: Finding, asked: RealisedLimits, judged: Judged) -> Finding:
    value, missing = _value(asked.metric, judged.candidate, judged, "the candidate")
    champion, unknown = None, ""
    if judged.champion is not None:
        champion, unknown = _value(asked.metric, judged.champion, judged, "the champion")
    found = replace(found, value=value, champion=champion)
    if why := _worthless(asked, judged) or missing:
        return replace(found, note=why)
    assert value is not None  # noqa: S101  # or it was missing
    if found.limit not in _RELATIVE:
        outcome = held(value, found.declared, at_least=found.limit == "minimum")
        return replace(found, bound=found.declared, outcome=outcome)
    if judged.champion is None:
        return replace(found, outcome=Outcome.SKIPPED, note="no champion yet")
    if champion is None:
        return replace(found, note=unknown)
    needed = -found.declared if found.limit == "max_loss" else found.declared
    better = asked.metric.higher_is_better
    gain, bound = (value - champion, champion + needed) if better else (champion - value, champion - needed)
    return replace(found, bound=bound, outcome=held(gain, needed, at_least=True))


def _worthless(asked: RealisedLimits, judged: Judged) -> str:
    """Why nothing rests on this run; "" if something does."""
    if judged.rows < asked.min_rows:
        few = (
            f"{judged.run} judged {judged.rows:,} rows that both scored, and fewer than {asked.min_rows:,} don't count"
        )
        return f"{few}: wait for more outcomes"
    if asked.max_age_days is None:
        return ""
    if judged.age is None:
        return f"nobody knows how old {judged.run} is"
    if judged.age > timedelta(days=asked.max_age_days):
        old = f"{judged.run} is {judged.age / timedelta(days=1):.1f} days old"
        return f"{old}, and one of more than {asked.max_age_days:g} isn't judged: run it anew"
    return ""


def _value(metric: Metric, figures: Metrics, judged: Judged, who: str) -> tuple[float | None, str]:
    """The figure, or why there is none."""
    if metric not in figures:
        known = [name for name in Metric if name in figures]
        return None, f"{judged.run} has no {metric} of {who}.{near_match(metric, known)}"
    value = figures[metric]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None, f"{metric} of {who} is undefined in {judged.run}"
    return float(value), ""
