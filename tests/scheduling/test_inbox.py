"""The inbox: whatever scripts take, die, take over and say, a submission is one script's and ends once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import AccessDenied, AlreadyExists, Conflict, Format, Integrity, InvalidInput, NotFound, Storage
from dataops.scheduling import submissions
from dataops.scheduling.inbox import OPEN_FOLDER, Inbox
from dataops.scheduling.intake import Intake
from dataops.scheduling.lying import LOOKED_AT, MOST_WAITING, STOPS_READ, tell_apart
from dataops.scheduling.requests import (
    MAX_REQUEST_BYTES,
    Request,
    Stop,
    is_submission_id,
    new_stop_key,
    new_submission_id,
    requested_by_key,
    stopped_by_key,
)
from dataops.scheduling.submissions import SubmissionState, ended_by_process, fold
from dataops.storage.journal import Journal
from dataops.storage.objects import MemoryStore, Named, Owned, Store, open_store
from tests.storage.faulty import Crash, FaultyStore, Mode

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ID = "income-20260131t120000-s1a2b3c"
TEXT = "name: income\njob: prepare\ninput: people\noutput: income\n"
ME = "ana"


class Place:
    """An inbox of a test, as several accounts and scripts see it; MemoryStores keep no owners."""

    def __init__(self) -> None:
        self.requests, self.store = MemoryStore(), MemoryStore()

    def intake(self, store: Store | None = None, requests: Store | None = None, **changed: object) -> Intake:
        return Intake(requests or self.requests, store or self.store, **{"account": ME, **changed})  # type: ignore[arg-type]

    def request(self, **changed: object) -> Request:
        plain = Request(
            id=ID,
            inbox=self.requests.place(),
            job="income",
            text=TEXT,
            source="jobs/income.yaml",
            cluster=None,
            again=False,
            principal=ME,
            submitted_at=NOW,
        )
        return replace(plain, **changed)  # type: ignore[arg-type]


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def intake(place: Place) -> Intake:
    intake = place.intake()
    intake.submit(place.request())
    return intake


def ids(found: object) -> list[str]:
    return [getattr(one, "key", None) or one.id for one in found]  # type: ignore[attr-defined]


# What becomes of one


def test_a_submission_goes_from_submitted_to_done(place: Place, intake: Intake) -> None:
    assert intake.state(ID).state is SubmissionState.SUBMITTED
    assert ids(intake.look(script="s1", now=NOW).waiting) == [ID]
    taken = intake.take(ID, script="s1", now=NOW)
    assert taken is not None
    assert (taken.state, taken.principal, taken.script) == (SubmissionState.TAKEN, ME, "s1")
    assert ids(intake.look(script="s1", now=NOW).held) == [ID]
    assert intake.started(ID, script="s1", now=NOW) is not None
    assert intake.state(ID).state is SubmissionState.RUNNING
    done = intake.ended(ID, script="s1", now=LATER, exit_code=0, answer={"run": ID, "skipped": False})
    assert done == intake.state(ID)
    assert done is not None
    assert (done.state, done.run, done.exit_code, done.ended_at) == (SubmissionState.DONE, ID, 0, LATER)
    assert done.request == place.request()
    assert place.requests.list("") == place.store.list(OPEN_FOLDER) == []
    assert intake.look(script="s1", now=NOW).held == intake.look(script="s1", now=NOW).waiting == ()
    assert intake.ids() == [ID]
    assert intake.unfinished() == []


def test_an_unknown_one_is_told_with_its_near_match(intake: Intake) -> None:
    with pytest.raises(NotFound, match=f"no submission '{ID[:-1]}d'. Did you mean '{ID}'"):
        intake.state(f"{ID[:-1]}d")
    with pytest.raises(InvalidInput, match="no id of a submission"):
        intake.state("income-20260131t120000-1a2b3c")
    with pytest.raises(NotFound):
        intake.take(f"{ID[:-1]}d", script="s1", now=NOW)


def test_an_id_is_given_to_one_request(place: Place, intake: Intake) -> None:
    intake.submit(place.request())  # the very same: a reply was lost
    with pytest.raises(AlreadyExists):
        intake.submit(place.request(again=True))
    assert intake.state(ID).request == place.request()


@pytest.mark.parametrize(
    ("exit_code", "answer", "family", "message"),
    [
        (6, {"error": {"family": "ContractViolation", "message": "too many"}}, "ContractViolation", "too many"),
        (1, None, "Unexpected", "exit code 1"),
        (-9, None, "Compute", "signal 9"),
        (2, {"error": "text"}, "Unexpected", "exit code 2"),
        (2, {"error": {"family": 1, "message": "x" * 50_000}}, "1", "xxx"),
    ],
)
def test_what_its_process_ended_with_is_kept(intake: Intake, exit_code, answer, family, message) -> None:
    intake.take(ID, script="s1", now=NOW)
    intake.ended(ID, script="s1", now=NOW, exit_code=exit_code, answer=answer)
    found = intake.state(ID)
    assert (found.state, found.exit_code) == (SubmissionState.FAILED, exit_code)
    assert found.error is not None
    assert found.error["family"] == family
    assert message in found.error["message"]
    assert len(found.error["message"]) <= submissions.MAX_MESSAGE_LENGTH


def test_an_answer_of_another_shape_is_no_run() -> None:
    fields = ended_by_process(0, {"run": ["x"], "skipped": "yes"}, stopped_by=None)
    assert (fields["run"], fields["skipped"]) == (None, False)


# Several scripts


def test_of_two_scripts_that_take_it_one_has_it(place: Place, intake: Intake) -> None:
    other = place.intake()
    assert intake.take(ID, script="s1", now=NOW) is not None
    assert other.take(ID, script="s2", now=NOW) is None
    assert other.started(ID, script="s2", now=NOW) is None
    assert other.ended(ID, script="s2", now=NOW, exit_code=0) is None
    assert other.cancelled(ID, script="s2", now=NOW, by=ME) is None
    assert intake.state(ID).script == "s1"
    assert len(list(Journal(place.store, f"submissions/{ID}", "submission").entries())) == 1


def test_threads_race_for_each_and_none_is_taken_or_ended_twice(place: Place) -> None:
    names = [f"income-20260131t120000-s{n:06x}" for n in range(12)]
    for name in names:
        place.intake().submit(place.request(id=name))
    won: dict[str, list[str]] = {"s1": [], "s2": [], "s3": []}

    def work(script: str) -> None:
        intake = place.intake()
        for one in intake.look(script=script, now=NOW).waiting:
            if intake.take(one.key, script=script, now=NOW) is not None:
                won[script].append(one.key)
                assert intake.ended(one.key, script=script, now=NOW, exit_code=0) is not None

    threads = [threading.Thread(target=work, args=(script,)) for script in won]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for names_ in won.values() for name in names_) == names
    for name in names:
        bodies = [entry.body["event"] for entry in Journal(place.store, f"submissions/{name}", "submission").entries()]
        assert bodies == ["taken", "ended"]


def test_what_a_dead_script_held_is_taken_over_and_what_it_says_after_that_does_not_count(
    place: Place, intake: Intake
) -> None:
    other = place.intake()
    intake.take(ID, script="s1", now=NOW)
    intake.started(ID, script="s1", now=NOW)
    assert other.take(ID, script="s2", now=LATER, instead_of="s0") is None
    taken = other.take(ID, script="s2", now=LATER, instead_of="s1")
    assert taken is not None
    assert (taken.script, taken.state, taken.request) == ("s2", SubmissionState.TAKEN, place.request())
    assert intake.ended(ID, script="s1", now=LATER, exit_code=1) is None
    assert place.intake().take(ID, script="s3", now=LATER, instead_of="s1") is None
    assert other.ended(ID, script="s2", now=LATER, exit_code=0) is not None
    assert other.take(ID, script="s3", now=LATER, instead_of="s2") is None
    assert intake.state(ID).state is SubmissionState.DONE


@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize("what", ["store", "requests"])
def test_a_script_killed_at_any_operation_leaves_one_that_another_brings_to_its_one_end(what: str, mode: Mode) -> None:
    for k in range(1, 60):
        place = Place()
        place.intake().submit(place.request())
        faulty = FaultyStore(getattr(place, what), fail_at=k, mode=mode)
        dying = place.intake(**{what: faulty})
        try:
            dying.look(script="s1", now=NOW)
            dying.take(ID, script="s1", now=NOW)
            dying.started(ID, script="s1", now=NOW)
            dying.ended(ID, script="s1", now=NOW, exit_code=0)
        except Crash:
            pass
        next_one = place.intake()
        looked = next_one.look(script="s2", now=NOW)
        for waiting in looked.waiting:
            assert next_one.take(waiting.key, script="s2", now=NOW) is not None
        for held in looked.held:
            assert next_one.take(held.id, script="s2", now=NOW, instead_of="s1") is not None
        if looked.waiting or looked.held:
            assert next_one.ended(ID, script="s2", now=NOW, exit_code=0) is not None
        assert next_one.state(ID).state is SubmissionState.DONE
        after = next_one.look(script="s2", now=NOW)
        assert (after.waiting, after.held, place.requests.list(""), place.store.list(OPEN_FOLDER)) == ((), (), [], [])
        events = [e.body["event"] for e in Journal(place.store, f"submissions/{ID}", "submission").entries()]
        assert events.count("ended") == 1
        if not faulty.fault.dead:
            assert k > 4, "the fault is not injected where it should be"
            return
    pytest.fail("no attempt ran through")


EVENTS: dict[str, Callable[[Intake, str], object]] = {
    "take": lambda intake, script: intake.take(ID, script=script, now=NOW),
    "take over": lambda intake, script: intake.take(ID, script=script, now=NOW, instead_of="s1"),
    "start": lambda intake, script: intake.started(ID, script=script, now=NOW),
    "end": lambda intake, script: intake.ended(ID, script=script, now=NOW, exit_code=0),
    "fail": lambda intake, script: intake.ended(ID, script=script, now=NOW, exit_code=3),
    "cancel": lambda intake, script: intake.cancelled(ID, script=script, now=NOW, by=ME),
    "look": lambda intake, script: intake.look(script=script, now=NOW),
    "stop": lambda intake, _: intake.ask_to_stop(ID, now=NOW),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(EVENTS)), st.sampled_from(["s1", "s2"])), max_size=12))
def test_whatever_scripts_do_one_holds_it_and_nothing_follows_its_end(steps: list[tuple[str, str]]) -> None:
    place = Place()
    place.intake().submit(place.request())
    for what, script in steps:
        try:
            EVENTS[what](place.intake(), script)
        except NotFound:
            assert what in ("take", "stop")
        bodies = [entry.body for entry in Journal(place.store, f"submissions/{ID}", "submission").entries()]
        found = fold(ID, bodies)
        assert [body["event"] for body in bodies[:-1]].count("ended") == 0
        if found is not None and found.has_ended:
            assert place.requests.list("") in ([], [key for key in place.requests.list("") if stopped_by_key(key)])


# Stopping


def test_one_that_waits_is_cancelled_when_a_script_looks(place: Place, intake: Intake) -> None:
    intake.ask_to_stop(ID, now=NOW)
    assert (intake.state(ID).state, intake.state(ID).stop_asked_by) == (SubmissionState.SUBMITTED, ME)
    looked = intake.look(script="s1", now=NOW)
    assert (ids(looked.ended), looked.waiting) == ([ID], ())
    found = intake.state(ID)
    assert (found.state, found.stop_asked_by, found.request) == (SubmissionState.CANCELLED, ME, place.request())
    assert place.requests.list("") == []


def test_a_stop_that_comes_while_it_is_taken_is_told_to_who_took_it(intake: Intake) -> None:
    looked = intake.look(script="s1", now=NOW)
    intake.ask_to_stop(ID, now=NOW)
    taken = intake.take(looked.waiting[0].key, script="s1", now=NOW)
    assert taken is not None
    assert taken.stop_asked_by == ME
    intake.cancelled(ID, script="s1", now=NOW, by=ME)
    assert intake.state(ID).state is SubmissionState.CANCELLED


@pytest.mark.parametrize(("exit_code", "state"), [(130, SubmissionState.CANCELLED), (0, SubmissionState.DONE)])
def test_a_run_that_was_done_before_its_stop_stays_done(intake: Intake, exit_code: int, state: SubmissionState) -> None:
    intake.take(ID, script="s1", now=NOW)
    intake.ask_to_stop(ID, now=NOW)
    assert intake.stop_asked(ID) == ME
    intake.ended(ID, script="s1", now=NOW, exit_code=exit_code, stopped_by=ME)
    assert intake.state(ID).state is state


def test_a_request_that_its_writer_took_away_is_nobody_s_and_one_that_was_taken_goes_on(place: Place) -> None:
    intake = place.intake()
    intake.submit(place.request())
    place.requests.delete(f"{ID}.json")
    assert intake.look(script="s1", now=NOW).waiting == ()
    with pytest.raises(NotFound):
        intake.state(ID)
    intake.submit(place.request())
    intake.take(ID, script="s1", now=NOW)
    place.requests.delete(f"{ID}.json")
    assert ids(place.intake().look(script="s2", now=NOW).held) == [ID]
    with pytest.raises(NotFound):
        intake.to_carry_out(ID)


def test_one_withdrawn_while_a_script_was_taking_it_ends_once(place: Place) -> None:
    intake = place.intake()
    place.store.put_if_absent(f"{OPEN_FOLDER}/{ID}.json", b"{}")  # what take() puts before its entry
    looked = intake.look(script="s1", now=NOW)
    assert [one.state for one in looked.ended] == [SubmissionState.CANCELLED]
    assert place.store.list(OPEN_FOLDER) == []


# What lies in the inbox


def test_a_full_disk_or_a_damaged_journal_keeps_no_other_waiting(place: Place, intake: Intake) -> None:
    other = "income-20260131t120001-s000001"
    intake.submit(place.request(id=other))
    place.store.put_if_absent(f"submissions/{ID}/0000000001.json", b"not a record")
    looked = intake.look(script="s1", now=NOW)
    assert ids(looked.waiting) == [other]
    assert list(looked.unreadable) == [ID]

    class Unreadable(MemoryStore):
        def get_owned(self, key: str, max_bytes: int):
            if key.startswith(other):
                raise Storage("Permission denied")
            return super().get_owned(key, max_bytes)

    hidden = Unreadable(place.requests._name)
    looked = place.intake(requests=hidden, store=MemoryStore()).look(script="s1", now=NOW)
    assert ids(looked.waiting) == [ID]
    assert looked.unreadable == {other: "Permission denied"}


def test_files_that_are_no_requests_are_counted_and_left_alone(place: Place, intake: Intake) -> None:
    for key in ("readme.txt", f"{ID[:-1]}.json", "income-20260131t120000-1a2b3c.json", f"{ID}.stop.json"):
        place.requests.put_if_absent(key, b"x")
    looked = intake.look(script="s1", now=NOW)
    assert (looked.strange, ids(looked.waiting), len(place.requests.list(""))) == (4, [ID], 5)


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "x" * 300_000},
        {"job": "other"},
        {"cluster": "../evil.yaml"},
        {"cluster": "/home/mallory/evil.yaml"},
        {"source": ""},
        {"source": "a\nb"},
        {"source": "x" * 301},
        {"id": "income-20260131t120000-1a2b3c"},
    ],
    ids=str,
)
def test_a_request_with_something_that_cannot_be_is_refused(place: Place, changed: dict[str, object]) -> None:
    with pytest.raises((InvalidInput, Format)):
        Request.from_record(place.request(**changed).record())
    assert Request.from_bytes(place.request().to_bytes()) == place.request()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: b" " + data,
        lambda data: data.replace(b'"again":false', b'"again":"no"'),
        lambda data: data.replace(b'"again":false,', b""),
        lambda data: data.replace(b'"again":false', b'"again":false,"sudo":true'),
        lambda data: data.replace(b'"job":"income"', b'"job":"income","job":"income"'),
        lambda data: data.replace(b"submission-request/1", b"submission-request/2"),
        lambda data: data.replace(b"2026-01-31T12:00:00.000000Z", b"yesterday"),
        lambda data: data.replace(b'"source":"jobs/income.yaml"', b'"source":"\\ud800"'),
        lambda _: b"[" * 100_000,
        lambda _: b"9" * 100_000,
        lambda _: b"\xff\xfe",
        lambda _: b"",
        lambda _: b"null",
        lambda _: b"x" * (MAX_REQUEST_BYTES + 1),
    ],
)
def test_what_is_no_request_is_ended_with_the_reason_and_nothing_runs(spoil: Callable[[bytes], bytes]) -> None:
    place = Place()
    place.requests.put_if_absent(f"{ID}.json", spoil(place.request().to_bytes()))
    intake = place.intake()
    assert intake.state(ID).error is not None
    looked = intake.look(script="s1", now=NOW)
    assert (looked.waiting, ids(looked.ended)) == ((), [ID])
    found = intake.state(ID)
    assert (found.state, found.principal, found.script) == (SubmissionState.FAILED, None, "s1")
    assert found.error is not None
    assert found.error["family"] in ("Format", "InvalidInput", "Integrity")
    assert intake.take(ID, script="s1", now=NOW) is None
    assert place.requests.list("") == []


def test_a_stop_is_read_back_as_it_was_put_and_nothing_else_is_one() -> None:
    stop = Stop(id=ID, inbox="x", principal=ME, asked_at=NOW)
    assert Stop.from_bytes(stop.to_bytes()) == stop
    for data in (stop.to_bytes() + b" ", stop.to_bytes().replace(b'"inbox":"x",', b""), b"{}"):
        with pytest.raises(Format):
            Stop.from_bytes(data)


def test_keys_say_what_lies_under_them() -> None:
    assert requested_by_key(f"{ID}.json") == ID
    assert stopped_by_key(f"{ID}.stop-0123456789ab.json") == ID
    for key in (ID, f"{ID}.yaml", f"x/{ID}.json", f"{ID}.stop-0123456789ab.json", "a.json", ".json"):
        assert requested_by_key(key) is None
    for key in (f"{ID}.json", f"{ID}.stop-0123.json", "a.stop-0123456789ab.json"):
        assert stopped_by_key(key) is None


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=63))
def test_an_id_says_its_job_and_is_no_other_run_s(job: str) -> None:
    made = new_submission_id(job, NOW)
    assert is_submission_id(made) is (job[0] not in "_-")
    assert made.rsplit("-", 2)[0] == job


# Many


def lay(place: Place, count: int, **changed: object) -> list[str]:
    """The ids of so many requests that lie there, whoever was asked."""
    names = [f"income-20260131t120000-s{number:06x}" for number in range(count)]
    for name in names:
        place.requests.put_if_absent(f"{name}.json", place.request(id=name, **changed).to_bytes())
    return names


class Counting(MemoryStore):
    """Counts how often a record is read, and how often all are listed."""

    read = listed = 0

    def get_owned(self, key: str, max_bytes: int) -> Owned:
        self.read += 1
        return super().get_owned(key, max_bytes)

    def names(self) -> list[str]:
        self.listed += 1
        return super().names()


def test_a_look_lists_the_inbox_once_and_reads_a_bounded_part_of_what_one_account_put_there(place: Place) -> None:
    names = lay(place, 3 * LOOKED_AT)
    for name in names:
        place.intake().ask_to_stop(name, now=NOW)
    counting = Counting(place.requests._name)
    looked = place.intake(requests=counting).look(script="s1", now=NOW)
    assert ids(looked.ended) == names[:LOOKED_AT]
    assert looked.crowded == {ME: 2 * LOOKED_AT}
    assert counting.listed == 1
    assert counting.read <= 4 * LOOKED_AT
    looked = place.intake().look(script="s1", now=NOW)  # and so on
    assert ids(looked.ended) == names[LOOKED_AT : 2 * LOOKED_AT]


def test_what_ended_and_can_not_be_taken_out_hides_nothing_that_waits(place: Place) -> None:
    class Kept(MemoryStore):
        def delete(self, key: str) -> None:
            raise Storage(f"{key}: Operation not permitted")

    names = lay(place, LOOKED_AT + 10)
    kept = Kept(place.requests._name)
    for name in names[:-1]:
        intake = place.intake(requests=kept)
        intake.take(name, script="s1", now=NOW)
        intake.ended(name, script="s1", now=NOW, exit_code=0)
    looked = place.intake(requests=kept).look(script="s1", now=NOW)
    assert (ids(looked.waiting), looked.crowded) == (names[-1:], {})


def test_nobody_may_have_more_than_so_many_that_have_not_ended(place: Place) -> None:
    lay(place, MOST_WAITING)
    intake, one_more = place.intake(), place.request()
    with pytest.raises(Conflict, match="1,000 submissions of 'ana' haven't ended yet") as refused:
        intake.submit(one_more)
    assert refused.value.may_pass
    assert f"{ID}.json" not in place.requests.names()
    (first, *_) = intake.look(script="s1", now=NOW).waiting
    intake.take(first.key, script="s1", now=NOW)
    with pytest.raises(Conflict):
        intake.submit(one_more)
    intake.ended(first.key, script="s1", now=NOW, exit_code=0)
    intake.submit(one_more)
    intake.submit(one_more)  # the same again: a reply was lost


def test_those_are_looked_at_first_that_lie_there_longest_whatever_their_names_say() -> None:
    def file(key: str, hours: int, owner: str) -> Named:
        return Named(key=key, owner=owner, changed_at=NOW + timedelta(hours=hours))

    told = tell_apart(
        [
            file("income-20260131t120000-s000001.json", 3, "ana"),
            file("income-20260131t120000-s000002.json", 1, "ana"),
            file("income-20250131t120000-s000003.json", 2, "ana"),
            file("income-20250131t120000-s000004.json", 9, "bo"),
            file("income-20250131t120000-s000005.json", 0, "bo"),
            file("notes.txt", 0, "bo"),
        ],
        ME,
    )
    assert told.strange == 1
    assert {who: [one[-1] for one in theirs] for who, theirs in told.by_owner().items()} == {
        "bo": ["5", "4"],
        "ana": ["2", "3", "1"],
    }
    assert told.by_owner(without=told.requests) == {}


def test_of_many_stops_by_one_account_a_bounded_number_is_read() -> None:
    files = [Named(key=new_stop_key(ID), owner=who) for who in ("ana", "bo", "ops") for _ in range(2 * STOPS_READ)]
    told = tell_apart(files, ME)
    assert len(list(told.stops_of(ID, {"ana", "ops"}))) == 2 * STOPS_READ
    assert len(told.keys_of(ID)) == 6 * STOPS_READ
    assert list(told.stops_of(ID, set())) == []


# The journal's own rules


def test_an_event_that_this_release_does_not_know_is_refused() -> None:
    for body in (
        {"event": "moved", "at": "2026-01-31T12:00:00.000000Z"},
        {"event": "taken", "at": "2026-01-31T12:00:00.000000Z"},
        {"event": "started", "at": "noon", "script": "s1"},
        {},
    ):
        with pytest.raises(Format):
            fold(ID, [body])
    with pytest.raises(Conflict):
        fold(ID, [submissions.started(script="s1", at=NOW)])


def test_a_store_without_owners_takes_requests_of_its_own_account_alone(place: Place) -> None:
    place.requests.put_if_absent(f"{ID}.json", place.request(principal="bo").to_bytes())
    looked = place.intake(carriers=[ME]).look(script="s1", now=NOW)
    assert [one.error and one.error["family"] for one in looked.ended] == ["AccessDenied"]
    with pytest.raises(AccessDenied, match="says that it is of 'bo', and 'ana' wrote it"):
        place.intake(account="ana").submit(place.request(id="income-20260131t120000-s000009", principal="bo"))
    assert place.requests.list("") == []


def test_on_a_disk_a_request_is_its_account_s_whatever_the_umask(tmp_path: Path) -> None:
    import os

    from dataops.runs.workspace import os_user

    requests, store = open_store(str(tmp_path / "inbox")), open_store(str(tmp_path / "storage"))
    inbox = Inbox(requests, store, account=os_user())
    before = os.umask(0o077)
    try:
        inbox.submit(Place().request(inbox=inbox.place(), principal=os_user()))
    finally:
        os.umask(before)
    assert (tmp_path / "inbox" / f"{ID}.json").stat().st_mode & 0o777 == 0o644
    assert inbox.state(ID).principal == os_user()
    with pytest.raises(Integrity):
        open_store(str(tmp_path / "inbox")).get_owned(f"{ID}.json", 3)
