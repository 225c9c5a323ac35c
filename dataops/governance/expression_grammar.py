"""The expression language's grammar: a sqlglot tree to a tree of our own, by lists.

1. A kind of expression, a function, a type or an option that isn't listed here is refused, so a new sqlglot can't widen
   the language.
2. What steers an operation must be a literal; wrong ones are refused here, before there are rows.
3. The tree grows with the text: nothing is copied into it twice.
4. A refusal names the function, never a literal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from sqlglot import exp

from dataops.errors import near_match
from dataops.governance.expression_refusals import why_refused
from dataops.governance.expression_tree import Call, Constant, Name, Node, RefusedError, parse_moment

SqlNode = Any  # sqlglot's tree: its classes change with its releases, so they are checked by the lists below

MAX_DEPTH = 64  # of the tree: a chain of 64 ORs
MAX_LITERAL_LENGTH = 1000

_BINARY: Mapping[type[SqlNode], str] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.And: "and",
    exp.Or: "or",
    exp.DPipe: "||",
    exp.Nullif: "nullif",
}
_UNARY: Mapping[type[SqlNode], str] = {
    exp.Not: "not",
    exp.Abs: "abs",
    exp.Floor: "floor",
    exp.Ceil: "ceil",
    exp.Sqrt: "sqrt",
    exp.Ln: "ln",
    exp.Exp: "exp",
    exp.Lower: "lower",
    exp.Upper: "upper",
    exp.Length: "length",
    exp.Trim: "trim",
}
_VARIADIC: Mapping[type[SqlNode], str] = {
    exp.Coalesce: "coalesce",
    exp.Least: "least",
    exp.Greatest: "greatest",
    exp.Concat: "concat",
}
# SQL type -> the cast that `expression_casts` knows
_TYPES: Mapping[str, str] = {
    "BOOLEAN": "boolean",
    "TINYINT": "tinyint",
    "SMALLINT": "smallint",
    "INT": "int",
    "BIGINT": "bigint",
    "FLOAT": "double",
    "DOUBLE": "double",
    "TEXT": "string",
    "VARCHAR": "string",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
}
FIELDS = ("year", "quarter", "month", "day", "hour", "minute", "second", "dow", "doy")
_CASTS = tuple(name.lower() for name in _TYPES)
# what sqlglot notes beside the parts that mean something to us
_HARMLESS = {"typed", "safe", "coalesce", "ignore_nulls", "nested", "_type"}


def node_of(sql: SqlNode, depth: int = MAX_DEPTH) -> Node:
    """`sql` as our own node.

    Raises
    ------
    RefusedError : a part of it is not on the lists, or it is deeper than `depth`.
    """
    if depth == 0:
        raise RefusedError(f"the expression is a tree deeper than {MAX_DEPTH} levels: use IN, or derive it in steps")
    kind, below = type(sql), depth - 1
    if kind is exp.Paren:
        return node_of(sql.this, below)
    if kind in _BINARY:
        _require_parts(sql, "this", "expression")
        return Call(_BINARY[kind], (node_of(sql.this, below), node_of(sql.expression, below)))
    if kind in _UNARY:
        _require_parts(sql, "this")
        return Call(_UNARY[kind], (node_of(sql.this, below),))
    if kind in _VARIADIC:
        return _variadic(sql, _VARIADIC[kind], below)
    if kind in _READERS:
        return _READERS[kind](sql, below)
    raise RefusedError(why_refused(sql))


def _require_parts(sql: SqlNode, *parts: str) -> None:
    """Refuse options that a listed kind of expression may carry and that we would otherwise drop in silence."""
    extra = {name for name, value in sql.args.items() if value not in (None, False, [])} - set(parts) - _HARMLESS
    if extra:
        raise RefusedError(f"{sql.key} with {', '.join(sorted(extra))} is not in the expression language")


def _negate(sql: SqlNode, depth: int) -> Node:
    """A negative literal is one literal, so that -2**63 fits."""
    _require_parts(sql, "this")
    if isinstance(sql.this, exp.Literal) and not sql.this.is_string:
        return _number_literal("-" + sql.this.name)
    return Call("negate", (node_of(sql.this, depth),))


def _variadic(sql: SqlNode, operation: str, depth: int) -> Node:
    _require_parts(sql, "this", "expressions")
    first = [sql.this] if sql.args.get("this") is not None else []
    return Call(operation, tuple(node_of(argument, depth) for argument in [*first, *sql.expressions]))


def _column(sql: SqlNode, _depth: int) -> Node:
    """A column, or a part of a nested one by its dotted path, which sqlglot takes for tables and columns."""
    _require_parts(sql, "this", "table", "db", "catalog")
    if not all(isinstance(part, exp.Identifier) for part in sql.parts):
        raise RefusedError("a column is named, each on its own: * is not allowed")
    return Name(".".join(part.name for part in sql.parts))


def _literal(sql: SqlNode, _depth: int) -> Node:
    text = sql.name
    if len(text) > MAX_LITERAL_LENGTH:
        raise RefusedError(f"a literal has {len(text)} characters, at most {MAX_LITERAL_LENGTH} are allowed")
    if sql.is_string:
        return Constant(text)
    return _number_literal(text)


def _number_literal(text: str) -> Constant:
    if re.fullmatch(r"-?[0-9]{1,20}", text, re.ASCII):
        if not -(2**63) <= int(text) < 2**63:
            raise RefusedError("a whole number in the expression doesn't fit 64 bits")
        return Constant(int(text))
    if not re.fullmatch(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text) or not math.isfinite(float(text)):
        raise RefusedError("a number in the expression is no finite decimal number")
    return Constant(float(text))


def _boolean(sql: SqlNode, _depth: int) -> Node:
    return Constant(bool(sql.this))


def _null(_sql: SqlNode, _depth: int) -> Node:
    return Constant(None)


def _is(sql: SqlNode, depth: int) -> Node:
    """IS [NOT] NULL, TRUE, FALSE or UNKNOWN (which sqlglot reads as NULL)."""
    _require_parts(sql, "this", "expression")
    operand = node_of(sql.this, depth)
    if isinstance(sql.expression, exp.Null):
        return Call("is null", (operand,))
    if isinstance(sql.expression, exp.Boolean):
        return Call("is true" if sql.expression.this else "is false", (operand,))
    raise RefusedError("after IS stands NULL, TRUE, FALSE or UNKNOWN")


def _in(sql: SqlNode, depth: int) -> Node:
    if sql.args.get("query") is not None:
        raise RefusedError("subqueries are not allowed: an expression sees one row")
    _require_parts(sql, "this", "expressions")
    if not sql.expressions:
        raise RefusedError("IN needs at least one value")
    return Call("in", tuple(node_of(part, depth) for part in [sql.this, *sql.expressions]))


def _between(sql: SqlNode, depth: int) -> Node:
    _require_parts(sql, "this", "low", "high")
    return Call("between", tuple(node_of(sql.args[part], depth) for part in ("this", "low", "high")))


def _like(sql: SqlNode, depth: int) -> Node:
    _require_parts(sql, "this", "expression", "negate")
    pattern = _text_literal(sql.expression, "LIKE needs a text literal as its pattern")
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise RefusedError("a LIKE pattern ends in a single backslash: double it, or leave it out")
    operation = "ilike" if isinstance(sql, exp.ILike) else "like"
    matches = Call(operation, (node_of(sql.this, depth),), pattern)
    # sqlglot writes NOT LIKE as a flag, unlike NOT IN and NOT BETWEEN
    return Call("not", (matches,)) if sql.args.get("negate") else matches


def _case(sql: SqlNode, depth: int) -> Node:
    _require_parts(sql, "this", "ifs", "default")
    subject, default = sql.args.get("this"), sql.args.get("default")
    parts = [part for branch in sql.args["ifs"] for part in (branch.this, branch.args["true"])]
    arguments = [node_of(part, depth) for part in (parts if subject is None else [subject, *parts])]
    otherwise = Constant(None) if default is None else node_of(default, depth)
    return Call("case" if subject is None else "case of", (*arguments, otherwise))


def _cast(sql: SqlNode, depth: int) -> Node:
    _require_parts(sql, "this", "to", "safe")
    target = sql.args["to"]
    name = target.this.name if isinstance(target, exp.DataType) and hasattr(target.this, "name") else ""
    if name not in _TYPES or target.expressions:
        written = target.sql().lower()
        raise RefusedError(f"can't cast to {written!r}.{near_match(written, _CASTS)}")
    operand = node_of(sql.this, depth)
    if name in {"DATE", "TIMESTAMP"} and isinstance(operand, Constant) and isinstance(operand.value, str):
        return Constant(parse_moment(operand.value, is_date=name == "DATE"))
    return Call("cast", (operand,), _TYPES[name])


def _round(sql: SqlNode, depth: int) -> Node:
    _require_parts(sql, "this", "decimals")
    digits = 0 if sql.args.get("decimals") is None else _number(sql.args["decimals"], depth)
    if not isinstance(digits, int) or not 0 <= digits <= 15:
        raise RefusedError("round(x, digits) takes 0 to 15 digits, as a literal")
    return Call("round", (node_of(sql.this, depth),), digits)


def _substring(sql: SqlNode, depth: int) -> Node:
    _require_parts(sql, "this", "start", "length")
    start = _number(sql.args["start"], depth) if sql.args.get("start") is not None else 0
    length = _number(sql.args["length"], depth) if sql.args.get("length") is not None else 2**31 - 1
    if not (isinstance(start, int) and isinstance(length, int) and 1 <= start < 2**31 and 0 <= length < 2**31):
        raise RefusedError("substring(text, start, length) takes a start from 1 and a length from 0, as literals")
    return Call("substring", (node_of(sql.this, depth),), (start - 1, start - 1 + length))


def _extract(sql: SqlNode, depth: int) -> Node:
    _require_parts(sql, "this", "expression")
    field = sql.this.name.lower()
    if field not in FIELDS:
        raise RefusedError(f"extract has no field {field!r}.{near_match(field, FIELDS)}")
    return Call("extract", (node_of(sql.expression, depth),), field)


def _anonymous(sql: SqlNode, depth: int) -> Node:
    """A function that sqlglot doesn't know: ours is ``cut(x, b1, b2, ...)``."""
    if sql.name.lower() != "cut":
        raise RefusedError(why_refused(sql))
    value, *breaks = sql.expressions or [None]
    bounds = tuple(_number(bound, depth) for bound in breaks)
    if not bounds or any(left >= right for left, right in pairwise(bounds)):
        raise RefusedError("cut(x, b1, b2, ...) takes break points that grow, as number literals")
    return Call("cut", (node_of(value, depth),), bounds)


def _number(sql: SqlNode, depth: int) -> float:
    node = node_of(sql, depth)
    if not isinstance(node, Constant) or isinstance(node.value, bool) or not isinstance(node.value, int | float):
        raise RefusedError("expected a number literal")
    return node.value


def _text_literal(sql: SqlNode, otherwise: str) -> str:
    if not isinstance(sql, exp.Literal) or not sql.is_string or len(sql.name) > MAX_LITERAL_LENGTH:
        raise RefusedError(otherwise)
    return str(sql.name)


_READERS: Mapping[type[SqlNode], Callable[[SqlNode, int], Node]] = {
    exp.Column: _column,
    exp.Literal: _literal,
    exp.Boolean: _boolean,
    exp.Null: _null,
    exp.Neg: _negate,
    exp.Is: _is,
    exp.In: _in,
    exp.Between: _between,
    exp.Like: _like,
    exp.ILike: _like,
    exp.Case: _case,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Round: _round,
    exp.Substring: _substring,
    exp.Extract: _extract,
    exp.Anonymous: _anonymous,
}
