from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from dataops.declarations.loader import parse_yaml
from dataops.errors import Format, InvalidInput
from dataops.governance import policy_tests
from dataops.governance.contract import Column, Contract
from dataops.governance.policy_file import parse_policy
from dataops.governance.policy_tests import PolicyTest, parse_policy_tests, run_test
from dataops.governance.policy_world import FindingKind, KnownDataset, World
from tests.docs.documents import REFERENCE, examples, rows, section, spans

POLICY = """\
format: dataops/policy/1
name: people
rules:
  - {id: use, effect: allow, roles: [analyst], purposes: [train, score], zones: [historical], datasets: ["people*"],
     columns: {classifications: ["*"]}}
  - {id: health, effect: deny, columns: {classifications: ["sensitive.*"]}, reason: nobody's business}
  - {id: bands, effect: mask, columns: {names: [age]}, mask: {generalise: {width: 5}}}
  - {id: who, effect: mask, columns: {names: [person_id]}, mask: {pseudonym: {domain: person}}}
  - {id: notes, effect: mask, columns: {names: [note]}, mask: drop}
  - {id: adults, effect: filter, where: "age >= 18"}
"""
COLUMNS = {
    "person_id": (pa.string(), "pii.direct"),
    "age": (pa.int64(), "pii.quasi"),
    "diagnosis": (pa.string(), "sensitive.health"),
    "hours": (pa.float64(), "work"),
    "share": (pa.float64(), "pii.quasi+work"),
    "note": (pa.string(), "work"),
    "raw": (pa.string(), ""),
}
CONTRACT = Contract(
    name="people",
    version="1",
    columns=tuple(Column(name=name, type=type_, classification=tag) for name, (type_, tag) in COLUMNS.items()),
)
HEAD = "format: dataops/policy-test/1\ntests:\n"
ASKED = "as: [analyst], purpose: train, dataset: people_old"


def world(policy: str = POLICY, **fields: Any) -> World:
    (document,) = parse_yaml(policy, "policies/people.yaml")
    old = KnownDataset(name="people_old", zone="historical", contract=CONTRACT)
    promised = KnownDataset(name="people_ready", zone="historical", promised=("age",))
    return World(
        policies=(parse_policy(document.value, source=document.source, lines=document.lines),),
        principals={"ana": ("analyst",), "ben": ("operations",)},
        datasets={one.name: one for one in (old, promised)},
        key_id="key-20260131t120000000000z-0123456789ab",
        at=datetime(2026, 6, 1, tzinfo=UTC),
        **fields,
    )


def read(text: str) -> tuple[PolicyTest, ...]:
    (document,) = parse_yaml(text, "policies/tests/people.yaml")
    return parse_policy_tests(document.value, source=document.source, lines=document.lines)


def failures(test: str, policy: str = POLICY) -> tuple[str, ...]:
    (parsed,) = read(f"{HEAD}  - {{{test}}}\n")
    return run_test(parsed, world(policy)).failures


PASSING = [
    f"{ASKED}, columns: [hours], expect: visible",
    f"{ASKED}, columns: [hours, share], expect: visible, rows: '(age>=18)'",
    f"{ASKED}, columns: [age], expect: masked",
    f"{ASKED}, columns: [age], expect: masked, mask: {{generalise: {{width: 5.0}}}}",
    f"{ASKED}, columns: [person_id], expect: masked, mask: {{pseudonym: {{domain: person}}}}",
    f"{ASKED}, columns: [note], expect: masked, mask: drop",
    f"{ASKED}, columns: [raw, diagnosis], expect: denied",
    f"{ASKED}, classifications: ['sensitive.*', unclassified], expect: denied",
    f"{ASKED}, classifications: ['PII.direct'], expect: masked",
    "principal: ana, purpose: score, dataset: people_old, columns: [hours], expect: visible",
    "principal: ben, purpose: score, dataset: people_old, expect: denied",
    "principal: ben, purpose: score, dataset: people_old, columns: [hours], expect: denied",
    "as: [operations], purpose: benchmark, dataset: people_old, classifications: ['*'], expect: denied",
]


@pytest.mark.parametrize("test", PASSING)
def test_what_the_policies_say_passes(test):
    assert failures(test) == ()


@pytest.mark.parametrize("test", [test for test in PASSING if "expect: denied" not in test])
def test_no_test_but_of_denials_passes_under_a_policy_that_denies_everything(test):
    assert failures(test, "format: dataops/policy/1\nname: nothing\nrules: []\n")


FAILING = [
    (f"{ASKED}, columns: [hours], expect: denied", "'hours' is visible, expected denied: allowed by rule 'use' of"),
    (f"{ASKED}, columns: [age, hours], expect: masked", "'hours' is visible, expected masked"),
    (
        f"{ASKED}, columns: [diagnosis], expect: visible",
        "denied by rule 'health' of policy 'people' (nobody's business)",
    ),
    (f"{ASKED}, columns: [note], expect: denied", "'note' is masked, expected denied"),
    (
        f"{ASKED}, columns: [age], expect: masked, mask: {{generalise: {{width: 10}}}}",
        "'age' is masked by generalise width 5, expected generalise width 10",
    ),
    (
        f"{ASKED}, columns: [person_id], expect: masked, mask: {{pseudonym: {{domain: people}}}}",
        "pseudonym domain person, expected pseudonym domain people",
    ),
    (
        f"{ASKED}, columns: [hours], expect: visible, rows: 'age > 18'",
        "expected the row filter age > 18, found age >= 18",
    ),
    (f"{ASKED}, classifications: [work], expect: visible", "'note' is masked, expected visible"),
    (f"{ASKED}, expect: denied", "expected a refusal, but 'person_id', 'age', 'hours', 'share' may be read"),
    (
        "as: [operations], purpose: train, dataset: people_old, columns: [hours], expect: visible",
        "expected visible, but the request is refused: 'anyone' (roles: operations) may read nothing",
    ),
    (f"{ASKED}, columns: [agee], expect: masked", "dataset 'people_old' has no column 'agee'. Did you mean 'age'?"),
    (f"{ASKED}, classifications: [sensitiv], expect: denied", "covers nothing: no column of dataset 'people_old' is"),
    (f"{ASKED}, classifications: [pii.direct, medical], expect: masked", "is classified 'medical'"),
    (f"{ASKED.replace('old', 'odl')}, expect: denied", "no dataset 'people_odl'. Did you mean 'people_old'?"),
    (f"{ASKED.replace('analyst', 'analist')}, expect: denied", "has the role 'analist'. Did you mean 'analyst'?"),
    ("principal: anna, purpose: train, dataset: people_old, expect: denied", "no 'anna'. Did you mean 'ana'?"),
    (f"{ASKED.replace('old', 'ready')}, columns: [age], expect: masked", "run the job that makes it"),
]


@pytest.mark.parametrize(("test", "message"), FAILING)
def test_what_they_do_not_say_fails_and_says_what_they_do(test, message):
    assert message in "; ".join(failures(test))


def test_a_renamed_column_takes_no_test_with_it():
    renamed = replace(CONTRACT, columns=tuple(one for one in CONTRACT.columns if one.name != "diagnosis"))
    here = world()
    here = replace(here, datasets={"people_old": replace(here.datasets["people_old"], contract=renamed)})
    (test,) = read(f"{HEAD}  - {{{ASKED}, classifications: ['sensitive.*'], expect: denied}}\n")
    assert not run_test(test, here).passed


REFUSED = [
    ("colums: [age], expect: masked", "3: tests[0].colums: unknown key. Did you mean 'columns'?"),
    ("columns: [age], expect: maskd", "tests[0].expect: expected visible, masked, denied. Did you mean 'masked'?"),
    ("columns: [age]", "tests[0]: 'expect' is missing"),
    ("expect: visible", "'visible' is said of columns"),
    ("columns: [age], expect: denied, mask: drop", "tests[0].mask: belongs to expect: masked"),
    ("columns: [age], expect: masked, mask: {generalize: {width: 5}}", "tests[0].mask: not a mask"),
    ("columns: [age], classifications: ['*'], expect: denied", "give columns or classifications, not both"),
    ("columns: [age], expect: visible, rows: 'age >='", "tests[0].rows: row filter"),
    ("expect: denied, rows: 'age > 1'", "a request that is refused has no row filters"),
    ("columns: [], expect: denied", "tests[0].columns: expected a list with at least one entry"),
    ("columns: [1], expect: denied", "tests[0].columns[0]: expected text"),
    ("columns: age, expect: denied", "tests[0].columns: expected a list"),
    ("principal: ana, columns: [age], expect: denied", "either with roles (as: [...]) or as a user"),
    ("name: 7, columns: [age], expect: denied", "tests[0].name: expected text"),
]


@pytest.mark.parametrize(("keys", "message"), REFUSED)
def test_a_test_that_is_written_wrong_is_refused_with_its_line(keys, message):
    with pytest.raises(InvalidInput) as refused:
        read(f"{HEAD}  - {{{ASKED}, {keys}}}\n")
    assert message in str(refused.value)
    assert str(refused.value).startswith("policies/tests/people.yaml:3: ")


def test_an_unknown_purpose_is_refused_with_its_near_match():
    with pytest.raises(InvalidInput, match=r"purpose: expected train.*Did you mean 'train'"):
        read(f"{HEAD}  - {{as: [analyst], purpose: trian, dataset: people_old, expect: denied}}\n")


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(InvalidInput) as refused:
        read(f"{HEAD}  - {{purpose: train, expect: denied}}\n  - text\n  - {{{ASKED}, expekt: denied}}\n")
    lines = str(refused.value).split("\n")
    assert [line.split(":")[1] for line in lines] == ["3", "3", "4", "5", "5"]


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("format: dataops/policy-test/2\ntests: []\n", Format),
        ("format: dataops/policy/1\ntests: []\n", Format),
        ("format: other\ntests: []\n", InvalidInput),
        ("tests: []\n", InvalidInput),
        ("format: dataops/policy-test/1\ntests: []\n", InvalidInput),
        ("- a\n", InvalidInput),
    ],
)
def test_another_document_is_refused(text, family):
    with pytest.raises(family):
        read(text)


def test_a_test_without_a_name_is_named_by_what_it_asks():
    (test, named) = read(
        f"{HEAD}  - {{{ASKED}, columns: [age, hours], expect: denied}}\n  - {{name: mine, {ASKED}, expect: denied}}\n"
    )
    assert test.name == "age, hours of people_old for train, asked by analyst, is denied"
    assert (named.name, named.place) == ("mine", ("policies/tests/people.yaml", 4))


def test_the_example_of_the_page_passes_under_its_own_policy():
    page = REFERENCE / "policies.md"
    (policy,), (tests,) = examples(page), examples(page, "yaml test")
    here = world(policy)
    here = replace(here, principals={**here.principals, "vera": ("visitor",)})
    read_tests = read(tests)
    assert [run_test(test, here).failures for test in read_tests] == [()] * 4


def test_every_key_of_a_test_and_every_kind_of_finding_is_documented():
    page = REFERENCE / "policies.md"
    keys = {span for cells in rows(section(page, "Policy tests")) for span in spans(cells[0])}
    assert keys == set(policy_tests._KEYS)
    kinds = [spans(cells[0])[0] for cells in rows(section(page, "Checking policies"))]
    assert sorted(kinds) == sorted(FindingKind)
