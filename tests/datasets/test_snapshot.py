"""Manifests and snapshots: what a dataset is, also when writers die or meet."""

from __future__ import annotations

import json
import threading

import pytest

from dataops.datasets.snapshot import (
    Fragment,
    Manifest,
    append_snapshot,
    find_snapshot,
    manifest_key,
    read_snapshot,
    snapshot_journal,
)
from dataops.errors import Format, Integrity
from dataops.storage.objects import MemoryStore, Store
from tests.datasets.examples import make_manifest
from tests.storage.faulty import MODES, Crash, FaultyStore, Mode, crash_points


def _put(store: Store, manifest: Manifest) -> Manifest:
    assert store.put_if_absent(manifest_key(manifest.dataset, manifest.run), manifest.to_bytes())
    return manifest


def _runs(store: Store, number: int | None = None) -> list[str]:
    snapshot = read_snapshot(store, "made", number)
    return [] if snapshot is None else [manifest.run for manifest in snapshot.manifests]


def test_records_come_back_as_they_were() -> None:
    manifest = make_manifest("r1")
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    fragment = Fragment(
        path="a b/ü=%.parquet", size_bytes=1, digest="d", row_groups=(), modified_ns=0, partition=(("ü", "x"),)
    )
    assert Fragment.from_record(json.loads(json.dumps(fragment.record()))) == fragment


def test_of_another_version_is_refused() -> None:
    with pytest.raises(Format, match="dataops/manifest/1"):
        Manifest.from_bytes(make_manifest("r1").to_bytes().replace(b"manifest/1", b"manifest/9"))


def test_content_is_the_same_whatever_run_and_time_made_it() -> None:
    one, other = make_manifest("r1"), make_manifest("r1")
    assert one.content_digest == other.content_digest
    assert one.content_digest != make_manifest("r2").content_digest


def test_a_snapshot_replaces_or_adds() -> None:
    store = MemoryStore()
    for run in ("r1", "r2"):
        append_snapshot(store, _put(store, make_manifest(run)))
    added = append_snapshot(store, _put(store, make_manifest("r3")), replace=False)
    assert _runs(store) == ["r2", "r3"]
    assert added.rows == 8
    assert _runs(store, 1) == ["r1"]


def test_appending_twice_changes_nothing() -> None:
    store = MemoryStore()
    manifest = _put(store, make_manifest("r1"))
    assert append_snapshot(store, manifest).number == append_snapshot(store, manifest).number == 1


def test_a_snapshot_is_found_by_what_it_names_however_many_came_after() -> None:
    store = MemoryStore()
    manifests = [_put(store, make_manifest(f"r{number}")) for number in range(4)]
    for manifest in manifests[:3]:
        append_snapshot(store, manifest)
    found = [find_snapshot(store, manifest) for manifest in manifests]
    assert [snapshot and snapshot.number for snapshot in found] == [1, 2, 3, None]


def test_a_manifest_that_was_exchanged_is_noticed() -> None:
    store = MemoryStore()
    append_snapshot(store, _put(store, make_manifest("r1")))
    key = manifest_key("made", "r1")
    store.delete(key)
    store.put_if_absent(key, make_manifest("r1", rows=5).to_bytes())
    with pytest.raises(Integrity, match="not the one that its snapshot names"):
        read_snapshot(store, "made")


@pytest.mark.parametrize("mode", MODES)
def test_an_append_that_dies_leaves_the_old_or_the_new_state(mode: Mode) -> None:
    def attempt(k: int) -> bool:
        store = MemoryStore()
        append_snapshot(store, _put(store, make_manifest("old")))
        new = _put(store, make_manifest("new"))
        try:
            append_snapshot(FaultyStore(store, k, mode), new)
        except Crash:
            died = True
        else:
            died = False
        assert _runs(store) in (["old"], ["new"])
        assert append_snapshot(store, new).number == 2
        assert _runs(store) == ["new"]
        return died

    crash_points(attempt, at_least=2)


def test_of_writers_who_meet_all_are_recorded_once() -> None:
    store = MemoryStore()
    manifests = [_put(store, make_manifest(f"r{number}")) for number in range(6)]
    barrier = threading.Barrier(len(manifests))

    def append(manifest: Manifest) -> None:
        barrier.wait()
        append_snapshot(store, manifest, replace=False)

    threads = [threading.Thread(target=append, args=(manifest,)) for manifest in manifests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(_runs(store)) == [manifest.run for manifest in manifests]
    assert len(list(snapshot_journal(store, "made").entries())) == len(manifests)
