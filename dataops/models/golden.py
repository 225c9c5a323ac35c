"""Golden rows: a few made-up inputs of a version with the predictions that it gave for them when it was registered.

1. They are made from the feature program alone (typical values, categories, an unknown one, null): nothing of them is
   taken from a real row, and they are the same for the same program.
2. Whoever loads the version scores them first: a library, a platform or a file that makes the model answer otherwise is
   found before anybody is served. Answers may differ by `TOLERANCE`, which is beyond any rounding of float32; numbers
   of a regression by as much of the largest of them; those of a clustering are equal. No row lies as near to another
   centre that rounding could decide.
3. A row that the program's `where` drops, or that has no prediction, says null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from dataops.declarations.metrics import Task
from dataops.errors import Format, Integrity
from dataops.features.columns import array_of, is_number
from dataops.features.encoder import Encoded
from dataops.features.kinds import (
    BinColumn,
    CategoricalColumn,
    CodeColumn,
    LookupColumn,
    NumberColumn,
    NumericColumn,
)
from dataops.features.making import Crossed
from dataops.features.program import FeatureProgram
from dataops.models.centres import CentresModel, certain, numbers
from dataops.models.predictor import Predictor
from dataops.models.scoring import answer_table, score_table
from dataops.records import Record

TOLERANCE = 1e-6
ROWS = 16
_TRIED = 256  # rows of which those are taken that `where` keeps
_UNKNOWN = "a category that no row of the training data had"
_PLAIN = ("bool", "string", "large_string")  # these and integers and floats are JSON as they are; others become text
_MOMENTS = (0, 946_684_800, 1_700_000_000)  # seconds since 1970

_KEYS: Mapping[Task, str] = {
    Task.BINARY: "probabilities",
    Task.REGRESSION: "predictions",
    Task.CLUSTERS: "clusters",
}

Cell = bool | int | float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """Golden rows.

    Parameters
    ----------
    columns : the program's source columns.
    rows : values by row, in the order of `columns`; times and decimals as text.
    predictions : what the version gave, per row: probabilities, numbers, or numbers of clusters; None where it gave
        none.
    task : of the version.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    predictions: tuple[float | None, ...]
    task: Task = Task.BINARY

    @property
    def tolerance(self) -> float:
        """By how much an answer may differ."""
        if self.task is Task.CLUSTERS:
            return 0.0
        return TOLERANCE * max([1.0, *(abs(one) for one in self.predictions if one is not None)])

    def table(self, program: FeatureProgram) -> pa.Table:
        """The rows in the types of `program`'s sources.

        Raises
        ------
        Format : they aren't rows of that program.
        """
        schema = program.schema()
        if tuple(schema.names) != self.columns:
            raise Format(f"golden rows have the columns {list(self.columns)}; the program reads {schema.names}")
        try:
            cells = list(zip(*self.rows, strict=True)) or [()] * len(schema)
            return pa.table([_column(list(cells[place]), field.type) for place, field in enumerate(schema)], schema)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            raise Format("golden rows hold a value that the program's column can't") from None

    def record(self) -> Record:
        """The rows as JSON."""
        rows = [list(row) for row in self.rows]
        told: list[float | None] = list(self.predictions)
        if self.task is Task.CLUSTERS:
            told = [None if one is None else int(one) for one in told]
        return {"columns": list(self.columns), "rows": rows, _KEYS[self.task]: told}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The rows that `record()` wrote.

        Raises
        ------
        Format : it didn't.
        """
        try:
            columns = tuple(str(name) for name in record["columns"])
            rows = tuple(tuple(_require_cell(cell) for cell in row) for row in record["rows"])
            task = next((task for task, key in _KEYS.items() if key in record), Task.BINARY)
            predictions = tuple(None if one is None else _prediction(one, task) for one in record[_KEYS[task]])
        except (KeyError, TypeError, ValueError) as error:
            raise Format(f"not golden rows: {type(error).__name__} while reading them") from None
        if len(rows) != len(predictions) or any(len(row) != len(columns) for row in rows):
            raise Format("not golden rows: a row without its prediction, or without a cell for each column")
        return cls(columns=columns, rows=rows, predictions=predictions, task=task)


def make_golden(program: FeatureProgram, predictor: Predictor) -> Golden:
    """The golden rows of a version: those that `program` keeps, if any, with the predictions of `predictor`.

    Raises
    ------
    InvalidInput : program and model don't belong together.
    """
    tried = _made_up(program)
    kept = np.flatnonzero(np.isfinite(answer_table(program, partial(_certain, predictor), tried)))
    chosen = kept if len(kept) else np.arange(_TRIED)
    table = tried.take(chosen[np.unique(np.linspace(0, len(chosen) - 1, ROWS, dtype=np.int64))])
    scores = score_table(program, predictor, table)
    return Golden(
        columns=tuple(table.column_names),
        rows=tuple(zip(*(_cells(column) for column in table.columns), strict=True)),
        predictions=tuple(float(score) if math.isfinite(score) else None for score in scores),
        task=predictor.task,
    )


def _certain(predictor: Predictor, rows: Encoded) -> npt.NDArray[np.float32]:
    """Predictions, NaN where rounding could decide between two clusters."""
    if not isinstance(predictor, CentresModel):
        return predictor.predict(rows)
    nearest = predictor.nearest(rows)
    found: npt.NDArray[np.float32] = np.where(certain(nearest), numbers(nearest), np.float32(np.nan))
    return found


def check_golden(golden: Golden, program: FeatureProgram, predictor: Predictor) -> None:
    """Nothing, where `predictor` answers as it did when the version was registered.

    Raises
    ------
    Integrity : it doesn't.
    Format : the rows aren't those of `program`.
    """
    if predictor.task is not golden.task:
        raise Integrity(
            f"the model is one of task {predictor.task}, and its golden rows are those of a {golden.task} one"
        )
    scores = score_table(program, predictor, golden.table(program)).astype(np.float64)
    scores[~np.isfinite(scores)] = math.nan
    promised = np.array([math.nan if one is None else one for one in golden.predictions], np.float64)
    wrong = ~np.isclose(scores, promised, rtol=0.0, atol=golden.tolerance, equal_nan=True)
    if wrong.any():
        apart = np.nanmax(np.abs(scores - promised)[wrong], initial=0.0)
        raise Integrity(
            f"the model answers otherwise than when it was registered: {int(wrong.sum())} of {len(wrong)} golden rows "
            f"differ, by up to {apart:.2g} (at most {golden.tolerance:g} is expected): another release of a library "
            "scores otherwise, or the version was put together wrongly"
        )


def _made_up(program: FeatureProgram) -> pa.Table:
    """Rows of typical and untypical values, each column at a pace of its own, so that values meet in many ways."""
    columns = []
    schema = program.schema()
    for place, field in enumerate(schema):
        values = list(_values(program, field))
        pool = pa.concat_arrays([*values, pa.nulls(1, field.type)])
        rows = np.arange(_TRIED) // (place % 3 + 1) + place
        columns.append(pool.take(pa.array(rows % len(pool))))
    return pa.table(columns, schema)


def _values(program: FeatureProgram, field: pa.Field) -> Iterator[pa.Array]:
    """Arrays of one value of `field`'s type: what the encoder knows of the column, then what its type suggests."""
    crosses = {one.name: one.sources for one in program.encoder.made if isinstance(one, Crossed)}
    for column in program.encoder.columns:
        if column.source == field.name:
            yield from _cast(_known(column), field)
        elif field.name in crosses.get(column.source, ()):
            yield from _cast(_crossed(column, crosses[column.source].index(field.name)), field)
    yield from _cast(_suggested(field.type), field)


def _known(column: NumberColumn | CodeColumn) -> Sequence[Any]:
    """Values of a source that a feature treats in different ways."""
    match column:
        case NumericColumn(low=low, high=high) if low is not None and high is not None:
            return [column.fill, low, high, high + 1]
        case NumericColumn():
            return [column.fill, column.mean, column.mean - column.scale, column.mean + 2 * column.scale]
        case BinColumn():
            return list(islice(column.edges, 6))
        case LookupColumn() | CategoricalColumn():
            return list(islice(column.categories, 6))
        case _:
            return []


def _crossed(column: NumberColumn | CodeColumn, place: int) -> Sequence[Any]:
    """Categories of the source at `place` of a cross, of those whose crosses a feature knows."""
    texts = column.categories if isinstance(column, LookupColumn | CategoricalColumn) else ()
    return list(dict.fromkeys(json.loads(text)[place] for text in islice(texts, 6)))


def _suggested(kind: pa.DataType) -> Sequence[Any]:
    if pt.is_boolean(kind):
        return [True, False]
    if pt.is_date(kind) or pt.is_timestamp(kind):
        return [pa.scalar(second, pa.timestamp("s")) for second in _MOMENTS]
    if is_number(kind):
        return [0, 1, 20, 100]
    return [_UNKNOWN]


def _cast(values: Sequence[Any], field: pa.Field) -> Iterator[pa.Array]:
    """Those of `values` that `field` can hold, numbers rounded where it holds whole ones."""
    for value in values:
        rounded = round(value) if isinstance(value, float) and pt.is_integer(field.type) else value
        try:
            scalar = rounded if isinstance(rounded, pa.Scalar) else pa.scalar(rounded)
            yield pc.cast(pa.array([scalar.as_py()], scalar.type), field.type, safe=not pt.is_floating(field.type))
        except (pa.ArrowException, OverflowError):
            continue


def _cells(column: pa.ChunkedArray) -> list[Cell]:
    """The values as JSON holds them."""
    kind = column.type
    plain = str(kind) in _PLAIN or pt.is_integer(kind) or pt.is_floating(kind)
    cells: list[Cell] = (column if plain else pc.cast(column, pa.string())).to_pylist()
    return cells


def _column(cells: list[Cell], kind: pa.DataType) -> pa.Array:
    if all(cell is None for cell in cells):
        return pa.nulls(len(cells), kind)
    if pt.is_floating(kind):
        cells = [float(cell) if isinstance(cell, int) else cell for cell in cells]
    return pc.cast(array_of(cells), kind, safe=not pt.is_floating(kind))


def _require_cell(cell: Any) -> Cell:
    if cell is not None and not isinstance(cell, bool | int | float | str):
        raise ValueError("cell")
    return cell


def _prediction(value: Any, task: Task) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("prediction")
    if task is Task.BINARY and not 0 <= value <= 1:
        raise ValueError("probability")
    if task is Task.CLUSTERS and not (value >= 0 and value == int(value)):
        raise ValueError("cluster")
    return float(value)


def describe(golden: Golden) -> Mapping[str, Any]:
    """The rows as pandas splits a frame (``columns`` and ``data``): what MLflow calls an input example."""
    return {"columns": list(golden.columns), "data": [list(row) for row in golden.rows]}
