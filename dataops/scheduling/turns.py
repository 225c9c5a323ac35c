"""A schedule's turn: what a script does about one schedule each time it comes round.

1. Every decision is an append that directly follows what it was decided on. Who comes second reads again and decides
   again; nothing else was done by then.
2. A step's process is started after its beginning is on record, and its end is put on record after it ended. A script
   that dies in between leaves a step that began: whoever takes the slot over starts it again under the same run, which
   goes on, or is taken where it is done.
3. Before anything is done for a slot, its last entry says that this script holds it. A script that was stopped for long
   finds that another one does: its own process is told to stop, and what that did counts if it was first.
4. A slot that another script holds is taken over once that one is dead, which only saves waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from dataops.declarations.schedules import Schedule
from dataops.errors import Compute, DataopsError
from dataops.scheduling import steps
from dataops.scheduling.changing import as_it_stood
from dataops.scheduling.deciding import GRACE, decide
from dataops.scheduling.drifts import Drifts
from dataops.scheduling.entries import Beaten, Entries
from dataops.scheduling.events import Changed, Ended, StepBegun, StepEnded, Stopping, TakenOver
from dataops.scheduling.floor import AtWork, Floor, Ready
from dataops.scheduling.moving import StepResult
from dataops.scheduling.occasions import look
from dataops.scheduling.picking import SCHEDULES, Waiting
from dataops.scheduling.slots import Occasion
from dataops.scheduling.state import OpenSlot
from dataops.scheduling.stepping import (
    BeginStep,
    EndSlot,
    Running,
    StepDecision,
    StopSlot,
    StopStep,
    next_step,
)
from dataops.scheduling.working import StepCommand

ROUNDS = 50
"""How often a turn is begun anew because others were first; then it is left for the next time."""


class Turn:
    """The turns of the schedule called `name`."""

    def __init__(self, floor: Floor, name: str, *, grace: timedelta = GRACE) -> None:
        self._floor, self.name, self._grace = floor, name, grace
        self._entries = Entries(floor, name)
        self._occasions: list[Occasion] = []
        self._drifts = Drifts()
        self._checked: set[str] = set()  # steps whose condition was found to hold

    def take(self, schedule: Schedule | None) -> list[Ready]:
        """Everything that can be said of the schedule now is on record; gives the steps that could begin.

        Parameters
        ----------
        schedule : as it is declared; None for one that isn't, or whose file can't be read: open slots go on.

        Raises
        ------
        DataopsError : its journal, or what it fires on, can't be read, or written.
        """
        for _ in range(ROUNDS):
            try:
                self._entries.read()
                self._settle(schedule)
                break
            except Beaten:
                continue
        self._entries.tell()
        return self._ready()

    def held(self) -> list[OpenSlot]:
        """The open slots that this script holds."""
        return self._entries.held()

    def holders(self) -> set[str]:
        """The other scripts that hold an open slot."""
        return {slot.holder for slot in self._entries.open_slots()} - {self._floor.script}

    def close(self) -> None:
        """The journal says how far the audit knows it.

        Raises
        ------
        DataopsError : it can't be written.
        """
        self._entries.close()

    # What is said

    def _settle(self, schedule: Schedule | None) -> None:
        """Appends until there is nothing more to say."""
        self._collect()
        self._take_over()
        self._occasions = self._look(schedule)
        while self._advance() or self._claim(schedule):
            pass
        self._drop_lost()

    def _collect(self) -> None:
        """What came of the processes that have ended is on record."""
        for slot in self.held():
            for number, step in enumerate(slot.steps):
                what = self._what(slot, number)
                work = self._floor.at_work.get(what)
                result = work.poll() if work is not None and step.is_running and work.run == step.run else None
                if work is None or result is None:
                    continue
                if self._floor.is_ending and steps.was_interrupted(result):
                    continue  # by us: whoever takes it over goes on with it
                event = steps.ended(
                    slot,
                    number,
                    result,
                    now=self._floor.now(),
                    by=self._floor.script,
                    was_taken_over=work.was_taken_over,
                )
                self._entries.append(event)
                self._floor.at_work.pop(what, None)

    def _take_over(self) -> None:
        for slot in self._entries.open_slots():
            holder = slot.holder
            if holder != self._floor.script and not self._floor.is_ending and self._floor.watch.is_dead(holder):
                event = TakenOver(at=self._floor.now(), by=self._floor.script, key=slot.key, held_by=holder)
                self._entries.append(event)

    def _look(self, schedule: Schedule | None) -> list[Occasion]:
        """What happened that the schedule fires on, or did before it was declared anew; the clock's schedules need no
        look.
        """
        watched = None if schedule is None else as_it_stood(schedule, self._entries.state)
        if watched is None or watched.by_clock:
            return []
        occasions: list[Occasion] = []
        with self._floor.minding(f"{self.name}: what it fires on"):
            occasions += look(self._floor.workspace(), watched, self._entries.state, self._drifts)
        return occasions

    def _claim(self, schedule: Schedule | None) -> bool:
        """Whether there was something to say of the schedule itself."""
        if schedule is None or not self._floor.claims or self._floor.is_ending:
            return False
        state = self._entries.state
        event = decide(
            schedule,
            state,
            [one for one in self._occasions if state is None or not state.has_decided(one.number)],
            now=self._floor.now(),
            script=self._floor.script,
            grace=self._grace,
            side_by_side=self._floor.limits.at_once,
        )
        if event is None:
            return False
        self._entries.append(event)
        if isinstance(event, Changed):
            self._occasions = []  # of what it fired on before
        return True

    def _advance(self) -> bool:
        """Whether there was something to say of a slot that this script holds."""
        return any(self._advance_slot(slot) for slot in self.held())

    def _advance_slot(self, slot: OpenSlot) -> bool:
        now, by = self._floor.now(), self._floor.script
        match next_step(slot, now=now, believed=self._floor.claims):
            case EndSlot(outcome=outcome, reason=reason):
                self._entries.append(Ended(at=now, by=by, key=slot.key, outcome=outcome, reason=reason))
                return True
            case StopSlot(reason=reason, outcome=outcome):
                self._entries.append(Stopping(at=now, by=by, key=slot.key, reason=reason, outcome=outcome))
                return True
            case StopStep(step=number, reason=reason):
                return self._stop(slot, number, reason)
            case BeginStep() as begin:
                return self._pass_over(slot, begin)
            case _:
                return False

    def _stop(self, slot: OpenSlot, number: int, reason: str) -> bool:
        """Whether the step is stopped; where its process has yet to end, what comes of that decides."""
        work = self._floor.at_work.get(self._what(slot, number))
        if work is not None:
            work.child.stop()
            return False
        now, by = self._floor.now(), self._floor.script
        self._entries.append(StepEnded(at=now, by=by, key=slot.key, step=number, outcome="stopped", error=reason))
        return True

    def _pass_over(self, slot: OpenSlot, begin: BeginStep) -> bool:
        """Whether the step isn't to be done, since its condition doesn't hold, or can't be told."""
        what = f"{self._what(slot, begin.step)}/{begin.attempt}"
        if what in self._checked or self._floor.is_ending:
            return False
        try:
            why = steps.skipped(self._floor.workspace, slot, begin.step)
        except DataopsError as error:
            self._come_to(slot, begin, steps.failed(error))
            return True
        if why is None:
            self._checked.add(what)
            return False
        self._entries.append(steps.not_held(slot, begin.step, why, now=self._floor.now(), by=self._floor.script))
        return True

    def _come_to(self, slot: OpenSlot, begin: BeginStep, found: StepResult) -> None:
        """A step has come to something without a process."""
        if found.outcome == "failed":
            self._begun(slot, begin)
            slot = self._entries.slot(slot.key)
        self._entries.append(steps.said(slot, begin.step, found, now=self._floor.now(), by=self._floor.script))

    def _begun(self, slot: OpenSlot, begin: BeginStep) -> None:
        self._entries.append(
            StepBegun(
                at=self._floor.now(),
                by=self._floor.script,
                key=slot.key,
                step=begin.step,
                attempt=begin.attempt,
                run=begin.run,
            )
        )

    # What is done

    def _drop_lost(self) -> None:
        """Processes whose step isn't this script's any more are told to stop."""
        held = tuple(f"{self.name}/{slot.key}/" for slot in self.held())
        self._checked = {what for what in self._checked if what.startswith(held)}
        kept = {
            self._what(slot, number): step.run
            for slot in self.held()
            for number, step in enumerate(slot.steps)
            if step.is_running
        }
        ours = {what: work for what, work in self._floor.at_work.items() if what.startswith(f"{self.name}/")}
        for what in [what for what, work in ours.items() if what not in kept or kept[what] != work.run]:
            if self._floor.at_work[what].poll() is None:
                self._floor.say("another script goes on with it; its process here is stopped", schedule=self.name)
            self._floor.lose(what)

    def _ready(self) -> list[Ready]:
        if self._floor.is_ending:
            return []
        found = []
        for slot in self.held():
            decision = next_step(slot, now=self._floor.now(), believed=self._floor.claims)
            if isinstance(decision, BeginStep | Running) and self._is_idle(slot, decision):
                what = f"{self.name}/{slot.key}"
                waiting = Waiting(key=what, user=SCHEDULES, since=slot.claimed_at)
                found.append(Ready(waiting=waiting, begin=_Beginning(turn=self, slot=slot, decision=decision)))
        return found

    def _is_idle(self, slot: OpenSlot, decision: BeginStep | Running) -> bool:
        return self._what(slot, decision.step) not in self._floor.at_work

    def begin(self, slot: OpenSlot, decision: BeginStep | Running) -> bool:
        """Whether the step's process was started; the beginning is on record by then.

        Raises
        ------
        DataopsError : it can't be written.
        """
        run = decision.run or slot.key
        assert self._entries.state is not None  # noqa: S101  # it has an open slot
        state, now = self._entries.state, self._floor.now()
        try:
            found = steps.command_of(self._floor.folder, slot, decision.step, run=run, state=state, now=now)
            if isinstance(decision, BeginStep):
                if isinstance(found, StepResult):
                    self._come_to(slot, decision, found)
                    return False
                self._begun(slot, decision)
            elif isinstance(found, StepResult):
                self._entries.append(steps.said(slot, decision.step, found, now=now, by=self._floor.script))
                return False
            self._start(self._entries.slot(slot.key), decision, found)
        except Beaten:
            return False
        return True

    def _start(self, slot: OpenSlot, decision: BeginStep | Running, command: StepCommand) -> None:
        taken_over = isinstance(decision, Running)
        try:
            child = self._floor.starter.start(command)
        except Compute as error:
            found = steps.failed(error)
            self._entries.append(steps.said(slot, decision.step, found, now=self._floor.now(), by=self._floor.script))
            return
        self._floor.at_work[self._what(slot, decision.step)] = AtWork(
            user=SCHEDULES, child=child, run=command.run, was_taken_over=taken_over
        )
        if taken_over:
            self._floor.say(f"step {decision.step + 1} goes on as run {command.run}", schedule=self.name, slot=slot.key)

    def _what(self, slot: OpenSlot, number: int) -> str:
        return f"{self.name}/{slot.key}/{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beginning:
    """Begins the step that a slot waits for."""

    turn: Turn
    slot: OpenSlot
    decision: StepDecision

    def __call__(self) -> bool:
        assert isinstance(self.decision, BeginStep | Running)  # noqa: S101  # `_ready` gives no other
        return self.turn.begin(self.slot, self.decision)
