"""Whether two versions were judged on the same rows: only then do their figures say something of each other.

1. The data has to be the same (snapshot), and what was taken of it (selection: see `dataops.training.selection`), by
   the digests that each version keeps; and as many rows, which follows from both.
2. A version of an earlier release keeps no selection. Nobody knows its rows, so it is compared with nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SELECTION, ROWS, SLICES = "selection", "rows", "slices"


def other_rows(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], column: str | None, rows: tuple[int | None, int | None]
) -> str:
    """Why figures of these two evaluations can't be compared, or "".

    Parameters
    ----------
    ours, theirs : reports of the candidate and of the champion on one dataset.
    column : what the rows are a slice by; None for all rows.
    rows : how many there are of the candidate's and of the champion's.
    """
    if ours.get("snapshot") != theirs.get("snapshot"):
        return "the champion was evaluated on another snapshot: evaluate both on the same one"
    for who, report in (("the candidate", ours), ("the champion", theirs)):
        if _selected(report, column) is None:
            return f"nobody kept which rows {who} was evaluated on (an earlier release): train it anew"
    if _selected(ours, None) != _selected(theirs, None):
        return (
            "the champion was evaluated on rows that were chosen otherwise (target, split, filters, masks or rules of "
            "the contract changed since): evaluate both alike"
        )
    if _selected(ours, column) != _selected(theirs, column):
        return (
            f"the champion's slices by {column} were made otherwise (masks or steps changed since): evaluate both alike"
        )
    for our_rows, their_rows in ((ours.get("rows"), theirs.get("rows")), rows):
        if our_rows != their_rows:
            return (
                f"the champion was evaluated on other rows ({their_rows}, here {our_rows}): evaluate both on the same"
            )
    return ""


def _selected(report: Mapping[str, Any], column: str | None) -> str | None:
    """Digest of what was taken of the snapshot, or of how its slices by `column` were made; None: nobody kept it."""
    selection = report.get(SELECTION)
    if not isinstance(selection, Mapping) or not isinstance(selection.get(ROWS), str):
        return None
    if column is None:
        return str(selection[ROWS])
    slices = selection.get(SLICES)
    found = slices.get(column) if isinstance(slices, Mapping) else None
    return found if isinstance(found, str) else None
