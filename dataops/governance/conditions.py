"""Conditions: what a row rule asks, in the language of expressions. Pure.

1. Every rule becomes one condition in the expression language, so that a rule can't fail on a row either: what can't be
   computed is unknown, and unknown passes all but the rules that ask for a value.
2. A condition on a column that holds lists is asked of each element; a few kinds speak of the list itself
   (`LIST_KINDS`).
3. What can't be executed is refused when the contract is read, with its reason, never skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pyarrow as pa

from dataops.errors import near_match
from dataops.governance.column_types import element_type
from dataops.governance.contract import DATASET_KINDS, Contract, Rule, RuleKind
from dataops.governance.expression_tree import Call, Constant, Name, Node, RefusedError, columns_of
from dataops.governance.expression_values import BOOLEAN, MOMENTS, NULL, plain, plain_type
from dataops.governance.expressions import compute_tree, tree_of
from dataops.governance.leaves import is_list

MAX_PATTERN_LENGTH = 1000

# what is asked of a list as a whole, not of its elements
LIST_KINDS = frozenset({RuleKind.LIST_NOT_NULL, RuleKind.MIN_ITEMS, RuleKind.MAX_ITEMS})

_COMPARISONS: Mapping[RuleKind, str] = {
    RuleKind.MINIMUM: ">=",
    RuleKind.MAXIMUM: "<=",
    RuleKind.EXCLUSIVE_MINIMUM: ">",
    RuleKind.EXCLUSIVE_MAXIMUM: "<",
    RuleKind.MIN_LENGTH: ">=",
    RuleKind.MAX_LENGTH: "<=",
    RuleKind.MIN_ITEMS: ">=",
    RuleKind.MAX_ITEMS: "<=",
}
_LENGTHS = (RuleKind.MIN_LENGTH, RuleKind.MAX_LENGTH)


def condition(rule: Rule) -> Node:
    """What `rule`, which speaks of one row, asks; of a list's length, where it is one of `LIST_KINDS`.

    Raises
    ------
    RefusedError : a pattern that RE2 can't read.
    InvalidInput : an expression that isn't in the language.
    """
    if rule.kind == RuleKind.EXPRESSION:
        return tree_of(rule.arguments["sql"]) if rule.tree is None else rule.tree
    return _CONDITIONS[rule.kind](Name(str(rule.column)), rule)


def with_trees(contract: Contract) -> Contract:
    """`contract`, its expressions parsed: a worker that is sent it needs no parser.

    Raises
    ------
    InvalidInput : an expression that isn't in the language.
    """
    rules = tuple(
        replace(rule, tree=condition(rule)) if rule.kind == RuleKind.EXPRESSION else rule for rule in contract.rules
    )
    return replace(contract, rules=rules)


def columns_of_rule(rule: Rule) -> frozenset[str]:
    """The columns that `rule` reads; a rule of the dataset may read none."""
    if rule.kind == RuleKind.UNIQUE:
        return frozenset(rule.arguments["columns"])
    if rule.kind in DATASET_KINDS:
        column = rule.arguments.get("column")
        return frozenset() if column is None else frozenset((column,))
    return columns_of(condition(rule))


def require_executable(rule: Rule, schema: pa.Schema) -> None:
    """Nothing, if `rule` can be checked on tables of `schema`.

    Raises
    ------
    RefusedError : why it can't: unknown columns, types that don't fit, a pattern that can't be read.
    InvalidInput : an expression that isn't in the language.
    """
    names = columns_of_rule(rule)
    if not names and rule.kind not in DATASET_KINDS:
        raise RefusedError("a rule reads at least one column")
    for name in sorted(names):
        if name not in schema.names:
            raise RefusedError(f"unknown column {name!r}.{near_match(name, schema.names)}")
    lists = sorted(name for name in names if is_list(schema.field(name).type))
    if rule.kind in DATASET_KINDS:
        _require_dataset_rule(rule, schema, lists)
    elif rule.kind in LIST_KINDS:
        if not lists:
            raise RefusedError(f"{str(rule.kind).replace('_', ' ')} is asked of lists alone")
    elif lists and names != {rule.column}:
        raise RefusedError(
            f"column {lists[0]!r} holds lists: an expression sees one value of each row, or, below the items of that "
            "column and reading nothing else, one element"
        )
    else:
        _require_condition(rule, schema)


def _require_dataset_rule(rule: Rule, schema: pa.Schema, lists: list[str]) -> None:
    if lists:
        raise RefusedError(f"column {lists[0]!r} holds lists: uniqueness and age can't be asked of their elements")
    if rule.kind == RuleKind.FRESHNESS and rule.arguments["column"] is not None:
        kind = plain_type(schema.field(rule.arguments["column"]).type)
        if kind not in MOMENTS:
            raise RefusedError(f"column {rule.arguments['column']!r} is {kind}: age is told by a date or a time")


def _require_condition(rule: Rule, schema: pa.Schema) -> None:
    tree = condition(rule)
    columns = {name: plain(pa.array([], element_type(schema.field(name).type))) for name in columns_of(tree)}
    kind = compute_tree(tree, columns, rows=0).type
    if kind not in (BOOLEAN, NULL):
        raise RefusedError(f"expected a condition that each row must meet, found an expression of type {kind}")


def _compared(column: Name, rule: Rule) -> Node:
    value: Node = Call("length", (column,)) if rule.kind in _LENGTHS else column
    return Call(_COMPARISONS[rule.kind], (value, Constant(rule.arguments["value"])))


def _multiple(column: Name, rule: Rule) -> Node:
    return Call("=", (Call("%", (column, Constant(rule.arguments["value"]))), Constant(0)))


def _not_null(column: Name, _rule: Rule) -> Node:
    return Call("not", (Call("is null", (column,)),))


def _not_missing(column: Name, rule: Rule) -> Node:
    """Neither null nor one of the values that stand for "missing" (null among them changes nothing)."""
    values = [Constant(value) for value in rule.arguments["values"] if value is not None]
    present = _not_null(column, rule)
    return Call("and", (present, Call("not", (Call("in", (column, *values)),)))) if values else present


def _valid(column: Name, rule: Rule) -> Node:
    values = [Constant(value) for value in rule.arguments["values"] if value is not None]
    if not values:
        raise RefusedError("no valid value is given")
    return Call("in", (column, *values))


def _pattern(column: Name, rule: Rule) -> Node:
    pattern = rule.arguments["value"]
    if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN_LENGTH:
        raise RefusedError(f"a pattern is a text of at most {MAX_PATTERN_LENGTH} characters")
    return Call("matches", (column,), pattern)


_CONDITIONS: Mapping[RuleKind, Callable[[Name, Rule], Node]] = {
    **dict.fromkeys(_COMPARISONS, _compared),
    RuleKind.MULTIPLE_OF: _multiple,
    RuleKind.NOT_NULL: _not_null,
    RuleKind.LIST_NOT_NULL: _not_null,
    RuleKind.NOT_MISSING: _not_missing,
    RuleKind.VALID_VALUES: _valid,
    RuleKind.PATTERN: _pattern,
}
