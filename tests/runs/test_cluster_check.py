"""Whether a TLS server talks to clients without a certificate: it is told apart from one that doesn't."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dataops.engine.certs import Certificates, new_certificates, security, write_certificates
from dataops.records import now_utc
from dataops.runs.cluster_check import is_open


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[str]:
    """The address of a server that greets one client."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            with suppress(OSError):
                plain, _ = listening.accept()
                with plain, context.wrap_socket(plain, server_side=True) as wrapped:
                    wrapped.sendall(b"hello")

        thread = threading.Thread(target=greet)
        thread.start()
        yield f"tls://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


@pytest.fixture(scope="module")
def certs() -> Certificates:
    return new_certificates(at=now_utc())


def test_a_cluster_turns_away_who_has_no_certificate(certs: Certificates) -> None:
    with serving(security(certs).get_listen_args("scheduler")["ssl_context"]) as address:
        assert not is_open(address)


def test_a_server_that_asks_for_none_is_found_out(certs: Certificates, tmp_path: Path) -> None:
    write_certificates(tmp_path / "certs", certs)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certs" / "scheduler.pem", tmp_path / "certs" / "scheduler.key")
    with serving(context) as address:
        assert is_open(address)


def test_nobody_there_is_not_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"tls://127.0.0.1:{listening.getsockname()[1]}"
    assert not is_open(address)
