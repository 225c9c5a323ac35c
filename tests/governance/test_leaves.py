"""Leaves of nested columns: the same values whatever is read beside them, and no value that no row has."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.governance.leaves import leaf_values, leaves_of, twin_findings

FLAT = st.sampled_from([pa.int64(), pa.string(), pa.bool_()])


def _nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    parts = st.dictionaries(st.sampled_from(["a", "b", "key", "a.b"]), inner, min_size=1, max_size=3)
    return (
        inner.map(pa.list_)
        | inner.map(pa.large_list)
        | inner.map(lambda kind: pa.list_(kind, 2))
        | inner.map(lambda kind: pa.map_(pa.string(), kind))
        | parts.map(lambda found: pa.struct(list(found.items())))
    )


KINDS = st.recursive(FLAT, _nested, max_leaves=5)


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Python values of `kind`, nulls among them."""
    if pa.types.is_struct(kind):
        values = st.fixed_dictionaries({field.name: values_of(field.type) for field in kind})
    elif pa.types.is_map(kind):
        values = st.lists(st.tuples(st.sampled_from("xyz"), values_of(kind.item_type)), max_size=3)
    elif pa.types.is_fixed_size_list(kind):
        values = st.lists(values_of(kind.value_type), min_size=kind.list_size, max_size=kind.list_size)
    elif pa.types.is_nested(kind):
        values = st.lists(values_of(kind.value_type), max_size=3)
    elif kind == pa.string():
        values = st.sampled_from(["", "u", "v"])
    else:
        values = st.booleans() if kind == pa.bool_() else st.integers(-3, 3)
    return st.none() | values


def expected(value: Any, kind: pa.DataType, path: tuple[str, ...]) -> Any:
    """The leaf of one row by hand: a list of the elements found on the way, if a list is on the way."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return expected(value[path[0]], kind.field(path[0]).type, path[1:])
    if pa.types.is_map(kind):
        part = path[0] == "value"
        return _joined([pair[part] for pair in value], kind.item_type if part else kind.key_type, path[1:])
    if pa.types.is_nested(kind):
        return _joined(value, kind.value_type, path)
    return value


def _joined(elements: list[Any], kind: pa.DataType, path: tuple[str, ...]) -> list[Any]:
    found = [expected(element, kind, path) for element in elements]
    below = leaves_of(pa.schema([("x", kind)]))
    is_list = next(pa.types.is_list(leaf.type) for leaf in below if leaf.path[1:] == path)
    return [inner for one in found for inner in one or []] if is_list else found


@given(data=st.data(), kind=KINDS)
def test_a_leaf_is_what_its_rows_say_alone_or_with_others(data: st.DataObject, kind: pa.DataType) -> None:
    rows = data.draw(st.lists(values_of(kind), min_size=1, max_size=5))
    file = io.BytesIO()
    pq.write_table(pa.table({"c": pa.array(rows, kind)}), file)
    parquet = pq.ParquetFile(file)
    leaves = leaves_of(parquet.schema_arrow)
    assert len(leaves) == parquet.metadata.num_columns
    whole = parquet.read().column("c")
    start = data.draw(st.integers(0, len(rows)))
    for leaf in leaves:
        alone = parquet.reader.read_row_groups([0], column_indices=[leaf.index], use_threads=False).column(0)
        wanted = [expected(row, kind, leaf.path[1:]) for row in rows]
        assert leaf_values(alone, leaf.path[1:]).to_pylist() == wanted
        assert leaf_values(whole, leaf.path[1:]).to_pylist() == wanted
        assert leaf_values(whole.slice(start), leaf.path[1:]).to_pylist() == wanted[start:]
        if leaf.path == ("c",) and not pa.types.is_nested(kind):
            continue
        assert leaf_values(alone, leaf.path[1:]).type == leaf.type


def test_what_a_null_of_fixed_size_hides_does_not_come_along() -> None:
    hidden = pa.FixedSizeListArray.from_arrays(
        pa.array(["a", "CANARY", "CANARY", "b"]), 2, mask=pa.array([False, True])
    )
    (leaf,) = leaf_values(pa.chunked_array([hidden]), ()).chunks
    assert leaf.to_pylist() == [["a", "CANARY"], None]
    assert leaf.values.to_pylist() == ["a", "CANARY"]


def test_a_dictionary_below_a_list_becomes_plain_values() -> None:
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", "b", "CANARY"]))
    column = pa.chunked_array([pa.ListArray.from_arrays([0, 1, 2], words)])
    assert leaf_values(column, ()).type == pa.list_(pa.string())
    assert leaf_values(column, ()).to_pylist() == [["a"], ["b"]]


def test_two_leaves_of_one_dotted_name_are_two() -> None:
    schema = pa.schema([("a.b", pa.int8()), ("a", pa.struct([("b", pa.string())]))])
    assert [(leaf.path, leaf.index) for leaf in leaves_of(schema)] == [(("a.b",), 0), (("a", "b"), 1)]
    assert twin_findings(schema) == []


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([("ssn", pa.int8()), ("SSN", pa.int8())]),
        pa.schema([("ssn", pa.int8()), ("ssn", pa.int8())]),
        pa.schema([("ssn", pa.int8()), ("ss\u200bn", pa.int8())]),
        pa.schema([("p", pa.struct([("ssn", pa.int8()), ("ssn ", pa.int8())]))]),
        pa.schema([("p", pa.list_(pa.struct([("ssn", pa.int8()), ("\uff53\uff53\uff4e", pa.int8())])))]),
        pa.schema([("p", pa.map_(pa.string(), pa.struct([("a", pa.int8()), ("A", pa.int8())])))]),
    ],
)
def test_neighbours_that_look_alike_are_told(schema: pa.Schema) -> None:
    (finding,) = twin_findings(schema)
    assert "can't be told from" in finding


def test_an_unknown_leaf_is_a_key_error() -> None:
    column = pa.chunked_array([pa.array([{"a": 1}])])
    for path in (("b",), (), ("a", "b")):
        with pytest.raises(KeyError):
            leaf_values(column, path)
