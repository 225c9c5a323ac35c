"""Preparation, declared: which rows and columns of a dataset become another, and how its rows are split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer

from dataops.declarations.declaration import (
    ColumnName,
    DatasetName,
    Declaration,
    JobName,
    Sql,
    find_repeats,
    find_same_dataset,
)
from dataops.declarations.inputs import INPUT
from dataops.declarations.loader import Finding
from dataops.errors import InvalidInput
from dataops.governance.grant import Purpose

_HASH = re.compile(r"hash\((.*)\)", re.DOTALL)

_KEY_COLUMN = re.compile(r'\s*(?:"([^"]+)"|([^\s,()"]+))\s*')


def parse_split_columns(text: str) -> tuple[str, ...]:
    """The columns in ``hash(a)`` or ``hash(a, "b c")``.

    Raises
    ------
    InvalidInput : anything else.
    """
    whole = _HASH.fullmatch(text.strip())
    found = [_KEY_COLUMN.fullmatch(part) for part in whole.group(1).split(",")] if whole else []
    if not found or None in found:
        raise InvalidInput("expected 'hash(column)' or 'hash(column, other)'; a name with spaces stands in \"...\"")
    return tuple(match.group(1) or match.group(2) for match in found if match)


def _require_split(text: str) -> str:
    columns = parse_split_columns(text)
    if len(set(columns)) < len(columns):
        raise InvalidInput("a column is listed twice")
    return text


def parse_moment(text: str) -> date | datetime:
    """The day that ``2013-10-01`` spells, or the moment that ``2013-10-01T12:00`` does, with or without a zone.

    Raises
    ------
    InvalidInput : anything else.
    """
    try:
        return date.fromisoformat(text) if len(text) <= len("2013-10-01") else datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput("expected a day like '2013-10-01', or a moment like '2013-10-01T12:00:00Z'") from None


def _require_moment(text: str) -> str:
    parse_moment(text)
    return text


class Split(Declaration):
    """Which rows are kept for testing: those of some keys, by their hash, so that a key is always on the same side; or
    those from a time on, as a model meets them.
    """

    by: Annotated[str, AfterValidator(_require_split)] | None = None
    """`hash(column)` or `hash(column, other)`: the columns that name a person or thing, all of whose rows stay
    together. Goes with `test`. Default: rows are parted by `time`."""
    test: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the keys that is kept for testing: more than 0, less than 1. Default: rows are parted by `time`."""
    time: ColumnName | None = None
    """A column of times or dates. Goes with `test_from`. Default: rows are parted by key."""
    test_from: Annotated[str, AfterValidator(_require_moment)] | None = None
    """The first day (`2013-10-01`) or moment (`2013-10-01T12:00:00Z`) that is kept for testing; so are rows without a
    time. Without a zone it is meant in UTC where the column has one. Default: rows are parted by key."""

    @model_serializer(mode="wrap")
    def _as_declared(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Equal declarations have equal records under every release: keys of the other way leave no trace."""
        return {key: value for key, value in serialise(self).items() if value is not None}

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that decide."""
        return (self.time,) if self.time is not None else parse_split_columns(self.by or "")

    def check(self) -> Iterator[Finding]:
        """Neither keys nor a time, both, or half of one."""
        keys, times = (self.by, self.test), (self.time, self.test_from)
        if (None in keys) == (None in times) or any(one is not None for one in (keys if None in keys else times)):
            yield Finding(place=(), message="expected `by` and `test` (by key), or `time` and `test_from` (by time)")


class PrepareJob(Declaration):
    """Reads a governed dataset, derives columns, selects rows, splits, and publishes a snapshot of a new dataset."""

    name: JobName
    """The job's name, unique in its file: lower-case letters, digits, `_` and `-`, 63 characters at most."""
    job: Literal["prepare"] = "prepare"
    """The kind of job: `prepare`."""
    input: DatasetName
    """The dataset of the catalog to read; its contract and the policies say which columns and rows are given."""
    purpose: Purpose = Purpose.TRAIN
    """What the data is read for: `train`, `evaluate`, `score` or `benchmark`. Default: `train`."""
    derive: dict[ColumnName, Sql] = Field(default_factory=dict)
    """New columns: name to SQL expression over the columns before it, in order. Default: none."""
    where: Sql | None = None
    """The population: a SQL predicate; rows where it is not true are left out, in training and rescoring alike.
    Default: all rows."""
    labelled: Sql | None = None
    """The rows whose outcome is known: a SQL predicate that holds for training and evaluation, never for rescoring.
    Default: all rows."""
    split: Split | None = None
    """How rows are parted into a training and a test set. Default: not at all."""
    output: DatasetName
    """The dataset to publish."""
    columns: tuple[ColumnName, ...] | None = None
    """The columns to keep, in this order. Default: all that the policies give, and all derived ones."""

    @property
    def inputs(self) -> Mapping[str, tuple[str, Purpose]]:
        """What is read for what: the run's name of each input -> dataset and purpose."""
        return {INPUT: (self.input, self.purpose)}

    def check(self) -> Iterator[Finding]:
        """Repeated columns, no columns, an output that is the input."""
        yield from find_repeats(self.columns or (), ("columns",))
        if self.columns == ():
            yield Finding(place=("columns",), message="keeps no column: list some, or leave the key out to keep all")
        yield from find_same_dataset(self.input, self.output)
