"""Trials of a search, and the journal that they are kept in: a run that died goes on with those it had.

1. A journal below the run, one for each candidate: ``begun`` (number, parameters), ``reached`` (rounds, loss) and
   ``ended`` (outcome, figure). Nothing in it is a value of a row.
2. What it holds is folded into trials by `fold`; a trial without an end is run again under its number.
3. One driver writes it: of two that go on with the same run, one loses, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dataops.errors import Conflict
from dataops.records import Record
from dataops.storage.journal import Entry, Journal
from dataops.storage.objects import Store

FOLDER = "search"
BEGUN, REACHED, ENDED = "begun", "reached", "ended"

Heard = Callable[[Mapping[str, Any]], None]


class TrialEnd(StrEnum):
    """How a trial ended."""

    DONE = "done"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(slots=True, kw_only=True)
class Trial:
    """One point that was tried.

    Attributes
    ----------
    params : those that are searched for.
    curve : rounds -> loss on the rows that trials don't learn from.
    figure : of the search's metric on these rows; None where it didn't come to one.
    why : why it failed.
    """

    number: int
    params: Mapping[str, Any]
    curve: dict[int, float] = field(default_factory=dict)
    end: TrialEnd | None = None
    figure: float | None = None
    why: str | None = None
    seconds: float = 0.0

    def record(self) -> Record:
        """JSON, as a run's result has it."""
        return {
            "trial": self.number,
            "params": dict(self.params),
            "outcome": self.end and self.end.value,
            "figure": self.figure,
            "curve": [[rounds, loss] for rounds, loss in sorted(self.curve.items())],
            "why": self.why,
            "seconds": round(self.seconds, 3),
        }


class TrialLog:
    """The journal of one candidate's trials in a run; each event of it is also `heard`."""

    def __init__(self, store: Store, run: str, candidate: str, *, heard: Heard | None = None) -> None:
        self._journal = Journal(store, f"runs/{run}/{FOLDER}/{candidate}", "trial")
        self._last: Entry | None = None
        self._heard = heard
        self._where = f"the search for {candidate} in run {run}"

    def read(self) -> list[Mapping[str, Any]]:
        """What there is, from the first."""
        entries = list(self._journal.entries())
        self._last = entries[-1] if entries else None
        for entry in entries:
            self._tell(entry.body)
        return [entry.body for entry in entries]

    def append(self, event: str, number: int, **facts: Any) -> Mapping[str, Any]:
        """What is now the last event.

        Raises
        ------
        Conflict : another process goes on with this search.
        """
        body = {"event": event, "trial": number, **facts}
        try:
            self._last = self._journal.append(body, after=self._last)
        except Conflict:
            raise Conflict(f"{self._where}: another process goes on with it; let one of them end") from None
        self._tell(body)
        return body

    def _tell(self, body: Mapping[str, Any]) -> None:
        if self._heard is not None:
            self._heard(body)


def fold(trials: dict[int, Trial], event: Mapping[str, Any]) -> Trial:
    """The trial that `event` is about, with it; `trials` has it from now on."""
    number = event["trial"]
    match event["event"]:
        case "begun":
            trials[number] = Trial(number=number, params=event["params"])
        case "reached":
            trials[number].curve[event["rounds"]] = event["loss"]
        case "ended":
            one = trials[number]
            one.end, one.figure = TrialEnd(event["outcome"]), event["figure"]
            one.why, one.seconds = event.get("why"), event["seconds"]
    return trials[number]


def best_of(trials: Iterable[Trial], *, higher_is_better: bool) -> Trial | None:
    """The first of the best; None where none came to a figure."""
    done = [one for one in trials if one.end is TrialEnd.DONE and one.figure is not None]
    sign = 1 if higher_is_better else -1
    return max(done, key=lambda one: (sign * (one.figure or 0.0), -one.number), default=None)
