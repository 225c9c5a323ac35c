"""``signers.yaml``: whom a workspace trusts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataops.declarations.signers import SIGNERS_FILE, add_signer, parse_moment, read_signers
from dataops.errors import InvalidInput
from dataops.governance.signing import Signer, create_signing_key, encode_key

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def make(tmp_path: Path, number: int, owner: str = "ana") -> Signer:
    at = NOON + timedelta(seconds=number)
    return create_signing_key(tmp_path / "keys", at=at, secret=bytes([number + 1] * 32), owner=owner)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return make(tmp_path, 0)


def written(signer: Signer, **changed: str) -> str:
    fields = {"id": signer.id, "public_key": encode_key(signer.public_key), "owner": "ana", "from": "2026-01-31"}
    return "signers:\n  - {" + ", ".join(f"{key}: {value}" for key, value in {**fields, **changed}.items()) + "}\n"


def test_without_a_file_nobody_is_trusted(tmp_path: Path) -> None:
    assert read_signers(tmp_path) == ()


@pytest.mark.parametrize("owner", ["ana", "no", "007", "DOMAIN\\ana b", "a: {b}", "null", "#x", "ü@example"])
def test_added_signers_are_read_back_in_order(tmp_path: Path, owner: str) -> None:
    signers = tuple(make(tmp_path, number, owner) for number in range(3))
    for one in signers:
        add_signer(tmp_path, one)
    assert read_signers(tmp_path) == signers


def test_what_people_wrote_stays(tmp_path: Path, signer: Signer) -> None:
    text = "# ours\nsigners:\n  # the first\n" + written(signer).removeprefix("signers:\n").rstrip("\n")
    (tmp_path / SIGNERS_FILE).write_text(text)
    add_signer(tmp_path, make(tmp_path, 1))
    assert (tmp_path / SIGNERS_FILE).read_text().startswith(text + "\n")
    assert len(read_signers(tmp_path)) == 2


@pytest.mark.parametrize("text", ["signers: []\n", "signers:\n  - {id: x}\n", "other: 1\n", "[1]\n", "signers: {\n"])
def test_where_a_line_would_not_be_the_next_signer_nothing_is_written(
    tmp_path: Path, signer: Signer, text: str
) -> None:
    (tmp_path / SIGNERS_FILE).write_text(text)
    with pytest.raises(InvalidInput):
        add_signer(tmp_path, signer)
    assert (tmp_path / SIGNERS_FILE).read_text() == text


def test_the_message_has_the_line_to_add(tmp_path: Path, signer: Signer) -> None:
    (tmp_path / SIGNERS_FILE).write_text("signers: []\n")
    with pytest.raises(InvalidInput, match=signer.id):
        add_signer(tmp_path, signer)


def test_an_end_and_a_revocation_are_read(tmp_path: Path, signer: Signer) -> None:
    text = written(signer, until="2027-01-31", revoked="2026-06-30T14:00:00+02:00")
    (tmp_path / SIGNERS_FILE).write_text(text)
    expected = replace(
        signer,
        start=datetime(2026, 1, 31, tzinfo=UTC),
        until=datetime(2027, 1, 31, tzinfo=UTC),
        revoked=datetime(2026, 6, 30, 12, tzinfo=UTC),
    )
    assert read_signers(tmp_path) == (expected,)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"id": "signer-1"}, "not the id of a signing key"),
        ({"public_key": "AAAA"}, "base64 of 32 bytes"),
        ({"public_key": '"' + "A" * 43 + '="'}, "is not the public key of"),
        ({"from": "yesterday"}, "expected a date"),
        ({"from": '"2026-01-31T12:00:00"'}, "with its zone"),
        ({"untill": "2027-01-31"}, "until"),
        ({"owner": '""'}, "empty"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line(
    tmp_path: Path, signer: Signer, changed: dict[str, str], says: str
) -> None:
    (tmp_path / SIGNERS_FILE).write_text(written(signer, **changed))
    with pytest.raises(InvalidInput, match=f"signers.yaml:2: .*{says}"):
        read_signers(tmp_path)


def test_a_key_stands_there_once(tmp_path: Path, signer: Signer) -> None:
    text = written(signer)
    (tmp_path / SIGNERS_FILE).write_text(text + text.removeprefix("signers:\n"))
    with pytest.raises(InvalidInput, match="listed twice"):
        read_signers(tmp_path)


def test_a_moment_is_a_day_or_a_time_with_a_zone() -> None:
    assert parse_moment("2026-01-31") == datetime(2026, 1, 31, tzinfo=UTC)
    assert parse_moment("2026-01-31", end_of_day=True) == datetime(2026, 2, 1, tzinfo=UTC)
    assert parse_moment("2026-01-31T12:00:00Z", end_of_day=True) == NOON
    for bad in ("", "31.1.2026", "2026-01-31T12:00", "2026-13-01", "20260131"):
        with pytest.raises(InvalidInput):
            parse_moment(bad)
