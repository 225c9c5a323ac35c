from __future__ import annotations

import hashlib
import hmac
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import AlreadyExists, Conflict, DataopsError, Integrity, InvalidInput, NotFound
from dataops.governance.keys import create_key, current_key_id, derive_key, read_secret

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECRET = bytes(range(1, 33))
OTHER = bytes(range(101, 133))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_a_key_is_read_back_by_its_id(folder: Path) -> None:
    key_id = create_key(folder, at=NOON, secret=SECRET)
    assert current_key_id(folder) == key_id
    assert read_secret(folder, key_id) == SECRET


def test_only_the_owner_may_open_a_new_key(folder: Path) -> None:
    key_id = create_key(folder, at=NOON, secret=SECRET)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / f"{key_id}.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [f"{key_id}.json"]


def test_rotation_makes_the_later_key_current_and_keeps_the_earlier(folder: Path) -> None:
    first = create_key(folder, at=NOON, secret=SECRET)
    second = create_key(folder, at=NOON + timedelta(seconds=1), secret=OTHER)
    assert current_key_id(folder) == second
    assert read_secret(folder, first) == SECRET
    assert read_secret(folder, second) == OTHER


def test_the_same_key_is_not_made_twice(folder: Path) -> None:
    key_id = create_key(folder, at=NOON, secret=SECRET)
    before = (folder / f"{key_id}.json").read_bytes()
    with pytest.raises(AlreadyExists):
        create_key(folder, at=NOON, secret=SECRET)
    assert (folder / f"{key_id}.json").read_bytes() == before
    assert len(list(folder.iterdir())) == 1


def test_a_clock_that_went_back_makes_no_key(folder: Path) -> None:
    create_key(folder, at=NOON, secret=SECRET)
    with pytest.raises(Conflict, match="clock"):
        create_key(folder, at=NOON - timedelta(days=1), secret=OTHER)
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("secret", [b"", b"short", bytes(range(31)), bytes(32)])
def test_an_empty_short_or_zero_secret_makes_no_key(folder: Path, secret: bytes) -> None:
    with pytest.raises(InvalidInput, match="random bytes"):
        create_key(folder, at=NOON, secret=secret)
    assert not folder.exists()


def test_a_time_without_a_zone_makes_no_key(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="zone"):
        create_key(folder, at=datetime(2026, 1, 1), secret=SECRET)  # noqa: DTZ001 - the fault under test
    assert not folder.exists()


def test_without_a_folder_or_a_key_the_way_out_is_named(folder: Path) -> None:
    with pytest.raises(NotFound, match="keys init"):
        current_key_id(folder)
    folder.mkdir(mode=0o700)
    with pytest.raises(NotFound, match="keys init"):
        current_key_id(folder)
    with pytest.raises(NotFound, match="keys init"):
        read_secret(folder, "key-20260131t120000000000z-0123456789ab")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_may_read_is_refused(folder: Path, mode: int) -> None:
    key_id = create_key(folder, at=NOON, secret=SECRET)
    (folder / f"{key_id}.json").chmod(mode)
    with pytest.raises(InvalidInput, match="chmod 600"):
        read_secret(folder, key_id)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_may_enter_is_refused(folder: Path, mode: int) -> None:
    key_id = create_key(folder, at=NOON, secret=SECRET)
    folder.chmod(mode)
    with pytest.raises(InvalidInput, match="chmod 700"):
        read_secret(folder, key_id)
    with pytest.raises(InvalidInput, match="chmod 700"):
        current_key_id(folder)
    with pytest.raises(InvalidInput, match="chmod 700"):
        create_key(folder, at=NOON + timedelta(days=1), secret=OTHER)
    assert len(list(folder.iterdir())) == 1


def test_a_swapped_key_file_is_found(folder: Path) -> None:
    first = create_key(folder, at=NOON, secret=SECRET)
    second = create_key(folder, at=NOON + timedelta(seconds=1), secret=OTHER)
    (folder / f"{first}.json").write_bytes((folder / f"{second}.json").read_bytes())
    with pytest.raises(Integrity, match="does not hold the secret"):
        read_secret(folder, first)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"not json",
        b'{"format":"dataops/key/1","secret":""}',
        b'{"format":"dataops/key/1","secret":"zz"}',
        b"\xff",
    ],
)
def test_a_broken_key_file_is_refused(folder: Path, content: bytes) -> None:
    key_id = create_key(folder, at=NOON, secret=SECRET)
    (folder / f"{key_id}.json").write_bytes(content)
    with pytest.raises(Integrity, match="no usable secret"):
        read_secret(folder, key_id)


@pytest.mark.parametrize("key_id", ["", "../../etc/passwd", "key-1", "key-20260131t120000000000z-0123456789ab/../x"])
def test_what_is_no_key_id_reaches_no_path(folder: Path, key_id: str) -> None:
    create_key(folder, at=NOON, secret=SECRET)
    with pytest.raises(InvalidInput, match="not a key id"):
        read_secret(folder, key_id)


def test_no_error_holds_the_secret(folder: Path) -> None:
    key_id = create_key(folder, at=NOON, secret=SECRET)
    file = folder / f"{key_id}.json"
    stored = file.read_bytes()
    for content, mode in [
        (stored + b"x", 0o600),
        (stored[:-9], 0o600),
        (stored.replace(b"/1", b"/9"), 0o600),
        (stored, 0o644),
    ]:
        file.write_bytes(content)
        file.chmod(mode)
        with pytest.raises(DataopsError) as caught:
            read_secret(folder, key_id)
        told = "".join(traceback.format_exception(caught.value)).encode() + pickle.dumps(caught.value)
        assert SECRET.hex().encode()[:16] not in told
        assert SECRET[:8] not in told


def test_the_key_id_says_nothing_about_the_secret(folder: Path) -> None:
    assert SECRET.hex()[:8] not in create_key(folder, at=NOON, secret=SECRET)


def test_a_derived_key_is_rfc_5869_expand() -> None:
    # One block: T(1) = HMAC(secret, info || 0x01), with the documented info written out
    info = b"dataops/pseudonym/1" + b"\x00\x00\x00\x06person" + b"\x00\x00\x00\x05train"
    assert (
        derive_key(SECRET, domain="person", purpose="train")
        == hmac.new(SECRET, info + b"\x01", hashlib.sha256).digest()
    )


names = st.text(min_size=1, max_size=8)


@settings(max_examples=50)
@given(first=st.tuples(names, names), second=st.tuples(names, names))
def test_every_domain_and_purpose_has_a_key_of_its_own(first: tuple[str, str], second: tuple[str, str]) -> None:
    keys = [derive_key(SECRET, domain=domain, purpose=purpose) for domain, purpose in (first, second)]
    assert (keys[0] == keys[1]) == (first == second)
    assert all(len(key) == 32 and key != SECRET for key in keys)


@pytest.mark.parametrize(
    ("secret", "domain", "purpose"), [(b"", "person", "train"), (SECRET, "", "train"), (SECRET, "person", "")]
)
def test_nothing_is_derived_from_an_empty_part(secret: bytes, domain: str, purpose: str) -> None:
    with pytest.raises(InvalidInput):
        derive_key(secret, domain=domain, purpose=purpose)
