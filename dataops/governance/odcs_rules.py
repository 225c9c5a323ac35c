"""The rules of columns in an Open Data Contract Standard file: options of types, enumerations, keys. Pure.

1. ``required``, ``unique``, ``primaryKey``, ``logicalTypeOptions`` and ``enum`` of a column are rules named
   ``<column>.<what>``; a primary key of several columns is one rule, ``row.primary_key``.
2. Their action stands among the column's ``customProperties``; a key of several columns takes that of its first one.
3. Options of an array speak of the list: they are rules of the array's first leaf, named by the array.
4. Bounds that no value can be within are refused: every row would break them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from open_data_contract_standard.model import SchemaObject, SchemaProperty

from dataops.errors import near_match
from dataops.governance.column_types import element_logical_type
from dataops.governance.contract import Column, Rule, RuleKind
from dataops.governance.findings import Findings, Place
from dataops.governance.odcs_actions import Placed, read_action
from dataops.governance.odcs_columns import NO_POSITION, ReadColumn
from dataops.governance.odcs_quality import quality_rules
from dataops.governance.text_formats import FORMATS

Wanted = tuple[Place, str, RuleKind, dict[str, Any]]

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
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
MAX_SHOWN = 40

_LIST_OPTIONS: Mapping[str, RuleKind] = {"minItems": RuleKind.MIN_ITEMS, "maxItems": RuleKind.MAX_ITEMS}
# whole numbers, and the least that each may be
_WHOLE_OPTIONS: Mapping[str, int] = {"multipleOf": 1, "minLength": 0, "maxLength": 0, "minItems": 0, "maxItems": 0}
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
# (a least, a most that must not lie below it, whether a value may be both)
_RANGES = (
    ("minimum", "maximum", True),
    ("minimum", "exclusiveMaximum", False),
    ("exclusiveMinimum", "maximum", False),
    ("exclusiveMinimum", "exclusiveMaximum", False),
    ("minLength", "maxLength", True),
    ("minItems", "maxItems", True),
)


def read_rules(
    columns: Sequence[ReadColumn], key: Sequence[str], table: SchemaObject, findings: Findings
) -> Iterator[Placed]:
    """The rules of `columns`, of which `key` are the primary key, then those of `table`, each with its place.

    What can't be executed goes to `findings`.
    """
    for column in columns:
        yield from _rules_of(column, key, findings)
        name = column.column.name
        yield from quality_rules(column.written.quality or [], name, (*column.place, "quality"), findings)
    if len(key) > 1:
        yield _rule_of_key(columns, key, findings)
    yield from quality_rules(table.quality or [], None, ("schema", 0, "quality"), findings)


def read_primary_key(columns: Sequence[ReadColumn], findings: Findings) -> tuple[str, ...]:
    """The names of the key's columns by their primaryKeyPosition; where none has one, in the order of the file."""
    keys = [column for column in columns if column.written.primaryKey]
    positions = [column.written.primaryKeyPosition for column in keys]
    given = [position for position in positions if position not in (None, NO_POSITION)]
    if given and (len(given) < len(keys) or len(set(given)) < len(given)):
        finding = "every column of the primary key needs a primaryKeyPosition of its own, or none of them one"
        findings.add((*keys[0].place, "primaryKeyPosition"), finding)
    elif given:
        keys.sort(key=lambda column: column.written.primaryKeyPosition or 0)
    return tuple(column.column.name for column in keys)


def _rule_of_key(columns: Sequence[ReadColumn], key: Sequence[str], findings: Findings) -> Placed:
    first = next(column for column in columns if column.column.name == key[0])
    action = read_action(first.written.customProperties, first.place, findings, only=False)
    rule = Rule(id="row.primary_key", kind=RuleKind.UNIQUE, arguments={"columns": list(key)}, action=action)
    return (*first.place, "primaryKey"), rule


def _rules_of(column: ReadColumn, key: Sequence[str], findings: Findings) -> Iterator[Placed]:
    name = column.column.name
    for place, shown, written in column.lists:
        wanted = _of_list(written, shown, place, findings)
        yield from _placed(wanted, name, written, place, findings)
    yield from _placed(_of_values(column, key, findings), name, column.written, column.place, findings)


def _placed(
    wanted: Iterator[Wanted], column: str, written: SchemaProperty, place: Place, findings: Findings
) -> Iterator[Placed]:
    action = read_action(written.customProperties, place, findings, only=False)
    for here, name, kind, arguments in wanted:
        yield here, Rule(id=name, kind=kind, column=column, arguments=arguments, action=action)


def _of_values(column: ReadColumn, key: Sequence[str], findings: Findings) -> Iterator[Wanted]:
    one, place, name = column.written, column.place, column.column.name
    if one.required or one.primaryKey:
        yield (*place, "required" if one.required else "primaryKey"), f"{name}.not_null", RuleKind.NOT_NULL, {}
    if one.unique or list(key) == [name]:
        here = (*place, "unique" if one.unique else "primaryKey")
        yield here, f"{name}.unique", RuleKind.UNIQUE, {"columns": [name]}
    for option, value in (one.logicalTypeOptions or {}).items():
        here = (*place, "logicalTypeOptions", option)
        if option in ("timezone", "format"):
            yield from _of_format(one, option, value, name, here, findings)
        elif finding := _option_finding(option, value, _OPTIONS) or _bound_finding(option, value, column.column):
            findings.add(here, finding)
        else:
            yield here, f"{name}.{_OPTIONS[option]}", _OPTIONS[option], {"value": value}
    _check_ranges(one.logicalTypeOptions or {}, place, findings)
    if one.enum:
        values = [entry.value for entry in one.enum]
        yield (*place, "enum"), f"{name}.valid_values", RuleKind.VALID_VALUES, {"values": values}


def _of_format(
    one: SchemaProperty, option: str, value: Any, name: str, place: Place, findings: Findings
) -> Iterator[Wanted]:
    """A format of text is a pattern; what zone a time has and how a number is stored is its type."""
    if option == "timezone":
        if not isinstance(value, bool):
            findings.add(place, "expected true or false")
    elif one.logicalType in ("date", "timestamp", "boolean"):
        findings.add(place, "files hold dates and times as such, not as text: leave the format out")
    elif one.logicalType in (None, "string"):
        if value in FORMATS:
            yield place, f"{name}.format", RuleKind.PATTERN, {"value": FORMATS[value]}
        else:
            findings.add(place, f"no format of text that can be checked.{near_match(str(value), FORMATS)}")


def _of_list(one: SchemaProperty, name: str, place: Place, findings: Findings) -> Iterator[Wanted]:
    joined = _holds_lists(one)
    if one.required:
        yield (*place, "required"), f"{name}.list_not_null", RuleKind.LIST_NOT_NULL, {}
    for option, value in (one.logicalTypeOptions or {}).items():
        here = (*place, "logicalTypeOptions", option)
        if option == "uniqueItems":
            findings.add(here, "equal elements of a list aren't looked for: leave it out")
        elif finding := _option_finding(option, value, _LIST_OPTIONS):
            findings.add(here, finding)
        elif joined:
            findings.add(here, "lists within lists are read as one list, whose elements can't be counted by level")
        else:
            yield here, f"{name}.{_LIST_OPTIONS[option]}", _LIST_OPTIONS[option], {"value": value}
    _check_ranges(one.logicalTypeOptions or {}, place, findings)


def _holds_lists(one: SchemaProperty) -> bool:
    """Whether the first leaf below the array or map `one` is within a list of its own."""
    inner = one.items or (one.map.key if one.map else None)
    while inner is not None and inner.properties:
        inner = inner.properties[0]
    return inner is not None and bool(inner.items or inner.map)


def _option_finding(option: str, value: Any, known: Mapping[str, RuleKind]) -> str | None:
    if option not in known:
        return f"unknown option.{near_match(option, [*known, 'format', 'timezone'])}"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return "expected a number or a text"
    if isinstance(value, float) and not math.isfinite(value):
        return "expected a finite number"
    if option in _WHOLE_OPTIONS and (not isinstance(value, int) or value < _WHOLE_OPTIONS[option]):
        return f"expected a whole number, at least {_WHOLE_OPTIONS[option]}"
    return None


def _bound_finding(option: str, value: Any, column: Column) -> str | None:
    """What is wrong with text as a bound of numbers; what else doesn't fit its column is found with the rule."""
    if option not in _BOUNDS or not isinstance(value, str):
        return None
    if element_logical_type(column.type) not in ("integer", "number"):
        return None
    such_as = f" such as {value}" if _NUMBER.fullmatch(value) else ""
    return f'expected a number{such_as}, found the text "{value[:MAX_SHOWN]}"'


def _check_ranges(options: Mapping[str, Any], place: Place, findings: Findings) -> None:
    for least, most, may_be_equal in _RANGES:
        if least not in options or most not in options:
            continue
        low, high = options[least], options[most]
        if not _comparable(low, high) or low < high or (low == high and may_be_equal):
            continue
        found, bound = str(high)[:MAX_SHOWN], f"{least} {str(low)[:MAX_SHOWN]}"
        finding = f"{found} is {'below' if high < low else 'not above'} {bound}: no row can pass"
        findings.add((*place, "logicalTypeOptions", most), finding)


def _comparable(low: Any, high: Any) -> bool:
    if isinstance(low, str) and isinstance(high, str):  # dates, and text by its order
        return True
    return all(isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in (low, high))
