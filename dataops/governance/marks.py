"""Marks: what a column of ours says of the masks that its stored values carry, and which mask is put on it. Pure.

1. A mark is ``<kind>:<digest of the mask>``: whoever reads the column later knows how strict the mask was, also when
   no rule names it any more.
2. Stored values satisfy a mask that they carry, and one that is weaker than a mask that they carry: where both are
   asked for, only the stricter is applied (`mask.STRICTNESS`), now as when the values were stored.
3. What was derived from several columns has a mark for each of them that carried it (``...@age``) and for each
   classification of which all did (``...#pii.quasi``). A rule is satisfied if all that it is about carries its very
   mask: a mask that one column had says nothing of the others.
4. What is pending is put on: the strictest mask that isn't carried yet. Where no choice is safe there is none, also if
   a stricter mask would overrule the doubtful one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dataops.errors import InvalidInput
from dataops.governance.contract import Column
from dataops.governance.mask import STRICTNESS, Mask, MaskKind
from dataops.governance.masking import output_type
from dataops.governance.rules import Rule, classifications_of

Asked = Sequence[tuple[Rule, Mask]]  # rules that mask a column, each with its mask as it is put on

_ENTRY = re.compile("[@#]")


def mark(mask: Mask) -> str:
    """What a column says of `mask` once it is applied."""
    return f"{mask.kind}:{mask.digest}"


def plain_marks(column: Column) -> frozenset[str]:
    """The marks of `column`, whichever of the columns that it was derived from had them."""
    return frozenset(_ENTRY.split(entry, maxsplit=1)[0] for entry in column.masks)


def derived_marks(sources: Sequence[Column]) -> tuple[str, ...]:
    """The marks of what is derived from `sources`."""
    names = {name for source in sources for name in _origins(source)}
    if len(names) == 1:
        return tuple(dict.fromkeys(entry for source in sources for entry in source.masks))
    shared: dict[str, frozenset[str]] = {}
    for source in sources:
        for about, carried in _by_subject(source).items():
            shared[about] = shared.get(about, carried) & carried
    return tuple(sorted(f"{one}{about}" for about, carried in shared.items() for one in carried))


def _origins(column: Column) -> tuple[str, ...]:
    return column.origins or (column.name,)


def _by_subject(column: Column) -> dict[str, frozenset[str]]:
    """The marks that ``@origin`` and ``#classification`` carry in `column`, for all that it has."""
    subjects = [f"@{name}" for name in _origins(column)] + [f"#{tag}" for tag in sorted(classifications_of(column))]
    if len(column.origins) <= 1:
        return dict.fromkeys(subjects, frozenset(column.masks))
    return {
        about: frozenset(entry.removesuffix(about) for entry in column.masks if entry.endswith(about))
        for about in subjects
    }


def carries(column: Column, mask: Mask, rules: Iterable[Rule]) -> bool:
    """Whether the stored values of `column` show no more than `mask`, which `rules` ask for, would."""
    if len(column.origins) <= 1:
        stricter = STRICTNESS[: STRICTNESS.index(mask.kind)]
        return mark(mask) in column.masks or any(entry.partition(":")[0] in stricter for entry in column.masks)
    carried = _by_subject(column)
    return all(mark(mask) in carried[about] for rule in rules for about in _subjects(rule, column))


def _subjects(rule: Rule, column: Column) -> list[str]:
    """What of `column` the rule is about."""
    if rule.mentions(replace(column, origins=())):  # the column itself, by the name that a job gave it
        return [f"@{name}" for name in column.origins]
    named = [name for name in column.origins if rule.mentions(replace(column, name=name, origins=()))]
    return [*(f"@{name}" for name in named), *(f"#{tag}" for tag in rule.covered(column))]


def mask_finding(column: Column, asked: Asked) -> str | None:
    """Why no mask can be chosen, if so.

    All masks are looked at, also those that a stricter one overrules: else one more rule could turn a no into a view.
    """
    for kind in STRICTNESS:
        different = {mask.digest: str(mask) for _, mask in asked if mask.kind == kind}
        if len(different) > 1:
            listed = ", ".join(sorted(different.values()))
            return f"the policies ask for different masks ({listed}) and none is the stricter"
    for mask in pending_masks(column, asked):
        if mask.kind == MaskKind.PSEUDONYM and mask.key_id is None:
            return "its pseudonym needs a key and there is none (`dataops keys init` makes one)"
        try:
            _ = mask.kind == MaskKind.DROP or output_type(mask, column.type)
        except InvalidInput as error:
            return str(error)
    return None


def pending_masks(column: Column, asked: Asked) -> list[Mask]:
    """Those of the masks that the stored values don't carry yet."""
    by_mask: dict[Mask, list[Rule]] = {}
    for rule, mask in asked:
        by_mask.setdefault(mask, []).append(rule)
    return [mask for mask, rules in by_mask.items() if not carries(column, mask, rules)]


def strictest(masks: Iterable[Mask]) -> Mask:
    """The first of `masks` in the order of `mask.STRICTNESS`."""
    return min(masks, key=lambda mask: STRICTNESS.index(mask.kind))
