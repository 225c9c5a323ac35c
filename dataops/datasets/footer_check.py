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

from dataops.datasets.compact import BrokenThrift, Fields, read_struct

MAX_GROUP_ROWS = 2**31 - 1  # what one of Arrow's arrays can index
_FIRST_PAGE = 4  # behind the magic
_WIDTHS = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8}  # bytes of a BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE
_BYTE_ARRAY, _FIXED_BYTES = 6, 7
_REQUIRED, _OPTIONAL, _REPEATED = range(3)
_MAX_LEVELS = 64

# fields of parquet.thrift
_FILE_SCHEMA, _FILE_ROWS, _FILE_GROUPS, _FILE_ENCRYPTION = 2, 3, 4, 8
_NODE_TYPE, _NODE_LENGTH, _NODE_REPETITION, _NODE_NAME, _NODE_CHILDREN = 1, 2, 3, 4, 5
_GROUP_COLUMNS, _GROUP_BYTES, _GROUP_ROWS = 1, 2, 3
_CHUNK_PATH, _CHUNK_META, _CHUNK_CRYPTO, _CHUNK_ENCRYPTED = 1, 3, 8, 9
_META_TYPE, _META_VALUES, _META_UNCOMPRESSED, _META_COMPRESSED = 1, 5, 6, 7
_META_DATA, _META_DICTIONARY, _META_STATISTICS, _META_SIZES = 9, 11, 12, 16
_BOUNDS = (1, 2, 5, 6)
_REPETITIONS, _DEFINITIONS = 2, 3


class BrokenFooter(ValueError):
    """A footer that its file can't have; its text says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaf:
    name: str
    type: int
    width: int
    repetitions: int
    definitions: int


def check_footer(footer: bytes, size_bytes: int) -> None:
    """Nothing, if `footer` can be that of a file of `size_bytes`.

    Raises
    ------
    BrokenFooter : the first thing that is wrong with it.
    """
    try:
        fields, _ = read_struct(footer)
    except BrokenThrift as error:
        raise BrokenFooter(f"its footer is broken: {error}") from None
    _require(_FILE_ENCRYPTION not in fields, "its columns are encrypted, which can't be read here")
    leaves = _leaves(_structs(fields, _FILE_SCHEMA))
    groups = _structs(fields, _FILE_GROUPS)
    last_page = size_bytes - len(footer) - 8
    ranges: list[tuple[int, int]] = []
    rows = 0
    for number, group in enumerate(groups):
        rows += _check_group(group, number, leaves, ranges, last_page)
    _require(_number(fields, _FILE_ROWS) == rows, f"its row groups have {rows} rows, which isn't what the file says")
    _require_apart(ranges)


def _check_group(
    group: Fields, number: int, leaves: Sequence[_Leaf], ranges: list[tuple[int, int]], last_page: int
) -> int:
    """The rows of `group`; where its columns lie is added to `ranges`."""
    rows, chunks = _number(group, _GROUP_ROWS), _structs(group, _GROUP_COLUMNS)
    _require(0 <= rows <= MAX_GROUP_ROWS, f"row group {number} can't have the number of rows that it says")
    _require(_number(group, _GROUP_BYTES) >= 0, f"row group {number} has less than no bytes")
    _require(len(chunks) == len(leaves), f"row group {number} has {len(chunks)} of {len(leaves)} columns")
    for leaf, chunk in zip(leaves, chunks, strict=True):
        where = f"row group {number}, column {leaf.name!a}"
        _require(
            not chunk.keys() & {_CHUNK_CRYPTO, _CHUNK_ENCRYPTED}, f"{where} is encrypted, which can't be read here"
        )
        _require(not chunk.get(_CHUNK_PATH), f"{where} lies in another file")
        meta = chunk.get(_CHUNK_META)
        if not isinstance(meta, dict):
            raise BrokenFooter(f"{where} has no metadata")
        _check_column(meta, leaf, rows, where)
        if rows:  # without any, writers say what they like of places
            start, end = _pages(meta)
            _require(_FIRST_PAGE <= start < end <= last_page, f"{where} would lie outside of the file's pages")
            ranges.append((start, end))
    return rows


def _check_column(meta: Fields, leaf: _Leaf, rows: int, where: str) -> None:
    values = _number(meta, _META_VALUES)
    _require(_number(meta, _META_TYPE) == leaf.type, f"{where} is not of the type that the schema says")
    fits = values == rows if leaf.repetitions == 0 else rows <= values <= MAX_GROUP_ROWS
    _require(fits, f"{where} doesn't have the values that {rows} rows have")
    _require(_number(meta, _META_UNCOMPRESSED) >= 0, f"{where} has less than no bytes")
    statistics = meta.get(_META_STATISTICS)
    if isinstance(statistics, dict):
        widths = {len(bound) for one in _BOUNDS if isinstance(bound := statistics.get(one, b""), bytes)}
        _require(not any(0 < width < leaf.width for width in widths), f"{where} has statistics of another type")
    sizes = meta.get(_META_SIZES)
    if isinstance(sizes, dict):
        for field, levels in ((_REPETITIONS, leaf.repetitions), (_DEFINITIONS, leaf.definitions)):
            histogram = sizes.get(field, [])
            fits = isinstance(histogram, list) and len(histogram) in (0, levels + 1)
            _require(fits, f"{where} has histograms of another number of levels")
            counted = not histogram or sum(one for one in histogram if isinstance(one, int)) == values
            _require(counted, f"{where} has histograms of another number of values")
        _require(leaf.type == _BYTE_ARRAY or 1 not in sizes, f"{where} has sizes of text and isn't text")


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


def _leaves(nodes: Sequence[Fields]) -> list[_Leaf]:
    """The leaves of the schema, which lists its tree depth first."""
    _require(bool(nodes), "it has no schema")
    found: list[_Leaf] = []
    rest = iter(nodes[1:])
    for _ in range(_children(nodes[0])):
        found += _below(rest, (), 0, 0)
    _require(next(rest, None) is None, "its schema has columns that belong nowhere")
    return found


def _below(rest: Iterator[Fields], above: tuple[str, ...], repetitions: int, definitions: int) -> Iterator[_Leaf]:
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
        _require(0 <= kind <= _FIXED_BYTES and width >= 0, "a column has no type that Parquet has")
        yield _Leaf(name=".".join(path), type=kind, width=width, repetitions=repetitions, definitions=definitions)


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
        raise BrokenFooter("its footer lacks a number that every footer has")
    return found


def _require(holds: bool, finding: str) -> None:  # noqa: FBT001  # a condition and what it means
    if not holds:
        raise BrokenFooter(finding)
