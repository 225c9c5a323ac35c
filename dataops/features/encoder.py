"""Encoders: from named columns to the numbers that a model takes, fixed at fit.

1. A number that is null, NaN or infinite is missing and becomes the fill fixed at fit. It is then cut off and its
   logarithm taken, where that was asked for, and ``(x - mean) / scale``: scikit-learn's SimpleImputer and scalers in a
   row; a constant column has scale 1.
2. A category becomes its place among the frequent categories of the fit (sorted by code point), counted from 1, or what
   is looked up for it. Code 0 is what is null, rare at fit, or unknown; the unknown and the rare are counted.
3. The output has one row per input row; a row's output depends on that row alone, to the bit. Training rows alone are
   encoded otherwise, and only by a target's means: without what their own part of the rows says (`OutOfFold`).
4. Text is looked up once per distinct value, never per row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.errors import Format
from dataops.features.columns import aligned, require_columns
from dataops.features.filling import OutOfFold, fill_matrix
from dataops.features.kinds import (
    CategoricalColumn,
    CodeColumn,
    NumberColumn,
    NumericColumn,
    code_column,
    number_column,
)
from dataops.features.making import Made, made_column, with_made
from dataops.records import Record

__all__ = ["CategoricalColumn", "Encoded", "Encoder", "NumericColumn", "OutOfFold", "encode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """How the features of one model are made, in the order of the model's inputs: numbers, then codes.

    Parameters
    ----------
    made : the columns that features are made of beside those of the table.
    """

    numeric: tuple[NumberColumn, ...]
    categorical: tuple[CodeColumn, ...]
    made: tuple[Made, ...] = ()

    @property
    def columns(self) -> tuple[NumberColumn | CodeColumn, ...]:
        """All features."""
        return (*self.numeric, *self.categorical)

    @property
    def version(self) -> int:
        """The version of the format that can say all of it: 1 of what the first release knew, else 2."""
        plain = all(
            isinstance(one, CategoricalColumn) or (isinstance(one, NumericColumn) and not one.is_shaped)
            for one in self.columns
        )
        return 1 if plain and not self.made else 2

    def source_columns(self) -> tuple[str, ...]:
        """The columns that are read: those of numbers first, each once."""
        made = {one.name: one.sources for one in self.made}
        names = (name for one in self.columns for name in made.get(one.source, (one.source,)))
        return tuple(dict.fromkeys(names))

    def code_counts(self) -> tuple[int, ...]:
        """How many codes each categorical column can have, code 0 included."""
        return tuple(column.n_codes for column in self.categorical)

    def record(self) -> Record:
        """The encoder as JSON; floats keep every bit."""
        made = {"made": [one.record() for one in self.made]} if self.made else {}
        return {
            "numeric": [one.record() for one in self.numeric],
            "categorical": [one.record() for one in self.categorical],
            **made,
        }

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The encoder that `record()` wrote.

        Raises
        ------
        Format : it didn't.
        """
        try:
            encoder = cls(
                numeric=tuple(number_column(column) for column in record["numeric"]),
                categorical=tuple(code_column(column) for column in record["categorical"]),
                made=tuple(made_column(column) for column in record.get("made", ())),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise Format(f"not an encoder: {type(error).__name__} while reading it") from None
        unused = {one.name for one in encoder.made} - {one.source for one in encoder.columns}
        if unused or len({one.name for one in encoder.made}) < len(encoder.made):
            raise Format("not an encoder: it makes a column twice, or one that it doesn't use")
        return encoder


def _received(values: npt.NDArray[np.float32], n_numeric: int, *counted: Mapping[Any, Any]) -> Encoded:
    """Rows that another process sent."""
    unknown, missing = counted
    return Encoded(values=aligned(values), n_numeric=n_numeric, unknown=unknown, missing=missing)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """Rows as a model takes them, in one matrix.

    Parameters
    ----------
    values : ``(n_rows, n_numeric + n_categorical)`` float32, C order, finite: numbers, then codes, each below its
        column's code count.
    n_numeric : how many columns are numbers.
    unknown : rows, by a feature of known categories, whose category isn't among them; null isn't counted.
    missing : by a column's place in `values`, which rows had no value, bool (n_rows,); only columns with such rows.
    """

    values: npt.NDArray[np.float32]
    n_numeric: int
    unknown: Mapping[str, int]
    missing: Mapping[int, npt.NDArray[np.bool_]] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Callable[..., Encoded], tuple[Any, ...]]:
        return _received, (self.values, self.n_numeric, dict(self.unknown), dict(self.missing))

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


def encode(encoder: Encoder, table: pa.Table, out_of_fold: OutOfFold | None = None) -> Encoded:
    """The rows of `table` as the model takes them; columns that aren't features are left alone.

    Parameters
    ----------
    out_of_fold : of training rows alone, where features are made of the target.

    Raises
    ------
    InvalidInput : a column is missing or of a type that can't be such a feature.
    """
    require_columns(table.column_names, encoder.source_columns(), what="the encoder")
    columns = encoder.columns
    values, fillers = fill_matrix(columns, with_made(table, encoder.made) if encoder.made else table, out_of_fold)
    absent = {place: filler.absent for place, filler in enumerate(fillers)}
    looked_up = {one.name: filler.unknown for one, filler in zip(columns, fillers, strict=True)}
    return Encoded(
        values=values,
        n_numeric=len(encoder.numeric),
        unknown={name: unknown for name, unknown in looked_up.items() if unknown is not None},
        missing={place: rows for place, rows in absent.items() if rows is not None and rows.any()},
    )
