"""A feature program as scikit-learn's own transformers, already fitted.

1. The output is that of the program, to the bit: float32, numbers first, then codes.
2. What scikit-learn has a class of equal meaning for, that class does. The functions here do the rest: types that are
   fixed at fit, row steps, infinite numbers as missing ones, the texts of categories, float32; and the whole of the
   features that it has no such class for: indicators, what is cut off or logged, bins, hashes, frequencies, means of
   the target, parts of dates, crosses. They are importable, and their arguments are JSON types, so what is made of them
   can be pickled, cloned and read.
3. The fitted parts are frozen: fitting them again, alone or in a pipeline, changes nothing.
4. Whoever transforms rows gets a row for each: `where`, which leaves rows out, is the caller's to apply.
5. scikit-learn is imported when a transformer is asked for, and pandas is never imported here: frames come in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.errors import Compute, InvalidInput
from dataops.features.columns import column_of, read_categories, read_numbers
from dataops.features.encoder import Encoder, encode
from dataops.features.kinds import CategoricalColumn, CodeColumn, NumberColumn, NumericColumn
from dataops.features.steps import RowSteps
from dataops.records import Record

if TYPE_CHECKING:
    from dataops.features.program import FeatureProgram

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_UNKNOWN = -1  # scikit-learn's code for what is unknown or missing; ours, one higher, is 0


def column_transformer(program: FeatureProgram, *, filtered: bool = False) -> Any:
    """A fitted ``ColumnTransformer`` that gives for a DataFrame what `program` gives for the same rows.

    Parameters
    ----------
    filtered : whether the caller gives only rows that the program's `where` is true for, if it has one.

    Raises
    ------
    InvalidInput : the program leaves rows out, and `filtered` doesn't say that the caller does.
    Compute : scikit-learn or pandas isn't installed here.
    """
    if program.steps.where is not None and not filtered:
        raise InvalidInput(
            f"the program leaves out rows that `{program.steps.where.sql}` is not true for, and scikit-learn's "
            "transformers can't: leave them out yourself, and say so with filtered=True"
        )
    try:
        from sklearn.compose import ColumnTransformer

        nothing = pa.table([pa.nulls(1, field.type) for field in program.schema()], program.schema()).to_pandas()
    except ImportError as error:
        raise Compute(f"{error.name} isn't installed here, which scikit-learn's transformers need") from None
    parts: list[tuple[str, Any, list[str]]] = []
    for way, columns in _runs(program.encoder):
        name = way if way not in {known for known, _, _ in parts} else f"{way}_{len(parts)}"
        parts.append((name, *_PARTS[way](program, columns)))
    return ColumnTransformer(parts).fit(nothing)  # learns which columns there are: the parts are fitted already


def read_numeric_columns(
    frame: Any, sources: Sequence[Sequence[str]], steps: Record, columns: Sequence[str]
) -> npt.NDArray[np.float64]:
    """`columns` of `frame` after `steps`, ``(n_rows, n_columns)`` float64, NaN for what is no finite number.

    Parameters
    ----------
    frame : a DataFrame, or what offers ``__arrow_c_stream__``, with the columns of `sources`.
    sources : column and Arrow type, as in `FeatureProgram.record`.
    steps : the record of row steps.

    Raises
    ------
    InvalidInput : a column is missing, or of another type than the model was trained on.
    """
    table = _prepared(frame, sources, steps)
    values = np.empty((table.num_rows, len(columns)))
    for place, name in enumerate(columns):
        values[:, place] = read_numbers(name, column_of(table, name))
    values[np.isinf(values)] = np.nan
    return values


def read_categorical_columns(
    frame: Any, sources: Sequence[Sequence[str]], steps: Record, columns: Sequence[str]
) -> npt.NDArray[Any]:
    """`columns` of `frame` after `steps` as the texts of categories, ``(n_rows, n_columns)`` object, None for none.

    Arguments and errors are those of `read_numeric_columns`.
    """
    table = _prepared(frame, sources, steps)
    values = np.empty((table.num_rows, len(columns)), object)
    for place, name in enumerate(columns):
        found = read_categories(name, column_of(table, name))
        values[:, place] = np.array([*found.texts.to_pylist(), None], object)[found.indices]
    return values


def read_features(
    frame: Any, sources: Sequence[Sequence[str]], steps: Record, encoder: Record
) -> npt.NDArray[np.float32]:
    """The features of `encoder`, a record, for the rows of `frame`, ``(n_rows, n_features)``, by that very encoder.

    Other arguments and errors are those of `read_numeric_columns`.
    """
    return encode(Encoder.from_record(encoder), _prepared(frame, sources, steps)).values


def as_float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """`values` as float32; what is too large for it becomes the largest there is."""
    return np.clip(values, -_LARGEST_FLOAT32, _LARGEST_FLOAT32).astype(np.float32)


def as_codes(places: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Places among the categories, -1 where there is none, as codes counted from 1 with 0 where there is none."""
    return places - np.float32(_UNKNOWN)


def names_of(transformer: Any, input_features: Any) -> npt.NDArray[Any]:  # noqa: ARG001  # scikit-learn gives both
    """The names of the columns that a transformer of one of the functions here gives."""
    given = transformer.kw_args
    if "columns" in given:
        return np.array(given["columns"], object)
    return np.array([one["name"] for part in ("numeric", "categorical") for one in given["encoder"][part]], object)


def _prepared(frame: Any, sources: Sequence[Sequence[str]], steps: Record) -> pa.Table:
    """The rows of `frame` in the types of `sources`, with derived columns behind their own."""
    from dataops.features.program import FeatureProgram

    pairs = tuple((name, kind) for name, kind in sources)
    nothing = Encoder(numeric=(), categorical=())
    program = FeatureProgram(sources=pairs, steps=RowSteps.from_record(steps), encoder=nothing)
    table, _ = program.run(_table_of(frame))
    return table


def _table_of(frame: Any) -> pa.Table:
    if type(frame).__module__.partition(".")[0] != "pandas":
        return pa.table(frame)
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError):
        names = [str(name) for name in frame.columns]
        raise InvalidInput(f"a column of the DataFrame holds values of several types: one of {names}") from None


def _runs(encoder: Encoder) -> list[tuple[str, list[Any]]]:
    """The features in their order, those together that follow each other and are made in one way, a key of `_PARTS`."""
    made = {one.name for one in encoder.made}

    def way(column: NumberColumn | CodeColumn) -> str:
        if column.source in made:
            return "features"
        if isinstance(column, NumericColumn) and not column.is_shaped:
            return "numbers"
        return "categories" if isinstance(column, CategoricalColumn) else "features"

    numbers, codes = groupby(encoder.numeric, key=way), groupby(encoder.categorical, key=way)
    return [(name, list(run)) for name, run in chain(numbers, codes)]


def _numbers(program: FeatureProgram, columns: Sequence[NumericColumn]) -> tuple[Any, list[str]]:
    """Transformer and source columns of numbers that are imputed and scaled."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    fills, means, scales = (np.array([getattr(one, name) for one in columns]) for name in ("fill", "mean", "scale"))
    nothing = np.zeros((1, len(columns)))
    imputer, scaler = SimpleImputer().fit(nothing), StandardScaler().fit(nothing)
    imputer.statistics_ = fills
    with np.errstate(over="ignore"):
        scaler.mean_, scaler.scale_, scaler.var_ = means, scales, scales**2
    steps = [
        ("fill", imputer),
        ("scale", scaler),
        ("float32", FunctionTransformer(as_float32, feature_names_out="one-to-one")),
    ]
    return _part(_needed(program, columns), read_numeric_columns, {"columns": [one.name for one in columns]}, steps)


def _categories(program: FeatureProgram, columns: Sequence[CategoricalColumn]) -> tuple[Any, list[str]]:
    """Transformer and source columns of categories that are known by their texts."""
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

    # scikit-learn takes no empty list; NaN alone is what is missing, so it has no code either
    known = [np.array(one.categories or (np.nan,), object) for one in columns]
    ordinal = OrdinalEncoder(
        categories=known,
        dtype=np.float32,
        handle_unknown="use_encoded_value",
        unknown_value=_UNKNOWN,
        encoded_missing_value=_UNKNOWN,
    ).fit(np.array([[one[0] for one in known]], object))
    steps = [("places", ordinal), ("codes", FunctionTransformer(as_codes, feature_names_out="one-to-one"))]
    return _part(_needed(program, columns), read_categorical_columns, {"columns": [one.name for one in columns]}, steps)


def _features(program: FeatureProgram, columns: Sequence[NumberColumn | CodeColumn]) -> tuple[Any, list[str]]:
    """Transformer and source columns of features that scikit-learn has no class for."""
    needed = _needed(program, columns)
    return _part(needed, read_features, {"encoder": needed["encoder"]}, [])


_PARTS: Mapping[str, Callable[[FeatureProgram, Sequence[Any]], tuple[Any, list[str]]]] = {
    "numbers": _numbers,
    "categories": _categories,
    "features": _features,
}


def _needed(program: FeatureProgram, columns: Sequence[NumberColumn | CodeColumn]) -> Record:
    """The record of the program that makes `columns` alone, whatever rows it is given."""
    from dataops.features.program import compose_program

    sources = {one.source for one in columns}
    encoder = Encoder(
        numeric=tuple(one for one in columns if isinstance(one, NumberColumn)),
        categorical=tuple(one for one in columns if isinstance(one, CodeColumn)),
        made=tuple(one for one in program.encoder.made if one.name in sources),
    )
    return compose_program(program.schema(), replace(program.steps, where=None), encoder).record()


def _part(needed: Record, read: Any, arguments: Record, steps: list[tuple[str, Any]]) -> tuple[Any, list[str]]:
    """`read` with `arguments` over the sources that are `needed`, then `steps`, which are fitted; and these sources."""
    from sklearn.frozen import FrozenEstimator
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    given = {"sources": needed["sources"], "steps": needed["steps"], **arguments}
    reading = FunctionTransformer(read, kw_args=given, feature_names_out=names_of)
    part = FrozenEstimator(Pipeline([("read", reading), *steps]))
    return part, [column for column, _ in needed["sources"]]
