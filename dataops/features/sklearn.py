"""A feature program as scikit-learn's own transformers, already fitted.

1. The output is that of the program, to the bit: float32, numbers first, then codes.
2. What scikit-learn has a class of equal meaning for, that class does. The functions here do the rest: types that are
   fixed at fit, row steps, infinite numbers as missing ones, the texts of categories, float32. They are importable, and
   their arguments are JSON types, so what is made of them can be pickled, cloned and read.
3. The fitted parts are frozen: fitting them again, alone or in a pipeline, changes nothing.
4. Whoever transforms rows gets a row for each: `where`, which leaves rows out, is the caller's to apply.
5. scikit-learn is imported when a transformer is asked for, and pandas is never imported here: frames come in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.errors import Compute, InvalidInput
from dataops.features.columns import column_of, read_categories, read_numbers
from dataops.features.encoder import CategoricalColumn, Encoder, NumericColumn
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
    if program.encoder.version > 1:
        raise InvalidInput("the program has features that can't be told as scikit-learn's transformers yet")
    try:
        from sklearn.compose import ColumnTransformer

        nothing = pa.table([pa.nulls(1, field.type) for field in program.schema()], program.schema()).to_pandas()
    except ImportError as error:
        raise Compute(f"{error.name} isn't installed here, which scikit-learn's transformers need") from None
    numeric = [one for one in program.encoder.numeric if isinstance(one, NumericColumn)]
    categorical = [one for one in program.encoder.categorical if isinstance(one, CategoricalColumn)]
    parts = [_numbers(program, numeric)] if numeric else []
    parts += [_categories(program, categorical)] if categorical else []
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


def as_float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """`values` as float32; what is too large for it becomes the largest there is."""
    return np.clip(values, -_LARGEST_FLOAT32, _LARGEST_FLOAT32).astype(np.float32)


def as_codes(places: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Places among the categories, -1 where there is none, as codes counted from 1 with 0 where there is none."""
    return places - np.float32(_UNKNOWN)


def names_of(transformer: Any, input_features: Any) -> npt.NDArray[Any]:  # noqa: ARG001  # scikit-learn gives both
    """The names of the columns that a transformer of one of the functions here gives."""
    return np.array(transformer.kw_args["columns"], object)


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


def _numbers(program: FeatureProgram, columns: Sequence[NumericColumn]) -> tuple[str, Any, list[str]]:
    """Name, transformer and source columns of the numeric part."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    fills, means, scales = (np.array([getattr(one, name) for one in columns]) for name in ("fill", "mean", "scale"))
    imputer = SimpleImputer(keep_empty_features=True).fit(fills[None])  # the mean of one value is that value
    scaler = StandardScaler().fit(np.zeros((1, len(columns))))
    with np.errstate(over="ignore"):
        scaler.mean_, scaler.scale_, scaler.var_ = means, scales, scales**2
    steps = [
        ("fill", imputer),
        ("scale", scaler),
        ("float32", FunctionTransformer(as_float32, feature_names_out="one-to-one")),
    ]
    encoder = Encoder(numeric=tuple(columns), categorical=())
    return _part("numbers", program, encoder, read_numeric_columns, steps)


def _categories(program: FeatureProgram, columns: Sequence[CategoricalColumn]) -> tuple[str, Any, list[str]]:
    """Name, transformer and source columns of the categorical part."""
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
    encoder = Encoder(numeric=(), categorical=tuple(columns))
    return _part("categories", program, encoder, read_categorical_columns, steps)


def _part(
    name: str, program: FeatureProgram, encoder: Encoder, read: Any, steps: list[tuple[str, Any]]
) -> tuple[str, Any, list[str]]:
    """The part of a transformer that gives what `encoder` gives: `read`, then `steps`, which are fitted."""
    from sklearn.frozen import FrozenEstimator
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    from dataops.features.program import compose_program

    needed = compose_program(program.schema(), replace(program.steps, where=None), encoder).record()
    arguments = {
        "sources": needed["sources"],
        "steps": needed["steps"],
        "columns": [one.name for one in encoder.numeric] + [one.name for one in encoder.categorical],
    }
    reading = FunctionTransformer(read, kw_args=arguments, feature_names_out=names_of)
    return (
        name,
        FrozenEstimator(Pipeline([("read", reading), *steps])),
        [column for column, _ in needed["sources"]],
    )
