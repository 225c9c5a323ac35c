"""The demo's declarations fit each other and the census; what the policy denies, no job asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataops.declarations.jobs import find_job, read_jobs
from dataops.declarations.loader import read_document
from dataops.declarations.prepare import PrepareJob
from dataops.declarations.promotion import MetricRule, read_promotion
from dataops.declarations.rescore import RescoreJob
from dataops.declarations.train import TrainJob
from dataops.demo.census import SCHEMA
from dataops.errors import AccessDenied
from dataops.governance.checking import columns_of_rules, table_columns_match
from dataops.governance.contract import Contract
from dataops.governance.grant import Grant
from dataops.governance.odcs import parse_contract
from dataops.governance.policy import decide
from dataops.governance.policy_file import parse_policy
from dataops.governance.rules import MadeFrom
from dataops.records import digest, now_utc

JOBS = Path(__file__).parent.parent.parent / "jobs"
DENIED = {
    "race",
    "hispanic_origin",
    "country_of_birth_father",
    "country_of_birth_mother",
    "country_of_birth_self",
    "citizenship",
}


@pytest.fixture(scope="module")
def contract() -> Contract:
    document = read_document(JOBS / "contracts" / "census.yaml")
    return parse_contract(document.value, source=document.source, lines=document.lines)


def grant(contract: Contract, role: str, purpose: str, dataset: str, zone: str, *made_from: MadeFrom) -> Grant:
    document = read_document(JOBS / "policies" / "census.yaml")
    policy = parse_policy(document.value, source=document.source, lines=document.lines)
    asked = {"principal": "somebody", "purpose": purpose, "dataset": dataset, "zone": zone}
    return decide([policy], roles=[role], contract=contract, key_id="k1", at=now_utc(), made_from=made_from, **asked)


def test_the_contract_is_the_census_column_by_column(contract: Contract) -> None:
    assert table_columns_match(contract, SCHEMA) == []
    assert [(column.name, column.type) for column in contract.columns] == list(
        zip(SCHEMA.names, SCHEMA.types, strict=True)
    )
    assert all(column.classification for column in contract.columns)


def test_no_rule_reads_what_is_denied_or_the_label(contract: Contract) -> None:
    read = columns_of_rules(contract)
    assert {"wage_per_hour", "tax_filer_stat"} <= read
    assert not read & (DENIED | {"income_gt_50k"})


@pytest.mark.parametrize(
    ("role", "purpose", "dataset", "zone"),
    [
        ("data_science", "train", "census_1994", "historical"),
        ("data_science", "evaluate", "census_1995", "production"),
        ("data_science", "score", "census_1995", "production"),
        ("operations", "score", "census_1995", "production"),
    ],
)
def test_race_origin_and_birthplace_are_denied_and_minors_filtered_for_everybody(
    contract: Contract, role: str, purpose: str, dataset: str, zone: str
) -> None:
    effect = grant(contract, role, purpose, dataset, zone).effect
    assert set(SCHEMA.names) - set(effect.columns) == DENIED | ({"income_gt_50k"} if purpose == "score" else set())
    assert effect.filters == ("age >= 18",)
    assert sorted(name for name, mask in effect.columns.items() if mask) == ["age", "person_id"]


@pytest.mark.parametrize(
    ("role", "purpose", "dataset", "zone"),
    [
        ("data_science", "train", "census_1995", "production"),
        ("data_science", "benchmark", "census_1994", "historical"),
        ("operations", "train", "census_1994", "historical"),
        ("visitor", "train", "census_1994", "historical"),
    ],
)
def test_what_no_rule_allows_is_refused(contract: Contract, role: str, purpose: str, dataset: str, zone: str) -> None:
    with pytest.raises(AccessDenied):
        grant(contract, role, purpose, dataset, zone)


def test_a_prepared_set_is_not_filtered_by_its_banded_age(contract: Contract) -> None:
    assert grant(contract, "data_science", "train", "census_training", "historical").effect.filters == ()


@pytest.mark.parametrize("purpose", ["train", "evaluate"])
def test_the_prepared_set_may_be_read_for_it_was_filtered_when_it_was_made(contract: Contract, purpose: str) -> None:
    read = grant(contract, "data_science", "train", "census_1994", "historical").effect
    origin = MadeFrom(dataset="census_1994", zone="historical", filters=tuple(digest(sql) for sql in read.filters))
    asked = (contract, "data_science", purpose, "census_training", "historical")
    assert grant(*asked, origin).effect == grant(*asked).effect
    with pytest.raises(AccessDenied, match="without row filter age >= 18"):
        grant(*asked, replace(origin, filters=()))


def test_each_job_takes_what_the_one_before_it_makes(contract: Contract) -> None:
    assert [declared.job.job for declared in read_jobs(JOBS / "census.yaml")] == ["prepare", "train", "rescore"]
    prepare, train, rescore = (declared.job for declared in read_jobs(JOBS / "census.yaml"))
    assert isinstance(prepare, PrepareJob)
    assert isinstance(train, TrainJob)
    assert isinstance(rescore, RescoreJob)
    given = set(grant(contract, "data_science", "train", "census_1994", "historical").effect.columns)
    scored = set(grant(contract, "operations", "score", "census_1995", "production").effect.columns)
    assert train.input == prepare.output
    assert set(train.features.columns) <= given & scored
    assert {train.target, *train.evaluate.slices} <= given | set(prepare.derive)
    assert rescore.reference.model == train.name
    assert set(rescore.keep) <= scored


def test_the_promotion_gates_the_demo_model_on_what_it_is_evaluated_on() -> None:
    promotion = read_promotion(JOBS / "promotion.yaml")
    train = find_job(JOBS / "census.yaml", promotion.model).job
    assert isinstance(train, TrainJob)
    rules = [rule for rule in promotion.rules if isinstance(rule, MetricRule)]
    assert {rule.dataset for rule in rules} <= set(train.evaluate.datasets)
    assert {rule.metric for rule in rules} <= set(train.evaluate.metrics)
    assert {rule.slice.column for rule in rules if rule.slice is not None} == set(train.evaluate.slices)
