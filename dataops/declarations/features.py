"""Features, declared: the columns that a model sees, in groups that are treated alike.

1. A group of each kind may be written as one mapping, or as a list of them.
2. A feature has a name: that of its column, or of what is made of it, as in ``bins(age)`` or ``hour(left)``. No two
   features have the same.
3. Keys that a release added leave no trace in records where they have their default, so that equal declarations have
   equal digests under every release.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from dataops.declarations.declaration import ColumnName, Declaration, Text, find_repeats
from dataops.declarations.loader import Finding, Place

BUCKETS = 1024
"""Codes of `encode: hash` where `buckets` doesn't say."""
SMOOTHING = 10.0
"""Rows of the overall mean that `encode: target` mixes in where `smoothing` doesn't say."""
PERIODIC = ("quarter", "month", "week", "day", "day_of_year", "weekday", "hour", "minute")
"""Parts of a date that begin anew, and so can be told as a place on a circle."""

MOST_BUCKETS = 1_000_000
MOST_BINS = 1000
MOST_CROSSED = 4

Part = Literal["year", "quarter", "month", "week", "day", "day_of_year", "weekday", "hour", "minute"]
Encode = Literal["ordinal", "frequency", "target", "hash"]
Group = TypeVar("Group")


class _Growing(Declaration):
    """A declaration to which releases added keys."""

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            key: value
            for key, value in serialise(self).items()
            if key not in self.later or getattr(self, key) != fields[key].get_default(call_default_factory=True)
        }


class ClipQuantiles(Declaration):
    """Where values are cut off, as shares of the training rows."""

    quantiles: tuple[float, float]
    """The shares of values below the lower and the upper end, each 0 to 1."""

    def check(self) -> Iterator[Finding]:
        """Shares that aren't, or don't rise."""
        low, high = self.quantiles
        if not 0 <= low < high <= 1:
            yield Finding(place=("quantiles",), message="expected two shares from 0 to 1, the lower one first")


class NumericFeatures(_Growing):
    """Columns that enter a model as numbers."""

    later: ClassVar[frozenset[str]] = frozenset({"indicator", "clip", "log", "bins"})

    columns: tuple[ColumnName, ...] = ()
    """Names of numeric columns. Default: none."""
    impute: Literal["median", "mean"] | float = "median"
    """What stands in for a missing value: `median` or `mean` of the training rows, or a number in the column's unit.
    Default: `median`."""
    indicator: bool = False
    """Whether a second feature says where the value was missing: 1 there, else 0. Default: false."""
    clip: ClipQuantiles | tuple[float, float] | None = None
    """Where values are cut off: `[low, high]` in the column's unit, or `{quantiles: [0.01, 0.99]}` of the training
    rows. Default: nowhere."""
    log: bool = False
    """Whether the logarithm of 1 plus the value is taken, after clipping; for values of at least 0. Default: false."""
    scale: Literal["standard", "min_max", "robust", "none"] = "standard"
    """`standard` shifts to mean 0 and scales to standard deviation 1 over the training rows; `min_max` makes the least
    value 0 and the largest 1; `robust` makes the median 0 and the distance of the quartiles 1; `none` leaves values as
    they are. Default: `standard`."""
    bins: Annotated[int, Field(ge=2, le=MOST_BINS)] | None = None
    """Makes a category of the number: its place among so many intervals of about equally many training rows, 2 to 1000;
    what is missing has a code of its own. Default: it stays a number."""

    def check(self) -> Iterator[Finding]:
        """Repeated columns; keys that don't go together."""
        yield from find_repeats(self.columns, ("columns",))
        if self.bins is not None:
            for key in ("impute", "indicator", "clip", "log", "scale"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    yield Finding(place=(key,), message="bins are made of the values as they are; keep one of the two")
        if isinstance(self.clip, tuple):
            low, high = self.clip
            if low >= high:
                yield Finding(place=("clip",), message="expected two numbers, the lower one first")
            if self.log and low < 0:
                yield Finding(place=("clip", 0), message="log takes values of at least 0; clip at 0 or above")
        if self.log and isinstance(self.impute, float) and self.impute < 0:
            yield Finding(place=("impute",), message="log takes values of at least 0; impute such a value")

    @property
    def is_number(self) -> bool:
        """Whether a model takes them as numbers."""
        return self.bins is None

    def names(self, column: str) -> tuple[str, ...]:
        """What the features of `column` are called."""
        if self.bins is not None:
            return (f"bins({column})",)
        return (column, f"is_missing({column})") if self.indicator else (column,)


class _Categories(_Growing):
    """How the categories of a column, or of several crossed, become what a model takes."""

    later: ClassVar[frozenset[str]] = frozenset({"buckets", "smoothing"})

    columns: tuple[ColumnName, ...] = ()
    """Names of columns of text, booleans or whole numbers. Default: none."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """Training rows that a value needs to count as a category, at least 1; rarer values are coded as unknown.
    Default: 1."""
    encode: Encode = "ordinal"
    """How categories become numbers: `ordinal`, a code per category in sorted order, 0 for unknown (linear models have
    a coefficient for each code); `frequency`, the share of training rows; `target`, the mean of the target, for
    training rows of other rows than their own; `hash`, one of `buckets` codes, so that none is unknown. Default:
    `ordinal`."""
    buckets: Annotated[int, Field(ge=2, le=MOST_BUCKETS)] | None = None
    """Codes that `hash` parts values among, 2 to 1000000. Default: 1024."""
    smoothing: Annotated[float, Field(ge=0, le=1e9)] | None = None
    """Rows of the overall mean that `target` mixes into a category's own. Default: 10."""

    def check(self) -> Iterator[Finding]:
        """Repeated columns; keys of another encoding."""
        yield from find_repeats(self.columns, ("columns",))
        if self.buckets is not None and self.encode != "hash":
            yield Finding(place=("buckets",), message=f"only `encode: hash` has buckets, not {self.encode!r}")
        if self.smoothing is not None and self.encode != "target":
            yield Finding(place=("smoothing",), message=f"only `encode: target` is smoothed, not {self.encode!r}")
        if self.encode == "hash" and self.min_count > 1:
            yield Finding(place=("min_count",), message="hash takes all values alike; leave min_count out")

    @property
    def is_number(self) -> bool:
        """Whether a model takes them as numbers."""
        return self.encode in ("frequency", "target")

    def name_of(self, source: str) -> str:
        """What the feature of `source`, a column or a cross, is called."""
        return source if self.encode == "ordinal" else f"{self.encode}({source})"


class CategoricalFeatures(_Categories):
    """Columns that enter a model as one of a set of values."""

    def names(self, column: str) -> tuple[str, ...]:
        """What the features of `column` are called."""
        return (self.name_of(column),)


class Cross(_Categories):
    """Columns whose values together are one category: null where one of them is."""

    columns: Annotated[tuple[ColumnName, ...], Field(min_length=2, max_length=MOST_CROSSED)]
    """Names of two to four columns of text, booleans or whole numbers."""

    @property
    def source(self) -> str:
        """What the crossed column is called."""
        return f"cross({', '.join(self.columns)})"


class DateFeatures(Declaration):
    """Columns of dates or times, of which parts enter a model."""

    columns: Annotated[tuple[ColumnName, ...], Field(min_length=1)]
    """Names of columns of dates or timestamps."""
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]
    """`year`, `quarter`, `month`, `week` (of ISO 8601, 1 to 53), `day` (of the month), `day_of_year`, `weekday` (1 is
    Monday, 7 Sunday), `hour`, `minute`."""
    encode: Literal["number", "cyclical", "category"] = "number"
    """`number`: as it is, imputed by the median and scaled to mean 0 and standard deviation 1; `cyclical`: sine and
    cosine of the place on a circle, so that December is beside January, both 0 where the date is missing; `category`: a
    code for each value. Default: `number`."""
    zone: Text | None = None
    """The time zone whose clocks and calendar count, as `America/New_York`, for timestamps that have a zone. Default:
    UTC; timestamps without a zone are taken as they stand."""

    def check(self) -> Iterator[Finding]:
        """Repeats, what isn't periodic on a circle, a zone that there isn't."""
        yield from find_repeats(self.columns, ("columns",))
        yield from find_repeats(self.parts, ("parts",))
        for position, part in enumerate(self.parts):
            if self.encode == "cyclical" and part not in PERIODIC:
                yield Finding(place=("parts", position), message=f"a {part} doesn't come again; tell it as a number")
        if self.zone is not None and not _is_zone(self.zone):
            yield Finding(place=("zone",), message="no time zone of that name is known here, as 'Europe/Paris' is")

    @property
    def is_number(self) -> bool:
        """Whether a model takes them as numbers."""
        return self.encode != "category"

    def names(self, column: str) -> tuple[str, ...]:
        """What the features of `column` are called."""
        plain = [f"{part}({column})" for part in self.parts]
        waves = [f"{wave}({name})" for name in plain for wave in ("sin", "cos")]
        return tuple(waves if self.encode == "cyclical" else plain)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


class FeatureSpec(_Growing):
    """The columns that a model sees, and how; frozen into the model version as its feature program."""

    later: ClassVar[frozenset[str]] = frozenset({"dates", "crosses"})

    numeric: NumericFeatures | tuple[NumericFeatures, ...] = NumericFeatures()
    """Columns that enter as numbers: one group, or a list of groups. Default: none."""
    categorical: CategoricalFeatures | tuple[CategoricalFeatures, ...] = CategoricalFeatures()
    """Columns that enter as categories: one group, or a list of groups. Default: none."""
    dates: DateFeatures | tuple[DateFeatures, ...] = ()
    """Columns of dates or times of which parts enter: one group, or a list of groups. Default: none."""
    crosses: Cross | tuple[Cross, ...] = ()
    """Columns that enter together, as one category: one cross, or a list of them. Default: none."""

    @property
    def numeric_groups(self) -> tuple[NumericFeatures, ...]:
        """The groups of numbers."""
        return _as_groups(self.numeric)

    @property
    def categorical_groups(self) -> tuple[CategoricalFeatures, ...]:
        """The groups of categories."""
        return _as_groups(self.categorical)

    @property
    def date_groups(self) -> tuple[DateFeatures, ...]:
        """The groups of dates."""
        return _as_groups(self.dates)

    @property
    def all_crosses(self) -> tuple[Cross, ...]:
        """The crosses."""
        return _as_groups(self.crosses)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that features are made of, each once: numeric, categorical, of dates, crossed."""
        return tuple(dict.fromkeys(column for _, column in self.places()))

    def places(self) -> Iterator[tuple[Place, str]]:
        """Each column that is listed, and where."""
        for kind, groups in self._kinds():
            for start, group in zip(_places(kind, getattr(self, kind)), groups, strict=True):
                for position, column in enumerate(group.columns):
                    yield (*start, "columns", position), column

    def names(self) -> Iterator[tuple[Place, str]]:
        """What each feature is called, and where the column is listed that it is made of."""
        for kind, groups in self._kinds():
            for start, group in zip(_places(kind, getattr(self, kind)), groups, strict=True):
                if isinstance(group, Cross):
                    yield start, group.name_of(group.source)
                    continue
                for position, column in enumerate(group.columns):
                    for name in group.names(column):
                        yield (*start, "columns", position), name

    @property
    def numbers(self) -> tuple[str, ...]:
        """The features that a model takes as numbers."""
        return self._of_kind(is_number=True)

    @property
    def codes(self) -> tuple[str, ...]:
        """The features that a model takes as codes of categories."""
        return self._of_kind(is_number=False)

    def _of_kind(self, *, is_number: bool) -> tuple[str, ...]:
        return tuple(
            name
            for _, groups in self._kinds()
            for group in groups
            if group.is_number == is_number
            for name in ([group.name_of(group.source)] if isinstance(group, Cross) else _names(group))
        )

    def check(self) -> Iterator[Finding]:
        """No feature at all, or two of one name."""
        if not self.columns:
            yield Finding(place=(), message="no features: list columns under numeric or categorical")
        first: dict[str, str] = {}
        for place, name in self.names():
            kind = str(place[0])
            if name not in first:
                first[name] = kind
            elif first[name] != kind:
                yield Finding(place=place, message=f"{name!r} is listed under {first[name]} too; keep one of the two")
            else:
                yield Finding(place=place, message=f"{name!r} is made by another group too; keep one of the two")

    def _kinds(
        self,
    ) -> Iterator[tuple[str, tuple[NumericFeatures | CategoricalFeatures | DateFeatures | Cross, ...]]]:
        yield "numeric", self.numeric_groups
        yield "categorical", self.categorical_groups
        yield "dates", self.date_groups
        yield "crosses", self.all_crosses


def _names(group: NumericFeatures | CategoricalFeatures | DateFeatures) -> Iterator[str]:
    for column in group.columns:
        yield from group.names(column)


def _as_groups(value: Group | tuple[Group, ...]) -> tuple[Group, ...]:
    return value if isinstance(value, tuple) else (value,)


def _places(kind: str, value: object) -> list[Place]:
    """Where the groups that `value` holds stand."""
    return [(kind, number) for number in range(len(value))] if isinstance(value, tuple) else [(kind,)]
