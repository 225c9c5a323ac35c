"""Why a piece of SQL is not in the expression language, in words for the person who wrote it."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from dataops.errors import near_match

FUNCTIONS = (
    *("abs", "cast", "ceil", "coalesce", "concat", "cut", "exp", "extract", "floor", "greatest", "least", "length"),
    *("ln", "lower", "mod", "nullif", "round", "sqrt", "substring", "trim", "upper"),
)
_REFUSED: tuple[tuple[tuple[type[Any], ...], str], ...] = (
    ((exp.Query, exp.Subquery, exp.Exists, exp.Any, exp.All), "subqueries are not allowed: an expression sees one row"),
    ((exp.Window,), "window functions are not allowed: an expression sees one row"),
    ((exp.AggFunc,), "aggregates are not allowed: an expression sees one row"),
    ((exp.Dot, exp.Bracket, exp.JSONExtract), "attribute and element access is not allowed; quote a deep path"),
    ((exp.Alias,), "an expression has no alias: give the new column's name as the key"),
    ((exp.Parameter, exp.Placeholder), "parameters and placeholders are not allowed"),
    ((exp.Tuple, exp.Array, exp.Struct), "lists are allowed after IN only"),
)


def why_refused(sql: Any) -> str:
    """The reason against `sql`, a tree of sqlglot's; a function's comes with its near match."""
    for kinds, reason in _REFUSED:
        if isinstance(sql, kinds):
            return reason
    if isinstance(sql, exp.Func):
        name = (sql.name if isinstance(sql, exp.Anonymous) else sql.sql_name()).lower()
        return f"unknown function {name!r}.{near_match(name, FUNCTIONS)}"
    return f"{sql.key!r} is not in the expression language"
