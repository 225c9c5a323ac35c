"""Looking at many footers finds what looking at each alone finds, whatever was done to them."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.datasets import footer_looks
from dataops.datasets.compact import read_struct
from dataops.datasets.footer_check import BrokenFooter
from dataops.datasets.footer_looks import FooterLooks
from dataops.datasets.footer_pattern import end_of_schema, path_bytes, read_groups
from tests.attacks.thrift import Struct, Value, pack, unpack
from tests.datasets.test_footer_check import NESTED, file_of, footer_of

NEVER = 10**9
FLAT = pa.table({name: NESTED[name] for name in ("a", "text", "fixed", "money", "truth", "seen", "nothing")})
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two groups": {"row_group_size": 2},
    "old": {"version": "1.0", "compression": "none"},
    "page index": {"write_page_index": True},
    "no statistics": {"write_statistics": False},
    "no dictionaries": {"use_dictionary": False},
    "sorted": {"sorting_columns": [pq.SortingColumn(0), pq.SortingColumn(1, descending=True)]},
}
TABLES = {"flat": FLAT, "nested": NESTED, "no rows": FLAT.slice(0, 0)}
FILES = {
    f"{name}, {how}": file_of(table, **options) for name, table in TABLES.items() for how, options in OPTIONS.items()
}


def outcome(looks: FooterLooks, footer: bytes, size_bytes: int) -> object:
    try:
        return looks.row_groups(footer, size_bytes)
    except BrokenFooter as error:
        return str(error)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        return type(error)


def learned() -> FooterLooks:
    looks = FooterLooks(read_in_full=0)
    for data in FILES.values():
        looks.row_groups(footer_of(data), len(data))
    return looks


@pytest.mark.parametrize("name", FILES)
def test_what_a_file_has_is_found_without_arrow_the_second_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, data = FooterLooks(read_in_full=0), FILES[name]
    first = looks.row_groups(footer_of(data), len(data))
    monkeypatch.setattr(footer_looks, "check_footer", lambda *_: pytest.fail("read in full"))
    assert looks.row_groups(footer_of(data), len(data)) == first
    assert sum(group.rows for group in first) == pq.read_metadata(pa.BufferReader(data)).num_rows


def test_the_first_footers_are_read_in_full() -> None:
    looks, data = FooterLooks(read_in_full=2), FILES["flat, plain"]
    read: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        real = footer_looks.check_footer
        patch.setattr(footer_looks, "check_footer", lambda *given: (read.append(given[0]), real(*given))[1])
        for _ in range(6):
            looks.row_groups(footer_of(data), len(data))
    assert len(read) == 3


@pytest.mark.parametrize("name", FILES)
def test_a_pattern_reads_what_the_general_reader_reads(name: str) -> None:
    footer = footer_of(FILES[name])
    fields, _ = read_struct(footer)
    paths = [path_bytes(path) for path in _paths(fields[4])] if fields[4] else []
    end = end_of_schema(footer)
    assert end is not None
    found = read_groups(footer, end, [path for path in paths if path is not None])
    assert found is not None
    assert found.rows == fields[3]
    for group, read in zip(found.groups, fields[4], strict=True):
        assert (group[2], group[3]) == (read[2], read[3])
        for chunk, whole in zip(group[1], read[1], strict=True):
            assert _known(chunk[3], whole[3]) == chunk[3]
            assert not {8, 10, 13, 14, 15} & chunk[3].keys()
            assert {1, 5, 6, 7, 9, 11, 12, 16} & whole[3].keys() == chunk[3].keys()


def _paths(groups: list[Any]) -> list[tuple[str, ...]]:
    return [tuple(name.decode() for name in chunk[3][3]) for chunk in groups[0][1]]


def _known(like: Any, whole: Any) -> Any:
    """Of `whole` the fields that `like` has, lists as it has them."""
    if isinstance(like, dict):
        return {field: _known(value, whole[field]) for field, value in like.items()}
    return type(like)(whole) if isinstance(like, tuple) else whole


@settings(max_examples=200)
@given(st.sampled_from(sorted(FILES)), st.integers(0, 2**32), st.integers(1, 4))
def test_damaged_bytes_come_to_the_same_as_alone(name: str, seed: int, changes: int) -> None:
    data = FILES[name]
    footer = damaged(random.Random(seed), footer_of(data), changes)  # noqa: S311
    assert outcome(LEARNED, footer, len(data)) == outcome(FooterLooks(NEVER), footer, len(data))


@settings(max_examples=200)
@given(st.sampled_from(sorted(FILES)), st.integers(0, 2**32), st.integers(1, 3))
def test_changed_fields_come_to_the_same_as_alone(name: str, seed: int, changes: int) -> None:
    data = FILES[name]
    fields, _ = unpack(footer_of(data))
    chance = random.Random(seed)  # noqa: S311
    for _ in range(changes):
        change_a_field(chance, fields)
    footer = pack(fields)
    assert outcome(LEARNED, footer, len(data)) == outcome(FooterLooks(NEVER), footer, len(data))


def test_footers_of_other_files_come_to_the_same_as_alone() -> None:
    for size_bytes in (100, 1_000, 10_000):
        for data in FILES.values():
            footer = footer_of(data)
            assert outcome(LEARNED, footer, size_bytes) == outcome(FooterLooks(NEVER), footer, size_bytes)


def damaged(chance: random.Random, footer: bytes, changes: int) -> bytes:
    """Bytes changed, put in or left out, most of them in row groups."""
    found = bytearray(footer)
    for _ in range(changes):
        place = chance.randrange(len(found))
        match chance.randrange(4):
            case 0:
                found[place] = chance.randrange(256)
            case 1:
                found[place] ^= 1 << chance.randrange(8)
            case 2:
                found.insert(place, chance.choice((0, 1, 127, 128, 255, found[place])))
            case 3:
                del found[place]
    return bytes(found)


def change_a_field(chance: random.Random, struct: Struct) -> None:
    """Some number, text or list at any depth becomes another, or a field goes away."""
    number = chance.choice(sorted(struct))
    one = struct[number]
    while one.kind == 9 and one.value and chance.random() < 0.95:
        one = chance.choice(one.value)
    if one.kind == 12 and one.value and chance.random() < 0.95:
        change_a_field(chance, one.value)
    elif one.kind in (4, 5, 6):
        one.value = chance.choice((0, 1, -1, one.value + 1, one.value - 1, 2**31, 2**40, -(2**40), 2**62))
    elif one.kind == 8:
        one.value = chance.choice((b"", one.value[:1], one.value + b"x", b"\xff" * 40, b"x" * 200))
    elif one.kind == 9:
        one.value = chance.choice(([], one.value[1:], one.value * 2, one.value * 20))
    elif chance.random() < 0.5:
        struct.pop(number)
    else:
        struct[number] = Value(chance.choice((1, 2)), None)


LEARNED = learned()
