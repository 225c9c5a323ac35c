"""Expressions: SQL over the columns of one row, computed for whole tables at once.

Policies filter with them, contracts check with them, jobs derive with them. One language for all three::

    + - * / %   = <> < <= > >=   and or not   is [not] null/true/false   [not] in (..) between like ilike   case
    coalesce nullif least greatest cast abs round floor ceil sqrt ln exp mod
    lower upper trim length substring concat ||   extract(year from ..)   cut(x, 10, 20) -> '..10' '10..20' '20..'

1. The lists are closed (`expression_grammar`): no subqueries, aggregates, windows, attributes, clock or chance. A part
   of a nested column is a column named by its path: ``address.street``.
2. An expression sees one row. Any split of the rows gives the same values.
3. No row can make it fail: division by zero, overflow and bad casts are null. Whether rows that the reader can't see
   would have failed makes no difference, and no message ever holds a value.
4. Types are decided by the schema alone: what passes `result_type` can be evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import Compute, InvalidInput, near_match
from dataops.governance.column_types import spell_type
from dataops.governance.expression_operations import OPERATIONS
from dataops.governance.expression_tree import Constant, Name, Node, RefusedError, columns_of
from dataops.governance.expression_values import BOOLEAN, NULL, Value, plain, plain_type, scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """An expression that was parsed once: its SQL, and the columns it reads (sorted, distinct).

    Its tree goes along with it: a worker that is given it needs no parser, whose import takes a quarter of a second.
    """

    sql: str
    columns: tuple[str, ...]
    tree: Node = field(repr=False)


def parse_expression(text: str, *, where: str) -> Expression:
    """The expression that `text` says.

    Parameters
    ----------
    text
        SQL, at most 4096 characters.
    where
        The place of the text (``jobs/x.yaml:12``), for messages.

    Raises
    ------
    InvalidInput : it isn't in the language; the message starts with `where`.
    """
    from dataops.governance.expression_syntax import parse_tree  # sqlglot: many a process is told all it needs

    tree = parse_tree(text, where=where)
    return Expression(sql=text, columns=tuple(sorted(columns_of(tree))), tree=tree)


def result_type(expression: Expression, schema: pa.Schema, *, where: str) -> pa.DataType:
    """The type of `expression` over `schema`, one of `expression_values`.

    Raises
    ------
    InvalidInput : a column that isn't there (with its near match) or is there twice; types that don't fit.
    """
    _require_columns(expression, schema, where=where)
    columns = {name: pa.nulls(0, schema.field(name).type) for name in expression.columns}
    return _computed(expression, columns, rows=0, where=where).type


def evaluate(expression: Expression, table: pa.Table) -> pa.ChunkedArray:
    """The value of `expression` in every row of `table`, of the type that `result_type` says.

    Raises
    ------
    InvalidInput : a column that isn't there, or types that don't fit.
    Compute : Arrow failed (out of memory, more than 2 GB of text in a batch).
    """
    where = f"expression over {', '.join(expression.columns) or 'no columns'}"
    kind = result_type(expression, table.schema, where=where)
    if not expression.columns:
        return pa.chunked_array([_computed(expression, {}, rows=table.num_rows, where=where)], kind)
    batches = table.select(list(expression.columns)).to_batches()
    chunks = [
        _computed(expression, dict(zip(batch.schema.names, batch.columns, strict=True)), rows=len(batch), where=where)
        for batch in batches
    ]
    return pa.chunked_array(chunks, kind)


def evaluate_predicate(expression: Expression, table: pa.Table) -> pa.ChunkedArray:
    """Whether `expression` is true, in every row: boolean without nulls, unknown is false.

    Raises
    ------
    InvalidInput : as `evaluate`, and an expression that isn't a condition.
    """
    values = evaluate(expression, table)
    if values.type not in (BOOLEAN, NULL):
        raise InvalidInput(f"expected a condition (true or false), found an expression of type {values.type}")
    return pc.fill_null(values.cast(BOOLEAN), fill_value=False)


@lru_cache(maxsize=1024)
def tree_of(sql: str) -> Node:
    """The tree of an expression that was parsed before, from memory where it can.

    Raises
    ------
    InvalidInput : it isn't in the language.
    """
    return parse_expression(sql, where="expression").tree


def compute_tree(node: Node, columns: Mapping[str, pa.Array], *, rows: int) -> pa.Array:
    """The value of `node` in each of `rows` rows; below `evaluate`, for conditions that were built, not written.

    Parameters
    ----------
    node
        A tree of `expression_tree`.
    columns
        The columns that it reads, each of `rows` values that went through `expression_values.plain`.
    rows
        How many rows there are.

    Raises
    ------
    RefusedError : types that don't fit.
    """
    return _filled(_value(node, columns, rows), rows)


def _require_columns(expression: Expression, schema: pa.Schema, *, where: str) -> None:
    findings = [finding for name in expression.columns for finding in _column_findings(name, schema)]
    if findings:
        raise InvalidInput("\n".join(f"{where}: {finding}" for finding in findings))


def _column_findings(name: str, schema: pa.Schema) -> Iterable[str]:
    found = len(schema.get_all_field_indices(name))
    if found == 0:
        yield f"unknown column {name!r}.{near_match(name, schema.names)}"
    elif found > 1:
        yield f"{found} columns are named {name!r}"
    elif plain_type(schema.field(name).type) is None:
        kind = schema.field(name).type
        hint = ": rules of a contract look at each element" if pa.types.is_list(kind) else ""
        yield f"column {name!r} is {spell_type(kind)}, which expressions don't take{hint}"


def _computed(expression: Expression, columns: Mapping[str, pa.Array], *, rows: int, where: str) -> pa.Array:
    try:
        values = {name: plain(array) for name, array in columns.items()}
        return compute_tree(expression.tree, values, rows=rows)
    except RefusedError as refused:
        raise InvalidInput(f"{where}: {refused}") from None
    except pa.ArrowException as error:
        # Arrow's text may quote a row's value: only the kind of failure leaves
        raise Compute(f"{where}: could not be computed for {rows} rows ({type(error).__name__})") from None


def _value(node: Node, columns: Mapping[str, pa.Array], rows: int) -> Value:
    if isinstance(node, Name):
        return columns[node.column]
    if isinstance(node, Constant):
        return scalar(node.value)
    values = [_value(argument, columns, rows) for argument in node.arguments]
    if not any(isinstance(value, pa.Array) for value in values):
        values[0] = _filled(values[0], rows)
    return _filled(OPERATIONS[node.operation](values, node.parameter), rows)


def _filled(value: Value, rows: int) -> pa.Array:
    """A scalar as a column of `rows` rows; an array as it is."""
    return pa.repeat(value, rows) if isinstance(value, pa.Scalar) else value
