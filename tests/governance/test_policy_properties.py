"""What holds of any rules, any person and any dataset: restrictions only restrict, in any order, at any time."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import AccessDenied, InvalidInput
from dataops.governance.contract import Column, Contract, derived_contract
from dataops.governance.expressions import parse_expression
from dataops.governance.grant import Purpose, Zone
from dataops.governance.hashing import keyed_hashes
from dataops.governance.marks import derived_marks, mark
from dataops.governance.mask import Mask, MaskKind
from dataops.governance.masking import apply_mask, output_type
from dataops.governance.policy import decide
from dataops.governance.rules import MadeFrom, Policy, Rule, RuleEffect
from dataops.records import digest, format_time, parse_time
from tests.governance.policies import (
    AT,
    COLUMNS,
    DROP,
    KEY_ID,
    NULL,
    PSEUDONYM,
    REDACT,
    allow,
    ask,
    column,
    masks,
    only,
    rule,
    seen,
)

STORED = replace(PSEUDONYM, key_id=KEY_ID, purpose="train")
CONTRACT = derived_contract(
    "census",
    [
        *COLUMNS,
        column("share", pa.float64(), "finance+pii.quasi"),
        column("born", pa.date32(), "pii.quasi"),
        column("tags", pa.list_(pa.string()), "pii.direct"),
        column("card", pa.string(), "pii.direct"),
        Column(name="years", type=pa.int64(), classification="pii.quasi", origins=("age",)),
        Column(name="mix", type=pa.int64(), classification="finance+pii.quasi", origins=("a", "b")),
        column("gone", pa.string(), "pii.quasi"),
    ],
)
NAMES = [one.name for one in CONTRACT.columns]
_VALUES = {
    str(one): pa.chunked_array([pa.array(values, one)])
    for one, values in (
        (pa.string(), ["Alexander", "Alexandra", "Zebediah", "Alexander", "ab", "aa", "a", "", "[rare]", "***", None]),
        (pa.int64(), [-3, 0, 1, 4, 5, 7, 9, 10, 18, 18, None]),
        (pa.float64(), [-0.5, 0.0, 1.0, 4.5, 5.0, 7.0, 1e300, math.nan, math.nan, 18.0, None]),
        (pa.date32(), [*(dt.date(2026, month, day) for month in (1, 3, 4) for day in (1, 1, 30)), None, None]),
        (pa.list_(pa.string()), [["ab", "b"], ["ab"], ["a", None], ["b"], [None], [], [], None, ["a"], ["b"], None]),
    )
}
TABLE = {one.name: _VALUES[str(one.type)] for one in CONTRACT.columns}
WHERES = ["age >= 18", "wage > 0", "race is not null"]
DIGESTS = [digest(parse_expression(where, where="test").sql) for where in WHERES]

RESTRICTING = [effect for effect in RuleEffect if effect is not RuleEffect.ALLOW]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A dataset of ours: its columns with their marks, and what is stored in them."""

    contract: Contract
    stored: Mapping[str, pa.ChunkedArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a request shows: the values of each column, row by row; nothing at all where it is refused."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unmasked: frozenset[str] = frozenset()
    filters: frozenset[str] = frozenset()
    min_group_size: int = 0

    def is_at_most(self, other: Shown) -> bool:
        """Whether all of it can be worked out from `other`, whatever the values: equal there means equal here."""
        if not self.columns:
            return True
        return (
            self.columns.keys() <= other.columns.keys()
            and all(_is_function(other.columns[name], values) for name, values in self.columns.items())
            and self.unmasked <= other.unmasked
            and self.filters >= other.filters
            and self.min_group_size >= other.min_group_size
        )


def _is_function(given: Sequence[str], values: Sequence[str]) -> bool:
    return len(set(zip(given, values, strict=True))) == len(set(given))


def shown(rules: Sequence[Rule], made: Made | None = None, **request: Any) -> Shown:
    made = made or NOTHING
    try:
        grant = ask(*rules, contract=made.contract, **request)
    except AccessDenied:
        return Shown()
    effect = grant.effect
    columns = {
        name: tuple(map(repr, masked(mask, made.stored[name]).to_pylist()))
        for name, mask in effect.columns.items()
        if mask is None or mask.kind is not MaskKind.DROP
    }
    return Shown(
        columns=columns,
        unmasked=frozenset(name for name, mask in effect.columns.items() if mask is None),
        filters=frozenset(effect.filters),
        min_group_size=effect.min_group_size,
    )


def masked(mask: Mask | None, values: pa.ChunkedArray) -> pa.ChunkedArray:
    if mask is None:
        return values
    key = hashlib.sha256(f"{mask.domain} {mask.key_id} {mask.purpose}".encode()).digest()
    if mask.kind is not MaskKind.RARE:
        return apply_mask(mask, values, key=key)
    flat = pa.chunked_array([pc.list_flatten(values).combine_chunks()]) if pa.types.is_list(values.type) else values
    counted = pc.value_counts(flat)
    often = counted.field("values").filter(pc.greater_equal(counted.field("counts"), mask.min_count))
    return apply_mask(mask, values, key=key, frequent=np.sort(keyed_hashes([pa.chunked_array([often])], key=key)))


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
# Few letters and small numbers, so that values of one group under a mask are often of two under another
texts = st.text("ab", max_size=4) | st.sampled_from(
    ["Alexander", "Alexandra", "Zebediah", "[rare]", "[redacted]", "***"]
)
integers = st.integers(-3, 12) | st.sampled_from([17, 18, 120, 10**12])
numbers = integers.map(float) | st.sampled_from([0.5, -0.5, 1e300, float("nan")])
dates = st.dates(dt.date(2025, 11, 1), dt.date(2026, 4, 30))


def values_of(type_: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_list(type_):
        return st.none() | st.lists(st.none() | texts, max_size=2)
    one = {"string": texts, "int64": integers, "double": numbers, "date32[day]": dates}[str(type_)]
    return st.none() | one


def generalising(**parameters: st.SearchStrategy[Any]) -> st.SearchStrategy[Mask]:
    return st.fixed_dictionaries(parameters).map(lambda given: Mask(kind=MaskKind.GENERALISE, **given))


whole = st.integers(-3, 20).map(float)
ends = st.tuples(whole, whole).filter(lambda pair: pair[0] != pair[1]).map(sorted)
widths = st.sampled_from([1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 100.0])
constants = [Mask(kind=MaskKind.CONSTANT, value=value) for value in ("x", "", 0.0, 1.0)]
value_free = st.sampled_from([NULL, DROP, REDACT, *constants])
text_masks = st.one_of(
    generalising(prefix=st.integers(1, 10)),
    st.tuples(st.integers(0, 6), st.integers(0, 3))
    .filter(any)
    .map(lambda kept: Mask(kind=MaskKind.KEEP, first=kept[0] or None, last=kept[1] or None)),
)
number_masks = st.one_of(
    generalising(width=widths),
    generalising(edges=st.sets(whole, min_size=1, max_size=4).map(lambda edges: tuple(sorted(edges)))),
    generalising(top=whole | st.just(1e9)),
    generalising(bottom=whole | st.just(-1e9)),
    st.tuples(ends, widths).map(
        lambda given: Mask(kind=MaskKind.GENERALISE, bottom=given[0][0], top=given[0][1], width=given[1])
    ),
)
date_masks = generalising(date=st.sampled_from(["month", "quarter", "year"]))
identity_masks = st.one_of(
    st.sampled_from(["person", "account"]).map(lambda domain: Mask(kind=MaskKind.PSEUDONYM, domain=domain)),
    st.integers(2, 4).map(lambda count: Mask(kind=MaskKind.RARE, min_count=count)),
)
any_masks = value_free | text_masks | number_masks | date_masks | identity_masks


def masks_of(type_: pa.DataType) -> st.SearchStrategy[Mask]:
    """Masks that can take the type, most of which show something."""
    one = type_.value_type if pa.types.is_list(type_) else type_
    own = {"string": text_masks, "int64": number_masks, "double": number_masks, "date32[day]": date_masks}[str(one)]
    return own | own | (own if pa.types.is_floating(one) else identity_masks) | value_free


def stored_masks(type_: pa.DataType) -> st.SearchStrategy[Mask | None]:
    """What a job may have put on a column that keeps its type; a pseudonym was bound to a key."""
    bound = masks_of(type_).map(lambda mask: STORED if mask.kind is MaskKind.PSEUDONYM else mask)
    return st.none() | bound.filter(lambda mask: _keeps(mask, type_))


def _keeps(mask: Mask, type_: pa.DataType) -> bool:
    try:
        return bool(output_type(mask, type_) == type_)
    except InvalidInput:
        return False


@st.composite
def made_sets(draw: st.DrawFn, names: Sequence[str] = NAMES, values: Mapping[str, pa.ChunkedArray] = TABLE) -> Made:
    """The columns of those `names`, of which some were stored under drawn masks."""
    columns, stored = [], {}
    for one in map(CONTRACT.column, names):
        stored[one.name] = values[one.name]
        marks: tuple[str, ...] = ()
        if one.name in ("card", "years", "gone", "tags") and (mask := draw(stored_masks(one.type))):
            stored[one.name], marks = masked(mask, stored[one.name]), (mark(mask),)
        if len(one.origins) > 1:  # made of several, some of which were masked
            by_origin = [draw(stored_masks(one.type)) for _ in one.origins]
            marks = derived_marks(
                [
                    column(name, one.type, tag, (mark(mask),) if mask else ())
                    for name, tag, mask in zip(one.origins, one.classification.split("+"), by_origin, strict=True)
                ]
            )
        columns.append(replace(one, masks=marks))
    return Made(contract=derived_contract("census", columns), stored=stored)


NOTHING = Made(
    contract=CONTRACT, stored={one.name: pa.chunked_array([pa.array([], one.type)]) for one in CONTRACT.columns}
)
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
@given(data=st.data(), rules=rule_sets, made=made_sets(), request=requests)
def test_adding_a_rule_that_restricts_never_shows_more(
    effect: RuleEffect, data: st.DataObject, rules: list[Rule], made: Made, request: dict[str, Any]
) -> None:
    added = data.draw(a_rule(effect))
    assert shown([*rules, added], made, **request).is_at_most(shown(rules, made, **request))


@pytest.mark.parametrize("name", ["race", "age", "wage", "born", "tags", "card", "years", "mix"])
@given(data=st.data(), request=requests)
def test_one_more_mask_on_a_column_shows_nothing_that_could_not_be_worked_out_before(
    name: str, data: st.DataObject, request: dict[str, Any]
) -> None:
    drawn_values = data.draw(st.lists(values_of(CONTRACT.column(name).type), max_size=6))
    values = pa.chunked_array([*TABLE[name].chunks, pa.array(drawn_values, CONTRACT.column(name).type)])
    made = data.draw(made_sets([name], {name: values}))
    one = made.contract.column(name)
    about = st.sampled_from(
        [{"names": (subject,)} for subject in (name, *one.origins)]
        + [{"classifications": (tag,)} for tag in one.classification.split("+") if tag]
    )
    drawn = data.draw(st.lists(st.tuples(masks_of(one.type), about), min_size=2, max_size=3))
    asked = [masks(f"m{number}", mask, **{**only(), **named}) for number, (mask, named) in enumerate(drawn)]
    wide = allow("wide", roles=("analyst",), names=(name, *one.origins))
    request = {**request, "roles": ["analyst"], "made_from": ()}
    before, after = (shown([wide, *some], made, **request) for some in (asked[:-1], asked))
    assert after.is_at_most(before)


@given(rule_sets, made_sets(), requests, st.data())
def test_taking_an_allow_away_never_shows_more(
    rules: list[Rule], made: Made, request: dict[str, Any], data: st.DataObject
) -> None:
    allowing = [one for one in rules if one.effect is RuleEffect.ALLOW]
    taken = data.draw(st.sampled_from(allowing)) if allowing else None
    left = [one for one in rules if one is not taken]
    assert shown(left, made, **request).is_at_most(shown(rules, made, **request))


@given(rule_sets, made_sets(), requests, st.lists(ancestors, min_size=1, max_size=2))
def test_being_made_from_more_never_shows_more(
    rules: list[Rule], made: Made, request: dict[str, Any], more: list[MadeFrom]
) -> None:
    extended = {**request, "made_from": [*request["made_from"], *more]}
    assert shown(rules, made, **extended).is_at_most(shown(rules, made, **request))


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
        assert set(shown(rules, **{**request, "at": end}).columns) < set(grant.effect.columns)


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
    shown_columns = shown(rules, **request).columns
    assert all(name not in shown_columns or any(one.covers(CONTRACT.column(name)) for one in mine) for name in NAMES)


@given(rule_sets, a_rule(RuleEffect.DENY), requests)
def test_no_rule_brings_back_what_a_deny_takes(rules: list[Rule], added: Rule, request: dict[str, Any]) -> None:
    everywhere = replace(added, roles=("*",), purposes=("*",), zones=("*",), datasets=("*",))
    wide = allow("wide", roles=("analyst", "operations", "steward"))
    shown_columns = shown([*rules, everywhere, wide], **request).columns
    assert not [one.name for one in CONTRACT.columns if everywhere.covers(one) and one.name in shown_columns]


@given(rule_sets, made_sets(), requests, moments)
def test_the_same_request_later_never_shows_more(
    rules: list[Rule], made: Made, request: dict[str, Any], later: datetime
) -> None:
    first, second = (shown(rules, made, **{**request, "at": at}) for at in sorted([request["at"], later]))
    assert second.is_at_most(first)


def test_the_properties_are_about_something() -> None:
    grant = ask(allow(names=tuple(NAMES), expires_at=AT + timedelta(days=1)), contract=CONTRACT)
    assert list(seen(grant)) == NAMES
    assert grant.expires_at == format_time(AT + timedelta(days=1))


def test_the_measure_sees_what_a_mask_gives_away() -> None:
    stored = {**NOTHING.stored, "race": pa.chunked_array([["Alexander", "Alexandra", "Zebediah"]])}
    made = Made(contract=derived_contract("census", [CONTRACT.column("race")]), stored=stored)
    keep, prefix = Mask(kind=MaskKind.KEEP, first=1), Mask(kind=MaskKind.GENERALISE, prefix=10)
    by_keep, by_prefix, by_null, bare = (
        shown([allow(), *([masks("m", mask)] if mask else [])], made) for mask in (keep, prefix, NULL, None)
    )
    assert not by_prefix.is_at_most(by_keep)  # these ten characters are more than a first letter and the length
    assert not bare.is_at_most(by_prefix)
    assert by_keep.is_at_most(bare)
    assert by_null.is_at_most(by_keep)
    assert not by_keep.is_at_most(by_null)
