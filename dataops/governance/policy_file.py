"""The policy file: strict reading of one YAML document into a `Policy`. Pure.

::

    format: dataops/policy/1
    name: privacy
    rules:
      - {id: analysts, effect: allow, roles: [analyst], purposes: [train], zones: [historical], datasets: ["census_*"],
         columns: {classifications: ["public", "pii.quasi"], names: [age]}}
      - {id: no-direct, effect: deny, columns: {classifications: ["pii.direct"]}, reason: people are not named}
      - {id: age-bands, effect: mask, columns: {names: [age]}, mask: {generalise: {width: 5}}}
      - {id: adults, effect: filter, where: "age >= 18"}
      - {id: crowds, effect: group, min_size: 50}
      - {id: audit-week, effect: allow, principals: [ana], expires: 2027-01-31, purposes: [evaluate],
         zones: [historical], datasets: ["census_*"], columns: {names: [wage]}}

1. A key that its place doesn't know is refused with its near match, as is a purpose or zone that doesn't exist.
2. An ``allow`` says roles or principals (or both), purposes, zones, datasets and columns. Other effects may leave them
   out: any. One that names principals and no roles is about these people.
3. ``expires`` is the last day (UTC) or a moment, and only an ``allow`` has it: data must not open by itself.
4. Roles, datasets and columns have plain names: an entry with a letter that only looks like one of theirs (a Cyrillic
   one) is refused, since a restriction would bind nobody, and look as if it did.
5. Every finding carries file and line, and all are raised at once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from dataops.errors import Format, InvalidInput, near_match
from dataops.governance.expressions import Expression, parse_expression
from dataops.governance.findings import Findings, Place
from dataops.governance.grant import Purpose, Zone
from dataops.governance.mask import Mask, parse_mask
from dataops.governance.names import folded
from dataops.governance.rules import ANY, Policy, Rule, RuleEffect
from dataops.records import require_name

POLICY_FORMAT = "dataops/policy/1"

_DOCUMENT_KEYS = ("format", "name", "rules")
_EVERY_RULE = ("id", "effect", "roles", "principals", "purposes", "zones", "datasets", "reason")
_KEYS = {
    RuleEffect.ALLOW: (*_EVERY_RULE, "columns", "expires"),
    RuleEffect.DENY: (*_EVERY_RULE, "columns"),
    RuleEffect.MASK: (*_EVERY_RULE, "columns", "mask"),
    RuleEffect.FILTER: (*_EVERY_RULE, "where"),
    RuleEffect.GROUP: (*_EVERY_RULE, "min_size"),
}
_REQUIRED = {
    RuleEffect.ALLOW: ("id", "purposes", "zones", "datasets", "columns"),
    RuleEffect.DENY: ("id",),
    RuleEffect.MASK: ("id", "columns", "mask"),
    RuleEffect.FILTER: ("id", "where"),
    RuleEffect.GROUP: ("id", "min_size"),
}
# what these name has plain names: an entry in other letters would bind nobody, and look as if it did
_PLAIN = ("roles", "datasets", "names")
_ALL_KEYS = tuple(dict.fromkeys(key for keys in _KEYS.values() for key in keys))
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(
    rf"{_DAY.pattern}T\d{{2}}:\d{{2}}:\d{{2}}(\.\d{{1,6}})?(Z|[+-]\d{{2}}:\d{{2}})", re.ASCII
)  # RFC 3339


def parse_policy(value: Mapping[str, Any], *, source: str, lines: Mapping[Place, int]) -> Policy:
    """The policy in one YAML document.

    Parameters
    ----------
    value
        The document: JSON types only.
    source
        The file's name, for messages.
    lines
        Where each value stands: path of keys and indexes -> line, from 1.

    Raises
    ------
    Format : a policy of another format version.
    InvalidInput : all findings, one to a line, each beginning with ``<source>:<line>:``.
    """
    findings = Findings(source=source, lines=lines)
    policy = _policy(value, findings)
    findings.require_none()
    return policy


def _policy(value: Any, findings: Findings) -> Policy:
    if not isinstance(value, Mapping):
        findings.add((), f"expected a mapping with {', '.join(_DOCUMENT_KEYS)}")
        findings.require_none()
    found = value.get("format", POLICY_FORMAT)
    if found != POLICY_FORMAT and str(found).startswith("dataops/"):
        raise Format(f"{findings.where(('format',))}: expected {POLICY_FORMAT}, found {found}")
    _check_keys(value, (), _DOCUMENT_KEYS, _DOCUMENT_KEYS, findings)
    if found != POLICY_FORMAT:
        findings.add(("format",), f"expected {POLICY_FORMAT}")
    name = _name(value, "policy", ("name",), findings)
    rules = value.get("rules", [])
    if not isinstance(rules, Sequence) or isinstance(rules, str):
        findings.add(("rules",), "expected a list of rules")
        rules = []
    read = [_rule(rule, name, ("rules", index), findings) for index, rule in enumerate(rules)]
    _check_ids(read, findings)
    return Policy(name=name, rules=tuple(rule for rule in read if rule is not None))


def _check_keys(
    value: Mapping[str, Any], place: Place, known: Collection[str], required: Collection[str], findings: Findings
) -> None:
    for key in value:
        if key not in known:
            findings.add((*place, key), f"unknown key.{near_match(str(key), known)}")
    for key in required:
        if key not in value:
            findings.add(place, f"'{key}' is missing")


def _check_ids(rules: Sequence[Rule | None], findings: Findings) -> None:
    first: dict[str, int] = {}
    for index, rule in enumerate(rules):
        if rule is not None and rule.id and first.setdefault(rule.id, index) != index:
            findings.add(("rules", index, "id"), f"rule {first[rule.id]} has the id '{rule.id}' too: give each its own")


def _rule(value: Any, policy: str, place: Place, findings: Findings) -> Rule | None:
    effect = _effect(value, place, findings)
    if effect is None:
        return None
    misplaced = [key for key in value if key in _ALL_KEYS and key not in _KEYS[effect]]
    for key in misplaced:
        why = ": what it takes away would be given by the mere passing of time" if key == "expires" else ""
        findings.add((*place, key), f"does not belong to a rule with effect {effect}{why}")
    _check_keys(value, place, (*_KEYS[effect], *misplaced), _REQUIRED[effect], findings)
    classifications, names = _columns(value, place, findings)
    return Rule(
        policy=policy,
        id=_name(value, "rule", (*place, "id"), findings),
        effect=effect,
        roles=_people(value, "roles", effect, place, findings),
        principals=_people(value, "principals", effect, place, findings),
        purposes=_words(value, "purposes", place, findings, vocabulary=Purpose),
        zones=_words(value, "zones", place, findings, vocabulary=Zone),
        datasets=_words(value, "datasets", place, findings),
        classifications=classifications,
        names=names,
        mask=_mask(value, place, findings) if effect == RuleEffect.MASK and "mask" in value else None,
        where=_where(value, place, findings) if effect == RuleEffect.FILTER and "where" in value else None,
        min_size=_min_size(value, place, findings) if effect == RuleEffect.GROUP and "min_size" in value else None,
        expires_at=_expires(value, place, findings) if effect == RuleEffect.ALLOW and "expires" in value else None,
        reason=_reason(value, place, findings),
    )


def _effect(value: Any, place: Place, findings: Findings) -> RuleEffect | None:
    """The rule's effect; without one nothing else of the rule can be judged."""
    if not isinstance(value, Mapping):
        findings.add(place, "expected a rule: a mapping with id, effect and what the effect needs")
        return None
    found = value.get("effect")
    if not isinstance(found, str) or found not in set(RuleEffect):
        near = near_match(found, RuleEffect) if isinstance(found, str) else ""
        findings.add((*place, "effect"), f"expected {', '.join(RuleEffect)}.{near}")
        return None
    return RuleEffect(found)


def _name(value: Mapping[str, Any], what: str, place: Place, findings: Findings) -> str:
    """The name at the last key of `place`, or "" with a finding (a missing key is found elsewhere)."""
    name = value.get(str(place[-1]))
    if name is None:
        return ""
    try:
        return require_name(_text(name), what)
    except InvalidInput as error:
        findings.add(place, str(error))
        return ""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput("expected text; put it in quotes if it is text")
    return value


def _people(
    value: Mapping[str, Any], key: str, effect: RuleEffect, place: Place, findings: Findings
) -> tuple[str, ...]:
    """The roles, or the principals: whoever is left out isn't meant where the other list names somebody."""
    named = "roles" in value or "principals" in value
    if effect == RuleEffect.ALLOW and not named and key == "roles":
        findings.add(place, "'roles' is missing: a rule that allows says whom, by roles or principals")
    missing = (ANY,) if key == "roles" and not named else ()
    people = _words(value, key, place, findings, missing=missing)
    if effect == RuleEffect.ALLOW and ANY in people and key in value:
        findings.add(
            (*place, key), f"a rule that allows names its {key}: '*' would give to {key} that nobody wrote down"
        )
    return people


def _columns(value: Mapping[str, Any], place: Place, findings: Findings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Patterns of classifications and names of columns; without `columns` any column."""
    if "columns" not in value:
        return (ANY,), ()
    columns, place = value["columns"], (*place, "columns")
    known = ("classifications", "names")
    if not isinstance(columns, Mapping) or not columns:
        findings.add(place, "expected {classifications: [...]} or {names: [...]} or both")
        return (), ()
    _check_keys(columns, place, known, (), findings)
    classifications, names = (_words(columns, key, place, findings, missing=()) for key in known)
    if any(set(name) & set("*?[") for name in names):
        findings.add((*place, "names"), "names are written out; for any column use {classifications: ['*']}")
    return classifications, names


def _words(
    value: Mapping[str, Any],
    key: str,
    place: Place,
    findings: Findings,
    *,
    vocabulary: type[StrEnum] | None = None,
    missing: tuple[str, ...] = (ANY,),
) -> tuple[str, ...]:
    """The list at `key`: texts that aren't empty, each ``*`` or of `vocabulary` where there is one."""
    if key not in value:
        return missing
    listed, place = value[key], (*place, key)
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        findings.add(place, "expected a list with at least one entry, such as ['*']")
        return ()
    for index, word in enumerate(listed):
        if finding := _word_finding(word, key, vocabulary):
            findings.add((*place, index), finding)
    return tuple(word for word in listed if isinstance(word, str))


def _word_finding(word: Any, key: str, vocabulary: type[StrEnum] | None) -> str | None:
    if not isinstance(word, str) or not word.strip():
        return "expected text; put it in quotes if it is text"
    if vocabulary is not None and word != ANY and word not in set(vocabulary):
        return f"'{word}' is not one of the {key}.{near_match(word, vocabulary)}"
    odd = next((letter for letter in folded(word) if not letter.isascii()), None) if key in _PLAIN else None
    if odd is not None:
        letter = f"U+{ord(odd):04X} ({unicodedata.name(odd, 'without a name').lower()})"
        return f"{word!a} matches nothing: {key} have plain ASCII names, and it has {letter}"
    return None


def _mask(value: Mapping[str, Any], place: Place, findings: Findings) -> Mask | None:
    try:
        return parse_mask(value["mask"], where="not a mask")
    except InvalidInput as error:
        findings.add((*place, "mask"), str(error))
        return None


def _where(value: Mapping[str, Any], place: Place, findings: Findings) -> Expression | None:
    try:
        return parse_expression(_text(value["where"]), where="row filter")
    except InvalidInput as error:
        findings.add((*place, "where"), str(error))
        return None


def _min_size(value: Mapping[str, Any], place: Place, findings: Findings) -> int | None:
    size = value["min_size"]
    if isinstance(size, int) and not isinstance(size, bool) and size > 1:
        return size
    findings.add((*place, "min_size"), "expected a whole number of rows, 2 at least")
    return None


def _expires(value: Mapping[str, Any], place: Place, findings: Findings) -> datetime | None:
    """The first moment at which the rule no longer holds: the end of the day, or the very time."""
    try:
        return _moment(_text(value["expires"]))
    except (ValueError, OverflowError, InvalidInput):  # no such day, or beyond what the calendar holds
        findings.add((*place, "expires"), "expected the last day, such as 2027-01-31, or a time: 2027-01-31T12:00:00Z")
        return None


def _moment(text: str) -> datetime:
    if _DAY.fullmatch(text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(days=1)
    if _MOMENT.fullmatch(text):
        return datetime.fromisoformat(text).astimezone(UTC)
    raise InvalidInput("neither a day nor a time")


def _reason(value: Mapping[str, Any], place: Place, findings: Findings) -> str:
    try:
        return " ".join(_text(value.get("reason", "")).split())
    except InvalidInput as error:
        findings.add((*place, "reason"), str(error))
        return ""
