"""Splits by the hash of keys, or by time: a row keeps its side as data grows, whatever unit or run it comes in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import InvalidInput

SPLIT_COLUMN = "split"
TRAIN, TEST = "train", "test"
_BETWEEN, _NULL = "\x1f", "\x00"  # characters that no key's text needs: they keep ("a", "bc") apart from ("ab", "c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """How rows are parted.

    Attributes
    ----------
    keys : the columns that decide; one of times where there is a `start`.
    test : share of the keys that is kept for testing, 0 to 1; of no account where there is a `start`.
    start : the first moment that is kept for testing; None: rows are parted by the hash of the keys.
    """

    keys: tuple[str, ...]
    test: float = 0.0
    start: date | datetime | None = None

    def of(self, table: pa.Table) -> pa.Array:
        """``train`` or ``test`` for each row of `table`."""
        keys = [table.column(name) for name in self.keys]
        if self.start is not None:
            return assign_split_by_time(keys[0], start=split_start(self.start, keys[0].type))
        return assign_split(keys, test=self.test)


def assign_split(keys: Sequence[pa.ChunkedArray], *, test: float) -> pa.Array:
    """``train`` or ``test`` for each row: ``test`` where BLAKE2b-64 of the keys' text, as a fraction of 2**64, is
    below `test`.

    Equal keys get equal sides; null is a key of its own.
    """
    texts = [key.cast(pa.string()) for key in keys]
    joined = pc.binary_join_element_wise(*texts, _BETWEEN, null_handling="replace", null_replacement=_NULL)
    codes = joined.combine_chunks().dictionary_encode()
    sides = [TEST if _fraction(value) < test else TRAIN for value in codes.dictionary.to_pylist()]
    return pa.array(sides, pa.string()).take(codes.indices)


def _fraction(value: str) -> float:
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "big") / 2**64


def split_start(moment: date | datetime, type_: pa.DataType) -> pa.Scalar:
    """The first moment of the test side, as values of `type_` have it; of a day its beginning.

    Raises
    ------
    InvalidInput : `type_` is no time, or one that `moment` can't be compared with.
    """
    has_time = isinstance(moment, datetime)
    if pa.types.is_date(type_):
        if has_time:
            raise InvalidInput(f"the column holds days ({type_}); expected one like '2013-10-01'")
        return pa.scalar(moment, pa.date32()).cast(type_)
    if not pa.types.is_timestamp(type_):
        raise InvalidInput(f"expected a column of times or dates, found {type_}")
    start = moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001
    if type_.tz is None and start.tzinfo is not None:
        raise InvalidInput(f"the column's times have no zone ({type_}); leave the zone out")
    if type_.tz is not None:
        start = start.replace(tzinfo=start.tzinfo or UTC).astimezone(UTC)
    try:
        return pa.scalar(start, type_)
    except (pa.ArrowInvalid, OverflowError):
        raise InvalidInput(f"{moment} is no {type_}; name a moment that values of it can have") from None


def assign_split_by_time(times: pa.ChunkedArray, *, start: pa.Scalar) -> pa.Array:
    """``test`` for each row from `start` on, and for one without a time; ``train`` for those before."""
    before = pc.fill_null(pc.less(times, start), False)  # noqa: FBT003  # Arrow takes the value by place
    sides: pa.ChunkedArray = pc.if_else(before, TRAIN, TEST)
    return sides.combine_chunks()
