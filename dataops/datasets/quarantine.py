"""Quarantine: rows that break a contract's rule, set aside as a dataset of its own, for stewards.

1. A row that is set aside says why (rule, reason, contract) and where it lies (fragment, row group, row), then shows
   the true values of the columns that rules look at, and of the contract's primary key.
2. A reason is what the rule asks, in the contract's words; never a value of the row.
3. A row also says which primary key held over the whole dataset when it was set aside. Only by that very key can it be
   found again: under another one another row may have its values.
4. A quarantine file is a part like any other: written once, named by the record of its unit, no time and no attempt in
   its bytes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.datasets.reading import Source
from dataops.datasets.units import Unit
from dataops.governance.checking import columns_of_rules
from dataops.governance.contract import Action, Contract, Rule, RuleKind
from dataops.governance.plain_types import plain_column
from dataops.governance.rule_words import asked
from dataops.records import digest

QUARANTINE_FOLDER = "quarantine"
QUARANTINE_RULE = "quarantine_rule"
QUARANTINE_REASON = "quarantine_reason"
QUARANTINE_ROW_GROUP = "quarantine_row_group"
QUARANTINE_ROW = "quarantine_row"
QUARANTINE_KEY = "quarantine_key"
LONGEST_REASON = 300
PLACE = pa.schema(
    {
        QUARANTINE_RULE: pa.string(),  # id of the rule that set the row aside
        QUARANTINE_REASON: pa.string(),  # what that rule asks
        "quarantine_contract_version": pa.string(),
        "quarantine_contract": pa.string(),  # digest
        "quarantine_fragment": pa.string(),  # the source's file
        QUARANTINE_ROW_GROUP: pa.int32(),  # in that file, from 0; null: a replay didn't find the row any more
        QUARANTINE_ROW: pa.int64(),  # offset in that file, from 0; null as above
        QUARANTINE_KEY: pa.string(),  # `key_mark`; null: no key names the row
    }
)


def aside_columns(contract: Contract) -> frozenset[str]:
    """The columns whose true values a quarantine file shows: what rules look at, and the primary key."""
    unique = (name for rule in contract.dataset_rules for name in rule.arguments.get("columns", ()))
    return columns_of_rules(contract) | frozenset(unique) | frozenset(contract.primary_key)


def key_rule(contract: Contract) -> Rule | None:
    """The rule that holds the contract's primary key unique; None where no row can be named by a key."""
    for rule in contract.dataset_rules:
        if rule.kind is RuleKind.UNIQUE and set(rule.arguments["columns"]) == set(contract.primary_key):
            return rule
    return None


def key_mark(contract: Contract) -> str | None:
    """Which primary key the contract holds unique: id of the rule, and digest of its columns and of where they lie in
    the files. None where no row can be named by a key.
    """
    rule = key_rule(contract)
    if rule is None:
        return None
    return f"{rule.id} {digest(sorted([name, list(contract.column(name).path)] for name in contract.primary_key))}"


def rows_aside(
    source: Source,
    unit: Unit,
    looked_at: pa.Table,
    rule_index: np.ndarray,
    rows: np.ndarray,
    *,
    key: str | None = None,
) -> pa.Table | None:
    """The rows of a unit that a rule sets aside: the columns of `PLACE`, then those of `looked_at`; None where there
    are none.

    Parameters
    ----------
    looked_at : the columns `aside_columns`, unmasked, of the (n_rows,) rows that break a rule and don't pass.
    rule_index : int (n_rows,): position in the contract of the rule for which the row doesn't pass.
    rows : int64 (n_rows,): offset of each in its file.
    key : the primary key that held when the rows were first read, see `key_mark`.
    """
    contract = source.contract
    aside = np.array([rule.action in (Action.QUARANTINE, Action.FAIL) for rule in contract.rules])[rule_index]
    if not aside.any():
        return None
    rules, rows, values = pa.array(rule_index[aside]), rows[aside], looked_at.filter(pa.array(aside))
    place = {
        QUARANTINE_RULE: pa.array([rule.id for rule in contract.rules], pa.string()).take(rules),
        QUARANTINE_REASON: pa.array([reason_of(rule) for rule in contract.rules], pa.string()).take(rules),
        "quarantine_contract_version": pa.repeat(contract.version, len(rows)),
        "quarantine_contract": pa.repeat(contract.digest, len(rows)),
        "quarantine_fragment": pa.repeat(unit.fragment.path, len(rows)),
        QUARANTINE_ROW_GROUP: pa.array(group_of_rows(unit, rows), pa.int32()),
        QUARANTINE_ROW: pa.array(rows, pa.int64()),
        QUARANTINE_KEY: pa.repeat(pa.scalar(key, pa.string()), len(rows)),
    }
    # a contract's column of such a name stays behind: what a steward reads there is ours
    seen = {name: plain_column(values.column(name)) for name in values.column_names if name not in place}
    return pa.table({**place, **seen})


def reason_of(rule: Rule) -> str:
    """What `rule` asks, in the words of its contract where it has any."""
    if rule.description:
        return rule.description
    return asked(rule)[:LONGEST_REASON]


def group_of_rows(unit: Unit, rows: np.ndarray) -> np.ndarray:
    """The row group of each of `rows` (offsets in the file of `unit`), int64 (n_rows,)."""
    ends = unit.first_row + np.cumsum([group.rows for group in unit.groups])
    return unit.start_group + np.searchsorted(ends, rows, side="right")


def rows_by_rule(quarantined: pa.Table | None) -> dict[str, int]:
    """How many rows each rule set aside, by the rule's id."""
    if quarantined is None:
        return {}
    counted = pc.value_counts(quarantined.column(QUARANTINE_RULE)).to_pylist()
    return dict(sorted((one["values"], one["counts"]) for one in counted))
