"""Numbers as whole numbers of 32 bits and a bit, whose sums are exact in any order, and rounded once at the end. Pure.

A float64 is a whole number of 53 bits times a power of two. All of a column are taken as multiples of the smallest such
power, and each is cut into pieces of 32 bits: a piece for each power of ``2**32`` that the column reaches. A sum of
pieces fits 64 bits for up to 2**30 rows. NaN and infinite values are counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Sums = Callable[[Ints], Ints]
"""Of whole numbers, one for each row, a sum for each that asks."""

_BITS, _PIECE = 32, np.uint64(2**32 - 1)
_MANTISSA = 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """A column of numbers, nulls as 0: the sum of `parts`, each times ``2**(its power + lowest)``.

    Attributes
    ----------
    parts : int64 (n_rows,) each, with its power; can be gone through once.
    odd : int64 (n_rows,), 1 for NaN, plus and minus infinity, in this order; none where all are numbers.
    """

    parts: Iterator[tuple[Ints, int]]
    lowest: int = 0
    odd: tuple[Ints, ...] = ()


def pieces_of(column: pa.ChunkedArray) -> Pieces:
    """Those of a column of whole numbers, floats or decimals; decimals are rounded to float64."""
    if pa.types.is_integer(column.type):
        numbers = pc.fill_null(column, 0).to_numpy()
        wide = numbers if numbers.dtype == np.uint64 else numbers.astype(np.int64)
        low = (wide.view(np.uint64) & _PIECE).astype(np.int64)
        return Pieces(parts=iter([(low, 0), ((wide >> wide.dtype.type(_BITS)).astype(np.int64), _BITS)]))
    values = pc.fill_null(column.cast(pa.float64(), safe=False), 0.0).to_numpy()
    finite = np.isfinite(values)
    odd = () if finite.all() else (np.isnan(values), values == np.inf, values == -np.inf)
    mantissa, exponent = np.frexp(np.where(finite, values, 0.0))
    power = exponent.astype(np.int64) - _MANTISSA
    lowest = int(power[mantissa != 0].min(initial=0))
    whole = np.ldexp(mantissa, _MANTISSA).astype(np.int64)
    parts = _cut(whole, np.where(mantissa != 0, power - lowest, 0))
    return Pieces(parts=parts, lowest=lowest, odd=tuple(one.astype(np.int64) for one in odd))


def _cut(whole: Ints, shift: Ints) -> Iterator[tuple[Ints, int]]:
    """``whole << shift`` as pieces that aren't all 0."""
    size, within = np.abs(whole).astype(np.uint64), (shift % _BITS).astype(np.uint64)
    low, high = (size & _PIECE) << within, (size >> np.uint64(_BITS)) << within
    of_three = [low & _PIECE, (low >> np.uint64(_BITS)) + (high & _PIECE), high >> np.uint64(_BITS)]
    signed, first = [part.astype(np.int64) * np.sign(whole) for part in of_three], shift // _BITS
    for place in range(int(first.max(initial=0)) + len(signed)):
        piece = np.zeros(len(whole), np.int64)
        for after, part in enumerate(signed):
            piece += np.where(first + after == place, part, 0)
        if np.any(piece):
            yield piece, place * _BITS


def rounded_sums(pieces: Pieces, sums: Sums, divisors: Ints) -> Floats:
    """Each exact sum divided by its divisor, float64 (n_asking,), rounded once; where that is 0, by 1."""
    totals = np.zeros(len(divisors), object)
    for values, power in pieces.parts:
        totals += sums(values).astype(object) * (1 << power)
    up, down = 1 << max(pieces.lowest, 0), 1 << max(-pieces.lowest, 0)
    by = np.maximum(divisors, 1).tolist()
    found = np.array([_ratio(total * up, of * down) for total, of in zip(totals.tolist(), by, strict=True)], np.float64)
    if pieces.odd:
        nan, plus, minus = (sums(one) > 0 for one in pieces.odd)
        found[plus], found[minus], found[nan | (plus & minus)] = math.inf, -math.inf, math.nan
    return found


def _ratio(total: int, divisor: int) -> float:
    try:
        return total / divisor  # of whole numbers: correctly rounded
    except OverflowError:
        return math.copysign(math.inf, total)


def whole_sums(pieces: Pieces, sums: Sums) -> Ints | None:
    """The sums of whole numbers, int64 (n_asking,); None where one doesn't fit."""
    low, high = (sums(values) for values, _ in pieces.parts)
    top = high + (low >> _BITS)
    if np.any(top != top.astype(np.int32)):
        return None
    found: Ints = (top << _BITS) + (low & np.int64(2**_BITS - 1))
    return found
