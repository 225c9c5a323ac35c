"""The inbox's turn: what a script does about submitted jobs each time it comes round.

1. A submission is taken, which is on record, before its process is started. A script that dies in between leaves one
   that is held by a dead script: another takes it in place of that one, and starts it under the same id.
2. What came of a process counts if the submission is still this script's: of two that say so one is first.
"""

from __future__ import annotations

from collections.abc import Mapping

from dataops.errors import Compute, NotFound
from dataops.scheduling.carrying_out import submission_arguments
from dataops.scheduling.floor import AtWork, Floor, Ready
from dataops.scheduling.intake import Intake, Looked, open_intake
from dataops.scheduling.lying import LOOKED_AT
from dataops.scheduling.picking import Waiting
from dataops.scheduling.steps import was_interrupted
from dataops.scheduling.submissions import Submission
from dataops.scheduling.wording import counted
from dataops.scheduling.working import Result, StepCommand

_PREFIX = "submission:"
INBOX = "inbox"


class InboxTurn:
    """The turns of the inbox of a workspace."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._inbox: Intake | None = None
        self._stopped_by: dict[str, str] = {}
        self._resting: set[str] = set()  # its own that failed, and are begun again later
        self._holders: set[str] = set()
        self._told: set[tuple[str, str]] = set()
        self._over: set[str] = set()

    def take(self) -> list[Ready]:
        """What has ended is on record, what is to stop is stopped; gives what could be begun.

        Raises
        ------
        DataopsError : the inbox can't be read, or written.
        """
        self._inbox = open_intake(self._floor.storage_alone())
        looked = self._inbox.look(script=self._floor.script, now=self._floor.now(), over=self._over)
        for one in looked.ended:
            self._say(one, f"{one.state.value}: {_why(one)}")
        self._floor.decisions += len(looked.ended)
        mine = {one.id: one.stop_asked_by for one in looked.held if one.script == self._floor.script}
        self._holders = {one.script for one in looked.held if one.script is not None} - {self._floor.script}
        self._resting &= set(mine)
        known = set(self._floor.at_work)
        self._collect(mine, looked.unreadable)
        self._tell(looked)
        if self._floor.is_ending:
            return []
        held = tuple(one for one in looked.held if f"{_PREFIX}{one.id}" not in known)  # as they were before `_collect`
        return self._ready(looked.waiting, held)

    def holders(self) -> set[str]:
        """The other scripts that hold a submission."""
        return self._holders

    def held(self) -> int:
        """How many submissions this script works at, or will again."""
        return sum(what.startswith(_PREFIX) for what in self._floor.at_work) + len(self._resting)

    def _collect(self, mine: Mapping[str, str | None], unreadable: Mapping[str, str]) -> None:
        """What ended is on record; what the journal gives to somebody else, or to nobody, is stopped here. A journal
        that can't be read now takes nothing away: it is read again the next time around.

        Parameters
        ----------
        mine : what this script holds, and who asked for it to stop.
        """
        for what, work in list(self._floor.at_work.items()):
            if not what.startswith(_PREFIX):
                continue
            name = what.removeprefix(_PREFIX)
            result = work.poll()
            if name in unreadable:
                continue
            if result is not None:
                self._end(name, result)
            elif name not in mine:
                self._floor.say("another script goes on with it; its process here is stopped", slot=name)
                self._floor.lose(what)
            elif (by := mine[name]) is not None and name not in self._stopped_by:
                self._stopped_by[name] = by
                self._floor.say(f"to be stopped: {by} asks for it", slot=name)
                work.child.stop()

    def _end(self, name: str, result: Result) -> None:
        assert self._inbox is not None  # noqa: S101
        stopped_by = self._stopped_by.get(name)
        if self._floor.is_ending and stopped_by is None and was_interrupted(result):
            return  # by us: whoever takes it over goes on with it
        found = self._inbox.ended(
            name,
            script=self._floor.script,
            now=self._floor.now(),
            exit_code=result.exit_code,
            answer=_answer(result),
            stopped_by=stopped_by,
            may_pass=result.may_pass,
        )
        self._floor.at_work.pop(f"{_PREFIX}{name}", None)
        self._stopped_by.pop(name, None)
        if found is not None:
            self._floor.decisions += 1
            self._floor.failures += found.state.value == "failed"
            if found.next_try_at is not None:
                self._resting.add(name)
            how = "tried again later" if name in self._resting else found.state.value
            self._say(found, f"{how}{_because(found)}")

    def _ready(self, waiting: tuple[Waiting, ...], held: tuple[Submission, ...]) -> list[Ready]:
        found = [Ready(waiting=one, begin=_Taking(self, one.key, None)) for one in waiting]
        for one in held:
            if one.script is None:
                continue
            if one.waits(self._floor.now()) and one.stop_asked_by is None:
                continue
            # its own, without a process: it failed by what passes, or the store between taking and starting
            if one.script == self._floor.script or self._floor.watch.is_dead(one.script):
                since = one.taken_at or self._floor.now()
                one_waits = Waiting(key=one.id, user=one.principal or "", since=since)
                found.append(Ready(waiting=one_waits, begin=_Taking(self, one.id, one.script)))
        return found

    def begin(self, name: str, instead_of: str | None) -> bool:
        """Whether the submission's process was started; that it is this script's is on record by then.

        Raises
        ------
        DataopsError : it can't be written.
        """
        assert self._inbox is not None  # noqa: S101  # it was opened at the beginning of this turn
        floor, now = self._floor, self._floor.now()
        try:
            taken = self._inbox.take(name, script=floor.script, now=now, instead_of=instead_of)
        except NotFound:  # taken back meanwhile
            return False
        if taken is None:
            return False
        floor.decisions += 1
        self._resting.discard(name)
        if taken.stop_asked_by is not None:
            self._inbox.cancelled(name, script=floor.script, now=now, by=taken.stop_asked_by)
            self._say(taken, f"cancelled: {taken.stop_asked_by} asked for it")
            return False
        self._say(taken, _how_taken(taken, instead_of))
        try:
            child = floor.starter.start(self._command(name))
        except Compute as error:
            answer = {"error": {"family": "Compute", "message": str(error)}}
            told = Result(exit_code=error.exit_code, answer=answer, may_pass=True)
            self._end(name, told)
            return False
        user = taken.principal or ""
        floor.at_work[f"{_PREFIX}{name}"] = AtWork(
            user=user, child=child, run=name, was_taken_over=instead_of is not None
        )
        self._inbox.started(name, script=floor.script, now=now)
        return True

    def _command(self, name: str) -> StepCommand:
        words = submission_arguments(name)
        return StepCommand(run=name, arguments=(*words, "--workspace", str(self._floor.folder)))

    def _say(self, one: Submission, text: str) -> None:
        self._floor.say(text, schedule=INBOX, slot=one.id)

    def _tell(self, looked: Looked) -> None:
        """What wasn't so at the look before is said; what is no more is forgotten, and said where it comes back."""
        told = {
            ("blocked", user): f"{counted(many, 'submission')} of {user}: {_BLOCKED}"
            for user, many in looked.blocked.items()
        }
        told |= {(name, why): f"{name}: {why}: can't be read" for name, why in looked.unreadable.items()}
        told |= {
            ("crowded", user): f"more than {LOOKED_AT} submissions of {user}: {_CROWDED}" for user in looked.crowded
        }
        told |= {("untold", ""): f"what nobody can be told of lies in the inbox: {_UNTOLD}"} if looked.untold else {}
        for what, text in told.items():
            if what not in self._told:
                self._floor.say(text, schedule=INBOX)
        self._told = set(told)


_BLOCKED = "left waiting, since this account may not carry out what others submit: see the role scheduler_script"
_UNTOLD = "no key of principals.yaml that counts signed its name; it is left alone, and taken out after an hour"
_CROWDED = "those that wait longest are looked at, the others when these are done"


class _Taking:
    """Takes a submission and starts it."""

    def __init__(self, turn: InboxTurn, name: str, instead_of: str | None) -> None:
        self._turn, self._name, self._instead_of = turn, name, instead_of

    def __call__(self) -> bool:
        return self._turn.begin(self._name, self._instead_of)


def _how_taken(taken: Submission, instead_of: str | None) -> str:
    if instead_of is None:
        return f"taken: {taken.principal} asks for it"
    return "begun again" if instead_of == taken.script else f"taken over from script {instead_of}"


def _answer(result: Result) -> Mapping[str, object] | None:
    if result.exit_code and not isinstance(result.answer.get("error"), Mapping) and result.error:
        return {"error": {"family": result.family or "Unexpected", "message": result.error}}
    return result.answer or None


def _why(one: Submission) -> str:
    if one.stop_asked_by is not None:
        return f"{one.stop_asked_by} asked for it"
    return one.error["message"] if one.error else "nobody asks for it any more"


def _because(one: Submission) -> str:
    return f": {one.error['message']}" if one.error else ""
