"""Leaves of nested columns: which there are in a file, and the values of one of them as a flat column. Pure.

1. A leaf's path has a name for each level of structs, ``key`` or ``value`` for a map, and nothing for a list:
   ``orders: list<struct<sku, card>>`` has the leaves ``("orders", "sku")`` and ``("orders", "card")``.
2. A list or map on the way makes the leaf a list, of one level: lists within lists are joined, in their order.
3. A struct that is null makes its leaves null. A null list stays null; within a list a null struct is a null element.
4. What a leaf's values hold is in the rows: no dictionary's and no fixed-size list's hidden entries come along.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dataops.governance.names import folded

MAP_PARTS = ("key", "value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A column as Parquet stores it.

    Attributes
    ----------
    path : names from the top, without lists.
    type : of its values; a list of them where a list or map is on the way.
    index : its position among all leaves of the file.
    """

    path: tuple[str, ...]
    type: pa.DataType
    index: int

    @property
    def shown(self) -> str:
        """The path with dots."""
        return ".".join(self.path)


def leaves_of(schema: pa.Schema) -> tuple[Leaf, ...]:
    """All leaves of a file of `schema`, in the file's order."""
    found = (leaf for field in schema for leaf in _below((field.name,), field.type, listed=False))
    return tuple(
        Leaf(path=path, type=pa.list_(kind) if listed else kind, index=index)
        for index, (path, kind, listed) in enumerate(found)
    )


def twin_findings(schema: pa.Schema) -> list[str]:
    """Columns and fields that a reader takes for a neighbour of theirs: a policy on one would miss the other."""
    return list(_twins((), list(schema)))


def leaf_values(column: pa.ChunkedArray, path: tuple[str, ...]) -> pa.ChunkedArray:
    """The values of the leaf at `path` below `column`; the other leaves of `column` may have been left out on reading.

    Raises
    ------
    KeyError : no such leaf.
    pyarrow.ArrowException : more than 2**31 elements in one piece.
    """
    if not path and not is_nested(column.type):
        return column
    pieces = [_descend(chunk, path) for chunk in (column.chunks or [pa.array([], column.type)])]
    return pa.chunked_array(pieces)


def is_nested(kind: pa.DataType) -> bool:
    """Whether columns of type `kind` have leaves below them."""
    types = pa.types
    return bool(types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType))


def is_list(kind: pa.DataType) -> bool:
    """Whether `kind` is a list of any sort, maps apart."""
    types = pa.types
    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view)
    return any(test(kind) for test in tests)


def _below(
    path: tuple[str, ...], kind: pa.DataType, *, listed: bool
) -> Iterator[tuple[tuple[str, ...], pa.DataType, bool]]:
    if isinstance(kind, pa.BaseExtensionType) and is_nested(kind.storage_type):
        yield from _below(path, kind.storage_type, listed=listed)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _below((*path, field.name), field.type, listed=listed)
    elif pa.types.is_map(kind):
        for part, inner in zip(MAP_PARTS, (kind.key_type, kind.item_type), strict=True):
            yield from _below((*path, part), inner, listed=True)
    elif is_list(kind):
        yield from _below(path, kind.value_type, listed=True)
    else:
        yield path, kind, listed


def _twins(above: tuple[str, ...], fields: Sequence[pa.Field]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for field in fields:
        path = (*above, field.name)
        shown, same = ".".join(path), folded(field.name)
        if same in seen:
            yield f"column {shown!r} can't be told from column {seen[same]!r}"
        seen.setdefault(same, shown)
        yield from _twins(path, list(_fields_below(field.type)))


def _fields_below(kind: pa.DataType) -> Iterable[pa.Field]:
    """The fields of a struct, also of one within lists and maps."""
    if isinstance(kind, pa.BaseExtensionType):
        return _fields_below(kind.storage_type)
    if pa.types.is_struct(kind):
        return list(kind)
    if pa.types.is_map(kind):
        return [pa.field(part, inner) for part, inner in zip(MAP_PARTS, (kind.key_type, kind.item_type), strict=True)]
    return _fields_below(kind.value_type) if is_list(kind) else ()


def _descend(array: pa.Array, path: tuple[str, ...]) -> pa.Array:
    """The leaf at `path` below `array`: flat, or a `pa.ListArray` of flat values."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _descend(array.storage, path)
    if pa.types.is_struct(kind):
        return _descend(_field_of(array, path), path[1:])
    if pa.types.is_map(kind):
        lists = pa.ListArray.from_arrays(_offsets(array), array.keys if path[0] == MAP_PARTS[0] else array.items)
        return _wrapped(array, lists.offsets, _descend(lists.values, path[1:]))
    if is_list(kind):
        lists = _plain_lists(array)
        return _wrapped(lists, _offsets(lists), _descend(lists.values, path))
    if path:
        raise KeyError(path[0])
    return array.dictionary_decode() if pa.types.is_dictionary(kind) else array


def _field_of(array: pa.StructArray, path: tuple[str, ...]) -> pa.Array:
    positions = array.type.get_all_field_indices(path[0]) if path else []
    if not positions and path and path[0] in MAP_PARTS and array.type.num_fields == 1:
        positions = [0]  # of a map, only the keys or only the values were read
    if len(positions) != 1:
        raise KeyError(path[0] if path else "")
    return pc.struct_field(array, positions)


def _plain_lists(array: pa.Array) -> pa.ListArray:
    """`array` as lists with 32-bit offsets, whose null entries are empty."""
    hidden = pa.types.is_fixed_size_list(array.type) and array.null_count > 0
    lists = array if pa.types.is_list(array.type) else array.cast(pa.list_(array.type.value_type))
    return lists.take(pa.array(range(len(lists)), pa.int64())) if hidden else lists


def _offsets(array: pa.Array) -> pa.Array:
    """The offsets of a list or map, which may be a slice, into its values; they are a slice of nothing themselves."""
    return array.offsets if array.offset == 0 else pa.array(array.offsets.to_numpy())


def _wrapped(outer: pa.Array, offsets: pa.Array, inner: pa.Array) -> pa.ListArray:
    """`inner`, the values of `outer`, as lists again; joined where it holds lists itself."""
    if pa.types.is_list(inner.type):
        offsets, inner = inner.offsets.take(offsets), inner.values
    return pa.ListArray.from_arrays(offsets, inner, mask=outer.is_null() if outer.null_count else None)
