"""Keyed 64-bit hashes of rows, for counting and finding equal ones over a whole dataset. Pure, vectorised.

1. Equal canonical values have equal hashes. The canonical form is that of `pseudonyms`: one for every integer width,
   string encoding, Unicode form and unit of time, and another for every other type of value. Beside those types, floats
   (0.0 is -0.0, every NaN is one), decimals (1.5 is 1.50) and times of day.
2. Different values have equal hashes as by chance: among n of them about ``n**2 / 2**65`` pairs. Who needs certainty
   looks at the true values of the rows whose hashes are equal.
3. The key makes hashes useless without it, and hinders anybody from choosing values that collide. It is a hash for
   counting and no cryptographic promise: a few values with their hashes may give the key away. Hashes are never shown
   to anyone; what is shown is a pseudonym.
4. Every null has one hash: who counts leaves nulls out by their validity.

A word of 8 bytes is mixed in by xor, multiplication by a keyed odd number and a shifted xor, the steps of splitmix64
(Steele, Lea, Flood 2014); two more rounds at the end spread the bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from dataops.errors import InvalidInput
from dataops.governance.plain_types import plain_column
from dataops.governance.pseudonyms import NANOSECONDS, normal_text, require_key

Words: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]

_BLOCK_ROWS = 1 << 15  # so that what is computed on stays in the processor's cache
_LONGEST_IN_WORDS = 128  # bytes; longer values are few, and one of a megabyte must not make the loop over words long
_LAST_BYTES: Words = np.array([(1 << 8 * n) - 1 for n in range(9)], dtype=np.uint64)


def keyed_hashes(columns: Sequence[pa.ChunkedArray], *, key: bytes) -> Words:
    """The hash of each row of `columns`, taken together and in their order: uint64 (n_rows,).

    Parameters
    ----------
    columns
        At least one; all of the same length and of types that can be compared for equality, not lists or structs.
    key
        32 to 64 secret bytes, from `keys.derive_key`.

    Raises
    ------
    InvalidInput : no column, one of another type, or no proper key.
    """
    require_key(key)
    if not columns:
        raise InvalidInput("rows without columns have no hash")
    first, *others = (_column_hashes(plain_column(column), key) for column in columns)
    for place, other in enumerate(others):
        turn, multiplier = _secrets(key, b"+%d" % place)[:2]
        first = _mixed(first * turn, other, multiplier)  # turned first, or two columns could change places
    return first


def _column_hashes(column: pa.ChunkedArray, key: bytes) -> Words:
    tag, hashes_of = _canonical(column.type)
    secrets, null = _secrets(key, tag), _secrets(key, b"null")[0]
    out = np.empty(len(column), dtype=np.uint64)
    done = 0
    for block in _blocks(column):
        hashes = hashes_of(block, secrets)
        if block.null_count:
            hashes = np.where(block.is_null().to_numpy(zero_copy_only=False), null, hashes)
        out[done : done + len(block)] = hashes
        done += len(block)
    return out


def _blocks(column: pa.ChunkedArray) -> Iterator[pa.Array]:
    for chunk in column.chunks:
        for start in range(0, len(chunk), _BLOCK_ROWS):
            yield chunk.slice(start, _BLOCK_ROWS)


def _canonical(type_: pa.DataType) -> tuple[bytes, Callable[[pa.Array, Words], Words]]:
    """The tag of a type's values, and the function that hashes an array of them."""
    if pa.types.is_timestamp(type_):
        return b"t" if type_.tz is None else b"z", _hash_times
    for test, tag, hashes_of in _KINDS:
        if test(type_):
            return tag, hashes_of
    raise InvalidInput(f"values of type {type_} can't be compared for equality; list single columns of plain types")


def _secrets(key: bytes, tag: bytes) -> Words:
    """Eight secret words, odd as multipliers have to be; others for every tag."""
    words = np.frombuffer(blake2b(b"dataops/rows/1" + tag, key=key).digest(), dtype="<u8").astype(np.uint64)
    return words | np.uint64(1)


def _mixed(hashes: Words, words: Words, multiplier: np.uint64) -> Words:
    mixed = (hashes ^ words) * multiplier
    mixed ^= mixed >> np.uint64(32)
    return mixed


def _spread(hashes: Words, secrets: Words) -> Words:
    hashes = hashes * secrets[6]
    hashes ^= hashes >> np.uint64(29)
    hashes *= secrets[7]
    hashes ^= hashes >> np.uint64(32)
    return hashes


def _hash_integers(values: pa.Array, secrets: Words) -> Words:
    """-1 as int64 and 2**64 - 1 as uint64 are the same word: the sign decides what the word is mixed with."""
    numbers = _numbers(values)
    words = numbers.astype(np.uint64)
    signs = np.where(numbers < 0, secrets[1], secrets[0]) if numbers.dtype.kind == "i" else secrets[0]
    return _spread(_mixed(words, signs, secrets[2]), secrets)


def _hash_times(values: pa.Array, secrets: Words) -> Words:
    """As seconds and nanoseconds: nanoseconds alone would not fit for times far away."""
    unit = NANOSECONDS[values.type.unit]
    ticks = _numbers(values.cast(pa.int32() if values.type.bit_width == 32 else pa.int64())).astype(np.int64)
    seconds, rest = np.divmod(ticks, 10**9 // unit)
    hashes = _mixed(seconds.astype(np.uint64), secrets[0], secrets[1])
    return _spread(_mixed(hashes, (rest * unit).astype(np.uint64), secrets[2]), secrets)


def _hash_floats(values: pa.Array, secrets: Words) -> Words:
    numbers = _numbers(values.cast(pa.float64())) + 0.0  # no negative zero
    numbers = np.where(np.isnan(numbers), np.nan, numbers)
    return _spread(_mixed(numbers.view(np.uint64), secrets[0], secrets[1]), secrets)


def _numbers(values: pa.Array) -> np.ndarray[Any, Any]:
    """The value of each slot, whatever lies under nulls: their hashes are replaced."""
    dtype = values.type.to_pandas_dtype()
    return np.frombuffer(values.buffers()[1], dtype=dtype)[values.offset : values.offset + len(values)]


def _hash_bytes(values: pa.Array, secrets: Words) -> Words:
    """Of strings of bytes, word by word over all rows that are long enough; the length is mixed in first."""
    starts, lengths, data = _layout(values)
    hashes = _mixed(lengths.astype(np.uint64), secrets[0], secrets[1])
    rows = np.flatnonzero((lengths > 0) & (lengths <= _LONGEST_IN_WORDS))
    starts, left = starts[rows], lengths[rows]
    while len(rows):
        words = data[starts] & _LAST_BYTES[np.minimum(left, 8)]
        hashes[rows] = _mixed(hashes[rows], words, secrets[2])
        more = left > 8
        rows, starts, left = rows[more], starts[more] + 8, left[more] - 8
    for row in np.flatnonzero(lengths > _LONGEST_IN_WORDS):
        own = blake2b(values[int(row)].as_py() or b"", key=secrets.tobytes(), digest_size=8).digest()
        hashes[row] = int.from_bytes(own, "little")
    return _spread(hashes, secrets)


def _layout(values: pa.Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Words]:
    """Each value's first byte and length, and the word of 8 bytes that begins at every byte."""
    _, offsets_buffer, data_buffer = values.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int32)[values.offset : values.offset + len(values) + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    data = np.zeros(last - first + 8, dtype=np.uint8)
    if last > first:
        data[: last - first] = np.frombuffer(data_buffer, dtype=np.uint8)[first:last]
    words = np.ndarray((last - first + 1,), dtype="<u8", buffer=data, strides=(1,))
    return (offsets[:-1] - first).astype(np.int64), np.diff(offsets), words


def _decimal_digits(values: pa.Array) -> pa.Array:
    encoded = values.dictionary_encode()
    digits = [_digits(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(digits, pa.binary()).take(encoded.indices)


def _digits(value: Decimal) -> bytes:
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text).encode()


_KINDS: tuple[tuple[Callable[[pa.DataType], bool], bytes, Callable[[pa.Array, Words], Words]], ...] = (
    (pa.types.is_integer, b"i", _hash_integers),
    (pa.types.is_string, b"s", lambda values, secrets: _hash_bytes(normal_text(values), secrets)),
    (pa.types.is_binary, b"x", _hash_bytes),
    (pa.types.is_fixed_size_binary, b"x", lambda values, secrets: _hash_bytes(values.cast(pa.binary()), secrets)),
    (pa.types.is_boolean, b"b", lambda values, secrets: _hash_integers(values.cast(pa.int8()), secrets)),
    (pa.types.is_date, b"d", lambda values, secrets: _hash_integers(values.cast(pa.date32()).cast("int32"), secrets)),
    (pa.types.is_time, b"c", _hash_times),
    (pa.types.is_floating, b"f", _hash_floats),
    (pa.types.is_decimal, b"n", lambda values, secrets: _hash_bytes(_decimal_digits(values), secrets)),
)
