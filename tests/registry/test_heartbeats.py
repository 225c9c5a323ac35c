"""Heartbeats are claims of whoever may write there: each counts only for whom its place names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataops.errors import Format
from dataops.registry.aliases import MAX_MOVE_BYTES
from dataops.registry.heartbeats import MAX_HEARTBEAT_BYTES, Heartbeat, heartbeat_key, read_heartbeats
from dataops.storage.objects import MemoryStore
from tests.registry.examples import AT

BEAT = Heartbeat(
    app="shop",
    host="web-1",
    process="0123456789ab",
    model="income",
    alias="champion",
    version=2,
    version_digest="sha256:" + "0" * 64,
    generation=4,
    since=AT,
    at=AT,
    every=60.0,
    error=None,
)
PLACE = heartbeat_key(BEAT.app, BEAT.host, BEAT.process, 1)


@pytest.mark.parametrize("said", [{}, {"app": "bank"}, {"host": "web-2"}, {"process": "f" * 12}, {"app": "../x"}])
def test_a_heartbeat_that_says_it_is_of_somebody_else_is_none(said):
    store = MemoryStore()
    assert store.put_if_absent(f"income/heartbeats/{PLACE}", replace(BEAT, **said).to_bytes())
    assert read_heartbeats(store, "income") == ([] if said else [BEAT])


def test_the_bounds_of_moves_and_heartbeats_are_those_of_the_page_on_formats():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")
    assert f"of at most {MAX_MOVE_BYTES >> 10} KiB" in page
    assert f"in at most {MAX_HEARTBEAT_BYTES >> 10} KiB" in page
    longest = 31_622_400.0
    assert f"0 to {longest:,.0f} (366 days)" in page
    assert Heartbeat.from_bytes(replace(BEAT, every=longest).to_bytes()).every == longest
    with pytest.raises(Format):
        Heartbeat.from_bytes(replace(BEAT, every=longest + 1).to_bytes())
