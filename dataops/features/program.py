"""The feature program: source columns, row steps and encoder as one value, carried by a model version.

1. Training, rescoring and applications run the same program, so there is no skew between them.
2. Source columns are cast to the types fixed at fit before anything looks at them: a column that arrives as float
   because of nulls, or as a dictionary, changes nothing. What can't be cast without loss is refused by name.
3. A moment, which is a time with a zone, is never taken for a time or date of some clock, nor the other way round:
   nobody said whose clock. A time without a zone is a date only where it is midnight.
4. It is JSON and nothing else: equal programs have equal digests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from dataops.errors import Format, InvalidInput
from dataops.features.columns import column_of, require_columns
from dataops.features.encoder import Encoded, Encoder, encode
from dataops.features.steps import RowSteps
from dataops.governance.masking import plain_column, plain_type
from dataops.records import Record, digest

_ZONED = re.compile(r"timestamp\[(s|ms|us|ns), tz=([A-Za-z0-9_+:/-]+)\]")
_WITH_ZONES = {
    "moment": "one of no zone says no moment, so give it with its zone",
    "clock": "a moment has another time or date in each zone, so give it as it was told there, without a zone",
}
_TIMES = set(_WITH_ZONES)
_DECIMAL = re.compile(r"decimal(128|256)\((\d+), (-?\d+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureProgram:
    """What turns source columns into a model's inputs; see `compose_program`.

    Parameters
    ----------
    sources : column and Arrow type, as ``str`` of the type.
    steps : row steps over the sources.
    encoder : over what the steps give.
    """

    sources: tuple[tuple[str, str], ...]
    steps: RowSteps
    encoder: Encoder

    @property
    def digest(self) -> str:
        """Identity of the program."""
        return digest(self.record())

    def source_columns(self) -> tuple[str, ...]:
        """The columns that must be there, in the order of the training data."""
        return tuple(name for name, _ in self.sources)

    def schema(self) -> pa.Schema:
        """The columns that must be there with the types that they had at fit."""
        return _schema_of(self.sources)

    def run(self, table: pa.Table) -> tuple[pa.Table, Encoded]:
        """The rows of `table` that the steps keep, with derived columns behind their own, and the same rows encoded.

        Raises
        ------
        InvalidInput : a source column is missing, or of a type that can't be cast to that of the training data.
        """
        require_columns(table.column_names, self.source_columns(), what="the feature program")
        in_steps = {*self.steps.source_columns(), *(name for name, _ in self.steps.generalise)}
        for name, fitted in self.sources:
            column = column_of(table, name)
            if str(column.type) != fitted and (name in in_steps or not _is_encoded(column.type, fitted)):
                table = table.set_column(table.schema.get_field_index(name), name, _as_fitted(name, column, fitted))
        kept, _ = self.steps.apply(table)
        return kept, encode(self.encoder, kept)

    def after_preparation(self) -> FeatureProgram:
        """The program for rows that went through the steps already: the encoder, over the columns that it reads."""
        schema = self.steps.output_schema(self.schema())
        return compose_program(schema, RowSteps(), self.encoder)

    def to_sklearn(self, *, filtered: bool = False) -> Any:
        """A fitted ``ColumnTransformer`` of scikit-learn that gives, for a DataFrame, the matrix that `run` encodes.

        ``(n_rows, n_features)`` float32, to the bit; scikit-learn takes one row at least. See
        `dataops.features.sklearn`.

        Parameters
        ----------
        filtered : where the program has a `where`, say that the rows given are those that it is true for.

        Raises
        ------
        InvalidInput : the program leaves rows out, which scikit-learn's transformers can't, and `filtered` isn't said.
        Compute : scikit-learn or pandas isn't installed here.
        """
        from dataops.features.sklearn import column_transformer

        return column_transformer(self, filtered=filtered)

    def record(self) -> Record:
        """The program as JSON."""
        sources = [[name, fitted] for name, fitted in self.sources]
        return {"sources": sources, "steps": self.steps.record(), "encoder": self.encoder.record()}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The program that `record()` wrote.

        Raises
        ------
        Format : it didn't, or it isn't whole: a step or feature without its column.
        """
        try:
            sources = tuple((str(name), str(fitted)) for name, fitted in record["sources"])
            steps, encoder = RowSteps.from_record(record["steps"]), Encoder.from_record(record["encoder"])
            if compose_program(_schema_of(sources), steps, encoder).sources != sources:
                raise Format("not a feature program: it names source columns that it doesn't use")
        except InvalidInput as error:
            raise Format(f"not a feature program: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise Format(f"not a feature program: {type(error).__name__} while reading it") from None
        return cls(sources=sources, steps=steps, encoder=encoder)


def compose_program(schema: pa.Schema, steps: RowSteps, encoder: Encoder) -> FeatureProgram:
    """The program of `steps` and `encoder` over data of `schema`: only the steps and source columns that features need.

    Raises
    ------
    InvalidInput : a feature or a step needs a column that neither `schema` nor a step has, or a type doesn't fit.
    """
    steps = steps.needed_for(encoder.source_columns())
    used = steps.sources_for(encoder.source_columns())
    require_columns(schema.names, used, what="the feature program")
    sources = tuple((field.name, str(plain_type(field.type))) for field in schema if field.name in used)
    schema = steps.output_schema(_schema_of(sources))
    encode(
        encoder, pa.table([pa.nulls(0, field.type) for field in schema], schema)
    )  # refuses a type that can't be its feature
    return FeatureProgram(sources=sources, steps=steps, encoder=encoder)


def _schema_of(sources: tuple[tuple[str, str], ...]) -> pa.Schema:
    return pa.schema([pa.field(name, _parse_type(name, fitted)) for name, fitted in sources])


def _parse_type(name: str, text: str) -> pa.DataType:
    """The type whose ``str`` is `text`."""
    if zoned := _ZONED.fullmatch(text):
        return pa.timestamp(zoned[1], tz=zoned[2])
    if decimal := _DECIMAL.fullmatch(text):
        of_width = pa.decimal128 if decimal[1] == "128" else pa.decimal256
        return of_width(int(decimal[2]), int(decimal[3]))
    try:
        return pa.type_for_alias(text)
    except ValueError:
        raise InvalidInput(f"column '{name}' is {text}: no feature can be made from that type") from None


def _is_encoded(kind: pa.DataType, fitted: str) -> bool:
    """Whether `kind` is `fitted` as a dictionary, which encoders take as it is."""
    return bool(pt.is_dictionary(kind)) and fitted == "string" == str(kind.value_type)


def _as_fitted(name: str, column: pa.ChunkedArray, fitted: str) -> pa.ChunkedArray:
    """`column` in the type that it had at fit."""
    column, target = plain_column(column), _parse_type(name, fitted)
    family, wanted = _family(column.type), _family(target)
    if {family, wanted} == _TIMES and column.null_count == len(column):  # a frame's type for times that are missing
        return pa.chunked_array([pa.nulls(len(column), target)])
    if not (column.type == target or pt.is_null(column.type) or family == wanted != ""):
        remedy = _WITH_ZONES[wanted] if {family, wanted} == _TIMES else "cast it"
        raise InvalidInput(
            f"column '{name}' is {column.type}; the model was trained on {fitted}: {remedy}, or train anew"
        )
    if pt.is_floating(column.type) and pt.is_integer(target):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    found = _without_loss(column, target, both_ways=family in _TIMES)
    if found is None:
        raise InvalidInput(
            f"column '{name}' is {column.type}; the model was trained on {fitted}, which can't hold all of its values"
        )
    return found


def _without_loss(column: pa.ChunkedArray, target: pa.DataType, *, both_ways: bool) -> pa.ChunkedArray | None:
    """`column` as `target`; None where a value doesn't fit, and with `both_ways` where it doesn't come back the same:
    Arrow makes a date of any time.
    """
    try:
        found = pc.cast(column, target, safe=not pt.is_floating(target))  # a float takes any number, rounded
    except pa.ArrowInvalid:
        return None
    same = not both_ways or pc.cast(found, column.type, safe=False).equals(column)
    return found if same else None


def _family(kind: pa.DataType) -> str:
    """Types that may be cast into each other without a change of meaning."""
    if pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind):
        return "number"
    if pt.is_timestamp(kind) and kind.tz is not None:
        return "moment"
    return "clock" if pt.is_timestamp(kind) or pt.is_date(kind) else ""
