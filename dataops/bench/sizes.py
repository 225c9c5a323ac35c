"""How much data a scale factor means, and how it is cut into parts. Pure.

1. Payments grow with the scale, customers with its root, as a business does: at scale 1 there are 10 million payments
   of 500,000 customers.
2. Parts depend on the scale alone, never on workers: part 7 is the same rows whoever makes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dataops.errors import InvalidInput

LEAST_SCALE, LARGEST_SCALE = 0.001, 1000.0
GENERATOR = 1
"""Which rows are made of a scale and a seed: whoever changes them counts on."""
CUSTOMERS = "customers"
PAST = "payments_past"
NEW = "payments_new"
TABLES = (CUSTOMERS, PAST, NEW)
PART_ROWS = 250_000
LEAST_PARTS = 4

_PAST_AT_ONE, _NEW_AT_ONE, _CUSTOMERS_AT_ONE = 6_000_000, 4_000_000, 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What is made: rows of each table of `TABLES` at `scale`, from `seed`."""

    scale: float
    seed: int

    @property
    def rows(self) -> dict[str, int]:
        """Rows by table."""
        return {
            CUSTOMERS: round(_CUSTOMERS_AT_ONE * math.sqrt(self.scale)),
            PAST: round(_PAST_AT_ONE * self.scale),
            NEW: round(_NEW_AT_ONE * self.scale),
        }

    def parts(self) -> list[Part]:
        """The parts of all tables, in order."""
        return [part for table, rows in self.rows.items() for part in _parts(table, rows)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows `first_row` to ``first_row + rows`` of `table`: its part `number` of `of`."""

    table: str
    number: int
    of: int
    first_row: int
    rows: int

    @property
    def path(self) -> str:
        """The part's file, below the folder of the data."""
        return f"{self.table}/part-{self.number:05d}.parquet"


def size_of(scale: float, seed: int) -> Size:
    """The size of `scale`.

    Raises
    ------
    InvalidInput : a scale or a seed that is out of range.
    """
    if not LEAST_SCALE <= scale <= LARGEST_SCALE:
        raise InvalidInput(f"a scale is a number from {LEAST_SCALE:g} to {LARGEST_SCALE:g}, not {scale:g}")
    if not 0 <= seed < 2**32:
        raise InvalidInput(f"a seed is a whole number from 0 to {2**32 - 1}, not {seed}")
    return Size(scale=scale, seed=seed)


def _parts(table: str, rows: int) -> list[Part]:
    of = max(LEAST_PARTS, math.ceil(rows / PART_ROWS))
    edges = [rows * number // of for number in range(of + 1)]
    return [
        Part(table=table, number=number, of=of, first_row=edges[number], rows=edges[number + 1] - edges[number])
        for number in range(of)
    ]
