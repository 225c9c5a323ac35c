"""Who is told that a slot failed: a command, a URL; whatever becomes of that, the script goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dataops.runs import workspace
from dataops.scheduling import alarms
from tests.scheduling.stage import HOUR, HOURLY, Stage, declare, failing, make_stage


def told(text: str) -> str:
    """The hourly schedule, with an owner and somebody who is told."""
    return HOURLY.replace("catch_up: all", f"catch_up: all\nowner: flights team\non_failure: {text}")


def failed(folder: Path, on_failure: str) -> Stage:
    """A stage on which a slot failed; a script that ends has raised its alarms by then."""
    stage = Stage(make_stage(folder / "w", told(on_failure)))
    stage.company.answers["scores"] = lambda _: failing("AccessDenied", "no role", 7)
    stage.once(later=HOUR)
    return stage


@pytest.fixture
def posted() -> Iterator[tuple[str, list[bytes], list[int]]]:
    """A URL, what was posted to it, and the answers that it gives, 200 without any."""
    bodies: list[bytes] = []
    answers: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(answers.pop() if answers else 200)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            bodies.append(b"a GET")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/secret", bodies, answers
    server.shutdown()
    server.server_close()


def test_a_command_gets_the_slot_as_json(tmp_path: Path) -> None:
    stage = failed(tmp_path, f"{{command: [sh, -c, 'cat > {tmp_path}/told']}}")
    facts = json.loads((tmp_path / "told").read_text())
    assert (facts["schedule"], facts["owner"], facts["slot"]) == ("hourly", "flights team", "20260301t010000z")
    assert facts["outcome"] == "failed"
    assert facts["reason"] == "step 1 (scores) failed: AccessDenied: no role"
    (step,) = facts["steps"]
    assert (step["step"], step["outcome"], step["error"]) == ("scores", "failed", "AccessDenied: no role")
    assert step["run"].startswith("scores-20260301t010000-")
    assert "on_failure: sh: told" in stage.said()


def test_a_webhook_is_posted_the_same(tmp_path: Path, posted: tuple[str, list[bytes], list[int]]) -> None:
    url, bodies, _ = posted
    stage = failed(tmp_path, f'{{webhook: "{url}"}}')
    (body,) = bodies
    assert json.loads(body)["slot"] == "20260301t010000z"
    assert "on_failure: the webhook: told, answered 200" in stage.said()


def test_what_goes_wrong_is_a_line_without_the_url(tmp_path: Path, posted: tuple[str, list[bytes], list[int]]) -> None:
    url, _, answers = posted
    answers.append(500)
    stage = failed(tmp_path, f'{{webhook: "{url}", command: [{tmp_path}/nothing]}}')
    assert "on_failure: the webhook: could not be told: HTTPError" in stage.said()
    assert "nothing: could not be started: No such file or directory" in stage.said()
    assert "secret" not in stage.said()
    assert stage.once().exit_code == 0


@pytest.mark.parametrize("answer", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(tmp_path: Path, posted: tuple[str, list[bytes], list[int]], answer: int) -> None:
    url, bodies, answers = posted
    answers.append(answer)
    stage = failed(tmp_path, f'{{webhook: "{url}"}}')
    (body,) = bodies
    assert json.loads(body)["slot"] == "20260301t010000z"
    assert f"on_failure: the webhook: could not be told: HTTPError {answer}, a redirect" in stage.said()


def test_whom_it_tells_is_in_no_record_and_read_from_today_s_file(
    tmp_path: Path, posted: tuple[str, list[bytes], list[int]]
) -> None:
    url, bodies, _ = posted
    stage = Stage(make_stage(tmp_path / "w", told('{webhook: "http://127.0.0.1:1/canary"}')))
    stage.company.answers["scores"] = lambda _: None
    stage.clock.at += HOUR
    with stage.script() as script:
        script._come_round()
        (process,) = stage.company.started
        declare(stage.folder, told(f'{{webhook: "{url}"}}'))
        process.result = failing("AccessDenied", "no role", 7)
        script._come_round()
    assert len(bodies) == 1
    assert not [key for key, data in stage.store._records.items() if b"canary" in data or url.encode() in data]


def test_that_nobody_could_be_told_is_said(tmp_path: Path) -> None:
    stage = Stage(make_stage(tmp_path / "w", told("{command: [touch, told]}")))
    stage.company.answers["scores"] = lambda _: None
    stage.clock.at += HOUR
    with stage.script() as script:
        script._come_round()
        (process,) = stage.company.started
        declare(stage.folder, "name: hourly\nwhen: soon\n")
        process.result = failing("AccessDenied", "no role", 7)
        script._come_round()
    assert "on_failure: nobody could be told: schedules/0.yaml can't be read" in stage.said()


def test_a_command_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "COMMAND_SECONDS", 0.2)
    stage = failed(tmp_path, "{command: [sleep, '600']}")
    assert "on_failure: sleep: stopped after 0 s" in stage.said()


def test_a_command_that_fails_is_said_to(tmp_path: Path) -> None:
    assert "on_failure: sh: ended with exit code 3" in failed(tmp_path, "{command: [sh, -c, 'exit 3']}").said()


def test_a_command_gets_no_signing_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing took it out of the environment: nobody opened the workspace by then."""
    monkeypatch.setattr(workspace, "take_signing_key", lambda: None)
    monkeypatch.setenv("DATAOPS_SIGNING_KEY", "canary")
    monkeypatch.setenv("DATAOPS_CACHE", "kept")
    failed(tmp_path, f"{{command: [sh, -c, 'env > {tmp_path}/environ']}}")
    found = (tmp_path / "environ").read_text()
    assert "DATAOPS_CACHE=kept" in found
    assert "canary" not in found


def test_nobody_is_told_of_what_is_done(tmp_path: Path) -> None:
    stage = Stage(make_stage(tmp_path / "w", told("{command: [touch, told]}")))
    stage.once(later=HOUR)
    assert not (stage.folder / "told").exists()
