"""What lies in the inbox, told apart by names and owners before anything is read. Pure.

1. One listing is looked through once, so a look costs what lies there, and not its square.
2. Whose a request is, is taken here to choose what to read first, and for nothing else: what was read says it for
   certain. It is who signed a name beside it, or else who owns the file, as far as the store tells that.
3. Of one account no more than `LOOKED_AT` requests are read in a look, those that have lain there longest, and of the
   stops of one submission no more than `STOPS_READ` of one account. So nobody's flood keeps others waiting.
4. What nobody can be told of is not read at all. It lies there for `UNTOLD_STAYS`, so that who put it can see why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from dataops.scheduling.requests import requested_by_key, stopped_by_key
from dataops.scheduling.signed import STOP, SignedName, read_name
from dataops.storage.objects import Named

LOOKED_AT = 100
"""How many requests of one account are read in a look."""
STOPS_READ = 10
"""How many stops of one submission and one account are read."""
MOST_WAITING = 1000
"""How many submissions one account may have that haven't ended; `submit` refuses more."""
UNTOLD_STAYS = timedelta(hours=1)
"""How long a file lies there of which nobody can be told."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lying:
    """What one listing of the inbox found.

    Attributes
    ----------
    account : whose all is where the store keeps no owners; None where nobody can be told by an owner.
    requests : the file of each request, by the submission's id.
    stops : the files of all stops, by the id of the submission; one with a signed name is its signer's.
    signed : the users who signed a name beside a request, and these files, by the id of the submission.
    unproven : the files whose names are signed by no key that counts.
    strange : how many files are none of these.
    """

    account: str | None
    requests: Mapping[str, Named]
    stops: Mapping[str, tuple[Named, ...]]
    signed: Mapping[str, tuple[Named, ...]] = field(default_factory=dict)
    unproven: tuple[Named, ...] = ()
    strange: int = 0

    def owner(self, file: Named) -> str | None:
        """Whose `file` seems to be; None where nobody can be told."""
        return self.account if file.is_own or file.owner is None else file.owner

    def owners_of(self, submission_id: str) -> Collection[str]:
        """Whose the request seems to be: of several who signed a name beside it, who wrote it is one."""
        signed = {one.owner for one in self.signed.get(submission_id, ()) if one.owner is not None}
        owner = self.owner(self.requests[submission_id])
        return signed or ([] if owner is None else [owner])

    def by_owner(self, without: Collection[str] = ()) -> dict[str, list[str]]:
        """The ids of all requests but those `without`, by whose they seem to be, those that lie there longest first."""
        found: dict[str, list[str]] = {}
        for one in sorted(self.requests.keys() - set(without), key=self._since):
            for owner in self.owners_of(one):
                found.setdefault(owner, []).append(one)
        return found

    def untold(self, without: Collection[str] = ()) -> list[Named]:
        """The files of which nobody can be told, but those of the submissions `without`, those that lie there longest
        first.
        """
        files = [file for one, file in self.requests.items() if one not in without and not self.owners_of(one)]
        files += [file for found in self.stops.values() for file in found if self.owner(file) is None]
        files += [file for one, found in self.signed.items() if one not in self.requests for file in found]
        return sorted([*files, *self.unproven], key=lambda file: (file.changed_at or _LONG_AGO, file.key))

    def stops_of(self, submission_id: str, writers: Collection[str]) -> Iterator[str]:
        """The keys of those stops of a submission that seem to be of `writers`, up to `STOPS_READ` of each."""
        read = dict.fromkeys(writers, 0)
        for one in self.stops.get(submission_id, ()):
            owner = self.owner(one)
            if owner is not None and read.get(owner, STOPS_READ) < STOPS_READ:
                read[owner] += 1
                yield one.key

    def keys_of(self, submission_id: str) -> list[str]:
        """The keys of all that lies there of a submission."""
        request = self.requests.get(submission_id)
        beside = (*self.stops.get(submission_id, ()), *self.signed.get(submission_id, ()))
        return [one.key for one in (*(() if request is None else (request,)), *beside)]

    def _since(self, submission_id: str) -> tuple[datetime, list[str]]:
        return self.requests[submission_id].changed_at or _LONG_AGO, age_of(submission_id)


def tell_apart(
    files: Iterable[Named], account: str | None, writer: Callable[[SignedName], str | None] = lambda _: None
) -> Lying:
    """What `files` are, as `account` sees them.

    Parameters
    ----------
    account : None where nobody can be told by an owner.
    writer : whose key signed a name, of those that count.
    """
    requests: dict[str, Named] = {}
    stops: dict[str, list[Named]] = {}
    signed: dict[str, list[Named]] = {}
    unproven: list[Named] = []
    strange = 0
    for file in files:
        if (name := read_name(file.key)) is not None:
            user = writer(name)
            if user is None:
                unproven.append(file)
            else:
                kind = stops if name.what == STOP else signed
                kind.setdefault(name.id, []).append(replace(file, owner=user, is_own=False))
        elif (asked := requested_by_key(file.key)) is not None:
            requests[asked] = file
        elif (stopped := stopped_by_key(file.key)) is not None:
            stops.setdefault(stopped, []).append(file)
        else:
            strange += 1
    return Lying(
        account=account,
        requests=requests,
        stops={one: tuple(found) for one, found in stops.items()},
        signed={one: tuple(found) for one, found in signed.items()},
        unproven=tuple(unproven),
        strange=strange,
    )


def age_of(submission_id: str) -> list[str]:
    """What submissions are in order of, by what their ids say of when they were submitted."""
    return submission_id.split("-")[-2:]
