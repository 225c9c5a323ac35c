"""Rows as applications have them, as a table: Arrow, a DataFrame, or a list of dicts.

1. A key that a row lacks is an error, not a null: a misspelt name would be a wrong answer for every row. Unknown values
   are given as None. Keys that the model doesn't read are left alone.
2. In dicts, times and decimals may be text, as JSON has them.
3. No message holds a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from dataops.errors import InvalidInput, near_match
from dataops.features.columns import array_of

_EXPECTED = "expected an Arrow table, a DataFrame or a list of dicts"


def table_of(data: Any, schema: pa.Schema) -> pa.Table:
    """`data` as a table that has the columns of `schema`, as far as `data` has them.

    Parameters
    ----------
    data : a table or record batch, a DataFrame (anything that offers ``__arrow_c_stream__``), or a list of dicts.
    schema : the columns that are read, with their types.

    Raises
    ------
    InvalidInput : none of these, a row without a column, or values that no column can hold.
    """
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, list | tuple):
        return _table_of_rows(data, schema)
    if isinstance(data, Mapping):
        raise InvalidInput(f"one dict is not rows: {_EXPECTED}; for one row, a list of one dict")
    if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
        return _table_of_frame(data, schema)
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise InvalidInput(f"rows can't be given as {type(data).__name__}: {_EXPECTED}")


def _table_of_frame(frame: Any, schema: pa.Schema) -> pa.Table:
    """The columns that are read, of a pandas DataFrame: others may hold what Arrow can't."""
    names = [name for name in schema.names if name in frame.columns]
    try:
        return pa.Table.from_pandas(frame[names], preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError):
        raise InvalidInput(f"a column of the DataFrame holds values of several types: one of {names}") from None


def _table_of_rows(rows: Sequence[Any], schema: pa.Schema) -> pa.Table:
    if not all(isinstance(row, Mapping) for row in rows):
        raise InvalidInput(f"a row is not a dict: {_EXPECTED}")
    try:
        columns = {field.name: [row[field.name] for row in rows] for field in schema}
    except KeyError:
        raise InvalidInput(_missing(rows, schema.names)) from None
    return pa.table({field.name: _column(columns[field.name], field) for field in schema})


def _missing(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    lacking = {name: sum(name not in row for row in rows) for name in names}
    listed = "; ".join(
        f"'{name}' in {count} of {len(rows)} rows.{near_match(name, [str(key) for key in rows[0]])}"
        for name, count in lacking.items()
        if count
    )
    return f"rows lack columns that the model reads: {listed} Give None where a value is unknown"


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pa.nulls(len(values), field.type)
    if kinds == {str, float}:  # pandas writes NaN for a text that is missing
        values = [None if value != value else value for value in values]  # noqa: PLR0124 - what NaN alone is
        kinds = {type(value) for value in values if value is not None}
    try:
        column = array_of(values)
        is_text = kinds == {str} and not (pt.is_string(field.type) or pt.is_large_string(field.type))
        as_text = is_text and (pt.is_temporal(field.type) or pt.is_decimal(field.type))
        return pc.cast(column, field.type) if as_text else column
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InvalidInput(
            f"column '{field.name}' holds {found}, which can't be read as {field.type}: the model was trained on that"
        ) from None
