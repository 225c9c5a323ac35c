"""An S3 on this machine (moto), in a thread of the tests: it counts what it is asked, and fails on purpose."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

_SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"}
DONE = ("500 Internal Server Error", "InternalError")
Request = tuple[str, str]
"""Method and path of what was asked."""


class S3Server:
    """A moto server.

    Attributes
    ----------
    seen : what was asked, in order.
    upset : called with each request's WSGI environment; what it gives is answered instead: a status and a code
        (``"503 Slow Down", "SlowDown"``; `DONE` for what is done all the same), or ``"lost"`` for what is done with its
        reply lost; None: nothing is wrong.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Handler(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"  # keeps connections, as S3 does

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.seen: list[Request] = []
        self.upset: Callable[[dict[str, Any]], tuple[str, str] | str | None] = lambda _: None
        self._buckets = 0
        self._one_by_one = threading.Lock()  # moto looks whether something is there, and then puts
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def make_bucket(self) -> str:
        """The name of a new bucket."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        self.put_raw(name, b"")
        return name

    def put_raw(self, path: str, data: bytes) -> None:
        """An object as another program could put it."""
        connection = HTTPConnection(self.endpoint.removeprefix("http://"))
        connection.request("PUT", f"/{quote(path)}", body=data, headers=_SIGNED)
        assert connection.getresponse().status == 200
        connection.close()

    @contextmanager
    def upsetting(self, how: Callable[[dict[str, Any]], tuple[str, str] | str | None]) -> Iterator[None]:
        self.upset = how
        try:
            yield
        finally:
            self.upset = lambda _: None

    @contextmanager
    def counting(self) -> Iterator[list[Request]]:
        """What is asked within the block, once it has ended."""
        first, asked = len(self.seen), list[Request]()
        yield asked
        asked += self.seen[first:]

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.seen.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        fault = self.upset(environ)
        if fault in ("lost", DONE):
            with self._one_by_one:
                list(self._moto(environ, lambda *_: lambda _: None))
        if fault == "lost":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        if isinstance(fault, tuple):
            if fault != DONE:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(fault[0], [("Content-Type", "application/xml"), ("Connection", "close")])
            return [f"<Error><Code>{fault[1]}</Code><Message>AKIASECRET</Message></Error>".encode()]
        with self._one_by_one:
            return list(self._moto(environ, start))


def environment(endpoint: str, *, key: str = "anybody", secret: str = "anything") -> Any:
    """The variables of a process that uses the server at `endpoint`, and no other ``AWS_*`` variable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    wanted = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
    }
    return patch.dict(os.environ, {**kept, **wanted}, clear=True)
