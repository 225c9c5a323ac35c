"""Kinds: whether rows that a run would write can stand beside rows that are there, as one dataset.

1. A column is of the same kind where its name, type, class and masks are. Whether it is required, and what its
   description says, changes no value.
2. Of scores more counts than their columns: what decides which rows there are, and what a score is turned into. A
   manifest keeps that (`made_by`), policy and contract as digests: they may hold values of rows.
3. Of what columns a score was derived decides who may read it, and readers see one dataset by its newest manifest's
   columns (`snapshot`): a model with other features makes rows of another kind, or its older rows would be read under
   the newer ones' rules.
4. Model, code, and what is only counted may differ: each manifest says which version scored its rows. Features are
   masked as their model learnt them, or it is refused (`rescoring.plan`): their masks move with the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dataops.datasets.access import GovernedInput
from dataops.governance.contract import Column
from dataops.records import Record, digest
from dataops.rescoring.plan import ScorePlan

_WORDS = {"filters": "the policies' row filters", "rules": "the contract's rules"}


def columns_of_another_kind(now: Sequence[Column], then: Sequence[Column]) -> list[str]:
    """The names of columns that are only in one of both, or of another kind there."""
    one, other = ({column.name: _kind(column) for column in columns} for columns in (now, then))
    return [name for name in dict.fromkeys([*other, *one]) if one.get(name) != other.get(name)]


def columns_of_other_origins(now: Sequence[Column], then: Sequence[Column]) -> list[str]:
    """The names of columns that are there in both, and were derived from other columns."""
    before = {column.name: column.origins for column in then}
    return [one.name for one in now if one.name in before and set(one.origins) != set(before[one.name])]


def _kind(column: Column) -> Record:
    """What must be the same of a column for rows of two runs to be one dataset."""
    record = column.record()
    return {key: value for key, value in record.items() if key not in ("required", "description")}


def made_by(plan: ScorePlan, given: GovernedInput) -> Record:
    """What the rows of `plan` over `given` are made by, beside model and code."""
    job, effect, contract = plan.job, given.grant.effect, given.dataset.contract
    rules = [{key: value for key, value in rule.record().items() if key != "description"} for rule in contract.rules]
    return {
        "outputs": [str(output) for output in plan.outputs],
        "threshold": plan.threshold,
        "sort_by": list(job.sort_by),
        "filters": digest(list(effect.filters)),
        "rules": digest(rules),
    }


def made_otherwise(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """In words for people, what differs between two of `made_by`; of a manifest that kept none nothing does."""
    return [_WORDS.get(what, what) for what in now if what in then and now[what] != then[what]]
