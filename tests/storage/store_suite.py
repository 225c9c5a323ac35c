"""What every Store does. A backend's tests inherit from `StoreSuite`, or `SharedStoreSuite` if processes share it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dataops.errors import Integrity, InvalidInput, NotFound, Storage
from dataops.runs.workspace import os_user
from dataops.storage.journal import Journal
from dataops.storage.objects import Store, open_store, probe
from tests.storage.faulty import FaultyStore

RACER = Path(__file__).with_name("racer.py")

BAD_KEYS = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", "a/.", "a\0b", "a\nb", "a\\b",
    "~", "~root/a", "-rf", "a/-b", ".hidden", "a/.tmp-1", "%2e%2e/a", "a b", "a*b", "a\u202eb", "a\u200bb", "\u00e9", "file:///a",
    "a" * 201, "a/" * 500 + "a",
]  # fmt: skip


class StoreSuite:
    THREADS_RACE_FOR = 50  # keys

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        raise NotImplementedError

    def test_a_record_is_read_back_as_it_was_put(self, store: Store) -> None:
        data = bytes(range(256)) * 1000
        assert store.put_if_absent("a/b/c.json", data) is True
        assert store.get("a/b/c.json") == data

    def test_an_empty_record_is_a_record(self, store: Store) -> None:
        assert store.put_if_absent("empty", b"") is True
        assert store.get("empty") == b""
        assert store.put_if_absent("empty", b"x") is False

    def test_the_second_writer_is_told_no_and_changes_nothing(self, store: Store) -> None:
        assert store.put_if_absent("slot.json", b"first") is True
        assert store.put_if_absent("slot.json", b"second") is False
        assert store.get("slot.json") == b"first"
        assert store.list("") == ["slot.json"]

    def test_putting_the_same_bytes_again_is_success(self, store: Store) -> None:
        assert store.put_if_absent("slot.json", b"mine") is True
        assert store.put_if_absent("slot.json", b"mine") is True
        assert store.list("") == ["slot.json"]

    def test_a_lost_reply_does_not_turn_success_into_a_conflict(self, store: Store) -> None:
        faulty = FaultyStore(store, fail_at=1, mode="after", error=lambda: Storage("the connection was reset"))
        assert faulty.put_if_absent("slot.json", b"mine with a nonce") is True
        assert store.get("slot.json") == b"mine with a nonce"

    def test_a_lost_reply_of_a_loser_stays_a_loss(self, store: Store) -> None:
        store.put_if_absent("slot.json", b"theirs")
        faulty = FaultyStore(store, fail_at=1, mode="after", error=lambda: Storage("the connection was reset"))
        assert faulty.put_if_absent("slot.json", b"mine") is False
        assert store.get("slot.json") == b"theirs"

    def test_a_store_that_keeps_failing_says_so(self, store: Store) -> None:
        class Broken(FaultyStore):
            def _create(self, key: str, data: bytes) -> bool:
                self.fault.operations += 1
                raise Storage("out of order")

        broken = Broken(store, fail_at=0)
        with pytest.raises(Storage, match=r"slot\.json could not be put in 3 tries.*out of order"):
            broken.put_if_absent("slot.json", b"x")
        assert broken.fault.operations == 3
        assert store.list("") == []

    def test_a_record_deleted_between_two_looks_is_put(self, store: Store) -> None:
        class DeletedMeanwhile(FaultyStore):
            def get(self, key: str) -> bytes:
                self.inner.delete(key)
                return self.inner.get(key)

        store.put_if_absent("lease", b"old")
        assert DeletedMeanwhile(store, fail_at=0).put_if_absent("lease", b"new") is True
        assert store.get("lease") == b"new"

    def test_get_of_nothing(self, store: Store) -> None:
        store.put_if_absent("a/b", b"x")
        for key in ("nothing", "a/nothing", "a", "a/b/c"):
            with pytest.raises(NotFound, match=f"there is no {key}"):
                store.get(key)

    def test_what_is_larger_than_its_reader_takes_is_refused(self, store: Store) -> None:
        store.put_if_absent("a", b"12345")
        assert store.get_at_most("a", 5) == b"12345"
        assert store.get_at_most("a", 1 << 40) == b"12345"
        with pytest.raises(Integrity, match="a has more than the 4 bytes"):
            store.get_at_most("a", 4)
        for key in ("nothing", "a/b"):
            with pytest.raises(NotFound):
                store.get_at_most(key, 5)

    def test_a_record_comes_with_who_wrote_it_as_far_as_that_can_be_told(self, store: Store) -> None:
        store.put_if_absent("a/b", b"12345")
        owned = store.get_owned("a/b", 5)
        assert owned.data == b"12345"
        assert owned.owner in (None, os_user())
        assert owned.is_own is (owned.owner is not None)
        with pytest.raises(Integrity, match="a/b has more than the 4 bytes"):
            store.get_owned("a/b", 4)
        for key in ("nothing", "a", "a/b/c"):
            with pytest.raises(NotFound):
                store.get_owned(key, 5)

    def test_a_place_is_the_same_for_all_who_open_it_and_no_other_s(self, store: Store, tmp_path: Path) -> None:
        assert store.place() == open_store(store.url).place() == open_store(store.url, read_only=True).place()
        assert store.place() != open_store(str(tmp_path / "another")).place()

    def test_names_are_the_keys_that_lie_in_no_folder(self, store: Store) -> None:
        assert store.names() == []
        for key in ("b", "a", "c/d", "c/e/f"):
            store.put_if_absent(key, b"x")
        assert store.names() == open_store(store.url, read_only=True).names() == ["a", "b"]

    def test_names_come_with_whose_they_are_as_reading_them_says_it(self, store: Store) -> None:
        assert store.names_owned() == []
        for key in ("b", "a", "c/d"):
            store.put_if_absent(key, b"x")
        found = store.names_owned()
        assert found == open_store(store.url, read_only=True).names_owned()
        assert [one.key for one in found] == ["a", "b"]
        assert store.names_owned("b") == open_store(store.url, read_only=True).names_owned("b") == found[1:]
        for one in found:
            read = store.get_owned(one.key, 5)
            assert (one.owner, one.is_own, one.changed_at) == (read.owner, read.is_own, read.changed_at)

    def test_list_is_sorted_recursive_and_bound_to_folders(self, store: Store) -> None:
        for key in ("runs/2/b", "runs/10/a", "runs/2.x/c", "runs2/a", "runs/2/sub/z"):
            store.put_if_absent(key, b"x")
        assert store.list("runs") == ["runs/10/a", "runs/2.x/c", "runs/2/b", "runs/2/sub/z"]
        assert store.list("runs/2") == store.list("runs/2/") == ["runs/2/b", "runs/2/sub/z"]
        assert store.list("") == sorted(["runs/2/b", "runs/10/a", "runs/2.x/c", "runs2/a", "runs/2/sub/z"])
        assert store.list("run") == store.list("runs/2/b") == store.list("nothing/here") == []

    def test_folders_are_named_without_a_look_into_them(self, store: Store) -> None:
        for key in ("top.json", "runs/a/run.json", "runs/a/events/1.json", "runs/b/c/d.json", "runs/note.json"):
            assert store.put_if_absent(key, b"x")
        assert store.folders("") == ["runs"]
        assert store.folders("runs") == store.folders("runs/") == ["a", "b"]
        assert store.folders("runs/a") == ["events"]
        assert store.folders("run") == store.folders("runs/note.json") == store.folders("nothing/here") == []

    def test_delete_frees_the_key_and_takes_nothing_for_an_answer(self, store: Store) -> None:
        store.put_if_absent("a/b", b"x")
        store.delete("a/b")
        store.delete("a/b")
        store.delete("never/was")
        assert store.list("") == []
        assert store.put_if_absent("a/b", b"y") is True

    @pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
    def test_a_key_that_could_leave_or_hide_is_refused(self, store: Store, key: str) -> None:
        for refused in (store.get, store.delete, lambda bad: store.put_if_absent(bad, b"x")):
            with pytest.raises(InvalidInput, match="can't be a key"):
                refused(key)
        if key not in ("", "/", "a/"):
            with pytest.raises(InvalidInput, match="can't be a key"):
                store.list(key)
        assert store.list("") == []

    def test_threads_race_and_one_wins_each_key(self, store: Store) -> None:
        wins: list[list[int]] = [[], []]
        barrier = threading.Barrier(2)

        def write(writer: int) -> None:
            for n in range(self.THREADS_RACE_FOR):
                barrier.wait()
                if store.put_if_absent(f"race/{n}", f"writer {writer}".encode()):
                    wins[writer].append(n)

        threads = [threading.Thread(target=write, args=(writer,)) for writer in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(wins[0] + wins[1]) == list(range(self.THREADS_RACE_FOR))
        for writer in (0, 1):
            assert all(store.get(f"race/{n}") == f"writer {writer}".encode() for n in wins[writer])

    def test_a_pickled_store_is_the_same_store(self, store: Store) -> None:
        store.put_if_absent("a", b"x")
        copy = pickle.loads(pickle.dumps(store))
        assert (copy.url, copy.get("a")) == (store.url, b"x")

    def test_its_url_opens_it_again(self, store: Store) -> None:
        store.put_if_absent("a", b"x")
        assert open_store(store.url).get("a") == b"x"

    def test_a_probe_passes_and_leaves_nothing(self, store: Store) -> None:
        probe(store)
        assert store.list("") == []


class SharedStoreSuite(StoreSuite):
    PROCESSES_RACE_FOR = 300  # keys
    APPENDS = 40  # of each process

    def test_processes_race_and_one_wins_each_key(self, store: Store) -> None:
        keys = self.PROCESSES_RACE_FOR
        won = dict(zip(("one", "two"), race(store.url, "keys", rounds=keys, writers=("one", "two")), strict=True))
        for n in range(keys):
            holder = store.get(f"race/{n}").decode()
            if n % 2:
                assert all(n in won[writer] for writer in won), "equal bytes: both are told that theirs are there"
            else:
                assert [writer for writer in won if n in won[writer]] == [holder]
        assert len(store.list("")) == keys

    def test_processes_append_to_one_journal_and_nothing_is_lost(self, store: Store) -> None:
        numbers = race(store.url, "journal", rounds=self.APPENDS, writers=("one", "two", "three"))
        assert sorted(n for of_one in numbers for n in of_one) == list(range(1, 3 * self.APPENDS + 1))
        journal = Journal(store, "race", "test")
        assert journal.verify() == []
        bodies = [entry.body for entry in journal.entries()]
        for writer in ("one", "two", "three"):
            assert [body["n"] for body in bodies if body["by"] == writer] == list(range(self.APPENDS))


def race(url: str, what: str, *, rounds: int, writers: tuple[str, ...]) -> list[list[int]]:
    """What each writer's process says that it won, all having been let go at once."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(RACER), url, writer, what, str(rounds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for writer in writers
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=250)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [json.loads(answer) for answer in answers]
