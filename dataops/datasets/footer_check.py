"""Whether a footer is one that the file can have: looked at before Arrow sees it, from its bytes alone.

What a footer says decides how many rows there are and where they lie, and Arrow takes its word: a row group that claims
fewer rows than its columns hold comes out shorter without an error, and some damaged footers end the process.

1. The counts agree: all row groups together have the file's rows, each column that isn't repeated has a value for each
   row of its group.
2. The pages of every column lie inside the file, and no two columns share a byte.
3. What Arrow's C++ checks only where Python can't catch it holds: metadata that is there, not encrypted, statistics of
   the width of their type, histograms of as many levels as the column has.
4. A finding names row group and column, and no value.

Source: Parquet format 2.11, parquet.thrift; numbers of fields are those there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dataops.datasets.compact import BINARY, I32, I64, LIST, STRUCT, BrokenThrift, Fields, Typed, read_struct

MAX_GROUP_ROWS = 2**31 - 1  # what one of Arrow's arrays can index
_FIRST_PAGE = 4  # behind the magic
_WIDTHS = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8}  # bytes of a BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE
_BYTE_ARRAY, _FIXED_BYTES = 6, 7
_REQUIRED, _OPTIONAL, _REPEATED = range(3)
_MAX_LEVELS = 64
_LACKS_A_NUMBER = "its footer lacks a number that every footer has"

# fields of parquet.thrift
_FILE_SCHEMA, _FILE_ROWS, _FILE_GROUPS, _FILE_ENCRYPTION = 2, 3, 4, 8
_NODE_TYPE, _NODE_LENGTH, _NODE_REPETITION, _NODE_NAME, _NODE_CHILDREN = 1, 2, 3, 4, 5
_GROUP_COLUMNS, _GROUP_BYTES, _GROUP_ROWS = 1, 2, 3
_CHUNK_PATH, _CHUNK_META, _CHUNK_CRYPTO, _CHUNK_ENCRYPTED = 1, 3, 8, 9
_META_TYPE, _META_VALUES, _META_UNCOMPRESSED, _META_COMPRESSED = 1, 5, 6, 7
_META_DATA, _META_DICTIONARY, _META_STATISTICS, _META_SIZES = 9, 11, 12, 16
_BOUNDS = (1, 2, 5, 6)
_TEXT_BYTES, _REPETITIONS, _DEFINITIONS = 1, 2, 3

_ONE, _TWO, _NUMBERS = Typed(I32), Typed(I64), Typed(LIST, I64)
_STRUCTS = Typed(LIST, STRUCT)
_SIZE_STATISTICS = {1: _TWO, 2: _NUMBERS, 3: _NUMBERS}
_STATISTICS = dict.fromkeys(_BOUNDS, Typed(BINARY))
_COLUMN_META = {
    **dict.fromkeys((1, 4, 15), _ONE),
    **dict.fromkeys((5, 6, 7, 9, 10, 11, 14), _TWO),
    2: Typed(LIST, I32),
    3: Typed(LIST, BINARY),
    8: _STRUCTS,
    12: Typed(STRUCT, fields=_STATISTICS),
    13: _STRUCTS,
    16: Typed(STRUCT, fields=_SIZE_STATISTICS),
    17: Typed(STRUCT, fields={2: Typed(LIST, I32)}),  # of places on the earth: their kinds
}
_COLUMN_CHUNK = {1: Typed(BINARY), 2: _TWO, 3: Typed(STRUCT, fields=_COLUMN_META), 8: Typed(STRUCT), 9: Typed(BINARY)}
_ROW_GROUP = {1: Typed(LIST, STRUCT, _COLUMN_CHUNK), 2: _TWO, 3: _TWO, 4: _STRUCTS}
_SCHEMA_NODE = {**dict.fromkeys((1, 2, 3, 5, 6, 7, 8, 9), _ONE), 4: Typed(BINARY), 10: Typed(STRUCT)}
_FILE = {
    1: _ONE,
    2: Typed(LIST, STRUCT, _SCHEMA_NODE),
    3: _TWO,
    4: Typed(LIST, STRUCT, _ROW_GROUP),
    5: _STRUCTS,
    6: Typed(BINARY),
    7: _STRUCTS,
    8: Typed(STRUCT),
    9: Typed(BINARY),
}
"""What fields must be: those that are looked at here, and all lists."""


class BrokenFooter(ValueError):
    """A footer that its file can't have; its text says where."""


class _Finding(Exception):  # what is wrong with a column, behind its name
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLeaf:
    """A column as Parquet stores it: `width` are the bytes of a value of it (0: they differ), `repetitions` and
    `definitions` its highest levels.
    """

    path: tuple[str, ...]
    type: int
    width: int
    repetitions: int
    definitions: int

    @property
    def name(self) -> str:
        """The path, dotted."""
        return ".".join(self.path)


def check_footer(footer: bytes, size_bytes: int) -> list[StoredLeaf]:
    """The columns that `footer` lists, if it can be that of a file of `size_bytes`.

    Raises
    ------
    BrokenFooter : the first thing that is wrong with it.
    """
    try:
        fields, _ = read_struct(footer, known=_FILE)
    except BrokenThrift as error:
        raise BrokenFooter(f"its footer is broken: {error}") from None
    _require(_FILE_ENCRYPTION not in fields, "its columns are encrypted, which can't be read here")
    leaves = _leaves(_structs(fields, _FILE_SCHEMA))
    groups = _structs(fields, _FILE_GROUPS)
    check_groups(groups, leaves, fields.get(_FILE_ROWS), size_bytes - len(footer) - 8)
    return leaves


def check_groups(groups: Sequence[Fields], leaves: Sequence[StoredLeaf], rows: object, last_page: int) -> None:
    """Nothing, if a file can have the row groups `groups` of the columns `leaves`.

    Parameters
    ----------
    rows : what the file says of all of its rows.
    last_page : where the footer starts.

    Raises
    ------
    BrokenFooter : the first thing that is wrong with them.
    """
    ranges: list[tuple[int, int]] = []
    found = 0
    for number, group in enumerate(groups):
        found += _check_group(group, number, leaves, ranges, last_page)
    if not isinstance(rows, int):
        raise BrokenFooter(_LACKS_A_NUMBER)
    _require(rows == found, f"its row groups have {found} rows, which isn't what the file says")
    _require_apart(ranges)


def _check_group(
    group: Fields, number: int, leaves: Sequence[StoredLeaf], ranges: list[tuple[int, int]], last_page: int
) -> int:
    """The rows of `group`; where its columns lie is added to `ranges`."""
    rows, chunks = _number(group, _GROUP_ROWS), _structs(group, _GROUP_COLUMNS)
    if not 0 <= rows <= MAX_GROUP_ROWS:
        raise BrokenFooter(f"row group {number} can't have the number of rows that it says")
    if _number(group, _GROUP_BYTES) < 0:
        raise BrokenFooter(f"row group {number} has less than no bytes")
    if len(chunks) != len(leaves):
        raise BrokenFooter(f"row group {number} has {len(chunks)} of {len(leaves)} columns")
    for leaf, chunk in zip(leaves, chunks, strict=True):
        try:
            pages = _check_column(chunk, leaf, rows, last_page)
        except _Finding as finding:
            raise BrokenFooter(f"row group {number}, column {leaf.name!a} {finding}") from None
        if rows:  # without any, writers say what they like of places
            ranges.append(pages)
    return rows


def _check_column(chunk: Fields, leaf: StoredLeaf, rows: int, last_page: int) -> tuple[int, int]:
    """Where the pages of the column lie. A look at many files spends its time here."""
    if _CHUNK_CRYPTO in chunk or _CHUNK_ENCRYPTED in chunk:
        raise _Finding("is encrypted, which can't be read here")
    if chunk.get(_CHUNK_PATH):
        raise _Finding("lies in another file")
    meta = chunk.get(_CHUNK_META)
    if not isinstance(meta, dict):
        raise _Finding("has no metadata")
    values = _number(meta, _META_VALUES)
    if _number(meta, _META_TYPE) != leaf.type:
        raise _Finding("is not of the type that the schema says")
    if not (values == rows if leaf.repetitions == 0 else rows <= values <= MAX_GROUP_ROWS):
        raise _Finding(f"doesn't have the values that {rows} rows have")
    if _number(meta, _META_UNCOMPRESSED) < 0:
        raise _Finding("has less than no bytes")
    statistics = meta.get(_META_STATISTICS)
    if isinstance(statistics, dict):
        _check_bounds(statistics, leaf.width)
    sizes = meta.get(_META_SIZES)
    if isinstance(sizes, dict):
        _check_sizes(sizes, leaf, values)
    start, end = _pages(meta) if rows else (_FIRST_PAGE, _FIRST_PAGE + 1)
    if rows and not _FIRST_PAGE <= start < end <= last_page:
        raise _Finding("would lie outside of the file's pages")
    return start, end


def _check_bounds(statistics: Fields, width: int) -> None:
    for field in _BOUNDS:
        bound = statistics.get(field, b"")
        if isinstance(bound, bytes) and 0 < len(bound) < width:
            raise _Finding("has statistics of another type")


def _check_sizes(sizes: Fields, leaf: StoredLeaf, values: int) -> None:
    for field, levels in ((_REPETITIONS, leaf.repetitions), (_DEFINITIONS, leaf.definitions)):
        histogram = sizes.get(field, ())
        if not (isinstance(histogram, list | tuple) and len(histogram) in (0, levels + 1)):
            raise _Finding("has histograms of another number of levels")
        if histogram and sum([one for one in histogram if isinstance(one, int)]) != values:
            raise _Finding("has histograms of another number of values")
    if leaf.type != _BYTE_ARRAY and _TEXT_BYTES in sizes:
        raise _Finding("has sizes of text and isn't text")


def _pages(meta: Fields) -> tuple[int, int]:
    """Where the pages of a column start and end: at its dictionary, if it says where that is."""
    start, length = _number(meta, _META_DATA), _number(meta, _META_COMPRESSED)
    dictionary = meta.get(_META_DICTIONARY, 0)
    if isinstance(dictionary, int) and 0 < dictionary < start:
        start = dictionary
    return start, start + length


def _require_apart(ranges: list[tuple[int, int]]) -> None:
    ranges.sort()
    for (_, end), (start, _) in pairwise(ranges):
        _require(end <= start, "two of its columns share pages")


def _leaves(nodes: Sequence[Fields]) -> list[StoredLeaf]:
    """The leaves of the schema, which lists its tree depth first."""
    _require(bool(nodes), "it has no schema")
    found: list[StoredLeaf] = []
    rest = iter(nodes[1:])
    for _ in range(_children(nodes[0])):
        found += _below(rest, (), 0, 0)
    _require(next(rest, None) is None, "its schema has columns that belong nowhere")
    return found


def _below(rest: Iterator[Fields], above: tuple[str, ...], repetitions: int, definitions: int) -> Iterator[StoredLeaf]:
    node = next(rest, None)
    if node is None:
        raise BrokenFooter("its schema ends too early")
    _require(len(above) < _MAX_LEVELS, "its schema is nested too deeply")
    try:
        path = (*above, node.get(_NODE_NAME, b"").decode())
    except (UnicodeDecodeError, AttributeError):
        raise BrokenFooter("the name of a column is no text") from None
    repetition = node.get(_NODE_REPETITION, _REQUIRED)
    _require(repetition in (_REQUIRED, _OPTIONAL, _REPEATED), "a column is neither required, optional nor repeated")
    repetitions += repetition == _REPEATED
    definitions += repetition != _REQUIRED
    if _children(node):
        for _ in range(_children(node)):
            yield from _below(rest, path, repetitions, definitions)
        return
    if _NODE_TYPE in node:  # a group without fields, as of an empty struct, has no column
        kind = _number(node, _NODE_TYPE)
        width = _number(node, _NODE_LENGTH) if kind == _FIXED_BYTES else _WIDTHS.get(kind, 0)
        _require(0 <= kind <= _FIXED_BYTES and 0 <= width < 2**31, "a column has no type that Parquet has")
        yield StoredLeaf(path=path, type=kind, width=width, repetitions=repetitions, definitions=definitions)


def _children(node: Fields) -> int:
    count = node.get(_NODE_CHILDREN, 0)
    return count if isinstance(count, int) else 0


def _structs(fields: Fields, number: int) -> list[Fields]:
    found = fields.get(number)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise BrokenFooter("its footer lacks a list that every footer has")
    return found


def _number(fields: Fields, number: int) -> int:
    found: Any = fields.get(number)
    if not isinstance(found, int):
        raise BrokenFooter(_LACKS_A_NUMBER)
    return found


def _require(holds: bool, finding: str) -> None:  # noqa: FBT001  # a condition and what it means
    if not holds:
        raise BrokenFooter(finding)
