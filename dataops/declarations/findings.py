"""What pydantic found, in words for the person who wrote the file.

1. Every finding has the place of the value in the document: the labels that pydantic adds for members of a union and
   for keys are taken out, by walking the model's annotations along with the error's location.
2. Findings of several members of a union about one value become one: ``expected 'mean' or 'median' or a number``.
3. An unknown key or word comes with its near match among what that very place allows.
4. A value is shown only where it is a short word or a number of the wrong kind.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dataops.declarations.declaration import FindingsError
from dataops.declarations.loader import Finding, Place
from dataops.errors import near_match

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "list_type": "a list",
    "tuple_type": "a list",
    "frozen_set_type": "a list",
    "set_type": "a list",
    "none_required": "null",
}
_LIMITS = {
    "greater_than": ("a number above {:.15g}", "gt"),
    "greater_than_equal": ("a number of at least {:.15g}", "ge"),
    "less_than": ("a number below {:.15g}", "lt"),
    "less_than_equal": ("a number of at most {:.15g}", "le"),
    "too_short": ("a list of at least {}", "min_length"),
    "too_long": ("a list of at most {}", "max_length"),
    "string_too_short": ("a text of at least {} characters", "min_length"),
    "string_too_long": ("a text of at most {} characters", "max_length"),
}
_WRAPPED = re.compile(r"function-\w+\[[^,]*, (.*)\]")
_SHOWN_LENGTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expected:
    """One member of a union, or the only type, that a value did not match."""

    phrase: str
    words: tuple[str, ...] = ()


def find(error: ValidationError, model: type[BaseModel]) -> list[Finding]:
    """The findings in `error`, with places in the document that `model` was to be made of."""
    findings: list[Finding] = []
    expected: dict[Place, list[_Expected]] = {}
    found: dict[Place, Any] = {}
    for details in error.errors(include_url=False):
        place, holder = locate(model, details["loc"])
        kind, context = details["type"], details.get("ctx", {})
        if (phrase := _expected(kind, context)) is not None:
            expected.setdefault(place, []).append(phrase)
            found[place] = details["input"]
        else:
            findings.extend(_explain(kind, context, details["msg"], place=place, holder=holder))
    deeper = [finding.place for finding in findings] + list(expected)
    for place, phrases in expected.items():
        if not any(len(other) > len(place) and other[: len(place)] == place for other in deeper):
            findings.append(Finding(place=place, message=_mismatch(phrases, found[place])))
    return findings


def locate(model: type[BaseModel], location: Sequence[str | int]) -> tuple[Place, frozenset[str]]:
    """Where in the document `location` (pydantic's) points, and the keys that the model there declares.

    Where a value may be one of several types, pydantic's location holds a label for the one it tried (a class, a tag,
    ``list[str]``); for a mapping's key it ends with ``[key]``. Neither is in the document.
    """
    place: list[str | int] = []
    members: tuple[Any, ...] = (model,)
    known: frozenset[str] = frozenset()
    for part in location:
        if len(members) > 1:
            members = _tried(members, str(part))
        elif part != "[key]":
            known = _keys(members[0])
            members = _inside(members[0], part)
            place.append(part)
    return tuple(place), known


def _members(annotation: Any) -> tuple[Any, ...]:
    """The types that a value of `annotation` may have, without None and without decoration."""
    while (inner := getattr(annotation, "__value__", None)) is not None:
        annotation = inner
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(m for a in get_args(annotation) if a is not type(None) for m in _members(a))
    return (annotation,)


def _tried(members: tuple[Any, ...], label: str) -> tuple[Any, ...]:
    """The one of `members` that `label` means: a tag, or a type as pydantic writes it, within its validators or not."""
    while wrapped := _WRAPPED.fullmatch(label):
        label = wrapped.group(1)
    name = label.partition("[")[0]
    named = [m for m in members if name == getattr(get_origin(m) or m, "__name__", None) or label in _tags(m)]
    return tuple((named or list(members))[:1])


def _tags(member: Any) -> frozenset[str]:
    """The words that tell `member` from others of a discriminated union: those of its Literal fields."""
    if not _is_model(member):
        return frozenset()
    literals = (f.annotation for f in member.model_fields.values() if get_origin(f.annotation) is Literal)
    return frozenset(str(word) for literal in literals for word in get_args(literal))


def _is_model(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, BaseModel)


def _keys(member: Any) -> frozenset[str]:
    if not _is_model(member):
        return frozenset()
    return frozenset(field.alias or name for name, field in member.model_fields.items())


def _inside(member: Any, part: str | int) -> tuple[Any, ...]:
    """The types allowed at `part` of a value of type `member`."""
    if _is_model(member):
        for name, field in member.model_fields.items():
            if part in (name, field.alias):
                return _members(field.annotation)
        return (Any,)
    arguments = [a for a in get_args(member) if a is not Ellipsis]
    return _members(arguments[-1]) if arguments else (Any,)


def _expected(kind: str, context: Mapping[str, Any]) -> _Expected | None:
    """What would have been right, if `kind` is about the type, the word or the size of a value."""
    if kind in ("literal_error", "enum"):
        return _one_of(context["expected"])
    if kind in _LIMITS:
        template, limit = _LIMITS[kind]
        return _Expected(phrase=template.format(context[limit]))
    return _Expected(phrase=_KINDS[kind]) if kind in _KINDS else None


def _one_of(listed: str) -> _Expected:
    """The words in pydantic's list of them (``'a', 'b' or 'c'``)."""
    words = tuple(re.findall(r"'([^']*)'", listed))
    return _Expected(phrase=" or ".join(f"'{word}'" for word in words) or listed, words=words)  # a number has no quotes


def _mismatch(expected: Sequence[_Expected], found: Any) -> str:
    phrases = list(dict.fromkeys(one.phrase for one in expected))
    words = [word for one in expected for word in one.words]
    message = f"expected {' or '.join(phrases)}, found {_show(found)}."
    if isinstance(found, str) and words:
        near = near_match(found, words)
        message += near if near.startswith(" Did") else ""
    if "text" in phrases and isinstance(found, int | float | None):
        message += " Put it in quotes if it is text."
    return message.removesuffix(".")


def _explain(
    kind: str, context: Mapping[str, Any], message: str, *, place: Place, holder: frozenset[str]
) -> Iterator[Finding]:
    """A finding that is not about the type: unknown and missing keys, our own checks."""
    if kind == "value_error" and isinstance(error := context.get("error"), FindingsError):
        yield from (Finding(place=(*place, *inner.place), message=inner.message) for inner in error.findings)
        return
    tag = str(context.get("discriminator", "")).strip("'")
    if kind == "extra_forbidden":
        message = f"unknown key.{near_match(str(place[-1]), holder)}"
    elif kind == "missing":
        message = "a required key is missing"
    elif kind == "union_tag_not_found":
        place, message = (*place, tag), "a required key is missing"
    elif kind == "union_tag_invalid":
        place, message = (*place, tag), _mismatch([_one_of(context["expected_tags"])], context["tag"])
    elif kind == "value_error":
        message = str(context.get("error", message))
    yield Finding(place=place, message=message)


def _show(value: Any) -> str:
    """`value` in a message: its kind, and itself where it is short."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return repr(value) if len(value) <= _SHOWN_LENGTH else f"a text of {len(value)} characters"
        case Mapping():
            return "a mapping"
    return f"a list of {len(value)}" if value else "an empty list"
