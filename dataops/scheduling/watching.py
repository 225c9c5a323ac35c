"""Watching what a scheduler script runs, from outside: its state and what it says, as they get on record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from dataops.errors import NotFound
from dataops.runs.ledger import State
from dataops.runs.log import Logged, read_log
from dataops.runs.workspace import Workspace
from dataops.scheduling.inbox import Inbox, open_inbox
from dataops.scheduling.requests import is_submission_id
from dataops.scheduling.submissions import Submission

LOOK_SECONDS = 0.5

Sleep = Callable[[float], None]


def watch(workspace: Workspace, submission_id: str, *, sleep: Sleep = time.sleep) -> Iterator[str]:
    """What a submission comes to and what it says, line by line, until it has ended.

    Raises
    ------
    NotFound : there is none of that id, or none any more: its writer took it away.
    """
    inbox, said, state = open_inbox(workspace, read_only=True), 1, None
    while True:
        found = inbox.state(submission_id)  # first: what was said until it ended is on record by then
        if found.state is not state and not found.has_ended:
            state = found.state
            yield _told(found)
        for record in read_log(workspace.store, submission_id, start=said):
            said = record.number + 1
            yield from record.lines
        if found.has_ended:
            return
        sleep(LOOK_SECONDS)


def _told(found: Submission) -> str:
    who = f" by the scheduler script {found.script}" if found.script else ""
    return f"{found.id}: {found.state.value}{who}" + (f": {found.error['message']}" if found.error else "")


def require_known(workspace: Workspace, run_id: str) -> None:
    """Nothing, if there is a run or a submission of that id.

    Raises
    ------
    NotFound : there is neither; names the near match.
    """
    if any(True for _ in read_log(workspace.store, _as_folder(run_id))) or workspace.ledger.find(_as_folder(run_id)):
        return
    if is_submission_id(run_id):
        open_inbox(workspace, read_only=True).state(run_id)
        return
    workspace.ledger.read(run_id)


def logged(workspace: Workspace, run_id: str) -> Iterator[Logged]:
    """What the run said so far."""
    return read_log(workspace.store, run_id)


def follow_log(workspace: Workspace, run_id: str, *, sleep: Sleep = time.sleep) -> Iterator[Logged]:
    """What the run says, from its beginning until it has ended."""
    inbox, said = open_inbox(workspace, read_only=True), 1
    while True:
        is_over = _is_over(workspace, inbox, run_id)
        for record in read_log(workspace.store, run_id, start=said):
            said = record.number + 1
            yield record
        if is_over:
            return
        sleep(LOOK_SECONDS)


def _is_over(workspace: Workspace, inbox: Inbox, run_id: str) -> bool:
    if is_submission_id(run_id):
        try:
            return inbox.state(run_id).has_ended
        except NotFound:
            return True
    found = workspace.ledger.find(run_id)
    return found is not None and found.state is not State.RUNNING


def _as_folder(run_id: str) -> str:
    """`run_id`, if it can be the name of a folder; else one that no run has."""
    return run_id if run_id and "/" not in run_id else "0"
