"""Counts, sums and the like over all rows with one key. Pure.

1. Rows are taken in the order of their table by one thread, so that equal tables give equal bits, sums of floats too.
2. A null is counted by `count` without a column alone; of nulls alone every other measure is null. NaN is a value, and
   greater than all other numbers: `min` finds it where there is nothing else, `max` and `last` wherever it is, and a
   sum or mean with it is NaN.
3. A sum of whole numbers that doesn't fit 64 bits, or of decimals that doesn't fit 38 digits, is an error, and never
   wraps around.
4. Where groups are the output, a null in the key is a value of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataops.declarations.aggregation import Aggregation, Measure
from dataops.errors import InvalidInput
from dataops.preparation.matching import ranks

_NEARLY_ALL = 0.999
_DIGITS = 38  # of the widest decimal of 128 bits
_MOST = float(2**63 - 2**11)  # surely below the greatest int64, whatever the float sum lost


def aggregation_type(asked: Aggregation, type_: pa.DataType | None) -> pa.DataType:
    """The type of what is `asked` of a column of `type_`; None where it is of rows.

    Raises
    ------
    InvalidInput : there is no such measure of such values.
    """
    if asked.measure is Measure.COUNT or type_ is None:
        return pa.int64()
    if asked.measure is Measure.LAST:
        return type_
    if pa.types.is_float16(type_):
        raise InvalidInput(f"{asked.measure} is of numbers that Arrow can add up, found {type_}; make it float first")
    numeric = pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal128(type_)
    if asked.measure in (Measure.MIN, Measure.MAX):
        if numeric or pa.types.is_temporal(type_):
            return type_
        raise InvalidInput(f"{asked.measure} is of numbers and times, found {type_}")
    if not (numeric or pa.types.is_boolean(type_)):
        raise InvalidInput(f"{asked.measure} is of numbers, found {type_}")
    if asked.measure is Measure.MEAN or pa.types.is_floating(type_):
        return pa.float64()
    return pa.decimal128(_DIGITS, type_.scale) if pa.types.is_decimal(type_) else pa.int64()


def aggregated(table: pa.Table, keys: Sequence[str], asked: Mapping[str, Aggregation]) -> pa.Table:
    """One row for each key of `table`: the columns `keys` and those that are `asked`, sorted by key, nulls last.

    Raises
    ------
    InvalidInput : a sum that doesn't fit.
    """
    groups, first = _groups([table.column(name) for name in keys])
    made = {name: table.column(name).take(pa.array(first)) for name in keys}
    for name, one in asked.items():
        made[name] = pa.chunked_array([_measured(table, one, groups, len(first), name)])
    whole = pa.table(made)
    return whole.take(pc.sort_indices(whole, sort_keys=[(name, "ascending") for name in keys]))


def _groups(columns: Sequence[pa.ChunkedArray]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The number of each row's group (n_rows,), and the first row of each group (n_groups,)."""
    groups, first = np.zeros(len(columns[0]), np.int64), np.zeros(0, np.int64)
    for column in columns:
        codes = column.combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
        both = groups * (int(codes.max(initial=0)) + 1) + codes
        _, first, groups = np.unique(both, return_index=True, return_inverse=True)
    return groups.astype(np.int64), first.astype(np.int64)


def _measured(table: pa.Table, asked: Aggregation, groups: npt.NDArray[np.int64], n_groups: int, name: str) -> pa.Array:
    """What is `asked` for each of `n_groups` groups."""
    if asked.column is None:
        return pa.array(np.bincount(groups, minlength=n_groups).astype(np.int64))
    values = table.column(asked.column)
    type_ = aggregation_type(asked, values.type)
    if asked.measure is Measure.LAST:
        assert asked.order is not None  # noqa: S101  # its text has both
        return values.combine_chunks().take(pa.array(_last(groups, table.column(asked.order), n_groups)))
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if asked.measure is Measure.MEAN:
        values = values.cast(pa.float64(), safe=False)
    if pa.types.is_duration(values.type):  # which Arrow has no least one of
        values = values.cast(pa.int64())
    if asked.measure is Measure.SUM and not pa.types.is_floating(values.type):
        _require_no_overflow(values, groups, name)
    found = _of_groups(groups, values, asked.measure).cast(type_)
    if asked.measure is Measure.MAX and pa.types.is_floating(values.type):
        odd = pc.fill_null(pc.is_nan(values), fill_value=False).to_numpy()
        found = pc.if_else(np.bincount(groups[odd], minlength=n_groups) > 0, pa.scalar(np.nan, type_), found)
    return found


def _of_groups(groups: npt.NDArray[np.int64], values: pa.ChunkedArray, measure: Measure) -> pa.Array:
    found = pa.table({"group": groups, "values": values}).group_by("group", use_threads=False)
    of_group = found.aggregate([("values", str(measure))])
    return of_group.sort_by("group").column(f"values_{measure}").combine_chunks()


def _last(groups: npt.NDArray[np.int64], order: pa.ChunkedArray, n_groups: int) -> npt.NDArray[np.int64]:
    """The row of each group that comes last by `order`; nulls come first, of equals the last of the table counts."""
    rows = np.lexsort((ranks(order), groups))  # stable: equal ones stay as they come
    found: npt.NDArray[np.int64] = rows[np.searchsorted(groups[rows], np.arange(n_groups), side="right") - 1]
    return found


def _require_no_overflow(values: pa.ChunkedArray, groups: npt.NDArray[np.int64], name: str) -> None:
    sums = _of_groups(groups, pc.abs(values.cast(pa.float64(), safe=False)), Measure.SUM)
    greatest = pc.max(sums).as_py() or 0.0
    if pa.types.is_decimal(values.type):
        if greatest >= _NEARLY_ALL * 10.0 ** (_DIGITS - values.type.scale):
            raise InvalidInput(f"{name}: a sum of decimals that doesn't fit {_DIGITS} digits; make them floats first")
    elif greatest >= _MOST:
        raise InvalidInput(f"{name}: a sum of whole numbers that doesn't fit 64 bits; make them floats first")
