"""The rules in an Open Data Contract Standard file: options of types, enumerations, quality checks. Pure.

1. ``required``, ``logicalTypeOptions`` and ``enum`` of a column are rules named ``<column>.<what>``; a quality check is
   named by its ``id``, else ``<column or 'row'>.<metric>``.
2. A quality check's operator bounds how many rows may break it: ``mustBe: 0``, ``mustBeLessThan``,
   ``mustBeLessOrEqualTo``, ``mustBeBetween: [0, n]``, in ``rows`` or ``percent``. Beyond it the run fails.
3. What happens to a row that breaks it: ``customProperties: [{property: action, value: warn|drop|quarantine|fail}]`` of
   the check, or of the column for the rules of its type; quarantine where nothing is said.
4. ``type: sql`` holds a condition that each row must meet, in the language of expressions, not a query.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from open_data_contract_standard.model import CustomProperty, DataQuality, SchemaObject, SchemaProperty

from dataops.errors import near_match
from dataops.governance.contract import Action, Rule, RuleKind
from dataops.governance.findings import Findings, Place

Placed = tuple[Place, Rule]

_OPTIONS: Mapping[str, RuleKind] = {
    "minimum": RuleKind.MINIMUM,
    "maximum": RuleKind.MAXIMUM,
    "exclusiveMinimum": RuleKind.EXCLUSIVE_MINIMUM,
    "exclusiveMaximum": RuleKind.EXCLUSIVE_MAXIMUM,
    "multipleOf": RuleKind.MULTIPLE_OF,
    "minLength": RuleKind.MIN_LENGTH,
    "maxLength": RuleKind.MAX_LENGTH,
    "pattern": RuleKind.PATTERN,
}
_WHOLE_OPTIONS = ("multipleOf", "minLength", "maxLength")
_METRICS = ("nullValues", "missingValues", "invalidValues")
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


def read_rules(table: SchemaObject, findings: Findings) -> Iterator[Placed]:
    """The rules of `table` in the order of the file, each with its place; what can't be executed goes to `findings`."""
    for position, column in enumerate(table.properties or []):
        place: Place = ("schema", 0, "properties", position)
        yield from _type_rules(column, place, findings)
        yield from _quality_rules(column.quality or [], column.name, (*place, "quality"), findings)
    yield from _quality_rules(table.quality or [], None, ("schema", 0, "quality"), findings)


def _type_rules(column: SchemaProperty, place: Place, findings: Findings) -> Iterator[Placed]:
    action = _action(column.customProperties, place, findings, only=False)
    wanted: list[tuple[Place, RuleKind, dict[str, Any]]] = []
    if column.required or column.primaryKey:
        wanted.append(((*place, "required" if column.required else "primaryKey"), RuleKind.NOT_NULL, {}))
    for option, value in (column.logicalTypeOptions or {}).items():
        here = (*place, "logicalTypeOptions", option)
        if finding := _option_finding(option, value):
            findings.add(here, finding)
        elif option in _OPTIONS:
            wanted.append((here, _OPTIONS[option], {"value": value}))
    if column.enum:
        wanted.append(((*place, "enum"), RuleKind.VALID_VALUES, {"values": [one.value for one in column.enum]}))
    for here, kind, arguments in wanted:
        rule = Rule(id=f"{column.name}.{kind}", kind=kind, column=column.name, arguments=arguments, action=action)
        yield here, rule


def _option_finding(option: str, value: Any) -> str | None:
    if option not in _OPTIONS:
        return _unknown_option(option, value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return "expected a number or a text"
    if isinstance(value, float) and not math.isfinite(value):
        return "expected a finite number"
    if option in _WHOLE_OPTIONS and (not isinstance(value, int) or value < (option == "multipleOf")):
        return f"expected a whole number, at least {int(option == 'multipleOf')}"
    return None


def _unknown_option(option: str, value: Any) -> str | None:
    if option == "timezone" and isinstance(value, bool):
        return None  # the column's type says it
    if option == "format":
        return "formats aren't checked: write a pattern, or a physicalType"
    return f"unknown option.{near_match(option, _OPTIONS)}"


def _quality_rules(
    checks: Sequence[DataQuality], column: str | None, place: Place, findings: Findings
) -> Iterator[Placed]:
    taken = {check.id for check in checks if check.id}
    for position, check in enumerate(checks):
        here = (*place, position)
        wanted = _wanted(check, column, here, findings)
        if wanted is None:
            continue
        kind, arguments = wanted
        name = check.id or _free_id(f"{column or 'row'}.{check.metric or 'sql'}", taken)
        taken.add(name)
        max_rows, max_percent = _limits(check, here, findings)
        action = _action(check.customProperties, here, findings, only=True)
        if action == Action.FAIL and (max_rows or max_percent):
            findings.add(here, "action fail lets no row through, so it takes no limit: use quarantine with a limit")
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
            "'metric' is missing." if check.metric is None else f"metric {check.metric!r} isn't checked row by row."
        )
        findings.add((*place, "metric"), reason + near_match(check.metric or "", _METRICS))
    elif column is None:
        findings.add(place, f"metric {check.metric!r} belongs to a column; for the whole row write type sql")
    elif check.metric == "nullValues":
        if not _unknown_arguments(arguments, (), place, findings):
            return RuleKind.NOT_NULL, {}
    elif check.metric == "missingValues":
        if not _unknown_arguments(arguments, ("missingValues",), place, findings):
            return _listed(RuleKind.NOT_MISSING, arguments.get("missingValues"), (*place, "arguments"), findings)
    elif not _unknown_arguments(arguments, ("validValues", "pattern"), place, findings):
        return _invalid_values(arguments, (*place, "arguments"), findings)
    return None


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
    given = [name for name in _OPERATORS if getattr(check, name) is not None]
    unit = check.unit or "rows"
    if unit not in {"rows", "percent"}:
        findings.add((*place, "unit"), f"unknown unit {unit!r}.{near_match(unit, ('rows', 'percent'))}")
    if not given:
        return None, None
    if len(given) > 1:
        findings.add(place, f"one operator is enough, found {', '.join(given)}")
    limit = _upper_bound(given[0], getattr(check, given[0]), percent=unit == "percent")
    if limit is None:
        reason = "expected an upper bound on the rows that may break the rule: mustBe: 0, mustBeLessOrEqualTo: n, "
        findings.add((*place, given[0]), reason + "mustBeLessThan: n or mustBeBetween: [0, n], n not negative")
        return None, None
    return (None, limit) if unit == "percent" else (math.floor(limit), None)


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


def _action(properties: Sequence[CustomProperty] | None, place: Place, findings: Findings, *, only: bool) -> Action:
    """The action among custom properties; with `only`, others are refused: a typo is no quarantine."""
    action = Action.QUARANTINE
    for position, one in enumerate(properties or []):
        here = (*place, "customProperties", position)
        if one.vendor not in (None, "dataops"):
            continue
        if one.property != "action":
            if only:
                findings.add((*here, "property"), f"unknown property.{near_match(str(one.property), ('action',))}")
        elif one.value in tuple(Action):
            action = Action(one.value)
        else:
            findings.add((*here, "value"), f"unknown action.{near_match(str(one.value), tuple(Action))}")
    return action
