"""Manifests and snapshots: what a dataset is, also when writers die or meet."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from dataops.datasets.snapshot import (
    Fragment,
    Manifest,
    append_snapshot,
    manifest_key,
    publish_snapshot,
    read_snapshot,
    snapshot_journal,
)
from dataops.errors import Conflict, Format, Integrity
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


def _made(store: Store, run: str, *, replay_of: str | None = None) -> Manifest:
    """A run's manifest, made after all snapshots that there are."""
    tail = snapshot_journal(store, "made").tail()
    lineage = {"replay_of": replay_of} if replay_of else {}
    return _put(store, replace(make_manifest(run), lineage=lineage, after=tail.number if tail else 0))


class TestPublishing:
    def test_a_run_again_gives_its_first_snapshot_however_many_came_after(self) -> None:
        store = MemoryStore()
        manifests = []
        for run in ("r1", "r2", "r3"):
            manifests.append(_made(store, run))
            publish_snapshot(store, manifests[-1])
        assert [publish_snapshot(store, manifest).number for manifest in manifests] == [1, 2, 3]
        assert len(list(snapshot_journal(store, "made").entries())) == 3

    def test_by_a_resume_that_looked_before_another_and_a_newer_run_came_takes_nothing_back(self) -> None:
        store = MemoryStore()
        old = _made(store, "old")

        class Slow(MemoryStore):
            """The second resume has looked and found nothing; before it appends, the first one and a newer run do."""

            def put_if_absent(self, key: str, data: bytes) -> bool:
                if not _runs(store):
                    publish_snapshot(store, old)
                    publish_snapshot(store, _made(store, "new"))
                return store.put_if_absent(key, data)

            def get(self, key: str) -> bytes:
                return store.get(key)

        assert publish_snapshot(Slow(), old).number == 1
        assert _runs(store) == ["new"]
        assert len(list(snapshot_journal(store, "made").entries())) == 2

    def test_a_replay_adds_to_the_run_that_it_replays(self) -> None:
        store = MemoryStore()
        publish_snapshot(store, _made(store, "r1"))
        publish_snapshot(store, _made(store, "r2", replay_of="r1"))
        publish_snapshot(store, _made(store, "r3", replay_of="r2"))
        assert _runs(store) == ["r1", "r2", "r3"]

    def test_a_second_replay_of_the_same_run_is_refused_and_leaves_nothing(self) -> None:
        store = MemoryStore()
        publish_snapshot(store, _made(store, "r1"))
        first, second = (_made(store, run, replay_of="r1") for run in ("r2", "r3"))
        publish_snapshot(store, first)
        with pytest.raises(Conflict, match="replayed already, by run r2"):
            publish_snapshot(store, second)
        assert publish_snapshot(store, first).number == 2
        assert _runs(store) == ["r1", "r2"]

    def test_a_replay_of_a_run_that_was_replaced_is_refused(self) -> None:
        store = MemoryStore()
        publish_snapshot(store, _made(store, "r1"))
        replay = _made(store, "r2", replay_of="r1")
        publish_snapshot(store, _made(store, "r3"))
        with pytest.raises(Conflict, match="consists of run r3 now, not of run r1"):
            publish_snapshot(store, replay)
        assert _runs(store) == ["r3"]

    def test_of_replays_at_once_one_wins(self) -> None:
        store = MemoryStore()
        publish_snapshot(store, _made(store, "r1"))
        replays = [_made(store, f"replay-{number}", replay_of="r1") for number in range(4)]
        barrier = threading.Barrier(len(replays))

        def replay(manifest: Manifest) -> str:
            barrier.wait()
            try:
                return f"published {publish_snapshot(store, manifest).number}"
            except Conflict:
                return "refused"

        with ThreadPoolExecutor(len(replays)) as pool:
            outcomes = sorted(pool.map(replay, replays))
        assert outcomes == ["published 2", *["refused"] * 3]
        assert len(_runs(store)) == 2

    @pytest.mark.parametrize("mode", MODES)
    def test_a_replay_that_dies_anywhere_is_there_once_or_not(self, mode: Mode) -> None:
        def attempt(k: int) -> bool:
            store = MemoryStore()
            publish_snapshot(store, _made(store, "r1"))
            replay = _made(store, "r2", replay_of="r1")
            try:
                publish_snapshot(FaultyStore(store, k, mode), replay)
            except Crash:
                died = True
            else:
                died = False
            assert _runs(store) in (["r1"], ["r1", "r2"])
            assert publish_snapshot(store, replay).number == 2
            assert _runs(store) == ["r1", "r2"]
            return died

        crash_points(attempt, at_least=2)


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
