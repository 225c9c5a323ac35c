"""The book of a schedule: who comes second is told so, and the audit hears of everything that people account for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dataops.errors import Conflict, Format, Integrity, InvalidInput, Storage
from dataops.governance.audit import MAX_NAME_LENGTH
from dataops.scheduling.book import Book, Head, book_names, event_of, plain, told_facts
from dataops.scheduling.events import Begun, Claimed, Ended, Missed, Paused, Resumed, StepBegun, TakenOver
from dataops.storage.journal import Journal
from dataops.storage.objects import MemoryStore
from tests.storage.faulty import Crash, FaultyStore, Mode, crash_points

AT = datetime(2026, 3, 1, tzinfo=UTC)
ONE, TWO = "a" * 12, "b" * 12
BEGUN = Begun(at=AT, by=ONE, name="nightly", digest="sha256:1", when="sha256:2", since=AT)
MISSED = Missed(at=AT, by=ONE, count=3, first=AT, last=AT + timedelta(hours=2), reason="nobody was there")
PAUSED = Paused(at=AT, by="kim", reason="the source is rebuilt")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def book(store: MemoryStore) -> Book:
    return Book(store, "nightly")


def audit(store: Any) -> Journal:
    return Journal(store, "audit", "audit")


def told(store: Any) -> list[tuple[str, int]]:
    return [(entry.body["event"], entry.body["entry"]) for entry in audit(store).entries()]


def written(book: Book, *events: Any) -> Head:
    head = book.head()
    for event in events:
        appended = book.append(event, after=head)
        assert appended is not None
        head = appended
    return head


class TestAppending:
    def test_to_an_empty_book_begins_it(self, book: Book, store: MemoryStore) -> None:
        assert book.head() == Head()
        assert book_names(store) == []
        head = written(book, BEGUN)
        assert head.event == BEGUN
        assert head.state is not None
        assert (head.state.name, head.state.since) == ("nightly", AT)
        assert book_names(store) == ["nightly"]

    def test_behind_what_is_no_longer_last_does_nothing(self, book: Book, store: MemoryStore) -> None:
        head = written(book, BEGUN)
        other = Book(store, "nightly")
        assert other.append(PAUSED, after=other.head()) is not None
        assert book.append(MISSED, after=head) is None
        assert [event_of(entry) for entry in book.entries(newest_first=False)] == [BEGUN, PAUSED]
        assert book.head().event == PAUSED

    def test_what_does_not_fit_is_refused(self, book: Book) -> None:
        head = written(book, BEGUN, PAUSED)
        with pytest.raises(Conflict, match="is paused already"):
            book.append(PAUSED, after=head)
        assert book.head() == head

    def test_is_read_back_by_everybody(self, book: Book, store: MemoryStore) -> None:
        head = written(book, BEGUN, MISSED, PAUSED)
        assert Book(store, "nightly").head() == head
        assert [event_of(entry) for entry in book.entries()] == [PAUSED, MISSED, BEGUN]

    @pytest.mark.parametrize("mode", ["before", "after"])
    def test_survives_a_death_at_any_operation(self, mode: Mode) -> None:
        def attempt(fail_at: int) -> bool:
            inner = MemoryStore()
            store = FaultyStore(inner, fail_at, mode)
            try:
                written(Book(store, "nightly"), BEGUN, PAUSED, replace_resumed())
            except Crash:
                died = True
            else:
                died = False
            again = Book(inner, "nightly")
            events = [BEGUN, PAUSED, replace_resumed()]
            done = [event_of(entry) for entry in again.entries(newest_first=False)]
            assert done == events[: len(done)]
            written(again, *events[len(done) :])
            assert [event_of(entry) for entry in again.entries(newest_first=False)] == events
            return died

        crash_points(attempt, at_least=6)


def replace_resumed() -> Resumed:
    return Resumed(at=AT, by="kim")


class TestTelling:
    def test_the_audit_hears_of_what_people_account_for(self, book: Book, store: MemoryStore) -> None:
        written(book, BEGUN, MISSED, PAUSED)
        assert book.tell(audit(store), account="ops") == 3
        assert book.tell(audit(store), account="ops") == 0
        assert told(store) == [("schedule_begun", 1), ("schedule_missed", 2), ("schedule_paused", 3)]
        missed = list(audit(store).entries())[1].body
        assert (missed["principal"], missed["by"], missed["schedule"]) == ("ops", ONE, "nightly")
        assert (missed["count"], missed["reason"]) == (3, "nobody was there")
        assert missed["last"] == "2026-03-01T02:00:00.000000Z"

    def test_the_next_entry_says_how_far_it_knows(self, book: Book, store: MemoryStore) -> None:
        written(book, BEGUN, MISSED)
        book.tell(audit(store), account="ops")
        head = written(book, PAUSED)
        assert head.state is not None
        assert head.state.told == 2
        other = Book(store, "nightly")
        other.head()
        assert other.tell(audit(store), account="ops") == 1

    def test_what_nothing_says_is_told_again(self, book: Book, store: MemoryStore) -> None:
        written(book, BEGUN, MISSED)
        book.tell(audit(store), account="ops")
        other = Book(store, "nightly")
        other.head()
        assert other.tell(audit(store), account="ops") == 2

    def test_an_entry_of_its_own_says_it_where_no_other_comes(self, book: Book, store: MemoryStore) -> None:
        written(book, BEGUN)
        assert book.owed(at=AT, by=ONE) is None
        book.tell(audit(store), account="ops")
        owed = book.owed(at=AT, by=ONE)
        assert owed is not None
        assert owed.number == 1
        written(book, owed)
        assert book.tell(audit(store), account="ops") == 0
        assert book.owed(at=AT, by=ONE) is None
        other = Book(store, "nightly")
        other.head()
        assert other.tell(audit(store), account="ops") == 0

    def test_what_others_did_is_theirs_to_tell(self, book: Book, store: MemoryStore) -> None:
        written(book, BEGUN, replace(MISSED, by=TWO), PAUSED)
        assert book.tell(audit(store), account="ops", owes=lambda event: event.by != TWO) == 2
        assert told(store) == [("schedule_begun", 1), ("schedule_paused", 3)]
        owed = book.owed(at=AT, by=ONE)
        assert owed is not None
        assert owed.number == 1  # the other may die before it tells
        assert book.tell(audit(store), account="ops") == 1
        owed = book.owed(at=AT, by=ONE)
        assert owed is not None
        assert owed.number == 3
        assert sorted(told(store)) == [("schedule_begun", 1), ("schedule_missed", 2), ("schedule_paused", 3)]

    def test_that_fails_is_told_next_time(
        self, book: Book, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written(book, BEGUN, MISSED)
        create = MemoryStore._create

        def fail(this: MemoryStore, key: str, data: bytes) -> bool:
            if key.startswith("audit/"):
                raise Storage("no space left")
            return create(this, key, data)

        monkeypatch.setattr(MemoryStore, "_create", fail)
        with pytest.raises(Storage):
            book.tell(audit(store), account="ops")
        monkeypatch.setattr(MemoryStore, "_create", create)
        assert book.tell(audit(store), account="ops") == 2

    @pytest.mark.parametrize(
        ("event", "is_told"),
        [
            (BEGUN, True),
            (StepBegun(at=AT, by=ONE, key="k", step=0, attempt=1), False),
            (TakenOver(at=AT, by=ONE, key="k", held_by=TWO), True),
            (Ended(at=AT, by=ONE, key="k", outcome="done"), False),
            (Ended(at=AT, by=ONE, key="k", outcome="failed", reason="why"), True),
            (Ended(at=AT, by=ONE, key="k", outcome="missed", reason="why"), True),
        ],
    )
    def test_what_is_as_expected_is_not_told(self, event: Any, is_told: bool) -> None:
        assert (told_facts(event) is not None) == is_told

    @pytest.mark.parametrize("cause", ["due", "queue", "occasion", "catch_up", "backfill"])
    def test_a_claim_is_told_where_it_is_late(self, cause: Any) -> None:
        claimed = Claimed(
            at=AT, by=ONE, key="k", nominal=AT, cause=cause, digest="sha256:1", declaration={}, not_before=AT
        )
        assert (told_facts(claimed) is not None) == (cause in ("catch_up", "backfill"))

    def test_reasons_are_plain_and_short(self) -> None:
        assert plain("two\nlines\x1b[1mbold") == "two lines [1mbold"
        assert len(plain("x" * 9000)) == MAX_NAME_LENGTH


class TestADamagedBook:
    def test_is_not_gone_on_with(self, book: Book, store: MemoryStore) -> None:
        written(book, BEGUN)
        key = "schedules/nightly/0000000001.json"
        store._records[key] = store._records[key].replace(b"nightly", b"hourly!")
        with pytest.raises(Integrity):
            Book(store, "nightly").head()

    def test_of_a_later_release_is_not_read(self, store: MemoryStore) -> None:
        Journal(store, "schedules/nightly", "schedule").append({"event": {"event": "danced"}, "state": {}})
        with pytest.raises(Format):
            Book(store, "nightly").head()

    def test_without_a_state_is_not_read(self, store: MemoryStore) -> None:
        Journal(store, "schedules/nightly", "schedule").append({"event": {}})
        with pytest.raises(Format, match="holds no state"):
            Book(store, "nightly").head()

    @pytest.mark.parametrize("name", ["", "../x", "A", "a/b"])
    def test_is_never_one_of_another_place(self, store: MemoryStore, tmp_path: Path, name: str) -> None:
        with pytest.raises(InvalidInput):
            Book(store, name)
