"""The kinds of rule and how each is judged: one function a kind, in one table.

A kind is declared in `dataops.declarations.promotion`, and judged here or in a module that is named in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from dataops.declarations.promotion import (
    CallableLimits,
    CallableRule,
    ClassificationsRule,
    ImpactRule,
    SchemaRule,
)
from dataops.errors import InvalidInput, near_match
from dataops.governance.column_types import casts_losslessly, parse_type
from dataops.promotion.figures import held, judge_metric
from dataops.promotion.findings import Called, Evidence, Finding, Measured, Outcome

_MOVED = "0.1"  # a step of `dataops.rescoring.impact`
_CHANGES = {
    "max_flipped": "decisions that flip",
    "max_positive_change": "positive decisions",
    "min_rank_correlation": "rank correlation",
    "max_moved": f"probabilities that move by over {_MOVED}",
    "max_psi": "psi",
}
_NOT_CALLED = "it wasn't called"
_NO_GOLDEN = "it has no golden rows, since an earlier release registered it: train it anew"
_UNKNOWN_RUN = (
    "nobody here can judge that: the run that trained it isn't in this storage. Promote it where it was trained, or "
    "override"
)


def judge_callable(rule: CallableRule, evidence: Evidence) -> Iterator[Finding]:
    """Whether it loads and predicts; if it does, one finding for each limit."""
    limits, called = rule.callable, evidence.called.get(rule.callable)
    failed = _NOT_CALLED if called is None else uncalled(called) or ("" if called.compared else _NO_GOLDEN)
    if called is None or failed:
        yield failed_call(limits, failed)
        return
    for limit, metric in (("seconds", "call"), ("memory_mb", "memory"), ("ms_per_row", "call with one row")):
        declared, value = getattr(limits, limit), getattr(called, limit)
        if declared is None:
            continue
        yield Finding(
            metric=metric,
            dataset="golden rows",
            rows=called.rows,
            limit=limit,
            declared=declared,
            bound=declared,
            value=value,
            outcome=Outcome.FAILED if value is None else held(value, declared, at_least=False),
            note="it wasn't measured" if value is None else "",
        )


def uncalled(called: Called) -> str:
    """Why nobody knows what calling it takes: it can't be, or a limit ended it; "" if one does."""
    return called.failed or called.missed


def failed_call(limits: CallableLimits, why: str) -> Finding:
    """The finding about a call that came to nothing."""
    return Finding(metric="call", limit="seconds", declared=limits.seconds, outcome=Outcome.FAILED, note=why)


def judge_schema(rule: SchemaRule, evidence: Evidence) -> Iterator[Finding]:
    """How many of the columns that it reads aren't given, or not in a type that fits."""
    wrong = [problem for name, fitted in evidence.sources if (problem := _unfit(name, fitted, rule.columns))]
    yield _none_of("columns that applications don't give", "schema", wrong)


def _unfit(name: str, fitted: str, given: Mapping[str, str]) -> str:
    if name not in given:
        return f"{name} ({fitted}) isn't given.{near_match(name, given)}"
    try:
        fits = _takes(parse_type(given[name]), parse_type(fitted))
    except InvalidInput:  # a type of a later release
        fits = given[name] == fitted
    return "" if fits else f"{name} is given as {given[name]}, and was {fitted} in training."


def _takes(given: pa.DataType, fitted: pa.DataType) -> bool:
    """Whether a feature program takes every value; a float takes any number, rounded."""
    numbers = (pa.types.is_integer(given) or pa.types.is_floating(given)) and pa.types.is_floating(fitted)
    return bool(numbers) or casts_losslessly(given, fitted)


def judge_classifications(rule: ClassificationsRule, evidence: Evidence) -> Iterator[Finding]:
    """How many classes it carries that aren't allowed, and how many of those that it learned from it doesn't carry."""
    carried, allowed = set(evidence.classifications), set(rule.classifications.allowed)
    yield _none_of("classes that aren't allowed", "classifications", sorted(carried - allowed))
    if evidence.learned_from is not None:
        lost = sorted(evidence.learned_from - carried)
        yield _none_of("classes that it learned from and doesn't carry", "classifications", lost)
        return
    yield replace(
        _none_of("classes that it learned from and doesn't carry", "classifications", []),
        value=None,
        outcome=Outcome.FAILED,
        note=_UNKNOWN_RUN,
    )


def _none_of(what: str, limit: str, found: list[str]) -> Finding:
    """A finding that fails where anything was found."""
    outcome = Outcome.FAILED if found else Outcome.PASSED
    note = (" " if limit == "schema" else ", ").join(found)
    return Finding(metric=what, limit=limit, declared=0, bound=0, value=len(found), outcome=outcome, note=note)


def judge_impact(rule: ImpactRule, evidence: Evidence) -> Iterator[Finding]:
    """A finding for each limit, of each slice where the rule has one."""
    measured = evidence.impacts.get(rule.impact, "no rescore was looked for")
    limits = rule.impact.limits
    if isinstance(measured, str):
        outcome, note = Outcome.FAILED, measured
        if evidence.champion is None and not evidence.champion_unreadable:
            outcome, note = Outcome.SKIPPED, "no champion yet, whose decisions could change"
        elif evidence.is_champion:
            outcome, note = Outcome.SKIPPED, "it is the champion itself"
        for limit, declared in limits.items():
            yield Finding(metric=_CHANGES[limit], limit=limit, declared=declared, outcome=outcome, note=note)
        return
    for part, figures, missing, skipped in _parts(rule, measured):
        for limit, declared in limits.items():
            found = Finding(
                metric=_CHANGES[limit],
                dataset=measured.run,
                slice=part,
                rows=figures.get("rows"),
                limit=limit,
                declared=declared,
                outcome=Outcome.FAILED,
                note=missing,
            )
            if skipped:
                yield replace(found, outcome=Outcome.SKIPPED, note=skipped)
            else:
                yield found if missing else _within(found, figures, measured)


_Part = tuple[tuple[str, str] | None, Mapping[str, Any], str, str]


def _parts(rule: ImpactRule, measured: Measured) -> Iterator[_Part]:
    """The slice (None: all rows), its figures, why there are none, and why they aren't judged."""
    asked = rule.slice
    if asked is None:
        yield None, measured.figures, "", ""
        return
    slices = measured.figures.get("slices", {})
    by_value = slices.get(asked.column, {})
    if not by_value:
        yield None, {}, f"{measured.run} counted no slices by {asked.column}.{near_match(asked.column, slices)}", ""
        return
    if asked.value is not None and asked.value not in by_value:
        known = near_match(asked.value, by_value)
        yield None, {}, f"{measured.run} has no slice where {asked.column} is {asked.value}.{known}", ""
        return
    for value in sorted(by_value) if asked.value is None else [asked.value]:
        rows = by_value[value]["rows"]
        small = f"{rows} rows, and fewer than {asked.min_rows} aren't judged" if rows < asked.min_rows else ""
        yield (asked.column, value), by_value[value], "", small


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


KINDS: Mapping[str, Callable[[Any, Evidence], Iterator[Finding]]] = {
    "metric": judge_metric,
    "callable": judge_callable,
    "schema": judge_schema,
    "impact": judge_impact,
    "classifications": judge_classifications,
}
"""How a rule is judged, by its kind: see `dataops.declarations.promotion.KINDS`."""
