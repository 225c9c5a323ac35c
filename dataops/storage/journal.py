"""A journal: what moves on, as numbered records that never change (an alias, a dataset's snapshots, the audit).

1. Record n is put under number n if that is absent: of two who append at once, one gets the number, the other sees it.
2. Numbers start at 1 and have no gap, so "is there a record n?" is true up to the last and false after it. The last is
   found by doubling and halving: no head record that could be wrong, no listing.
3. A record carries its own digest and its predecessor's: one that was edited, swapped or taken out of the middle shows.
   (Records cut off at the end don't show from inside: keep a digest elsewhere for that.)
4. A record that doesn't match its digest, or whose bytes aren't the canonical ones of what it holds, is never returned,
   and nothing is appended to it.
5. Folders below a journal's own are somebody else's: it neither reads nor judges them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

from dataops.errors import Conflict, Format, Integrity, InvalidInput, NotFound, passing
from dataops.records import (
    canonical_bytes,
    decode_record,
    digest,
    encode_record,
    format_time,
    is_canonical,
    new_nonce,
    now_utc,
    require_name,
)
from dataops.storage.objects import Store, check_key

_VERSION = 1
_FIELDS = {"format", "number", "previous", "written_at", "nonce", "body", "digest"}
_FILE = re.compile(r"(\d{10})\.json")


class After(Enum):
    """Where a record goes when the caller doesn't say after which."""

    ANY = "any"


ANY: Final = After.ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One record of a journal; `digest` covers all else, `previous` is the digest of the one before (None: first)."""

    number: int
    previous: str | None
    written_at: str
    nonce: str
    body: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What lies at one place of a journal, as `Journal.examine` finds it.

    Attributes
    ----------
    place : the number that its key says; None for a key that no journal writes.
    entry : what it holds, if that matches its own digest, wherever it belongs (`entry.number`); else None.
    fault : what is wrong with it by itself, in words; "" for nothing.
    """

    place: int | None
    entry: Entry | None
    fault: str


class Journal:
    """The journal of `kind` (``audit``, ``alias`` ...) below the key `prefix` of `store`. Cheap to make, pickles."""

    def __init__(self, store: Store, prefix: str, kind: str, *, max_bytes: int | None = None) -> None:
        """`max_bytes` is what a record has at most, for who can't trust what lies there."""
        self._store = store
        self._max_bytes = max_bytes
        self._prefix = check_key(prefix)
        self._kind = require_name(kind, "kind of journal")
        self._seen = 0  # a number known to be taken: only saves look-ups

    def append(
        self, body: Mapping[str, Any], *, after: Entry | Literal[After.ANY] | None = ANY, nonce: str | None = None
    ) -> Entry:
        """The entry that now holds `body` (JSON types only).

        With `after`, the entry that the caller decided on (None: there was none), `body` directly follows it or isn't
        written; repeated with the same `nonce`, the call gives the entry that is there already. Without it, `body`
        comes after whatever is last; repeated after a crash, it may be there twice.

        Raises
        ------
        Conflict : another record directly follows `after`, or `after` is not in the journal.
        InvalidInput : more bytes than a record may have.
        Integrity, Format : the journal is damaged; nothing was appended.
        """
        plain = json.loads(canonical_bytes(body))  # what a reader will see: text keys, lists
        marker = nonce or new_nonce()
        if not isinstance(after, After):
            return self._append_after(after, plain, marker)
        last = self._seen_last() or self.tail()  # whatever follows what was seen: no look for what isn't there yet
        while True:  # each round that loses is one that somebody else won
            entry = self._put(last, plain, marker)
            if entry is not None:
                return entry
            last = self.tail()

    def read(self, number: int) -> Entry:
        """The entry of that number.

        Raises
        ------
        NotFound : there is none.
        Integrity, Format : what is there is not the record that was written.
        """
        return self._decode(number, self._get(number))

    def tail(self) -> Entry | None:
        """The last entry; None for an empty journal."""
        last = self._last_number(self._seen)
        try:
            entry = self.read(last) if last else None
        except NotFound:
            if not self._seen:
                raise
            self._seen = 0  # what was seen is gone: somebody cut the journal off, so look from the start
            return self.tail()
        self._seen = last
        return entry

    def entries(self, start: int = 1, *, before: Entry | None = None) -> Iterator[Entry]:
        """The entries from number `start` on, in order, each following the one before; those after `before`, if it is
        given.

        Raises
        ------
        Integrity, Format : as `read`; or an entry that doesn't follow its predecessor.
        """
        if start < 1:
            raise InvalidInput(f"a journal's numbers start at 1, not {start}")
        while True:
            try:
                entry = self.read(start if before is None else before.number + 1)
            except NotFound:
                return
            if before is not None and entry.previous != before.digest:
                raise Integrity(self._not_following(entry.number))
            yield entry
            before = entry

    def verify(self) -> list[str]:
        """What is wrong, by number: missing, unreadable, altered, moved, not following; [] when it is whole."""
        findings: list[str] = []
        before: Entry | None = None
        expected = 1
        for one in self.examine():
            if one.place is None:
                findings.append(one.fault)
                continue
            if one.place > expected:
                findings.append(f"records of {self._prefix} are missing: {expected} to {one.place - 1}")
            # Nothing can be said about following one that is missing or unreadable
            known = one.place == 1 or (before is not None and before.number == one.place - 1)
            follows = one.fault or not known or _follows(one.entry, before)
            findings += [one.fault or self._not_following(one.place)] if one.fault or not follows else []
            before, expected = None if one.fault else one.entry, one.place + 1
        return findings

    def examine(self) -> Iterator[Examined]:
        """What lies at each place, in the order of the numbers, strange keys first: for who judges the whole."""
        strange, numbers = self._listed()
        yield from (Examined(place=None, entry=None, fault=fault) for fault in strange)
        for number in numbers:
            yield self._examined(number)

    def _examined(self, number: int) -> Examined:
        try:
            entry = self._parse(number, self._get(number))
        except (NotFound, Integrity, Format, InvalidInput) as error:  # a store that fails says nothing about the record
            return Examined(place=number, entry=None, fault=str(error))
        return Examined(place=number, entry=entry, fault=self._misplaced(number, entry))

    def _misplaced(self, number: int, entry: Entry) -> str:
        return "" if entry.number == number else f"{self._name(number)} holds record {entry.number}: it was moved"

    def _not_following(self, number: int) -> str:
        return f"{self._name(number)} does not follow record {number - 1}: one of the two was exchanged"

    def _seen_last(self) -> Entry | None:
        """The entry that was last when we looked; None where nothing was seen, or it is gone."""
        try:
            return self.read(self._seen) if self._seen else None
        except NotFound:
            return None

    def _append_after(self, after: Entry | None, body: Any, nonce: str) -> Entry:
        if after is not None and not self._holds(after):  # else a made-up entry could leave a gap in the numbers
            raise Conflict(f"{self._name(after.number)} is not the one that was read: read the journal again")
        number = after.number + 1 if after else 1
        entry = self._put(after, body, nonce)
        if entry is None:
            entry = self.read(number)
            if (entry.nonce, entry.body) != (nonce, body):
                raise passing(
                    Conflict(
                        f"{self._name(number)} was written by somebody else at {entry.written_at}: read the journal "
                        "again and decide again"
                    )
                )
        return entry

    def _put(self, after: Entry | None, body: Any, nonce: str) -> Entry | None:
        """The entry that was put after `after`; None when its number was taken."""
        fields = {
            "number": after.number + 1 if after else 1,
            "previous": after.digest if after else None,
            "written_at": format_time(now_utc()),
            "nonce": nonce,
            "body": body,
        }
        entry = Entry(**fields, digest=digest(fields))
        record = encode_record(self._kind, _VERSION, {**fields, "digest": entry.digest})
        if self._max_bytes is not None and len(record) > self._max_bytes:
            raise InvalidInput(
                f"{self._name(entry.number)} would have {len(record)} bytes, and at most {self._max_bytes} are read: "
                "say it in fewer words"
            )
        if not self._store.put_if_absent(self._key(entry.number), record):
            return None
        self._seen = max(self._seen, entry.number)
        return entry

    def _holds(self, entry: Entry) -> bool:
        try:
            return self.read(entry.number).digest == entry.digest
        except NotFound:
            return False

    def _last_number(self, start: int) -> int:
        """The highest number taken, given that `start` is (0: nothing is known)."""
        low, step = start, 1
        while self._taken(low + step):
            low, step = low + step, step * 2
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._taken(middle) else (low, middle)
        return low

    def _taken(self, number: int) -> bool:
        try:
            self._get(number)
        except NotFound:
            return False
        return True

    def _get(self, number: int) -> bytes:
        key = self._key(number)
        return self._store.get(key) if self._max_bytes is None else self._store.get_at_most(key, self._max_bytes)

    def _decode(self, number: int, data: bytes) -> Entry:
        entry = self._parse(number, data)
        if misplaced := self._misplaced(number, entry):
            raise Integrity(misplaced)
        return entry

    def _parse(self, number: int, data: bytes) -> Entry:
        """What `data` holds, if it matches its own digest, whatever number it says."""
        record = decode_record(data, self._kind, _VERSION)
        fields = {name: record[name] for name in record if name not in ("format", "digest")}
        if not is_canonical(data, record):  # a key twice, bytes at the end: others may read something else there
            raise Integrity(f"{self._name(number)} was altered: its bytes are not those of the record that it holds")
        if set(record) != _FIELDS or not _matches(fields, record["digest"]):
            raise Integrity(f"{self._name(number)} was altered: it does not match its own digest")
        return Entry(**fields, digest=record["digest"])

    def _listed(self) -> tuple[list[str], list[int]]:
        """Findings about keys that no journal writes, and the numbers that are there."""
        names = [key.removeprefix(self._prefix + "/") for key in self._store.list_with_links(self._prefix)]
        names = [name for name in names if "/" not in name]
        matches = {name: _FILE.fullmatch(name) for name in names}
        strange = [f"{name} is not a record of this journal" for name, match in matches.items() if not match]
        return strange, sorted(int(match[1]) for match in matches.values() if match)

    def _key(self, number: int) -> str:
        return f"{self._prefix}/{number:010d}.json"

    def _name(self, number: int) -> str:
        return f"record {number} of {self._prefix}"


def _follows(entry: Entry | None, before: Entry | None) -> bool:
    return entry is None or entry.previous == (before.digest if before else None)


def _matches(fields: Mapping[str, Any], recorded: object) -> bool:
    try:
        return digest(fields) == recorded
    except InvalidInput:  # NaN and the like: nothing that we ever wrote
        return False
