"""The expression language's tree: what `expression_grammar` makes of SQL and `expressions` evaluates.

Small on purpose: a column, a literal, an operation on them. Literals that steer an operation (a LIKE pattern, digits to
round to, cut points) are its parameter and known before there are rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

Scalar = bool | int | float | str | date | datetime | None
Parameter = str | int | float | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A column of the table."""

    column: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal: None, bool, int (64 bits), float (finite), str, date, or datetime without a zone."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class Call:
    """An operation on whole columns: a name in `expression_operations.OPERATIONS`, and the literal that steers it."""

    operation: str
    arguments: tuple[Node, ...]
    parameter: Parameter | None = None


Node = Name | Constant | Call


class RefusedError(Exception):
    """Why SQL isn't in the language, or doesn't fit its columns; callers make it InvalidInput with the place."""


def columns_of(node: Node) -> frozenset[str]:
    """The columns that `node` reads."""
    if isinstance(node, Name):
        return frozenset((node.column,))
    if isinstance(node, Constant):
        return frozenset()
    return frozenset().union(*(columns_of(argument) for argument in node.arguments))


def parse_moment(text: str, *, is_date: bool) -> date | datetime:
    """The date or time that a literal says.

    Raises
    ------
    RefusedError : it isn't written ``YYYY-MM-DD`` or ``YYYY-MM-DD HH:MM:SS``, or has a time zone.
    """
    try:
        moment = date.fromisoformat(text) if is_date and len(text) == 10 else datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or (is_date and len(text) != 10) or (isinstance(moment, datetime) and moment.tzinfo is not None):
        raise RefusedError(f"a {'date' if is_date else 'time'} is written 'YYYY-MM-DD{'' if is_date else ' HH:MM:SS'}'")
    return moment
