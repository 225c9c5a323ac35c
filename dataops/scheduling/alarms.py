"""Who is told that a slot failed: a command, a URL, or both, as its schedule declares.

1. Telling takes a bounded time, in a thread of its own, and never stops a script; what came of it is a line of its log.
2. It is done at most once: a script that dies at that very moment tells nobody. `dataops status` says what failed.
3. They are told what the journal says: names, times and the message of an error, and no value of any row.
4. A command gets the environment of the script, but no signing key, whatever took it out there or didn't.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess  # nosec
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dataops.declarations.schedule_steps import name_of
from dataops.declarations.schedules import OnFailure, read_schedules, schedule_from_record
from dataops.records import Record, format_time
from dataops.scheduling.events import Ended
from dataops.scheduling.state import OpenSlot
from dataops.settings import SIGNING_KEY_VARIABLE

COMMAND_SECONDS = 30.0
WEBHOOK_SECONDS = 10.0


def raise_alarm(slot: OpenSlot, ended: Ended, *, folder: Path, say: Callable[[str], None]) -> threading.Thread | None:
    """Whoever tells those that the schedule of `slot` names today; None where it names nobody. The journal doesn't say
    whom: everybody who sees schedules may read it, and a webhook's URL is a secret.

    Parameters
    ----------
    folder : the workspace, where the command is started.
    say : takes what came of it, in words.
    """
    name = schedule_from_record(slot.declaration).name
    read = read_schedules(folder)
    declared = read.schedules.get(name)
    if declared is None and read.broken:
        say(f"on_failure: nobody could be told: {', '.join(read.broken)} can't be read")
    asked = declared.schedule.on_failure if declared is not None else None
    if asked is None:
        return None
    facts = json.dumps(alarm_record(slot, ended)).encode()
    thread = threading.Thread(target=_tell, args=(asked, facts, folder, say), name="alarm", daemon=True)
    thread.start()
    return thread


def alarm_record(slot: OpenSlot, ended: Ended) -> Record:
    """What is told of a slot that failed, as JSON values."""
    schedule = schedule_from_record(slot.declaration)
    return {
        "schedule": schedule.name,
        "owner": schedule.owner,
        "slot": slot.key,
        "nominal": format_time(slot.nominal),
        "outcome": ended.outcome,
        "reason": ended.reason,
        "ended_at": format_time(ended.at),
        "steps": [
            {"step": name_of(step), "outcome": state.outcome, "run": state.run, "error": state.error}
            for step, state in zip(schedule.steps, slot.steps, strict=True)
        ],
    }


def _tell(asked: OnFailure, facts: bytes, folder: Path, say: Callable[[str], None]) -> None:
    if asked.command is not None:
        say(f"on_failure: {asked.command[0]}: {_call(asked.command, facts, folder)}")
    if asked.webhook is not None:
        say(f"on_failure: the webhook: {_post(asked.webhook, facts)}")


def _call(command: Sequence[str], facts: bytes, folder: Path) -> str:
    """What came of the command, in words."""
    try:
        process = subprocess.Popen(  # noqa: S603  # what the schedule's own file says
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name != SIGNING_KEY_VARIABLE},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"could not be started: {getattr(error, 'strerror', None) or type(error).__name__}"
    try:
        process.communicate(facts, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"stopped after {COMMAND_SECONDS:.0f} s"
    return "told" if process.returncode == 0 else f"ended with exit code {process.returncode}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would become a GET without the slot, to somebody whom the schedule doesn't name."""

    def redirect_request(self, *_: Any) -> None:
        """None: the answer counts as it is, an error."""


_OPENER = urllib.request.build_opener(_NoRedirects)
_REDIRECTS = range(300, 400)


def _post(url: str, facts: bytes) -> str:
    headers: Mapping[str, Any] = {"Content-Type": "application/json", "User-Agent": "dataops"}
    request = urllib.request.Request(url, data=facts, headers=dict(headers), method="POST")  # noqa: S310
    try:
        with _OPENER.open(request, timeout=WEBHOOK_SECONDS) as answer:  # http(s), as declared
            return f"told, answered {answer.status}"
    except urllib.error.HTTPError as error:
        return f"could not be told: HTTPError {error.code}" + (", a redirect" if error.code in _REDIRECTS else "")
    except Exception as error:  # noqa: BLE001  # whatever it is: its text may hold the URL's secrets
        return f"could not be told: {type(error).__name__}"
