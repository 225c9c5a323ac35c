"""The records that scheduler scripts and their inbox write: every event of a schedule and of a submission."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dataops.declarations.schedules import Schedule, schedule_digest, schedule_record, when_digest
from dataops.governance.signing import SigningKey
from dataops.records import encode_record, format_time
from dataops.runs.log import Lines
from dataops.scheduling import events, submissions
from dataops.scheduling.beats import Beat
from dataops.scheduling.book import Book
from dataops.scheduling.requests import Request, Stop
from dataops.scheduling.signed import BY, Signing, give_identity, name_bytes
from dataops.scheduling.slots import key_of, run_id_of
from dataops.scheduling.submissions import SubmissionState
from dataops.storage.journal import Journal
from dataops.storage.objects import MemoryStore

SCRIPT, OTHER, PERSON = "1a2b3c4d5e6f", "6f5e4d3c2b1a", "ana"
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DECLARED = {
    "name": "nightly",
    "owner": "people team",
    "when": {"every": "1h"},
    "retries": {"times": 1},
    "steps": [
        {"job": "people_scores", "file": "jobs/people.yaml"},
        {"guard": "wealth", "job": "people_realised", "metric": "roc_auc", "minimum": 0.5},
    ],
}
SIGNER = SigningKey(key_id="signer-20260131t120000000000z-d92d542a5898")
REQUEST = Request(
    id="people_ready-20260131t120000-s1a2b3c",
    inbox="1a2b",
    job="people_ready",
    text="name: people_ready\njob: prepare\n",
    source="jobs/people.yaml",
    cluster=None,
    again=False,
    principal=PERSON,
    submitted_at=AT,
)


def scheduled_records() -> dict[str, bytes]:
    """The examples by their names; an event is the variant of its journal."""
    store = MemoryStore()
    _keep_book(store)
    _carry_out(store)
    _sign(store)
    _say(store)
    found: dict[str, bytes] = {}
    for key in store.list(""):
        data = store.get(key)
        record = json.loads(data)
        _dataops, kind, version = record["format"].split("/")
        variant = _event(record)
        found.setdefault(f"{kind}-{version}{f'.{variant}' if variant else ''}.json", data)
    return found


def _event(record: Mapping[str, Any]) -> str:
    event = record.get("body", {}).get("event", "")
    return str(event["event"] if isinstance(event, Mapping) else event)


def _keep_book(store: MemoryStore) -> None:
    book = Book(store, str(DECLARED["name"]))
    for event in _happened():
        assert book.append(event, after=book.head()) is not None


def _happened() -> Iterator[events.Event]:
    """One of each event, in an order that fits."""
    schedule = Schedule.model_validate_json(json.dumps(DECLARED), strict=True)
    digest, when, by = schedule_digest(schedule), when_digest(schedule), SCRIPT
    first, second, third = (AT + number * HOUR for number in (1, 2, 3))

    def claimed(nominal: datetime, at: datetime, cause: events.Cause = "due") -> events.Claimed:
        return events.Claimed(
            at=at,
            by=by,
            key=key_of(nominal),
            nominal=nominal,
            cause=cause,
            digest=digest,
            declaration=schedule_record(schedule),
            not_before=at,
        )

    run = run_id_of("nightly", digest, key_of(first), first, step=0, job="people_scores")
    yield events.Begun(at=AT, by=by, name="nightly", digest=digest, when=when, since=AT)
    yield claimed(first, first)
    yield events.StepBegun(at=first, by=by, key=key_of(first), step=0, attempt=1, run=run)
    yield events.StepRetry(
        at=first, by=by, key=key_of(first), step=0, next_try_at=first + timedelta(minutes=1), error="a worker was lost"
    )
    yield events.StepBegun(at=first, by=by, key=key_of(first), step=0, attempt=2, run=run)
    yield events.TakenOver(at=first, by=OTHER, key=key_of(first), held_by=by)
    yield events.StepEnded(at=first, by=OTHER, key=key_of(first), step=0, outcome="done", facts={"run": run})
    facts = {"model": "wealth", "version": 1, "why": "roc_auc 0.4 is below 0.5"}
    yield events.StepEnded(at=first, by=OTHER, key=key_of(first), step=1, outcome="rolled_back", facts=facts)
    yield events.Ended(at=first, by=OTHER, key=key_of(first), outcome="done")
    yield events.Queued(at=third, by=by, cause="catch_up", count=1, first=second, until=second)
    yield events.Missed(at=third, by=by, count=1, first=second, last=second, reason="no scheduler script was there")
    yield claimed(third, third)
    yield events.Stopping(at=third, by=by, key=key_of(third), reason="its deadline passed", outcome="failed")
    yield events.Ended(at=third, by=by, key=key_of(third), outcome="failed", reason="its deadline passed")
    yield events.Skipped(
        at=third + HOUR, by=by, count=1, first=third + HOUR, last=third + HOUR, reason="another slot was open"
    )
    wanted = events.WantedSlot(key=key_of(second), nominal=second, hindsight="for the audit", again=1)
    yield events.Wanted(at=third + HOUR, by=PERSON, slots=(wanted,), reason="the data came late")
    yield events.Unwanted(at=third + HOUR, by=PERSON, keys=(wanted.key,), reason="not needed")
    yield events.Paused(at=third + HOUR, by=PERSON, reason="the source is down")
    yield events.Resumed(at=third + HOUR, by=PERSON, reason="it is back")
    other = Schedule.model_validate_json(json.dumps({**DECLARED, "deadline": "6h"}), strict=True)
    yield events.Changed(at=third + HOUR, by=by, digest=schedule_digest(other), when=when, since=AT)
    yield events.Told(at=third + HOUR, by=by, number=5)


def _carry_out(store: MemoryStore) -> None:
    """A submission from its request to its end, and one that was stopped."""
    store.put_if_absent(f"inbox/{REQUEST.id}.json", REQUEST.to_bytes())
    stop = Stop(id=REQUEST.id, inbox=REQUEST.inbox, principal=PERSON, asked_at=AT)
    store.put_if_absent(f"inbox/{REQUEST.id}.stop-1a2b3c4d5e6f.json", stop.to_bytes())
    store.put_if_absent(f"submissions/open/{REQUEST.id}.json", encode_record("submission-open", 1, {}))
    journal = Journal(store, f"submissions/{REQUEST.id}", "submission")
    digest = "sha256:" + "1a2b3c4d" * 8
    journal.append(submissions.taken(REQUEST, principal=PERSON, digest=digest, script=SCRIPT, at=AT, instead_of=None))
    journal.append(submissions.started(script=SCRIPT, at=AT))
    held = submissions.fold(REQUEST.id, [entry.body for entry in journal.entries()])
    assert held is not None
    full = {"family": "Storage", "message": "the disk is full"}
    journal.append(submissions.retry(held, script=SCRIPT, at=AT, exit_code=10, error=full))
    journal.append(
        submissions.ended(
            SubmissionState.FAILED,
            script=SCRIPT,
            at=AT,
            principal=PERSON,
            request=None,
            exit_code=10,
            error=full,
        )
    )


def _sign(store: MemoryStore) -> None:
    """A signed request, and the name that says whose it is."""
    give_identity(store)
    body = {"id": SIGNER.key_id, "created_at": format_time(AT), "public_key": "", "secret": "1a" * 32}
    key = replace(SIGNER, content=encode_record("signing-key", 1, body))
    signing = Signing(place=REQUEST.inbox, key=key, user=PERSON)
    store.put_if_absent("inbox/signed.json", signing.signed_request(REQUEST))
    store.put_if_absent(f"inbox/{signing.signed_name(REQUEST.id, BY)}", name_bytes())


def _say(store: MemoryStore) -> None:
    """A script's beat, and what a run printed."""
    beat = Beat(
        script=SCRIPT,
        number=3,
        host="night-1",
        machine="1a2b3c4d1a2b3c4d",
        pid=4711,
        born="815",
        account="line",
        version="0.1.0",
        at=AT,
        every=5.0,
        since=AT,
        polled_at=AT,
        holds=1,
        ended=False,
    )
    store.put_if_absent(beat.key, beat.to_bytes())
    lines = Lines(store, "people_scores-20260131t130000-1a2b3c")
    lines.add("people_scores: run people_scores-20260131t130000-1a2b3c")
    lines.write()
