from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from dataops.errors import InvalidInput, Storage
from dataops.governance.audit import record_intent, record_result, verify_audit
from dataops.records import canonical_bytes, digest
from dataops.storage.journal import Entry, Journal
from dataops.storage.objects import MemoryStore, ReadOnlyStore

ROOT = "sha256:" + "0" * 64


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def journal(store: MemoryStore) -> Journal:
    return Journal(store, "audit", "audit")


def announce(journal: Journal, run: str = "run-1", dataset: str = "census") -> Entry:
    return record_intent(
        journal,
        run=run,
        principal="ana",
        roles={"operations", "analyst"},
        purpose="train",
        dataset=dataset,
        snapshot=3,
        effect_digest=ROOT,
        policy_digest=ROOT,
    )


def finish(journal: Journal, run: str = "run-1", dataset: str = "census", outcome: str = "done") -> Entry:
    counts = {"read": 10, "passed": 9, "quarantined": 1}
    return record_result(journal, run=run, dataset=dataset, outcome=outcome, counts=counts, receipts_root=ROOT)


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
    assert finding.startswith("open: entry 1: run 'run-1'")
    assert "'census'" in finding
    announce(journal)
    finish(journal)
    assert verify_audit(journal) == []


def test_a_result_without_an_intent_is_found(journal: Journal) -> None:
    announce(journal, run="run-2")
    finish(journal, run="run-1")
    findings = verify_audit(journal)
    assert any("run-1" in finding and "no intent" in finding for finding in findings)
    assert any(finding.startswith("open:") and "run-2" in finding for finding in findings)


def test_an_entry_of_another_kind_is_found(journal: Journal) -> None:
    journal.append({"event": "nothing"})
    assert verify_audit(journal) == ["entry 1: neither an intent nor a result"]


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
    assert any(not finding.startswith("open:") for finding in findings)


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
