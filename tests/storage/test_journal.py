from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import Conflict, Format, Integrity, InvalidInput, NotFound, Storage
from dataops.records import canonical_bytes, digest
from dataops.storage.journal import Entry, Journal
from dataops.storage.objects import MemoryStore, PosixStore, Store
from tests.storage.faulty import MODES, Crash, FaultyDisk, FaultyStore, Mode, crash_points, trees_after

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def journal(store: MemoryStore) -> Journal:
    return Journal(store, "income/aliases/champion", "alias")


def filled(journal: Journal, n_records: int) -> list[Entry]:
    return [journal.append({"version": n}) for n in range(1, n_records + 1)]


def key(number: int) -> str:
    return f"income/aliases/champion/{number:010d}.json"


def overwrite(store: MemoryStore, number: int, data: bytes) -> None:
    store.delete(key(number))
    store.put_if_absent(key(number), data)


class TestAppending:
    def test_records_are_numbered_from_one_and_name_their_predecessor(self, journal: Journal, store: Store) -> None:
        first, second = filled(journal, 2)
        assert (first.number, first.previous) == (1, None)
        assert (second.number, second.previous) == (2, first.digest)
        assert store.list("") == [key(1), key(2)]
        record = json.loads(store.get(key(2)))
        assert record["format"] == "dataops/alias/1"
        assert record["body"] == {"version": 2}
        assert store.get(key(2)) == canonical_bytes(record)

    @given(bodies=st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=5))
    @settings(max_examples=50)
    def test_any_bodies_are_read_back_as_they_were_given(self, bodies: list[dict[str, object]]) -> None:
        store = MemoryStore()
        written = [Journal(store, "j", "test").append(body) for body in bodies]
        journal = Journal(store, "j", "test")
        assert [entry.body for entry in journal.entries()] == bodies
        assert list(journal.entries()) == written
        assert journal.tail() == (written[-1] if written else None)
        assert journal.verify() == []

    def test_what_append_returns_is_what_a_reader_sees(self, journal: Journal) -> None:
        entry = journal.append({"list": (1, 2), "by number": {10: "a", 9: "b"}})
        assert entry == journal.read(1)
        assert entry.body == {"list": [1, 2], "by number": {"10": "a", "9": "b"}}

    def test_a_body_that_json_cannot_hold_is_refused(self, journal: Journal, store: Store) -> None:
        for bad in (float("nan"), {1, 2}, b"x", "\ud800"):
            with pytest.raises(InvalidInput, match="canonical JSON"):
                journal.append({"value": bad})
        assert store.list("") == []

    def test_of_two_who_decided_on_the_same_entry_one_is_told(self, journal: Journal, store: Store) -> None:
        (last,) = filled(journal, 1)
        journal.append({"version": 2}, after=last)
        with pytest.raises(Conflict, match="record 2 of income/aliases/champion was written by somebody else"):
            journal.append({"version": 2}, after=last)
        assert len(store.list("")) == 2

    def test_of_two_who_found_it_empty_one_is_told(self, journal: Journal, store: Store) -> None:
        journal.append({"version": 1}, after=None)
        with pytest.raises(Conflict, match="somebody else"):
            journal.append({"version": 9}, after=None)
        assert journal.read(1).body == {"version": 1}
        assert len(store.list("")) == 1

    def test_a_repeated_attempt_gives_the_entry_that_is_there(self, journal: Journal, store: Store) -> None:
        (last,) = filled(journal, 1)
        entry = journal.append({"version": 2}, after=last, nonce="run-7")
        journal.append({"version": 3})
        assert journal.append({"version": 2}, after=last, nonce="run-7") == entry
        with pytest.raises(Conflict):
            journal.append({"version": 4}, after=last, nonce="run-7")
        assert len(store.list("")) == 3

    def test_an_entry_of_another_journal_leaves_no_gap(self, journal: Journal, store: MemoryStore) -> None:
        other = filled(Journal(store, "other", "alias"), 5)
        filled(journal, 1)
        for foreign in (other[0], other[4]):
            with pytest.raises(Conflict, match="not the one that was read"):
                journal.append({"version": 2}, after=foreign)
        assert store.list("income") == [key(1)]

    def test_whoever_lost_a_number_takes_the_next(self, journal: Journal, store: MemoryStore) -> None:
        class OvertakenTwice(FaultyStore):
            left = 2

            def _create(self, key: str, data: bytes) -> bool:
                if self.left:
                    self.left -= 1
                    journal.append({"by": "somebody else"})
                return self.inner._create(key, data)

        entry = Journal(OvertakenTwice(store, fail_at=0), "income/aliases/champion", "alias").append({"by": "me"})
        assert entry.number == 3
        assert [found.body["by"] for found in journal.entries()] == ["somebody else", "somebody else", "me"]
        assert journal.verify() == []

    def test_nothing_is_appended_to_a_damaged_journal(self, journal: Journal, store: MemoryStore) -> None:
        last = filled(journal, 2)[-1]
        overwrite(store, 2, store.get(key(2)).replace(b'"version":2', b'"version":9'))
        fresh = pickle.loads(pickle.dumps(journal))
        for attempt in (lambda: fresh.append({}), lambda: fresh.append({}, after=last)):
            with pytest.raises(Integrity, match="record 2 of income/aliases/champion was altered"):
                attempt()
        assert store.list("") == [key(1), key(2)]


class TestReading:
    @pytest.mark.parametrize("n_records", [0, 1, 2, 3, 4, 7, 8, 9, 31, 32, 33, 100])
    def test_the_tail_is_found_with_few_looks_and_no_listing(self, n_records: int) -> None:
        store = MemoryStore()
        filled(Journal(store, "j", "test"), n_records)
        counting = FaultyStore(store, fail_at=0)
        counting.list = lambda _: pytest.fail("a tail must not list")  # type: ignore[method-assign]
        journal = Journal(counting, "j", "test")
        tail = journal.tail()
        assert (tail.number if tail else 0) == n_records
        assert counting.fault.operations <= 2 * n_records.bit_length() + 2
        looks = counting.fault.operations
        assert journal.tail() == tail
        assert counting.fault.operations - looks <= 2, "what was seen is not looked for again"

    def test_a_tail_seen_before_sees_what_others_appended(self, journal: Journal, store: MemoryStore) -> None:
        filled(journal, 3)
        filled(Journal(store, "income/aliases/champion", "alias"), 9)
        tail = journal.tail()
        assert tail is not None
        assert tail.number == 12

    def test_a_journal_cut_off_at_the_end_is_read_to_where_it_goes(self, journal: Journal, store: MemoryStore) -> None:
        entries = filled(journal, 5)
        for number in (4, 5):
            store.delete(key(number))
        assert journal.tail() == entries[2]
        for number in (1, 2, 3):
            store.delete(key(number))
        assert journal.tail() is None

    def test_a_record_that_goes_while_it_is_read_is_an_error_not_an_end(
        self, journal: Journal, store: MemoryStore
    ) -> None:
        class CutMeanwhile(FaultyStore):
            def get(self, key: str) -> bytes:
                data = self.inner.get(key)
                self.inner.delete(key)
                return data

        filled(journal, 1)
        with pytest.raises(NotFound):
            Journal(CutMeanwhile(store, fail_at=0), "income/aliases/champion", "alias").tail()

    def test_entries_start_where_they_are_asked_to(self, journal: Journal) -> None:
        entries = filled(journal, 4)
        assert list(journal.entries(3)) == entries[2:]
        assert list(journal.entries(5)) == []
        with pytest.raises(InvalidInput, match="start at 1"):
            next(journal.entries(0))

    def test_a_number_that_is_not_there(self, journal: Journal) -> None:
        with pytest.raises(NotFound):
            journal.read(1)

    def test_another_kind_of_record_is_refused(self, journal: Journal, store: MemoryStore) -> None:
        filled(journal, 1)
        with pytest.raises(Format, match="expected a record of format dataops/audit/1, found 'dataops/alias/1'"):
            Journal(store, "income/aliases/champion", "audit").tail()

    def test_a_place_or_kind_that_could_leave_is_refused(self, store: MemoryStore) -> None:
        for prefix, kind in (("../x", "alias"), ("/x", "alias"), ("x", "a/b")):
            with pytest.raises(InvalidInput):
                Journal(store, prefix, kind)


def recomputed(store: MemoryStore, at: int, **changes: object) -> bytes:
    """The record changed by somebody who knows how digests are made."""
    record = json.loads(store.get(key(at))) | changes
    fields = {name: record[name] for name in record if name not in ("format", "digest")}
    return canonical_bytes(record | {"digest": digest(fields)})


def edit(store: MemoryStore) -> None:
    overwrite(store, 3, store.get(key(3)).replace(b'"version":3', b'"version":7'))


def edit_last(store: MemoryStore) -> None:
    overwrite(store, 5, store.get(key(5)).replace(b'"version":5', b'"version":7'))


def edit_and_restamp(store: MemoryStore) -> None:
    overwrite(store, 3, recomputed(store, 3, body={"version": 7}))


def swap(store: MemoryStore) -> None:
    second, third = store.get(key(2)), store.get(key(3))
    overwrite(store, 2, third)
    overwrite(store, 3, second)


def swap_and_renumber(store: MemoryStore) -> None:
    second, third = recomputed(store, 2, number=3), recomputed(store, 3, number=2)
    overwrite(store, 2, third)
    overwrite(store, 3, second)


def take_out(store: MemoryStore) -> None:
    store.delete(key(2))
    store.delete(key(3))


def take_out_first(store: MemoryStore) -> None:
    store.delete(key(1))


def copy_last(store: MemoryStore) -> None:
    overwrite(store, 6, store.get(key(5)))


def tear(store: MemoryStore) -> None:
    overwrite(store, 4, store.get(key(4))[:50])


def empty(store: MemoryStore) -> None:
    overwrite(store, 5, b"")


def add_field(store: MemoryStore) -> None:
    overwrite(store, 4, recomputed(store, 4, extra=1))


def nan(store: MemoryStore) -> None:
    overwrite(store, 4, store.get(key(4)).replace(b'"version":4', b'"version":NaN'))


def say_twice(store: MemoryStore) -> None:
    """A reader that takes the first of equal keys sees another version than one that takes the last."""
    data = store.get(key(4))
    overwrite(store, 4, data.replace(b'"body":{"version":4}', b'"body":{"version":9},"body":{"version":4}'))


def append_spaces(store: MemoryStore) -> None:
    overwrite(store, 4, store.get(key(4)) + b" \n")


def indent(store: MemoryStore) -> None:
    overwrite(store, 4, json.dumps(json.loads(store.get(key(4))), indent=1).encode())


def far_away(store: MemoryStore) -> None:
    overwrite(store, 9_999_999_999, store.get(key(5)))


def stranger(store: MemoryStore) -> None:
    store.put_if_absent("income/aliases/champion/HEAD", b"3")


class TestVerifying:
    def test_a_whole_journal_has_no_findings(self, journal: Journal) -> None:
        assert journal.verify() == []
        filled(journal, 5)
        assert journal.verify() == []

    @pytest.mark.parametrize(
        ("tamper", "findings"),
        [
            (edit, ["record 3 of income/aliases/champion was altered"]),
            (edit_last, ["record 5 of income/aliases/champion was altered"]),
            (edit_and_restamp, ["record 4 of income/aliases/champion does not follow record 3"]),
            (swap, ["champion holds record 3: it was moved", "champion holds record 2: it was moved"]),
            (swap_and_renumber, ["does not follow record 1", "does not follow record 2", "does not follow record 3"]),
            (take_out, ["are missing: 2 to 3"]),
            (take_out_first, ["are missing: 1 to 1"]),
            (copy_last, ["record 6 of income/aliases/champion holds record 5: it was moved"]),
            (tear, ["expected a record of format dataops/alias/1, found 50 bytes"]),
            (empty, ["expected a record of format dataops/alias/1, found 0 bytes"]),
            (add_field, ["record 4 of income/aliases/champion was altered"]),
            (nan, ["record 4 of income/aliases/champion was altered"]),
            (say_twice, ["record 4 of income/aliases/champion was altered: its bytes are not those"]),
            (append_spaces, ["record 4 of income/aliases/champion was altered: its bytes are not those"]),
            (indent, ["record 4 of income/aliases/champion was altered: its bytes are not those"]),
            (far_away, ["are missing: 6 to 9999999998", "holds record 5"]),
            (stranger, ["HEAD is not a record of this journal"]),
        ],
    )
    def test_tampering_is_found(
        self, journal: Journal, store: MemoryStore, tamper: Callable[[MemoryStore], None], findings: list[str]
    ) -> None:
        filled(journal, 5)
        tamper(store)
        found = journal.verify()
        assert len(found) == len(findings), found
        assert all(part in finding for part, finding in zip(findings, found, strict=True)), found

    def test_what_lies_in_a_folder_below_is_somebody_elses(self, journal: Journal, store: MemoryStore) -> None:
        filled(journal, 2)
        store.put_if_absent("income/aliases/champion/below/0000000009.json", b"{")
        assert journal.verify() == []
        assert [one.place for one in journal.examine()] == [1, 2]
        assert len(list(journal.entries())) == 2

    def test_a_link_in_a_records_place_is_a_finding_and_the_others_are_judged(self, tmp_path: Path) -> None:
        store = PosixStore(tmp_path / "store")
        journal = Journal(store, "audit", "audit")
        filled(journal, 4)
        record = tmp_path / "store/audit/0000000002.json"
        record.rename(tmp_path / "moved.json")
        record.symlink_to(tmp_path / "moved.json")
        (tmp_path / "store/audit/more").symlink_to(tmp_path)
        edited = tmp_path / "store/audit/0000000004.json"
        edited.write_bytes(edited.read_bytes() + b"\n")
        found = journal.verify()
        assert all(
            part in finding for part, finding in zip(("more is not", "symbolic link", "4 of"), found, strict=True)
        )

    def test_a_store_that_fails_is_no_finding(self, journal: Journal, store: MemoryStore) -> None:
        filled(journal, 3)
        failing = FaultyStore(store, fail_at=3, mode="before", error=lambda: Storage("no reply"))
        with pytest.raises(Storage):
            Journal(failing, "income/aliases/champion", "alias").verify()

    def test_examining_gives_what_lies_at_each_place(self, journal: Journal, store: MemoryStore) -> None:
        entries = filled(journal, 4)
        swap(store)
        overwrite(store, 4, b"{")
        stranger(store)
        strange, *places = journal.examine()
        assert (strange.place, strange.entry) == (None, None)
        assert [one.entry for one in places] == [entries[0], entries[2], entries[1], None]
        assert [bool(one.fault) for one in places] == [False, True, True, True]

    @pytest.mark.parametrize(
        "tamper", [edit, edit_and_restamp, swap, swap_and_renumber, tear, add_field, nan, say_twice, append_spaces]
    )
    def test_a_reader_is_never_given_what_was_tampered_with_as_whole(
        self, journal: Journal, store: MemoryStore, tamper: Callable[[MemoryStore], None]
    ) -> None:
        filled(journal, 5)
        tamper(store)
        with pytest.raises((Integrity, Format)):
            list(journal.entries())

    def test_every_single_flipped_bit_is_found(self) -> None:
        store = MemoryStore()
        journal = Journal(store, "income/aliases/champion", "alias")
        filled(journal, 1)
        whole = store.get(key(1))
        for place in range(len(whole)):
            overwrite(store, 1, whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert len(journal.verify()) == 1, place


class TestCutOff:
    """F1: the process dies, or hears no reply, at every operation of an append: the old state or the new one."""

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("kind", ["memory", "posix"])
    @pytest.mark.parametrize("error", [Crash, lambda: Storage("no reply")], ids=["crash", "no reply"])
    def test_at_every_operation_of_the_store(
        self, tmp_path: Path, kind: str, mode: Mode, error: Callable[[], BaseException]
    ) -> None:
        def attempt(k: int) -> bool:
            inner: Store = MemoryStore() if kind == "memory" else PosixStore(tmp_path / str(k))
            old = filled(Journal(inner, "income/aliases/champion", "alias"), 3)
            faulty = FaultyStore(inner, fail_at=k, mode=mode, error=error)
            acknowledged = False
            try:
                Journal(faulty, "income/aliases/champion", "alias").append({"version": 4}, after=old[-1], nonce="mine")
                acknowledged = True
            except (Crash, Storage):
                pass
            require_old_or_new(inner, old, acknowledged=acknowledged)
            return faulty.fault.operations >= k

        crash_points(attempt, at_least=2)

    @pytest.mark.parametrize("mode", MODES)
    def test_at_every_operation_of_an_append_to_the_end(self, mode: Mode) -> None:
        def attempt(k: int) -> bool:
            store = MemoryStore()
            filled(Journal(store, "income/aliases/champion", "alias"), 3)
            faulty = FaultyStore(store, fail_at=k, mode=mode, error=lambda: Storage("no reply"))
            acknowledged = False
            with suppress(Storage):
                acknowledged = Journal(faulty, "income/aliases/champion", "alias").append({"version": 4}).number == 4
            journal = Journal(store, "income/aliases/champion", "alias")
            versions = [entry.body["version"] for entry in journal.entries()]
            assert versions == ([1, 2, 3, 4] if acknowledged else [1, 2, 3])
            assert journal.verify() == []
            return faulty.fault.operations >= k

        crash_points(attempt, at_least=4)

    @pytest.mark.parametrize("mode", MODES)
    def test_at_every_operation_of_the_disk_and_by_a_power_cut(self, tmp_path: Path, mode: Mode) -> None:
        def attempt(k: int) -> bool:
            root = tmp_path / str(k) / "store"
            journal = Journal(PosixStore(root), "income/aliases/champion", "alias")
            old = filled(journal, 3)
            acknowledged = False
            with FaultyDisk(root, fail_at=k, mode=mode) as disk:
                try:
                    journal.append({"version": 4}, after=old[-1], nonce="mine")
                    acknowledged = True
                except Crash:
                    pass
            for _, tree in trees_after(disk, root.parent):
                require_old_or_new(PosixStore(tree), old, acknowledged=acknowledged)
            return not acknowledged

        crash_points(attempt, at_least=6)

    def test_a_lost_reply_does_not_append_twice(self, store: MemoryStore) -> None:
        creates_second = FaultyStore(store, fail_at=2, mode="after", error=lambda: Storage("no reply"))
        entry = Journal(creates_second, "j", "test").append({"event": "done"})
        assert list(Journal(store, "j", "test").entries()) == [entry]


def require_old_or_new(store: Store, old: list[Entry], *, acknowledged: bool) -> None:
    """The journal is whole, holds the old entries and at most the new one; a second try makes it the new state."""
    journal = Journal(store, "income/aliases/champion", "alias")
    found = list(journal.entries())
    assert found[:3] == old
    assert [entry.body for entry in found[3:]] in ([], [{"version": 4}])
    assert len(found) == 4 or not acknowledged
    assert journal.verify() == []
    again = journal.append({"version": 4}, after=old[-1], nonce="mine")
    assert found[3:] in ([], [again])
    assert list(journal.entries()) == [*old, again]
    assert journal.verify() == []
