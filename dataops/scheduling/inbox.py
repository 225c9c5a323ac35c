"""The inbox: what people want run by a scheduler script, on one directory without a server. What a script does with it
is in `intake`.

::

    <storage>/inbox/                     requests and stops: for all who may submit (`requests`)
    <storage>/submissions/<id>/<n>.json  journal: taken, started, ended: for scheduler scripts alone (`submissions`)
    <storage>/submissions/open/<id>.json a submission that was taken and hasn't ended

1. Who submits writes into the inbox and nowhere else, and a script into `submissions`: the two may be different
   accounts, and neither has to be let into the other's folder.
2. A request is shown as whose it is only after that was found out: by its signature (`signed`), or where it has none
   by the owner of its file (`requests`).
3. Who may stop a submission: whoever submitted it, and any account with the role `CARRIER`, whichever runs the script.
4. A user has at most `MOST_WAITING` submissions that haven't ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from dataops.declarations.catalog import read_principals
from dataops.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    NotFound,
    Storage,
    near_match,
    passing,
)
from dataops.records import now_utc
from dataops.runs.submitting_keys import find_key
from dataops.runs.workspace import Workspace, os_user
from dataops.scheduling.lying import MOST_WAITING, Lying, age_of
from dataops.scheduling.requests import (
    INBOX_FOLDER,
    MAX_REQUEST_BYTES,
    Request,
    Stop,
    is_submission_id,
    new_stop_key,
    request_key,
    requested_by_key,
    require_submission_id,
)
from dataops.scheduling.signed import (
    BY,
    STOP,
    Signing,
    find_identity,
    give_identity,
    name_bytes,
    signing_place,
)
from dataops.scheduling.submissions import Submission, SubmissionState, fold
from dataops.scheduling.whose import NO_REQUEST, Asked, Whose
from dataops.storage.journal import Entry, Journal
from dataops.storage.objects import MemoryStore, ReadOnlyStore, Store, open_store, prove

SUBMISSIONS_FOLDER = "submissions"
OPEN_FOLDER = f"{SUBMISSIONS_FOLDER}/open"
CARRIER = "scheduler_script"
"""The role of an account that may carry out what others submitted, as them, and stop it."""

_MAX_ENTRY_BYTES = 2 * MAX_REQUEST_BYTES


class Inbox:
    """The inbox of one workspace, as one account sees it."""

    def __init__(
        self,
        requests: Store,
        store: Store,
        *,
        account: str,
        carriers: Collection[str] = (),
        signing: Signing | None = None,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        """`requests` is the store of the inbox's own folder, `store` that of the workspace; `carriers` are the accounts
        with the role `CARRIER`; `signing` says whose signatures count, None: nobody's.
        """
        self._requests = requests
        self._store = store
        self._account = account
        self._carriers = frozenset(carriers)
        self._signing = signing or Signing()
        self._whose = Whose(requests, account=account, signing=self._signing, clock=clock)

    @property
    def user(self) -> str:
        """Who asks here: the user whose key signs, or this process's account."""
        return self._account if self._signing.user is None else self._signing.user

    def place(self) -> str:
        """What a request says of this inbox."""
        return (self._signing.place if self._signing.key else None) or self._requests.place()

    def submit(self, request: Request) -> None:
        """The request is there for a script to take, and is its writer's for all to see.

        Raises
        ------
        AlreadyExists : another request has its id.
        Conflict : too many of this user haven't ended.
        AccessDenied, Integrity : it can't be told there whose it is; it was taken out again.
        """
        key, signs = request_key(request.id), self._signing.key is not None
        self._require_room(request.id)
        name = self._signing.signed_name(request.id, BY) if signs else None
        with _readable_by_others():
            put = self._requests.put_if_absent(
                key, self._signing.signed_request(request) if signs else request.to_bytes()
            )
            if not put:
                raise AlreadyExists(f"there is a submission {request.id} already")
            if name is not None:  # after the request: until then nobody knows of the id, so nobody can have taken it
                self._requests.put_if_absent(name, name_bytes())
        try:
            self._asked(request.id)
        except BaseException:
            for one in (key, *(() if name is None else (name,))):
                self._requests.delete(one)
            raise

    def ask_to_stop(self, submission_id: str, *, now: datetime) -> None:
        """A script that looks will not begin the submission, or stop it.

        Raises
        ------
        NotFound : there is none of that id.
        AccessDenied : this account may not ask for that.
        """
        found = self.state(submission_id)
        if not self._may_stop(self.user, found.principal):
            raise AccessDenied(
                f"the submission {submission_id} is of '{found.principal}', not of '{self.user}': who submitted it "
                f"may stop it, and an account with the role '{CARRIER}'"
            )
        if self._signing.key is not None:
            self._requests.put_if_absent(self._signing.signed_name(submission_id, STOP), name_bytes())
            return
        stop = Stop(id=submission_id, inbox=self.place(), principal=self._account, asked_at=now)
        with _readable_by_others():
            put = self._requests.put_if_absent(new_stop_key(submission_id), stop.to_bytes())
        if not put:  # 48 random bits
            raise Conflict(f"somebody asked for {submission_id} to stop under the very same name; try again")

    def state(self, submission_id: str, lying: Lying | None = None) -> Submission:
        """The submission as of now; of one that nobody took, what its request says.

        Parameters
        ----------
        lying : what lies in the inbox, where that is known already: whoever asks for many lists it once.

        Raises
        ------
        NotFound : there is none of that id, with the near match.
        """
        require_submission_id(submission_id)
        found = self._known(submission_id)
        if found is None:
            raise NotFound(f"no submission '{submission_id}'.{near_match(submission_id, self.ids())}")
        if found.has_ended:
            return found
        return replace(found, stop_asked_by=self._stopper(found, lying or self.lying(submission_id)))

    def lying(self, submission_id: str = "") -> Lying:
        """What lies there now, unread: all of it, or of one submission."""
        return self._whose.lying(submission_id)

    def ids(self) -> list[str]:
        """All submissions, the oldest first, by what their ids say."""
        taken = {folder for folder in self._store.folders(SUBMISSIONS_FOLDER) if is_submission_id(folder)}
        return sorted(taken | self._asked_for(), key=age_of)

    def unfinished(self) -> list[str]:
        """The submissions that somebody asked for or took and that may not have ended, the oldest first: a look that
        doesn't grow with those that did.
        """
        return sorted(self._begun() | self._asked_for(), key=age_of)

    def stop_asked(self, submission_id: str) -> str | None:
        """Who asked for the submission to stop, of those who may; None where nobody did, or it isn't there."""
        found = self._known(submission_id)
        return None if found is None else self._stopper(found, self.lying(submission_id))

    def _asked_for(self) -> set[str]:
        """The submissions whose requests lie there, of somebody who can be told: others anybody may heap up."""
        if self._requests.tells_writers:
            return {one for key in self._requests.names() if (one := requested_by_key(key))}
        lying = self.lying()
        return {one for one in lying.requests if lying.owners_of(one)}

    def _begun(self) -> set[str]:
        """The submissions that a script took, or is about to, and that haven't ended."""
        markers = (key.rsplit("/", 1)[-1] for key in self._store.list(OPEN_FOLDER))
        return {one for name in markers if (one := requested_by_key(name)) is not None}

    def _require_room(self, submission_id: str) -> None:
        lying = self.lying()
        mine = [one for one in lying.by_owner().get(self.user, []) if one != submission_id]
        if len(mine) < MOST_WAITING:
            return
        waiting = sum(not self.state(one, lying).has_ended for one in mine)  # some that have may not be taken out
        if waiting >= MOST_WAITING:
            raise passing(
                Conflict(
                    f"{waiting:,} submissions of '{self.user}' haven't ended yet, and no account may have more "
                    f"than {MOST_WAITING:,}: wait, or `dataops job cancel` some"
                )
            )

    def _may_stop(self, who: str, principal: str | None) -> bool:
        return who == principal or who in self._carriers

    def _stopper(self, found: Submission, lying: Lying) -> str | None:
        """Who asked for `found` to stop, of those who may."""
        who_may = self._carriers | ({found.principal} if found.principal is not None else frozenset())
        wanted = (self._whose.writer_of_stop(found.id, key) for key in lying.stops_of(found.id, who_may))
        return next((who for who in wanted if who is not None and self._may_stop(who, found.principal)), None)

    def _known(self, submission_id: str) -> Submission | None:
        """What is known of the submission; of one that nobody took, from its request. None where there is neither."""
        found = self._read(submission_id)[1]
        if found is not None:
            return found
        try:
            return self._asked(submission_id).submission()
        except NotFound:
            return None
        except NO_REQUEST as error:
            told = {"family": type(error).__name__, "message": str(error)}
            return Submission(id=submission_id, state=SubmissionState.SUBMITTED, error=told)

    def _asked(self, submission_id: str, *, was_taken: bool = False) -> Asked:
        """The request of the submission, as `Whose.asked` gives it."""
        return self._whose.asked(submission_id, was_taken=was_taken)

    def _read(self, submission_id: str) -> tuple[Entry | None, Submission | None]:
        """The last entry of its journal, and what all of them say; None and None where nobody took it."""
        entries = list(self._journal(submission_id).entries())
        found = fold(submission_id, (entry.body for entry in entries))
        return (entries[-1] if entries else None), found

    def _journal(self, submission_id: str) -> Journal:
        folder = f"{SUBMISSIONS_FOLDER}/{require_submission_id(submission_id)}"
        return Journal(self._store, folder, "submission", max_bytes=_MAX_ENTRY_BYTES)


@contextmanager
def _readable_by_others() -> Iterator[None]:
    """The account that runs the script has to read what is written inside, however private its writer's files are."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def open_inbox(workspace: Workspace, *, read_only: bool = False, sign: bool = False) -> Inbox:
    """The inbox of `workspace`, for the account of this process, or with `sign` for the user whose key for submitting
    is here. Where the store can't tell who writes, what isn't signed is nobody's; so there it is signed always.

    With `read_only` nothing is made or tried out there, and nothing signed; an inbox that isn't there yet is an empty
    one.

    Raises
    ------
    Storage : this account can't write there; or no scheduler script has ever looked into it, and it is to be signed.
    NotFound, AccessDenied : there is no key for submitting here, or none that ``principals.yaml`` lists.
    """
    requests, account, carriers, signing = opened(workspace, read_only=read_only)
    if not read_only and (sign or not requests.tells_writers):
        key, user = find_key(signing.signers)
        place = signing.place or signing_place(_give_identity(workspace), requests.place())
        signing = replace(signing, key=key, user=user, place=place)
    return Inbox(requests, workspace.store, account=account, carriers=carriers, signing=signing)


def opened(workspace: Workspace, *, read_only: bool = False) -> tuple[Store, str, frozenset[str], Signing]:
    """The store of the inbox, the account of this process, the accounts with the role `CARRIER`, and whose signatures
    count; as `open_inbox`.
    """
    people = read_principals(workspace.settings.workspace / "principals.yaml")
    carriers = frozenset(name for name, principal in people.principals.items() if CARRIER in principal.roles)
    requests = _open_requests(f"{workspace.settings.storage}/{INBOX_FOLDER}", read_only=read_only)
    signers = people.submitters()
    place = signing_place(find_identity(workspace.store), requests.place()) if signers else None
    return requests, os_user(), carriers, Signing(place=place, signers=signers)


def _give_identity(workspace: Workspace) -> str:
    try:
        return give_identity(open_store(workspace.settings.storage))
    except Storage as error:
        error.add_note(
            "This storage has no identity yet, which a signed request names. A scheduler script gives it one when it "
            "looks there for the first time (`dataops schedule run --once`)."
        )
        raise


def _open_requests(url: str, *, read_only: bool) -> Store:
    try:
        with _readable_by_others():
            requests = open_store(url, read_only=read_only)
            if not read_only:
                prove(requests)  # now, where it can be told what is wrong
            return requests
    except NotFound:
        return ReadOnlyStore(MemoryStore())
    except Storage as error:
        error.add_note(
            "Who submits has to write there. Whoever owns the storage makes that folder, for a group or for everybody, "
            "and with the sticky bit set, so that nobody takes away what is another's: `chmod 1777` on it."
        )
        raise
