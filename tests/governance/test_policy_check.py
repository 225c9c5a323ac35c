from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import AccessDenied
from dataops.governance.contract import UNCLASSIFIED, Column, Contract, RuleKind
from dataops.governance.contract import Rule as ContractRule
from dataops.governance.expressions import parse_expression
from dataops.governance.grant import Purpose, Verdict
from dataops.governance.marks import mark
from dataops.governance.masking import Mask, MaskKind
from dataops.governance.policy_check import check_policies, find_collisions, find_unusable_filters
from dataops.governance.policy_reach import contains
from dataops.governance.policy_world import (
    ColumnUse,
    FindingKind,
    KnownDataset,
    Severity,
    Use,
    World,
    situations_of,
    subjects_of,
)
from dataops.governance.rules import MadeFrom, Policy, Rule, RuleEffect
from dataops.records import digest

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY_ID = "key-20260131t120000000000z-0123456789ab"

BANDS, WIDER = (Mask(kind=MaskKind.GENERALISE, width=width) for width in (5.0, 10.0))
NULL, REDACT, DROP = (Mask(kind=kind) for kind in (MaskKind.NULL, MaskKind.REDACT, MaskKind.DROP))
PSEUDONYM = Mask(kind=MaskKind.PSEUDONYM, domain="person")


def column(name: str, type_: pa.DataType, classification: str, **fields: Any) -> Column:
    return Column(name=name, type=type_, classification=classification, **fields)


PEOPLE = Contract(
    name="people",
    version="1",
    columns=(
        column("person_id", pa.string(), "pii.direct"),
        column("age", pa.int64(), "pii.quasi"),
        column("diagnosis", pa.string(), "sensitive.health"),
        column("rich", pa.bool_(), "outcome"),
    ),
    primary_key=("person_id",),
)
OLD = KnownDataset(name="people_old", zone="historical", contract=PEOPLE, source="contracts/people.yaml", line=3)
NEW = replace(OLD, name="people_new", zone="production")


def rule(name: str, effect: RuleEffect, **fields: Any) -> Rule:
    where = fields.pop("where", None)
    return Rule(
        policy="p",
        id=name,
        effect=effect,
        where=parse_expression(where, where="test") if where else None,
        **{"classifications": () if "names" in fields else ("*",), **fields},
    )


def allow(name: str = "all", **fields: Any) -> Rule:
    return rule(name, RuleEffect.ALLOW, **{"roles": ("analyst",), **fields})


def deny(name: str, **fields: Any) -> Rule:
    return rule(name, RuleEffect.DENY, **fields)


def mask(name: str, value: Mask, **fields: Any) -> Rule:
    return rule(name, RuleEffect.MASK, mask=value, **fields)


def world(*rules: Rule, **fields: Any) -> World:
    places = {(one.qualified, ""): ("policies/p.yaml", 10 * (line + 1)) for line, one in enumerate(rules)}
    given_fields: dict[str, Any] = {
        "principals": {"ana": ("analyst",)},
        "datasets": {one.name: one for one in (OLD, NEW)},
        "places": places,
        "key_id": KEY_ID,
        "at": NOW,
        **fields,
    }
    return World(policies=(Policy(name="p", rules=rules),), **given_fields)


def found(*rules: Rule, **fields: Any) -> list[tuple[FindingKind, str]]:
    return [(one.kind, one.message) for one in check_policies(world(*rules, **fields))]


def only(findings: Sequence[tuple[FindingKind, str]], kind: FindingKind) -> str:
    (message,) = [message for one, message in findings if one == kind]
    return message


def use(kind: Use, *columns: str, dataset: str = "people_old", purpose: Purpose = Purpose.TRAIN) -> ColumnUse:
    place = ("jobs/people.yaml", 7)
    return ColumnUse(job="wealth", dataset=dataset, purpose=purpose, use=kind, columns=columns, place=place)


def test_policies_that_do_what_they_say_have_no_findings():
    rules = [
        allow(),
        deny("health", classifications=("sensitive.*",)),
        mask("bands", BANDS, names=("age",)),
        rule("adults", RuleEffect.FILTER, where="age >= 18"),
        rule("groups", RuleEffect.GROUP, min_size=20),
    ]
    uses = (use(Use.SPLIT, "person_id"), use(Use.TARGET, "rich"), use(Use.FEATURE, "age"))
    assert found(*rules, uses=uses) == []


# Rules that do nothing


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"datasets": ("poeple_old",)},
            "no dataset is called 'poeple_old', which rule 'x' of policy 'p' names. Did you mean",
        ),
        (
            {"datasets": ("nothing_*",)},
            "no dataset is called 'nothing_*', which rule 'x' of policy 'p' names",
        ),
        (
            {"roles": ("analist",)},
            "no principal has the role 'analist', which rule 'x' of policy 'p' names. Did you mean",
        ),
        (
            {"principals": ("anna",), "roles": ()},
            "principals.yaml has no user 'anna', which rule 'x' of policy 'p' names. ",
        ),
        (
            {"names": ("agee",)},
            "rule 'x' of policy 'p' names 'agee', and no column of 'people_new', 'people_old' is called",
        ),
        (
            {"classifications": ("pii.driect",)},
            "says 'pii.driect', and no column of 'people_new', 'people_old' is classi",
        ),
        (
            {"datasets": ("people_old",), "zones": ("production",)},
            "its datasets are in zone historical, and it says prod",
        ),
    ],
)
def test_a_rule_that_reaches_nothing_is_found(fields, message):
    findings = found(allow(), deny("x", **fields))
    assert [text for kind, text in findings if kind == FindingKind.UNREACHABLE and message in text]
    assert {kind for kind, _ in findings} == {FindingKind.UNREACHABLE}


def test_a_role_that_nobody_has_is_said_once_with_all_rules_that_name_it():
    findings = found(
        allow(), *(allow(name, roles=("analyst", "intern"), purposes=(name,)) for name in ("train", "score"))
    )
    message = only(findings, FindingKind.UNREACHABLE)
    assert "the role 'intern', which rule 'train' of policy 'p', rule 'score' of policy 'p' name" in message


def test_a_role_that_nobody_has_is_checked_as_if_somebody_had_it():
    people = subjects_of(world(allow(roles=("intern",))))
    assert [one.roles for one in people] == [("analyst",), ("intern",)]
    findings = found(allow(roles=("intern",)), mask("a", BANDS, names=("age",)), mask("b", WIDER, names=("age",)))
    assert "'people_old.age', 'people_new.age' would be allowed" in only(findings, FindingKind.COLLISION)


def test_people_whom_no_rule_can_tell_apart_are_one_subject():
    principals = {"ana": ("analyst",), "ben": ("Analyst",), "cleo": ("analyst",), "dan": ("operations",)}
    rules = [allow(), deny("not-cleo", roles=(), principals=("cleo",))]
    assert [one.principal for one in subjects_of(world(*rules, principals=principals))] == ["ana", "cleo", "dan"]


def test_the_name_of_a_struct_restricts_all_that_is_in_it():
    town = replace(PEOPLE.column("age"), name="address.town")
    dataset = replace(OLD, contract=replace(PEOPLE, columns=(*PEOPLE.columns, town)))
    assert found(allow(), deny("home", names=("address",)), datasets={"people_old": dataset}) == []


def test_a_dataset_that_a_job_promises_is_known_by_its_names():
    promised = KnownDataset(name="people_ready", zone="historical", promised=("age", "age_band"))
    datasets = {one.name: one for one in (OLD, promised)}
    rules = [allow(), mask("bands", BANDS, datasets=("people_ready",), names=("age_band",))]
    inherited = deny("health", datasets=("people_ready",), classifications=("sensitive.*",))
    assert found(*rules, inherited, datasets=datasets) == []
    findings = found(*rules, deny("typo", names=("age_bnad",)), datasets=datasets)
    assert "no column of 'people_old', 'people_ready' is called that. Did you mean 'age_band'?" in findings[0][1]
    assert len(findings) == 1


def test_a_filter_that_can_not_be_applied_hides_nothing_else():
    rules = [allow(), rule("wrong", RuleEffect.FILTER, where="agee > 1"), mask("spoil", NULL, names=("rich",))]
    findings = found(*rules, uses=(use(Use.TARGET, "rich"),), datasets={"people_old": OLD})
    assert {kind for kind, _ in findings} == {FindingKind.FILTER, FindingKind.JOB}


def test_a_rule_about_a_dataset_concerns_what_was_made_from_it():
    made = replace(OLD, name="ready", source="", made_from=(MadeFrom(dataset="gone", zone="historical"),))
    findings = found(allow(), deny("x", datasets=("gone",), names=("age",)), datasets={"ready": made})
    assert only(findings, FindingKind.UNREACHABLE).startswith("no dataset is called 'gone'")  # but it does concern one


def test_an_allow_of_which_everything_is_denied_is_found():
    findings = found(allow(), allow("health", names=("diagnosis",)), deny("no", classifications=("sensitive.*",)))
    message = (
        "rule 'health' of policy 'p' gives nothing: of 'diagnosis' it is always overruled by rule 'no' of policy 'p'"
    )
    assert only(findings, FindingKind.OVERRULED) == message


def test_a_mask_is_overruled_only_if_it_is_everywhere():
    rules = [allow(), mask("bands", BANDS, names=("age",)), mask("none", NULL, names=("age",), purposes=("train",))]
    assert found(*rules) == []
    always = [*rules[:2], mask("none", NULL, names=("age",))]
    assert "'bands' of policy 'p' never decides" in only(found(*always), FindingKind.OVERRULED)


SHADOWED = [
    (deny("a", names=("age",)), deny("b"), "is contained in"),
    (deny("a", classifications=("pii.quasi",)), deny("b", classifications=("PII.*",)), "is contained in"),
    (deny("a", datasets=("people_o*",)), deny("b", datasets=("people_*",)), "is contained in"),
    (allow("a", names=("age",), purposes=("train",)), allow("b", names=("age",)), "is contained in"),
    (allow("a", names=("age",), expires_at=NOW + timedelta(days=90)), allow("b", names=("age",)), "is contained in"),
    (mask("a", BANDS, names=("age",), roles=("analyst",)), mask("b", BANDS, names=("age",)), "is contained in"),
    (rule("a", RuleEffect.GROUP, min_size=10), rule("b", RuleEffect.GROUP, min_size=20), "is contained in"),
    (deny("b", names=("age",)), deny("a", names=("AGE",)), "says the same as"),
]


@pytest.mark.parametrize(("narrow", "wide", "says"), SHADOWED)
@pytest.mark.parametrize("swapped", [False, True])
def test_a_rule_within_another_is_found_whichever_comes_first(narrow, wide, says, swapped):
    rules = [wide, narrow] if swapped else [narrow, wide]
    message = only(found(allow(), *rules), FindingKind.SHADOWED)
    assert says in message
    if says == "is contained in":
        assert message.startswith("rule 'a' of policy 'p' is contained in rule 'b' of policy 'p'")


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (deny("a"), deny("b", names=("age",))),
        (deny("a", datasets=("people_???",)), deny("b", datasets=("people_old",))),
        (deny("a", datasets=("*d",)), deny("b", datasets=("?????????d",))),
        (allow("a", classifications=(UNCLASSIFIED,)), allow("b")),
        (allow("a", names=("age",)), allow("b")),
        (allow("a"), allow("b", expires_at=NOW + timedelta(days=90))),
        (mask("a", BANDS), mask("b", WIDER)),
        (rule("a", RuleEffect.FILTER, where="age > 1"), rule("b", RuleEffect.FILTER, where="age > 2")),
        (deny("a", roles=("analyst",)), deny("b", roles=(), principals=("ana",))),
    ],
)
def test_a_rule_that_does_more_is_not_within_another(narrow, wide):
    assert not contains(wide, narrow)


words = st.sampled_from(["*", "pii.*", "pii.quasi", "pii.direct", "sensitive.*", "outcome", UNCLASSIFIED])
rules = st.builds(
    lambda effect, **fields: Rule(
        policy="p", effect=effect, mask=BANDS if effect == RuleEffect.MASK else None, **fields
    ),
    effect=st.sampled_from([RuleEffect.ALLOW, RuleEffect.DENY, RuleEffect.MASK]),
    id=st.uuids().map(str),
    roles=st.sampled_from([("analyst",), ("analyst", "intern"), ("intern",)]),
    purposes=st.sampled_from([("*",), ("train",), ("train", "score")]),
    datasets=st.sampled_from([("*",), ("people_*",), ("people_old",), ("people_?ew",)]),
    classifications=st.lists(words, max_size=2).map(tuple),
    names=st.sampled_from([(), ("age",), ("person_id", "age")]),
)


def seen(*given_rules: Rule, extra: Column) -> list[dict[str, str]]:
    """What each request shows, for all subjects, purposes and datasets."""
    contract = replace(PEOPLE, columns=(*PEOPLE.columns, extra))
    here = world(*given_rules, datasets={one.name: replace(one, contract=contract) for one in (OLD, NEW)})
    found_here = []
    for situation in situations_of(here):
        decisions = situation.grant.decisions if situation.grant else ()
        found_here.append({one.column: f"{one.verdict} {one.mask}" for one in decisions})
    return found_here


@given(st.lists(rules, min_size=2, max_size=4, unique_by=lambda one: one.id))
def test_without_a_rule_that_is_within_another_nothing_changes(some):
    extra = column("note", pa.int64(), "")
    subjects = (
        allow("analysts", roles=("analyst",), names=("age",)),
        allow("interns", roles=("intern",), names=("rich",)),
    )
    for narrow in some:
        rest = [one for one in some if one is not narrow]
        if any(contains(wide, narrow) for wide in rest):
            assert seen(*subjects, *some, extra=extra) == seen(*subjects, *rest, extra=extra)


# What denies or refuses by accident


def test_masks_that_collide_deny_and_are_an_error_with_their_columns():
    findings = check_policies(
        world(allow(), mask("five", BANDS, names=("age",)), mask("ten", WIDER, classifications=("pii.quasi",)))
    )
    (collision,) = findings
    assert (collision.severity, collision.kind, collision.where) == (
        Severity.ERROR,
        FindingKind.COLLISION,
        "policies/p.yaml:20",
    )
    assert "'people_old.age', 'people_new.age' would be allowed, and can't be read" in collision.message
    assert "different masks (generalise width 10, generalise width 5), and neither surely" in collision.message


def test_a_mask_that_can_not_take_the_type_is_an_error():
    message = only(found(allow(), mask("wrong", BANDS, names=("diagnosis",))), FindingKind.COLLISION)
    assert "takes integer or float, not string" in message


def test_a_pseudonym_without_a_key_is_an_error_only_where_something_is_allowed():
    who = mask("who", PSEUDONYM, names=("person_id",))
    assert "there is none (`dataops keys init` makes one)" in only(
        found(allow(), who, key_id=None), FindingKind.COLLISION
    )
    assert FindingKind.COLLISION not in {kind for kind, _ in found(allow(names=("age",)), who, key_id=None)}


masks_of = st.sampled_from([BANDS, WIDER, NULL, REDACT, DROP, PSEUDONYM])
mask_rules = st.builds(
    lambda name, value, names: mask(name, value, names=names),
    name=st.uuids().map(str),
    value=masks_of,
    names=st.sampled_from([("age",), ("person_id",), ("age", "person_id", "diagnosis", "rich")]),
)


@given(st.lists(mask_rules, max_size=4, unique_by=lambda one: one.id), st.sampled_from([KEY_ID, None]))
def test_collisions_are_exactly_the_columns_that_a_decision_denies(some, key_id):
    here = world(allow(), *some, key_id=key_id, datasets={"people_old": OLD})
    said = " ".join(one.message.split(" would be allowed")[0] for one in find_collisions(here, situations_of(here)))
    try:
        decisions = here.decide(principal="ana", roles=("analyst",), purpose="train", dataset=OLD).decisions
    except AccessDenied:
        return  # nothing is left: which column why is in the message
    denied = {one.column for one in decisions if one.verdict == Verdict.DENIED}
    assert {name for name in ("person_id", "age", "diagnosis", "rich") if f"'people_old.{name}'" in said} == denied


def test_a_filter_that_can_not_be_applied_is_an_error_where_somebody_would_read():
    adults = rule("adults", RuleEffect.FILTER, where="agee >= 18")
    (old, new) = [one for one in check_policies(world(allow(), adults)) if one.kind == FindingKind.FILTER]
    assert {old.severity, new.severity} == {Severity.ERROR}
    assert "no column 'agee'. Did you mean 'age'?" in old.message
    alone = [one for one in check_policies(world(allow(datasets=("people_old",)), adults)) if one.line == 20]
    assert {one.severity for one in alone} == {Severity.ERROR, Severity.WARNING}


def test_a_filter_of_another_type_or_over_stored_masks_is_an_error():
    number = rule("number", RuleEffect.FILTER, where="age + 1")
    assert "true or false" in only(found(allow(), number, datasets={"people_old": OLD}), FindingKind.FILTER)
    stored = replace(PEOPLE, columns=tuple(replace(one, masks=(mark(BANDS),)) for one in PEOPLE.columns))
    dataset = replace(OLD, contract=stored)
    adults = rule("adults", RuleEffect.FILTER, where="age >= 18")
    assert "stored masked" in only(found(allow(), adults, datasets={"people_old": dataset}), FindingKind.FILTER)


def test_a_filter_of_what_a_dataset_was_made_from_must_have_been_applied():
    adults = rule("adults", RuleEffect.FILTER, where="age >= 18", datasets=("people_old",))

    def made(*filters: str) -> dict[str, KnownDataset]:
        origin = MadeFrom(dataset="people_old", zone="historical", filters=filters)
        return {"people_old": OLD, "ready": replace(OLD, name="ready", made_from=(origin,))}

    assert found(allow(), adults, datasets=made(digest("age >= 18"))) == []
    message = only(found(allow(), adults, datasets=made()), FindingKind.FILTER)
    assert "'ready'" in message
    assert "without row filter age >= 18" in message


# What masks do to jobs


DESTROYED = [
    (Use.SPLIT, "person_id", NULL, "so all are on one side"),
    (Use.SPLIT, "person_id", Mask(kind=MaskKind.KEEP, first=1, last=0), "keys that differ become one"),
    (Use.SPLIT, "age", BANDS, "keys that differ become one"),
    (Use.TARGET, "rich", REDACT, "a model would learn the mask"),
    (Use.WEIGHT, "age", BANDS, "a model would learn the mask"),
    (Use.KEEP, "person_id", REDACT, "it names a row no longer"),
    (Use.KEEP, "person_id", Mask(kind=MaskKind.RARE, min_count=5), "it names a row no longer"),
    (Use.SPLIT, "person_id", DROP, "the job is refused"),
]


@pytest.mark.parametrize(("kind", "name", "value", "message"), DESTROYED)
def test_a_mask_that_destroys_what_a_job_uses_is_an_error_at_the_job(kind, name, value, message):
    rules = [allow(), mask("spoil", value, names=(name,))]
    (finding,) = check_policies(world(*rules, uses=(use(kind, name),)))
    assert (finding.severity, finding.kind, finding.where) == (Severity.ERROR, FindingKind.JOB, "jobs/people.yaml:7")
    assert message in finding.message
    assert f"reads '{name}' of dataset 'people_old' as {kind}" in finding.message
    assert "'p/spoil'" in finding.message


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (Use.SPLIT, "person_id", PSEUDONYM),
        (Use.KEEP, "person_id", PSEUDONYM),
        (Use.FEATURE, "age", BANDS),
    ],
)
def test_a_mask_that_leaves_what_a_job_needs_is_no_finding(kind, name, value):
    assert found(allow(), mask("fine", value, names=(name,)), uses=(use(kind, name),)) == []


def test_keys_that_a_unique_rule_names_count_as_keys_too():
    unique = ContractRule(id="u", kind=RuleKind.UNIQUE, arguments={"columns": ["age"]})
    dataset = replace(OLD, contract=replace(PEOPLE, primary_key=(), rules=(unique,)))
    rules = [allow(), mask("bands", BANDS, names=("age",))]
    findings = found(*rules, uses=(use(Use.KEEP, "age"),), datasets={"people_old": dataset})
    assert "names a row no longer" in only(findings, FindingKind.JOB)


def test_kept_columns_that_can_name_no_row_are_a_warning():
    rules = [allow(), mask("bands", BANDS, names=("age",))]
    (finding,) = check_policies(world(*rules, uses=(use(Use.KEEP, "age"),)))
    assert finding.severity == Severity.WARNING
    assert "can't be told apart" in finding.message
    assert found(*rules, uses=(use(Use.KEEP, "age", "rich"),)) == []


def test_a_mask_that_only_some_readers_get_is_a_warning_that_names_them():
    principals = {"ana": ("analyst",), "ben": ("operations",)}
    rules = [allow(roles=("analyst", "operations")), mask("ops", NULL, names=("rich",), roles=("operations",))]
    (finding,) = check_policies(world(*rules, principals=principals, uses=(use(Use.TARGET, "rich"),)))
    assert finding.severity == Severity.WARNING
    assert finding.message.endswith("for 'ben'")


def test_a_job_that_nobody_may_run_and_a_column_that_nobody_may_read_are_warnings():
    uses = (use(Use.TARGET, "rich"), use(Use.SPLIT, "person_id"), use(Use.KEEP, "diagnosis", purpose=Purpose.SCORE))
    rules = [allow(purposes=("score",)), deny("no", names=("diagnosis",))]
    findings = [one for one in check_policies(world(*rules, uses=uses)) if one.kind == FindingKind.JOB]
    assert [one.severity for one in findings] == [Severity.WARNING] * 2
    assert "and it is denied: denied by rule 'no' of policy 'p'" in findings[0].message
    assert "reads dataset 'people_old' for 'train', and nobody may" in findings[1].message


def test_a_prepare_job_over_a_denied_or_mistyped_column_is_an_error():
    rules = [allow(), deny("no", names=("diagnosis",))]
    findings = check_policies(world(*rules, uses=(use(Use.COLUMN, "diagnosis"), use(Use.COLUMN, "dignosis"))))
    findings = [one for one in findings if one.kind == FindingKind.JOB]
    assert [one.severity for one in findings] == [Severity.ERROR] * 2
    assert "reads 'diagnosis' of dataset 'people_old' as column, and it is denied" in findings[0].message
    assert "has no such column. Did you mean 'diagnosis'?" in findings[1].message


def test_a_mask_that_is_stored_already_is_no_finding_where_it_is_read_again():
    stored = replace(PEOPLE.column("rich"), masks=(mark(NULL),))
    dataset = replace(OLD, contract=replace(PEOPLE, columns=(stored,)))
    rules = [allow(), mask("spoil", NULL, names=("rich",))]
    assert found(*rules, uses=(use(Use.TARGET, "rich"),), datasets={"people_old": dataset}) == []


# Time and contracts


@pytest.mark.parametrize(("days", "says"), [(-1, "expired at"), (0, "expired at"), (29, "expires at"), (31, None)])
def test_an_allowance_that_ended_or_soon_ends_is_a_warning(days, says):
    findings = found(allow(), allow("guest", names=("age",), expires_at=NOW + timedelta(days=days)))
    messages = [message for kind, message in findings if kind == FindingKind.EXPIRY]
    assert [says in message for message in messages] == ([True] if says else [])


def test_unclassified_columns_and_roles_that_nobody_has_are_said_once_per_contract():
    contract = replace(PEOPLE, columns=(*PEOPLE.columns, column("note", pa.string(), "")), roles=("Analyst", "analist"))
    datasets = {one.name: replace(one, contract=contract) for one in (OLD, NEW)}
    findings = [one for one in check_policies(world(allow(), datasets=datasets)) if one.kind == FindingKind.CONTRACT]
    assert {one.where for one in findings} == {"contracts/people.yaml:3"}
    assert [one.severity for one in findings] == [Severity.WARNING] * 2
    assert "'note' is unclassified" in findings[0].message
    assert "gives access to role 'analist', which no principal has. Did you mean 'analyst'?" in findings[1].message


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (allow(), ["'note', 'remark' are unclassified, and no rule allows them"]),
        (allow("by_name", names=("note",)), ["'remark' is unclassified, and no rule allows it"]),
        (allow("by_word", classifications=("*", "unclassified")), []),
        (deny("by_word", classifications=("*", "unclassified")), ["'note', 'remark' are unclassified"]),
    ],
)
def test_unclassified_columns_are_said_only_where_no_rule_allows_them(rule, said):
    columns = (*PEOPLE.columns, column("note", pa.string(), ""), column("remark", pa.string(), ""))
    datasets = {OLD.name: replace(OLD, contract=replace(PEOPLE, columns=columns))}
    findings = [one for one in check_policies(world(rule, datasets=datasets)) if one.kind == FindingKind.CONTRACT]
    assert [one.message[: len(text)] for one, text in zip(findings, said, strict=True)] == said


def test_a_contract_that_lets_none_of_its_roles_read_is_said():
    datasets = {OLD.name: replace(OLD, contract=replace(PEOPLE, roles=()))}
    findings = [one for one in check_policies(world(allow(), datasets=datasets)) if one.kind == FindingKind.CONTRACT]
    assert ["nobody may read it" in one.message for one in findings] == [True]


def test_findings_stand_in_the_order_of_files_and_lines_each_once():
    findings = check_policies(
        world(
            allow(),
            deny("x", names=("agee",)),
            deny("y", datasets=("nowhere",)),
            uses=(use(Use.TARGET, "rich", purpose=Purpose.BENCHMARK),) * 2,
        )
    )
    assert list(findings) == sorted(findings, key=lambda one: (one.source, one.line or 0))
    assert len(set(findings)) == len(findings)


def test_without_any_policy_there_is_nothing_to_find_but_what_is_missing():
    empty = World(policies=(), principals={}, datasets={"people_old": OLD}, at=NOW)
    assert check_policies(empty) == ()
    assert not list(find_unusable_filters(empty, situations_of(empty)))
