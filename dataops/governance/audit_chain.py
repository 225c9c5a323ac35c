"""The chain of the audit: what its records say of each other, and the words for what is found. Pure.

1. Only records that match their own digest speak; of the others nothing is known but that they were altered.
2. A record's successor names its digest. Where that doesn't fit, one of the two was *restamped*.
3. A record that says another number than its place does lies there out of order, unless it still follows the record
   before it: then its number was edited.
4. Nothing is said about a link to a record that is missing, altered or moved: one fault is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dataops.governance.signing import Worth


class Kind(StrEnum):
    """What a finding says was done."""

    ALTERED = "altered"
    RESTAMPED = "restamped"
    MISSING = "missing"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    FORKED = "forked"
    BAD_SIGNATURE = Worth.BAD.value
    UNKNOWN_SIGNER = Worth.UNKNOWN.value
    REVOKED_SIGNER = Worth.REVOKED.value
    OUT_OF_TERM = Worth.OUT_OF_TERM.value
    ANCHOR_DIFFERS = "anchor_differs"
    UNANNOUNCED = "unannounced"
    STRANGE = "strange"
    UNSIGNED_TAIL = "unsigned_tail"
    UNANCHORED = "unanchored"
    OPEN = "open"
    REPEATED = "repeated"


WARNINGS = frozenset({Kind.UNSIGNED_TAIL, Kind.UNANCHORED, Kind.OPEN, Kind.REPEATED})


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFinding:
    """One thing that the audit shows: of what kind, at which record (None: of none alone), in words."""

    kind: Kind
    number: int | None
    message: str

    @property
    def is_warning(self) -> bool:
        """Whether the audit may be as it was written all the same."""
        return self.kind in WARNINGS

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A record that matches its own digest, without its body; what it says may still be made up."""

    place: int
    number: object
    previous: object
    digest: str


def find_moved(links: Mapping[int, Link]) -> set[int]:
    """The places at which a whole record of another place lies."""
    return {place for place in links if _is_moved(place, links)}


def last_number(links: Mapping[int, Link], places: Sequence[int], moved: set[int]) -> int:
    """The highest number that there is a record of, wherever it lies; 0 for none."""
    numbers = [int(str(links[place].number)) if place in moved else place for place in places]
    return max(numbers, default=0)


def judge_chain(
    links: Mapping[int, Link], places: Sequence[int], moved: set[int], heads: Mapping[int, str]
) -> list[AuditFinding]:
    """What the records say of each other.

    Parameters
    ----------
    links
        The records that match their own digests, by place.
    places
        All places where something lies, in order.
    moved
        The places among them that `find_moved` gave.
    heads
        Digests that checkpoints know, by number.
    """
    findings = [
        AuditFinding(
            kind=Kind.REORDERED,
            number=place,
            message=f"at the place of record {place} lies record {links[place].number}",
        )
        for place in sorted(moved)
    ]
    findings += _missing(links, places, moved)
    return findings + list(_find_restamped(links, moved, heads))


def _is_moved(place: int, links: Mapping[int, Link]) -> bool:
    """Whether a whole record of another place lies here; one that only says another number was edited in its place."""
    link = links[place]
    if link.number == place or not isinstance(link.number, int) or isinstance(link.number, bool):
        return False
    before = links.get(place - 1)
    # What follows its neighbour stands where it was written; unless both were moved by the same way
    follows = link.previous == before.digest if before else place == 1 and link.previous is None
    in_place = before.number == place - 1 if before else place == 1
    return not (follows and in_place)


def _missing(links: Mapping[int, Link], places: Sequence[int], moved: set[int]) -> list[AuditFinding]:
    """Ranges of numbers that no record has, neither at its place nor at another's."""
    elsewhere = [links[place].number for place in moved]
    last = last_number(links, places, moved)
    gaps = [(before + 1, after - 1) for before, after in zip([0, *places], places, strict=False) if after > before + 1]
    gaps += [(place, place) for place in moved]
    within = [(first, min(end, last)) for first, end in gaps if first <= last]
    found = sorted(part for first, end in within for part in _without(first, end, elsewhere))
    return [AuditFinding(kind=Kind.MISSING, number=first, message=_spell_missing(first, last)) for first, last in found]


def _without(first: int, last: int, present: Iterable[object]) -> Iterator[tuple[int, int]]:
    """The range from `first` to `last` without the numbers that are `present`, as ranges."""
    for number in sorted(one for one in present if isinstance(one, int) and first <= one <= last):
        if first < number:
            yield first, number - 1
        first = number + 1
    if first <= last:
        yield first, last


def _spell_missing(first: int, last: int) -> str:
    return f"record {first} is missing" if first == last else f"records {first} to {last} are missing"


def _find_restamped(links: Mapping[int, Link], moved: set[int], heads: Mapping[int, str]) -> Iterator[AuditFinding]:
    """Records whose digest isn't the one that their neighbours know.

    A record that was restamped breaks the link to its successor, and with another `previous` the one before it too. So
    between two broken links stands the culprit, and of a single one it is the record before. At the end no successor
    speaks for the later of the two; a checkpoint may.
    """
    culprits = {place for place, link in links.items() if link.number != place and place not in moved}
    broken = [place for place, link in links.items() if place not in moved and _is_broken(place, link, links, moved)]
    for first, last in _runs(sorted(broken)):
        if first < last:
            culprits |= set(range(first, last))
        elif first == 1:
            culprits.add(1)
        elif not {first, first - 1} & culprits:
            yield _broken_link(first, links, heads, ended=first + 1 not in links or first + 1 in moved)
    yield from map(restamped, sorted(culprits))


def _broken_link(place: int, links: Mapping[int, Link], heads: Mapping[int, str], *, ended: bool) -> AuditFinding:
    """Which of two records was restamped, where `place` doesn't follow the one before; `ended`: no other knows it."""
    same = {one: heads[one] == links[one].digest for one in (place - 1, place) if one in heads}
    if not ended or same.get(place) or same.get(place - 1) is False:
        return restamped(place - 1)
    if same.get(place) is False or same.get(place - 1):
        return restamped(place)
    message = f"record {place - 1} or record {place} was edited and its digest computed again: the two don't fit"
    return AuditFinding(kind=Kind.RESTAMPED, number=place - 1, message=message)


def _is_broken(place: int, link: Link, links: Mapping[int, Link], moved: set[int]) -> bool:
    """Whether the record doesn't follow the one before; nothing is said where that one is missing or moved."""
    if place == 1:
        return link.previous is not None
    before = links.get(place - 1)
    return before is not None and place - 1 not in moved and link.previous != before.digest


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each stretch of consecutive numbers."""
    for position, number in enumerate(numbers):
        if position == 0 or numbers[position - 1] != number - 1:
            first = number
        if position + 1 == len(numbers) or numbers[position + 1] != number + 1:
            yield first, number


def restamped(place: int) -> AuditFinding:
    """The finding that the record at `place` was."""
    message = f"record {place} was edited and its digest computed again: it is not the one that others know"
    return AuditFinding(kind=Kind.RESTAMPED, number=place, message=message)
