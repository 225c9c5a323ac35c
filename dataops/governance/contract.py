"""Contracts: what a dataset's rows must look like, as values. Pure.

1. A column that a contract doesn't list does not exist for anybody. Every leaf of a nested column is a column of its
   own (``address.street``), with a classification of its own; a list or map on its way makes it a list.
2. A *row rule* is a condition on one row. A row breaks it where the condition is false; unknown (null) passes, as in
   SQL's CHECK, so `required` says that there must be a value. A *dataset rule* speaks of all rows: duplicates, how many
   they are, how new they are.
3. What happens to a row that breaks a rule is the rule's action. Beyond a rule's limit the whole run fails.
4. The digest covers what a contract does, not its descriptions: mending a typo rescores nothing.

`odcs` reads contracts from Open Data Contract Standard files, `checking` checks rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import pyarrow as pa

from dataops.errors import DataopsError, Format, InvalidInput, NotFound, near_match
from dataops.governance.column_types import parse_type, spell_type
from dataops.governance.expression_tree import Node
from dataops.governance.names import name_findings
from dataops.records import Record, digest

UNCLASSIFIED = "unclassified"


class Action(StrEnum):
    """What happens to a row that breaks a rule."""

    WARN = "warn"  # it is counted and kept
    DROP = "drop"  # it is counted and left out
    QUARANTINE = "quarantine"  # it is set aside with the rule's id
    FAIL = "fail"  # nothing of the run is published


SEVERITY = (Action.WARN, Action.DROP, Action.QUARANTINE, Action.FAIL)  # the least severe first


class RuleKind(StrEnum):
    """What a rule asks of a row; the keys of its arguments in brackets."""

    NOT_NULL = "not_null"
    NOT_MISSING = "not_missing"  # [values]: neither null nor one of these
    VALID_VALUES = "valid_values"  # [values]
    PATTERN = "pattern"  # [value]: an RE2 expression that the whole text matches
    MINIMUM = "minimum"  # [value]
    MAXIMUM = "maximum"  # [value]
    EXCLUSIVE_MINIMUM = "exclusive_minimum"  # [value]
    EXCLUSIVE_MAXIMUM = "exclusive_maximum"  # [value]
    MULTIPLE_OF = "multiple_of"  # [value]
    MIN_LENGTH = "min_length"  # [value]: characters
    MAX_LENGTH = "max_length"  # [value]: characters
    EXPRESSION = "expression"  # [sql]: a condition over the row
    LIST_NOT_NULL = "list_not_null"  # of a list: there is one (not_null speaks of its elements)
    MIN_ITEMS = "min_items"  # [value]: elements of a list
    MAX_ITEMS = "max_items"  # [value]: elements of a list
    UNIQUE = "unique"  # [columns]: no earlier row has the same values; a null in any of them equals nothing
    ROW_COUNT = "row_count"  # [minimum, maximum], either may be None: rows of the dataset
    FRESHNESS = "freshness"  # [column, max_age_seconds]: age of the column's newest value; without column, of the files


# what can't be said of one row alone
DATASET_KINDS = frozenset({RuleKind.UNIQUE, RuleKind.ROW_COUNT, RuleKind.FRESHNESS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a dataset.

    Attributes
    ----------
    name : plain; of a leaf of a nested column its dotted path.
    type : flat, or a list of a flat type.
    required : whether null breaks the contract.
    classification : what policies speak of (``pii.direct``, ``public`` ...).
    partitioned : whether the value stands in the folder's name instead of in the file.
    masks : marks of the masks that the stored values carry already (columns that we made), see `marks`.
    origins : names of the columns that a job derived it from, back to those of a contract; none where it wasn't
        derived.
    stored : path in the files, a name for each level, where it is another than ``(name,)``. Lists take no level, a map
        takes ``key`` or ``value``.
    """

    name: str
    type: pa.DataType
    required: bool = False
    classification: str = UNCLASSIFIED
    partitioned: bool = False
    description: str = ""
    masks: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[str, ...]:
        """Where the column lies in the files, a name for each level."""
        return self.stored or (self.name,)

    def record(self) -> Record:
        """The column in JSON types; what is empty in most columns is no key there."""
        record: Record = {
            "name": self.name,
            "type": spell_type(self.type),
            "required": self.required,
            "classification": self.classification,
            "partitioned": self.partitioned,
            "description": self.description,
            "masks": list(self.masks),
        }
        rare = {"origins": list(self.origins), "stored": list(self.stored)}
        return {**record, **{key: value for key, value in rare.items() if value}}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Column:
        """The column that `record` was made from.

        Raises
        ------
        Format : not the record of a column.
        """
        try:
            lists = {name: tuple(record.get(name, ())) for name in ("masks", "origins", "stored")}
            return cls(**{**record, **lists, "type": parse_type(record["type"])})
        except (KeyError, TypeError, AttributeError, DataopsError):
            raise Format("expected the record of a column, found something else") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition on every row or on the dataset, what happens to rows that break it, and how many may.

    Attributes
    ----------
    id : unique in its contract; what receipts, quarantine and reports name.
    column : whose rule it is; None for a rule of the whole row or dataset.
    arguments : by `RuleKind`, JSON types.
    max_rows, max_percent : beyond so many broken rows (or percent of the rows checked) the run fails; None is no limit.
    tree : of an expression that was parsed already, see `conditions.with_trees`; no part of the rule's record.
    """

    id: str
    kind: RuleKind
    column: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    action: Action = Action.QUARANTINE
    max_rows: int | None = None
    max_percent: float | None = None
    description: str = ""
    tree: Node | None = field(default=None, repr=False, compare=False)

    def record(self) -> Record:
        """The rule in JSON types."""
        return {
            "id": self.id,
            "kind": str(self.kind),
            "column": self.column,
            "arguments": dict(self.arguments),
            "action": str(self.action),
            "max_rows": self.max_rows,
            "max_percent": self.max_percent,
            "description": self.description,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Rule:
        """The rule that `record` was made from.

        Raises
        ------
        Format : not the record of a rule.
        """
        try:
            return cls(**{**record, "kind": RuleKind(record["kind"]), "action": Action(record["action"])})
        except (KeyError, TypeError, ValueError):
            raise Format("expected the record of a contract rule, found something else") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a dataset's rows must look like: its columns in order, and the rules of its rows.

    Attributes
    ----------
    roles : a reader needs one of them, so with none in it nobody may read; None where the contract doesn't say.
    retention_seconds : how long rows may be kept; None: for ever.
    primary_key : columns whose values together name a row; none: nothing does.
    """

    name: str
    version: str
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    roles: tuple[str, ...] | None = None
    retention_seconds: int | None = None
    primary_key: tuple[str, ...] = ()

    @property
    def row_rules(self) -> tuple[Rule, ...]:
        """The rules that speak of one row alone, in the order of `rules`."""
        return tuple(rule for rule in self.rules if rule.kind not in DATASET_KINDS)

    @property
    def dataset_rules(self) -> tuple[Rule, ...]:
        """The rules that speak of all rows: duplicates, number, age; in the order of `rules`."""
        return tuple(rule for rule in self.rules if rule.kind in DATASET_KINDS)

    @property
    def digest(self) -> str:
        """``sha256:...`` of what the contract does: all of its record but the descriptions."""
        record = self.record()
        for part in (*record["columns"], *record["rules"]):
            del part["description"]
        return digest(record)

    def column(self, name: str) -> Column:
        """The column of this name.

        Raises
        ------
        NotFound : there is none; with its near match.
        """
        for column in self.columns:
            if column.name == name:
                return column
        known = [column.name for column in self.columns]
        raise NotFound(f"contract '{self.name}' has no column {name!r}.{near_match(name, known)}")

    def record(self) -> Record:
        """The contract in JSON types; what most contracts don't say is no key there."""
        rare = {
            "roles": None if self.roles is None else list(self.roles),
            "retention_seconds": self.retention_seconds,
            "primary_key": list(self.primary_key) or None,
        }
        return {
            "name": self.name,
            "version": self.version,
            "columns": [column.record() for column in self.columns],
            "rules": [rule.record() for rule in self.rules],
            **{key: value for key, value in rare.items() if value is not None},
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Contract:
        """The contract that `record` was made from.

        Raises
        ------
        Format : not the record of a contract.
        """
        try:
            name, version, columns, rules = (record[key] for key in ("name", "version", "columns", "rules"))
            roles = None if record.get("roles") is None else tuple(record["roles"])
            primary_key = tuple(record.get("primary_key", ()))
            retention_seconds = record.get("retention_seconds")
        except (KeyError, TypeError, AttributeError):
            raise Format("expected the record of a contract, found something else") from None
        return cls(
            name=name,
            version=version,
            columns=tuple(Column.from_record(column) for column in columns),
            rules=tuple(Rule.from_record(rule) for rule in rules),
            roles=roles,
            retention_seconds=retention_seconds,
            primary_key=primary_key,
        )


def derived_contract(name: str, columns: Sequence[Column]) -> Contract:
    """The contract of a dataset that we made: its columns, stored flat under their names, and no rules.

    Raises
    ------
    InvalidInput : two columns whose names look alike, or a name that can't be a column's.
    """
    if findings := name_findings([column.name for column in columns]):
        raise InvalidInput("\n".join(f"dataset '{name}': {finding}" for finding in findings.values()))
    return Contract(name=name, version="1", columns=tuple(replace(column, stored=()) for column in columns))


def schema_of(columns: Iterable[Column]) -> pa.Schema:
    """`columns` as an Arrow schema."""
    return pa.schema([pa.field(column.name, column.type) for column in columns])


def inherited_classification(sources: Iterable[Column]) -> str:
    """The classification of what is made from `sources`: all of theirs, joined by ``+``; a policy must allow each."""
    parts = {part for column in sources for part in column.classification.split("+")}
    return "+".join(sorted(parts)) if parts else "public"
