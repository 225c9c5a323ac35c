"""What the summary and the encoder of a peer must have come to, before their seconds count.

1. Means, scales and categories are those that a job with standard scaling registered.
2. At least half of the rows are at most a median, and half at least. Dask's are approximate without a bound, and were
   seen to stray by a sixth of the rows where partitions differ: they aren't checked.
3. Encoded are all rows that are learnt from: the mean and the mean square of each column are what NumPy makes of those
   rows with our means, scales and categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from measuring import require

TEXTS = ("origin", "destination")
SAME = 1e-6


def learnt_rows(path: Path, categories: Mapping[str, list[str]]) -> np.ndarray:
    """The features float64 (n_rows, 8) of the flights in the file: numbers, then places among `categories` from 0."""
    flights = pq.read_table(path)
    date = flights["date"]
    numbers = [
        flights["distance"],
        pc.month(date),
        pc.day(date),
        pc.day_of_week(date, count_from_zero=False, week_start=1),
        pc.hour(date),
        pc.minute(date),
    ]
    codes = [pc.index_in(flights[name], pa.array(categories[name], flights[name].type)) for name in TEXTS]
    return np.column_stack([one.to_numpy().astype(np.float64) for one in (*numbers, *codes)])


def check_summary(name: str, theirs: Mapping[str, Any], scaled: Mapping[str, Any]) -> None:
    """The peer found what we did.

    Parameters
    ----------
    scaled : what the job with standard scaling found.

    Raises
    ------
    AssertionError : it didn't.
    """
    for what in ("means", "scales"):
        apart = np.abs(np.array(theirs[what]) / np.array(scaled[what]) - 1).max()
        require(bool(apart <= SAME), f"{name}'s {what} are {apart:.1e} apart from ours")
    require(theirs["categories"] == scaled["categories"], f"{name}'s categories aren't ours")
    print(f"  checked: {name}'s means, scales and categories are ours to {SAME:g}", flush=True)


def check_medians(name: str, medians: Sequence[float], rows: np.ndarray) -> None:
    """Each is a median of its column of `rows`, of `learnt_rows`.

    Raises
    ------
    AssertionError : one isn't.
    """
    for place, median in enumerate(medians):
        at_most, at_least = np.mean(rows[:, place] <= median), np.mean(rows[:, place] >= median)
        found = f"{at_most:.1%} of the rows are at most {name}'s median {place + 1}, {at_least:.1%} at least"
        require(bool(min(at_most, at_least) >= 0.5), found)
    print(f"  checked: {name}'s medians are medians", flush=True)


def check_encoded(
    name: str, encoded: Mapping[str, Any], scaled: Mapping[str, Any], rows: np.ndarray, copies: int
) -> None:
    """The peer encoded those rows, `copies` times.

    Parameters
    ----------
    encoded : ``rows``, and by column ``means`` and ``squares``, the means of the squared values.
    scaled : see `check_summary`.
    rows : of `learnt_rows`.

    Raises
    ------
    AssertionError : it didn't.
    """
    require(encoded["rows"] == copies * len(rows), f"{name} encoded {encoded['rows']} rows, not {copies * len(rows)}")
    n_numbers = len(scaled["means"])
    for place in range(rows.shape[1]):
        column = rows[:, place]
        if place < n_numbers:
            column = (column - scaled["means"][place]) / scaled["scales"][place]
        for what, ours in (("means", column.mean()), ("squares", np.square(column).mean())):
            apart = abs(encoded[what][place] - ours) / max(1.0, ours)
            require(bool(apart <= SAME), f"{what} of {name}'s encoded column {place + 1} are {apart:.1e} off")
    print(f"  checked: what {name} encoded is the rows that are learnt from, to {SAME:g}", flush=True)
