"""Pruning: whether a row filter can let any row of a row group through, as far as its statistics tell. Pure.

1. The answer is *no* only where no row could pass: what statistics can't tell (another operation, a missing or unusable
   bound) may pass. So pruning changes what is decoded, never what is read.
2. Bounds are compared by the expression language itself, so they meet its literals as rows do. Its way from a file's
   values to its own keeps their order; a bound that it can't hold is no bound.
3. NaN is in no statistics; it is null in the language, and null passes no filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from dataops.governance.expression_tree import Call, Constant, Name, Node, RefusedError
from dataops.governance.expression_values import plain
from dataops.governance.expressions import Expression, compute_tree

_NEGATED = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Range:
    """What statistics say of a column in a row group.

    Attributes
    ----------
    bounds : the least and the greatest value, in the column's type; None where they are unknown.
    nulls : how many nulls there are; None where it is unknown.
    rows : how many rows there are.
    """

    bounds: pa.Array | None
    nulls: int | None
    rows: int


def may_pass(condition: Expression, ranges: Mapping[str, Range]) -> bool:
    """Whether `condition` may be true in a row of a row group whose columns have these `ranges`."""
    return _may_be(condition.tree, ranges, wanted=True)


def _may_be(node: Node, ranges: Mapping[str, Range], *, wanted: bool) -> bool:
    """Whether `node` may be `wanted` (true or false) in some row."""
    if not isinstance(node, Call):
        return isinstance(node, Name) or node.value is wanted
    node = _in_comparisons(node)
    if node.operation == "not":
        return _may_be(node.arguments[0], ranges, wanted=not wanted)
    if node.operation in ("and", "or"):
        parts = (_may_be(part, ranges, wanted=wanted) for part in node.arguments)
        return all(parts) if (node.operation == "and") == wanted else any(parts)
    if node.operation == "is null":
        return _may_be_null(node.arguments[0], ranges, wanted=wanted)
    if node.operation in _NEGATED:
        left, right = node.arguments
        return _may_compare(node.operation if wanted else _NEGATED[node.operation], left, right, ranges)
    return True


def _in_comparisons(node: Call) -> Call:
    """BETWEEN and IN as the comparisons that they stand for."""
    if node.operation == "between":
        value, low, high = node.arguments
        return Call("and", (Call(">=", (value, low)), Call("<=", (value, high))))
    if node.operation == "in":
        value, *members = node.arguments
        return Call("or", tuple(Call("=", (value, one)) for one in members))
    return node


def _may_be_null(node: Node, ranges: Mapping[str, Range], *, wanted: bool) -> bool:
    """A column of a file may be null in the language without being so in the file, so only "no value" is certain."""
    known = ranges.get(node.column) if isinstance(node, Name) else None
    return wanted or known is None or known.nulls is None or known.nulls < known.rows


def _may_compare(operation: str, left: Node, right: Node, ranges: Mapping[str, Range]) -> bool:
    if isinstance(right, Name):
        operation, left, right = _MIRRORED[operation], right, left
    known = ranges.get(left.column) if isinstance(left, Name) else None
    if known is None or not isinstance(right, Constant):
        return True
    if known.nulls is not None and known.nulls == known.rows:
        return False
    return known.bounds is None or _bounds_may(operation, known.bounds, right)


def _bounds_may(operation: str, bounds: pa.Array, literal: Constant) -> bool:
    """Whether a value between `bounds` may compare with `literal` in this way."""
    if operation == "=":
        return _bounds_may("<=", bounds, literal) and _bounds_may(">=", bounds, literal)
    if operation == "<>":
        return _bounds_may("<", bounds, literal) or _bounds_may(">", bounds, literal)
    least, greatest = _compared(operation, bounds, literal)
    decided = least if operation in ("<", "<=") else greatest
    return decided is not False


def _compared(operation: str, bounds: pa.Array, literal: Constant) -> tuple[bool | None, bool | None]:
    """How the least and the greatest value compare with `literal`; None where nobody can tell."""
    try:
        compared = compute_tree(Call(operation, (Name("bound"), literal)), {"bound": plain(bounds)}, rows=2)
    except (RefusedError, pa.ArrowException):
        return None, None
    least, greatest = compared.to_pylist()
    return least, greatest
