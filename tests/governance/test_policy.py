from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import AccessDenied, Format, InvalidInput
from dataops.governance.contract import Column, Contract, derived_contract
from dataops.governance.expressions import parse_expression
from dataops.governance.grant import Grant, Purpose, Verdict, Zone
from dataops.governance.marks import mark
from dataops.governance.masking import STRICTNESS, Mask, MaskKind
from dataops.governance.names import folded
from dataops.governance.policy import decide, parse_policy
from dataops.governance.rules import Policy, Rule, RuleEffect

AT = datetime(2026, 3, 1, tzinfo=UTC)
KEY_ID = "key-20260131t120000000000z-0123456789ab"


def column(name: str, type_: pa.DataType, classification: str, masks: tuple[str, ...] = ()) -> Column:
    return Column(name=name, type=type_, required=False, classification=classification, masks=masks)


COLUMNS = (
    column("person_id", pa.string(), "pii.direct"),
    column("age", pa.int64(), "pii.quasi"),
    column("race", pa.string(), "sensitive.race"),
    column("wage", pa.float64(), "finance"),
    column("note", pa.string(), ""),
)
CONTRACT = derived_contract("census", COLUMNS)
WIDER_CONTRACT = derived_contract("census", [*COLUMNS, column("share", pa.float64(), "finance+pii.quasi")])

BANDS = Mask(kind=MaskKind.GENERALISE, width=5.0)
WIDER = Mask(kind=MaskKind.GENERALISE, width=10.0)
NULL, DROP, REDACT = (Mask(kind=kind) for kind in (MaskKind.NULL, MaskKind.DROP, MaskKind.REDACT))
PSEUDONYM = Mask(kind=MaskKind.PSEUDONYM, domain="person")


def rule(name: str, effect: RuleEffect, **fields: Any) -> Rule:
    where = fields.pop("where", None)
    expression = parse_expression(where, where="test") if where else None
    return Rule(policy="p", id=name, effect=effect, where=expression, **fields)


def allow(name: str = "all", **fields: Any) -> Rule:
    return rule(name, RuleEffect.ALLOW, **{"roles": ("analyst",), **fields})


def deny(name: str, **fields: Any) -> Rule:
    return rule(name, RuleEffect.DENY, **fields)


def masks(name: str, mask: Mask, **fields: Any) -> Rule:
    return rule(name, RuleEffect.MASK, mask=mask, **fields)


def only(*names: str) -> dict[str, Any]:
    return {"names": names, "classifications": ()}


def ask(
    *rules: Rule,
    roles: Collection[str] = ("analyst",),
    purpose: str = "train",
    zone: str = "historical",
    dataset: str = "census",
    contract: Contract = CONTRACT,
    key_id: str | None = KEY_ID,
) -> Grant:
    return decide(
        [Policy(name="p", rules=rules)],
        principal="ana",
        roles=roles,
        purpose=purpose,
        dataset=dataset,
        zone=zone,
        contract=contract,
        key_id=key_id,
        at=AT,
    )


def seen(grant: Grant) -> dict[str, Mask | None]:
    return dict(grant.effect.columns)


# What a column shows, from nothing to everything: rule 4's order with "not at all" before and "as stored" after it.
LEVELS = [None, *STRICTNESS[1:], "as stored"]


def shown(rules: Sequence[Rule], **request: Any) -> tuple[dict[str, int], frozenset[str]]:
    """How much of every column is shown (a level), and the row filters."""
    try:
        grant = ask(*rules, contract=WIDER_CONTRACT, **request)
    except AccessDenied:
        return {}, frozenset()
    levels = {name: LEVELS.index("as stored" if mask is None else mask.kind) for name, mask in seen(grant).items()}
    return levels, frozenset(grant.effect.filters)


def shows_no_more(more_rules: Sequence[Rule], fewer_rules: Sequence[Rule], **request: Any) -> bool:
    levels, filters = shown(more_rules, **request)
    before, filters_before = shown(fewer_rules, **request)
    return all(level <= before.get(name, 0) for name, level in levels.items()) and (
        not levels or filters >= filters_before
    )


some = st.lists
roles = st.sampled_from(["analyst", "operations", "steward"])
scopes = st.fixed_dictionaries(
    {
        "purposes": some(st.sampled_from(["*", *Purpose]), min_size=1, max_size=2).map(tuple),
        "zones": some(st.sampled_from(["*", *Zone]), min_size=1, max_size=2).map(tuple),
        "datasets": some(st.sampled_from(["*", "census", "cen*", "other"]), min_size=1, max_size=2).map(tuple),
    }
)
covered = st.fixed_dictionaries(
    {
        "classifications": some(
            st.sampled_from(["*", "pii.*", "pii.direct", "sensitive.*", "finance"]), max_size=2
        ).map(tuple),
        "names": some(st.sampled_from([one.name for one in COLUMNS]), max_size=2).map(tuple),
    }
)
any_masks = st.sampled_from([BANDS, WIDER, NULL, DROP, REDACT, PSEUDONYM, Mask(kind=MaskKind.GENERALISE, prefix=2)])
wheres = st.sampled_from(["age >= 18", "wage > 0", "race is not null"])
identifiers = st.uuids().map(str)


def a_rule(effect: RuleEffect) -> st.SearchStrategy[Rule]:
    asked = some(roles if effect == RuleEffect.ALLOW else roles | st.just("*"), min_size=1, max_size=2).map(tuple)
    needs: dict[RuleEffect, dict[str, st.SearchStrategy[Any]]] = {
        RuleEffect.MASK: {"mask": any_masks},
        RuleEffect.FILTER: {"where": wheres},
    }
    parts = st.tuples(identifiers, asked, scopes, covered, st.fixed_dictionaries(needs.get(effect, {})))
    return parts.map(lambda p: rule(p[0], effect, roles=p[1], **p[2], **p[3], **p[4]))


wide_allow = st.lists(roles, min_size=1, max_size=2).map(lambda names: allow("wide", roles=tuple(names)))
rule_sets = st.tuples(
    st.lists(wide_allow, max_size=1), st.lists(st.one_of([a_rule(effect) for effect in RuleEffect]), max_size=5)
).map(lambda parts: [*parts[0], *parts[1]])
requests = st.fixed_dictionaries(
    {
        "roles": st.lists(roles, max_size=2),
        "purpose": st.sampled_from(list(Purpose)),
        "zone": st.sampled_from(list(Zone)),
        "key_id": st.sampled_from([KEY_ID, None]),
    }
)


@settings(max_examples=50)
@given(rule_sets, a_rule(RuleEffect.DENY), requests)
def test_adding_a_deny_never_shows_more(rules: list[Rule], added: Rule, request: dict[str, Any]) -> None:
    assert shows_no_more([*rules, added], rules, **request)


@settings(max_examples=50)
@given(rule_sets, a_rule(RuleEffect.MASK), requests)
def test_adding_a_mask_never_shows_more(rules: list[Rule], added: Rule, request: dict[str, Any]) -> None:
    assert shows_no_more([*rules, added], rules, **request)


@settings(max_examples=50)
@given(rule_sets, a_rule(RuleEffect.FILTER), requests)
def test_adding_a_filter_never_shows_more(rules: list[Rule], added: Rule, request: dict[str, Any]) -> None:
    assert shows_no_more([*rules, added], rules, **request)


@settings(max_examples=50)
@given(rule_sets, requests, st.randoms(use_true_random=False))
def test_the_order_of_rules_and_files_says_nothing(rules: list[Rule], request: dict[str, Any], random: Any) -> None:
    def outcome(order: Sequence[Rule]) -> object:
        policies = [
            Policy(name=f"p{n}", rules=tuple(replace(r, policy=f"p{n}") for r in order if len(r.id) % 2 == n))
            for n in (0, 1)
        ]
        random.shuffle(policies)
        try:
            return decide(policies, principal="ana", dataset="census", contract=CONTRACT, at=AT, **request).record()
        except AccessDenied as error:
            return str(error)

    shuffled = list(rules)
    random.shuffle(shuffled)
    assert outcome(shuffled) == outcome(rules)


@settings(max_examples=50)
@given(requests, st.integers(0, 3))
def test_without_a_rule_nothing_is_allowed(request: dict[str, Any], n_policies: int) -> None:
    policies = [Policy(name=f"p{number}", rules=()) for number in range(n_policies)]
    expected = "no policy allows any of it" if policies else "there is no policy yet"
    with pytest.raises(AccessDenied, match=expected):
        decide(policies, principal="ana", dataset="census", contract=CONTRACT, at=AT, **request)


@settings(max_examples=50)
@given(
    rule_sets,
    requests,
    st.text(max_size=8).filter(lambda name: name not in {*Purpose, *Zone, "analyst", "operations", "steward"}),
)
def test_an_unknown_purpose_zone_or_role_is_denied(rules: list[Rule], request: dict[str, Any], unknown: str) -> None:
    for changed in ({"purpose": unknown}, {"zone": unknown}, {"roles": [unknown]}):
        with pytest.raises(AccessDenied):
            ask(*rules, allow("wide", roles=("analyst", "operations", "steward")), **{**request, **changed})


@settings(max_examples=50)
@given(rule_sets, requests)
def test_a_column_is_seen_only_if_a_rule_of_ones_own_role_allows_it(rules: list[Rule], request: dict[str, Any]) -> None:
    levels, _ = shown(rules, **request)
    for one in COLUMNS:
        allowed = any(
            r.effect == RuleEffect.ALLOW and r.covers(one) and set(r.roles) & set(request["roles"]) for r in rules
        )
        assert allowed or one.name not in levels


@settings(max_examples=50)
@given(rule_sets, a_rule(RuleEffect.DENY), requests)
def test_no_rule_brings_back_what_a_deny_takes(rules: list[Rule], added: Rule, request: dict[str, Any]) -> None:
    everywhere = replace(added, roles=("*",), purposes=("*",), zones=("*",), datasets=("*",))
    levels, _ = shown([*rules, everywhere, allow("wide", roles=("analyst", "operations", "steward"))], **request)
    assert not [one.name for one in WIDER_CONTRACT.columns if everywhere.covers(one) and one.name in levels]


def test_a_rule_that_allows_has_no_any_for_roles_even_when_made_by_hand() -> None:
    with pytest.raises(AccessDenied):
        ask(allow(roles=("*",)))


def test_deny_wins_and_is_named_with_its_reason() -> None:
    grant = ask(allow(), deny("no-race", classifications=("sensitive.*",), reason="no grounds for a score"))
    assert list(seen(grant)) == ["person_id", "age", "wage"]
    race = grant.decision("race")
    assert race.verdict == Verdict.DENIED
    assert race.rules == ("p/no-race",)
    assert race.reason == "denied by rule 'no-race' of policy 'p' (no grounds for a score)"


@pytest.mark.parametrize("tag", ["", "unclassified", " Unclassified"])
def test_what_nobody_classified_is_given_by_its_name_or_by_that_word_only(tag: str) -> None:
    contract = derived_contract("census", [COLUMNS[3], column("note", pa.string(), tag)])
    assert "note" not in seen(ask(allow(), contract=contract))
    assert "note" in seen(ask(allow(**only("note")), contract=contract))
    assert "note" in seen(ask(allow(classifications=("unclassified",)), contract=contract))
    assert "note" not in seen(
        ask(allow(names=("note",)), deny("all-but-wage", classifications=("un*",)), contract=contract)
    )


def test_a_column_made_of_several_needs_each_of_them_allowed() -> None:
    mixed = column("share", pa.float64(), "finance+pii.quasi")
    contract = derived_contract("census", [COLUMNS[3], mixed])
    finance, quasi = allow("a", classifications=("finance",)), allow("b", classifications=("pii.quasi",))
    partly = ask(finance, contract=contract)
    assert list(seen(partly)) == ["wage"]
    assert partly.decision("share").reason == "no rule allows 'pii.quasi', which it was made of"
    assert list(seen(ask(finance, quasi, contract=contract))) == ["wage", "share"]
    assert list(seen(ask(allow(), deny("no-pii", classifications=("pii.*",)), contract=contract))) == ["wage"]
    assert seen(ask(allow(), masks("m", BANDS, classifications=("pii.*",)), contract=contract))["share"] == BANDS


def test_a_derived_columns_own_name_gives_nothing_away() -> None:
    renamed = Column(name="bonus", type=pa.string(), classification="sensitive.race", origins=("race",))
    contract = derived_contract("census", [COLUMNS[3], renamed])
    finance = allow("a", classifications=("finance",))
    assert list(seen(ask(finance, allow("b", **only("bonus")), contract=contract))) == ["wage"]
    assert list(seen(ask(finance, allow("b", **only("race")), contract=contract))) == ["wage", "bonus"]


def test_rules_by_name_follow_a_column_into_what_is_derived_from_it() -> None:
    derived = Column(name="years", type=pa.int64(), classification="pii.quasi", origins=("age", "wage"))
    contract = derived_contract("census", [COLUMNS[3], derived])
    assert list(seen(ask(allow(), deny("d", **only("AGE")), contract=contract))) == ["wage"]
    assert seen(ask(allow(), masks("m", BANDS, **only("age")), contract=contract)) == {"wage": None, "years": BANDS}
    assert list(seen(ask(allow("a", classifications=("finance",), names=("age",)), contract=contract))) == ["wage"]


def test_a_wide_table_is_decided_in_one_look_at_its_names() -> None:
    wide = derived_contract("wide", [column(f"c{n}", pa.float64(), "work") for n in range(3_000)])
    assert len(seen(ask(allow(), contract=wide))) == 3_000


def test_a_new_table_is_covered_by_its_classifications_on_arrival() -> None:
    contract = derived_contract(
        "arrival", [column("mail", pa.string(), "pii.direct"), column("sum", pa.int64(), "finance")]
    )
    grant = ask(allow(), deny("no-direct", classifications=("pii.direct",)), dataset="arrival", contract=contract)
    assert list(seen(grant)) == ["sum"]


def test_the_strictest_mask_is_applied() -> None:
    order = [BANDS, PSEUDONYM, REDACT, NULL]
    for weaker, stricter in pairwise(order):
        grant = ask(allow(), masks("a", weaker, **only("age")), masks("b", stricter, **only("age")))
        mask = seen(grant)["age"]
        assert mask is not None
        assert mask.kind == stricter.kind
        assert grant.decision("age").rules == ("p/b",)
    assert "age" not in seen(ask(allow(), masks("a", NULL, **only("age")), masks("b", DROP, **only("age"))))


def test_a_dropped_column_is_refused_to_whoever_asks_for_it() -> None:
    grant = ask(allow(), masks("no-age", DROP, **only("age")))
    with pytest.raises(AccessDenied, match=r"age \(pii.quasi\): masked \(drop\) by rule 'no-age'"):
        grant.require_columns(["age"], what="job 'income'")


@pytest.mark.parametrize("stronger", [[], [masks("c", NULL, **only("age"))], [masks("c", PSEUDONYM, **only("age"))]])
def test_two_different_masks_of_one_kind_show_nothing_whatever_else_applies(stronger: list[Rule]) -> None:
    grant = ask(allow(), masks("a", BANDS, **only("age")), masks("b", WIDER, **only("age")), *stronger)
    assert "age" not in seen(grant)
    assert "generalise width 10, generalise width 5" in grant.decision("age").reason


def test_equal_masks_of_two_rules_are_one() -> None:
    grant = ask(allow(), masks("a", BANDS, **only("age")), masks("b", BANDS, **only("age")))
    assert seen(grant)["age"] == BANDS
    assert grant.decision("age").rules == ("p/a", "p/b")


def test_a_mask_that_can_not_take_the_type_shows_nothing_and_says_so() -> None:
    grant = ask(allow(), masks("bands", BANDS, classifications=("pii.*",)))
    assert seen(grant)["age"] == BANDS
    assert "person_id" not in seen(grant)
    assert "takes integer or float, not string: rule 'bands' of policy 'p'" in grant.decision("person_id").reason


def test_a_pseudonym_is_bound_to_the_key_and_the_purpose() -> None:
    rules = [allow(), masks("who", PSEUDONYM, **only("person_id"))]
    mask = seen(ask(*rules))["person_id"]
    assert mask == replace(PSEUDONYM, key_id=KEY_ID, purpose="train")
    assert seen(ask(*rules, purpose="score"))["person_id"] != mask


def test_a_pseudonym_without_a_key_shows_nothing_and_names_the_way_out() -> None:
    grant = ask(allow(), masks("who", PSEUDONYM, **only("person_id")), key_id=None)
    assert "person_id" not in seen(grant)
    assert "dataops keys init" in grant.decision("person_id").reason


def test_a_mask_that_the_stored_values_carry_is_listed_and_not_applied_again() -> None:
    rules = [allow(), masks("who", PSEUDONYM, **only("person_id")), masks("bands", BANDS, **only("age"))]
    applied = {name: mark(mask) for name, mask in seen(ask(*rules)).items() if mask}
    prepared = derived_contract(
        "prepared", [replace(c, masks=tuple(filter(None, [applied.get(c.name)]))) for c in COLUMNS]
    )
    grant = ask(*rules, contract=prepared)
    assert seen(grant)["person_id"] is None
    assert seen(grant)["age"] is None
    assert grant.decision("age").verdict == Verdict.MASKED
    assert grant.decision("age").mask == BANDS
    rotated = ask(*rules, contract=prepared, key_id=KEY_ID.replace("2026", "2027"))
    assert seen(rotated)["person_id"] is not None


def test_filters_of_all_rules_hold_together() -> None:
    rules = [rule("adults", RuleEffect.FILTER, where="age >= 18"), rule("paid", RuleEffect.FILTER, where="wage > 0")]
    grant = ask(allow(**only("race")), *rules, rule("again", RuleEffect.FILTER, where="wage > 0"))
    assert list(grant.effect.filters) == sorted({one.where.sql for one in rules if one.where})
    assert list(seen(grant)) == ["race"]


@pytest.mark.parametrize(
    ("where", "finding"),
    [
        ("agee > 18", "Did you mean 'age'"),
        ("age + 1", "true or false"),
        ("age > race", "can't take"),
        ("birth_year > 18", "stored masked"),
    ],
)
def test_a_filter_that_can_not_be_applied_refuses_the_dataset(where: str, finding: str) -> None:
    contract = derived_contract("census", [*COLUMNS, column("birth_year", pa.int64(), "pii.quasi", (mark(BANDS),))])
    with pytest.raises(AccessDenied, match="row filter can't be applied") as caught:
        ask(allow(), rule("f", RuleEffect.FILTER, where=where), contract=contract)
    assert finding in str(caught.value)
    assert "rule 'f' of policy 'p'" in str(caught.value)


def test_when_every_column_is_denied_the_refusal_lists_why() -> None:
    with pytest.raises(AccessDenied) as caught:
        ask(allow(**only("age", "race")), deny("nobody", **only("age", "race"), reason="under review"))
    assert "may read nothing of dataset 'census' (historical) for purpose 'train'" in str(caught.value)
    assert "  age, race: denied by rule 'nobody' of policy 'p' (under review)" in str(caught.value)
    assert "  person_id, wage, note: no rule allows it" in str(caught.value)


@pytest.mark.parametrize("spelling", ["AGE", " age ", "\uff41\uff47\uff45", "a\u200bge", "Age"])
def test_no_spelling_of_a_name_slips_past_a_rule(spelling: str) -> None:
    grant = ask(allow(), deny("no-age", **only(spelling)))
    assert "age" not in seen(grant)
    assert folded(spelling) == "age"


def test_columns_that_read_the_same_are_both_denied() -> None:
    twins = (COLUMNS[3], column("ssn", pa.string(), "finance"), column("SSN", pa.string(), "finance"))
    contract = Contract(name="twins", version="1", columns=twins)
    grant = ask(allow(), contract=contract)
    assert list(seen(grant)) == ["wage"]
    assert "read the same" in grant.decision("SSN").reason


def test_the_effect_is_the_same_for_everybody_whom_the_rules_treat_alike() -> None:
    rules = (allow(roles=("analyst", "steward")), masks("bands", BANDS, **only("age")))
    assert ask(*rules).effect.digest == ask(*rules, roles=["steward", "operations"]).effect.digest
    assert ask(*rules).effect.digest != ask(*rules, deny("d", **only("wage"))).effect.digest


def test_two_policies_of_one_name_are_refused() -> None:
    twice = [Policy(name="p", rules=(allow(),)), Policy(name="p", rules=())]
    with pytest.raises(InvalidInput, match="more than one policy is named 'p'"):
        decide(
            twice,
            principal="ana",
            roles=["analyst"],
            purpose="train",
            dataset="c",
            zone="historical",
            contract=CONTRACT,
            at=AT,
        )


# The file

GOOD: dict[str, Any] = {
    "format": "dataops/policy/1",
    "name": "privacy",
    "rules": [
        {
            "id": "analysts",
            "effect": "allow",
            "roles": ["analyst"],
            "purposes": ["train", "evaluate"],
            "zones": ["*"],
            "datasets": ["cen*"],
            "columns": {"classifications": ["*"]},
        },
        {"id": "no-race", "effect": "deny", "columns": {"classifications": ["sensitive.*"]}, "reason": "no\n grounds"},
        {"id": "bands", "effect": "mask", "columns": {"names": ["age"]}, "mask": {"generalise": {"width": 5}}},
        {"id": "adults", "effect": "filter", "where": "age >= 18"},
    ],
}


def changed(index: int, **fields: Any) -> dict[str, Any]:
    """GOOD with fields of a rule changed; None takes one out."""
    rules = [dict(one) for one in GOOD["rules"]]
    rules[index] = {key: value for key, value in {**rules[index], **fields}.items() if value is not None}
    return {**GOOD, "rules": rules}


def parse(value: Any, lines: Mapping[tuple[str | int, ...], int] | None = None) -> Policy:
    return parse_policy(value, source="policies/x.yaml", lines=lines or {})


def test_a_policy_file_becomes_rules_that_decide() -> None:
    policy = parse(GOOD)
    grant = decide(
        [policy],
        principal="ana",
        roles=["analyst"],
        purpose="train",
        dataset="census",
        zone="production",
        contract=CONTRACT,
        at=AT,
    )
    assert seen(grant) == {"person_id": None, "age": BANDS, "wage": None}
    assert list(grant.effect.filters) == [parse_expression("age >= 18", where="test").sql]
    assert grant.decision("race").reason == "denied by rule 'no-race' of policy 'privacy' (no grounds)"


def test_the_digest_of_a_policy_is_that_of_its_rules_in_any_order() -> None:
    assert parse(GOOD).digest == parse({**GOOD, "rules": GOOD["rules"][::-1]}).digest
    assert parse(GOOD).digest != parse(changed(2, mask="null")).digest


def test_a_policy_without_rules_is_a_policy() -> None:
    assert parse({**GOOD, "rules": []}).rules == ()


@pytest.mark.parametrize(
    ("value", "finding"),
    [
        ({**GOOD, "ruels": []}, "ruels: unknown key. Did you mean 'rules'?"),
        ({**GOOD, "name": "../etc"}, "name: '../etc' can't name a policy"),
        ({**GOOD, "name": 5}, "name: expected text"),
        ({key: value for key, value in GOOD.items() if key != "name"}, "'name' is missing"),
        ({**GOOD, "format": "policy"}, "format: expected dataops/policy/1"),
        ({**GOOD, "rules": "all"}, "rules: expected a list"),
        ({**GOOD, "rules": ["all"]}, "rules[0]: expected a rule"),
        ([], "expected a mapping"),
        (
            changed(0, effect="alow"),
            "rules[0].effect: expected allow, deny, mask, filter, group. Did you mean 'allow'?",
        ),
        (changed(0, roles=None), "rules[0]: 'roles' is missing"),
        (changed(0, zones=None), "rules[0]: 'zones' is missing"),
        (changed(0, columns=None), "rules[0]: 'columns' is missing"),
        (changed(0, roles=["*"]), "rules[0].roles: a rule that allows names its roles"),
        (changed(0, roles="analyst"), "rules[0].roles: expected a list"),
        (changed(0, roles=[]), "rules[0].roles: expected a list with at least one entry"),
        (changed(0, roles=[False]), "rules[0].roles[0]: expected text; put it in quotes"),
        (
            changed(0, purposes=["trian"]),
            "rules[0].purposes[0]: 'trian' is not one of the purposes. Did you mean 'train'?",
        ),
        (changed(0, zones=["prod"]), "rules[0].zones[0]: 'prod' is not one of the zones."),
        (changed(0, role=["x"]), "rules[0].role: unknown key. Did you mean 'roles'?"),
        (changed(0, mask="null"), "rules[0].mask: does not belong to a rule with effect allow"),
        (changed(3, columns={"names": ["age"]}), "rules[3].columns: does not belong to a rule with effect filter"),
        (changed(1, columns={"classification": ["x"]}), "Did you mean 'classifications'?"),
        (changed(1, columns={}), "rules[1].columns: expected {classifications"),
        (changed(1, columns={"names": ["*"]}), "rules[1].columns.names: names are written out"),
        (changed(1, columns={"names": []}), "rules[1].columns.names: expected a list"),
        (changed(1, id="analysts"), "rules[1].id: rule 0 has the id 'analysts' too"),
        (changed(1, id="No Race"), "rules[1].id: 'No Race' can't name a rule"),
        (changed(1, reason=["why"]), "rules[1].reason: expected text"),
        (changed(2, mask="redcat"), "rules[2].mask: not a mask: expected drop"),
        (changed(2, mask=None), "rules[2]: 'mask' is missing"),
        (changed(3, where="age >="), "rules[3].where: row filter"),
        (changed(3, where=5), "rules[3].where: expected text"),
        (changed(3, where="__import__('os')"), "rules[3].where: "),
    ],
)
def test_a_mistake_is_named_with_its_place(value: Any, finding: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(value)
    assert finding in str(caught.value)
    assert str(caught.value).startswith("policies/x.yaml: ")


def test_all_findings_come_at_once_each_with_its_line() -> None:
    lines = {
        (): 1,
        ("rules",): 3,
        ("rules", 0): 4,
        ("rules", 0, "purposes"): 7,
        ("rules", 0, "zones", 0): 9,
        ("rules", 2): 20,
    }
    value = changed(0, purposes=["trian"], zones=["prod"])
    value["rules"][2] = {"id": "bands", "effect": "mask", "columns": {"names": ["age"]}}
    with pytest.raises(InvalidInput) as caught:
        parse({**value, "nmae": "x"}, lines)
    findings = str(caught.value).splitlines()
    assert [finding.split(": ")[0] for finding in findings] == [f"policies/x.yaml:{line}" for line in (1, 7, 9, 20)]


def test_a_policy_of_a_later_format_is_refused_as_such() -> None:
    with pytest.raises(Format, match="expected dataops/policy/1, found dataops/policy/2"):
        parse({**GOOD, "format": "dataops/policy/2", "groups": []})
