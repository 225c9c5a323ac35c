"""Masks: what is done to a column's values before anyone sees them. Pure functions over Arrow columns.

===========  ====================================  ==================================  ===================
mask         takes                                 gives                               keeps nulls
===========  ====================================  ==================================  ===================
drop         any type                              no column                           -
null         any type                              the type, every row null            every row is null
redact       any type                              string, every row ``[redacted]``    no: it hides them
pseudonym    string, binary, integer, boolean,     string, 32 hex digits               yes
             date, timestamp
generalise   width: integer, float                 integer type; float64               yes
             prefix: string                        string                              yes
             date: date, timestamp                 the type                            yes
===========  ====================================  ==================================  ===================

1. A mask acts on a value alone: any split of the rows into pieces gives the same values.
2. Null, redact and generalise are idempotent. A second pseudonym is another pseudonym.
3. The result is built anew: no buffer, dictionary or slot under a null holds a value of the input. Dictionaries are
   decoded first, since a dictionary keeps values that no row holds any more.
4. What has no exact answer becomes null (NaN, infinity, a float whose bins are finer than its own precision): never an
   error that depends on a value, never the value itself.
5. Strictness (`STRICTNESS`): drop > null > redact > pseudonym > generalise. Where several apply, the strictest does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Self, cast

import pyarrow as pa

from dataops.errors import Integrity, InvalidInput, near_match
from dataops.governance.generalising import cut_dates, float_bins, integer_bins, prefixes
from dataops.governance.pseudonyms import is_identity, pseudonyms
from dataops.records import Record, digest, require_name

REDACTED = "[redacted]"
_LARGEST_WIDTH = 2**53  # beyond it a float no longer holds every whole number


class MaskKind(StrEnum):
    """What a mask does; `STRICTNESS` orders them."""

    DROP = "drop"
    NULL = "null"
    REDACT = "redact"
    GENERALISE = "generalise"
    PSEUDONYM = "pseudonym"


STRICTNESS = (MaskKind.DROP, MaskKind.NULL, MaskKind.REDACT, MaskKind.PSEUDONYM, MaskKind.GENERALISE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """One mask with its parameters.

    Parameters
    ----------
    kind
        What it does.
    width, prefix, date
        Of a generalisation, exactly one: bin width (> 0), leading characters kept (>= 1), or the unit dates are cut to.
    domain
        Of a pseudonym: what is named (person, account); equal values of one domain get equal pseudonyms.
    key_id, purpose
        Of a pseudonym in an effect: the key file, and the purpose that its key is derived for. Never the key.
    """

    kind: MaskKind
    width: float | None = None
    prefix: int | None = None
    date: Literal["month", "year"] | None = None
    domain: str | None = None
    key_id: str | None = None
    purpose: str | None = None

    def __post_init__(self) -> None:
        finding = _finding(self)
        if finding:
            raise InvalidInput(f"mask {self.kind}: {finding}")

    @property
    def digest(self) -> str:
        """Identity of the mask; the key's id and purpose are part of it, the key is not."""
        return digest(self.record())

    def record(self) -> Record:
        """The mask as JSON; what isn't set is absent, so parameters of later releases change no digest of today."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in fields.items() if value is not None}

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
            return cls(**{**record, "kind": MaskKind(record["kind"])})
        except (KeyError, ValueError) as error:
            raise InvalidInput(f"not a mask that this release knows: {error}") from None

    def __str__(self) -> str:
        """The mask as people read it: ``generalise width 5``."""
        shown = {"width": self.width, "prefix": self.prefix, "date": self.date, "domain": self.domain}
        words = [
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in shown.items()
            if value is not None
        ]
        return " ".join([str(self.kind), *words])


def _finding(mask: Mask) -> str | None:
    """What is wrong with the parameters, if anything."""
    given = [name for name in ("width", "prefix", "date") if getattr(mask, name) is not None]
    if mask.kind == MaskKind.GENERALISE and len(given) != 1:
        return f"expected exactly one of width, prefix, date, found {', '.join(given) or 'none'}"
    if mask.kind != MaskKind.GENERALISE and given:
        return f"takes no {given[0]}"
    if (mask.kind == MaskKind.PSEUDONYM) != (mask.domain is not None):
        return "a domain (such as person) belongs to a pseudonym, and to nothing else"
    if mask.kind != MaskKind.PSEUDONYM and (mask.key_id or mask.purpose):
        return "takes no key"
    return _value_finding(mask)


def _value_finding(mask: Mask) -> str | None:
    width, prefix, date = mask.width, mask.prefix, mask.date
    if width is not None and not (_is_number(width) and math.isfinite(width) and 0 < width <= _LARGEST_WIDTH):
        return "width must be a number greater than 0 and at most 2**53"
    if prefix is not None and not (_is_number(prefix) and isinstance(prefix, int) and 1 <= prefix <= 1000):
        return "prefix must be a whole number of characters from 1 to 1000"
    if date is not None and date not in {"month", "year"}:
        return "date must be month or year"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def parse_mask(value: Mapping[str, Any] | str | None, *, where: str) -> Mask:
    """The mask that a policy or job file says.

    Parameters
    ----------
    value
        ``drop``, ``null`` (also YAML's own null, which a bare ``mask: null`` is read as), ``redact``,
        ``{generalise: {width: 5}}``, ``{generalise: {prefix: 2}}``, ``{generalise: {date: month}}`` (or year) or
        ``{pseudonym: {domain: person}}``.
    where
        The place, for messages.

    Raises
    ------
    InvalidInput : none of these.
    """
    kind, parameters = _split(value, where)
    known = {MaskKind.GENERALISE: ("width", "prefix", "date"), MaskKind.PSEUDONYM: ("domain",)}.get(kind, ())
    for name in sorted(set(parameters) - set(known), key=str):
        raise InvalidInput(f"{where}: {kind} has no parameter {str(name)!r}.{near_match(str(name), known)}")
    width = parameters.get("width")
    try:
        if parameters.get("domain") is not None:
            require_name(str(parameters["domain"]), "domain")
        # One form for 5 and 5.0, or equal masks would have different digests
        return Mask(
            kind=kind, **{**parameters, **({"width": float(width)} if width is not None and _is_number(width) else {})}
        )
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from None


def _split(value: Mapping[str, Any] | str | None, where: str) -> tuple[MaskKind, Mapping[str, Any]]:
    name: object = value
    parameters: object = {}
    if value is None:
        name = MaskKind.NULL
    elif isinstance(value, Mapping) and len(value) == 1:
        ((name, parameters),) = value.items()
    if isinstance(name, str) and name in set(MaskKind) and isinstance(parameters, Mapping):
        return MaskKind(name), parameters
    near = near_match(name, MaskKind) if isinstance(name, str) else ""
    forms = "drop, null, redact, {generalise: {width: 5}} or {pseudonym: {domain: person}}"
    raise InvalidInput(f"{where}: expected {forms}.{near}")


def output_type(mask: Mask, type_: pa.DataType) -> pa.DataType:
    """The type of a column of `type_` under `mask`.

    Raises
    ------
    InvalidInput : the mask can't take the type, or leaves no column (drop).
    """
    plain = plain_type(type_)
    match mask.kind:
        case MaskKind.DROP:
            raise InvalidInput("mask drop: leaves no column, so it has no type")
        case MaskKind.NULL:
            return plain
        case MaskKind.REDACT:
            return pa.string()
        case MaskKind.PSEUDONYM:
            _require_type(mask, plain, is_identity(plain), "string, binary, integer, boolean, date or timestamp")
            return pa.string()
        case MaskKind.GENERALISE:
            return _generalised_type(mask, plain)


def _generalised_type(mask: Mask, plain: pa.DataType) -> pa.DataType:
    if mask.prefix is not None:
        _require_type(mask, plain, pa.types.is_string(plain), "string")
        return plain
    if mask.date is not None:
        _require_type(mask, plain, pa.types.is_date(plain) or pa.types.is_timestamp(plain), "date or timestamp")
        return plain
    if pa.types.is_integer(plain):
        _require_type(mask, plain, float(mask.width or 0).is_integer(), "float (whole widths only for integers)")
        return plain
    _require_type(mask, plain, pa.types.is_floating(plain), "integer or float")
    return pa.float64()


def _require_type(mask: Mask, type_: pa.DataType, taken: bool, expected: str) -> None:  # noqa: FBT001 - a finding, not a switch
    if not taken:
        raise InvalidInput(f"mask {mask}: takes {expected}, not {type_}")


def plain_type(type_: pa.DataType) -> pa.DataType:
    """`type_` without encoding: dictionaries decoded, one string type, one binary type."""
    types = pa.types
    if types.is_dictionary(type_):
        return plain_type(type_.value_type)
    if types.is_large_string(type_) or types.is_string_view(type_):
        return pa.string()
    if types.is_large_binary(type_) or types.is_binary_view(type_):
        return pa.binary()
    return type_


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`column` in its plain type."""
    target = plain_type(column.type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column if column.type == target else column.cast(target)


def apply_mask(mask: Mask, column: pa.ChunkedArray, *, key: bytes | None = None) -> pa.ChunkedArray:
    """`column` as the mask lets it be seen, in `output_type` and built anew.

    Parameters
    ----------
    mask
        What to do.
    column
        Of any chunks; string, large_string or dictionary alike.
    key
        Of a pseudonym, 32 to 64 bytes from `keys.derive_key`; ignored by the other kinds.

    Raises
    ------
    InvalidInput : the mask can't take the column's type, or a pseudonym has no proper key.
    Integrity : the column's own bytes are broken (text that is not UTF-8). The message holds none of them.
    """
    type_ = output_type(mask, column.type)
    try:
        return pa.chunked_array([_masked(mask, column, type_, key)], type=type_)
    except (pa.ArrowException, UnicodeError, OverflowError):
        raise Integrity(
            f"mask {mask}: a column of {len(column)} rows of type {column.type} holds bytes that are no {column.type}"
        ) from None


def _masked(mask: Mask, column: pa.ChunkedArray, type_: pa.DataType, key: bytes | None) -> pa.Array:
    if mask.kind == MaskKind.NULL:
        return pa.nulls(len(column), type_)
    if mask.kind == MaskKind.REDACT:
        return pa.repeat(pa.scalar(REDACTED, pa.string()), len(column))
    plain = plain_column(column)
    if mask.kind == MaskKind.PSEUDONYM:
        return pseudonyms(plain, key=key)
    if mask.prefix is not None:
        return prefixes(plain, mask.prefix)
    if mask.date is not None:
        return cut_dates(plain, mask.date)
    bins = integer_bins if pa.types.is_integer(type_) else float_bins
    return bins(plain, cast("float", mask.width))
