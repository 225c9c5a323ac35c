"""Pseudonyms: a column's values, each replaced by a keyed hash of it. Pure.

1. Keyed BLAKE2b (RFC 7693) cut to 128 bits, as 32 hex digits: without the key no guess can be checked, and among 10**12
   distinct values a collision has a chance below 10**-14.
2. What is hashed is a type tag and the canonical value: a person has one pseudonym in every integer width, string
   encoding, Unicode form and unit of time; the text ``7`` and the number 7 are two.
3. Each distinct value is hashed once, unless nearly all are distinct. A null stays null.
4. Pseudonymous is not anonymous: equality and frequency stay visible. The promise is that a value can't be recovered
   without the key, even by someone who can list all possible values.
"""

from __future__ import annotations

import unicodedata
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.errors import InvalidInput
from dataops.governance.plain_types import one_array

KEY_BYTES = 32
_PSEUDONYM_BYTES = 16
_SAMPLE_ROWS = 4096
_SMALL_SHARE = 0.2  # of rows with a twin: hashing a value costs about five times what looking it up does
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
    values = one_array(column)
    if _is_mostly_unique(values):
        return _hashed(values, require_key(key))
    encoded = values.dictionary_encode()
    return _hashed(encoded.dictionary, require_key(key)).take(encoded.indices)


def _is_mostly_unique(values: pa.Array) -> bool:
    """Whether finding the distinct values costs more than hashing some of them again; from a sample of rows.

    Where the share s of the rows has a twin, k rows out of n hold about ``s * k**2 / (2 * n)`` pairs of twins. Twins
    may also be neighbours, as in rows that are sorted: then a piece shows them.
    """
    if len(values) <= _SAMPLE_ROWS:
        return False
    spread = values.take(pa.array(np.linspace(0, len(values) - 1, _SAMPLE_ROWS).astype(np.int64)))
    piece = values.slice((len(values) - _SAMPLE_ROWS) // 2, _SAMPLE_ROWS)
    return bool(
        _repeats(spread) * 2 * len(values) <= _SMALL_SHARE * _SAMPLE_ROWS**2
        and _repeats(piece) * 2 <= _SMALL_SHARE * _SAMPLE_ROWS
    )


def _repeats(values: pa.Array) -> int:
    return len(values) - int(pc.count_distinct(values, mode="all").as_py())


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


def _hashed(values: pa.Array, key: bytes) -> pa.Array:
    tag, canonical = _canonical(values)
    copy = blake2b(tag, key=key, digest_size=_PSEUDONYM_BYTES).copy
    hashed: list[str | None] = []
    for value in canonical.to_pylist():
        if value is None:
            hashed.append(None)
            continue
        own = copy()  # cheaper than a new one for every value, which takes the key in anew
        own.update(value)
        hashed.append(own.hexdigest())
    return pa.array(hashed, pa.string())


def _canonical(values: pa.Array) -> tuple[bytes, pa.Array]:
    """The tag of the type and each value as bytes. Never by way of `datetime`, whose range is smaller than Arrow's."""
    type_ = values.type
    if pa.types.is_string(type_):
        return b"s", normal_text(values)
    if pa.types.is_binary(type_):
        return b"x", values
    if pa.types.is_boolean(type_):
        return b"b", _digits(values.cast(pa.int8()))
    if pa.types.is_date(type_):
        return b"d", _digits(values.cast(pa.date32()).cast(pa.int32()))
    if pa.types.is_timestamp(type_):
        ticks, zeros = values.cast(pa.int64()), "0" * (len(str(NANOSECONDS[type_.unit])) - 1)
        # By digits, since the nanoseconds of a time far away are no int64
        nanoseconds = pc.binary_join_element_wise(ticks.cast(pa.string()), zeros, "")
        return b"t" if type_.tz is None else b"z", pc.if_else(pc.equal(ticks, 0), "0", nanoseconds).cast(pa.binary())
    return b"i", _digits(values)


def _digits(values: pa.Array) -> pa.Array:
    return values.cast(pa.string()).cast(pa.binary())


def normal_text(values: pa.Array) -> pa.Array:
    """The bytes (binary) of text in Unicode's form NFC; those that are not UTF-8 stay as they are, so that broken text
    is hashed and not quoted in an error.
    """
    plain = values.cast(pa.binary())
    other = pc.invert(pc.fill_null(pc.string_is_ascii(values), fill_value=True))
    if not pc.any(other).as_py():
        return plain  # ASCII has no other form
    normal = [_nfc(value) for value in plain.filter(other).to_pylist()]
    return pc.replace_with_mask(plain, other, pa.array(normal, pa.binary()))


def _nfc(value: bytes) -> bytes:
    return unicodedata.normalize("NFC", value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
