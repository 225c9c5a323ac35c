"""Pseudonyms: a column's values, each replaced by a keyed hash of it. Pure.

1. Keyed BLAKE2b (RFC 7693) cut to 128 bits, as 32 hex digits: without the key no guess can be checked, and among 10**12
   distinct values a collision has a chance below 10**-14.
2. What is hashed is a type tag and the canonical value: a person has one pseudonym in every integer width, string
   encoding, Unicode form and unit of time; the text ``7`` and the number 7 are two.
3. Each distinct value is hashed once. A null stays null.
4. Pseudonymous is not anonymous: equality and frequency stay visible. The promise is that a value can't be recovered
   without the key, even by someone who can list all possible values.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from dataops.errors import InvalidInput

KEY_BYTES = 32
_PSEUDONYM_BYTES = 16
NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def is_identity(type_: pa.DataType) -> bool:
    """Whether values of `type_`, a plain one, has pseudonyms: not floats (equality is rounding), nothing nested."""
    types = pa.types
    tests = (
        types.is_string,
        types.is_binary,
        types.is_integer,
        types.is_boolean,
        types.is_date,
        types.is_timestamp,
    )
    return any(test(type_) for test in tests)


def pseudonyms(column: pa.ChunkedArray, *, key: bytes | None) -> pa.Array:
    """The pseudonyms (string) of `column`, which is of a plain type that `is_identity`.

    Raises
    ------
    InvalidInput : no key, or not one of 32 to 64 bytes: there is no default and no unkeyed hash.
    """
    key = require_key(key)
    values = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    encoded = values.dictionary_encode()
    keyed = blake2b(key=key, digest_size=_PSEUDONYM_BYTES)
    hashed = [_hash(keyed, value) for value in _canonical(encoded.dictionary)]
    return pa.array(hashed, pa.string()).take(encoded.indices)


def require_key(key: bytes | None) -> bytes:
    """`key`, if it is one.

    Raises
    ------
    InvalidInput : none, or not of 32 to 64 bytes.
    """
    if key is None or not KEY_BYTES <= len(key) <= blake2b.MAX_KEY_SIZE:
        raise InvalidInput(
            f"a pseudonym needs a key of {KEY_BYTES} to {blake2b.MAX_KEY_SIZE} bytes, found {len(key or b'')}: "
            "`dataops keys init` makes one"
        )
    return key


def _hash(keyed: blake2b, value: bytes) -> str:
    own = keyed.copy()  # the block that holds the key is hashed once, not once per value
    own.update(value)
    return own.hexdigest()


def _canonical(values: pa.Array) -> Iterable[bytes]:
    """Each distinct value as a type tag and bytes. Never by way of `datetime`, whose range is smaller than Arrow's."""
    type_ = values.type
    if pa.types.is_string(type_):
        return _tagged(b"s", values.cast(pa.binary()), normal_text)
    if pa.types.is_binary(type_):
        return _tagged(b"x", values, bytes)
    if pa.types.is_boolean(type_):
        return _tagged(b"b", values.cast(pa.int8()), _digits)
    if pa.types.is_date(type_):
        return _tagged(b"d", values.cast(pa.date32()).cast(pa.int32()), _digits)
    if pa.types.is_timestamp(type_):
        scale = NANOSECONDS[type_.unit]
        return _tagged(
            b"t" if type_.tz is None else b"z", values.cast(pa.int64()), lambda value: _digits(value * scale)
        )
    return _tagged(b"i", values, _digits)


def _tagged(tag: bytes, values: pa.Array, encode: Callable[[Any], bytes]) -> Iterable[bytes]:
    return (tag + encode(value) for value in values.to_pylist())


def _digits(value: int) -> bytes:
    return b"%d" % value


def normal_text(value: bytes) -> bytes:
    """NFC; bytes that are not UTF-8 stay as they are, so that broken text is hashed and not quoted in an error."""
    if value.isascii():
        return value
    return unicodedata.normalize("NFC", value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
