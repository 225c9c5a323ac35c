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
    SchemaRule,
)
from dataops.errors import InvalidInput, near_match
from dataops.governance.column_types import casts_losslessly, parse_type
from dataops.promotion.figures import held, judge_metric
from dataops.promotion.findings import Called, Evidence, Finding, Outcome
from dataops.promotion.impact import judge_impact
from dataops.promotion.realised import judge_realised

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


KINDS: Mapping[str, Callable[[Any, Evidence], Iterator[Finding]]] = {
    "metric": judge_metric,
    "callable": judge_callable,
    "schema": judge_schema,
    "impact": judge_impact,
    "realised": judge_realised,
    "classifications": judge_classifications,
}
"""How a rule is judged, by its kind: see `dataops.declarations.promotion.KINDS`."""
