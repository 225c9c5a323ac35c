"""Marks: what a column of ours says of the masks that its stored values carry, and which mask is put on it. Pure.

1. A mark is ``<kind>:<digest of the mask>``: whoever reads the column later knows what was done to it, also when no
   rule names it any more.
2. Stored values satisfy the very mask that they carry, and any mask if they carry one that says nothing about a value
   (`mask.overrules`). Any other mask is put on what is stored, and shows no more than that.
3. What was derived from several columns has a mark for each of them that carried it (``...@age``) and for each
   classification of which all did (``...#pii.quasi``). A rule is satisfied if all that it is about is: a mask that one
   column had says nothing of the others.
4. What is pending is put on. Of several masks that are asked for one can stand in for the others only if it says
   nothing about a value. Two different ones that both show something have no choice that surely shows no more than
   either, so there is none, also if a third would overrule them: one more rule must not turn a no into a view.
5. What shows of a pseudonym too little to know anyone by (the side that a row was split to) satisfies every pseudonym
   of that domain, under whichever key and for whichever purpose (`side_marks`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from dataops.errors import InvalidInput
from dataops.governance.contract import Column
from dataops.governance.mask import VALUE_FREE, Mask, MaskKind, overrules
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


def derived_origins(sources: Iterable[Column]) -> tuple[str, ...]:
    """The origins of what is derived from `sources`: their own, back to the columns of a contract."""
    return tuple(sorted({name for source in sources for name in _origins(source)}))


def derived_marks(sources: Sequence[Column]) -> tuple[str, ...]:
    """The marks of what is derived from `sources`."""
    if len(derived_origins(sources)) == 1:  # one may show what another one hides
        common = frozenset.intersection(*(frozenset(source.masks) for source in sources))
        return tuple(entry for entry in dict.fromkeys(sources[0].masks) if entry in common)
    shared: dict[str, frozenset[str]] = {}
    for source in sources:
        for about, carried in marks_by_subject(source).items():
            shared[about] = shared.get(about, carried) & carried
    return tuple(sorted(f"{one}{about}" for about, carried in shared.items() for one in carried))


def side_marks(keys: Sequence[Column], masks: Iterable[Mask]) -> tuple[str, ...]:
    """The marks of the side that rows are split to by `keys`.

    Parameters
    ----------
    masks
        Those that the keys may carry: of a pseudonym among them the side has the mark without key and purpose too.
    """
    unbound = {mark(mask): mark(_unbound(mask)) for mask in masks if mask.kind == MaskKind.PSEUDONYM}
    entries = derived_marks(keys)
    bare = [(entry, _ENTRY.split(entry, maxsplit=1)[0]) for entry in entries]
    more = [entry.replace(one, unbound[one], 1) for entry, one in bare if one in unbound]
    return tuple(dict.fromkeys([*entries, *more]))


def _unbound(mask: Mask) -> Mask:
    return replace(mask, key_id=None, purpose=None)


def _origins(column: Column) -> tuple[str, ...]:
    return column.origins or (column.name,)


def marks_by_subject(column: Column) -> dict[str, frozenset[str]]:
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
        return _satisfies(column.masks, mask)
    carried = marks_by_subject(column)
    return all(_satisfies(carried[about], mask) for rule in rules for about in _subjects(rule, column))


def _satisfies(carried: Collection[str], mask: Mask) -> bool:
    if mark(mask) in carried or mark(_unbound(mask)) in carried:
        return True
    return any(overrules(MaskKind(entry.partition(":")[0]), mask.kind) for entry in carried)


def _subjects(rule: Rule, column: Column) -> list[str]:
    """What of `column` the rule is about."""
    if rule.mentions(replace(column, origins=())):  # the column itself, by the name that a job gave it
        return [f"@{name}" for name in column.origins]
    named = [name for name in column.origins if rule.mentions(replace(column, name=name, origins=()))]
    return [*(f"@{name}" for name in named), *(f"#{tag}" for tag in rule.covered(column))]


def mask_finding(column: Column, asked: Asked) -> str | None:
    """Why no mask can be chosen, if so.

    All masks are looked at, also those that another one overrules: else one more rule could turn a no into a view.
    """
    pending = pending_masks(column, asked)
    for together in (*_asked_together(column, asked), pending):
        if listed := _different(together):
            return f"the policies ask for different masks ({listed}), and neither surely shows less than the other"
    for mask in pending:
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


def _asked_together(column: Column, asked: Asked) -> Iterator[list[Mask]]:
    """The masks that are asked for one and the same value: of a column made of several, for one origin or class."""
    if len(column.origins) <= 1:
        yield [mask for _, mask in asked]
        return
    of_subject: dict[str, list[Mask]] = {}
    for rule, mask in asked:
        for about in _subjects(rule, column):
            of_subject.setdefault(about, []).append(mask)
    yield from of_subject.values()


def _different(masks: Iterable[Mask]) -> str:
    """The masks among `masks` of which none stands in for another, spelled; empty where there aren't two."""
    showing = dict.fromkeys(mask for mask in masks if mask.kind not in VALUE_FREE)
    constants = dict.fromkeys(mask for mask in masks if mask.kind == MaskKind.CONSTANT)
    for different in (showing, constants):
        if len(different) > 1:
            return ", ".join(sorted(map(str, different)))
    return ""


def chosen_mask(masks: Iterable[Mask]) -> Mask:
    """The one of `masks` that stands in for all, where `mask_finding` has nothing against them."""
    return min(masks, key=lambda mask: (list(MaskKind).index(mask.kind), str(mask), mask.digest))
