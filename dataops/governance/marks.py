"""Marks: what a column of ours says of the masks that its stored values carry, and which mask is put on it. Pure.

1. A mark is ``<kind>:<digest of the mask>``: whoever reads the column later knows how strict the mask was, also when
   no rule names it any more.
2. Stored values satisfy a mask that they carry, and one that is weaker than a mask that they carry: where both are
   asked for, only the stricter is applied (`mask.STRICTNESS`), now as when the values were stored.
3. What was derived from several columns carries the marks of all of them, though only one of them may have been masked.
   There only the very mask counts, not a stricter one.
4. What is pending is put on: the strictest mask that isn't carried yet. Where no choice is safe there is none, also if
   a stricter mask would overrule the doubtful one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from dataops.errors import InvalidInput
from dataops.governance.contract import Column
from dataops.governance.mask import STRICTNESS, Mask, MaskKind
from dataops.governance.masking import output_type


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


def mask_finding(column: Column, masks: Sequence[Mask]) -> str | None:
    """Why no mask can be chosen, if so.

    All masks are looked at, also those that a stricter one overrules: else one more rule could turn a no into a view.
    """
    for kind in STRICTNESS:
        different = {mask.digest: str(mask) for mask in masks if mask.kind == kind}
        if len(different) > 1:
            listed = ", ".join(sorted(different.values()))
            return f"the policies ask for different masks ({listed}) and none is the stricter"
    for mask in _pending(column, masks):
        if mask.kind == MaskKind.PSEUDONYM and mask.key_id is None:
            return "its pseudonym needs a key and there is none (`dataops keys init` makes one)"
        try:
            _ = mask.kind == MaskKind.DROP or output_type(mask, column.type)
        except InvalidInput as error:
            return str(error)
    return None


def _pending(column: Column, masks: Iterable[Mask]) -> list[Mask]:
    """Those of `masks` that the stored values don't carry yet."""
    return [mask for mask in masks if not carries(column, mask)]


def deciding_mask(column: Column, masks: Collection[Mask]) -> Mask:
    """The strictest of `masks` that the stored values don't carry yet, or of all where they carry all."""
    return min(_pending(column, masks) or masks, key=lambda mask: STRICTNESS.index(mask.kind))
