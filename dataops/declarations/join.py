"""Relational preparation, declared: what is joined to a dataset, by which keys and as of when, deduplicated, counted.

1. A join adds columns to the rows of the main input. It reads each dataset under a grant of its own.
2. `on` and `asof` name columns of the main input and of the dataset, never what another join added: a chain is two
   jobs, and each leaves a dataset that can be looked at.
3. What a model must repeat row by row stands in a prepare job over the output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dataops.declarations.aggregation import Aggregation, AggregationText, parse_aggregation
from dataops.declarations.declaration import (
    ColumnName,
    DatasetName,
    Declaration,
    JobName,
    find_repeats,
    find_same_dataset,
)
from dataops.declarations.inputs import INPUT, joined_name
from dataops.declarations.loader import Finding, Place
from dataops.errors import InvalidInput, near_match
from dataops.governance.grant import Purpose

_DURATION = re.compile(r"([1-9][0-9]{0,8})\s*(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """The time that ``30s``, ``15m``, ``2h`` or ``7d`` spells.

    Raises
    ------
    InvalidInput : anything else.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise InvalidInput("expected a whole number and s, m, h or d, like '2h'")
    return timedelta(**{_UNITS[found.group(2)]: int(found.group(1))})


def _require_duration(text: str) -> str:
    parse_duration(text)
    return text


class Deduplicate(Declaration):
    """Of the rows with equal values in some columns one is kept; a row without a value there equals no other."""

    by: Annotated[tuple[ColumnName, ...], Field(min_length=1)]
    """The columns whose values name a row."""
    order: ColumnName | None = None
    """The column that orders rows with one name, such as a time; nulls come first. Default: the order of the dataset,
    which also decides between equal ones."""
    keep: Literal["first", "last"] = "last"
    """Which of them stays: `first` or `last`. Default: `last`."""

    def check(self) -> Iterator[Finding]:
        """Repeated columns."""
        yield from find_repeats(self.by, ("by",))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        return tuple(dict.fromkeys([*self.by, *([self.order] if self.order else [])]))


class AsOf(Declaration):
    """The rows with the key that are not newer than the row they are joined to: the newest, or with `aggregate` all."""

    at: ColumnName
    """The time in the main input: what came later is not seen."""
    of: ColumnName | None = None
    """The time in the dataset that is joined. Default: the column with the name in `at`."""
    tolerance: Annotated[str, AfterValidator(_require_duration)] | None = None
    """How old a row may be, as `30s`, `15m`, `2h` or `7d`. Default: any age."""
    strictly_before: bool = False
    """Whether a row of the very same time is too new. Default: false."""
    as_known: ColumnName | None = None
    """The column that says when a row was recorded: before that it is not seen, whatever its time says. Default: a row
    is known from its time on."""

    @property
    def time(self) -> str:
        """The time in the dataset that is joined."""
        return self.of or self.at

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the joined dataset that it looks at."""
        return tuple(dict.fromkeys([self.time, *([self.as_known] if self.as_known else [])]))

    @property
    def oldest(self) -> timedelta | None:
        """`tolerance` as a time."""
        return None if self.tolerance is None else parse_duration(self.tolerance)


class Join(Declaration):
    """A dataset whose columns are added to the rows of the main input."""

    dataset: DatasetName
    """The dataset to join."""
    purpose: Purpose | None = None
    """What it is read for. Default: what the main input is read for."""
    on: Annotated[tuple[ColumnName, ...], Field(min_length=1)]
    """The columns of the main input whose values must be equal; a null equals nothing."""
    to: tuple[ColumnName, ...] = ()
    """Their counterparts in the dataset, in the same order. Default: the columns of the same names."""
    columns: tuple[ColumnName, ...] = ()
    """The columns to add. Default: none but those that `aggregate` makes."""
    rename: dict[ColumnName, ColumnName] = Field(default_factory=dict)
    """Other names for some of `columns`: name in the dataset to name in the output. Default: as they are called."""
    how: Literal["left", "inner"] = "left"
    """What becomes of a row that finds nothing: it stays, without values (`left`), or is left out (`inner`). Default:
    `left`."""
    expect: Literal["one", "many"] = "one"
    """How many rows of the dataset may have one key: with `one` a second one ends the run, with `many` a row of the
    main input comes once for each. Default: `one`."""
    asof: AsOf | None = None
    """Take the newest row that was there at a time of the main input's row; with `aggregate`, count all that were
    there. Default: all rows with the key count, also those of later."""
    deduplicate: Deduplicate | None = None
    """Which rows of the dataset are kept before it is joined. Default: all."""
    aggregate: dict[ColumnName, AggregationText] = Field(default_factory=dict)
    """What is counted over the dataset's rows with the key: new name to `count`, `count(column)`, `sum(column)`,
    `mean(column)`, `min(column)`, `max(column)` or `last(column, time)`. Without `asof` rows of any time count, also of
    later than the main input's row. Default: nothing."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the dataset whose values must be equal to those of `on`."""
        return self.to or self.on

    @property
    def aggregations(self) -> dict[str, Aggregation]:
        """`aggregate`, read."""
        return {name: parse_aggregation(text) for name, text in self.aggregate.items()}

    @property
    def named(self) -> dict[str, str]:
        """The columns that are added as they are: name in the output to name in the dataset."""
        return {self.rename.get(name, name): name for name in self.columns}

    def check(self) -> Iterator[Finding]:
        """Keys without counterparts, options that exclude one another, nothing to add."""
        for key in ("on", "to", "columns"):
            yield from find_repeats(getattr(self, key), (key,))
        if self.to and len(self.to) != len(self.on):
            yield Finding(place=("to",), message=f"expected {len(self.on)} columns, a counterpart for each of `on`")
        for name in self.rename:
            if name not in self.columns:
                yield Finding(
                    place=("rename", name), message=f"'{name}' is not among `columns`.{near_match(name, self.columns)}"
                )
        if self.aggregate and (self.columns or self.expect == "many"):
            yield Finding(
                place=("aggregate",), message="is one row for each key: it goes without `columns` and `expect: many`"
            )
        if not self.aggregate and not self.columns and self.how == "left":
            yield Finding(place=("columns",), message="adds nothing: list columns, aggregate, or join `how: inner`")
        if self.asof is not None and self.expect == "many":
            yield Finding(
                place=("expect",), message="an asof join takes one row; `deduplicate` says which of equal times stays"
            )


class JoinJob(Declaration):
    """Joins, deduplicates or aggregates governed datasets, and publishes a snapshot of a new one."""

    name: JobName
    """The job's name, unique in its file."""
    job: Literal["join"] = "join"
    """The kind of job: `join`."""
    input: DatasetName
    """The main input: its rows come out, in their order."""
    purpose: Purpose = Purpose.TRAIN
    """What the data is read for: `train`, `evaluate`, `score` or `benchmark`. Default: `train`."""
    deduplicate: Deduplicate | None = None
    """Which rows of the main input are kept, before anything is joined. Default: all."""
    joins: tuple[Join, ...] = ()
    """What is joined to the main input. Default: nothing, where it is deduplicated or aggregated."""
    group_by: tuple[ColumnName, ...] = ()
    """The columns by which the main input is aggregated; a null is a value of its own here. Default: not at all."""
    aggregate: dict[ColumnName, AggregationText] = Field(default_factory=dict)
    """What is counted for each of these groups, as in `joins`; the output has one row for each group. Default:
    nothing."""
    output: DatasetName
    """The dataset to publish."""
    columns: tuple[ColumnName, ...] | None = None
    """The columns of the main input to keep, in this order, before those that are joined. Default: all that the
    policies give."""

    @property
    def aggregations(self) -> dict[str, Aggregation]:
        """`aggregate`, read."""
        return {name: parse_aggregation(text) for name, text in self.aggregate.items()}

    @property
    def inputs(self) -> Mapping[str, tuple[str, Purpose]]:
        """What is read for what: the run's name of each input -> dataset and purpose."""
        joined = {
            joined_name(place, join.dataset): (join.dataset, join.purpose or self.purpose)
            for place, join in enumerate(self.joins)
        }
        return {INPUT: (self.input, self.purpose), **joined}

    def check(self) -> Iterator[Finding]:
        """Nothing to do, aggregates beside joins, names given twice, an output that is an input."""
        for key in ("columns", "group_by"):
            yield from find_repeats(getattr(self, key) or (), (key,))
        if not (self.joins or self.deduplicate or self.group_by):
            yield Finding(place=("joins",), message="nothing to do: join a dataset, deduplicate, or aggregate")
        if self.aggregate and not self.group_by:
            yield Finding(place=("aggregate",), message="needs `group_by`: the columns that make the groups")
        if self.group_by and (self.joins or self.columns is not None):
            yield Finding(place=("group_by",), message="makes rows of its own: it goes without `joins` and `columns`")
        yield from self._twice()
        yield from find_same_dataset(self.input, self.output)
        for place, join in enumerate(self.joins):
            for finding in find_same_dataset(join.dataset, self.output):
                yield Finding(place=("joins", place, "dataset"), message=finding.message)

    def _twice(self) -> Iterator[Finding]:
        """Output columns of two origins, as far as the file tells."""
        taken: dict[str, Place] = dict.fromkeys(self.columns or (), ("columns",))
        for name in self.aggregate:
            if name in self.group_by:
                yield Finding(place=("aggregate", name), message=f"'{name}' is in `group_by` already")
        for place, join in enumerate(self.joins):
            key = "aggregate" if join.aggregate else "columns"
            for name in join.aggregate or join.named:
                if name in taken:
                    yield Finding(
                        place=("joins", place, key), message=f"the output has a column '{name}' already; rename one"
                    )
                taken.setdefault(name, ("joins", place, key))
