"""What a mask is: its kind, its parameters, how it is written and compared. What it does to a column is in `masking`.

1. A kind has its own parameters (`_PARAMETERS`); one that belongs to another kind is refused, never left unread.
2. Equal masks have equal records: numbers are kept as floats of at most 2**53, so that 5 and 5.0 are one.
3. Masks have no order by how much they show: ten leading characters show more than one character and the length, and
   of two bins of other widths neither tells what the other does. Only the kinds that say nothing about a value
   (`VALUE_FREE`) surely show no more than another mask, so they alone stand in for others (`overrules`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Literal, Self

from dataops.errors import InvalidInput, near_match
from dataops.records import Record, digest, require_name

_LARGEST = 2.0**53  # beyond it a float no longer holds every whole number
_MAX_CHARACTERS = 1000
_MAX_EDGES = 1000


class MaskKind(StrEnum):
    """What a mask does, and what it lets be seen."""

    DROP = "drop"  # not even the column
    NULL = "null"  # nothing
    REDACT = "redact"  # nothing (of a list how long it is, as all below)
    CONSTANT = "constant"  # nothing
    PSEUDONYM = "pseudonym"  # which rows are alike
    GENERALISE = "generalise"  # the range or group that a value lies in
    KEEP = "keep"  # characters of the value, and its length
    RARE = "rare"  # the value itself, for most rows


KEYED = (MaskKind.PSEUDONYM, MaskKind.RARE)  # that can't be applied without a key
VALUE_FREE = (MaskKind.DROP, MaskKind.NULL, MaskKind.REDACT, MaskKind.CONSTANT)  # where several apply, the first does

_UNITS = ("day", "month", "quarter", "year")
_GENERALISE = ("width", "edges", "top", "bottom", "prefix", "date")
_PARAMETERS: Mapping[MaskKind, tuple[str, ...]] = {
    MaskKind.CONSTANT: ("value",),
    MaskKind.PSEUDONYM: ("domain",),
    MaskKind.GENERALISE: _GENERALISE,
    MaskKind.KEEP: ("first", "last"),
    MaskKind.RARE: ("min_count",),
}
_NUMBERS = ("value", "width", "top", "bottom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """One mask with its parameters.

    Parameters
    ----------
    kind
        What it does.
    value
        Of a constant: the text or number that every row gets.
    width, edges, top, bottom, prefix, date
        Of a generalisation: bin width (> 0), or lower edges of bins (rising), either one or none of them with the
        greatest (`top`) or least (`bottom`) value that is shown; or leading characters kept (>= 1); or the unit that
        dates are cut to.
    first, last
        Of keep: characters shown at the beginning and end (>= 0, not both 0).
    min_count
        Of rare: a value of fewer rows of the dataset isn't shown (>= 2).
    domain
        Of a pseudonym: what is named (person, account); equal values of one domain get equal pseudonyms.
    key_id, purpose
        Of a pseudonym in an effect: the key file, and the purpose that its key is derived for. Never the key.
    """

    kind: MaskKind
    value: str | float | None = None
    width: float | None = None
    edges: tuple[float, ...] | None = None
    top: float | None = None
    bottom: float | None = None
    prefix: int | None = None
    date: Literal["day", "month", "quarter", "year"] | None = None
    first: int | None = None
    last: int | None = None
    min_count: int | None = None
    domain: str | None = None
    key_id: str | None = None
    purpose: str | None = None

    def __post_init__(self) -> None:
        finding = _finding(self)
        if finding:
            raise InvalidInput(f"mask {self.kind}: {finding}")

    @property
    def needs_key(self) -> bool:
        """Whether it hashes values under a key."""
        return self.kind in KEYED

    @property
    def digest(self) -> str:
        """Identity of the mask; the key's id and purpose are part of it, the key is not."""
        return digest(self.record())

    def record(self) -> Record:
        """The mask as JSON; what isn't set is absent, so parameters of later releases change no digest of today."""
        fields = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) is not None}
        return {**fields, "edges": list(self.edges)} if self.edges is not None else fields

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The mask that `record` holds.

        Raises
        ------
        InvalidInput : not the record of a mask that this release knows.
        """
        unknown = sorted(set(record) - set(cls.__slots__))
        if unknown:
            raise InvalidInput(f"mask: unknown key {unknown[0]!r}.{near_match(unknown[0], cls.__slots__)}")
        try:
            return cls(**_one_form({**record, "kind": MaskKind(record["kind"])}))
        except (KeyError, ValueError) as error:
            raise InvalidInput(f"not a mask that this release knows: {error}") from None

    def __str__(self) -> str:
        """The mask as people read it: ``generalise width 5``."""
        names = [*_PARAMETERS.get(self.kind, ())]
        given = [(name, getattr(self, name)) for name in names if getattr(self, name) is not None]
        return " ".join([str(self.kind), *(f"{name} {_shown(value)}" for name, value in given)])


def overrules(kind: MaskKind, other: MaskKind) -> bool:
    """Whether a mask of `kind` shows no more than one of kind `other`, whatever the values and the parameters."""
    if kind not in VALUE_FREE:
        return False
    return other not in VALUE_FREE or VALUE_FREE.index(kind) < VALUE_FREE.index(other)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _finding(mask: Mask) -> str | None:
    """What is wrong with the parameters, if anything."""
    own = _PARAMETERS.get(mask.kind, ())
    for name in dict.fromkeys(name for names in _PARAMETERS.values() for name in names):
        if name not in own and getattr(mask, name) is not None:
            return f"takes no {name}"
    if mask.kind != MaskKind.PSEUDONYM and (mask.key_id or mask.purpose):
        return "takes no key"
    finding = _FINDINGS.get(mask.kind)
    return finding(mask) if finding else None


def _pseudonym_finding(mask: Mask) -> str | None:
    return None if mask.domain else "needs a domain (such as person)"


def _rare_finding(mask: Mask) -> str | None:
    whole = _is_whole(mask.min_count) and 2 <= (mask.min_count or 0) <= _LARGEST
    return None if whole else "min_count must be a whole number of rows, at least 2"


def _constant_finding(mask: Mask) -> str | None:
    value = mask.value
    if isinstance(value, str):
        return None if len(value) <= _MAX_CHARACTERS else f"the text must have at most {_MAX_CHARACTERS} characters"
    return None if _is_number(value) else "needs a text, or a number of at most 2**53"


def _generalise_finding(mask: Mask) -> str | None:
    given = [name for name in _GENERALISE if getattr(mask, name) is not None]
    coding = [name for name in given if name in {"top", "bottom"}]
    others = [name for name in given if name not in coding]
    if len(others) > 1 or not given or (coding and others and others[0] not in {"width", "edges"}):
        found = ", ".join(given) or "none"
        return (
            "expected exactly one of width, edges, prefix, date, or top and bottom alone or with width or edges; "
            f"found {found}"
        )
    for name in coding:
        if not _is_number(getattr(mask, name)):
            return f"{name} must be a number of at most 2**53"
    if mask.top is not None and mask.bottom is not None and not mask.bottom < mask.top:
        return "bottom must be less than top"
    return _grouping_finding(mask)


def _grouping_finding(mask: Mask) -> str | None:
    if mask.width is not None and not (_is_number(mask.width) and mask.width > 0):
        return "width must be a number greater than 0 and at most 2**53"
    if mask.edges is not None and not _are_edges(mask.edges):
        return f"edges must be 1 to {_MAX_EDGES} rising numbers of at most 2**53"
    if mask.prefix is not None and not (_is_whole(mask.prefix) and 1 <= mask.prefix <= _MAX_CHARACTERS):
        return f"prefix must be a whole number of characters from 1 to {_MAX_CHARACTERS}"
    if mask.date is not None and mask.date not in _UNITS:
        return "date must be day, month, quarter or year"
    return None


def _are_edges(edges: object) -> bool:
    return (
        isinstance(edges, tuple)
        and 1 <= len(edges) <= _MAX_EDGES
        and all(_is_number(edge) for edge in edges)
        and all(one < other for one, other in pairwise(edges))
    )


def _keep_finding(mask: Mask) -> str | None:
    first, last = mask.first or 0, mask.last or 0
    if not all(_is_whole(value) and 0 <= value <= _MAX_CHARACTERS for value in (first, last)) or not (first or last):
        return f"needs first, last or both: whole numbers of characters up to {_MAX_CHARACTERS}, not both 0"
    return None


_FINDINGS: Mapping[MaskKind, Callable[[Mask], str | None]] = {
    MaskKind.CONSTANT: _constant_finding,
    MaskKind.PSEUDONYM: _pseudonym_finding,
    MaskKind.GENERALISE: _generalise_finding,
    MaskKind.KEEP: _keep_finding,
    MaskKind.RARE: _rare_finding,
}


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    # The limit first, since a huge whole number can't be made a float
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= _LARGEST
        and math.isfinite(value)
    )


def parse_mask(value: Mapping[str, Any] | str | None, *, where: str) -> Mask:
    """The mask that a policy or job file says.

    Parameters
    ----------
    value
        ``drop``, ``null`` (also YAML's own null, which a bare ``mask: null`` is read as), ``redact``, or one key, the
        kind, with its parameters: ``{generalise: {width: 5}}``, ``{pseudonym: {domain: person}}``,
        ``{keep: {first: 2, last: 2}}``, ``{rare: {min_count: 20}}``; a constant has its value there: ``{constant: x}``.
    where
        The place, for messages.

    Raises
    ------
    InvalidInput : none of these.
    """
    kind, parameters = _split(value, where)
    known = _PARAMETERS.get(kind, ())
    for name in sorted(set(parameters) - set(known), key=str):
        raise InvalidInput(f"{where}: {kind} has no parameter {str(name)!r}.{near_match(str(name), known)}")
    try:
        if parameters.get("domain") is not None:
            require_name(str(parameters["domain"]), "domain")
        return Mask(kind=kind, **_one_form(parameters))
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from None


def _one_form(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as floats, lists as tuples, a `first: 0` left out: or equal masks would have different digests."""
    formed = dict(parameters)
    for name in _NUMBERS:
        if _is_number(formed.get(name)):
            formed[name] = float(formed[name]) + 0.0  # + 0.0: no negative zero
    edges = formed.get("edges")
    if isinstance(edges, list | tuple):
        formed["edges"] = tuple(float(edge) + 0.0 if _is_number(edge) else edge for edge in edges)
    if formed.get("first") and formed.get("last") == 0:
        del formed["last"]
    if formed.get("last") and formed.get("first") == 0:
        del formed["first"]
    return formed


def _split(value: Mapping[str, Any] | str | None, where: str) -> tuple[MaskKind, Mapping[str, Any]]:
    name: object = value
    parameters: object = {}
    if value is None:
        name = MaskKind.NULL
    elif isinstance(value, Mapping) and len(value) == 1:
        ((name, parameters),) = value.items()
        if name == MaskKind.CONSTANT:
            parameters = {"value": parameters}
    if isinstance(name, str) and name in set(MaskKind) and isinstance(parameters, Mapping):
        return MaskKind(name), parameters
    near = near_match(name, MaskKind) if isinstance(name, str) else ""
    forms = "drop, null, redact, or one kind with its parameters such as {generalise: {width: 5}}"
    raise InvalidInput(f"{where}: expected {forms}.{near}")
