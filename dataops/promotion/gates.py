"""Gates: may this version replace that one? Decided from figures and rules alone.

1. Every rule is judged and reported, also when the first one fails.
2. Whoever sets no rule is not gated, and what is not gated is not promoted.
3. Without a champion nothing can be lost against it: `max_loss` is skipped, and the absolute limits decide; at least
   one has to.
4. Figures compare only when both models were evaluated on the same rows. What can't be judged fails.
5. Which direction is better belongs to the metric (`Metric.higher_is_better`), never to a sign in a rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dataops.declarations.jobs import HOLDOUT, Metric
from dataops.declarations.promotion import Promotion, PromotionRule
from dataops.errors import near_match
from dataops.records import Record

TOLERANCE = 1e-12
"""What binary fractions may add to a decimal limit: from 0.9 to 0.895 is no greater loss than 0.005, but for 5e-18."""

Metrics = Mapping[str, Any]


class Limit(StrEnum):
    """The kinds of limit that a rule can set."""

    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    MAX_LOSS = "max_loss"


class Outcome(StrEnum):
    """What became of a limit; SKIPPED: there is nothing to compare with, and the verdict says so."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One limit, judged.

    Attributes
    ----------
    rule
        Its place in the promotion file, from 1.
    metric, dataset
        What was measured on what.
    limit, declared
        The kind of limit, and the number in the rule.
    bound
        The number that the value was held against; that of `max_loss` comes from the champion's value.
    value, champion
        The figures of the candidate and of the champion, None where there is none.
    outcome, note
        How it went, and why, where the numbers don't say it.
    """

    rule: int
    metric: Metric
    dataset: str
    limit: Limit
    declared: float
    bound: float | None
    value: float | None
    champion: float | None
    outcome: Outcome
    note: str

    @property
    def passed(self) -> bool:
        """Whether it was judged and held."""
        return self.outcome is Outcome.PASSED

    def record(self) -> Record:
        """The finding as JSON types."""
        return {
            "rule": self.rule,
            "metric": self.metric,
            "dataset": self.dataset,
            "limit": self.limit,
            "declared": self.declared,
            "bound": self.bound,
            "value": self.value,
            "champion": self.champion,
            "outcome": self.outcome,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """May it be promoted: the findings, and in words what decided."""

    passed: bool
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The limits that didn't hold."""
        return tuple(finding for finding in self.findings if finding.outcome is Outcome.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """What both models reached on one metric and dataset, and how far that can be compared."""

    value: float | None
    missing: str
    champion: float | None
    incomparable: str


def judge(
    candidate: Metrics, champion: Metrics | None, promotion: Promotion, *, champion_unreadable: str = ""
) -> Verdict:
    """The verdict on a candidate with these figures.

    Parameters
    ----------
    candidate, champion
        Figures in the shape of a package's metrics; None: there is no champion.
    promotion
        The rules. One that names no dataset is about `HOLDOUT`.
    champion_unreadable
        Why the figures of a champion that is there can't be had; whatever is relative to them fails.
    """
    findings = tuple(
        finding
        for index, rule in enumerate(promotion.rules, start=1)
        for finding in _judge_rule(index, rule, candidate, champion, champion_unreadable)
    )
    passed = any(f.passed for f in findings) and not any(f.outcome is Outcome.FAILED for f in findings)
    without_champion = champion is None and not champion_unreadable
    return Verdict(
        passed=passed, findings=findings, reasons=tuple(_reasons(findings, without_champion, champion_unreadable))
    )


def _reasons(findings: tuple[Finding, ...], without_champion: bool, unreadable: str) -> Iterator[str]:  # noqa: FBT001 - read as a sentence
    if not findings:
        yield "no rules: not gated, so not promoted"
        return
    if without_champion:
        yield "no champion yet: absolute limits decide"
    if unreadable:
        yield f"the champion can't be read ({unreadable}): limits relative to it fail"
    failed = sum(finding.outcome is Outcome.FAILED for finding in findings)
    held = sum(finding.passed for finding in findings)
    if failed:
        yield f"{failed} of {len(findings)} limits failed"
    elif held == 0:
        yield "no limit could be judged: not gated, so not promoted; set a minimum or a maximum"
    else:
        yield f"{held} of {len(findings)} limits held"


def _judge_rule(
    index: int, rule: PromotionRule, candidate: Metrics, champion: Metrics | None, unreadable: str
) -> Iterator[Finding]:
    dataset = rule.dataset or HOLDOUT
    figures = _figures(rule.metric, dataset, candidate, champion, unreadable)
    limits = {Limit.MINIMUM: rule.minimum, Limit.MAXIMUM: rule.maximum, Limit.MAX_LOSS: rule.max_loss}
    for limit, declared in limits.items():
        if declared is None:
            continue
        bound, outcome, note = _judge_limit(rule.metric, limit, declared, figures)
        yield Finding(
            rule=index,
            metric=rule.metric,
            dataset=dataset,
            limit=limit,
            declared=declared,
            bound=bound,
            value=figures.value,
            champion=figures.champion,
            outcome=outcome,
            note=note,
        )


def _judge_limit(metric: Metric, limit: Limit, declared: float, figures: _Figures) -> tuple[float | None, Outcome, str]:
    """The bound that the value was held against, how it went, and why where that isn't plain."""
    if figures.value is None:
        return None, Outcome.FAILED, figures.missing
    if limit is not Limit.MAX_LOSS:
        return declared, _held(figures.value, declared, at_least=limit is Limit.MINIMUM), ""
    if figures.champion is None:
        no_champion = not figures.incomparable
        return None, Outcome.SKIPPED if no_champion else Outcome.FAILED, figures.incomparable or "no champion yet"
    if figures.incomparable:
        return None, Outcome.FAILED, figures.incomparable
    bound = figures.champion - declared if metric.higher_is_better else figures.champion + declared
    return bound, _held(figures.value, bound, at_least=metric.higher_is_better), ""


def _held(value: float, bound: float, *, at_least: bool) -> Outcome:
    margin = value - bound if at_least else bound - value
    return Outcome.PASSED if margin >= -TOLERANCE else Outcome.FAILED


def _figures(metric: Metric, dataset: str, candidate: Metrics, champion: Metrics | None, unreadable: str) -> _Figures:
    value, missing = _value(metric, dataset, candidate, "the candidate")
    if unreadable:
        return _Figures(
            value=value, missing=missing, champion=None, incomparable=f"the champion can't be read ({unreadable})"
        )
    if champion is None:
        return _Figures(value=value, missing=missing, champion=None, incomparable="")
    theirs, incomparable = _value(metric, dataset, champion, "the champion")
    if theirs is not None and value is not None:
        incomparable = _other_rows(candidate[dataset], champion[dataset])
    return _Figures(value=value, missing=missing, champion=theirs, incomparable=incomparable)


def _value(metric: Metric, dataset: str, metrics: Metrics, who: str) -> tuple[float | None, str]:
    """The figure, or why there is none."""
    if dataset not in metrics:
        return None, f"{who} wasn't evaluated on {dataset}.{near_match(dataset, metrics)}"
    overall = metrics[dataset].get("overall", {})
    if metric not in overall:
        return None, f"{who} has no {metric} on {dataset}.{near_match(metric, overall)}"
    value = overall[metric]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None, f"{metric} of {who} is undefined on {dataset}"
    return float(value), ""


def _other_rows(candidate: Mapping[str, Any], champion: Mapping[str, Any]) -> str:
    """Why figures of these two evaluations can't be compared, or nothing."""
    if candidate.get("snapshot") != champion.get("snapshot"):
        return "the champion was evaluated on another snapshot: evaluate both on the same one"
    ours, theirs = candidate.get("rows"), champion.get("rows")
    if ours != theirs:
        return f"the champion was evaluated on other rows ({theirs}, here {ours}): evaluate both on the same"
    return ""
