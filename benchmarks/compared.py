"""Outputs of a rescore compared row by row: an oracle before any figure counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from measuring import require

TOLERANCE = 1e-6


def read_output(files: Sequence[str], keep: Sequence[str]) -> pa.Table:
    """Key columns and probabilities."""
    tables = [pq.read_table(path, columns=[*keep, "probability"]).replace_schema_metadata(None) for path in files]
    return pa.concat_tables([one for one in tables if one.num_rows], promote_options="permissive")


def compare_rows(name: str, got: pa.Table, expected: pa.Table, keep: Sequence[str]) -> float:
    """The largest difference of two probabilities of one row.

    Raises
    ------
    AssertionError : `name` lost, doubled or changed a row.
    """
    require(got.num_rows == expected.num_rows, f"{name}: {got.num_rows} rows, expected {expected.num_rows}")
    keys = [_key_codes(got.column(column), expected.column(column)) for column in keep]
    mine, theirs = np.asarray(got["probability"]), np.asarray(expected["probability"])
    require(bool(np.isfinite(mine).all()), f"{name}: every row has a probability")
    if not all((a == b).all() for a, b in keys):  # the order wasn't kept
        one, other = (np.lexsort((values, *(pair[side] for pair in keys))) for side, values in ((0, mine), (1, theirs)))
        keys, mine, theirs = [(a[one], b[other]) for a, b in keys], mine[one], theirs[other]
        require(all((a == b).all() for a, b in keys), f"{name}: the keys of its rows")
    worst = float(np.abs(mine - theirs).max(initial=0.0))
    require(worst <= TOLERANCE, f"{name}: a probability is {worst:.2g} off")
    return worst


def _key_codes(got: pa.ChunkedArray, expected: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Both columns as whole numbers that are equal where the values are."""
    one, other = _as_plain(got), _as_plain(expected)
    if pa.types.is_string(one.type):
        codes = pa.chunked_array([*one.chunks, *other.chunks]).dictionary_encode().unify_dictionaries()
        numbers = np.concatenate([np.asarray(pc.fill_null(chunk.indices, -1)) for chunk in codes.chunks])
        return numbers[: len(got)], numbers[len(got) :]
    return _whole_numbers(one), _whole_numbers(other)


def _whole_numbers(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.fill_null(column.cast(pa.int64()), np.iinfo(np.int64).min))


def _as_plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as string, times in microseconds without a zone: each engine writes its own."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us"), safe=False)
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column
