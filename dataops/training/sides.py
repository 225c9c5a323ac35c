"""Training rows in two: whole groups of them (`dataops.training.groups`) held out, the others to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dataops.records import new_nonce
from dataops.training.boosting_ranks import groups_of, held_out_rows
from dataops.training.groups import GROUPS
from dataops.training.parts import EncodedPart, PartsOnCluster, Stored, held, map_parts, submit
from dataops.training.spilled import spill_part

_BY_ROW = ("target", "weight", "groups", "ranks")

Numbers = npt.NDArray[np.uint8]


def side_of(
    parts: PartsOnCluster, groups: int, *, held_out: bool, renumbered: bool = False, name: str = "side"
) -> PartsOnCluster:
    """The rows of `parts` that are (or aren't) of the first `groups` groups, each part where it lies.

    Parameters
    ----------
    renumbered : the groups that are left are counted anew, so that whoever holds out the first ones holds out some of
        these: see `numbered_anew`.
    name : what tasks are called.
    """
    counts = np.array(map_parts(parts, rows_by_group), np.int64).reshape(-1, GROUPS)
    counts[:, groups:] *= not held_out
    counts[:, :groups] *= held_out
    numbers = numbered_anew(counts.sum(axis=0)) if renumbered else None
    key = f"{name}-{new_nonce()}"
    futures = tuple(
        submit(parts.client, _of_side, future, groups, held_out, numbers, key=f"{key}-{unit}")
        for unit, future in enumerate(parts.futures)
    )
    return replace(parts, futures=futures, rows=tuple(counts.sum(axis=1).tolist()))


def rows_by_group(part: EncodedPart, _argument: None = None) -> npt.NDArray[np.int64]:
    """How many rows of `part` each group has, int64 (GROUPS,)."""
    return np.bincount(groups_of(part), minlength=GROUPS)


def numbered_anew(rows: Sequence[int] | npt.NDArray[np.int64]) -> Numbers:
    """The new number of each group, uint8 (GROUPS,): by the share of all rows that groups before it have, in whole
    32ths. So the first group that has rows is number 0, and the first n groups hold about n of 32 of the rows, however
    many groups there are: of a split by time a group is a whole day or hour at least, which may have many rows.

    Parameters
    ----------
    rows : of each group, those that are left, ``(GROUPS,)``.
    """
    counts = np.array(rows, np.int64)
    before = np.cumsum(counts) - counts
    return (before * GROUPS // max(int(counts.sum()), 1)).clip(max=GROUPS - 1).astype(np.uint8)


def _of_side(
    given: EncodedPart | Stored,
    groups: int,
    held_out: bool,  # noqa: FBT001  # a task's arguments
    numbers: Numbers | None,
) -> EncodedPart | Stored:
    part = held(given)
    chosen = np.flatnonzero(held_out_rows(part, groups) == held_out)
    by_row = {name: getattr(part, name, None) for name in _BY_ROW}
    taken = {name: values[chosen] for name, values in by_row.items() if values is not None}
    if numbers is not None and "groups" in taken:
        taken["groups"] = numbers[taken["groups"]]
    side = replace(part, encoded=part.encoded.of_rows(chosen), slices={}, **taken)
    return side if isinstance(given, EncodedPart) else spill_part(side)
