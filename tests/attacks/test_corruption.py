"""Damaged Parquet meets the real read: all rows as they were, or an error that names the file. Never fewer rows, never
the end of the process, never memory beyond what a whole file takes.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.attacks.damage import CANARY, EQUAL, KINDS, WRITTEN, footer_start, whole
from tests.attacks.isolated import Seen, run_isolated
from tests.attacks.thrift import pack, unpack

MOST_MORE_BYTES = 256 * 2**20  # than a whole file takes


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Seen]:
    return run_isolated("tests.attacks.damage", tmp_path_factory.mktemp("damaged"))


def require(seen: Mapping[str, Seen], name: str, verdict: str) -> None:
    one = seen[name]
    assert one.verdict == verdict, one.said
    if verdict != EQUAL and not verdict.endswith(" rows"):
        assert "a.parquet" in one.said
        assert CANARY not in one.said
    assert one.peak_bytes < seen["plain: whole"].peak_bytes + MOST_MORE_BYTES


@pytest.mark.parametrize("written", WRITTEN)
def test_a_whole_file_is_read_as_it_was_written(seen: Mapping[str, Seen], written: str) -> None:
    require(seen, f"{written}: whole", EQUAL)


@pytest.mark.parametrize("name", KINDS)
def test_damage_after_the_plan_is_named(seen: Mapping[str, Seen], name: str) -> None:
    require(seen, f"{name}: before", KINDS[name].before)


@pytest.mark.parametrize("name", KINDS)
def test_damage_that_was_there_when_it_was_planned_is_named(seen: Mapping[str, Seen], name: str) -> None:
    require(seen, f"{name}: after", KINDS[name].after)


def test_there_are_sixty_kinds() -> None:
    assert len(KINDS) >= 60


def test_what_changes_footers_changes_nothing_else() -> None:
    for written in WRITTEN:
        footer = whole(written)[footer_start(whole(written)) : -8]
        assert pack(unpack(footer)[0]) == footer
