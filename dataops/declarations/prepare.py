"""Preparation, declared: which rows and columns of a dataset become another, and how its rows are split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

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


class Split(Declaration):
    """Which rows are kept for testing: decided by a hash of key columns, so the same key is always on the same side."""

    by: Annotated[str, AfterValidator(_require_split)]
    """`hash(column)` or `hash(column, other)`: the columns that name a person or thing, all of whose rows stay
    together."""
    test: Annotated[float, Field(gt=0, lt=1)]
    """Share of the keys that is kept for testing: more than 0, less than 1."""

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns named in `by`."""
        return parse_split_columns(self.by)


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
