"""Rules about metrics, judged: of all rows or by slice, absolute or relative to the champion.

1. Which direction is better belongs to the metric, never to a sign in a rule.
2. Figures compare only where both versions were evaluated on the same rows; what can't be judged fails.
3. A slice of too few rows is skipped and named. One that the champion has no figures of fails what is relative to it.
4. Where a rule asks how sure a gain is, and nobody counted that, it fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dataops.declarations.metrics import HOLDOUT, Metric, point_of
from dataops.declarations.promotion import MetricRule, Slice
from dataops.errors import near_match
from dataops.promotion.findings import Evidence, Finding, Metrics, Outcome
from dataops.promotion.gain import lower_gain
from dataops.promotion.same_rows import other_rows

TOLERANCE = 1e-12
"""What binary fractions may add to a decimal limit: from 0.9 to 0.895 is no greater loss than 0.005, but for 5e-18."""

TOO_SMALL, REPLICATES, SCHEME = "too_small", "replicates", "scheme"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Rows that a rule is about, and what one version's metrics say of them.

    Attributes
    ----------
    slice : column and value; None for all rows, and for a slice that isn't there.
    figures : by metric, with ``rows``; empty where there are none.
    missing : why there are none.
    skipped : why they aren't judged.
    """

    slice: tuple[str, str] | None = None
    figures: Mapping[str, Any]
    missing: str = ""
    skipped: str = ""

    @property
    def rows(self) -> int | None:
        """How many rows they are."""
        return self.figures.get("rows")


def judge_metric(rule: MetricRule, evidence: Evidence) -> Iterator[Finding]:
    """A finding for each limit and each group of rows."""
    dataset = rule.dataset or HOLDOUT
    column, value, least = (None, None, 1) if rule.slice is None else _asked(rule.slice)
    for group in _groups(column, value, least, dataset, evidence.candidate, who="the candidate"):
        figures = _compare(rule, dataset, group, evidence)
        for limit in ("minimum", "maximum", "max_loss", "min_gain"):
            if (declared := getattr(rule, limit)) is not None:
                yield _judge(rule, limit, declared, figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """What both versions reached on one metric and group of rows, and how far that can be compared.

    Attributes
    ----------
    missing, incomparable : why there is no value, and why it can't be held against the champion's; "" if it can.
    low : what the gain doesn't fall below; None where nobody asks, or `unsure` says why it isn't known.
    """

    dataset: str
    group: _Group
    value: float | None
    missing: str
    champion: float | None
    incomparable: str
    gain: float | None
    low: float | None
    unsure: str
    is_champion: bool


def _compare(rule: MetricRule, dataset: str, group: _Group, evidence: Evidence) -> _Compared:
    value, missing = _value(rule.metric, dataset, group, "the candidate")
    theirs, incomparable = _champions(dataset, group, evidence)
    champion = None
    if theirs is not None and not incomparable:
        incomparable = _other_point(rule.metric, dataset, evidence)
    if theirs is not None and not incomparable:
        champion, incomparable = _value(rule.metric, dataset, theirs, "the champion")
    gain = low = None
    unsure = ""
    if value is not None and champion is not None and theirs is not None:
        gain = value - champion if rule.metric.higher_is_better else champion - value
        if rule.confidence is not None:
            low, unsure = _low(rule, dataset, gain, (group, theirs), evidence)
    return _Compared(
        dataset=dataset,
        group=group,
        value=value,
        missing=missing,
        champion=champion,
        incomparable=incomparable,
        gain=gain,
        low=low,
        unsure=unsure,
        is_champion=evidence.is_champion,
    )


def _judge(rule: MetricRule, limit: str, declared: float, figures: _Compared) -> Finding:
    relative = limit in ("max_loss", "min_gain")
    sure = relative and rule.confidence is not None
    needed = -declared if limit == "max_loss" else declared
    bound = _from_champion(rule.metric, figures.champion, needed) if relative else declared
    found = Finding(
        metric=str(rule.metric),
        dataset=figures.dataset,
        slice=figures.group.slice,
        rows=figures.group.rows,
        limit=limit,
        declared=declared,
        bound=bound if figures.value is not None else None,
        value=figures.value,
        champion=figures.champion,
        confidence=rule.confidence if sure else None,
        gain=figures.gain if sure else None,
        low=figures.low if sure else None,
        outcome=Outcome.FAILED,
    )
    if (unjudged := _unjudged(limit, figures, relative=relative, sure=sure)) is not None:
        return replace(found, outcome=unjudged[0], note=unjudged[1])
    judged = (figures.low if sure else figures.gain) if relative else figures.value
    outcome = held(judged or 0.0, needed, at_least=limit != "maximum")
    return replace(found, outcome=outcome)


def _unjudged(limit: str, figures: _Compared, *, relative: bool, sure: bool) -> tuple[Outcome, str] | None:
    """Why a limit isn't judged, and what that makes of it; None if it is."""
    reasons = [(Outcome.SKIPPED, figures.group.skipped), (Outcome.FAILED, figures.missing)]
    if relative:
        itself = limit == "min_gain" and figures.is_champion
        reasons += [
            (Outcome.FAILED, figures.incomparable),
            (Outcome.SKIPPED, "no champion yet" if figures.gain is None else ""),
            (Outcome.SKIPPED, "it is the champion itself" if itself else ""),
            (Outcome.FAILED, figures.unsure if sure else ""),
        ]
    return next((reason for reason in reasons if reason[1]), None)


def _from_champion(metric: Metric, champion: float | None, gain: float) -> float | None:
    if champion is None:
        return None
    return champion + gain if metric.higher_is_better else champion - gain


def held(value: float, bound: float, *, at_least: bool) -> Outcome:
    """Whether `value` keeps to `bound`."""
    margin = value - bound if at_least else bound - value
    return Outcome.PASSED if margin >= -TOLERANCE else Outcome.FAILED


def _asked(asked: Slice) -> tuple[str, str | None, int]:
    return asked.column, asked.value, asked.min_rows


def _groups(
    column: str | None, value: str | None, min_rows: int, dataset: str, metrics: Metrics, *, who: str
) -> Iterator[_Group]:
    """All rows (without a column), those of one value or of each; or a group that says why there are none."""
    if dataset not in metrics:
        yield _Group(figures={}, missing=f"{who} wasn't evaluated on {dataset}.{near_match(dataset, metrics)}")
        return
    report = metrics[dataset]
    if column is None:
        yield _Group(figures={**report.get("overall", {}), "rows": report.get("rows")})
        return
    by_value: Mapping[str, Mapping[str, Any]] = report.get("slices", {}).get(column, {})
    if missing := _missing(column, value, dataset, report, who):
        yield _Group(figures={}, missing=missing)
        return
    for name in sorted(by_value) if value is None else [value]:
        figures = by_value[name]
        yield _Group(slice=(column, name), figures=figures, skipped=_skipped(figures, min_rows))


def _missing(column: str, value: str | None, dataset: str, report: Mapping[str, Any], who: str) -> str:
    """Why there are no figures of the slices, or of the slice; "" if there are."""
    slices = report.get("slices", {})
    by_value = slices.get(column)
    if not by_value:
        return f"{who} has no slices by {column} on {dataset}.{near_match(column, slices)}"
    if value is not None and value not in by_value:
        return f"{who} has no slice where {column} is {value} on {dataset}.{near_match(value, by_value)}"
    return ""


def _skipped(figures: Mapping[str, Any], min_rows: int) -> str:
    rows = figures.get("rows")
    if isinstance(rows, int) and rows < min_rows:
        return f"{rows} rows, and fewer than {min_rows} aren't judged"
    return f"not judged: {figures[TOO_SMALL]}" if TOO_SMALL in figures else ""


def _value(metric: Metric, dataset: str, group: _Group, who: str) -> tuple[float | None, str]:
    """The figure, or why there is none."""
    if group.missing or group.skipped:
        return None, group.missing
    known = [name for name in Metric if name in group.figures]
    if metric not in group.figures:
        return None, f"{who} has no {metric} on {dataset}.{near_match(metric, known)}"
    value = group.figures[metric]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None, f"{metric} of {who} is undefined on {dataset}"
    return float(value), ""


def _champions(dataset: str, group: _Group, evidence: Evidence) -> tuple[_Group | None, str]:
    """The champion's figures of the same rows; None without a champion; and why they can't be compared."""
    if evidence.champion_unreadable:
        return None, f"the champion can't be read ({evidence.champion_unreadable})"
    if evidence.champion is None or group.missing or group.skipped:
        return None, ""
    if evidence.incomparable:
        return None, evidence.incomparable
    column, value = group.slice or (None, None)
    (theirs,) = _groups(column, value, 1, dataset, evidence.champion, who="the champion")
    if theirs.missing or theirs.skipped:
        return theirs, theirs.missing or f"of the champion {theirs.skipped}"
    if evidence.is_champion:
        return theirs, ""
    reports = evidence.candidate[dataset], evidence.champion[dataset]
    return theirs, other_rows(*reports, column, (group.rows, theirs.rows))


def _other_point(metric: Metric, dataset: str, evidence: Evidence) -> str:
    """Why a metric that is taken at a point can't be held against the champion's; "" where it can, or it has none."""
    ours, theirs = (point_of(metric, one[dataset]) for one in (evidence.candidate, evidence.champion or {dataset: {}}))
    if evidence.champion is None or ours is None or theirs is None or ours == theirs:
        return ""
    name = ours[0].replace("_", " ")
    return f"it is of the {name} {ours[1]}, and the champion's of {theirs[1]}"


def _low(
    rule: MetricRule, dataset: str, gain: float, groups: tuple[_Group, _Group], evidence: Evidence
) -> tuple[float | None, str]:
    """What the gain doesn't fall below, or why that isn't known."""
    if evidence.is_champion:
        return gain, ""
    found: list[Sequence[float]] = []
    schemes = []
    for who, metrics, group in (
        ("the candidate", evidence.candidate, groups[0]),
        ("the champion", evidence.champion or {}, groups[1]),
    ):
        counted = metrics[dataset].get(REPLICATES) or {}
        changes = _changes(counted, group, rule.metric)
        if changes is None:
            return None, (
                f"nobody counted how sure {rule.metric} of {who} is on these rows (too few, or an earlier release): "
                "evaluate it on more, or leave confidence out"
            )
        found.append(changes)
        schemes.append((counted.get(SCHEME), len(changes)))
    if schemes[0] != schemes[1]:
        return None, "how sure both are was counted in different ways: train both anew"
    error = sum(float(group.figures.get(f"{rule.metric}_error_bound") or 0.0) for group in groups)
    return lower_gain(gain, *found, confidence=rule.confidence or 0.5, error=error), ""


def _changes(counted: Mapping[str, Any], group: _Group, metric: Metric) -> Sequence[float] | None:
    """By how much the figure of `group` changes without each group of its rows."""
    if group.slice is None:
        of_rows = counted.get("overall", {})
    else:
        of_rows = counted.get("slices", {}).get(group.slice[0], {}).get(group.slice[1], {})
    changes = of_rows.get(metric)
    if not isinstance(changes, list) or len(changes) < 2:
        return None
    if any(isinstance(one, bool) or not isinstance(one, int | float) or not math.isfinite(one) for one in changes):
        return None
    return changes
