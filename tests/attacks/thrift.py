"""Thrift's compact protocol with types kept, so that a footer or the header of a page can be changed and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


@dataclass(slots=True)
class Value:
    """A value with its type; of a list `value` is the list of values and `of` the type of each."""

    kind: int
    value: Any
    of: int = 0


Struct = dict[int, Value]


def unpack(data: bytes, start: int = 0) -> tuple[Struct, int]:
    """The struct at `start`, and where it ends."""
    found: Struct = {}
    at, number = start, 0
    while data[at]:
        kind, step = data[at] & 15, data[at] >> 4
        at += 1
        if step:
            number += step
        else:
            raw, at = _number(data, at)
            number = (raw >> 1) ^ -(raw & 1)
        found[number], at = (Value(kind, None), at) if kind in (TRUE, FALSE) else _value(data, at, kind)
    return found, at + 1


def pack(struct: Struct) -> bytes:
    """The bytes of `struct`."""
    out, before = bytearray(), 0
    for number in sorted(struct):
        one = struct[number]
        step = number - before
        out += bytes([step << 4 | one.kind]) if 0 < step < 16 else bytes([one.kind]) + number_bytes(number << 1)
        out += b"" if one.kind in (TRUE, FALSE) else _packed(one)
        before = number
    return bytes(out) + b"\0"


def pack_to(struct: Struct, size: int) -> bytes:
    """The bytes of `struct` in exactly `size` of them: a reader skips the field that fills them up."""
    room = size - len(pack(struct))
    assert room >= 0, f"{-room} bytes too many"
    if room == 0:
        return pack(struct)
    last = max(struct)
    filled = dict(struct)
    if room == 1:
        filled[last + 1] = Value(TRUE, None)
    else:
        filled[last + 1] = Value(BINARY, b"\0" * (room - 2))
        if room - 2 > 127:  # its length takes a byte more
            filled[last + 1] = Value(BINARY, b"\0" * (room - 3))
    assert len(pack(filled)) == size
    return pack(filled)


def integer(value: int, kind: int = I64) -> Value:
    """A whole number."""
    return Value(kind, value)


def number_bytes(value: int) -> bytes:
    """`value` (not negative), seven bits a byte."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def _value(data: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind in (I16, I32, I64):
        raw, at = _number(data, at)
        return Value(kind, (raw >> 1) ^ -(raw & 1)), at
    if kind == BINARY:
        size, at = _number(data, at)
        return Value(kind, data[at : at + size]), at + size
    if kind == STRUCT:
        struct, at = unpack(data, at)
        return Value(kind, struct), at
    if kind == DOUBLE:
        return Value(kind, data[at : at + 8]), at + 8
    if kind in (BYTE, TRUE, FALSE):
        return Value(kind, data[at]), at + 1
    assert kind == LIST, kind
    size, of, at = data[at] >> 4, data[at] & 15, at + 1
    if size == 15:
        size, at = _number(data, at)
    found = []
    for _ in range(size):
        one, at = _value(data, at, of)
        found.append(one)
    return Value(kind, found, of), at


def _packed(one: Value) -> bytes:
    if one.kind in (I16, I32, I64):
        return number_bytes((one.value << 1) ^ (one.value >> 63))
    if one.kind == BINARY:
        return number_bytes(len(one.value)) + one.value
    if one.kind == STRUCT:
        return pack(one.value)
    if one.kind == LIST:
        return _packed_list(one.value, one.of)
    return bytes(one.value) if one.kind == DOUBLE else bytes([one.value])


def _packed_list(values: Sequence[Value], of: int) -> bytes:
    size = len(values)
    head = bytes([size << 4 | of]) if size < 15 else bytes([15 << 4 | of]) + number_bytes(size)
    return head + b"".join(_packed(one) for one in values)
