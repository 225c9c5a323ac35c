"""Which rows a model was judged on, as digests that are kept with its figures.

1. Figures of two models say something of each other if the rows, their outcomes and their parting into slices were the
   same. The snapshot says which data; the selection says what was taken of it: target, side of the split, known
   outcomes, `where`, the policy's filters and masks, the contract's rules.
2. What doesn't decide that leaves a digest as it is: features, roles, descriptions, masks of other columns.
3. Slices have digests of their own: a version that is judged by one slice more can still be compared.
"""

from __future__ import annotations

from collections.abc import Collection

from dataops.declarations.metrics import Task
from dataops.governance.contract import Action, Contract
from dataops.records import Record, canonical_bytes, digest
from dataops.training.reading import HOLDOUT_EVERY, Selection

SELECTION, ROWS, SLICES = "selection", "rows", "slices"


def selection_digests(selection: Selection) -> Record:
    """``rows``: digest of all that decides which rows are judged and what their outcomes are; ``slices``: by column,
    digest of all that decides which of them have which value.
    """
    effect, labelled = selection.source.effect, selection.labelled
    split = selection.split_column or HOLDOUT_EVERY
    rows = {
        "target": selection.target.sql,
        "labelled": None if labelled is None else labelled.sql,
        "weight": selection.weight,
        **({} if selection.task is Task.BINARY else {"task": str(selection.task)}),  # it sets other rows aside
        "side": selection.side,
        "split": None if selection.side is None else split,
        "filters": sorted(effect.filters),
        "contract": _what_drops_rows(selection.source.contract),
        "columns": _made(selection, {*selection.target.columns, *(labelled.columns if labelled else ())}),
    }
    least = effect.min_group_size  # values of fewer rows are one
    slices = {name: digest({"min_group_size": least, **_made(selection, {name})}) for name in selection.slices}
    return {ROWS: digest(rows), SLICES: slices}


def _what_drops_rows(contract: Contract) -> list[Record]:
    """The contract's rules, as far as they set rows aside; in an order of their own."""
    rules = [
        {"kind": str(rule.kind), "column": rule.column, "arguments": dict(rule.arguments), "action": str(rule.action)}
        for rule in contract.rules
        if rule.action in (Action.DROP, Action.QUARANTINE)  # others keep their rows, or nothing comes of the run
    ]
    return sorted(rules, key=canonical_bytes)


def _made(selection: Selection, columns: Collection[str]) -> Record:
    """How `columns`, and those that decide which rows there are, come to be: steps, and types and masks of what is
    read.
    """
    steps = selection.steps.needed_for(columns)
    read = {*steps.sources_for(columns), *((selection.split_column,) if selection.split_column else ())}
    masks = {name: selection.source.effect.columns.get(name) for name in read}
    return {
        "steps": steps.record(),
        "types": {column.name: str(column.type) for column in selection.source.contract.columns if column.name in read},
        "masks": {name: mask.record() for name, mask in masks.items() if mask is not None},
    }
