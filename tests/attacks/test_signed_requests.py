"""Somebody who may write into an inbox on S3, where no file has an owner, tries to be somebody else with it, or to fill
it up. Nothing of it runs, nothing is written about it, and what is honest is taken all the same.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataops.declarations.catalog import read_principals
from dataops.errors import AccessDenied, AlreadyExists, DataopsError, InvalidInput
from dataops.governance.checkpoints import CONTEXT as CHECKPOINT_CONTEXT
from dataops.governance.signing import Signature, Signer, SigningKey, create_signing_key, encode_key
from dataops.records import canonical_bytes, encode_record
from dataops.scheduling.inbox import CARRIER
from dataops.scheduling.intake import Intake, Looked
from dataops.scheduling.lying import LOOKED_AT, UNTOLD_STAYS
from dataops.scheduling.requests import Request, Stop, new_stop_key
from dataops.scheduling.signed import (
    BY,
    CLOCKS_DIFFER,
    GOOD_FOR,
    NAME_CONTEXT,
    REQUEST_CONTEXT,
    STOP,
    Signing,
    find_identity,
    give_identity,
    name_bytes,
    read_name,
    signing_place,
)
from dataops.scheduling.submissions import SubmissionState
from dataops.storage.journal import Journal
from dataops.storage.objects import MemoryStore, Named

MADE = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ID, OTHER = "income-20260131t120000-s1a2b3c", "income-20260131t120000-s00000b"
TEXT = "name: income\njob: prepare\ninput: people\noutput: income\n"


class Bucket(MemoryStore):
    """Records without owners, as on S3; what lies there says when it was put."""

    tells_writers = False

    def __init__(self, name: str | None = None, *, url: str = "s3://bucket/inbox", put_at: datetime = NOW) -> None:
        super().__init__(name)
        self.url, self.put_at, self.read = url, put_at, list[str]()

    def get(self, key: str) -> bytes:
        self.read.append(key)
        return super().get(key)

    def get_owned(self, key: str, max_bytes: int):
        raise AccessDenied(f"{self.url} doesn't tell who wrote {key}")

    def names_owned(self, start: str = "") -> list[Named]:
        return [Named(key=key, changed_at=self.put_at) for key in self.names() if key.startswith(start)]


class Far:
    """A bucket with an inbox; `ana` and `mallory` are users with keys, `stranger` has a key that nobody lists."""

    def __init__(self, folder: Path, url: str = "s3://bucket/inbox") -> None:
        self.requests, self.store, self.now = Bucket(url=url), MemoryStore(), NOW
        self.keys: dict[str, SigningKey] = {}
        self.signers: dict[str, Signer] = {}
        for number, who in enumerate(("ana", "mallory", "stranger", "ops"), 1):
            self.give_key(folder, who, number)
        self.place = signing_place(give_identity(self.store), self.requests.place())

    def give_key(self, folder: Path, who: str, number: int) -> None:
        made = create_signing_key(folder / who, at=MADE, secret=bytes([number]) * 32, owner=who)
        self.keys[who], self.signers[who] = SigningKey(key_id=made.id, folder=folder / who), made

    def signing(self, who: str | None = None, **changed: object) -> Signing:
        listed = tuple(signer for name, signer in self.signers.items() if name != "stranger")
        plain = Signing(place=self.place, signers=listed, key=self.keys.get(who or ""), user=who)
        return replace(plain, **changed)  # type: ignore[arg-type]

    def intake(self, who: str | None = None, **changed: object) -> Intake:
        """As the script sees it, or as who submits."""
        return Intake(
            self.requests,
            self.store,
            account="ops",
            carriers=["ops"],
            signing=self.signing(who, **changed),
            clock=lambda: self.now,
        )

    def request(self, **changed: object) -> Request:
        plain = Request(
            id=ID,
            inbox=str(self.place),
            job="income",
            text=TEXT,
            source="jobs/income.yaml",
            cluster=None,
            again=False,
            principal="ana",
            submitted_at=NOW,
        )
        return replace(plain, **changed)  # type: ignore[arg-type]

    def look(self) -> Looked:
        return self.intake().look(script="s1", now=self.now)

    def put(self, data: bytes, by: str | None = "ana", key_id: str = ID) -> None:
        """Bytes under a request's name, and beside it a name that `by` signed."""
        self.requests.put_if_absent(f"{key_id}.json", data)
        if by is not None:
            self.requests.put_if_absent(self.signing(by).signed_name(key_id, BY), name_bytes())

    def refused(self, key_id: str = ID) -> str:
        """Why it was ended at the first look; nothing of it can be taken."""
        looked = self.look()
        assert looked.waiting == ()
        (ended,) = looked.ended
        assert (ended.id, ended.state) == (key_id, SubmissionState.FAILED)
        assert ended.error is not None
        assert ended.error["family"] == "AccessDenied"
        assert self.intake().take(key_id, script="s1", now=NOW) is None
        with pytest.raises(DataopsError):
            self.intake().to_carry_out(key_id)
        return ended.error["message"]


@pytest.fixture
def far(tmp_path: Path) -> Far:
    return Far(tmp_path)


def forged(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


# Whose request it is


def test_the_control_a_signed_request_is_its_signer_s_to_the_end(far: Far) -> None:
    far.intake("ana").submit(far.request())
    (waiting,) = far.look().waiting
    assert (waiting.key, waiting.user, waiting.since) == (ID, "ana", NOW)
    taken = far.intake().take(ID, script="s1", now=NOW)
    assert taken is not None
    assert taken.principal == "ana"
    asked = far.intake().to_carry_out(ID)
    assert (asked.principal, asked.signature and asked.signature.key_id) == ("ana", far.keys["ana"].key_id)
    (entry,) = Journal(far.store, f"submissions/{ID}", "submission").entries()
    assert Signature.from_record(entry.body["signature"]) == asked.signature
    far.intake().ended(ID, script="s1", now=NOW, exit_code=0)
    assert far.requests.names() == []
    assert far.intake().state(ID).state is SubmissionState.DONE


def test_signed_by_one_and_naming_another(far: Far) -> None:
    far.put(far.signing("mallory").signed_request(far.request()), by="mallory")
    assert "signed by one user and names another" in far.refused()
    with pytest.raises(AccessDenied, match="signed by one user and names another"):
        far.intake("mallory").submit(far.request(id=OTHER))
    assert far.requests.names() == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"again":false', b'"again":true'),
        (b"output: income", b"output: secret"),
        (b'"principal":"ana"', b'"principal":"ops"'),
        (b'"source":"jobs/income.yaml"', b'"source":"jobs/outcome.yaml"'),
        (b'"cluster":null', b'"cluster":"large.yaml"'),
        (b"2026-01-31T12:00:00.000000Z", b"2026-01-31T12:00:01.000000Z"),
    ],
)
def test_a_request_that_was_changed_after_it_was_signed(far: Far, old: bytes, new: bytes) -> None:
    far.put(forged(far.signing("ana").signed_request(far.request()), old, new))
    assert "isn't one of its key over this request" in far.refused()


def test_a_signature_of_a_key_that_nobody_lists_or_under_another_s_id(far: Far) -> None:
    stranger = far.signing("stranger").signed_request(far.request())
    far.put(stranger)
    assert "signed by a key that principals.yaml doesn't list" in far.refused()
    hers, theirs = (far.keys[who].key_id.encode() for who in ("ana", "stranger"))
    far.put(forged(far.signing("stranger").signed_request(far.request(id=OTHER)), theirs, hers), key_id=OTHER)
    assert "isn't one of its key over this request" in far.refused(OTHER)


@pytest.mark.parametrize("context", [CHECKPOINT_CONTEXT, NAME_CONTEXT, "dataops/model-version/1", "x"])
@pytest.mark.parametrize("says", [True, False])
def test_a_signature_for_another_purpose(far: Far, context: str, says: bool) -> None:
    """The very bytes, signed by her very key, but as something else; whether it admits to that or not."""
    request = far.request()
    signature = far.keys["ana"].sign(request.to_bytes(), context)
    if not says:
        signature = replace(signature, context=REQUEST_CONTEXT)
    body = {"request": request.record(), "signature": signature.record()}
    far.put(encode_record("submission-signed", 1, body))
    assert "isn't one of its key over this request" in far.refused()


def test_a_signature_over_a_request_is_none_over_a_name_nor_over_anything_else(far: Far) -> None:
    said = canonical_bytes({"id": ID, "inbox": far.place, "what": BY})
    wrong = far.keys["ana"].sign(said, REQUEST_CONTEXT)
    value = base64.urlsafe_b64encode(wrong.value).decode().rstrip("=")
    check = wrong.key_id.rpartition("-")[2]
    name = read_name(f"{ID}.{BY}.{check}.{value}.json")
    assert name is not None
    assert far.signing().writer_of_name(name, NOW) is None
    by = read_name(far.signing("ana").signed_name(ID, BY))
    assert by is not None
    assert far.signing().writer_of_name(by, NOW) == "ana"
    assert far.signing().writer_of_name(replace(by, what=STOP), NOW) is None
    assert far.signing().writer_of_name(replace(by, id=OTHER), NOW) is None


@pytest.mark.parametrize("cut", [1, 70, 300, 600])
def test_a_request_that_was_cut(far: Far, cut: int) -> None:
    far.put(far.signing("ana").signed_request(far.request())[:-cut])
    looked = far.look()
    assert ([one.state for one in looked.ended], looked.waiting) == ([SubmissionState.FAILED], ())


def test_without_its_signature_or_with_one_that_is_cut(far: Far) -> None:
    far.put(far.request().to_bytes())
    assert "doesn't tell who wrote" in far.refused()
    data = far.signing("ana").signed_request(far.request(id=OTHER))
    far.put(data.replace(data[-40:-5], b""), key_id=OTHER)
    assert [one.error and one.error["family"] for one in far.look().ended] == ["Format"]


# Brought back, or brought here


def test_a_request_under_another_id(far: Far) -> None:
    far.put(far.signing("ana").signed_request(far.request()), key_id=OTHER)
    assert "was signed under another id" in far.refused(OTHER)


def test_one_that_ended_is_not_run_again_whoever_puts_it_back(far: Far) -> None:
    far.intake("ana").submit(far.request())
    kept = {key: far.requests.get(key) for key in far.requests.names()}
    far.intake().take(ID, script="s1", now=NOW)
    far.intake().ended(ID, script="s1", now=NOW, exit_code=0)
    for key, data in kept.items():
        far.requests.put_if_absent(key, data)
    looked = far.look()
    assert (looked.waiting, looked.held, looked.ended) == ((), (), ())
    assert far.requests.names() == []
    assert far.intake().take(ID, script="s2", now=NOW) is None
    assert far.intake().state(ID).state is SubmissionState.DONE


def test_one_that_is_running_is_not_taken_again_and_an_exchange_is_seen(far: Far) -> None:
    far.intake("ana").submit(far.request())
    far.intake().take(ID, script="s1", now=NOW)
    assert far.intake().take(ID, script="s2", now=NOW) is None
    far.requests.delete(f"{ID}.json")
    far.put(far.signing("ana").signed_request(far.request(again=True)))
    with pytest.raises(AccessDenied, match="not the one that was taken"):
        far.intake().to_carry_out(ID)


@pytest.mark.parametrize("url", ["s3://bucket/inbox", "s3://another/inbox"])
def test_a_request_for_another_workspace(tmp_path: Path, url: str) -> None:
    """She asked for the same in a playground, whose bucket may be called the same at another server."""
    here, playground = Far(tmp_path / "here"), Far(tmp_path / "playground", url)
    assert here.keys["ana"].key_id == playground.keys["ana"].key_id
    playground.intake("ana").submit(playground.request())
    kept = {key: playground.requests.get(key) for key in playground.requests.names()}
    for key, data in kept.items():
        here.requests.put_if_absent(key, data)
    assert (here.look().waiting, here.look().untold) == ((), 2)  # the signed name says it already
    here.put(kept[f"{ID}.json"])  # by a name that she signed for this one
    assert "was signed for another workspace's inbox" in here.refused()


def test_a_storage_that_was_copied_is_another_one(far: Far, tmp_path: Path) -> None:
    copy = Far(tmp_path / "copy", "s3://copy/inbox")
    copy.store = MemoryStore()
    for key in far.store.list(""):
        copy.store.put_if_absent(key, far.store.get(key))
    assert find_identity(copy.store) == find_identity(far.store)
    copy.place = signing_place(find_identity(copy.store), copy.requests.place())
    copy.put(far.signing("ana").signed_request(far.request()))
    assert "was signed for another workspace's inbox" in copy.refused()


def test_who_names_the_storage_first_names_it_for_ever(far: Far) -> None:
    before = find_identity(far.store)
    assert give_identity(far.store) == before
    assert not far.store.put_if_absent("identity.json", encode_record("storage-identity", 1, {"id": "0" * 32}))


@pytest.mark.parametrize(
    ("signed_at", "why"),
    [
        (NOW - GOOD_FOR - timedelta(seconds=1), "was signed more than 7 days ago"),
        (NOW + CLOCKS_DIFFER + timedelta(seconds=1), "at a time that has not come yet"),
    ],
)
def test_a_request_of_another_time(far: Far, signed_at: datetime, why: str) -> None:
    far.put(far.signing("ana").signed_request(far.request(submitted_at=signed_at)))
    assert why in far.refused()


@pytest.mark.parametrize("signed_at", [NOW - GOOD_FOR, NOW + CLOCKS_DIFFER])
def test_the_control_of_times(far: Far, signed_at: datetime) -> None:
    far.put(far.signing("ana").signed_request(far.request(submitted_at=signed_at)))
    assert [one.user for one in far.look().waiting] == ["ana"]


def test_one_that_was_taken_in_time_is_carried_out_however_long_that_takes(far: Far) -> None:
    far.intake("ana").submit(far.request())
    far.intake().take(ID, script="s1", now=NOW)
    far.now = NOW + 2 * GOOD_FOR
    assert far.intake().to_carry_out(ID).principal == "ana"


# Keys that count no more


@pytest.mark.parametrize(
    "changed",
    [
        {"revoked": NOW - timedelta(days=1)},
        {"revoked": NOW},
        {"until": NOW},
    ],
    ids=str,
)
def test_a_key_that_was_revoked_or_has_ended_asks_for_nothing_also_not_for_earlier(
    far: Far, changed: dict[str, datetime]
) -> None:
    """Whoever has a lost key writes whatever time they like."""
    far.intake("ana").submit(far.request(submitted_at=NOW - timedelta(days=2)))
    far.signers["ana"] = replace(far.signers["ana"], **changed)
    looked = far.look()
    assert (looked.waiting, looked.ended, looked.untold) == ((), (), 2)
    error = far.intake().state(ID).error
    assert error is not None
    assert "principals.yaml" in error["message"]
    with pytest.raises(AccessDenied, match="by a key"):
        far.intake().take(ID, script="s1", now=NOW)
    with pytest.raises(AccessDenied, match="by a key"):
        far.intake("ana").submit(far.request(id=OTHER))
    assert f"{OTHER}.json" not in far.requests.names()
    assert far.store.list("submissions") == []


def test_a_key_that_is_revoked_after_it_was_taken(far: Far) -> None:
    far.intake("ana").submit(far.request())
    far.intake().take(ID, script="s1", now=NOW)
    far.signers["ana"] = replace(far.signers["ana"], revoked=NOW)
    with pytest.raises(AccessDenied, match="by a key that principals\\.yaml has revoked"):
        far.intake().to_carry_out(ID)
    assert far.intake().look(script="s1", now=NOW + 2 * UNTOLD_STAYS).held != ()
    assert f"{ID}.json" in far.requests.names()


def test_the_key_of_a_user_who_was_removed(far: Far) -> None:
    far.intake("ana").submit(far.request())
    del far.signers["ana"]
    looked = far.look()
    assert (looked.waiting, looked.ended, looked.untold) == ((), (), 2)
    with pytest.raises(AccessDenied, match="doesn't list"):
        far.intake().take(ID, script="s1", now=NOW)


def test_a_request_signed_before_its_key_was_made(far: Far) -> None:
    far.signers["ana"] = replace(far.signers["ana"], start=NOW + timedelta(minutes=1))
    far.put(far.signing("ana").signed_request(far.request()))
    assert "outside of the time" in far.refused()


# Floods


def test_what_nobody_can_be_told_of_is_not_read_fills_nothing_and_is_gone_after_an_hour(far: Far) -> None:
    for number in range(3 * LOOKED_AT):
        junk = f"income-20250101t000000-s{number:06x}"
        far.requests.put_if_absent(f"{junk}.json", far.request(id=junk, principal="ana").to_bytes())
        value = base64.urlsafe_b64encode(bytes([number % 256]) * 64).decode().rstrip("=")
        check = far.keys["ana"].key_id.rpartition("-")[2]
        far.requests.put_if_absent(f"{junk}.{BY}.{check}.{value}.json", b"x")
    far.intake("ana").submit(far.request())
    far.requests.read.clear()
    looked = far.look()
    assert ([one.key for one in looked.waiting], looked.ended, looked.crowded) == ([ID], (), {})
    assert looked.untold == 6 * LOOKED_AT
    assert far.intake().ids() == far.intake().unfinished() == [ID]
    assert far.requests.read == [f"{ID}.json"]
    assert far.store.list("submissions") == []
    far.now = NOW + UNTOLD_STAYS
    before = len(far.requests.names())
    far.look()
    assert len(far.requests.names()) == before - LOOKED_AT
    assert f"{ID}.json" in far.requests.names()


def test_a_user_s_own_flood_keeps_no_other_waiting(far: Far) -> None:
    for number in range(LOOKED_AT + 5):
        mine = f"income-20250101t000000-s{number:06x}"
        far.put(far.signing("mallory").signed_request(far.request(id=mine, principal="mallory")), "mallory", mine)
    far.intake("ana").submit(far.request())
    looked = far.look()
    assert looked.crowded == {"mallory": 5}
    assert [one.key for one in looked.waiting if one.user == "ana"] == [ID]


def test_a_name_of_one_s_own_beside_another_s_request_changes_nothing(far: Far) -> None:
    far.intake("ana").submit(far.request())
    far.requests.put_if_absent(far.signing("mallory").signed_name(ID, BY), name_bytes())
    assert [(one.key, one.user) for one in far.look().waiting] == [(ID, "ana")]
    with pytest.raises(AlreadyExists):
        far.intake("mallory").submit(far.request(principal="mallory"))


def test_a_signature_has_one_spelling(far: Far) -> None:
    """The last of 86 characters holds two bits: fifteen others would say the same."""
    name = far.signing("ana").signed_name(ID, BY)
    stem = name.removesuffix(".json")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert [one for one in alphabet if read_name(f"{stem[:-1]}{one}.json") == read_name(name)] == [stem[-1]]


# Stops


def test_the_control_its_user_and_a_carrier_stop_it(far: Far) -> None:
    for here, who in ((ID, "ana"), (OTHER, "ops")):
        far.intake("ana").submit(far.request(id=here))
        far.intake(who).ask_to_stop(here, now=NOW)
        far.intake(who).ask_to_stop(here, now=NOW)  # the same again: a reply was lost
        assert far.intake().state(here).stop_asked_by == who
        assert [(one.id, one.state) for one in far.look().ended] == [(here, SubmissionState.CANCELLED)]
        assert far.requests.names() == []


def moved(far: Far) -> str:
    return far.signing("ana").signed_name(OTHER, STOP).replace(OTHER, ID)


NOBODY_S: dict[str, Callable[[Far], str]] = {
    "unsigned": lambda _: new_stop_key(ID),
    "of another user": lambda far: far.signing("mallory").signed_name(ID, STOP),
    "of a stranger": lambda far: far.signing("stranger").signed_name(ID, STOP),
    "of another submission": moved,
    "for another workspace": lambda far: far.signing("ana", place="another s3://bucket/inbox").signed_name(ID, STOP),
    "a name for a request": lambda far: far.signing("ana").signed_name(ID, BY).replace(".by.", ".stop."),
}


@pytest.mark.parametrize("how", NOBODY_S)
def test_nobody_else_s_stop_is_heeded(far: Far, how: str) -> None:
    far.intake("ana").submit(far.request())
    stop = Stop(id=ID, inbox=str(far.place), principal="ana", asked_at=NOW)
    far.requests.put_if_absent(NOBODY_S[how](far), stop.to_bytes())
    assert far.intake().stop_asked(ID) is None
    assert [one.key for one in far.look().waiting] == [ID]
    with pytest.raises(AccessDenied, match="is of 'ana', not of 'mallory'"):
        far.intake("mallory").ask_to_stop(ID, now=NOW)


# What principals.yaml says


def principals(far: Far, text: str) -> str:
    ana = far.signers["ana"]
    return text.format(id=ana.id, key=encode_key(ana.public_key), other=encode_key(far.signers["mallory"].public_key))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{id: {id}, public_key: {other}}}", "is not the public key of signer-"),
        ("{{id: signer-1, public_key: {key}}}", "not the id of a signing key"),
        ("{{id: {id}, public_key: abc}}", "expected a public key"),
        ("{{id: {id}, public_key: {key}, revoked: yesterday}}", "expected a date like"),
        ("{{id: {id}, public_key: {key}, secret: x}}", "unknown key"),
        ("{{id: {id}, public_key: {key}}}\n      - {{id: {id}, public_key: {key}}}", "is listed twice"),
    ],
)
def test_a_key_that_is_listed_wrongly_is_refused_with_its_line(far: Far, tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "principals.yaml"
    path.write_text(f"principals:\n  ana:\n    roles: [{CARRIER}]\n    keys:\n      - {principals(far, text)}\n")
    with pytest.raises(InvalidInput, match=why):
        read_principals(path)


def test_a_key_is_one_user_s(far: Far, tmp_path: Path) -> None:
    key = principals(far, "[{{id: {id}, public_key: {key}, until: 2027-01-01}}]")
    path = tmp_path / "principals.yaml"
    path.write_text(f"principals:\n  ana: {{roles: [], keys: {key}}}\n")
    (found,) = read_principals(path).submitters()
    assert found == replace(far.signers["ana"], until=datetime(2027, 1, 1, tzinfo=UTC))
    path.write_text(f"principals:\n  ana: {{roles: [], keys: {key}}}\n  bo: {{roles: [], keys: {key}}}\n")
    with pytest.raises(InvalidInput, match="is listed twice"):
        read_principals(path)
