"""Checking rows against a contract: whole columns at once, in the language of expressions. Pure.

1. Every rule becomes one condition in the expression language, so that a rule can't fail on a row either: what can't be
   computed is unknown, and unknown passes all but the rules that ask for a value.
2. NaN, bytes that are not text and dates beyond the calendar are null, and so break a rule that asks for a value.
3. A row is set aside once, by the most severe action of the rules that it breaks (fail, quarantine, drop), the first of
   them; each rule counts all rows that break it. WARN counts and keeps.
4. A row's outcome depends on that row alone: any split of the rows adds up to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import Compute, InvalidInput, near_match
from dataops.governance.column_types import casts_losslessly, logical_type, spell_type
from dataops.governance.contract import DATASET_KINDS, Action, Contract, Rule, RuleKind
from dataops.governance.expression_tree import Call, Constant, Name, Node, RefusedError, columns_of
from dataops.governance.expression_values import BOOLEAN, NULL, plain
from dataops.governance.expressions import compute_tree, tree_of
from dataops.governance.names import name_findings

MAX_PATTERN_LENGTH = 1000

# the least severe first
_SEVERITY = (Action.DROP, Action.QUARANTINE, Action.FAIL)
_COMPARISONS: Mapping[RuleKind, str] = {
    RuleKind.MINIMUM: ">=",
    RuleKind.MAXIMUM: "<=",
    RuleKind.EXCLUSIVE_MINIMUM: ">",
    RuleKind.EXCLUSIVE_MAXIMUM: "<",
    RuleKind.MIN_LENGTH: ">=",
    RuleKind.MAX_LENGTH: "<=",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """What a check found, for the rows of one table.

    Attributes
    ----------
    keep : boolean (n_rows,), without nulls: whether the row passes.
    rule_index : int16 (n_rows,): the rule for which the row is set aside, -1 for none.
    broken : for each rule of the contract, how many rows break it; 0 for rules of the dataset.
    """

    keep: pa.BooleanArray
    rule_index: pa.Int16Array
    broken: tuple[int, ...]


def check_rows(contract: Contract, table: pa.Table) -> Checked:
    """Which rows of `table` pass the rules of `contract`.

    Parameters
    ----------
    contract
        Whose rules are checked.
    table
        The unmasked values of at least `columns_of_rules`, in the contract's types.

    Raises
    ------
    InvalidInput : a column that a rule needs isn't there, or is of a type that the rule can't take.
    Compute : Arrow failed.
    """
    names = sorted(columns_of_rules(contract))
    missing = [name for name in names if name not in table.schema.names]
    if missing:
        raise InvalidInput(f"contract '{contract.name}' can't be checked without the columns {', '.join(missing)}")
    conditions = [None if rule.kind in DATASET_KINDS else condition(rule) for rule in contract.rules]
    rule_index = np.full(table.num_rows, -1, dtype=np.int16)
    broken = np.zeros(len(conditions), dtype=np.int64)
    start = 0
    for batch in table.select(names).to_batches() if names else ():
        masks = _broken(contract, conditions, batch)
        broken += [0 if mask is None else int(np.count_nonzero(mask)) for mask in masks]
        _assign(rule_index[start : start + len(batch)], contract.rules, masks)
        start += len(batch)
    return Checked(
        keep=pa.array(rule_index == -1), rule_index=pa.array(rule_index), broken=tuple(int(count) for count in broken)
    )


def columns_of_rules(contract: Contract) -> frozenset[str]:
    """The columns that the rules of rows of `contract` read."""
    return frozenset().union(*(columns_of(condition(rule)) for rule in contract.row_rules))


def over_threshold(contract: Contract, broken: Sequence[int], n_rows: int) -> list[str]:
    """Why a run fails: rules of action FAIL that any row breaks, and rules broken beyond their limits.

    Parameters
    ----------
    contract
        Whose rules were checked.
    broken
        For each of its rules, how many rows break it, over all units.
    n_rows
        How many rows were checked.
    """
    pairs = zip(contract.rules, broken, strict=True)
    return [f"rule '{rule.id}': {finding}" for rule, count in pairs for finding in _limit_findings(rule, count, n_rows)]


def table_columns_match(contract: Contract, schema: pa.Schema) -> list[str]:
    """What keeps files of `schema` from being read under `contract`: missing, unlisted and other-typed columns.

    Partition columns may be absent: they stand in the folders' names. Nested columns need not be listed: no contract
    can hold them.
    """
    findings = list(name_findings(schema.names).values())
    known = [column.name for column in contract.columns]
    for column in contract.columns:
        if column.name not in schema.names:
            if not column.partitioned:
                findings.append(
                    f"column {column.name!r} is missing from the files.{near_match(column.name, schema.names)}"
                )
        elif not column.partitioned and len(schema.get_all_field_indices(column.name)) == 1:
            stored = schema.field(column.name).type
            if not casts_losslessly(stored, column.type):
                findings.append(
                    f"column {column.name!r} is {spell_type(column.type)} in the contract, and {stored} in the files, "
                    "which doesn't fit without loss"
                )
    unknown = dict.fromkeys(field.name for field in schema if field.name not in known and logical_type(field.type))
    findings += [f"column {name!r} is not in the contract: list it, with its classification" for name in unknown]
    return findings


def condition(rule: Rule) -> Node:
    """What `rule` asks of a row, in the expression language.

    Raises
    ------
    RefusedError : a pattern that RE2 can't read.
    InvalidInput : an expression that isn't in the language.
    """
    if rule.kind == RuleKind.EXPRESSION:
        return tree_of(rule.arguments["sql"])
    return _CONDITIONS[rule.kind](Name(str(rule.column)), rule)


def require_executable(rule: Rule, schema: pa.Schema) -> None:
    """Nothing, if `rule` can be checked on tables of `schema`.

    Raises
    ------
    RefusedError : why it can't: unknown columns, types that don't fit, a pattern that can't be read.
    InvalidInput : an expression that isn't in the language.
    """
    tree = condition(rule)
    names = columns_of(tree)
    if not names:
        raise RefusedError("a rule reads at least one column")
    for name in sorted(names):
        if name not in schema.names:
            raise RefusedError(f"unknown column {name!r}.{near_match(name, schema.names)}")
    columns = {name: plain(pa.array([], schema.field(name).type)) for name in names}
    kind = compute_tree(tree, columns, rows=0).type
    if kind not in (BOOLEAN, NULL):
        raise RefusedError(f"expected a condition that each row must meet, found an expression of type {kind}")


def _broken(contract: Contract, conditions: Sequence[Node | None], batch: pa.RecordBatch) -> list[np.ndarray | None]:
    """For each rule, a boolean array (n_rows,): the rows whose condition is false; None where there are none."""
    try:
        columns = {name: plain(batch.column(name)) for name in batch.schema.names}
        holds = [node and compute_tree(node, columns, rows=len(batch)).cast(BOOLEAN) for node in conditions]
    except RefusedError as refused:
        raise InvalidInput(f"contract '{contract.name}': {refused}") from None
    except pa.ArrowException as error:
        # Arrow's text may quote a row's value: only the kind of failure leaves
        raise Compute(
            f"contract '{contract.name}' could not be checked on {len(batch)} rows ({type(error).__name__})"
        ) from None
    return [None if one is None else _false_rows(one) for one in holds]


def _false_rows(holds: pa.BooleanArray) -> np.ndarray | None:
    if pc.all(holds, min_count=0).as_py():
        return None  # most rules on most batches
    broken: np.ndarray = np.logical_not(pc.fill_null(holds, fill_value=True).to_numpy(zero_copy_only=False))
    return broken


def _assign(rule_index: np.ndarray, rules: Sequence[Rule], masks: Sequence[np.ndarray | None]) -> None:
    """Give each row its rule: written from the least severe and last to the most severe and first, which stays."""
    for action in _SEVERITY:
        for index in reversed(range(len(rules))):
            mask = masks[index]
            if mask is not None and rules[index].action == action:
                rule_index[mask] = index


def _limit_findings(rule: Rule, count: int, n_rows: int) -> Iterator[str]:
    if rule.action == Action.FAIL and count:
        yield f"{count} of {n_rows} rows break it, none may"
    elif rule.max_rows is not None and count > rule.max_rows:
        yield f"{count} of {n_rows} rows break it, at most {rule.max_rows} may"
    elif rule.max_percent is not None and n_rows and 100 * count > rule.max_percent * n_rows:
        yield f"{count} of {n_rows} rows break it ({100 * count / n_rows:.4g}%), at most {rule.max_percent:.4g}% may"


def _compared(column: Name, rule: Rule) -> Node:
    of_length = rule.kind in (RuleKind.MIN_LENGTH, RuleKind.MAX_LENGTH)
    value: Node = Call("length", (column,)) if of_length else column
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
    RuleKind.NOT_MISSING: _not_missing,
    RuleKind.VALID_VALUES: _valid,
    RuleKind.PATTERN: _pattern,
}
