"""Checkpoints are put once, in two places, and never on a history that contradicts an earlier one."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataops.errors import Format, Integrity, NotFound, Storage
from dataops.governance.audit import read_signed, record_event, verify_audit
from dataops.governance.checkpoints import (
    ANCHORS_PREFIX,
    CHECKPOINTS_PREFIX,
    Checkpoint,
    judge_checkpoint,
    write_checkpoint,
)
from dataops.governance.signing import Signer, SigningKey, Worth, create_signing_key
from dataops.records import canonical_bytes, digest
from dataops.storage.journal import Journal
from dataops.storage.objects import MemoryStore, Store
from tests.storage.faulty import MODES, Crash, FaultyStore, Mode, crash_points

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


@dataclass
class Place:
    """An audit that grows, and its two stores."""

    store: MemoryStore
    anchors: MemoryStore
    keys: Path
    signers: list[Signer]

    @property
    def journal(self) -> Journal:
        return Journal(self.store, "audit", "audit")

    def grow(self, records: int) -> None:
        for _ in range(records):
            record_event(self.journal, "tested")

    def sign(self, *, store: Store | None = None, anchors: Store | None = None, at: datetime = LATER) -> object:
        return write_checkpoint(
            self.journal,
            store or self.store,
            anchors or self.anchors,
            key=SigningKey(folder=self.keys, key_id=self.signers[-1].id),
            signers=self.signers,
            at=at,
        )

    def verify(self) -> list[str]:
        return [str(one) for one in verify_audit(self.journal, read_signed(self.store, self.anchors, self.signers))]

    def kept(self) -> list[tuple[int, bytes]]:
        """What both places hold; they hold the same."""
        here, there = (
            [(int(name[-15:-5]), store.get(name)) for name in store.list(prefix)]
            for store, prefix in ((self.store, CHECKPOINTS_PREFIX), (self.anchors, ANCHORS_PREFIX))
        )
        assert here == there
        return here

    def rewrite(self, number: int) -> None:
        """Record `number` and all after it, written anew."""
        entries = list(self.journal.entries())
        previous = entries[number - 2].digest if number > 1 else None
        for entry in entries[number - 1 :]:
            key = f"audit/{entry.number:010d}.json"
            record = {**json.loads(self.store.get(key)), "previous": previous, "body": {"event": "made_up"}}
            record["digest"] = digest({name: record[name] for name in record if name not in ("format", "digest")})
            previous = record["digest"]
            self.store.delete(key)
            self.store.put_if_absent(key, canonical_bytes(record))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    keys = tmp_path / "keys"
    signer = create_signing_key(keys, at=NOON, secret=bytes(range(1, 33)), owner="ana")
    return Place(MemoryStore(), MemoryStore(), keys, [signer])


def test_an_empty_audit_has_none(place: Place) -> None:
    assert place.sign() is None
    assert place.kept() == []


def test_it_says_how_many_records_there_were_and_what_the_last_was(place: Place) -> None:
    place.grow(3)
    place.sign()
    ((count, data),) = place.kept()
    checkpoint = Checkpoint.from_bytes(data)
    entries = list(place.journal.entries())
    assert count == checkpoint.count == 3
    assert (checkpoint.head, checkpoint.previous) == (entries[2].digest, entries[1].digest)
    assert judge_checkpoint(checkpoint, place.signers) is Worth.GOOD
    assert checkpoint.to_bytes() == data
    assert place.verify() == []


def test_one_of_the_same_record_is_not_written_again(place: Place) -> None:
    place.grow(2)
    first = place.sign()
    assert place.sign(at=LATER + timedelta(days=1)) == first
    assert len(place.kept()) == 1


def test_it_follows_those_before_it(place: Place) -> None:
    for _ in range(3):
        place.grow(2)
        place.sign()
    assert [count for count, _ in place.kept()] == [2, 4, 6]
    assert place.verify() == []


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_a_history_written_anew_gets_no_signature(place: Place, first: int) -> None:
    place.grow(4)
    place.sign()
    place.rewrite(first)
    place.grow(2)
    with pytest.raises(Integrity, match="not the one that its checkpoint knows"):
        place.sign()
    assert len(place.kept()) == 1


def test_nor_does_one_whose_own_checkpoints_were_taken_away(place: Place) -> None:
    place.grow(4)
    place.sign()
    place.rewrite(2)
    place.store.delete(place.store.list(CHECKPOINTS_PREFIX)[0])
    with pytest.raises(Integrity, match="not the one that its checkpoint knows"):
        place.sign()
    assert place.store.list(CHECKPOINTS_PREFIX) == []


def test_nor_one_that_was_cut_off(place: Place) -> None:
    place.grow(4)
    place.sign()
    place.store.delete("audit/0000000004.json")
    with pytest.raises(Integrity, match="has 3 records, and a checkpoint of it knows 4"):
        place.sign()
    assert len(place.kept()) == 1


def test_nor_one_that_was_altered_since(place: Place) -> None:
    place.grow(2)
    place.sign()
    place.grow(3)
    key = "audit/0000000004.json"
    data = place.store.get(key).replace(b"tested", b"edited")
    place.store.delete(key)
    place.store.put_if_absent(key, data)
    with pytest.raises(Integrity, match="was altered"):
        place.sign()
    assert len(place.kept()) == 1


def test_one_that_nobody_trusted_signed_ends_the_line(place: Place, tmp_path: Path) -> None:
    place.grow(2)
    thief = create_signing_key(tmp_path / "thief", at=NOON, secret=b"t" * 32, owner="eve")
    key = SigningKey(folder=tmp_path / "thief", key_id=thief.id)
    write_checkpoint(place.journal, place.store, None, key=key, signers=[thief], at=LATER)
    place.grow(1)
    with pytest.raises(Integrity, match=r"not in signers\.yaml"):
        place.sign()
    assert place.anchors.list("") == []


def test_after_a_key_was_revoked_another_goes_on(place: Place) -> None:
    place.grow(2)
    place.sign()
    place.grow(1)
    place.sign(at=LATER + timedelta(hours=2))
    lost = place.signers[0]
    fields = {name: getattr(lost, name) for name in lost.__slots__}
    fresh = create_signing_key(place.keys, at=LATER + timedelta(hours=3), secret=b"n" * 32, owner="ana")
    place.signers = [Signer(**{**fields, "revoked": LATER + timedelta(hours=1)}), fresh]
    place.grow(1)
    place.sign(at=LATER + timedelta(hours=4))
    assert [count for count, _ in place.kept()] == [2, 3, 4]
    (finding,) = place.verify()
    assert finding.startswith("revoked_signer: checkpoint 3")


def test_an_anchor_of_another_audit_is_told(place: Place) -> None:
    place.grow(2)
    place.anchors.put_if_absent(f"{ANCHORS_PREFIX}/0000000002.json", b"{}")
    with pytest.raises(Integrity, match="is no checkpoint"):
        place.sign()
    other = Place(MemoryStore(), MemoryStore(), place.keys, place.signers)
    other.grow(2)
    other.sign()
    place.anchors = other.anchors
    with pytest.raises(Integrity, match="not the one that its checkpoint knows"):
        place.sign()
    assert place.store.list(CHECKPOINTS_PREFIX) == []


@pytest.mark.parametrize("trusted", ["nobody", "until before", "revoked before"])
def test_a_key_that_proves_nothing_puts_none(place: Place, trusted: str) -> None:
    place.grow(1)
    (signer,) = place.signers
    fields = {name: getattr(signer, name) for name in signer.__slots__}
    changed = {"until": NOON} if trusted == "until before" else {"revoked": NOON}
    signers = [] if trusted == "nobody" else [Signer(**{**fields, **changed})]
    with pytest.raises(Integrity, match="keys rotate"):
        write_checkpoint(
            place.journal,
            place.store,
            place.anchors,
            key=SigningKey(folder=place.keys, key_id=signer.id),
            signers=signers,
            at=LATER,
        )
    assert place.kept() == []


def test_without_its_key_nothing_is_written(place: Place) -> None:
    place.grow(1)
    next(place.keys.glob("signer-*")).unlink()
    with pytest.raises(NotFound):
        place.sign()
    assert place.kept() == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("which", ["store", "anchors"])
@pytest.mark.parametrize("error", [Crash, lambda: Storage("no reply")], ids=["crash", "no reply"])
def test_cut_off_at_any_operation_it_is_whole_in_both_places_after_the_next(
    tmp_path: Path, mode: Mode, which: str, error: Callable[[], BaseException]
) -> None:
    def attempt(k: int) -> bool:
        keys = tmp_path / str(k)
        signer = create_signing_key(keys, at=NOON, secret=bytes(range(1, 33)), owner="ana")
        place = Place(MemoryStore(), MemoryStore(), keys, [signer])
        place.grow(2)
        inner = place.store if which == "store" else place.anchors
        faulty = FaultyStore(inner, fail_at=k, mode=mode, error=error)
        with suppress(Crash, Storage):
            place.sign(**{which: faulty})
        errors = [one for one in place.verify() if not one.startswith(("unsigned_tail", "unanchored"))]
        assert errors == []
        place.sign(at=LATER + timedelta(hours=1))
        assert place.verify() == []
        assert len(place.kept()) == 1
        return faulty.fault.operations >= k

    crash_points(attempt, at_least=2)


@pytest.mark.parametrize(
    "changed",
    [
        *({"count": one} for one in (0, -1, True, "1", None)),
        *({"head": one} for one in (None, 1)),
        {"previous": 1},
        *({"written_at": one} for one in (None, "2026-01-31", 1)),
        *({"signature": one} for one in (None, [], {}, "x")),
    ],
    ids=str,
)
def test_what_is_no_checkpoint_is_refused(place: Place, changed: dict[str, object]) -> None:
    place.grow(1)
    place.sign()
    ((_, data),) = place.kept()
    with pytest.raises(Format):
        Checkpoint.from_bytes(canonical_bytes({**json.loads(data), **changed}))


def test_two_that_end_at_once_leave_one(place: Place) -> None:
    place.grow(1)

    class Overtaken(FaultyStore):
        left = 1

        def _create(self, key: str, data: bytes) -> bool:
            if self.left:
                self.left = 0
                place.sign(at=LATER + timedelta(seconds=1))
            return self.inner._create(key, data)

    place.sign(store=Overtaken(place.store, fail_at=0))
    assert len(place.kept()) == 1
    assert place.verify() == []
