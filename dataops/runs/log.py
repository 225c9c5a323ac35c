"""What a run said while it worked, for whoever wasn't there: the lines of its stderr, as a journal beside its record.

::

    <storage>/runs/<run>/log/<n>.json

1. Lines are kept as they were printed, without what a terminal would obey; they follow the rules of all messages: no
   value of a row, no secret.
2. Lines that come close together are one record: `Lines` gathers them, and whoever writes asks once a second.
3. A log has an end: after `MAX_RECORDS` of one writer the lines are counted, and no longer kept.
4. Nothing depends on a log. What can't be written is lost, and said in the next record that can.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from dataops.errors import DataopsError, Format
from dataops.records import parse_time
from dataops.runs.ledger import RUNS_FOLDER
from dataops.storage.journal import Journal
from dataops.storage.objects import Store

MAX_LINE = 2000
MAX_LINES = 500
"""Of one record; of more the newest are kept."""
MAX_RECORDS = 5000
MAX_RECORD_BYTES = 8 * MAX_LINE * MAX_LINES

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One record of a log: `lines` that were printed until `at`; `lost` of them before these were not kept."""

    number: int
    at: datetime
    lines: tuple[str, ...]
    lost: int


def log_journal(store: Store, run_id: str) -> Journal:
    """The journal of what `run_id` said."""
    return Journal(store, f"{RUNS_FOLDER}/{run_id}/log", "log", max_bytes=MAX_RECORD_BYTES)


def read_log(store: Store, run_id: str, *, start: int = 1) -> Iterator[Logged]:
    """What `run_id` said, from record `start` on; nothing where it said nothing. To follow it, ask again with the
    number after the last.

    Raises
    ------
    Integrity, Format : a record that isn't what was written.
    """
    for entry in log_journal(store, run_id).entries(start):
        lines, lost = entry.body.get("lines"), entry.body.get("lost")
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines) or not isinstance(lost, int):
            raise Format(f"run {run_id}: record {entry.number} of its log holds no lines")
        yield Logged(number=entry.number, at=parse_time(entry.written_at), lines=tuple(lines), lost=lost)


class Lines:
    """Gathers what a process prints, and writes it to the log of `run_id` when it is told to. For one thread."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._journal = log_journal(store, run_id)
        self._waiting: list[str] = []
        self._lost = self._records = 0

    def add(self, line: str) -> None:
        """Keep `line` until it is written."""
        self._waiting.append(plain_line(line))
        if len(self._waiting) > MAX_LINES:
            self._lost += len(self._waiting) - MAX_LINES
            del self._waiting[:-MAX_LINES]

    def write(self) -> None:
        """What was gathered is on record, if the store takes it."""
        if not self._waiting:
            return
        lines, self._waiting = self._waiting, []
        if self._records < MAX_RECORDS:
            with suppress(DataopsError):
                self._journal.append({"lines": lines, "lost": self._lost})
                self._records, self._lost = self._records + 1, 0
                return
        self._lost += len(lines)


def plain_line(line: str) -> str:
    """`line` without its end, colours and other characters that a terminal would obey, `MAX_LINE` characters long."""
    return _CONTROL.sub("", line.rstrip("\n").rsplit("\r", 1)[-1])[:MAX_LINE]
