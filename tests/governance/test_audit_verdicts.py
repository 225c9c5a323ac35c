"""Every mutation of an audit of 50 records gets the verdict that says what was done."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataops.governance.audit import read_signed, record_intent, record_result, verify_audit
from dataops.governance.audit_chain import AuditFinding, Kind
from dataops.governance.checkpoints import ANCHORS_PREFIX, CHECKPOINTS_PREFIX, write_checkpoint
from dataops.governance.signing import Signer, SigningKey, create_signing_key
from dataops.records import canonical_bytes, digest
from dataops.storage.journal import Journal
from dataops.storage.objects import MemoryStore, PosixStore

RECORDS = 50
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ROOT = "sha256:" + "0" * 64


class Audit:
    """An audit of 50 records with its checkpoints and anchors, all of which can be tampered with."""

    def __init__(self, records: Mapping[str, bytes], anchors: Mapping[str, bytes], signers: tuple[Signer, ...]) -> None:
        self.store, self.anchors, self.signers = MemoryStore(), MemoryStore(), signers
        for store, held in ((self.store, records), (self.anchors, anchors)):
            for key, data in held.items():
                store.put_if_absent(key, data)

    def get(self, number: int) -> bytes:
        return self.store.get(key(number))

    def record(self, number: int) -> dict[str, Any]:
        return dict(json.loads(self.get(number)))

    def put(self, number: int, data: bytes) -> None:
        self.store.delete(key(number))
        assert self.store.put_if_absent(key(number), data)

    def delete(self, *numbers: int) -> None:
        for number in numbers:
            self.store.delete(key(number))

    def restamp(self, number: int, /, **changes: Any) -> str:
        """The record changed by somebody who knows how digests are made; its new digest."""
        record = self.record(number) | changes
        record["digest"] = digest({name: record[name] for name in record if name not in ("format", "digest")})
        self.put(number, canonical_bytes(record))
        return str(record["digest"])

    def rewrite(self, first: int, last: int = RECORDS) -> None:
        """The records from `first` to `last` written anew as a whole, each following the one before."""
        previous = self.record(first - 1)["digest"] if first > 1 else None
        template = self.record(1)  # an intent: a result would need one
        for number in range(first, last + 1):
            body = {**template["body"], "dataset": f"made-up-{number}"}
            self.put(number, canonical_bytes({**template, "number": number}))
            previous = self.restamp(number, body=body, previous=previous)

    def verify(self, *, signed: bool = True) -> list[AuditFinding]:
        known = read_signed(self.store, self.anchors, self.signers) if signed else None
        return verify_audit(Journal(self.store, "audit", "audit"), known)

    def kinds(self, *, signed: bool = True) -> set[Kind]:
        return {one.kind for one in self.verify(signed=signed)} - {Kind.OPEN}


def key(number: int) -> str:
    return f"audit/{number:010d}.json"


def checkpoint_key(count: int, prefix: str = CHECKPOINTS_PREFIX) -> str:
    return f"{prefix}/{count:010d}.json"


def write_log(journal: Journal, numbers: range) -> None:
    """Intents at odd numbers, their results at even ones."""
    for number in numbers:
        run, dataset = f"run-{(number + 1) // 2}", "census"
        if number % 2:
            record_intent(
                journal,
                run=run,
                principal="ana",
                roles={"analyst"},
                purpose="train",
                dataset=dataset,
                snapshot="sha256:1",
                effect_digest=ROOT,
                policy_digest=ROOT,
            )
        else:
            counts = {"read": 10, "passed": 9, "quarantined": 1}
            record_result(journal, run=run, dataset=dataset, outcome="done", counts=counts, receipts_root=ROOT)


Maker = Callable[..., Audit]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Audits with checkpoints at the numbers that are asked for, copied from ones that were written once."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    signer = create_signing_key(keys, at=NOON, secret=bytes(range(1, 33)), owner="ana")
    key = SigningKey(folder=keys, key_id=signer.id)
    written: dict[tuple[int, ...], tuple[dict[str, bytes], dict[str, bytes]]] = {}

    def write(at: tuple[int, ...]) -> tuple[dict[str, bytes], dict[str, bytes]]:
        store, anchors = MemoryStore(), MemoryStore()
        journal = Journal(store, "audit", "audit")
        done = 0
        for hours, count in enumerate([*at, RECORDS]):
            write_log(journal, range(done + 1, count + 1))
            done = count
            if count in at:
                moment = NOON + timedelta(hours=hours)
                write_checkpoint(journal, store, anchors, key=key, signers=[signer], at=moment)
        return tuple({name: one.get(name) for name in one.list("")} for one in (store, anchors))  # type: ignore[return-value]

    def audit(*at: int) -> Audit:
        if at not in written:
            written[at] = write(at)
        return Audit(*written[at], (signer,))

    return audit


@pytest.fixture
def audit(make: Maker) -> Audit:
    """Signed after the last record only: what the last checkpoint covers is all that a run's end promises."""
    return make(RECORDS)


NUMBERS = range(1, RECORDS + 1)
FIELDS = ("format", "number", "previous", "written_at", "nonce", "body", "digest")
EDGES = (1, 2, 3, 25, 48, 49, 50)


def other(value: Any) -> Any:
    match value:
        case int():
            return value + 3
        case dict():
            return {**value, "dataset": "weather"}
    return "sha256:" + "f" * 64


def test_links_are_findings_of_their_own_and_the_rest_is_judged(audit: Audit, tmp_path: Path) -> None:
    store = PosixStore(tmp_path / "store")
    for name in audit.store.list(""):
        store.put_if_absent(name, audit.store.get(name))
    for number, name in enumerate(("audit/0000000003.json", checkpoint_key(RECORDS))):
        (store.root / name).rename(tmp_path / str(number))
        (store.root / name).symlink_to(tmp_path / str(number))
    journal = Journal(store, "audit", "audit")
    found = verify_audit(journal, read_signed(store, audit.anchors, audit.signers))
    assert [(one.kind, one.number) for one in found] == [(Kind.ALTERED, 3), (Kind.ALTERED, RECORDS)]
    assert all("symbolic link" in one.message for one in found)


def test_what_nobody_touched_is_whole(audit: Audit) -> None:
    assert audit.verify() == []
    assert audit.verify(signed=False) == []


@pytest.mark.parametrize("number", NUMBERS)
def test_an_edited_field_is_altered(audit: Audit, number: int) -> None:
    whole = audit.get(number)
    for field in FIELDS:
        record = audit.record(number)
        audit.put(number, canonical_bytes({**record, field: other(record[field])}))
        assert audit.kinds() == {Kind.ALTERED}, field
        assert [one.number for one in audit.verify() if one.kind is Kind.ALTERED] == [number]
        audit.put(number, whole)


@pytest.mark.parametrize("number", EDGES)
def test_a_key_twice_and_bytes_at_the_end_are_altered(audit: Audit, number: int) -> None:
    whole = audit.get(number)
    for data in (whole + b"\n", b'{"body":{"event":"intent"},' + whole[1:]):
        audit.put(number, data)
        assert audit.kinds() == {Kind.ALTERED}
        assert [one.number for one in audit.verify() if one.kind is Kind.ALTERED] == [number]


@pytest.mark.parametrize("number", EDGES)
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'{"format":"dataops/audit/1"}', b"null"], ids=repr)
def test_a_record_that_is_none_is_altered(audit: Audit, number: int, data: bytes) -> None:
    audit.put(number, data)
    assert audit.kinds() == {Kind.ALTERED}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("field", ["number", "previous", "written_at", "nonce", "body"])
def test_an_edit_with_its_digest_made_right_is_restamped(audit: Audit, number: int, field: str) -> None:
    audit.restamp(number, **{field: other(audit.record(number)[field])})
    found = [one for one in audit.verify() if not one.is_warning]
    assert [(one.kind, one.number) for one in found] == [(Kind.RESTAMPED, number)]


@pytest.mark.parametrize("number", [1, 25, 50])
@pytest.mark.parametrize("body", [None, [], "text", {}, {"event": ["intent"]}], ids=repr)
@pytest.mark.parametrize("claimed", [[], "9", True], ids=repr)
def test_nonsense_with_a_right_digest_is_restamped(audit: Audit, number: int, body: Any, claimed: Any) -> None:
    audit.restamp(number, body=body)
    assert Kind.RESTAMPED in audit.kinds()
    audit.restamp(number, number=claimed)
    assert Kind.RESTAMPED in audit.kinds()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_deleted_record_is_missing_and_the_last_one_cut_off(audit: Audit, number: int) -> None:
    audit.delete(number)
    expected = Kind.MISSING if number < RECORDS else Kind.TRUNCATED
    assert audit.kinds() == {expected}
    assert [one.number for one in audit.verify() if one.kind is expected] == [number]


def test_records_deleted_in_a_row_are_told_as_one(audit: Audit) -> None:
    audit.delete(*range(7, 31))
    (finding,) = [one for one in audit.verify() if not one.is_warning]
    assert str(finding) == "missing: records 7 to 30 are missing"


@pytest.mark.parametrize(("first", "second"), [*combinations(EDGES, 2), *((n, n + 1) for n in range(4, 47))])
def test_swapped_records_are_reordered(audit: Audit, first: int, second: int) -> None:
    one, two = audit.get(first), audit.get(second)
    audit.put(first, two)
    audit.put(second, one)
    found = [(one.kind, one.number) for one in audit.verify() if not one.is_warning]
    assert found == [(Kind.REORDERED, first), (Kind.REORDERED, second)]


@pytest.mark.parametrize("number", [1, 2, 25, 48])
def test_a_record_taken_out_and_the_gap_closed_is_missing_and_the_rest_reordered(audit: Audit, number: int) -> None:
    for place in range(number, RECORDS):
        audit.put(place, audit.get(place + 1))
    audit.delete(RECORDS)
    assert {Kind.MISSING, Kind.REORDERED} <= audit.kinds() <= {Kind.MISSING, Kind.REORDERED, Kind.TRUNCATED}
    missing = [one for one in audit.verify() if one.kind is Kind.MISSING]
    assert [one.number for one in missing] == [number]


@pytest.mark.parametrize("number", EDGES)
def test_a_copy_at_another_place_is_reordered(audit: Audit, number: int) -> None:
    assert audit.store.put_if_absent(key(RECORDS + 1), audit.get(number))
    assert audit.kinds() == {Kind.REORDERED}


def test_an_audit_cut_off_is_truncated_also_where_a_copy_pretends_to_be_later(audit: Audit) -> None:
    audit.delete(*range(41, 51))
    assert audit.store.put_if_absent(key(9_999_999_999), audit.get(7))
    assert audit.kinds() == {Kind.REORDERED, Kind.TRUNCATED}


@pytest.mark.parametrize("kept", range(RECORDS))
def test_an_audit_cut_off_anywhere_is_truncated(audit: Audit, kept: int) -> None:
    audit.delete(*range(kept + 1, RECORDS + 1))
    assert audit.kinds() == {Kind.TRUNCATED}
    # also by whoever took the checkpoint away with it: the anchor is left
    audit.store.delete(checkpoint_key(RECORDS))
    assert audit.kinds() == {Kind.TRUNCATED, Kind.MISSING}


@pytest.mark.parametrize("first", NUMBERS)
def test_a_history_written_anew_is_forked(audit: Audit, first: int) -> None:
    audit.rewrite(first)
    # A fork of one record is that record, restamped
    expected = Kind.FORKED if first < RECORDS else Kind.RESTAMPED
    assert audit.kinds() == {expected}
    assert audit.kinds(signed=False) == set(), "in itself it is consistent"


@pytest.mark.parametrize("first", [1, 10, 11, 20, 35, 49, 50])
def test_a_longer_history_written_anew_is_forked(audit: Audit, first: int) -> None:
    audit.rewrite(first, RECORDS + 10)
    assert audit.kinds() == {Kind.FORKED, Kind.UNSIGNED_TAIL}


@pytest.mark.parametrize("first", [1, 9, 10, 11, 20, 21, 35, 49])
def test_the_checkpoint_before_a_fork_says_where_it_began(make: Maker, first: int) -> None:
    audit = make(10, 20, 30, 40, 50)
    audit.rewrite(first)
    (finding,) = [one for one in audit.verify() if not one.is_warning]
    assert finding.kind is Kind.FORKED
    assert finding.message.startswith(f"records {(first - 1) // 10 * 10 + 1} to {-(-first // 10) * 10} ")


def test_a_shorter_history_written_anew_is_forked_and_truncated(make: Maker) -> None:
    audit = make(10, 20, 30, 40, 50)
    audit.rewrite(15, 33)
    audit.delete(*range(34, 51))
    assert audit.kinds() == {Kind.FORKED, Kind.TRUNCATED}


def test_records_that_nobody_signed_for_are_a_warning(make: Maker) -> None:
    audit = make(20, 40)
    (finding,) = audit.verify()
    assert finding.is_warning
    assert str(finding).startswith("unsigned_tail: records 41 to 50 come after the last checkpoint")
    (finding,) = make().verify()
    assert str(finding).startswith("unsigned_tail: records 1 to 50 come with no checkpoint")


def test_cutting_off_what_nobody_signed_for_leaves_no_trace(make: Maker) -> None:
    audit = make(40)
    audit.delete(*range(42, 51))
    assert audit.kinds() == {Kind.UNSIGNED_TAIL}


MUTATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("delete"), st.integers(1, 50)),
        st.tuples(st.just("edit"), st.integers(1, 50)),
        st.tuples(st.just("swap"), st.integers(1, 50), st.integers(1, 50)),
        st.tuples(st.just("copy"), st.integers(1, 50), st.integers(1, 60)),
        st.tuples(st.just("restamp"), st.integers(1, 50), st.sampled_from(FIELDS[1:-1])),
        st.tuples(st.just("rewrite"), st.integers(1, 50)),
        st.tuples(st.just("cut"), st.integers(1, 50)),
    ),
    min_size=1,
    max_size=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(mutations=MUTATIONS, signed=st.sampled_from([(50,), (10, 30, 50)]))
def test_whatever_is_done_to_signed_records_is_found(
    make: Maker, mutations: list[tuple[Any, ...]], signed: tuple[int, ...]
) -> None:
    audit = make(*signed)
    whole = records_of(audit)
    for mutation in mutations:
        mutate(audit, *mutation)
    changed = {number: data for number, data in records_of(audit).items() if number <= RECORDS} != whole
    assert any(not one.is_warning for one in audit.verify()) or not changed


def records_of(audit: Audit) -> dict[int, bytes]:
    return {int(name[-15:-5]): audit.store.get(name) for name in audit.store.list("audit") if "checkpoints" not in name}


def mutate(audit: Audit, what: str, number: int, other_number: Any = None) -> None:
    """One mutation; nothing where there is no such record any more, or none that is still JSON."""
    present = records_of(audit)
    if number not in present or (what == "swap" and other_number not in present):
        return
    match what:
        case "delete":
            audit.delete(number)
        case "cut":
            audit.delete(*(one for one in present if one >= number))
        case "edit":
            audit.put(number, present[number].replace(b"census", b"weather"))
        case "swap":
            audit.put(number, present[other_number])
            audit.put(other_number, present[number])
        case "copy":
            audit.put(other_number, present[number])
        case "restamp":
            audit.restamp(number, **{other_number: other(audit.record(number)[other_number])})
        case "rewrite" if {1, number - 1} - {0} <= set(present):
            audit.rewrite(number)


def test_an_empty_audit_is_whole() -> None:
    empty = Audit({}, {}, ())
    assert empty.verify() == []


class TestCheckpoints:
    def change(self, audit: Audit, prefix: str, change: Callable[[dict[str, Any]], None]) -> None:
        store = audit.store if prefix == CHECKPOINTS_PREFIX else audit.anchors
        record = json.loads(store.get(checkpoint_key(RECORDS, prefix)))
        change(record)
        store.delete(checkpoint_key(RECORDS, prefix))
        store.put_if_absent(checkpoint_key(RECORDS, prefix), canonical_bytes(record))

    @pytest.mark.parametrize("field", ["head", "previous", "written_at"])
    def test_an_edited_one_has_a_bad_signature_and_accuses_nobody(self, audit: Audit, field: str) -> None:
        value = "2026-01-31T12:30:00.000000Z" if field == "written_at" else ROOT
        self.change(audit, CHECKPOINTS_PREFIX, lambda record: record.update({field: value}))
        assert audit.kinds() == {Kind.BAD_SIGNATURE, Kind.ANCHOR_DIFFERS}
        audit.anchors = MemoryStore()
        assert audit.kinds() == {Kind.BAD_SIGNATURE, Kind.UNSIGNED_TAIL, Kind.UNANCHORED}

    @pytest.mark.parametrize("field", ["value", "context", "key_id"])
    def test_an_edited_signature_is_not_good(self, audit: Audit, field: str) -> None:
        value = {"value": "A" * 86 + "==", "context": "dataops/model-version/1", "key_id": "signer-x"}[field]
        self.change(audit, ANCHORS_PREFIX, lambda record: record["signature"].update({field: value}))
        kind = Kind.UNKNOWN_SIGNER if field == "key_id" else Kind.BAD_SIGNATURE
        assert audit.kinds() == {kind, Kind.ANCHOR_DIFFERS}

    @pytest.mark.parametrize(
        "data", [b"", b"{", b'{"format":"dataops/checkpoint/1"}', b'{"format":"dataops/checkpoint/9"}'], ids=repr
    )
    def test_one_that_is_none_is_altered(self, audit: Audit, data: bytes) -> None:
        audit.store.delete(checkpoint_key(RECORDS))
        audit.store.put_if_absent(checkpoint_key(RECORDS), data)
        assert audit.kinds() == {Kind.ALTERED, Kind.ANCHOR_DIFFERS}

    @pytest.mark.parametrize("change", [lambda data: data + b" ", lambda data: b'{"count":1,' + data[1:]])
    def test_one_of_other_bytes_with_a_good_signature_is_altered(self, audit: Audit, change: Any) -> None:
        data = change(audit.store.get(checkpoint_key(RECORDS)))
        for store, prefix in ((audit.store, CHECKPOINTS_PREFIX), (audit.anchors, ANCHORS_PREFIX)):
            store.delete(checkpoint_key(RECORDS, prefix))
            store.put_if_absent(checkpoint_key(RECORDS, prefix), data)
        assert audit.kinds() == {Kind.ALTERED, Kind.UNSIGNED_TAIL}

    def test_one_under_the_name_of_another_is_altered(self, make: Maker) -> None:
        audit = make(20, 50)
        audit.store.put_if_absent(checkpoint_key(30), audit.store.get(checkpoint_key(20)))
        assert audit.kinds() == {Kind.ALTERED, Kind.UNANCHORED}

    def test_one_that_only_its_anchor_is_left_of_is_missing(self, make: Maker) -> None:
        audit = make(20, 50)
        audit.store.delete(checkpoint_key(20))
        (finding,) = audit.verify()
        assert (finding.kind, finding.number) == (Kind.MISSING, 20)

    def test_one_without_an_anchor_is_a_warning(self, make: Maker) -> None:
        audit = make(20, 50)
        audit.anchors.delete(checkpoint_key(20, ANCHORS_PREFIX))
        (finding,) = audit.verify()
        assert finding.is_warning
        assert finding.kind is Kind.UNANCHORED

    def test_anchors_that_can_not_be_read_are_a_warning(self, audit: Audit) -> None:
        signed = read_signed(audit.store, None, audit.signers)
        (finding,) = verify_audit(Journal(audit.store, "audit", "audit"), signed)
        assert finding.kind is Kind.UNANCHORED

    def test_a_signer_that_is_not_listed_proves_nothing(self, audit: Audit) -> None:
        audit.signers = ()
        assert audit.kinds() == {Kind.UNKNOWN_SIGNER, Kind.UNSIGNED_TAIL}

    @pytest.mark.parametrize(
        ("term", "kind"),
        [
            ({"revoked": NOON}, Kind.REVOKED_SIGNER),
            ({"until": NOON}, Kind.OUT_OF_TERM),
            ({"start": NOON + timedelta(days=1)}, Kind.OUT_OF_TERM),
            ({"until": NOON + timedelta(days=1), "revoked": NOON + timedelta(days=1)}, None),
        ],
    )
    def test_a_signer_counts_within_its_term(self, audit: Audit, term: dict[str, datetime], kind: Kind | None) -> None:
        (signer,) = audit.signers
        fields = {name: getattr(signer, name) for name in signer.__slots__}
        audit.signers = (Signer(**{**fields, **term}),)
        assert audit.kinds() == ({kind, Kind.UNSIGNED_TAIL} if kind else set())

    def test_one_that_somebody_with_a_key_signed_anew_differs_from_its_anchor(
        self, audit: Audit, make: Maker, tmp_path: Path
    ) -> None:
        thief = create_signing_key(tmp_path / "keys", at=NOON, secret=b"t" * 32, owner="eve")
        audit.signers = (*audit.signers, thief)
        audit.rewrite(30)
        audit.store.delete(checkpoint_key(RECORDS))
        journal = Journal(audit.store, "audit", "audit")
        key = SigningKey(folder=tmp_path / "keys", key_id=thief.id)
        write_checkpoint(journal, audit.store, None, key=key, signers=audit.signers, at=NOON)
        assert audit.kinds() == {Kind.ANCHOR_DIFFERS, Kind.FORKED}
