"""Certificates of a cluster: one authority, whose key is gone; private files; what isn't right is refused."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataops.engine.certs import (
    DAYS,
    FILES,
    Certificates,
    expiry,
    new_certificates,
    read_certificates,
    security,
    write_certificates,
)
from dataops.errors import AlreadyExists, InvalidInput, NotFound

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def files() -> Certificates:
    return new_certificates(at=NOW)


def test_there_is_a_certificate_for_each_role_and_no_key_to_make_more(files: Certificates) -> None:
    assert set(files) == set(FILES)
    assert "ca.key" not in files
    assert {expiry(files[name]) for name in files if name.endswith(".pem")} == {NOW + timedelta(days=DAYS)}


def test_only_their_owner_can_open_them(files: Certificates, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    write_certificates(folder, files)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert read_certificates(folder, at=NOW) == dict(files)


def test_a_client_needs_its_own_and_no_others(files: Certificates, tmp_path: Path) -> None:
    write_certificates(tmp_path, {name: files[name] for name in ("ca.pem", "client.pem", "client.key")})
    found = read_certificates(tmp_path, at=NOW, roles=("client",))
    assert set(found) == {"ca.pem", "client.pem", "client.key"}
    with pytest.raises(NotFound, match=r"scheduler\.key: no such file"):
        read_certificates(tmp_path, at=NOW)


def test_nothing_is_overwritten(files: Certificates, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(AlreadyExists, match="isn't empty"):
        write_certificates(tmp_path, files)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
    with pytest.raises(AlreadyExists, match="is a file"):
        write_certificates(tmp_path / "note", files)


def test_a_key_that_others_may_read_is_refused(files: Certificates, tmp_path: Path) -> None:
    write_certificates(tmp_path, files)
    (tmp_path / "client.key").chmod(0o640)
    with pytest.raises(InvalidInput, match="others may read this key"):
        read_certificates(tmp_path, at=NOW)


def test_certificates_end(files: Certificates, tmp_path: Path) -> None:
    write_certificates(tmp_path, files)
    with pytest.raises(InvalidInput, match="ended on"):
        read_certificates(tmp_path, at=NOW + timedelta(days=DAYS, seconds=1))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(InvalidInput, match="expected a certificate"):
        read_certificates(tmp_path, at=NOW)


@pytest.mark.parametrize("days", [0, 826])
def test_they_last_for_a_day_to_two_years(days: int) -> None:
    with pytest.raises(InvalidInput, match="expected 1 to 825"):
        new_certificates(at=NOW, days=days)


def _greet(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """The version of TLS on which both sides agree."""
    ours, theirs = socket.socketpair()
    refused: list[ssl.SSLError] = []

    def answer() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as wrapped:
                wrapped.sendall(b"hello")
        except ssl.SSLError as error:
            refused.append(error)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with client.wrap_socket(ours) as wrapped:
            assert wrapped.recv(5) == b"hello"
            return str(wrapped.version())
    finally:
        thread.join()


def test_both_sides_show_a_certificate_and_speak_tls_13(files: Certificates) -> None:
    listening = security(files).get_listen_args("scheduler")["ssl_context"]
    connecting = security(files).get_connection_args("client")["ssl_context"]
    assert _greet(listening, connecting) == "TLSv1.3"


def test_a_client_of_another_authority_or_of_none_is_refused(files: Certificates) -> None:
    listening = security(files).get_listen_args("scheduler")["ssl_context"]
    stranger = security(new_certificates(at=NOW)).get_connection_args("client")["ssl_context"]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _greet(listening, stranger)
    bare = ssl.create_default_context(cadata=files["ca.pem"])
    bare.check_hostname = False
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _greet(listening, bare)


def test_an_older_tls_is_refused(files: Certificates) -> None:
    listening = security(files).get_listen_args("scheduler")["ssl_context"]
    connecting = security(files).get_connection_args("client")["ssl_context"]
    connecting.minimum_version = ssl.TLSVersion.TLSv1_2
    connecting.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _greet(listening, connecting)
