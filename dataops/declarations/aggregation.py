"""What is made of all rows with one key, spelled as text: ``count``, ``sum(column)``, ``last(column, time)``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator

from dataops.errors import InvalidInput, near_match

_MEASURE = re.compile(r"([a-z]+)(?:\((.*)\))?", re.DOTALL)
_COLUMN = r'\s*(?:"([^"]+)"|([^\s,()"]+))\s*'
_COLUMNS = re.compile(f"{_COLUMN}(?:,{_COLUMN})*")


class Measure(StrEnum):
    """What is made of the rows with one key."""

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    LAST = "last"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregation:
    """A `measure` of `column`, or of rows where there is none; `order` says which row is the last."""

    measure: Measure
    column: str | None = None
    order: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        return tuple(name for name in (self.column, self.order) if name is not None)


def parse_aggregation(text: str) -> Aggregation:
    """The aggregation that `text` spells: ``count``, ``count(a)``, ``sum(a)``, ``last(a, time)`` ...

    Raises
    ------
    InvalidInput : anything else.
    """
    whole = _MEASURE.fullmatch(text.strip())
    if whole is None or whole.group(1) not in {str(one) for one in Measure}:
        known = ", ".join(Measure)
        hint = near_match(whole.group(1), list(Measure)) if whole else ""
        raise InvalidInput(f"expected one of {known}, with a column in brackets.{hint}")
    measure, inside = Measure(whole.group(1)), whole.group(2)
    if inside and not _COLUMNS.fullmatch(inside):
        raise InvalidInput('expected names of columns in the brackets; one with spaces stands in "..."')
    names = [quoted or plain for quoted, plain in re.findall(_COLUMN, inside or "")]
    most, least = (2, 2) if measure is Measure.LAST else (1, 0 if measure is Measure.COUNT else 1)
    if not least <= len(names) <= most:
        what = "a column and the time that orders the rows" if measure is Measure.LAST else "one column"
        raise InvalidInput(f"{measure}: expected {what} in the brackets")
    return Aggregation(measure=measure, column=names[0] if names else None, order=names[1] if len(names) > 1 else None)


def _require_aggregation(text: str) -> str:
    parse_aggregation(text)
    return text


AggregationText = Annotated[str, AfterValidator(_require_aggregation)]
