"""What one script says of one schedule: entries of its book, each with a line in the log, and what the audit is told.

An entry directly follows what it was decided on, or isn't written (`Beaten`). The audit is told of an entry by the
script that wrote it; of what a dead script wrote, or a verb that a person called and that died, by whoever comes next.
"""

from __future__ import annotations

import re
from datetime import timedelta

from dataops.scheduling.alarms import raise_alarm
from dataops.scheduling.book import Book, Head
from dataops.scheduling.events import Ended, Event
from dataops.scheduling.floor import Floor
from dataops.scheduling.state import OpenSlot, ScheduleState
from dataops.scheduling.telling import slot_key, spell_event

LAG = 100
"""How many entries a journal may say too little of what the audit knows, while scripts run."""
A_PERSONS_TIME = timedelta(minutes=1)
"""How long a verb that a person called has to tell the audit what it did, before a script does."""
_SCRIPT = re.compile(r"[0-9a-f]{12}")


class Beaten(Exception):
    """Somebody else was first: read again, decide again."""


class Entries:
    """What the script of `floor` reads and says of the schedule called `name`."""

    def __init__(self, floor: Floor, name: str) -> None:
        self._floor, self._name = floor, name
        self._book = Book(floor.store, name)
        self._head = Head()

    @property
    def state(self) -> ScheduleState | None:
        """Where the schedule stood when it was read last, or said anything of."""
        return self._head.state

    def read(self) -> None:
        """Look where the schedule stands now; failures as `Book.head`."""
        self._head = self._book.head()

    def open_slots(self) -> list[OpenSlot]:
        """The slots that are open."""
        return [] if self.state is None else list(self.state.open.values())

    def held(self) -> list[OpenSlot]:
        """The open slots that this script holds."""
        return [slot for slot in self.open_slots() if slot.holder == self._floor.script]

    def slot(self, key: str) -> OpenSlot:
        """The open slot of that key, as it is now."""
        return next(slot for slot in self.open_slots() if slot.key == key)

    def append(self, event: Event) -> None:
        """`event` is on record, right behind what it was decided on.

        Raises
        ------
        Beaten : somebody else was first.
        """
        before = self._head
        head = self._book.append(event, after=before)
        if head is None:
            raise Beaten
        self._head = head
        self._floor.decisions += 1
        self._floor.say(spell_event(event, before.state), schedule=self._name, slot=slot_key(event))
        if isinstance(event, Ended) and event.outcome != "done":
            self._floor.failures += 1
            if before.state is not None and event.outcome == "failed":
                self._raise_alarm(before.state.open[event.key], event)

    def tell(self) -> None:
        """The audit knows what this script has to tell it.

        Raises
        ------
        Storage : the audit, or the journal, can't be written.
        """
        self._floor.told += self._book.tell(self._floor.audit, account=self._floor.account, owes=self._owes)
        self.close(lag=LAG)

    def close(self, *, lag: int = 0) -> None:
        """The journal says how far the audit knows it, up to `lag` entries, so that little is told twice.

        Raises
        ------
        DataopsError : it can't be written.
        """
        event = self._book.owed(at=self._floor.now(), by=self._floor.script, lag=lag)
        if event is not None:
            self._head = self._book.append(event, after=self._head) or self._head

    def _owes(self, event: Event) -> bool:
        """Whether this script tells the audit of `event`: of its own, and of what others can't tell any more."""
        if event.by == self._floor.script:
            return True
        is_script = _SCRIPT.fullmatch(event.by) is not None
        return self._floor.watch.is_dead(event.by) if is_script else self._floor.now() - event.at > A_PERSONS_TIME

    def _raise_alarm(self, slot: OpenSlot, event: Ended) -> None:
        def say(text: str) -> None:
            self._floor.say(text, schedule=self._name, slot=slot.key)

        alarm = raise_alarm(slot, event, folder=self._floor.folder, say=say)
        self._floor.alarms += [] if alarm is None else [alarm]
