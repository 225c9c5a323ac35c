"""The row groups of a footer as writers write them, by patterns: what `compact` reads field by field, much faster.

1. The patterns know the fields of parquet.thrift in ascending order, with numbers of up to 63 bits, texts of up to 63
   bytes and lists of up to 14. What isn't that is not taken: then `compact` reads it, and says what is wrong with it.
2. What is taken has every field that Arrow asks for, and each field that `footer_check` asks for as `compact` gives it.
3. At each byte one way alone can go on, so no bytes make a pattern try many.

Source: Parquet format 2.11, parquet.thrift; the Thrift compact protocol specification.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from dataops.datasets.compact import Fields, read_struct

MOST_GROUPS = 1_000  # far below what Arrow refuses
_LIST, _STRUCT, _TEXT, _LONG_LIST = 9, 12, 8, 15
_MOST_TEXT, _MOST_LISTED = 63, 14
_NUMBER = rb"[\x80-\xff]{0,8}[\x00-\x7f]"
_REMEMBERED = 1 << 14  # numbers: those of tiny files repeat


class _Field(NamedTuple):
    """`kinds` are the types that its head may say, `value` the pattern of what follows the head."""

    number: int
    kinds: tuple[int, ...]
    value: bytes
    needed: bool = False


def _byte(*values: int) -> bytes:
    return b"[" + b"".join(b"\\x%02x" % value for value in values) + b"]"


def _struct(name: str, after: int, fields: Sequence[_Field]) -> bytes:
    """The fields behind field `after`, and the end of the struct; a head says how far its field is from the one before.

    Parameters
    ----------
    name : of the marks that say which fields that may be absent are there; no two structs of a pattern share it.
    """
    parts, sure, maybe = [], after, list[int]()
    for number, kinds, value, needed in fields:
        head = _byte(*(number - sure << 4 | kind for kind in kinds))
        for before in maybe:
            mark = f"{name}{before}".encode()
            head = b"(?(%s)%s|%s)" % (mark, _byte(*(number - before << 4 | kind for kind in kinds)), head)
        if needed:
            parts.append(head + value)
            sure, maybe = number, []
        else:
            parts.append(b"(?:%s%s(?P<%s>))?" % (head, value, f"{name}{number}".encode()))
            maybe.append(number)
    return b"".join(parts) + b"\\x00"


def _list(kind: int, element: bytes, *, most: int = _MOST_LISTED) -> bytes:
    lengths = (_byte(length << 4 | kind) + element * length for length in range(most + 1))
    return b"(?:" + b"|".join(lengths) + b")"


def _named(name: bytes, value: bytes) -> bytes:
    return b"(?P<%s>%s)" % (name, value)


_I16, _I32, _I64, _BOOLEAN = (4,), (5,), (6,), (1, 2)
_SHORT_TEXT = b"(?:" + b"|".join(b"\\x%02x.{%d}" % (size, size) for size in range(_MOST_TEXT + 1)) + b")"


@cache
def _patterns() -> tuple[re.Pattern[bytes], re.Pattern[bytes], re.Pattern[bytes]]:
    """A column up to its path, a column behind its path, a row group behind its columns."""
    start = b"".join(
        [
            _byte(2 << 4 | 6) + _NUMBER,  # ColumnChunk.file_offset; a path of another file isn't usual
            _byte(1 << 4 | _STRUCT),
            _byte(1 << 4 | 5) + _named(b"type", _NUMBER),
            _byte(1 << 4 | _LIST) + _list(5, _NUMBER),  # encodings
            _byte(1 << 4 | _LIST),
        ]
    )
    return tuple(re.compile(one, re.DOTALL) for one in (start, _column_end(), _group_end()))  # type: ignore[return-value]


def _column_end() -> bytes:
    bounds = {1: b"max", 2: b"min", 5: b"max_value", 6: b"min_value"}
    numbers = _list(6, _NUMBER)
    statistics = [
        *(_Field(one, (_TEXT,), _named(bounds[one], _SHORT_TEXT)) for one in (1, 2)),
        *(_Field(one, _I64, _NUMBER) for one in (3, 4)),
        *(_Field(one, (_TEXT,), _named(bounds[one], _SHORT_TEXT)) for one in (5, 6)),
        *(_Field(one, _BOOLEAN, b"") for one in (7, 8)),
    ]
    sizes = [
        _Field(1, _I64, _named(b"text_bytes", _NUMBER)),
        _Field(2, (_LIST,), _named(b"repetitions", numbers)),
        _Field(3, (_LIST,), _named(b"definitions", numbers)),
    ]
    counted = b"".join(_byte(1 << 4 | 5) + _NUMBER for _ in range(3)) + b"\\x00"
    meta = [
        _Field(4, _I32, _NUMBER, needed=True),  # codec
        _Field(5, _I64, _named(b"values", _NUMBER), needed=True),
        _Field(6, _I64, _named(b"uncompressed", _NUMBER), needed=True),
        _Field(7, _I64, _named(b"compressed", _NUMBER), needed=True),
        _Field(9, _I64, _named(b"data", _NUMBER), needed=True),
        _Field(10, _I64, _NUMBER),  # index pages
        _Field(11, _I64, _named(b"dictionary", _NUMBER)),
        _Field(12, (_STRUCT,), _named(b"statistics", _struct("s", 0, statistics))),
        _Field(13, (_LIST,), _list(_STRUCT, counted, most=6)),  # pages by encoding
        _Field(14, _I64, _NUMBER),  # Bloom filter
        _Field(15, _I32, _NUMBER),
        _Field(16, (_STRUCT,), _named(b"sizes", _struct("z", 0, sizes))),
    ]
    indexes = [_Field(4, _I64, _NUMBER), _Field(5, _I32, _NUMBER), _Field(6, _I64, _NUMBER), _Field(7, _I32, _NUMBER)]
    return _struct("m", 3, meta) + _struct("c", 3, indexes)


def _group_end() -> bytes:
    sorted_by = _byte(1 << 4 | 5) + _NUMBER + _byte(1 << 4 | 1, 1 << 4 | 2) * 2 + b"\\x00"
    return _struct(
        "g",
        1,
        [
            _Field(2, _I64, _named(b"bytes", _NUMBER), needed=True),
            _Field(3, _I64, _named(b"rows", _NUMBER), needed=True),
            _Field(4, (_LIST,), _list(_STRUCT, sorted_by, most=4)),
            _Field(5, _I64, _NUMBER),
            _Field(6, _I64, _NUMBER),
            _Field(7, _I16, _NUMBER),
        ],
    )


def path_bytes(path: Sequence[str]) -> bytes | None:
    """How a footer writes the path of a column, behind the head of its field; None for one that isn't usual."""
    names = [name.encode() for name in path]
    if len(names) > _MOST_LISTED or any(len(name) > _MOST_TEXT for name in names):
        return None
    return bytes([len(names) << 4 | _TEXT]) + b"".join(bytes([len(name)]) + name for name in names)


def end_of_schema(footer: bytes) -> int | None:
    """Where the schema of a footer that `compact` reads ends; None if it doesn't start with version and schema."""
    start = _BEFORE_SCHEMA.match(footer)
    length = None if start is None else _list_length(footer, start.end())
    if length is None:
        return None
    count, at = length
    for _ in range(count):
        _, at = read_struct(footer, at, depth=1)
    return at


class Groups(NamedTuple):
    """The row groups of a footer, which says that they have `rows`; `end` is where what it says of them ends."""

    groups: list[Fields]
    rows: int
    end: int


def read_groups(footer: bytes, start: int, paths: Sequence[bytes]) -> Groups | None:
    """The row groups of a footer whose schema ends at `start`; None if one of them isn't as usual.

    Parameters
    ----------
    paths : of the columns that each row group must have, as `path_bytes` gives them.

    Returns
    -------
    Of `RowGroup`, `ColumnChunk`, `ColumnMetaData`, `Statistics` and `SizeStatistics` the fields that say rows, bytes,
    values, types and places; a column in another file, without metadata or encrypted is never usual.
    """
    rows = _ROWS.match(footer, start)
    length = None if rows is None else _list_length(footer, rows.end())
    if rows is None or length is None or length[0] > MOST_GROUPS:
        return None
    count, at = length
    groups = []
    for _ in range(count):
        read = _read_group(footer, at, paths)
        if read is None:
            return None
        group, at = read
        groups.append(group)
    return Groups(groups, number_of(rows[1]), at)


def _read_group(footer: bytes, start: int, paths: Sequence[bytes]) -> tuple[Fields, int] | None:
    length = _list_length(footer, start + 1) if footer[start : start + 1] == _COLUMNS_HEAD else None
    if length is None or length[0] != len(paths):
        return None
    column_start, column_end, group_end = _patterns()
    chunks, at = [], length[1]
    for path in paths:
        first = column_start.match(footer, at)
        if first is None or not footer.startswith(path, first.end()):
            return None
        rest = column_end.match(footer, first.end() + len(path))
        if rest is None:
            return None
        chunks.append({3: _meta(first["type"], rest)})
        at = rest.end()
    end = group_end.match(footer, at)
    if end is None:
        return None
    return {1: chunks, 2: number_of(end["bytes"]), 3: number_of(end["rows"])}, end.end()


def _meta(kind: bytes, rest: re.Match[bytes]) -> Fields:
    values, uncompressed, compressed, data, dictionary, statistics, sizes = rest.group(*_META)
    meta: Fields = {
        1: number_of(kind),
        5: number_of(values),
        6: number_of(uncompressed),
        7: number_of(compressed),
        9: number_of(data),
    }
    if dictionary is not None:
        meta[11] = number_of(dictionary)
    if statistics is not None:
        bounds = zip((1, 2, 5, 6), rest.group(*_BOUNDS), strict=True)
        meta[12] = {field: bound[1:] for field, bound in bounds if bound is not None}
    if sizes is not None:
        text_bytes, repetitions, definitions = rest.group(*_SIZES)
        found: Fields = {}
        meta[16] = found
        if text_bytes is not None:
            found[1] = number_of(text_bytes)
        if repetitions is not None:
            found[2] = numbers_of(repetitions[1:])
        if definitions is not None:
            found[3] = numbers_of(definitions[1:])
    return meta


_BEFORE_SCHEMA = re.compile(_byte(1 << 4 | 5) + _NUMBER + _byte(1 << 4 | _LIST))
_ROWS = re.compile(_byte(1 << 4 | 6) + b"(" + _NUMBER + b")" + _byte(1 << 4 | _LIST))
_COLUMNS_HEAD = bytes([1 << 4 | _LIST])
_META = ("values", "uncompressed", "compressed", "data", "dictionary", "statistics", "sizes")
_BOUNDS = ("max", "min", "max_value", "min_value")
_SIZES = ("text_bytes", "repetitions", "definitions")


def _list_length(footer: bytes, at: int) -> tuple[int, int] | None:
    """Of a list of structs: how many there are, and where the first starts; None if that is no such list."""
    head = footer[at : at + 1]
    if not head or head[0] & 15 != _STRUCT:
        return None
    if head[0] >> 4 != _LONG_LIST:
        return head[0] >> 4, at + 1
    found = _LENGTH.match(footer, at + 1)
    return None if found is None else (_unsigned(found[0]), found.end())


_LENGTH = re.compile(rb"[\x80-\xff]{0,4}[\x00-\x7f]")


@lru_cache(maxsize=_REMEMBERED)
def number_of(written: bytes) -> int:
    """The signed number that is `written` so."""
    value = _unsigned(written)
    return (value >> 1) ^ -(value & 1)


@lru_cache(maxsize=_REMEMBERED)
def numbers_of(written: bytes) -> tuple[int, ...]:
    """The signed numbers that are `written` so, one behind the other."""
    return tuple(number_of(one) for one in _ONE_NUMBER.findall(written))


_ONE_NUMBER = re.compile(_NUMBER)


def _unsigned(written: Iterable[int]) -> int:
    value = 0
    for shift, byte in enumerate(written):
        value |= (byte & 127) << 7 * shift
    return value
