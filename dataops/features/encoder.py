"""Encoders: from named columns to the numbers that a model takes, fixed at fit.

1. A number that is null, NaN or infinite is missing and becomes the fill fixed at fit. Then ``(x - mean) / scale``,
   where mean and scale are those of the filled column (scikit-learn's SimpleImputer and StandardScaler in a row); a
   constant column has scale 1.
2. A category becomes its place among the frequent categories of the fit (sorted by code point), counted from 1. Code 0
   is what is null, rare at fit, or unknown; the unknown and the rare are counted.
3. The output has one row per input row; a row's output depends on that row alone, to the bit.
4. Text is looked up once per distinct value, never per row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import Format, InvalidInput, NotFound
from dataops.features.columns import (
    array_of,
    column_of,
    may_lack_numbers,
    numpy_of,
    read_categories,
    read_numbers,
    require_columns,
    valid_of,
)
from dataops.features.summary import NumericSummary, Summary
from dataops.records import Record

_Absent: TypeAlias = npt.NDArray[np.bool_] | None
_LARGEST_CODE = 2**24  # the integers that a float32 of a tree's matrix holds exactly
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_BLOCK = 1 << 14  # rows: what is made of some columns on the way stays in a core's cache
_LINE = 16  # columns: as many float32 as a line of that cache holds


class NumericSpec(Protocol):
    """What is asked for numbers: see `declarations.train`."""

    @property
    def columns(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def impute(self) -> Literal["mean", "median"] | float: ...  # noqa: D102
    @property
    def scale(self) -> Literal["standard", "none"]: ...  # noqa: D102


class CategoricalSpec(Protocol):
    """What is asked for categories: see `declarations.train`."""

    @property
    def columns(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def min_count(self) -> int: ...  # noqa: D102


class FeatureSpec(Protocol):
    """The features of a train job."""

    @property
    def numeric(self) -> NumericSpec | None: ...  # noqa: D102
    @property
    def categorical(self) -> CategoricalSpec | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericColumn:
    """``(x - mean) / scale``, with `fill` for what is missing."""

    name: str
    fill: float
    mean: float
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoricalColumn:
    """Code ``i + 1`` for ``categories[i]``, 0 for the rest."""

    name: str
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """How the features of one model are made, in the order of the model's inputs."""

    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]

    def source_columns(self) -> tuple[str, ...]:
        """The columns that are read: numeric ones first, each once."""
        names = [column.name for column in self.numeric] + [column.name for column in self.categorical]
        return tuple(dict.fromkeys(names))

    def code_counts(self) -> tuple[int, ...]:
        """How many codes each categorical column can have, code 0 included."""
        return tuple(len(column.categories) + 1 for column in self.categorical)

    def record(self) -> Record:
        """The encoder as JSON; floats keep every bit."""
        numeric = [  # 0 and 0.0 are equal, and must have equal digests
            {"name": c.name, "fill": float(c.fill), "mean": float(c.mean), "scale": float(c.scale)}
            for c in self.numeric
        ]
        categorical = [{"name": c.name, "categories": list(c.categories)} for c in self.categorical]
        return {"numeric": numeric, "categorical": categorical}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The encoder that `record()` wrote.

        Raises
        ------
        Format : it didn't.
        """
        try:
            numeric = tuple(_numeric_column(column) for column in record["numeric"])
            categorical = tuple(_categorical_column(column) for column in record["categorical"])
            return cls(numeric=numeric, categorical=categorical)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Format(f"not an encoder: {type(error).__name__} while reading it") from None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """Rows as a model takes them, in one matrix.

    Parameters
    ----------
    values : ``(n_rows, n_numeric + n_categorical)`` float32, C order, finite: numbers, then codes, each below its
        column's code count.
    n_numeric : how many columns are numbers.
    unknown : rows by categorical column whose category has no code of its own; null isn't counted.
    missing : by a column's place in `values`, which rows had no value, bool (n_rows,); only columns with such rows.
    """

    values: npt.NDArray[np.float32]
    n_numeric: int
    unknown: Mapping[str, int]
    missing: Mapping[int, npt.NDArray[np.bool_]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        numeric: npt.NDArray[np.floating[Any]],
        codes: npt.NDArray[np.integer[Any]],
        *,
        unknown: Mapping[str, int] | None = None,
        missing: Mapping[int, npt.NDArray[np.bool_]] | None = None,
    ) -> Self:
        """The rows of `numeric`, ``(n_rows, n_numeric)``, with `codes`, ``(n_rows, n_categorical)``."""
        values = np.concatenate([numeric, codes], axis=1, dtype=np.float32)
        return cls(values=values, n_numeric=numeric.shape[1], unknown=unknown or {}, missing=missing or {})

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.values)

    @property
    def numeric(self) -> npt.NDArray[np.float32]:
        """The numbers, ``(n_rows, n_numeric)`` float32: a view."""
        return self.values[:, : self.n_numeric]

    @property
    def codes(self) -> npt.NDArray[np.int32]:
        """The codes, ``(n_rows, n_categorical)`` int32: a copy, so ask for it by blocks (`of_rows`)."""
        return self.values[:, self.n_numeric :].astype(np.int32)

    def of_rows(self, rows: npt.NDArray[np.integer[Any]] | slice) -> Encoded:
        """Those rows alone, as they are encoded; `unknown` isn't counted anew."""
        missing = {place: mask[rows] for place, mask in self.missing.items()}
        return Encoded(values=self.values[rows], n_numeric=self.n_numeric, unknown={}, missing=missing)


def fit_encoder(summary: Summary, spec: FeatureSpec, *, min_group_size: int = 1) -> Encoder:
    """The encoder that `spec` asks for, from what `summary` knows of the training rows.

    Parameters
    ----------
    min_group_size
        What the policies ask of figures (`Effect.min_group_size`): the encoder keeps no category of fewer rows,
        whatever `spec` says, and no mean or median of fewer values.

    Raises
    ------
    InvalidInput : with all findings: no feature at all, a column that isn't summarised, one without any value to impute
        from, or more categories than a code can tell apart.
    """
    findings: list[str] = []
    numbers, categories = spec.numeric, spec.categorical
    encoder = Encoder(
        numeric=tuple(_fit_numeric(summary, numbers, min_group_size, findings)) if numbers else (),
        categorical=tuple(_fit_categorical(summary, categories, min_group_size, findings)) if categories else (),
    )
    if not findings and not encoder.source_columns():
        findings.append("there is no feature: list columns under numeric or categorical")
    if findings:
        raise InvalidInput(f"features can't be fitted on {summary.rows} rows: " + "; ".join(findings))
    return encoder


def encode(encoder: Encoder, table: pa.Table) -> Encoded:
    """The rows of `table` as the model takes them; columns that aren't features are left alone.

    Raises
    ------
    InvalidInput : a column is missing or of a type that can't be such a feature.
    """
    require_columns(table.column_names, encoder.source_columns(), what="the encoder")
    numbers = [_Numbers(column, column_of(table, column.name)) for column in encoder.numeric]
    codes = [_Codes(column, column_of(table, column.name)) for column in encoder.categorical]
    columns: list[_Numbers | _Codes] = [*numbers, *codes]
    values = np.empty((table.num_rows, len(columns)), np.float32)
    for first in range(0, len(columns), _LINE):
        _fill(values[:, first : first + _LINE], columns[first : first + _LINE])
    absent = {place: column.absent for place, column in enumerate(columns)}
    return Encoded(
        values=values,
        n_numeric=len(numbers),
        unknown={one.column.name: one.unknown for one in codes},
        missing={place: rows for place, rows in absent.items() if rows is not None and rows.any()},
    )


def _fill(out: npt.NDArray[np.float32], columns: Sequence[_Numbers | _Codes]) -> None:
    """Fill `out`, some columns of a matrix whose rows lie in one piece, by blocks of rows of all of them.

    Column by column each value would touch a line of memory of its own: with hundreds of columns that is what encoding
    takes its time for.
    """
    block = np.empty((len(columns), min(_BLOCK, len(out))), np.float32)
    for start in range(0, max(1, len(out)), _BLOCK):  # also of no row the types are looked at
        rows = slice(start, min(start + _BLOCK, len(out)))
        for column, values in zip(columns, block, strict=True):
            column.fill(rows, values[: rows.stop - start])
        out[rows] = block[:, : rows.stop - start].T


def _fit_numeric(
    summary: Summary, spec: NumericSpec, min_group_size: int, findings: list[str]
) -> Iterator[NumericColumn]:
    for name in spec.columns:
        try:
            column = summary.numeric_column(name)
            fill = _fill_of(column, spec.impute)
        except (NotFound, InvalidInput) as error:
            findings.append(
                f"{error} Leave it out, or impute a number." if isinstance(error, InvalidInput) else str(error)
            )
            continue
        learnt = isinstance(spec.impute, str) or spec.scale == "standard"
        if learnt and 1 < min_group_size > column.finite:
            findings.append(
                f"column '{name}' has fewer than {min_group_size} values, and the policies show no figures about so "
                "few. Leave it out."
            )
            continue
        mean, scale = column.moments(fill) if spec.scale == "standard" else (0.0, 1.0)
        yield NumericColumn(name=name, fill=fill, mean=mean, scale=scale or 1.0)


def _fill_of(column: NumericSummary, impute: str | float) -> float:
    if impute == "mean":
        return column.mean()
    if impute == "median":
        return column.median()
    fill = float(impute)
    if not math.isfinite(fill):
        raise InvalidInput(f"column '{column.name}' can't be imputed with a number that isn't finite.")
    return fill


def _fit_categorical(
    summary: Summary, spec: CategoricalSpec, min_group_size: int, findings: list[str]
) -> Iterator[CategoricalColumn]:
    for name in spec.columns:
        try:
            categories = summary.categorical_column(name).frequent(max(spec.min_count, min_group_size))
        except NotFound as error:
            findings.append(str(error))
            continue
        if len(categories) >= _LARGEST_CODE:
            most = _LARGEST_CODE - 1
            findings.append(f"column '{name}' has {len(categories)} categories, {most} are possible: raise min_count")
        yield CategoricalColumn(name=name, categories=categories)


class _Numbers:
    """A numeric column on its way into the matrix; `absent` tells which of the rows that were filled had no value."""

    __slots__ = ("_column", "_scaled", "_source", "absent")

    def __init__(self, column: NumericColumn, source: pa.ChunkedArray) -> None:
        self._column, self._source = column, source
        self._scaled = (column.mean, column.scale) != (0.0, 1.0)
        self.absent: _Absent = np.zeros(len(source), np.bool_) if may_lack_numbers(source) else None

    def fill(self, rows: slice, out: npt.NDArray[np.float32]) -> None:
        """The values of `rows`."""
        column = self._column
        values = read_numbers(column.name, self._source.slice(rows.start, len(out)))
        if self.absent is not None and not (usable := np.isfinite(values)).all():
            self.absent[rows] = ~usable
            values = np.where(usable, values, column.fill)
        if self._scaled:
            with np.errstate(over="ignore"):  # clipped below
                values = values - column.mean
                values /= column.scale
        np.clip(values, -_LARGEST_FLOAT32, _LARGEST_FLOAT32, out=out, casting="same_kind")


class _Codes:
    """A categorical column on its way into the matrix; `absent` tells which rows have no value, `unknown` how many a
    category without a code of its own.
    """

    __slots__ = ("_codes", "_places", "absent", "column", "unknown")

    def __init__(self, column: CategoricalColumn, source: pa.ChunkedArray) -> None:
        stored = read_categories(column.name, source)
        categories = array_of(column.categories) if column.categories else pa.nulls(0, pa.string())
        known = pc.index_in(stored.texts, value_set=categories, skip_nulls=True)
        codes = np.zeros(len(stored.texts) + 1, np.float32)  # the last is null's
        codes[:-1] = np.where(valid_of(known), numpy_of(known) + 1, 0)
        is_null = np.append(~valid_of(stored.texts), True)
        is_unknown = (codes == 0) & ~is_null
        self.column, self._codes, self._places = column, codes, stored.indices
        self.unknown = int(np.count_nonzero(is_unknown[stored.indices])) if is_unknown.any() else 0
        self.absent: _Absent = is_null[stored.indices] if stored.may_be_null else None

    def fill(self, rows: slice, out: npt.NDArray[np.float32]) -> None:
        """The codes of `rows`."""
        out[:] = self._codes.take(self._places[rows])


def _numeric_column(record: Mapping[str, Any]) -> NumericColumn:
    column = NumericColumn(name=record["name"], **{key: float(record[key]) for key in ("fill", "mean", "scale")})
    if not column.scale > 0 or not all(map(math.isfinite, (column.fill, column.mean, column.scale))):
        raise ValueError(column.name)
    return column


def _categorical_column(record: Mapping[str, Any]) -> CategoricalColumn:
    categories = tuple(record["categories"])
    if not all(isinstance(text, str) for text in categories) or len(set(categories)) != len(categories):
        raise ValueError(record["name"])
    return CategoricalColumn(name=record["name"], categories=categories)
