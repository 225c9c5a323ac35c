"""What a scheduler script does with the inbox: looks, takes, and says how it ended.

1. A submission is taken by an entry in its journal: of two scripts that take it one gets it. One entry ends it.
2. An account carries out its own requests; those of others it does as them, and only with the role `CARRIER`.
3. What is nobody's request is ended with the reason. What can't be read, or may not be carried out by this account, is
   told and left. None of it keeps the others waiting, nor does a flood of one account: `lying` bounds what is read.
4. What has ended is taken out of the inbox, where that is allowed: what was asked for is in the journal.
5. Of what nobody can be told, nothing is read and nothing is written: it lies there for a while, then it is taken out.
   So whoever may write into the inbox can fill nothing but that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dataops.errors import AccessDenied, Conflict, Format, Integrity, InvalidInput, NotFound, Storage
from dataops.records import encode_record
from dataops.runs.workspace import Workspace
from dataops.scheduling import submissions
from dataops.scheduling.inbox import CARRIER, OPEN_FOLDER, Inbox, opened
from dataops.scheduling.lying import LOOKED_AT, UNTOLD_STAYS, Lying
from dataops.scheduling.picking import Waiting
from dataops.scheduling.requests import require_submission_id
from dataops.scheduling.signed import give_identity, signing_place
from dataops.scheduling.submissions import MOST_RETRIES, Submission, SubmissionState, ended_by_process
from dataops.scheduling.whose import NO_REQUEST, Asked
from dataops.storage.journal import Entry
from dataops.storage.objects import Named

_DAMAGED = (Conflict, Format, Integrity, InvalidInput, Storage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a script finds in the inbox.

    Attributes
    ----------
    waiting : what could be taken now; `key` is the submission's id, `user` its principal.
    held : what some script took, and didn't end; `stop_asked_by` says whether it is to stop.
    ended : what this look ended: refused, or cancelled before anybody took it.
    blocked : users whose requests this account may not carry out, and how many of theirs were read.
    unreadable : submissions that can't be read, or whose journal is damaged, and why: they wait.
    crowded : accounts of which more lies there than is read in a look, and how many requests were left for later looks.
    untold : how many files lie there of which nobody can be told.
    strange : how many files lie there that are neither requests nor stops.
    """

    waiting: tuple[Waiting, ...]
    held: tuple[Submission, ...]
    ended: tuple[Submission, ...]
    blocked: Mapping[str, int]
    unreadable: Mapping[str, str]
    crowded: Mapping[str, int]
    untold: int
    strange: int


class Intake(Inbox):
    """The inbox of one workspace, for scheduler scripts."""

    def look(self, *, script: str, now: datetime, over: set[str] | None = None) -> Looked:
        """What there is to do. What is nobody's request, and what is to be stopped before it began, is ended.

        Parameters
        ----------
        script : the id of the script that looks.
        over : what earlier looks of the script found ended, and may not take out: it isn't read again. What this look
            finds is added, what doesn't lie there any more leaves.
        """
        found = _Found(script=script, now=now, lying=self.lying(), begun=self._begun())
        for submission_id in sorted(found.begun):
            self._look_at(found, submission_id)
        known = set() if over is None else over
        known.intersection_update(found.lying.requests)
        for owner, theirs in found.lying.by_owner(without=found.begun | known).items():
            self._look_at_some(found, owner, theirs)
        known.update(found.over)
        untold = found.lying.untold(without=found.begun)
        self._take_out(untold, now)
        return Looked(
            waiting=tuple(found.waiting),
            held=tuple(found.held),
            ended=tuple(found.ended),
            blocked=found.blocked,
            unreadable=found.unreadable,
            crowded=found.crowded,
            untold=len(untold),
            strange=found.lying.strange,
        )

    def take(
        self, submission_id: str, *, script: str, now: datetime, instead_of: str | None = None
    ) -> Submission | None:
        """The submission, which is now this script's; None where another one has it, or it has ended.

        If somebody asked for it to stop (`stop_asked_by`), it is to be ended, not begun.

        Parameters
        ----------
        instead_of : the script that held it, and is dead.

        Raises
        ------
        NotFound, AccessDenied, Format, Integrity, InvalidInput : there is no request that could be taken.
        """
        tail, before = self._read(submission_id)
        if before is None and instead_of is None:
            asked = self._asked(submission_id)
            self._require_carrier(asked.principal)
            request, principal, digest = asked.request, asked.principal, asked.digest
            signature = asked.signature
            self._store.put_if_absent(_open_key(submission_id), encode_record("submission-open", 1, {}))
        elif before is None or before.has_ended or before.script != instead_of or before.request is None:
            return None
        else:
            request, principal, digest = before.request, str(before.principal), str(before.request_digest)
            signature = None  # the entry that took it first has it
        body = submissions.taken(
            request,
            principal=principal,
            digest=digest,
            signature=signature,
            script=script,
            at=now,
            instead_of=instead_of,
        )
        taken = self._append(submission_id, before, tail, body)
        return replace(taken, stop_asked_by=self._stopper(taken, self.lying(submission_id))) if taken else None

    def started(self, submission_id: str, *, script: str, now: datetime) -> Submission | None:
        """The submission, whose process this script started; None where it isn't this script's any more."""
        tail, before = self._read(submission_id)
        return self._append(submission_id, before, tail, submissions.started(script=script, at=now))

    def ended(
        self,
        submission_id: str,
        *,
        script: str,
        now: datetime,
        exit_code: int,
        answer: Mapping[str, Any] | None = None,
        stopped_by: str | None = None,
        may_pass: bool = False,
    ) -> Submission | None:
        """The submission, which is over, or begun again later; None where it isn't this script's any more, or had
        ended.

        Parameters
        ----------
        exit_code, answer, stopped_by : of its process, as `submissions.ended_by_process` takes them.
        may_pass : whether the same may go well later, though nobody mends anything.
        """
        fields = ended_by_process(exit_code, answer, stopped_by=stopped_by)
        tail, before = self._read(submission_id)
        if may_pass and fields["state"] is SubmissionState.FAILED and before and before.retries < MOST_RETRIES:
            told = {"exit_code": exit_code, "error": fields["error"]}
            return self._append(submission_id, before, tail, submissions.retry(before, script=script, at=now, **told))
        return self._end(submission_id, script=script, now=now, **fields)

    def cancelled(self, submission_id: str, *, script: str, now: datetime, by: str | None) -> Submission | None:
        """The submission, which will not be begun, since `by` asked for that; None as `ended`."""
        state = SubmissionState.CANCELLED
        return self._end(submission_id, script=script, now=now, state=state, stopped_by=by)

    def to_carry_out(self, submission_id: str) -> Asked:
        """The request that a script took, for the process that carries it out: as it still lies in the inbox, and whose
        it is was found out anew.

        Raises
        ------
        NotFound : nobody took it, it has ended, or its writer took it away.
        AccessDenied : it is not the one that was taken; or this account may not act for its writer.
        Format, Integrity, InvalidInput : it is none.
        """
        found = self._read(require_submission_id(submission_id))[1]
        if found is None:
            raise NotFound(f"no scheduler script has taken a submission {submission_id}")
        if found.has_ended:
            raise NotFound(f"the submission {submission_id} has ended: it is {found.state.value}")
        asked = self._asked(submission_id, was_taken=True)
        if (asked.digest, asked.principal) != (found.request_digest, found.principal):
            raise AccessDenied(f"the request {submission_id} is not the one that was taken: it was exchanged since")
        self._require_carrier(asked.principal)
        return asked

    def _look_at_some(self, found: _Found, owner: str, theirs: Sequence[str]) -> None:
        """The first `LOOKED_AT` of `theirs`. What ended before, and may not be taken out, counts for none."""
        read = 0
        for place, submission_id in enumerate(theirs):
            if read == LOOKED_AT:
                found.crowded[owner] = len(theirs) - place
                return
            if submission_id not in found.seen:  # of several who signed a name beside it
                found.seen.add(submission_id)
                read += self._look_at(found, submission_id)

    def _look_at(self, found: _Found, submission_id: str) -> bool:
        """Whether the submission hadn't ended before."""
        try:
            _, submission = self._read(submission_id)
            if submission is None:
                self._sort(found, submission_id)
            elif submission.has_ended:
                self._clear(submission_id, found.lying)
                found.over.add(submission_id)
                return False
            else:
                found.held.append(replace(submission, stop_asked_by=self._stopper(submission, found.lying)))
        except _DAMAGED as error:
            found.unreadable[submission_id] = str(error)
        return True

    def _sort(self, found: _Found, submission_id: str) -> None:
        """What becomes of one that nobody took."""
        script, now, lying = found.script, found.now, found.lying
        try:
            asked = self._asked(submission_id)
        except NotFound:  # its writer took it away, maybe while a script was taking it: of the two one is first
            if submission_id in found.begun:
                found.note(self._end(submission_id, lying, script=script, now=now, state=SubmissionState.CANCELLED))
            return
        except NO_REQUEST as error:
            told = {"family": type(error).__name__, "message": str(error)[: submissions.MAX_MESSAGE_LENGTH]}
            failed, code = SubmissionState.FAILED, error.exit_code
            found.note(
                self._end(submission_id, lying, script=script, now=now, state=failed, exit_code=code, error=told)
            )
            return
        if self._is_blocked(asked.principal):
            found.blocked[asked.principal] = found.blocked.get(asked.principal, 0) + 1
        elif (by := self._stopper(asked.submission(), lying)) is not None:
            cancelled = SubmissionState.CANCELLED
            found.note(self._end(submission_id, lying, script=script, now=now, state=cancelled, stopped_by=by))
        else:
            file = lying.requests.get(submission_id)
            since = (file.changed_at if file else None) or asked.since
            found.waiting.append(Waiting(key=submission_id, user=asked.principal, since=since))

    def _end(
        self,
        submission_id: str,
        lying: Lying | None = None,
        *,
        script: str,
        now: datetime,
        state: SubmissionState,
        **fields: Any,
    ) -> Submission | None:
        """The submission, which is over; `lying` is what lies in the inbox, where that is known already."""
        tail, before = self._read(submission_id)
        asked = None if before else self._asked_or_none(submission_id)
        principal = before.principal if before else asked.principal if asked else None
        request = asked.request if asked else None
        body = submissions.ended(state, script=script, at=now, principal=principal, request=request, **fields)
        done = self._append(submission_id, before, tail, body)
        if done is not None:
            self._clear(submission_id, lying or self.lying(submission_id))
        return done

    def _asked_or_none(self, submission_id: str) -> Asked | None:
        try:
            return self._asked(submission_id)
        except (NotFound, *NO_REQUEST):
            return None

    def _clear(self, submission_id: str, lying: Lying) -> None:
        """Nothing of a submission that has ended lies where scripts look. What may not be deleted stays there."""
        for key in lying.keys_of(submission_id):
            with suppress(Storage, InvalidInput):
                self._requests.delete(key)
        self._store.delete(_open_key(submission_id))

    def _take_out(self, untold: Sequence[Named], now: datetime) -> None:
        """What nobody can be told of is gone once it has lain there for long enough, `LOOKED_AT` files in a look."""
        for file in untold[:LOOKED_AT]:
            if file.changed_at is not None and now - file.changed_at >= UNTOLD_STAYS:
                with suppress(Storage, InvalidInput):
                    self._requests.delete(file.key)

    def _is_blocked(self, principal: str) -> bool:
        return principal != self._account and self._account not in self._carriers

    def _require_carrier(self, principal: str) -> None:
        if self._is_blocked(principal):
            raise AccessDenied(
                f"'{self._account}' may not carry out what '{principal}' submitted: that takes the role '{CARRIER}' in "
                "principals.yaml"
            )

    def _append(
        self, submission_id: str, before: Submission | None, tail: Entry | None, body: Mapping[str, Any]
    ) -> Submission | None:
        """The submission after `body`; None where that doesn't fit, or another script was first."""
        try:
            after = submissions.apply(submission_id, before, body)
            self._journal(submission_id).append(body, after=tail)
        except Conflict:
            return None
        return after


class _Found:
    """What a look came upon so far."""

    def __init__(self, *, script: str, now: datetime, lying: Lying, begun: set[str]) -> None:
        self.script, self.now, self.lying, self.begun = script, now, lying, begun
        self.waiting: list[Waiting] = []
        self.held: list[Submission] = []
        self.ended: list[Submission] = []
        self.blocked: dict[str, int] = {}
        self.crowded: dict[str, int] = {}
        self.unreadable: dict[str, str] = {}
        self.over: set[str] = set()
        self.seen: set[str] = set()

    def note(self, ended: Submission | None) -> None:
        """What came to its end; None: another script was first."""
        self.ended += [] if ended is None else [ended]


def open_intake(workspace: Workspace) -> Intake:
    """The inbox of `workspace`, for the account of this process, to take from.

    Raises
    ------
    Storage : this account can't write there.
    """
    requests, account, carriers, signing = opened(workspace)
    if signing.place is None and (signing.signers or not requests.tells_writers):
        signing = replace(signing, place=signing_place(give_identity(workspace.store), requests.place()))
    return Intake(requests, workspace.store, account=account, carriers=carriers, signing=signing)


def _open_key(submission_id: str) -> str:
    return f"{OPEN_FOLDER}/{submission_id}.json"
