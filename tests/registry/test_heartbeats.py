"""Heartbeats are claims of whoever may write there: each counts only for whom its place names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataops.registry.heartbeats import Heartbeat, heartbeat_key, read_heartbeats
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
