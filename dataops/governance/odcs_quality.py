"""Quality checks of an Open Data Contract Standard file as rules. Pure.

1. A check is named by its ``id``, else ``<column or 'row'>.<metric>``.
2. Its operator bounds how many rows may break it: ``mustBe: 0``, ``mustBeLessThan``, ``mustBeLessOrEqualTo``,
   ``mustBeBetween: [0, n]``, in ``rows`` or ``percent``. Beyond it the run fails. For ``rowCount`` any operator that
   means a range bounds the rows themselves.
3. What happens to a row that breaks it: ``customProperties: [{property: action, value: warn|drop|quarantine|fail}]``;
   quarantine where nothing is said. Of how many rows there are one can but warn or fail, and fails.
4. ``type: sql`` holds a condition that each row must meet, in the language of expressions, not a query.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from open_data_contract_standard.model import DataQuality

from dataops.errors import near_match
from dataops.governance.contract import Action, Rule, RuleKind
from dataops.governance.findings import Findings, Place
from dataops.governance.odcs_actions import DATASET_ACTIONS, Placed, read_action

_METRICS = ("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount")
_OF_COLUMNS = ("nullValues", "missingValues", "invalidValues")
_OPERATORS = (
    *("mustBe", "mustNotBe", "mustBeGreaterThan", "mustBeGreaterOrEqualTo", "mustBeLessThan", "mustBeLessOrEqualTo"),
    *("mustBeBetween", "mustNotBeBetween"),
)
_NOT_EXECUTED = {
    "rule": "'rule' was renamed to 'metric' in version 3.1",
    "engine": "other engines' checks aren't executed: write it as type sql, or leave it out",
    "implementation": "other engines' checks aren't executed: write it as type sql, or leave it out",
    "schedule": "checks run with every read, not by a schedule: leave it out",
    "scheduler": "checks run with every read, not by a schedule: leave it out",
}
ALL_PERCENT = 100
# (metric, whether it is the table's) -> its arguments
_ARGUMENTS: Mapping[tuple[str, bool], Sequence[str]] = {
    ("nullValues", False): (),
    ("missingValues", False): ("missingValues",),
    ("invalidValues", False): ("validValues", "pattern"),
    ("duplicateValues", False): (),
    ("duplicateValues", True): ("properties",),
    ("rowCount", True): (),
}


def quality_rules(
    checks: Sequence[DataQuality], column: str | None, place: Place, findings: Findings
) -> Iterator[Placed]:
    """The rules of the checks at `place`, of `column` or of the whole table."""
    taken = {check.id for check in checks if check.id}
    for position, check in enumerate(checks):
        here = (*place, position)
        wanted = _wanted(check, column, here, findings)
        if wanted is None:
            continue
        kind, arguments = wanted
        name = check.id or _free_id(f"{column or 'row'}.{check.metric or 'sql'}", taken)
        taken.add(name)
        max_rows, max_percent, action = _limits_and_action(check, kind, arguments, here, findings)
        rule = Rule(
            id=name,
            kind=kind,
            column=column,
            arguments=arguments,
            action=action,
            max_rows=max_rows,
            max_percent=max_percent,
            description=check.description or "",
        )
        yield here, rule


def _limits_and_action(
    check: DataQuality, kind: RuleKind, arguments: dict[str, Any], place: Place, findings: Findings
) -> tuple[int | None, float | None, Action]:
    if kind == RuleKind.ROW_COUNT:
        arguments.update(zip(("minimum", "maximum"), _range(check, place, findings), strict=True))
        action = read_action(
            check.customProperties, place, findings, only=True, allowed=DATASET_ACTIONS, otherwise=Action.FAIL
        )
        return None, None, action
    max_rows, max_percent = _limits(check, place, findings)
    action = read_action(check.customProperties, place, findings, only=True)
    if action == Action.FAIL and (max_rows or max_percent):
        findings.add(place, "action fail lets no row through, so it takes no limit: use quarantine with a limit")
    return max_rows, max_percent, action


def _free_id(wanted: str, taken: set[str]) -> str:
    return next(name for n in count(1) if (name := wanted if n == 1 else f"{wanted}.{n}") not in taken)


def _wanted(
    check: DataQuality, column: str | None, place: Place, findings: Findings
) -> tuple[RuleKind, dict[str, Any]] | None:
    """What the check asks of a row, or None after a finding."""
    unexecuted = [key for key in _NOT_EXECUTED if getattr(check, key) is not None]
    for key in unexecuted:
        findings.add((*place, key), _NOT_EXECUTED[key])
    kind = check.type or "library"
    if kind == "sql":
        if not check.query:
            findings.add(place, "'query' is missing: a condition that each row must meet, such as \"hours > 0\"")
            return None
        return RuleKind.EXPRESSION, {"sql": check.query}
    if kind != "library":
        reason = f"checks of type {kind!r} aren't executed: write it as type library or sql, or into the description"
        findings.add((*place, "type"), reason)
        return None
    return None if unexecuted else _library(check, column, place, findings)


def _library(
    check: DataQuality, column: str | None, place: Place, findings: Findings
) -> tuple[RuleKind, dict[str, Any]] | None:
    arguments = check.arguments or {}
    if check.metric not in _METRICS:
        reason = (
            "'metric' is missing." if check.metric is None else f"{check.metric!r} is no metric that can be checked."
        )
        findings.add((*place, "metric"), reason + near_match(check.metric or "", _METRICS))
    elif column is None and check.metric in _OF_COLUMNS:
        findings.add(place, f"metric {check.metric!r} belongs to a column; for the whole row write type sql")
    elif column is not None and check.metric == "rowCount":
        findings.add(place, "metric 'rowCount' belongs to the table, not to a column")
    elif not _unknown_arguments(arguments, _ARGUMENTS[check.metric, column is None], place, findings):
        return _asked(check.metric, column, arguments, (*place, "arguments"), findings)
    return None


def _asked(
    metric: str, column: str | None, arguments: Mapping[str, Any], place: Place, findings: Findings
) -> tuple[RuleKind, dict[str, Any]] | None:
    match metric:
        case "missingValues":
            return _listed(RuleKind.NOT_MISSING, arguments.get("missingValues"), place, findings)
        case "invalidValues":
            return _invalid_values(arguments, place, findings)
        case "duplicateValues":
            names = arguments.get("properties") if column is None else [column]
            return _unique(names, place, findings)
    return (RuleKind.ROW_COUNT if metric == "rowCount" else RuleKind.NOT_NULL), {}


def _unique(names: Any, place: Place, findings: Findings) -> tuple[RuleKind, dict[str, Any]] | None:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        findings.add(place, "duplicateValues of a table takes properties: the names of columns, at least one")
        return None
    return RuleKind.UNIQUE, {"columns": list(dict.fromkeys(names))}


def _invalid_values(
    arguments: Mapping[str, Any], place: Place, findings: Findings
) -> tuple[RuleKind, dict[str, Any]] | None:
    if len(arguments) != 1:
        findings.add(place, "invalidValues takes either validValues or a pattern: write two checks for both")
        return None
    if "pattern" in arguments:
        return RuleKind.PATTERN, {"value": arguments["pattern"]}
    return _listed(RuleKind.VALID_VALUES, arguments["validValues"], place, findings)


def _listed(kind: RuleKind, values: Any, place: Place, findings: Findings) -> tuple[RuleKind, dict[str, Any]] | None:
    if not isinstance(values, list) or not values or any(isinstance(value, list | dict) for value in values):
        findings.add(place, "expected a list of values, at least one")
        return None
    return kind, {"values": values}


def _unknown_arguments(arguments: Mapping[str, Any], known: Sequence[str], place: Place, findings: Findings) -> bool:
    unknown = [key for key in arguments if key not in known]
    for key in unknown:
        findings.add((*place, "arguments", key), f"unknown argument.{near_match(str(key), known)}")
    return bool(unknown)


def _limits(check: DataQuality, place: Place, findings: Findings) -> tuple[int | None, float | None]:
    """The most rows, or percent of the rows, that may break the check."""
    unit = check.unit or "rows"
    if unit not in {"rows", "percent"}:
        findings.add((*place, "unit"), f"unknown unit {unit!r}.{near_match(unit, ('rows', 'percent'))}")
    given = _operators(check, place, findings)
    if not given:
        return None, None
    limit = _upper_bound(given[0], getattr(check, given[0]), percent=unit == "percent")
    if limit is None:
        reason = "expected an upper bound on the rows that may break the rule: mustBe: 0, mustBeLessOrEqualTo: n, "
        findings.add((*place, given[0]), reason + "mustBeLessThan: n or mustBeBetween: [0, n], n not negative")
        return None, None
    if unit == "percent" and limit > ALL_PERCENT:
        findings.add(
            (*place, given[0]), "more than 100 percent of the rows can't break it: give a share, or leave it out"
        )
    return (None, limit) if unit == "percent" else (math.floor(limit), None)


def _operators(check: DataQuality, place: Place, findings: Findings) -> list[str]:
    given = [name for name in _OPERATORS if getattr(check, name) is not None]
    if len(given) > 1:
        findings.add(place, f"one operator is enough, found {', '.join(given)}")
    return given


def _range(check: DataQuality, place: Place, findings: Findings) -> tuple[int | None, int | None]:
    """The least and the most rows that a check of ``rowCount`` lets there be."""
    if check.unit not in (None, "rows"):
        findings.add((*place, "unit"), "a row count is in rows")
    given = _operators(check, place, findings)
    if not given:
        findings.add(place, "an operator is missing: how many rows must there be, such as mustBeGreaterThan: 0")
        return None, None
    value = getattr(check, given[0])
    numbers = value if isinstance(value, list) else [value]
    if all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers):
        least, most = _bounds(given[0], [float(number) for number in numbers])
        if (least, most) != (None, None) and max(least or 0, 0) <= (math.inf if most is None else most):
            return (None if least is None else max(least, 0)), most
    reason = "expected a range of row counts from 0 on: mustBeGreaterThan: n, mustBeBetween: [n, m], mustNotBe: 0 ..."
    findings.add((*place, given[0]), reason)
    return None, None


def _bounds(operator: str, numbers: Sequence[float]) -> tuple[int | None, int | None]:
    first, last = numbers[0], numbers[-1]
    least = {
        "mustBeGreaterThan": math.floor(first) + 1,
        "mustBeGreaterOrEqualTo": math.ceil(first),
        "mustBeBetween": math.ceil(first),
    }
    most = {
        "mustBeLessThan": math.ceil(first) - 1,
        "mustBeLessOrEqualTo": math.floor(first),
        "mustBeBetween": math.floor(last),
    }
    if operator == "mustBe" and first == int(first):
        return int(first), int(first)
    if operator in ("mustNotBe", "mustNotBeBetween") and first <= 0 <= last:
        return math.floor(last) + 1, None  # what is left out begins at 0, so that a range remains
    return least.get(operator), most.get(operator)


def _upper_bound(operator: str, value: Any, *, percent: bool) -> float | None:
    """The greatest allowed count or share; None where the operator gives none."""
    numbers = value if isinstance(value, list) else [value]
    if any(
        isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf
        for number in numbers
    ):
        return None
    if operator == "mustBeBetween":
        return float(numbers[1]) if numbers[0] == 0 else None
    if operator == "mustBeLessThan" and numbers[0] > 0:
        return math.nextafter(numbers[0], 0) if percent else float(math.ceil(numbers[0]) - 1)
    if operator == "mustBeLessOrEqualTo" or (operator == "mustBe" and numbers[0] == 0):
        return float(numbers[0])
    return None
