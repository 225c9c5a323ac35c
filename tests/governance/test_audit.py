from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import InvalidInput, Storage
from dataops.governance.audit import Asked, record_event, record_intent, record_result, select_records, verify_audit
from dataops.governance.audit_chain import Kind
from dataops.records import canonical_bytes, digest, parse_time
from dataops.storage.journal import Entry, Journal
from dataops.storage.objects import MemoryStore, ReadOnlyStore
from tests.storage.faulty import FaultyStore

ROOT = "sha256:" + "0" * 64


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def journal(store: MemoryStore) -> Journal:
    return Journal(store, "audit", "audit")


def announce(journal: Journal, run: str = "run-1", dataset: str = "census", purpose: str = "train") -> Entry:
    return record_intent(
        journal,
        run=run,
        principal="ana",
        roles={"operations", "analyst"},
        purpose=purpose,
        dataset=dataset,
        snapshot=3,
        effect_digest=ROOT,
        policy_digest=ROOT,
    )


def finish(
    journal: Journal,
    run: str = "run-1",
    dataset: str = "census",
    outcome: str = "done",
    purpose: str | None = None,
) -> Entry:
    counts = {"read": 10, "passed": 9, "quarantined": 1}
    return record_result(
        journal, run=run, dataset=dataset, outcome=outcome, counts=counts, receipts_root=ROOT, purpose=purpose
    )


def test_an_intent_and_its_result_are_whole(journal: Journal) -> None:
    intent, result = announce(journal), finish(journal)
    assert intent.body["roles"] == ["analyst", "operations"]
    assert (intent.body["event"], result.body["event"]) == ("intent", "result")
    assert result.previous == intent.digest
    assert verify_audit(journal) == []


def test_an_empty_audit_is_whole(journal: Journal) -> None:
    assert verify_audit(journal) == []


def test_a_run_that_was_killed_stays_open_until_it_is_resumed(journal: Journal) -> None:
    announce(journal)
    announce(journal, dataset="weather")
    finish(journal, dataset="weather")
    (finding,) = verify_audit(journal)
    assert finding.is_warning
    assert str(finding).startswith("open: record 1: run 'run-1'")
    assert "'census'" in finding.message
    announce(journal)
    finish(journal)
    assert verify_audit(journal) == []


def test_a_result_without_an_intent_is_found(journal: Journal) -> None:
    announce(journal, run="run-2")
    finish(journal, run="run-1")
    findings = verify_audit(journal)
    assert [(one.kind, one.number) for one in findings] == [(Kind.UNANNOUNCED, 2), (Kind.OPEN, 1)]
    assert ["run-1" in findings[0].message, "run-2" in findings[1].message] == [True, True]


def test_a_second_result_needs_an_intent_of_its_own(journal: Journal) -> None:
    announce(journal)
    finish(journal)
    finish(journal, outcome="failed")
    (finding,) = verify_audit(journal)
    assert (finding.kind, finding.number) == (Kind.UNANNOUNCED, 3)
    announce(journal)
    finish(journal)
    assert [one.number for one in verify_audit(journal)] == [3]


def test_the_same_result_again_is_a_warning_since_two_processes_may_end_one_run(journal: Journal) -> None:
    announce(journal)
    announce(journal)
    finish(journal)
    finish(journal)
    (finding,) = verify_audit(journal)
    assert (finding.kind, finding.number, finding.is_warning) == (Kind.REPEATED, 4, True)
    finish(journal, purpose="score")
    assert [one.kind for one in verify_audit(journal)] == [Kind.UNANNOUNCED, Kind.REPEATED]


@given(attempts=st.lists(st.sampled_from(["killed", "failed", "done"]), max_size=8))
def test_a_run_that_is_resumed_however_often_is_whole(attempts: list[str]) -> None:
    """One result closes all intents that are open; a killed attempt leaves its own to the next."""
    journal = Journal(MemoryStore(), "audit", "audit")
    for outcome in attempts:
        announce(journal)
        if outcome != "killed":
            finish(journal, outcome=outcome)
    expected = [Kind.OPEN] if attempts and attempts[-1] == "killed" else []
    assert [one.kind for one in verify_audit(journal)] == expected


def test_of_two_readings_of_one_dataset_each_has_its_result(journal: Journal) -> None:
    for purpose in ("train", "evaluate"):
        announce(journal, purpose=purpose)
    finish(journal, purpose="evaluate")
    (finding,) = verify_audit(journal)
    assert (finding.kind, finding.number) == (Kind.OPEN, 1)
    finish(journal, purpose="score")
    assert Kind.UNANNOUNCED in {one.kind for one in verify_audit(journal)}


def test_an_entry_that_says_of_no_event_is_found(journal: Journal) -> None:
    journal.append({"happened": "nothing"})
    (finding,) = verify_audit(journal)
    assert (finding.kind, finding.is_warning) == (Kind.STRANGE, False)


def test_a_key_that_no_journal_writes_is_found_and_a_folder_below_is_not_the_journals(
    store: MemoryStore, journal: Journal
) -> None:
    announce(journal)
    finish(journal)
    store.put_if_absent("audit/checkpoints/0000000001.json", b"{}")
    assert verify_audit(journal) == []
    store.put_if_absent("audit/HEAD", b"2")
    assert [one.kind for one in verify_audit(journal)] == [Kind.STRANGE]


def test_a_store_that_fails_says_nothing_about_the_records(store: MemoryStore, journal: Journal) -> None:
    announce(journal)
    failing = FaultyStore(store, fail_at=2, mode="before", error=lambda: Storage("no reply"))
    with pytest.raises(Storage):
        verify_audit(Journal(failing, "audit", "audit"))


def replace(store: MemoryStore, key: str, data: bytes) -> None:
    store.delete(key)
    assert store.put_if_absent(key, data)


def edit(store: MemoryStore, keys: list[str]) -> None:
    replace(store, keys[1], store.get(keys[1]).replace(b"ana", b"eve"))


def restamp(store: MemoryStore, keys: list[str]) -> None:
    """An edit whose own digest is made right again: the successor still names the old one."""
    record = json.loads(store.get(keys[0]))
    record["body"]["principal"] = "eve"
    record["digest"] = digest({name: value for name, value in record.items() if name not in {"digest", "format"}})
    replace(store, keys[0], canonical_bytes(record))


def remove(store: MemoryStore, keys: list[str]) -> None:
    store.delete(keys[1])


def swap(store: MemoryStore, keys: list[str]) -> None:
    first, second = store.get(keys[0]), store.get(keys[1])
    replace(store, keys[0], second)
    replace(store, keys[1], first)


def garble(store: MemoryStore, keys: list[str]) -> None:
    replace(store, keys[1], b"{")


@pytest.mark.parametrize("attack", [edit, restamp, remove, swap, garble])
def test_tampering_is_found(
    store: MemoryStore, journal: Journal, attack: Callable[[MemoryStore, list[str]], None]
) -> None:
    for run in ("run-1", "run-2"):
        announce(journal, run=run)
        announce(journal, run=run, dataset="weather")
        finish(journal, run=run)
        finish(journal, run=run, dataset="weather")
    assert verify_audit(journal) == []
    attack(store, store.list("audit"))
    findings = verify_audit(Journal(store, "audit", "audit"))
    assert any(not finding.is_warning for finding in findings)


@pytest.mark.parametrize("counts", [{"read": "Tallinn"}, {"read": 1.5}, {"read": True}, {"read": -1}, {"read": None}])
def test_a_count_that_is_no_count_is_not_recorded(journal: Journal, counts: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="whole number") as caught:
        record_result(journal, run="run-1", dataset="census", outcome="done", counts=counts, receipts_root=None)
    assert "Tallinn" not in str(caught.value)
    assert journal.tail() is None


def test_an_outcome_is_a_word_not_a_message(journal: Journal) -> None:
    with pytest.raises(InvalidInput):
        finish(journal, outcome="failed: invalid literal 'SSN-1'")
    assert journal.tail() is None


def test_an_intent_that_can_not_be_written_is_an_error(store: MemoryStore) -> None:
    with pytest.raises(Storage):
        announce(Journal(ReadOnlyStore(store), "audit", "audit"))
    assert store.list("audit") == []


class TestEvents:
    def test_say_names_and_counts(self, journal: Journal) -> None:
        entry = record_event(journal, "expired", principal="ana", dataset="census", rows=7, manifests=["a", "b"])
        assert entry.body == {
            "event": "expired",
            "principal": "ana",
            "dataset": "census",
            "rows": 7,
            "manifests": ["a", "b"],
        }
        assert verify_audit(journal) == []

    @pytest.mark.parametrize(
        "given", [1.5, -1, "x" * 301, "two\nlines", b"bytes", object, [1.5], {"deep": [{"er": 0.1}]}], ids=repr
    )
    def test_that_say_more_are_not_recorded(self, journal: Journal, given: object) -> None:
        with pytest.raises(InvalidInput, match="'what' is neither a name nor a count"):
            record_event(journal, "expired", what=given)
        assert journal.tail() is None

    @pytest.mark.parametrize("event", ["", "two words", "intent", "result", "../x"])
    def test_have_one_word_of_their_own(self, journal: Journal, event: str) -> None:
        with pytest.raises(InvalidInput):
            record_event(journal, event)
        assert journal.tail() is None


class TestSelecting:
    @pytest.fixture
    def told(self, journal: Journal) -> Journal:
        announce(journal)
        announce(journal, run="run-2", dataset="weather", purpose="score")
        finish(journal, purpose="train")
        finish(journal, run="run-2", dataset="weather", outcome="failed", purpose="score")
        record_event(journal, "expired", principal="bo", dataset="census", rows=7)
        return journal

    @pytest.mark.parametrize(
        ("asked", "numbers"),
        [
            ({}, [1, 2, 3, 4, 5]),
            ({"person": "ana"}, [1, 2, 3, 4]),
            ({"person": "bo"}, [5]),
            ({"dataset": "census"}, [1, 3, 5]),
            ({"run": "run-2"}, [2, 4]),
            ({"event": "result"}, [3, 4]),
            ({"event": "result", "dataset": "census"}, [3]),
            ({"person": "an"}, []),
        ],
    )
    def test_gives_what_was_asked_for(self, told: Journal, asked: dict[str, str], numbers: list[int]) -> None:
        assert [one.number for one in select_records(told.entries(), Asked(**asked))] == numbers

    def test_a_result_has_its_person_rows_and_outcome(self, told: Journal) -> None:
        shown = list(select_records(told.entries(), Asked(event="result")))
        assert [(one.principal, one.roles, one.purpose) for one in shown] == [
            ("ana", ("analyst", "operations"), "train"),
            ("ana", ("analyst", "operations"), "score"),
        ]
        assert [(one.rows, one.outcome) for one in shown] == [(10, "done"), (10, "failed")]

    def test_a_time_is_included_at_its_beginning_only(self, told: Journal) -> None:
        times = [parse_time(entry.written_at) for entry in told.entries()]
        found = select_records(told.entries(), Asked(since=times[1], until=times[3]))
        assert [one.number for one in found] == [2, 3]
