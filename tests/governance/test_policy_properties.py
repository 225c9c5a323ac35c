"""What holds of any rules, any person and any dataset: restrictions only restrict, in any order, at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import AccessDenied
from dataops.governance.contract import Column, derived_contract
from dataops.governance.expressions import parse_expression
from dataops.governance.grant import Purpose, Zone
from dataops.governance.marks import mark
from dataops.governance.mask import STRICTNESS, Mask, MaskKind
from dataops.governance.policy import decide
from dataops.governance.rules import MadeFrom, Policy, Rule, RuleEffect
from dataops.records import digest, format_time, parse_time
from tests.governance.policies import (
    AT,
    BANDS,
    COLUMNS,
    DROP,
    KEY_ID,
    NULL,
    PSEUDONYM,
    REDACT,
    WIDER,
    allow,
    ask,
    column,
    rule,
    seen,
)

LEVELS = [*STRICTNESS, "as stored"]  # how much a column shows; one that isn't there shows as little as a dropped one
STORED = replace(PSEUDONYM, key_id=KEY_ID, purpose="train")
MASKED_BEFORE = (
    Column(name="card", type=pa.string(), classification="pii.direct", masks=(mark(STORED),)),
    Column(name="years", type=pa.int64(), classification="pii.quasi", masks=(mark(BANDS),), origins=("age",)),
    Column(name="mix", type=pa.int64(), classification="finance+pii.quasi", masks=(mark(BANDS),), origins=("a", "b")),
    Column(name="gone", type=pa.string(), classification="pii.quasi", masks=(mark(REDACT),)),
)
CONTRACT = derived_contract("census", [*COLUMNS, column("share", pa.float64(), "finance+pii.quasi"), *MASKED_BEFORE])
NAMES = [one.name for one in CONTRACT.columns]
WHERES = ["age >= 18", "wage > 0", "race is not null"]
DIGESTS = [digest(parse_expression(where, where="test").sql) for where in WHERES]

RESTRICTING = [effect for effect in RuleEffect if effect is not RuleEffect.ALLOW]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a request shows; nothing at all where it is refused."""

    levels: Mapping[str, int] = field(default_factory=dict)
    filters: frozenset[str] = frozenset()
    min_group_size: int = 0

    def is_at_most(self, other: Shown) -> bool:
        if not self.levels:
            return True
        return (
            all(level <= other.levels.get(name, 0) for name, level in self.levels.items())
            and self.filters >= other.filters
            and self.min_group_size >= other.min_group_size
        )


def shown(rules: Sequence[Rule], **request: Any) -> Shown:
    try:
        grant = ask(*rules, contract=CONTRACT, **request)
    except AccessDenied:
        return Shown()
    effect = grant.effect
    levels = {one.name: _level(one, effect.columns[one.name]) for one in CONTRACT.columns if one.name in effect.columns}
    return Shown(levels=levels, filters=frozenset(effect.filters), min_group_size=effect.min_group_size)


def _level(one: Column, mask: Mask | None) -> int:
    carried = [MaskKind(entry.partition(":")[0]) for entry in one.masks] if len(one.origins) < 2 else []
    return min(LEVELS.index(kind) for kind in [*carried, mask.kind if mask else "as stored"])


some = st.lists
roles = st.sampled_from(["analyst", "operations", "steward"])
people = st.sampled_from(["ana", "bob"])
moments = st.integers(-2, 3).map(lambda days: AT + timedelta(days=days))
datasets = ["*", "census", "cen*", "raw", "other"]
scopes = st.fixed_dictionaries(
    {
        "purposes": some(st.sampled_from(["*", *Purpose]), min_size=1, max_size=2).map(tuple),
        "zones": some(st.sampled_from(["*", *Zone]), min_size=1, max_size=2).map(tuple),
        "datasets": some(st.sampled_from(datasets), min_size=1, max_size=2).map(tuple),
    }
)
covered = st.fixed_dictionaries(
    {
        "classifications": some(
            st.sampled_from(["*", "pii.*", "pii.direct", "sensitive.*", "finance"]), max_size=2
        ).map(tuple),
        "names": some(st.sampled_from(NAMES), max_size=2).map(tuple),
    }
)
OTHERS = (
    Mask(kind=MaskKind.GENERALISE, prefix=2),
    Mask(kind=MaskKind.CONSTANT, value="x"),
    Mask(kind=MaskKind.KEEP, first=1),
    Mask(kind=MaskKind.RARE, min_count=5),
)
any_masks = st.sampled_from([BANDS, WIDER, NULL, DROP, REDACT, PSEUDONYM, *OTHERS])
identifiers = st.uuids().map(str)


def a_rule(effect: RuleEffect) -> st.SearchStrategy[Rule]:
    is_allow = effect is RuleEffect.ALLOW
    whom = st.fixed_dictionaries(
        {
            "roles": some(roles if is_allow else roles | st.just("*"), min_size=0 if is_allow else 1, max_size=2),
            "principals": some(people, max_size=1),
        }
    )
    needs: dict[RuleEffect, dict[str, st.SearchStrategy[Any]]] = {
        RuleEffect.ALLOW: {"expires_at": st.none() | moments},
        RuleEffect.MASK: {"mask": any_masks},
        RuleEffect.FILTER: {"where": st.sampled_from(WHERES)},
        RuleEffect.GROUP: {"min_size": st.integers(2, 50)},
    }
    parts = st.tuples(identifiers, whom, scopes, covered, st.fixed_dictionaries(needs.get(effect, {})))
    return parts.map(
        lambda p: rule(p[0], effect, **{name: tuple(one) for name, one in p[1].items()}, **p[2], **p[3], **p[4])
    )


wide_allows = st.tuples(identifiers, st.lists(roles, min_size=1, max_size=2), st.none() | moments).map(
    lambda parts: allow(f"wide-{parts[0]}", roles=tuple(parts[1]), names=tuple(NAMES), expires_at=parts[2])
)
rule_sets = st.tuples(
    st.lists(wide_allows, max_size=2), st.lists(st.one_of([a_rule(effect) for effect in RuleEffect]), max_size=5)
).map(lambda parts: [*parts[0], *parts[1]])
ancestors = st.builds(
    MadeFrom,
    dataset=st.sampled_from(["raw", "other", "census"]),
    zone=st.sampled_from(list(Zone)),
    filters=st.lists(st.sampled_from(DIGESTS), unique=True).map(tuple),
)
requests = st.fixed_dictionaries(
    {
        "principal": people,
        "roles": st.lists(roles, max_size=2),
        "purpose": st.sampled_from(list(Purpose)),
        "zone": st.sampled_from(list(Zone)),
        "key_id": st.sampled_from([KEY_ID, None]),
        "at": moments,
        "made_from": st.lists(ancestors, max_size=2),
    }
)


@pytest.mark.parametrize("effect", RESTRICTING)
@given(data=st.data(), rules=rule_sets, request=requests)
def test_adding_a_rule_that_restricts_never_shows_more(
    effect: RuleEffect, data: st.DataObject, rules: list[Rule], request: dict[str, Any]
) -> None:
    added = data.draw(a_rule(effect))
    assert shown([*rules, added], **request).is_at_most(shown(rules, **request))


@given(rule_sets, requests, st.data())
def test_taking_an_allow_away_never_shows_more(rules: list[Rule], request: dict[str, Any], data: st.DataObject) -> None:
    allowing = [one for one in rules if one.effect is RuleEffect.ALLOW]
    taken = data.draw(st.sampled_from(allowing)) if allowing else None
    left = [one for one in rules if one is not taken]
    assert shown(left, **request).is_at_most(shown(rules, **request))


@given(rule_sets, requests, st.lists(ancestors, min_size=1, max_size=2))
def test_being_made_from_more_never_shows_more(
    rules: list[Rule], request: dict[str, Any], more: list[MadeFrom]
) -> None:
    extended = {**request, "made_from": [*request["made_from"], *more]}
    assert shown(rules, **extended).is_at_most(shown(rules, **request))


@given(rule_sets, requests)
def test_an_expired_rule_is_as_no_rule(rules: list[Rule], request: dict[str, Any]) -> None:
    left = [one for one in rules if one.holds_at(request["at"])]
    assert outcome(rules, request) == outcome(left, request)


def outcome(rules: Sequence[Rule], request: Mapping[str, Any]) -> object:
    """The grant without the digest of the policy; of a refusal no more than that it is one."""
    try:
        grant = ask(*rules, contract=CONTRACT, **request)
    except AccessDenied:
        return None
    return {**grant.record(), "policy_digest": ""}


@given(rule_sets, requests)
def test_a_grant_holds_unchanged_until_it_expires_and_not_at_that_moment(
    rules: list[Rule], request: dict[str, Any]
) -> None:
    try:
        grant = ask(*rules, contract=CONTRACT, **request)
    except AccessDenied:
        return
    end = parse_time(grant.expires_at) if grant.expires_at else request["at"] + timedelta(days=3_650)
    assert end > request["at"]
    just_before = ask(*rules, contract=CONTRACT, **{**request, "at": end - timedelta(microseconds=1)})
    assert just_before.effect == grant.effect
    assert just_before.expires_at == grant.expires_at
    if grant.expires_at:
        assert set(shown(rules, **{**request, "at": end}).levels) < set(grant.effect.columns)


@given(rule_sets, requests, st.randoms(use_true_random=False))
def test_the_order_of_rules_files_roles_and_origins_says_nothing(
    rules: list[Rule], request: dict[str, Any], random: Any
) -> None:
    def decided(order: Sequence[Rule], asked: Mapping[str, Any]) -> object:
        policies = [
            Policy(name=f"p{n}", rules=tuple(replace(one, policy=f"p{n}") for one in order if len(one.id) % 2 == n))
            for n in (0, 1)
        ]
        random.shuffle(policies)
        try:
            return decide(policies, dataset="census", contract=CONTRACT, **asked).record()
        except AccessDenied as error:
            return sorted(str(error).splitlines())

    shuffled, lists = list(rules), {name: list(request[name]) for name in ("roles", "made_from")}
    for one in (shuffled, *lists.values()):
        random.shuffle(one)
    assert decided(shuffled, {**request, **lists}) == decided(rules, request)


@given(requests, st.integers(0, 3))
def test_without_a_rule_nothing_is_allowed(request: dict[str, Any], n_policies: int) -> None:
    policies = [Policy(name=f"p{number}", rules=()) for number in range(n_policies)]
    expected = "no policy allows any of it" if policies else "there is no policy yet"
    with pytest.raises(AccessDenied, match=expected):
        decide(policies, dataset="census", contract=CONTRACT, **request)


@given(
    rule_sets,
    requests,
    st.text(max_size=8).filter(lambda name: name not in {*Purpose, *Zone, "analyst", "operations", "steward"}),
)
def test_an_unknown_purpose_zone_or_role_is_denied(rules: list[Rule], request: dict[str, Any], unknown: str) -> None:
    wide = allow("wide", roles=("analyst", "operations", "steward"))
    for changed in ({"purpose": unknown}, {"zone": unknown}, {"roles": [unknown], "principal": "nobody"}):
        with pytest.raises(AccessDenied):
            ask(*rules, wide, **{**request, **changed})


@given(rule_sets, requests)
def test_a_column_is_seen_only_if_a_rule_for_oneself_that_holds_allows_it(
    rules: list[Rule], request: dict[str, Any]
) -> None:
    mine = [
        one
        for one in rules
        if one.effect is RuleEffect.ALLOW
        and (set(one.roles) & set(request["roles"]) or request["principal"] in one.principals)
        and one.holds_at(request["at"])
        and {"census", "cen*", "*"} & set(one.datasets)  # an allow concerns the dataset itself alone
    ]
    levels = shown(rules, **request).levels
    assert all(name not in levels or any(one.covers(CONTRACT.column(name)) for one in mine) for name in NAMES)


@given(rule_sets, a_rule(RuleEffect.DENY), requests)
def test_no_rule_brings_back_what_a_deny_takes(rules: list[Rule], added: Rule, request: dict[str, Any]) -> None:
    everywhere = replace(added, roles=("*",), purposes=("*",), zones=("*",), datasets=("*",))
    wide = allow("wide", roles=("analyst", "operations", "steward"))
    levels = shown([*rules, everywhere, wide], **request).levels
    assert not [one.name for one in CONTRACT.columns if everywhere.covers(one) and one.name in levels]


@given(rule_sets, requests, moments)
def test_the_same_request_later_never_shows_more(rules: list[Rule], request: dict[str, Any], later: datetime) -> None:
    first, second = sorted([request["at"], later])
    assert shown(rules, **{**request, "at": second}).is_at_most(shown(rules, **{**request, "at": first}))


def test_the_properties_are_about_something() -> None:
    grant = ask(allow(names=tuple(NAMES), expires_at=AT + timedelta(days=1)), contract=CONTRACT)
    assert list(seen(grant)) == NAMES
    assert grant.expires_at == format_time(AT + timedelta(days=1))
