"""What a rule asks, in words: ``hours <= 48``, ``employee is unique``, ``at least 1,001 rows``. Pure.

1. Bounds, lengths and counts are said; the values that a rule lists, a pattern or text to compare with never are:
   what is said stands in quarantine files, beside rows, and before people whom a policy denies the column.
2. A condition in SQL is said if it is short and compares with numbers, by order alone; else the columns that it reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dataops.errors import DataopsError
from dataops.governance.conditions import condition
from dataops.governance.contract import Rule, RuleKind
from dataops.governance.expression_tree import Call, Constant, Node, RefusedError, columns_of
from dataops.governance.text_formats import FORMATS

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ][\d:.]+(Z|[+-]\d\d:\d\d)?)?")
# operations over ordered values: what stands in them is a bound, not a value to look for
_ORDERED = frozenset({"<", "<=", ">", ">=", "+", "-", "*", "/", "%", "and", "or", "not", "is null", "between"})
_LONGEST_SQL = 80
_QUOTES_AND_COMMENTS = re.compile("['\"]|--|/\\*|#")
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_FORMAT_WORDS: Mapping[str, str] = {
    "email": "an email",
    "hostname": "a host name",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "uri": "a URI",
    "uuid": "a UUID",
}


def asked(rule: Rule) -> str:
    """What `rule` asks of a row or of the dataset, in a line."""
    if rule.kind == RuleKind.EXPRESSION:
        return _expression(rule)
    return _WORDS[rule.kind](str(rule.column), rule.arguments)


def difference(old: Rule, new: Rule) -> str:
    """What `new` asks where `old`, of the same kind, asked something else: ``maximum 48 -> 60``."""
    for name, counted in (("values", "values"), ("columns", "columns")):
        before, after = old.arguments.get(name), new.arguments.get(name)
        if isinstance(before, Sequence) and isinstance(after, Sequence) and old.column == new.column:
            if name == "columns":
                return f"{asked(old)} -> {asked(new)}"
            added, gone = (
                sum(one not in other for one in these) for these, other in ((after, before), (before, after))
            )
            parts = [f"{added} added"] * (added > 0) + [f"{gone} removed"] * (gone > 0)
            return f"{len(before)} {counted} -> {len(after)} ({', '.join(parts) or 'in another order'})"
    if old.column == new.column and new.kind in _SYMBOLS:
        kind = str(new.kind).replace("_", " ")
        return f"{kind} {_bound(old.arguments['value'])} -> {_bound(new.arguments['value'])}"
    before, after = asked(old), asked(new)
    return f"{before} -> {after}" if before != after else f"{before}, another one"


def _bound(value: Any) -> str:
    """A number, or a date or time; other text is a value like those of a row."""
    if isinstance(value, str):
        return value if _MOMENT.fullmatch(value) else "a text"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.15g}"


def _compared(column: str, symbol: str, value: Any) -> str:
    return f"{column} {symbol} {_bound(value)}"


def _matching(column: str, arguments: Mapping[str, Any]) -> str:
    name = next((name for name, pattern in FORMATS.items() if pattern == arguments["value"]), None)
    return f"{column} looks like {_FORMAT_WORDS.get(name, name)}" if name else f"{column} matches a pattern"


def _expression(rule: Rule) -> str:
    sql = " ".join(rule.arguments["sql"].split())
    try:
        tree = condition(rule)
    except (DataopsError, RefusedError):
        return "a condition"
    is_said = len(sql) <= _LONGEST_SQL and not _QUOTES_AND_COMMENTS.search(sql) and _is_plain(tree)
    return sql if is_said else f"a condition on {', '.join(sorted(columns_of(tree)))}"


def _is_plain(node: Node) -> bool:
    """Whether all literals in `node` are numbers that something is compared with by order."""
    if isinstance(node, Constant):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    return not isinstance(node, Call) or (node.operation in _ORDERED and all(map(_is_plain, node.arguments)))


def _is_unique(_column: str, arguments: Mapping[str, Any]) -> str:
    columns = arguments["columns"]
    return f"{columns[0]} is unique" if len(columns) == 1 else f"{', '.join(columns)} together are unique"


def _is_missing(column: str, arguments: Mapping[str, Any]) -> str:
    others = sum(value is not None for value in arguments["values"])
    return f"{column} is not null" + (f" and none of {_count(others, 'value')}" if others else "")


def _rows(_column: str, arguments: Mapping[str, Any]) -> str:
    least, most = arguments["minimum"], arguments["maximum"]
    if least == most:
        return f"exactly {_count(least, 'row')}"
    if most is None:
        return f"at least {_count(least, 'row')}"
    return f"at most {_count(most, 'row')}" if not least else f"{least:,} to {_count(most, 'row')}"


def _fresh(_column: str, arguments: Mapping[str, Any]) -> str:
    seconds, column = arguments["max_age_seconds"], arguments["column"]
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds % size == 0), (1, "second"))
    newest = f"newest {column}" if column else "newest file"
    return f"{newest} at most {_count(seconds // size, unit)} old"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


# what compares, as `<column> <symbol> <bound>`
_SYMBOLS: Mapping[RuleKind, str] = {
    RuleKind.MINIMUM: ">=",
    RuleKind.MAXIMUM: "<=",
    RuleKind.EXCLUSIVE_MINIMUM: ">",
    RuleKind.EXCLUSIVE_MAXIMUM: "<",
    RuleKind.MULTIPLE_OF: "is a multiple of",
    RuleKind.MIN_LENGTH: ">=",
    RuleKind.MAX_LENGTH: "<=",
    RuleKind.MIN_ITEMS: ">=",
    RuleKind.MAX_ITEMS: "<=",
}
_SUBJECTS: Mapping[RuleKind, str] = {
    RuleKind.MIN_LENGTH: "length({})",
    RuleKind.MAX_LENGTH: "length({})",
    RuleKind.MIN_ITEMS: "items of {}",
    RuleKind.MAX_ITEMS: "items of {}",
}


def _comparing(kind: RuleKind) -> Callable[[str, Mapping[str, Any]], str]:
    return lambda column, given: _compared(_SUBJECTS.get(kind, "{}").format(column), _SYMBOLS[kind], given["value"])


_WORDS: Mapping[RuleKind, Callable[[str, Mapping[str, Any]], str]] = {
    **{kind: _comparing(kind) for kind in _SYMBOLS},
    RuleKind.NOT_NULL: lambda column, _: f"{column} is not null",
    RuleKind.LIST_NOT_NULL: lambda column, _: f"the list of {column} is not null",
    RuleKind.NOT_MISSING: _is_missing,
    RuleKind.VALID_VALUES: lambda column, given: f"{column} is one of {_count(len(given['values']), 'value')}",
    RuleKind.PATTERN: _matching,
    RuleKind.UNIQUE: _is_unique,
    RuleKind.ROW_COUNT: _rows,
    RuleKind.FRESHNESS: _fresh,
}
