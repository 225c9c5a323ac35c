"""Scores over HTTP by the champion of a registry: a promotion or a rollback reaches it without a restart.

``python app.py /models income --signers signers.yaml`` serves on http://127.0.0.1:8000:

- ``POST /score`` with rows as JSON, ``[{"age": 40, "job": "clerk"}, ...]``: their probabilities, and which version gave
  them. A row that lacks a column is answered with 400 and what is missing.
- ``GET /signature``: the columns that the model reads.
- ``GET /health``: which version serves, since when, how long ago it last looked for a newer one, and of what kind the
  error is that keeps that one from serving. What it says, which may name paths, is in the application's heartbeat.

The application is a plain WSGI callable: any server takes it (``gunicorn 'app:application_from_environment()'``).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from dataops.errors import InvalidInput
from dataops.runtime import UNSIGNED, Handle, load

MAX_BYTES = 1 << 20

Environment = Mapping[str, Any]
Answer = tuple[HTTPStatus, Any]


def make_application(model: Handle) -> Callable[..., Iterable[bytes]]:
    """The WSGI application that answers with `model`."""

    def application(environment: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = (environment["REQUEST_METHOD"], environment.get("PATH_INFO", "/"))
        status, body = ROUTES.get(asked, not_found)(model, environment)
        data = json.dumps(body).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [data]

    return application


def score(model: Handle, environment: Environment) -> Answer:
    given = environment.get("CONTENT_LENGTH") or "0"
    if not (
        given.isascii() and given.isdigit() and len(given) < 20
    ):  # -1 would be read to the end, whenever that comes
        return HTTPStatus.BAD_REQUEST, {"error": "expected a Content-Length: how many bytes of rows there are"}
    size = int(given)
    if size > MAX_BYTES:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"at most {MAX_BYTES} bytes of rows at once"}
    try:
        rows = json.loads(environment["wsgi.input"].read(size))
        serving = model.serving  # one version for the answer and for what it says of itself
        probabilities = serving.predict(rows)
    except InvalidInput as error:
        return HTTPStatus.BAD_REQUEST, {"error": str(error)}
    except (ValueError, RecursionError):
        return HTTPStatus.BAD_REQUEST, {"error": "expected rows as JSON: a list of objects"}
    known = [None if one != one else one for one in probabilities.tolist()]  # noqa: PLR0124 - JSON has no NaN
    return HTTPStatus.OK, {"version": serving.version.reference, "probabilities": known}


def health(model: Handle, _environment: Environment) -> Answer:
    serving, error = model.serving, model.last_error
    return HTTPStatus.OK, {
        "version": serving.version.reference,
        "generation": serving.move.generation,
        "since": serving.since.isoformat(),
        "looked_seconds_ago": round((datetime.now(UTC) - model.looked_at).total_seconds(), 1),  # grows where it hangs
        "error": None if error is None else type(error).__name__,
    }


def signature(model: Handle, _environment: Environment) -> Answer:
    return HTTPStatus.OK, model.explain_signature()


def not_found(_model: Handle, _environment: Environment) -> Answer:
    return HTTPStatus.NOT_FOUND, {"error": "there are POST /score, GET /signature and GET /health"}


ROUTES: Mapping[tuple[str, str], Callable[[Handle, Environment], Answer]] = {
    ("POST", "/score"): score,
    ("GET", "/signature"): signature,
    ("GET", "/health"): health,
}


def application_from_environment() -> Callable[..., Iterable[bytes]]:
    """The application for a server that imports it, by ``MODELS``, ``MODEL``, ``SIGNERS`` and ``STATE``."""
    given = os.environ
    return make_application(
        load(given["MODELS"], given["MODEL"], trust=given["SIGNERS"], state=given.get("STATE"), app="example")
    )


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128


class Quiet(WSGIRequestHandler):
    """Writes no line for each request."""

    def log_message(self, *_: object) -> None:
        pass


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Scores over HTTP by the champion of a registry.")
    parser.add_argument("registry", help="the registry's folder")
    parser.add_argument("model", help="the model's name")
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--signers", dest="trust", help="a signers.yaml: whose signatures this application trusts")
    whom.add_argument("--unsigned", dest="trust", action="store_const", const=UNSIGNED, help="take what nobody signed")
    parser.add_argument("--state", help="a folder to remember in which generations were seen")
    parser.add_argument("--every", type=float, default=30.0, help="seconds from one look for a new version to the next")
    parser.add_argument("--app", default="example", help="the name in its heartbeats")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args(arguments)
    with (
        load(
            given.registry, given.model, trust=given.trust, every=given.every, state=given.state, app=given.app
        ) as model,
        make_server("127.0.0.1", given.port, make_application(model), Server, Quiet) as server,
    ):
        print(f"{model.version.reference} on http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
