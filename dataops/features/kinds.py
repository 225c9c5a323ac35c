"""The kinds of features that an encoder makes, as values that are JSON.

1. A number is a column that is shifted and scaled, a mark of what is missing, or what is looked up for a category.
2. A code is a category's place, an interval's, or a bucket's; 0 is what has no code of its own.
3. A feature has a name of its own, and one source: a column of the table, or one that is made of it (`making`).
4. What release 1 of the format wrote has the same bytes still; kinds that came later say their `kind`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from dataops.features.columns import Floats
from dataops.records import Record

LARGEST_CODE = 2**24
"""The integers that a float32 of a tree's matrix holds exactly."""

_DOMAIN = b"dataops/hash/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericColumn:
    """``(x - mean) / scale``, with `fill` for what is missing.

    Parameters
    ----------
    low, high : where x is cut off before; None: nowhere. Both or neither.
    log : whether the logarithm of 1 plus x is taken, after cutting off; x below 0 counts as 0.
    """

    name: str
    fill: float
    mean: float
    scale: float
    low: float | None = None
    high: float | None = None
    log: bool = False

    @property
    def source(self) -> str:
        """The column itself."""
        return self.name

    @property
    def is_shaped(self) -> bool:
        """Whether values are cut off, or their logarithm is taken."""
        return self.log or self.low is not None

    def shaped(self, values: Floats) -> Floats:
        """`values`, finite float64, cut off and their logarithm taken; as they are, where neither is asked for.

        Monotone. The last bit of a logarithm may depend on the kind of processor, not on the rows beside it.
        """
        if self.low is not None:
            values = np.clip(values, self.low, self.high)
        return np.log1p(np.maximum(values, 0.0)) if self.log else values

    def record(self) -> Record:
        """The column as JSON; 0 and 0.0 are equal, and must have equal digests."""
        record: Record = {"name": self.name, **{key: float(getattr(self, key)) for key in ("fill", "mean", "scale")}}
        if self.low is not None and self.high is not None:
            record |= {"low": float(self.low), "high": float(self.high)}
        return record | ({"log": True} if self.log else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorColumn:
    """1 where the source has no finite number, else 0."""

    name: str
    source: str

    def record(self) -> Record:
        """The column as JSON."""
        return {"kind": "is_missing", "name": self.name, "source": self.source}


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupColumn:
    """``values[i]`` for ``categories[i]``, `other` for the rest: null, rare at fit, unknown.

    Parameters
    ----------
    of : what the values are, ``frequency`` or ``target``.
    """

    name: str
    source: str
    of: str
    categories: tuple[str, ...]
    values: tuple[float, ...]
    other: float

    def record(self) -> Record:
        """The column as JSON; floats keep every bit."""
        found = {"values": [float(value) for value in self.values], "other": float(self.other)}
        names = {"kind": self.of, "name": self.name, "source": self.source}
        return {**names, "categories": list(self.categories), **found}


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoricalColumn:
    """Code ``i + 1`` for ``categories[i]``, 0 for the rest."""

    name: str
    categories: tuple[str, ...]

    @property
    def source(self) -> str:
        """The column itself."""
        return self.name

    @property
    def n_codes(self) -> int:
        """How many codes there are, 0 included."""
        return len(self.categories) + 1

    def record(self) -> Record:
        """The column as JSON."""
        return {"name": self.name, "categories": list(self.categories)}


@dataclass(frozen=True, slots=True, kw_only=True)
class BinColumn:
    """Code ``i + 1`` for ``edges[i - 1] <= x < edges[i]``, 0 for what is missing; the first and the last are open."""

    name: str
    source: str
    edges: tuple[float, ...]

    @property
    def n_codes(self) -> int:
        """How many codes there are, 0 included."""
        return len(self.edges) + 2

    def record(self) -> Record:
        """The column as JSON; edges keep every bit."""
        return {"kind": "bins", "name": self.name, "source": self.source, "edges": [float(one) for one in self.edges]}


@dataclass(frozen=True, slots=True, kw_only=True)
class HashColumn:
    """Code 1 to `buckets` by a hash of the category's text, 0 for null."""

    name: str
    source: str
    buckets: int

    @property
    def n_codes(self) -> int:
        """How many codes there are, 0 included."""
        return self.buckets + 1

    def code_of(self, text: str) -> int:
        """The code of a category: keyed BLAKE2b of its UTF-8 bytes, so the same everywhere and for ever."""
        hashed = blake2b(text.encode("utf-8", "surrogatepass"), key=_DOMAIN, digest_size=8).digest()
        return 1 + int.from_bytes(hashed, "little") % self.buckets

    def record(self) -> Record:
        """The column as JSON."""
        return {"kind": "hash", "name": self.name, "source": self.source, "buckets": self.buckets}


NumberColumn: TypeAlias = NumericColumn | IndicatorColumn | LookupColumn
CodeColumn: TypeAlias = CategoricalColumn | BinColumn | HashColumn


def number_column(record: Mapping[str, Any]) -> NumberColumn:
    """The column that a `record` method of a number wrote.

    Raises
    ------
    KeyError, TypeError, ValueError, OverflowError : it didn't.
    """
    kind = record.get("kind")
    if kind is None:
        return _numeric_column(record)
    if kind == "is_missing":
        return IndicatorColumn(name=_text(record["name"]), source=_text(record["source"]))
    if kind not in ("frequency", "target"):
        raise ValueError("kind")
    column = LookupColumn(
        name=_text(record["name"]),
        source=_text(record["source"]),
        of=kind,
        categories=_categories(record["categories"]),
        values=_finite(record["values"]),
        other=_finite([record["other"]])[0],
    )
    if len(column.values) != len(column.categories):
        raise ValueError(column.name)
    return column


def code_column(record: Mapping[str, Any]) -> CodeColumn:
    """The column that a `record` method of a code wrote; raises as `number_column`."""
    name, kind = _text(record["name"]), record.get("kind")
    if kind is None:
        return CategoricalColumn(name=name, categories=_categories(record["categories"]))
    source = _text(record["source"])
    if kind == "bins":
        edges = _finite(record["edges"])
        if any(one >= after for one, after in pairwise(edges)):
            raise ValueError(name)
        return BinColumn(name=name, source=source, edges=edges)
    buckets = record["buckets"]
    if kind != "hash" or not isinstance(buckets, int) or not 1 < buckets < LARGEST_CODE:
        raise ValueError(name)
    return HashColumn(name=name, source=source, buckets=buckets)


def _numeric_column(record: Mapping[str, Any]) -> NumericColumn:
    fill, mean, scale = _finite([record[key] for key in ("fill", "mean", "scale")])
    low, high = _finite([record["low"], record["high"]]) if "low" in record else (None, None)
    column = NumericColumn(
        name=_text(record["name"]), fill=fill, mean=mean, scale=scale, low=low, high=high, log=bool(record.get("log"))
    )
    if not scale > 0 or (low is not None and high is not None and low > high):
        raise ValueError(column.name)
    return column


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _finite(values: Sequence[Any]) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if not all(map(math.isfinite, found)):
        raise ValueError("number")
    return found


def _categories(values: Sequence[Any]) -> tuple[str, ...]:
    texts = tuple(values)
    if not all(isinstance(text, str) for text in texts) or len(set(texts)) != len(texts):
        raise ValueError("categories")
    return texts
