"""Columns of a made dataset by what their origins are classified as today, not only by what they were. Pure.

1. A made column came from the columns of its `origins`, or from the one that has its name, in the contracts of the
   datasets that it was made from. What these say today counts beside what was stored with the column: a tag that was
   added at the source binds what was made before, and one that was taken away there stays here.
2. So a rule that restricts needs one of the tags, then or now, and a rule that allows needs all of them.
3. A mask that a whole classification carried (``...#pii.quasi``) holds on only if every origin that has the tag today
   carries it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from dataops.governance.contract import UNCLASSIFIED, Column, Contract
from dataops.governance.marks import marks_by_subject
from dataops.governance.names import folded
from dataops.governance.rules import classifications_of

Tags = Mapping[str, frozenset[str]]  # classifications by folded column name


def retagged(contract: Contract, today: Iterable[Contract]) -> Contract:
    """`contract` of a made dataset, with the classifications that the contracts of its ancestors give today."""
    tags: dict[str, frozenset[str]] = {}
    for column in (column for one in today for column in one.columns):
        name = folded(column.name)
        tags[name] = tags.get(name, frozenset()) | classifications_of(column)
    return replace(contract, columns=tuple(_retagged(column, tags) for column in contract.columns))


def _retagged(column: Column, today: Tags) -> Column:
    of_origin = {name: today.get(folded(name), frozenset()) for name in column.origins or (column.name,)}
    found = frozenset[str]().union(*of_origin.values())
    if not found:
        return column
    added = sorted(found - classifications_of(column))
    tags = (column.classification or UNCLASSIFIED).split("+")
    classification = "+".join(sorted([*tags, *added])) if added else column.classification
    return replace(column, classification=classification, masks=_masks(column, of_origin, found))


def _masks(column: Column, of_origin: Tags, found: Iterable[str]) -> tuple[str, ...]:
    """The marks of `column`, those of classifications as they hold for the tags of today."""
    if len(column.origins) <= 1:
        return column.masks
    stored = marks_by_subject(column)
    carried = dict(stored)
    for tag in found:
        holders = [stored[f"@{name}"] for name, tags in of_origin.items() if tag in tags]
        before = [stored[f"#{tag}"]] if f"#{tag}" in stored else []
        carried[f"#{tag}"] = frozenset.intersection(*before, *holders)
    held = {f"{one}{about}" for about, marks in carried.items() for one in marks}
    return column.masks if held == set(column.masks) else tuple(sorted(held))
