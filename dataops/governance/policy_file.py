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

1. A key that its place doesn't know is refused with its near match, as is a purpose or zone that doesn't exist.
2. An ``allow`` says roles, purposes, zones, datasets and columns, each of them. Other effects may leave them out: any.
3. Every finding carries file and line, and all are raised at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

from dataops.errors import Format, InvalidInput, near_match
from dataops.governance.expressions import Expression, parse_expression
from dataops.governance.findings import Findings, Place
from dataops.governance.grant import Purpose, Zone
from dataops.governance.masking import Mask, parse_mask
from dataops.governance.rules import ANY, Policy, Rule, RuleEffect
from dataops.records import require_name

POLICY_FORMAT = "dataops/policy/1"

_DOCUMENT_KEYS = ("format", "name", "rules")
_EVERY_RULE = ("id", "effect", "roles", "purposes", "zones", "datasets", "reason")
_KEYS = {
    RuleEffect.ALLOW: (*_EVERY_RULE, "columns"),
    RuleEffect.DENY: (*_EVERY_RULE, "columns"),
    RuleEffect.MASK: (*_EVERY_RULE, "columns", "mask"),
    RuleEffect.FILTER: (*_EVERY_RULE, "where"),
}
_REQUIRED = {
    RuleEffect.ALLOW: ("id", "roles", "purposes", "zones", "datasets", "columns"),
    RuleEffect.DENY: ("id",),
    RuleEffect.MASK: ("id", "columns", "mask"),
    RuleEffect.FILTER: ("id", "where"),
}
_ALL_KEYS = tuple(dict.fromkeys(key for keys in _KEYS.values() for key in keys))


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
        findings.add((*place, key), f"does not belong to a rule with effect {effect}")
    _check_keys(value, place, (*_KEYS[effect], *misplaced), _REQUIRED[effect], findings)
    classifications, names = _columns(value, place, findings)
    return Rule(
        policy=policy,
        id=_name(value, "rule", (*place, "id"), findings),
        effect=effect,
        roles=_roles(value, effect, place, findings),
        purposes=_words(value, "purposes", place, findings, vocabulary=Purpose),
        zones=_words(value, "zones", place, findings, vocabulary=Zone),
        datasets=_words(value, "datasets", place, findings),
        classifications=classifications,
        names=names,
        mask=_mask(value, place, findings) if effect == RuleEffect.MASK and "mask" in value else None,
        where=_where(value, place, findings) if effect == RuleEffect.FILTER and "where" in value else None,
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


def _roles(value: Mapping[str, Any], effect: RuleEffect, place: Place, findings: Findings) -> tuple[str, ...]:
    roles = _words(value, "roles", place, findings)
    if effect == RuleEffect.ALLOW and ANY in roles and "roles" in value:
        findings.add(
            (*place, "roles"), "a rule that allows names its roles: '*' would give to roles that nobody wrote down"
        )
    return roles


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
    if ANY in names:
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
        if not isinstance(word, str) or not word.strip():
            findings.add((*place, index), "expected text; put it in quotes if it is text")
        elif vocabulary is not None and word != ANY and word not in set(vocabulary):
            findings.add((*place, index), f"'{word}' is not one of the {key}.{near_match(word, vocabulary)}")
    return tuple(word for word in listed if isinstance(word, str))


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


def _reason(value: Mapping[str, Any], place: Place, findings: Findings) -> str:
    try:
        return " ".join(_text(value.get("reason", "")).split())
    except InvalidInput as error:
        findings.add((*place, "reason"), str(error))
        return ""
