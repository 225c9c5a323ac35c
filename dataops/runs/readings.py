"""The audit's records as readings: what a person did in one line, from intent to result.

1. A reading is one run's reading of one dataset for one purpose: an intent, more of them where the run was resumed, and
   a result. Without a result it is ``open``.
2. What is no reading (a promotion, rows expired, a key rotated) is a line of its own, with the outcome of the record
   that says what came of it; one that nothing can come of has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from dataops.governance.audit import Shown
from dataops.governance.audit_verdicts import INTENT, RESULT
from dataops.records import parse_time

OPEN = "open"


def readings(records: Iterable[Shown], *, since: datetime | None = None, until: datetime | None = None) -> list[Shown]:
    """The readings and events in `records`, by their first record, of which one at least is of the time asked for."""
    lines: list[tuple[Shown, list[str]]] = []
    begun: dict[tuple[str | None, str | None, str | None], int] = {}
    announced: dict[int, int] = {}  # by number of the record, its line
    for one in records:
        key = (one.run, one.dataset, one.purpose)
        if one.event == RESULT:
            # one without a purpose ends all readings of its run and dataset
            ended = [at for known, at in begun.items() if known[:2] == key[:2] and one.purpose in (None, known[2])]
            for at in ended:
                line, times = lines[at]
                lines[at] = (replace(line, rows=one.rows, outcome=one.outcome), [*times, one.written_at])
            if not ended:
                lines.append((one, [one.written_at]))
        elif one.announced in announced:
            line, times = lines[announced[one.announced]]
            told = replace(line, rows=line.rows if one.rows is None else one.rows, outcome=one.outcome)
            lines[announced[one.announced]] = (told, [*times, one.written_at])
        elif one.event != INTENT:
            announced[one.number] = len(lines)
            lines.append((one, [one.written_at]))
        elif key in begun:
            line, times = lines[begun[key]]
            lines[begun[key]] = (replace(line, outcome=OPEN), [*times, one.written_at])
        else:
            begun[key] = len(lines)
            lines.append((replace(one, outcome=OPEN), [one.written_at]))
    return [line for line, times in lines if _is_within(times, since, until)]


def _is_within(times: Sequence[str], since: datetime | None, until: datetime | None) -> bool:
    moments = [parse_time(time) for time in times]
    return any((since is None or at >= since) and (until is None or at < until) for at in moments)
