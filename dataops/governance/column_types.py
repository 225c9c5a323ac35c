"""Column types by name: how contracts and records spell Arrow types.

1. One spelling is written (`spell_type`); what contracts write is read generously: Arrow's, Parquet's and SQL's names.
2. Columns are flat, or lists of something flat (``list<string>``, leaves of nested columns). Structs, maps and bytes
   have no name here, so no contract can let them in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa

from dataops.errors import InvalidInput, near_match
from dataops.governance.expression_values import plain_type
from dataops.governance.leaves import is_list

_NAMES: Mapping[str, pa.DataType] = {
    **{f"{sign}int{bits}": getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **dict.fromkeys(("bool", "boolean"), pa.bool_()),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    **dict.fromkeys(("int", "integer"), pa.int32()),
    **dict.fromkeys(("bigint", "long"), pa.int64()),
    **dict.fromkeys(("halffloat", "float16"), pa.float16()),
    **dict.fromkeys(("float", "float32", "real"), pa.float32()),
    **dict.fromkeys(("double", "float64"), pa.float64()),
    **dict.fromkeys(("string", "utf8", "large_string", "text", "varchar", "char", "byte_array"), pa.string()),
    **dict.fromkeys(("date", "date32", "date32[day]"), pa.date32()),
    **dict.fromkeys(("date64", "date64[ms]"), pa.date64()),
    "timestamp": pa.timestamp("us"),
    "null": pa.null(),
}
_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(?:, ?tz=([A-Za-z0-9_+\-:/]{1,64}))?\]", re.IGNORECASE)
_DECIMAL = re.compile(r"(?:decimal128|decimal|numeric)\((\d{1,2}), ?(\d{1,2})\)", re.IGNORECASE)
_LIST = re.compile(r"list<(?:item: |element: )?([^<>]{1,64})>", re.IGNORECASE)
_TEXT_OF_LENGTH = re.compile(r"(?:varchar|char)\(\d{1,9}\)", re.IGNORECASE)

# ODCS logicalType -> the type where no physicalType says more
LOGICAL_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
LIST_TYPE = "array"  # the logicalType of a list
# significant bits of a float: whole numbers up to that many bits fit exactly
_EXACT_BITS = {16: 11, 32: 24, 64: 53}


def parse_type(text: str) -> pa.DataType:
    """The Arrow type that `text` names, of those that a column may have.

    Raises
    ------
    InvalidInput : no such type; with its near match.
    """
    if listed := _LIST.fullmatch(text):
        return pa.list_(parse_type(listed[1]))
    if timestamp := _TIMESTAMP.fullmatch(text):
        return pa.timestamp(timestamp[1].lower(), timestamp[2])
    decimal = _DECIMAL.fullmatch(text)
    if decimal and 1 <= int(decimal[1]) <= 38 and int(decimal[2]) <= int(decimal[1]):
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    if _TEXT_OF_LENGTH.fullmatch(text):
        return pa.string()
    if text.lower() not in _NAMES:
        raise InvalidInput(
            f"no column type {text!r}.{near_match(text, [*_NAMES, 'timestamp[us]', 'decimal128(10, 2)'])}"
        )
    return _NAMES[text.lower()]


def spell_type(kind: pa.DataType) -> str:
    """`kind` as `parse_type` reads it back."""
    return f"list<{spell_type(kind.value_type)}>" if pa.types.is_list(kind) else str(kind)


def logical_type(kind: pa.DataType) -> str | None:
    """The ODCS logicalType of columns of type `kind`; None for structs, bytes and what no contract holds."""
    if is_list(kind):
        return LIST_TYPE if element_logical_type(kind) else None
    plain = plain_type(kind)
    if plain is None or pa.types.is_null(plain):
        return None
    names: Mapping[pa.DataType, str] = {plain_type(known): name for name, known in LOGICAL_TYPES.items()}
    return names.get(plain, "timestamp")


def element_type(kind: pa.DataType) -> pa.DataType:
    """What rules see: the type of a list's elements; of a flat column its own."""
    return kind.value_type if is_list(kind) else kind


def element_logical_type(kind: pa.DataType) -> str | None:
    """The ODCS logicalType of `element_type`."""
    inner = element_type(kind)
    return None if is_list(inner) else logical_type(inner)


def column_type(kind: pa.DataType) -> pa.DataType:
    """`kind` as a contract spells it: dictionaries and the kinds of text are text, sorts of lists are lists."""
    if is_list(kind):
        return pa.list_(column_type(kind.value_type))
    if pa.types.is_dictionary(kind):
        return column_type(kind.value_type)
    return pa.string() if plain_type(kind) == pa.string() else kind


def casts_losslessly(stored: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether every value of `stored` has its exact equal in `wanted`."""
    stored, wanted, types = column_type(stored), column_type(wanted), pa.types
    if types.is_list(stored) and types.is_list(wanted):
        stored, wanted = stored.value_type, wanted.value_type
    if stored == wanted or types.is_null(stored):
        return True
    if types.is_integer(stored):
        return _holds_integers(stored, wanted)
    if types.is_floating(stored) and types.is_floating(wanted):
        return bool(stored.bit_width <= wanted.bit_width)
    if types.is_decimal(stored) and types.is_decimal(wanted):
        whole_digits = wanted.precision - wanted.scale >= stored.precision - stored.scale
        return bool(wanted.scale >= stored.scale and whole_digits)
    if types.is_timestamp(stored) and types.is_timestamp(wanted):
        order = ("s", "ms", "us", "ns")
        same_zone = (stored.tz is None) == (wanted.tz is None)
        return bool(same_zone and order.index(stored.unit) <= order.index(wanted.unit))
    return bool(types.is_date(stored) and (types.is_date(wanted) or (types.is_timestamp(wanted) and wanted.tz is None)))


def _holds_integers(stored: pa.DataType, wanted: pa.DataType) -> bool:
    unsigned = pa.types.is_unsigned_integer(stored)
    if pa.types.is_integer(wanted):
        if unsigned == pa.types.is_unsigned_integer(wanted):
            return bool(stored.bit_width <= wanted.bit_width)
        return bool(unsigned and stored.bit_width < wanted.bit_width)
    return bool(pa.types.is_floating(wanted) and stored.bit_width - (not unsigned) <= _EXACT_BITS[wanted.bit_width])
