"""Thrift's compact protocol, which Parquet's footers are written in: bytes to fields, without Arrow.

Arrow ends the process on some damaged footers, since its C++ exceptions pass through Python's layer. What comes through
here is Python alone, so the worst that bytes can do is to be refused:

1. Nothing is read past the end, no list is longer than the bytes that are left, nesting is bounded.
2. A struct is its fields by number; fields that nobody asks for are read over just as carefully.
3. Where Arrow's reader would see other fields in the same bytes, they are refused: a field twice, or of another type
   than it should have (Arrow reads over it), a list of other elements (Arrow reads them as what they should be).

Source: the Thrift compact protocol specification (apache/thrift, doc/specs/thrift-compact-protocol.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Fields = dict[int, Any]
"""A struct: field number -> value; structs within it are `Fields`, lists are lists."""

MAX_DEPTH = 16
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = range(1, 14)
BINARY, LIST, STRUCT, I32, I64 = _BINARY, _LIST, _STRUCT, _I32, _I64
_MOST_NUMBER = 2**15  # of a field
_FIXED = {_BYTE: 1, _DOUBLE: 8, _UUID: 16}
_VARINT_BITS = 64
_MORE = 128  # a byte of a number after which another follows


class Typed(NamedTuple):
    """What a field must be: its type, that of the elements of a list, and the fields of its structs that are known."""

    kind: int
    of: int = 0
    fields: Mapping[int, Typed] = {}


ANY = Typed(0)


class BrokenThrift(ValueError):
    """Bytes that are no struct of the compact protocol; its text holds none of them."""


def read_struct(
    data: bytes, start: int = 0, depth: int = 0, known: Mapping[int, Typed] = ANY.fields
) -> tuple[Fields, int]:
    """The struct at `start` of `data`, and where it ends.

    Parameters
    ----------
    known : what its fields must be, those that are known.

    Raises
    ------
    BrokenThrift : not a struct, cut short, or with a field that isn't what it must be.
    """
    if depth > MAX_DEPTH:
        raise BrokenThrift("nested too deeply")
    fields: Fields = {}
    position, number = start, 0
    try:
        while head := data[position]:
            kind = head & 15
            if head >> 4:
                number += head >> 4
                position += 1
            else:
                number, position = _signed(data, position + 1)
            typed = known.get(number, ANY)
            if typed.kind not in (0, kind) or kind == 0 or number in fields or not 0 < number < _MOST_NUMBER:
                raise BrokenThrift("a field twice, or of another type than it has")
            # most fields are small numbers and short texts: a footer has tens of thousands of them
            if _I16 <= kind <= _I64 and (value := data[position]) < _MORE:
                fields[number] = (value >> 1) ^ -(value & 1)
                position += 1
            elif kind == _BINARY and (size := data[position]) < _MORE and position + size < len(data):
                fields[number] = data[position + 1 : position + 1 + size]
                position += 1 + size
            elif kind <= _FALSE:
                fields[number] = kind == _TRUE
            else:
                fields[number], position = _read_value(data, position, kind, depth, typed)
    except IndexError:
        raise BrokenThrift("cut short") from None
    return fields, position + 1


def _read_value(data: bytes, position: int, kind: int, depth: int, typed: Typed = ANY) -> tuple[Any, int]:
    if _I16 <= kind <= _I64:
        return _signed(data, position)
    if kind == _STRUCT:
        return read_struct(data, position, depth + 1, typed.fields)
    if kind == _BINARY:
        length, position = _unsigned(data, position)
        return _slice(data, position, length)
    if kind in (_LIST, _SET):
        return _read_list(data, position, depth, typed)
    if kind == _MAP:
        return _read_map(data, position, depth)
    if kind in _FIXED:
        return _slice(data, position, _FIXED[kind])
    raise BrokenThrift("an unknown type of field")


def _slice(data: bytes, position: int, length: int) -> tuple[bytes, int]:
    end = position + length
    if end > len(data):
        raise BrokenThrift("cut short")
    return data[position:end], end


def _read_list(data: bytes, position: int, depth: int, typed: Typed) -> tuple[list[Any], int]:
    head = data[position]
    size, kind, position = head >> 4, head & 15, position + 1
    if size == 15:  # the protocol's mark for a size that follows
        size, position = _unsigned(data, position)
    if size > len(data) - position:
        raise BrokenThrift("a list longer than what is left")
    if typed.of not in (0, kind) and size:
        raise BrokenThrift("a list of other elements than it has")
    if kind == _STRUCT:
        return _read_structs(data, position, size, depth + 1, typed.fields)
    found = []
    for _ in range(size):
        value, position = _read_element(data, position, kind, depth)
        found.append(value)
    return found, position


def _read_structs(
    data: bytes, position: int, size: int, depth: int, known: Mapping[int, Typed]
) -> tuple[list[Any], int]:
    found = []
    for _ in range(size):
        value, position = read_struct(data, position, depth, known)
        found.append(value)
    return found, position


def _read_map(data: bytes, position: int, depth: int) -> tuple[list[Any], int]:
    size, position = _unsigned(data, position)
    if size > len(data) - position:
        raise BrokenThrift("a map longer than what is left")
    if size == 0:
        return [], position
    kinds, position = data[position], position + 1
    found = []
    for _ in range(size):
        key, position = _read_element(data, position, kinds >> 4, depth)
        value, position = _read_element(data, position, kinds & 15, depth)
        found.append((key, value))
    return found, position


def _read_element(data: bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):  # alone in a list, a boolean is a byte
        return data[position] == _TRUE, position + 1
    if depth >= MAX_DEPTH:
        raise BrokenThrift("nested too deeply")
    return _read_value(data, position, kind, depth + 1)


def _unsigned(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := data[position]) >= _MORE:
        value |= (byte - _MORE) << shift
        position += 1
        shift += 7
        if shift >= _VARINT_BITS:
            raise BrokenThrift("a number of more than 64 bits")
    return value | byte << shift, position + 1


def _signed(data: bytes, position: int) -> tuple[int, int]:
    value, position = _unsigned(data, position)
    return (value >> 1) ^ -(value & 1), position
