"""Summaries: what one pass over rows leaves behind, mergeable without loss.

1. Everything in a summary is exact or rounded value by value, so any split of the rows, merged in any grouping and
   order, gives the same summary: counts, extremes, sums (exact fractions), quantile histogram and category counts.
2. Null and NaN are `missing`; infinities are counted apart as `infinite` and take part in nothing else.
3. A quantile is the inverted CDF of the values rounded to 13 significant bits: its relative error is at most
   ``2**-13`` for normal float64 values, and none for integers up to 8192. No sampling, so no randomness.
4. A histogram has at most 4096 points per power of two; categories are kept all, sorted by code point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import Format, InvalidInput, NotFound, near_match
from dataops.features.columns import Floats, Ints, column_of, read_categories, read_numbers, require_columns
from dataops.features.exactsum import exact_moments
from dataops.features.target import Outcomes, TargetSummary, merge_targets, summarise_target
from dataops.features.whole import count_few, count_whole, moments_of
from dataops.records import Record

Keys = npt.NDArray[np.int32]

_CUT_BITS = 40  # of the 52 stored mantissa bits; 12 stay, 13 with the implicit one
_WITHOUT_SIGN = 0x7FFF_FFFF_FFFF_FFFF
_LARGEST = float(np.finfo(np.float64).max)
_AT_ONCE = 32
_BLOCK = 1 << 14  # values: what is computed on them stays in a core's cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NumericSummary:
    """One column of numbers. Two are compared by their `record()`.

    Parameters
    ----------
    name : the column.
    rows, missing, infinite : all rows; those null or NaN; those infinite. The rest are `finite`.
    minimum, maximum : over finite values; None where there is none.
    total, squares : exact sums of finite values and of their squares.
    keys : ``(n_points,)`` int32, sorted: values rounded to 13 significant bits, in an order-preserving code.
    counts : ``(n_points,)`` int64: finite values at each key.
    """

    name: str
    rows: int
    missing: int
    infinite: int
    minimum: float | None
    maximum: float | None
    total: Fraction
    squares: Fraction
    keys: Keys
    counts: Ints

    @property
    def finite(self) -> int:
        """How many values are numbers."""
        return self.rows - self.missing - self.infinite

    def mean(self) -> float:
        """The mean of the finite values, correctly rounded."""
        return float(self.total / self._require_values())

    def moments(self, fill: float) -> tuple[float, float]:
        """Mean and population standard deviation over all rows, with `fill` where no finite value is."""
        if not self.rows:
            return fill, 0.0
        filled = self.rows - self.finite
        mean = (self.total + filled * Fraction(fill)) / self.rows
        variance = (self.squares + filled * Fraction(fill) ** 2) / self.rows - mean * mean
        return float(mean), _square_root(variance)

    def quantile(self, probability: float) -> float:
        """The smallest value with at least `probability` (0 to 1) of the finite values at or below it; see rule 3.

        The share is the decimal that it is written as: 0.07 of 100 values are 7, not the 7.000000000000001 of floats.
        """
        rank = math.ceil(Fraction(str(probability)) * self._require_values())
        return self._order_statistic(max(rank, 1))

    def median(self) -> float:
        """The middle value, or the mean of the two middle ones; error as in rule 3 where those are of one sign."""
        finite = self._require_values()
        low, high = self._order_statistic((finite + 1) // 2), self._order_statistic(finite // 2 + 1)
        return low if low == high else low / 2 + high / 2

    def _order_statistic(self, rank: int) -> float:
        place = int(np.searchsorted(np.cumsum(self.counts), rank))
        value = float(values_of(self.keys[place : place + 1])[0])
        return float(np.clip(value, self.minimum, self.maximum))  # rounding may have gone past the ends

    def _require_values(self) -> int:
        if not self.finite:
            raise InvalidInput(f"column '{self.name}' has no finite value among {self.rows} rows")
        return self.finite

    def record(self) -> Record:
        """The summary as JSON; exact sums as fractions in text."""
        plain = {name: getattr(self, name) for name in ("name", "rows", "missing", "infinite", "minimum", "maximum")}
        sums = {"total": str(self.total), "squares": str(self.squares)}
        return {**plain, **sums, "keys": self.keys.tolist(), "counts": self.counts.tolist()}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The summary that `record()` wrote."""
        exact = {"total": Fraction(record["total"]), "squares": Fraction(record["squares"])}
        arrays = {"keys": np.array(record["keys"], np.int32), "counts": np.array(record["counts"], np.int64)}
        return cls(**{**record, **exact, **arrays})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CategorySummary:
    """One column of categories. Two are compared by their `record()`.

    Parameters
    ----------
    name : the column.
    rows, missing : all rows; those null or NaN.
    values : distinct categories as text, sorted by code point.
    counts : ``(n_values,)`` int64.
    """

    name: str
    rows: int
    missing: int
    values: pa.StringArray
    counts: Ints

    def frequent(self, min_count: int) -> tuple[str, ...]:
        """The categories that occur at least `min_count` times, sorted."""
        return tuple(self.values.filter(pa.array(self.counts >= min_count)).to_pylist())

    def record(self) -> Record:
        """The summary as JSON."""
        plain = {"name": self.name, "rows": self.rows, "missing": self.missing}
        return {**plain, "values": self.values.to_pylist(), "counts": self.counts.tolist()}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The summary that `record()` wrote."""
        values, counts = pa.array(record["values"], pa.string()), np.array(record["counts"], np.int64)
        return cls(**{**record, "values": values, "counts": counts})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summary:
    """What is known of some rows: one entry per column asked for, in the order asked for.

    `targets` are of the columns whose categories a mean of the target is asked for.
    """

    rows: int
    numeric: tuple[NumericSummary, ...]
    categorical: tuple[CategorySummary, ...]
    targets: tuple[TargetSummary, ...] = ()

    def numeric_column(self, name: str) -> NumericSummary:
        """The numeric column `name`; NotFound if it isn't summarised."""
        return next((column for column in self.numeric if column.name == name), None) or _unknown(name, self.numeric)

    def categorical_column(self, name: str) -> CategorySummary:
        """The categorical column `name`; NotFound if it isn't summarised."""
        found = next((column for column in self.categorical if column.name == name), None)
        return found or _unknown(name, self.categorical)

    def target_column(self, name: str) -> TargetSummary:
        """The target by category of the column `name`; NotFound if it isn't summarised."""
        return next((column for column in self.targets if column.name == name), None) or _unknown(name, self.targets)

    def record(self) -> Record:
        """The summary as JSON."""
        numeric, categorical = ([column.record() for column in part] for part in (self.numeric, self.categorical))
        targets = {"targets": [column.record() for column in self.targets]} if self.targets else {}
        return {"rows": self.rows, "numeric": numeric, "categorical": categorical, **targets}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The summary that `record()` wrote.

        Raises
        ------
        Format : it didn't.
        """
        try:
            numeric = tuple(NumericSummary.from_record(column) for column in record["numeric"])
            categorical = tuple(CategorySummary.from_record(column) for column in record["categorical"])
            targets = tuple(TargetSummary.from_record(column) for column in record.get("targets", ()))
            return cls(rows=record["rows"], numeric=numeric, categorical=categorical, targets=targets)
        except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise Format(f"not a summary: {type(error).__name__} while reading it") from None


def summarise(
    table: pa.Table,
    numeric: Sequence[str],
    categorical: Sequence[str],
    targets: Sequence[str] = (),
    outcomes: Outcomes | None = None,
) -> Summary:
    """The summary of `table`'s rows, however few: `numeric` columns as numbers, `categorical` ones as categories.

    Parameters
    ----------
    targets, outcomes : the columns by whose categories the target is summed, and the target.

    Raises
    ------
    InvalidInput : a column is missing, or of a type that can't be summarised so; a target that isn't a whole number.
    """
    require_columns(table.column_names, [*numeric, *categorical, *targets], what="the summary")
    return Summary(
        rows=table.num_rows,
        numeric=tuple(_summarise_numbers(name, column_of(table, name)) for name in numeric),
        categorical=tuple(_summarise_categories(name, column_of(table, name)) for name in categorical),
        targets=tuple(
            summarise_target(name, column_of(table, name), outcomes) for name in targets if outcomes is not None
        ),
    )


def merge(summaries: Sequence[Summary]) -> Summary:
    """The summary of all rows of `summaries`: associative and commutative, since every part is exact.

    Raises
    ------
    InvalidInput : there is none, or they aren't of the same columns.
    """
    if not summaries:
        raise InvalidInput("no summary to merge: there must be one unit at least")
    if len({_shape(summary) for summary in summaries}) > 1:
        raise InvalidInput(f"{len(summaries)} summaries to merge aren't all of the same columns in the same order")
    return Summary(
        rows=sum(summary.rows for summary in summaries),
        numeric=tuple(_merge_numbers(parts) for parts in zip(*(s.numeric for s in summaries), strict=True)),
        categorical=tuple(_merge_categories(parts) for parts in zip(*(s.categorical for s in summaries), strict=True)),
        targets=tuple(merge_targets(parts) for parts in zip(*(s.targets for s in summaries), strict=True)),
    )


class Merging:
    """Summaries merged as they come: never more than `_AT_ONCE` of them in memory."""

    def __init__(self) -> None:
        self._waiting: list[Summary] = []

    def add(self, summary: Summary) -> None:
        """`summary` counts too."""
        self._waiting.append(summary)
        if len(self._waiting) >= _AT_ONCE:
            self._waiting = [merge(self._waiting)]

    def merged(self) -> Summary:
        """The summary of all; see `merge`."""
        return merge(self._waiting)


def _summarise_numbers(name: str, column: pa.ChunkedArray) -> NumericSummary:
    if (counted := count_whole(column)) is not None:
        return _summarise_counted(name, column, *counted)
    values = read_numbers(name, column)
    usable = np.isfinite(values)
    finite = values if usable.all() else values[usable]
    few = count_few(finite)
    total, squares = exact_moments(finite) if few is None else moments_of(*few)
    keys, counts = _by_key(finite, None) if few is None else _by_key(*few)
    missing = int(np.count_nonzero(np.isnan(values))) if len(finite) < len(values) else 0
    return NumericSummary(
        name=name,
        rows=len(values),
        missing=missing,
        infinite=len(values) - len(finite) - missing,
        minimum=float(finite.min()) + 0.0 if len(finite) else None,  # + 0.0: which zero is least must not show
        maximum=float(finite.max()) + 0.0 if len(finite) else None,
        total=total,
        squares=squares,
        keys=keys,
        counts=counts,
    )


def _by_key(values: Floats, counts: Ints | None) -> tuple[Keys, Ints]:
    """The keys of `values`, each once, and how many values have them; each value counts as often as `counts` says."""
    if counts is None:
        keys, rows = np.unique(keys_of(values), return_counts=True)
        return keys, rows.astype(np.int64)
    keys, places = np.unique(keys_of(values), return_inverse=True)
    by_key = np.zeros(len(keys), np.int64)
    np.add.at(by_key, places, counts)
    return keys, by_key


def _summarise_counted(name: str, column: pa.ChunkedArray, values: Floats, counts: Ints) -> NumericSummary:
    """What is known of whole numbers from how often each is there."""
    total, squares = moments_of(values, counts)
    keys, by_key = _by_key(values, counts)
    return NumericSummary(
        name=name,
        rows=len(column),
        missing=column.null_count,
        infinite=0,
        minimum=float(values[0]),
        maximum=float(values[-1]),
        total=total,
        squares=squares,
        keys=keys,
        counts=by_key,
    )


def keys_of(values: Floats) -> Keys:
    """Each value rounded to 13 significant bits, as an int that sorts as the value does; both zeros are 0."""
    keys = np.empty(len(values), np.int32)
    for start in range(0, len(values), _BLOCK):
        bits = values[start : start + _BLOCK].view(np.int64)
        size = bits & _WITHOUT_SIGN
        size += 1 << (_CUT_BITS - 1)
        size >>= _CUT_BITS
        sign = bits >> 63  # 0 or -1; (size ^ -1) + 1 is -size
        size ^= sign
        size -= sign
        keys[start : start + _BLOCK] = size
    return keys


def values_of(keys: Keys) -> Floats:
    """The values that `keys` stand for, float64."""
    size = (np.abs(keys).astype(np.int64) << _CUT_BITS).view(np.float64)
    return np.copysign(size, keys)


def starts_of(keys: Keys) -> Floats:
    """The least value that is rounded to each of `keys`, float64; finite, also where that of the last key isn't."""
    away = np.where(keys > 0, keys, 1 - keys.astype(np.int64)).astype(np.int64)  # -5 begins where 6 does, mirrored
    size = ((away << _CUT_BITS) - (1 << (_CUT_BITS - 1))).view(np.float64)
    return np.clip(np.where(keys > 0, size, -size), -_LARGEST, _LARGEST)


def _merge_numbers(parts: Sequence[NumericSummary]) -> NumericSummary:
    keys, places = np.unique(np.concatenate([part.keys for part in parts]), return_inverse=True)
    counts = np.zeros(len(keys), np.int64)
    np.add.at(counts, places, np.concatenate([part.counts for part in parts]))
    return NumericSummary(
        name=parts[0].name,
        rows=sum(part.rows for part in parts),
        missing=sum(part.missing for part in parts),
        infinite=sum(part.infinite for part in parts),
        minimum=min((part.minimum for part in parts if part.minimum is not None), default=None),
        maximum=max((part.maximum for part in parts if part.maximum is not None), default=None),
        total=sum((part.total for part in parts), Fraction()),
        squares=sum((part.squares for part in parts), Fraction()),
        keys=keys,
        counts=counts,
    )


def _summarise_categories(name: str, column: pa.ChunkedArray) -> CategorySummary:
    categories = read_categories(name, column)
    places = len(categories.texts)
    counts = np.bincount(categories.indices, minlength=places + 1)[:places].astype(np.int64)
    values, counts = _count_texts(categories.texts, counts)
    rows = len(categories.indices)
    return CategorySummary(name=name, rows=rows, missing=rows - int(counts.sum()), values=values, counts=counts)


def _merge_categories(parts: Sequence[CategorySummary]) -> CategorySummary:
    texts = pa.concat_arrays([part.values for part in parts])
    values, counts = _count_texts(texts, np.concatenate([part.counts for part in parts]))
    rows, missing = sum(part.rows for part in parts), sum(part.missing for part in parts)
    return CategorySummary(name=parts[0].name, rows=rows, missing=missing, values=values, counts=counts)


def _count_texts(texts: pa.StringArray, counts: Ints) -> tuple[pa.StringArray, Ints]:
    """Distinct texts in code-point order with their counts added up; without null and without what doesn't occur."""
    table = pa.table({"text": texts, "count": counts}).filter((pc.field("count") > 0) & pc.field("text").is_valid())
    grouped = table.group_by("text", use_threads=False).aggregate([("count", "sum")]).sort_by("text").combine_chunks()
    values = pa.concat_arrays(grouped.column("text").chunks) if grouped.num_rows else pa.array([], pa.string())
    return values, grouped.column("count_sum").to_numpy().astype(np.int64)


def _shape(summary: Summary) -> Any:
    return tuple(
        tuple(column.name for column in part) for part in (summary.numeric, summary.categorical, summary.targets)
    )


def _square_root(value: Fraction) -> float:
    """The root of a fraction that may itself be too large or small for a float64."""
    halvings = (value.numerator.bit_length() - value.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(value / Fraction(4) ** halvings), halvings) if value > 0 else 0.0


def _unknown(name: str, columns: Sequence[NumericSummary] | Sequence[CategorySummary] | Sequence[TargetSummary]) -> Any:
    raise NotFound(f"the summary has no column '{name}'.{near_match(name, [column.name for column in columns])}")
