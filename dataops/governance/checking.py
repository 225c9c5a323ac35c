"""Checking rows against a contract: whole columns at once, in the language of expressions. Pure.

1. Every rule becomes one condition (`conditions`). A row breaks a rule of a column that holds lists if any element
   does.
2. NaN, bytes that are not text and dates beyond the calendar are null, and so break a rule that asks for a value.
3. A row is set aside once, by the most severe action of the rules that it breaks (fail, quarantine, drop), the first of
   them; each rule counts all rows that break it. WARN counts and keeps.
4. Which rows repeat a key is told by who looked at the whole dataset; they are set aside like any other.
5. A row's outcome depends on that row alone, and on what is told of it: any split of the rows adds up to the same.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import Compute, InvalidInput, near_match
from dataops.governance.column_types import casts_losslessly, column_type, logical_type, spell_type
from dataops.governance.conditions import LIST_KINDS, columns_of_rule, condition
from dataops.governance.contract import DATASET_KINDS, SEVERITY, Action, Column, Contract, Rule, RuleKind
from dataops.governance.expression_tree import Node, RefusedError
from dataops.governance.expression_values import BOOLEAN, plain
from dataops.governance.expressions import compute_tree
from dataops.governance.leaves import is_list, leaves_of, twin_findings

_MANY = 2  # rows of each combination of values at least, for it to be worth looking at those


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """What a check found, for the rows of one table.

    Attributes
    ----------
    rule_index : int16 (n_rows,): the rule for which the row is set aside, -1 for none.
    broken : for each rule of the contract, how many rows break it; of a rule of the dataset those that were told.
    """

    rule_index: np.ndarray
    broken: tuple[int, ...]

    @property
    def keep(self) -> np.ndarray:
        """Boolean (n_rows,): whether the row passes."""
        passes: np.ndarray = self.rule_index < 0
        return passes


def check_rows(contract: Contract, table: pa.Table, *, repeats: Mapping[int, np.ndarray] | None = None) -> Checked:
    """Which rows of `table` pass the rules of `contract`.

    Parameters
    ----------
    contract
        Whose rules are checked.
    table
        The unmasked values of at least `columns_of_rules`, in the contract's types.
    repeats
        Boolean (n_rows,) by the place of a rule of the dataset in the contract: which rows of `table` break it.

    Raises
    ------
    InvalidInput : a column that a rule needs isn't there, or is of a type that the rule can't take.
    Compute : Arrow failed.
    """
    names = sorted(columns_of_rules(contract))
    missing = [name for name in names if name not in table.schema.names]
    if missing:
        raise InvalidInput(f"contract '{contract.name}' can't be checked without the columns {', '.join(missing)}")
    rule_index = np.full(table.num_rows, -1, dtype=np.int16)
    broken = np.zeros(len(contract.rules), dtype=np.int64)
    start = 0
    for n_rows, masks in _masks(contract, table.select(names)):
        rows = slice(start, start + n_rows)
        for place, breaks in (repeats or {}).items():
            masks[place] = breaks[rows]
        broken += np.array([0 if mask is None else np.count_nonzero(mask) for mask in masks], dtype=np.int64)
        _assign(rule_index[rows], contract.rules, masks)
        start += n_rows
    return Checked(rule_index=rule_index, broken=tuple(int(count) for count in broken))


def columns_of_rules(contract: Contract) -> frozenset[str]:
    """The columns that the rules of rows of `contract` read."""
    return frozenset().union(*(columns_of_rule(rule) for rule in contract.row_rules))


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

    Each leaf of a nested column must be listed. Partition columns may be absent: they stand in the folders' names.
    Columns of types that no contract can hold (bytes) need not be listed: nobody can read them.
    """
    findings = twin_findings(schema)
    leaves = {leaf.path: leaf for leaf in leaves_of(schema)}
    for column in contract.columns:
        leaf = leaves.get(column.path)
        if leaf is None and not column.partitioned:
            findings.append(
                f"column {_shown(column)} is missing from the files."
                f"{near_match('.'.join(column.path), [leaf.shown for leaf in leaves.values()])}"
            )
        elif leaf is not None and not column.partitioned and not casts_losslessly(leaf.type, column.type):
            findings.append(
                f"column {_shown(column)} is {spell_type(column.type)} in the contract, and "
                f"{spell_type(column_type(leaf.type))} in the files, which doesn't fit without loss"
            )
    listed = {column.path for column in contract.columns}
    unknown = [leaf for path, leaf in leaves.items() if path not in listed and logical_type(column_type(leaf.type))]
    findings += [f"column {leaf.shown!r} is not in the contract: list it, with its classification" for leaf in unknown]
    return findings


def _shown(column: Column) -> str:
    return repr(column.name) + (f" ({'.'.join(column.stored)!r} in the files)" if column.stored else "")


def _masks(contract: Contract, table: pa.Table) -> Iterator[tuple[int, list[np.ndarray | None]]]:
    """For each batch of `table` its number of rows, and for each rule which of them break it (None: none do)."""
    conditions = [None if rule.kind in DATASET_KINDS else condition(rule) for rule in contract.rules]
    if not table.num_columns:  # no batches
        yield table.num_rows, [None] * len(conditions)
    for batch in table.to_batches():
        yield len(batch), _broken(contract, conditions, batch)


def _broken(contract: Contract, conditions: Sequence[Node | None], batch: pa.RecordBatch) -> list[np.ndarray | None]:
    """For each rule, a boolean array (n_rows,): the rows that break it; None where there are none."""
    try:
        columns = _Columns(batch)
        pairs = zip(contract.rules, conditions, strict=True)
        return [None if node is None else columns.broken(rule, node) for rule, node in pairs]
    except RefusedError as refused:
        raise InvalidInput(f"contract '{contract.name}': {refused}") from None
    except pa.ArrowException as error:
        # Arrow's text may quote a row's value: only the kind of failure leaves
        raise Compute(
            f"contract '{contract.name}' could not be checked on {len(batch)} rows ({type(error).__name__})"
        ) from None


class _Columns:
    """The columns of one batch in the language's types, each made once; of lists, their elements."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._rows = len(batch)
        self._lists = {
            name: batch.column(name) for name in batch.schema.names if is_list(batch.schema.field(name).type)
        }
        self._columns = {name: batch.column(name) for name in batch.schema.names if name not in self._lists}
        self._plain: dict[str, pa.Array] = {}

    def broken(self, rule: Rule, node: Node) -> np.ndarray | None:
        """The rows that break `rule`: boolean (n_rows,), None for none."""
        lists = self._lists.get(str(rule.column))
        if lists is None:
            return self._broken_flat(columns_of_rule(rule), node)
        name = str(rule.column)
        if rule.kind == RuleKind.LIST_NOT_NULL:
            return _false_rows(lists.is_valid())
        if rule.kind in LIST_KINDS:  # of a list that is null the length is unknown, which passes
            lengths = {name: plain(pc.list_value_length(lists))}
            return _false_rows(compute_tree(node, lengths, rows=self._rows).cast(BOOLEAN))
        elements = plain(pc.list_flatten(lists))
        bad = _false_rows(compute_tree(node, {name: elements}, rows=len(elements)).cast(BOOLEAN))
        return None if bad is None else self._rows_of(lists, bad)

    def _broken_flat(self, names: Collection[str], node: Node) -> np.ndarray | None:
        encoded = {name: self._columns[name] for name in sorted(names) if self._is_encoded(name)}
        if encoded and len(encoded) == len(names):
            combinations = math.prod(_n_values(one) for one in encoded.values())
            if _MANY * combinations <= self._rows:
                return _broken_by_value(encoded, node)
        for name in names:
            if name in self._columns and name not in self._plain:
                self._plain[name] = plain(self._columns[name])
        return _false_rows(compute_tree(node, self._plain, rows=self._rows).cast(BOOLEAN))

    def _is_encoded(self, name: str) -> bool:
        return name in self._columns and pa.types.is_dictionary(self._columns[name].type)

    def _rows_of(self, lists: pa.Array, bad: np.ndarray) -> np.ndarray:
        """The rows with a bad element: one is enough."""
        rows = np.zeros(self._rows, dtype=bool)
        rows[pc.list_parent_indices(lists).to_numpy()[bad]] = True
        return rows


def _n_values(encoded: pa.DictionaryArray) -> int:
    """How many values a row may have, null among them if one does."""
    return len(encoded.dictionary) + bool(encoded.null_count)


def _broken_by_value(encoded: Mapping[str, pa.DictionaryArray], node: Node) -> np.ndarray | None:
    """The rows that break a condition on the columns `encoded` alone: looked at is each combination of their values."""
    shape = [_n_values(one) for one in encoded.values()]
    places = np.unravel_index(np.arange(math.prod(shape)), shape)
    columns = {name: _at(one, place) for (name, one), place in zip(encoded.items(), places, strict=True)}
    bad = _false_rows(compute_tree(node, columns, rows=math.prod(shape)).cast(BOOLEAN))
    if bad is None:
        return None
    combinations, *more = (_indices(one) for one in encoded.values())
    for n_values, indices in zip(shape[1:], more, strict=True):
        combinations = combinations * n_values + indices
    rows: np.ndarray = bad.take(combinations)
    return rows if rows.any() else None  # a combination that no row has


def _indices(encoded: pa.DictionaryArray) -> np.ndarray:
    """The place of each row's value in the dictionary, of null the one behind it, as int32 (n_rows,)."""
    indices = encoded.indices.cast(pa.int32())  # the number of a combination may be beyond a narrower type
    found: np.ndarray = (pc.fill_null(indices, len(encoded.dictionary)) if encoded.null_count else indices).to_numpy()
    return found


def _at(encoded: pa.DictionaryArray, places: np.ndarray) -> pa.Array:
    """The values at `places` of the dictionary, null behind its last one."""
    values = plain(encoded.dictionary)
    return pa.concat_arrays([values, pa.nulls(1, values.type)]).take(pa.array(places))


def _false_rows(holds: pa.BooleanArray) -> np.ndarray | None:
    if pc.all(holds, min_count=0).as_py():
        return None  # most rules on most batches
    broken: np.ndarray = np.logical_not(pc.fill_null(holds, fill_value=True).to_numpy(zero_copy_only=False))
    return broken


def _assign(rule_index: np.ndarray, rules: Sequence[Rule], masks: Sequence[np.ndarray | None]) -> None:
    """Give each row its rule: written from the least severe and last to the most severe and first, which stays."""
    for action in SEVERITY:
        for index in reversed(range(len(rules))):
            mask = masks[index]
            if mask is not None and rules[index].action == action != Action.WARN:
                rule_index[mask] = index


def _limit_findings(rule: Rule, count: int, n_rows: int) -> Iterator[str]:
    if rule.action == Action.FAIL and count:
        yield f"{count} of {n_rows} rows break it, none may"
    elif rule.max_rows is not None and count > rule.max_rows:
        yield f"{count} of {n_rows} rows break it, at most {rule.max_rows} may"
    elif rule.max_percent is not None and n_rows and 100 * count > rule.max_percent * n_rows:
        yield f"{count} of {n_rows} rows break it ({100 * count / n_rows:.4g}%), at most {rule.max_percent:.4g}% may"
