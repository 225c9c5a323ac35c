"""Marks: what a column of ours says of the masks that its stored values carry. Pure.

1. A mark is ``<kind>:<digest of the mask>``: whoever reads the column later knows how strict the mask was, also when
   no rule names it any more.
2. Stored values satisfy a mask that they carry, and one that is weaker than a mask that they carry: where both are
   asked for, only the stricter is applied (`mask.STRICTNESS`), now as when the values were stored.
3. What was derived from several columns carries the marks of all of them, though only one of them may have been masked.
   There only the very mask counts, not a stricter one.
"""

from __future__ import annotations

from dataops.governance.contract import Column
from dataops.governance.mask import STRICTNESS, Mask, MaskKind


def mark(mask: Mask) -> str:
    """What a column says of `mask` once it is applied."""
    return f"{mask.kind}:{mask.digest}"


def carries(column: Column, mask: Mask) -> bool:
    """Whether the stored values of `column` show no more than `mask` would."""
    if mark(mask) in column.masks:
        return True
    if len(column.origins) > 1:
        return False
    return any(STRICTNESS.index(kind) < STRICTNESS.index(mask.kind) for kind in _kinds(column))


def _kinds(column: Column) -> list[MaskKind]:
    words = [entry.partition(":")[0] for entry in column.masks]
    return [MaskKind(word) for word in words if word in set(MaskKind)]
