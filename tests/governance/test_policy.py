from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import Any

import pyarrow as pa
import pytest

from dataops.errors import AccessDenied, Format, InvalidInput
from dataops.governance.contract import Column, Contract, derived_contract
from dataops.governance.expressions import parse_expression
from dataops.governance.grant import Effect, Verdict
from dataops.governance.marks import derived_marks, mark, side_marks
from dataops.governance.mask import Mask, MaskKind
from dataops.governance.names import folded
from dataops.governance.policy import decide, parse_policy
from dataops.governance.rules import MadeFrom, Policy, RuleEffect
from dataops.records import digest, format_time
from tests.governance.policies import (
    AT,
    BANDS,
    COLUMNS,
    CONSTANT,
    CONTRACT,
    DROP,
    KEY_ID,
    NULL,
    PSEUDONYM,
    REDACT,
    WIDER,
    allow,
    ask,
    column,
    deny,
    group,
    masks,
    only,
    rule,
    seen,
)


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


def test_a_mask_that_says_nothing_of_the_value_stands_in_for_the_others() -> None:
    for weaker, stricter in pairwise([BANDS, CONSTANT, REDACT, NULL]):
        grant = ask(allow(), masks("a", weaker, **only("age")), masks("b", stricter, **only("age")))
        assert seen(grant)["age"] == stricter
        assert grant.decision("age").rules == ("p/b",)
    assert "age" not in seen(ask(allow(), masks("a", NULL, **only("age")), masks("b", DROP, **only("age"))))


SHOWING = {
    "pseudonym": PSEUDONYM,
    "prefix": Mask(kind=MaskKind.GENERALISE, prefix=10),
    "shorter": Mask(kind=MaskKind.GENERALISE, prefix=5),
    "keep": Mask(kind=MaskKind.KEEP, first=1),
    "rare": Mask(kind=MaskKind.RARE, min_count=2),
}


@pytest.mark.parametrize(("one", "other"), list(combinations(SHOWING, 2)))
def test_two_masks_that_both_show_something_deny_the_column_and_say_so(one: str, other: str) -> None:
    asked = [masks(name, SHOWING[name], **only("race")) for name in (one, other)]
    for more in ([], [masks("c", NULL, **only("race"))], [masks("c", DROP, **only("race"))]):
        grant = ask(allow(), *asked, *more)
        assert "race" not in seen(grant)
        listed = ", ".join(sorted(str(SHOWING[name]) for name in (one, other)))
        reason = grant.decision("race").reason
        assert f"the policies ask for different masks ({listed}), and neither surely shows less" in reason
        assert f"rule '{one}' of policy 'p'" in reason


def test_a_dropped_column_is_refused_to_whoever_asks_for_it() -> None:
    grant = ask(allow(), masks("no-age", DROP, **only("age")))
    with pytest.raises(AccessDenied, match=r"age \(pii.quasi\): masked \(drop\) by rule 'no-age'"):
        grant.require_columns(["age"], what="job 'income'")


def test_two_different_constants_deny_the_column() -> None:
    other = Mask(kind=MaskKind.CONSTANT, value=1.0)
    grant = ask(allow(), masks("a", CONSTANT, **only("age")), masks("b", other, **only("age")))
    assert "age" not in seen(grant)
    assert "(constant value 0, constant value 1)" in grant.decision("age").reason


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


# People, time and groups


def test_a_rule_may_name_people_besides_roles_and_either_is_enough() -> None:
    rules = [allow(roles=("steward",), principals=("ana",))]
    assert seen(ask(*rules)) == seen(ask(*rules, principal="bob", roles=["steward"]))
    with pytest.raises(AccessDenied):
        ask(*rules, principal="bob")
    with pytest.raises(AccessDenied):  # a user name counts as written where it gives
        ask(*rules, principal="Ana", roles=["analyst"])
    for any_one in ("*", "ana"):
        assert "race" not in seen(ask(allow(), deny("d", roles=(), principals=(any_one,), **only("race"))))
    assert "race" in seen(ask(allow(), deny("d", roles=(), principals=("bob",), **only("race"))))
    assert "race" not in seen(ask(allow(), deny("d", roles=(), principals=("ANA",), **only("race"))))


def test_nobody_is_called_any() -> None:
    with pytest.raises(AccessDenied):
        ask(allow(roles=(), principals=("*",)), principal="*")


def test_a_grant_ends_with_the_first_rule_that_something_of_it_hangs_on() -> None:
    days = [AT + timedelta(days=number) for number in range(4)]
    first = allow("a", expires_at=days[1], **only("age", "wage"))
    second = allow("b", expires_at=days[2], **only("age"))
    third = allow("c", expires_at=days[3], **only("wage"))
    assert ask(first, second, third).expires_at == format_time(days[2])  # the others allow all that `a` does until then
    assert ask(first, second, third, allow("d")).expires_at is None
    assert ask(first, second).expires_at == format_time(days[1])
    assert list(seen(ask(first, second, third, at=days[2]))) == ["wage"]
    with pytest.raises(AccessDenied, match="no policy allows any of it"):
        ask(first, second, third, at=days[3])


def test_the_end_of_a_column_of_several_classifications_is_that_of_the_first_that_lapses() -> None:
    contract = derived_contract("census", [column("share", pa.float64(), "finance+pii.quasi")])
    finance = allow("a", classifications=("finance",), expires_at=AT + timedelta(days=1))
    grant = ask(finance, allow("b", classifications=("pii.quasi",)), contract=contract)
    assert grant.expires_at == format_time(AT + timedelta(days=1))


def test_the_largest_of_the_smallest_groups_holds_and_is_part_of_the_effect() -> None:
    grant = ask(allow(), group("a", 20), group("b", 50), group("c", 90, purposes=("score",)))
    assert grant.effect.min_group_size == 50
    assert Effect.from_record(grant.effect.record()) == grant.effect
    assert grant.effect.digest != ask(allow()).effect.digest
    assert "min_group_size" not in ask(allow()).effect.record()  # what was done under older effects stays done


def test_the_contract_may_name_the_roles_that_have_access() -> None:
    contract = replace(CONTRACT, roles=("Steward",))
    with pytest.raises(AccessDenied, match="gives access to the roles 'Steward' only"):
        ask(allow(), contract=contract)
    assert seen(ask(allow(), contract=contract, roles=["analyst", "steward"]))


def test_a_contract_whose_roles_may_only_write_lets_nobody_read() -> None:
    with pytest.raises(AccessDenied, match="names roles, and none of them has access to read"):
        ask(allow(), contract=replace(CONTRACT, roles=()))
    assert seen(ask(allow(), contract=replace(CONTRACT, roles=None)))


# What follows data

RAW = MadeFrom(dataset="raw", zone="production")


@pytest.mark.parametrize("at_a_remove", [(), (MadeFrom(dataset="between", zone="historical"),)], ids=["direct", "far"])
def test_restrictions_follow_data_into_what_is_made_from_it(at_a_remove: tuple[MadeFrom, ...]) -> None:
    of_raw = {"datasets": ("raw",), "zones": ("production",)}
    rules = [
        allow(),
        deny("d", **of_raw, **only("race")),
        masks("m", BANDS, **of_raw, **only("age")),
        group("g", 30, **of_raw),
    ]
    grant = ask(*rules, made_from=(*at_a_remove, RAW))
    assert "race" not in seen(grant)
    assert (seen(grant)["age"], grant.effect.min_group_size) == (BANDS, 30)
    for elsewhere in ((), (replace(RAW, zone="historical"),), (replace(RAW, dataset="other"),)):
        assert "race" in seen(ask(*rules, made_from=elsewhere))


def test_permission_does_not_follow_data() -> None:
    with pytest.raises(AccessDenied, match="no policy allows any of it"):
        ask(allow(datasets=("raw",)), made_from=[RAW])


def test_rows_that_were_not_filtered_for_this_purpose_are_refused() -> None:
    adults = rule("adults", RuleEffect.FILTER, where="age >= 18", datasets=("raw",), purposes=("train",))
    assert adults.where is not None
    filtered = replace(RAW, filters=(digest("wage > 0"), digest(adults.where.sql)))
    grant = ask(allow(), adults, made_from=[filtered])
    assert grant.effect.filters == ()  # done already
    with pytest.raises(AccessDenied) as caught:
        ask(allow(), adults, made_from=[RAW])
    refusal = str(caught.value)
    assert (
        f"made from 'raw' (production) without row filter {adults.where.sql} that holds for purpose 'train'" in refusal
    )
    assert "rule 'adults' of policy 'p'" in refusal
    assert seen(ask(allow(), adults, made_from=[RAW], purpose="evaluate"))
    with pytest.raises(AccessDenied):  # parts that were added later, from rows that weren't filtered
        ask(allow(), adults, made_from=[filtered, RAW])


def test_a_filter_of_an_ancestor_may_look_at_columns_that_are_gone() -> None:
    born = rule("born", RuleEffect.FILTER, where="birth_year < 2008", datasets=("raw",))
    assert born.where is not None
    assert seen(ask(allow(), born, made_from=[replace(RAW, filters=(digest(born.where.sql),))]))


def made_under(mask: Mask, type_: pa.DataType | None = None) -> Contract:
    return derived_contract("made", [column("person_id", type_ or pa.string(), "pii.direct", (mark(mask),))])


def test_what_is_stored_carries_any_mask_if_it_says_nothing_of_the_value() -> None:
    for asked in (PSEUDONYM, Mask(kind=MaskKind.KEEP, first=1), REDACT, CONSTANT):
        assert seen(ask(allow(), masks("m", asked), contract=made_under(NULL))) == {"person_id": None}
    assert seen(ask(allow(), masks("m", NULL), contract=made_under(REDACT))) == {"person_id": NULL}


def test_another_mask_than_the_stored_one_is_put_on_what_is_stored() -> None:
    prefix, keep = Mask(kind=MaskKind.GENERALISE, prefix=10), Mask(kind=MaskKind.KEEP, first=1)
    bound = replace(PSEUDONYM, key_id=KEY_ID, purpose="train")
    for stored, asked in ((prefix, keep), (keep, prefix), (bound, prefix), (prefix, NULL)):
        assert seen(ask(allow(), masks("m", asked), contract=made_under(stored))) == {"person_id": asked}
    with pytest.raises(AccessDenied, match="different masks"):
        ask(allow(), masks("a", keep), masks("b", prefix), contract=made_under(prefix))


def test_masks_of_several_origins_agree_where_each_is_carried() -> None:
    prefix = Mask(kind=MaskKind.GENERALISE, prefix=2)
    sources = (
        column("age", pa.int64(), "pii.quasi", (mark(BANDS),)),
        column("zip", pa.string(), "geo", (mark(prefix),)),
    )
    contract = mixed_of(*sources)
    rules = [allow(), masks("bands", BANDS, **only("age")), masks("zip", prefix, classifications=("geo",))]
    grant = ask(*rules, contract=contract)
    assert seen(grant) == {"mix": None}
    assert grant.decision("mix").verdict == Verdict.MASKED
    for more in (masks("more", WIDER, **only("age")), masks("more", prefix, **only("age"))):
        with pytest.raises(AccessDenied, match="different masks"):
            ask(*rules, more, contract=contract)
    assert seen(ask(*rules, masks("null", NULL, **only("zip")), contract=contract)) == {"mix": NULL}


def test_what_hides_nothing_of_one_source_is_not_said_of_both() -> None:
    bare, masked = (Column(name=n, type=pa.int64(), origins=("age",), masks=m) for n, m in (("a", ()), ("b", ("x:1",))))
    assert derived_marks([bare, masked]) == derived_marks([masked, bare]) == ()
    assert derived_marks([masked, masked]) == ("x:1",)


def test_the_side_of_a_split_satisfies_every_pseudonym_of_its_keys_and_nothing_else() -> None:
    bound = replace(PSEUDONYM, key_id=KEY_ID, purpose="train")
    keys = [column("person_id", pa.string(), "pii.direct", (mark(bound),)), column("home", pa.string(), "pii.direct")]
    sides = {
        name: derived_contract("made", [replace(keys[0], name="side", masks=marks, origins=origins)])
        for name, marks, origins in (
            ("one", side_marks(keys[:1], [bound, BANDS]), ("person_id",)),
            ("both", side_marks(keys, [bound]), ("person_id", "home")),
        )
    }
    who = masks("who", PSEUDONYM, **only("person_id"))
    for contract in sides.values():
        for request in ({}, {"purpose": "evaluate"}, {"key_id": None}):
            assert seen(ask(allow(), who, contract=contract, **request)) == {"side": None}
        with pytest.raises(AccessDenied):
            ask(allow(), who, deny("no", **only("person_id")), contract=contract)
        for other in (replace(PSEUDONYM, domain="account"), NULL):
            assert seen(ask(allow(), masks("m", other, **only("person_id")), contract=contract))["side"] is not None
    assert seen(ask(allow(), masks("home", PSEUDONYM, **only("home")), contract=sides["both"]))["side"] is not None
    # what is made of the side and of the pseudonym itself shows the pseudonym
    (side,) = sides["one"].columns
    both = replace(side, masks=derived_marks([side, keys[0]]))
    assert seen(ask(allow(), who, purpose="evaluate", contract=derived_contract("x", [both])))["side"] is not None


def test_an_empty_mask_on_one_origin_says_nothing_of_the_others() -> None:
    mixed = Column(
        name="mix", type=pa.int64(), classification="finance+pii.quasi", masks=(mark(NULL),), origins=("age", "wage")
    )
    contract = derived_contract("made", [mixed])
    assert seen(ask(allow(), masks("bands", BANDS, **only("wage")), contract=contract)) == {"mix": BANDS}


def mixed_of(*sources: Column) -> Contract:
    """A made set with one column that was derived from `sources`."""
    mixed = Column(
        name="mix",
        type=pa.int64(),
        classification="+".join(sorted({source.classification for source in sources})),
        masks=derived_marks(sources),
        origins=tuple(source.name for source in sources),
    )
    return derived_contract("made", [mixed])


def test_what_is_derived_carries_a_mask_for_those_columns_alone_that_had_it() -> None:
    masked = column("age", pa.int64(), "pii.quasi", (mark(BANDS),))
    contract = mixed_of(masked, column("wage", pa.int64(), "finance"))
    for satisfied in (only("age"), {"classifications": ("pii.*",)}):
        assert seen(ask(allow(), masks("bands", BANDS, **satisfied), contract=contract)) == {"mix": None}
    for pending in (only("wage"), only("age", "wage"), only("mix"), {"classifications": ("finance",)}, {}):
        assert seen(ask(allow(), masks("bands", BANDS, **pending), contract=contract)) == {"mix": BANDS}


def test_a_classification_that_one_column_had_unmasked_is_not_carried() -> None:
    masked, open_ = (column(name, pa.int64(), "pii.quasi", marks) for name, marks in (("a", (mark(BANDS),)), ("b", ())))
    tagged = masks("bands", BANDS, classifications=("pii.quasi",))
    assert seen(ask(allow(), tagged, contract=mixed_of(masked, open_))) == {"mix": BANDS}
    assert seen(ask(allow(), tagged, contract=mixed_of(masked, replace(open_, masks=masked.masks)))) == {"mix": None}


def test_marks_come_along_when_what_is_derived_is_derived_from() -> None:
    masked = column("age", pa.int64(), "pii.quasi", (mark(BANDS),))
    (mixed,) = mixed_of(masked, column("wage", pa.int64(), "finance")).columns
    again = replace(mixed, name="again", masks=derived_marks([mixed, column("hours", pa.int64(), "work")]))
    contract = derived_contract("made", [replace(again, origins=("age", "wage", "hours"))])
    assert seen(ask(allow(), masks("bands", BANDS, **only("age")), contract=contract)) == {"again": None}
    assert seen(ask(allow(), masks("bands", BANDS, **only("hours")), contract=contract)) == {"again": BANDS}


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


@pytest.mark.parametrize(
    ("written", "end"),
    [
        ("2027-01-31", datetime(2027, 2, 1, tzinfo=UTC)),  # the day itself is in
        ("2027-01-31T12:00:00+02:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
        ("2027-01-31T12:00:00.5Z", datetime(2027, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_an_allow_holds_to_the_end_of_its_last_day_or_to_the_moment(written: str, end: datetime) -> None:
    first = parse(changed(0, expires=written)).rules[0]
    assert first.expires_at == end
    assert first.holds_at(end - timedelta(microseconds=1))
    assert not first.holds_at(end)
    assert first.record()["expires_at"] == format_time(end)


def test_a_rule_that_names_people_only_is_about_them() -> None:
    assert parse(changed(0, roles=None, principals=["ana"])).rules[0].roles == ()
    restricting = parse(changed(1, principals=["ana"])).rules[1]
    assert (restricting.roles, restricting.principals) == ((), ("ana",))
    assert parse(GOOD).rules[1].roles == ("*",)
    both = parse(changed(1, principals=["ana"], roles=["*"])).rules[1]
    assert both.roles == ("*",)


def test_a_group_has_its_size() -> None:
    assert parse(changed(3, effect="group", where=None, min_size=20)).rules[3].min_size == 20


def test_a_rule_of_older_files_keeps_its_digest() -> None:
    assert not {"principals", "expires_at", "min_size"} & set(parse(GOOD).rules[0].record())


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
        (changed(0, principals=["*"]), "rules[0].principals: a rule that allows names its principals"),
        (changed(0, principals=["*"], roles=None), "rules[0].principals: a rule that allows names its principals"),
        (changed(0, principals=["ana", 7]), "rules[0].principals[1]: expected text"),
        (changed(0, expires="2027-02-30"), "rules[0].expires: expected the last day"),
        (changed(0, expires="9999-12-31"), "rules[0].expires: expected the last day"),
        (changed(0, expires="2027-01-31T12:00:00"), "rules[0].expires: expected the last day"),
        (changed(0, expires="20270131"), "rules[0].expires: expected the last day"),
        (changed(0, expires=20270131), "rules[0].expires: expected the last day"),
        (changed(1, expires="2027-01-31"), "what it takes away would be given by the mere passing of time"),
        (changed(3, min_size=20), "rules[3].min_size: does not belong to a rule with effect filter"),
        (changed(3, effect="group", where=None), "rules[3]: 'min_size' is missing"),
        (changed(3, effect="group", where=None, min_size=1), "rules[3].min_size: expected a whole number of rows"),
        (changed(3, effect="group", where=None, min_size=True), "rules[3].min_size: expected a whole number of rows"),
        (changed(3, effect="group", where=None, min_size="20"), "rules[3].min_size: expected a whole number of rows"),
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
