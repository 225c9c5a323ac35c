"""The generated pages say what the code says; the others hold every word of their language, with examples that run."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import BaseModel

from dataops.declarations.catalog import CatalogEntry, Principals, read_entry, read_principals
from dataops.declarations.clusters import KINDS as CLUSTERS
from dataops.declarations.clusters import read_cluster
from dataops.declarations.jobs import read_jobs
from dataops.declarations.loader import parse_yaml
from dataops.declarations.prepare import PrepareJob
from dataops.declarations.promotion import Promotion, read_promotion
from dataops.declarations.rescore import RescoreJob
from dataops.declarations.schedules import Schedule, read_schedules
from dataops.declarations.train import TrainJob
from dataops.errors import AccessDenied, InvalidInput
from dataops.governance.column_types import LOGICAL_TYPES, logical_type, parse_type
from dataops.governance.contract import Action, Column, Contract, RuleKind, derived_contract
from dataops.governance.expression_grammar import FIELDS
from dataops.governance.expression_operations import OPERATIONS
from dataops.governance.expression_refusals import FUNCTIONS
from dataops.governance.expressions import evaluate, parse_expression
from dataops.governance.grant import Verdict
from dataops.governance.masking import VALUE_FREE, Mask, MaskKind, apply_mask, parse_mask
from dataops.governance.odcs import parse_contract
from dataops.governance.policy import decide
from dataops.governance.policy_file import parse_policy
from dataops.governance.rules import Policy, RuleEffect
from dataops.models.predictor import FORMATS
from dataops.settings import DEFAULTS, read_settings
from docs.generate import pages, verbs
from tests.compat.test_formats import EXAMPLES, NO_RECORDS, formats_in_code
from tests.docs.documents import REFERENCE, examples, rows, section, spans

POLICIES, CONTRACTS, EXPRESSIONS = (REFERENCE / f"{page}.md" for page in ("policies", "contracts", "expressions"))


# The generated pages


@pytest.mark.parametrize("page", sorted(pages()))
def test_a_generated_page_is_what_the_code_says(page: str) -> None:
    assert (REFERENCE / page).read_text() == pages()[page], "run `python docs/generate.py`"


READERS: Mapping[str, Callable[[Path], object]] = {
    "prepare": read_jobs,
    "join": read_jobs,
    "train": read_jobs,
    "rescore": read_jobs,
    "evaluate": read_jobs,
    "rules": read_promotion,
    "kind": read_cluster,
    "zone": read_entry,
    "principals": read_principals,
}


@pytest.mark.parametrize(
    ("page", "count"), [("job-files", 6), ("cluster-files", 1), ("catalog-and-principals", 2)], ids=str
)
def test_every_example_of_a_generated_page_loads(page: str, count: int, tmp_path: Path) -> None:
    found = examples(REFERENCE / f"{page}.md")
    assert len(found) == count
    for text in found:
        (document,) = parse_yaml(text, page)
        told = (key for key in ("rules", "kind", "zone", "principals") if key in document.value)
        kind = document.value.get("job") or next(told)
        (tmp_path / "example.yaml").write_text(text)
        assert READERS[kind](tmp_path / "example.yaml")


def test_the_example_of_schedules_loads(tmp_path: Path) -> None:
    (text,) = examples(REFERENCE / "schedule-files.md")
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "example.yaml").write_text(text)
    read = read_schedules(tmp_path)
    assert not read.broken
    assert len(read.schedules) == 3


def test_the_example_of_the_settings_loads(tmp_path: Path) -> None:
    (text,) = examples(REFERENCE / "settings.md")
    (tmp_path / "dataops.yaml").write_text(text)
    assert read_settings(tmp_path, {"HOME": str(tmp_path)}).keys == str(tmp_path / "keys")


def test_every_setting_and_key_stands_in_its_page() -> None:
    settings = {cells[0].strip("`") for cells in rows((REFERENCE / "settings.md").read_text())}
    assert set(DEFAULTS) <= settings
    models: Mapping[str, list[type[BaseModel]]] = {
        "job-files.md": [PrepareJob, TrainJob, RescoreJob, Promotion],
        "cluster-files.md": list(CLUSTERS.values()),
        "schedule-files.md": [Schedule],
        "catalog-and-principals.md": [CatalogEntry, Principals],
    }
    for page, described in models.items():
        documented = rows((REFERENCE / page).read_text())
        keys = {cells[0].strip("`") for cells in documented}
        assert {key for model in described for key in model.model_fields} <= keys
        assert not [cells for cells in documented if len(cells) == 3 and cells[1] and not cells[0]]


def test_every_trainer_has_its_parameters_in_the_page_of_job_files() -> None:
    page = (REFERENCE / "job-files.md").read_text()
    told = {name for head in re.findall(r"^### Parameters of (.+)$", page, re.MULTILINE) for name in spans(head)}
    known = {one.name for one in entry_points(group="dataops.trainers") if one.value.startswith("dataops.")}
    assert told == known
    (trainer,) = {" ".join(cells) for cells in rows(page) if cells[0] == "`trainer`"}
    assert known <= set(spans(trainer))
    assert "`objective` | one of squared_error, poisson, absolute_error" in page


def test_every_verb_stands_in_the_command_line_page() -> None:
    from dataops.cli.main import main

    headings = re.findall(r"^## (dataops .+)$", (REFERENCE / "command-line.md").read_text(), re.MULTILINE)
    assert headings == [" ".join(path) for path, _ in verbs(main)]
    assert len(headings) >= 18


# Policies


def policies(language: str) -> list[Mapping[str, Any]]:
    return [parse_yaml(text, "policies.md")[0].value for text in examples(POLICIES, language)]


def example_policy() -> Policy:
    (value,) = policies("yaml")
    return parse_policy(value, source="policies.md", lines={})


@pytest.mark.parametrize("value", policies("yaml refused"), ids=lambda value: str(value["name"]))
def test_a_policy_that_the_page_calls_refused_is_refused(value: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        parse_policy(value, source="policies.md", lines={})


def decisions() -> list[list[str]]:
    return rows(section(POLICIES, "Decisions of the example"))


def people() -> Contract:
    columns = [
        Column(name=name.strip("`"), type=parse_type(kind), classification=tag.strip("`"))
        for name, kind, tag, _ in decisions()
    ]
    return derived_contract("people", columns)


def asked(**changed: Any) -> dict[str, Any]:
    ana = {"principal": "ana", "roles": ["analyst"], "purpose": "train", "dataset": "people_old", "zone": "historical"}
    return {**ana, "contract": people(), "key_id": "key-1", "at": dt.datetime(2026, 3, 1, tzinfo=dt.UTC), **changed}


def test_the_example_decides_as_its_table_says() -> None:
    grant = decide([example_policy()], **asked())
    decided = {one.column: str(one.verdict) + (f": `{one.mask}`" if one.mask else "") for one in grant.decisions}
    assert decided == {name.strip("`"): decision for name, _, _, decision in decisions()}
    assert grant.effect.filters == ("age >= 18",)
    assert {one.verdict for one in grant.decisions} == set(Verdict)


@pytest.mark.parametrize("changed", [{"purpose": "benchmark"}, {"roles": ["visitor"]}], ids=["purpose", "role"])
def test_the_example_refuses_what_the_page_says_it_refuses(changed: dict[str, Any]) -> None:
    with pytest.raises(AccessDenied):
        decide([example_policy()], **asked(**changed))


def test_every_key_and_effect_of_a_rule_is_documented() -> None:
    from dataops.governance import policy_file

    documented = {
        cells[0].strip("`"): [*spans(cells[1]), cells[1]] for cells in rows(section(POLICIES, "A policy file"))
    }
    assert set(documented) == set(policy_file._ALL_KEYS)
    for effect in RuleEffect:
        for key in policy_file._KEYS[effect]:
            assert "every rule" in documented[key][-1] or effect.value in documented[key]


def test_every_mask_is_documented_and_its_spelling_is_read() -> None:
    documented = rows(section(POLICIES, "Masks"))
    read = [parse_yaml(f"mask: {spans(cells[1])[0]}", "policies.md")[0].value["mask"] for cells in documented]
    masks = [parse_mask(value, where="policies.md") for value in read]
    assert {mask.kind for mask in masks} == set(MaskKind)
    assert {name for mask in masks for name in mask.record()} == set(Mask.__slots__) - {"key_id", "purpose"}
    order = [spans(section(POLICIES, "How it is decided")).index(kind) for kind in VALUE_FREE]
    assert order == sorted(order)


def test_a_bin_and_a_month_are_what_the_page_says() -> None:
    ages = apply_mask(parse_mask({"generalise": {"width": 5}}, where=""), pa.chunked_array([[15, 19, 20]]))
    assert ages.to_pylist() == [15, 15, 20]
    days = apply_mask(
        parse_mask({"generalise": {"date": "month"}}, where=""), pa.chunked_array([[dt.date(2026, 1, 31)]])
    )
    assert days.to_pylist() == [dt.date(2026, 1, 1)]


# Contracts


def read_contract(text: str) -> Contract:
    (document,) = parse_yaml(text, "contracts.md")
    return parse_contract(document.value, source="contracts.md", lines=document.lines)


def test_the_example_contract_loads_with_every_kind_of_limit_and_action_that_it_shows() -> None:
    (text,) = examples(CONTRACTS)
    contract = read_contract(text)
    rules = {rule.id: rule for rule in contract.rules}
    assert rules["paid-hours"].max_percent == 1
    assert rules["wage-known"].max_rows == 999
    assert (rules["paid-hours"].action, rules["age.minimum"].action) == (Action.WARN, Action.DROP)
    assert {"trade.missingValues", "trade.invalidValues", "person_id.not_null"} <= set(rules)
    assert contract.column("year").partitioned
    leaves = {"address.street", "address.country", "jobs.trade", "jobs.employer_mail"}
    assert leaves < {column.name for column in contract.columns}
    assert [rule.id for rule in contract.dataset_rules] == ["person_id.unique", "row.rowCount", "seen_at.freshness"]
    assert (contract.roles, contract.retention_seconds) == (("analyst",), 3 * 365 * 86_400)


def test_the_contract_that_the_page_calls_refused_is_refused() -> None:
    (text,) = examples(CONTRACTS, "yaml refused")
    with pytest.raises(InvalidInput, match="encryption"):
        read_contract(text)


def test_every_kind_of_rule_and_action_is_documented() -> None:
    assert [cells[0].strip("`") for cells in rows(section(CONTRACTS, "Rules"))] == list(RuleKind)
    assert [cells[0].strip("`") for cells in rows(section(CONTRACTS, "Actions"))] == list(Action)


def test_every_type_that_the_page_names_is_read() -> None:
    documented = rows(section(CONTRACTS, "Types"))
    assert {cells[0].strip("`") for cells in documented} == set(LOGICAL_TYPES)
    for logical, _, physical in documented:
        for spelled in spans(physical):
            for one in spelled.split(" ") if "," not in spelled else [spelled]:
                concrete = one.replace("(n)", "(9)").replace("(p, s)", "(10, 2)")
                kind = parse_type(f"timestamp{concrete}" if concrete.startswith("[") else concrete)
                assert logical_type(kind) in (logical.strip("`"), "integer")


@pytest.mark.parametrize("cells", rows(section(CONTRACTS, "Limits")), ids=lambda cells: str(cells[0]))
def test_every_operator_of_the_table_bounds_as_it_says(cells: list[str]) -> None:
    (text,) = examples(CONTRACTS)
    operator = cells[0].strip("`").replace("n", "7") if ": n" in cells[0] or ", n" in cells[0] else cells[0].strip("`")
    operator = re.sub(r"^(\w+)", lambda found: found[0].replace("7", "n"), operator)
    rule = {one.id: one for one in read_contract(text.replace("mustBeLessThan: 1000", operator)).rules}["wage-known"]
    assert rule.max_rows == {"none": 0, "n": 7, "less than n": 6}[cells[1]]


# Expressions


def row() -> pa.Table:
    return pa.table(
        {
            "age": pa.array([7]),
            "hours": [2.5],
            "name": ["Ana "],
            "day": [dt.date(2026, 1, 31)],
            "at": [dt.datetime(2026, 1, 31, 12, 30)],  # noqa: DTZ001 - a column without a zone
            "paid": [True],
            "gap": pa.array([None], pa.int64()),
        }
    )


def shown(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else json.dumps(value)


OPERATORS = rows(section(EXPRESSIONS, "Operators and functions"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [(cells[-2].strip("`"), cells[-1].strip("`")) for cells in [*OPERATORS, *rows(section(EXPRESSIONS, "Null"))]],
)
def test_an_expression_of_the_page_has_the_value_that_stands_beside_it(text: str, expected: str) -> None:
    (value,) = evaluate(parse_expression(text, where="expressions.md"), row()).to_pylist()
    assert shown(value) == expected


@pytest.mark.parametrize(("text", "reason"), rows(section(EXPRESSIONS, "What is refused")))
def test_an_expression_that_the_page_calls_refused_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(reason)):
        evaluate(parse_expression(text.strip("`"), where="expressions.md"), row())


def test_the_table_has_every_operation_of_the_language_and_no_other() -> None:
    documented = {cells[0].strip("`").replace("<code>&#124;&#124;</code>", "||") for cells in OPERATORS}
    inner = {"negate", "case of", "matches"}  # `-`, `case`, and what patterns of contracts become
    assert documented == set(OPERATIONS) - inner
    assert set(FUNCTIONS) - {"mod"} <= documented
    extract = next(cells[1] for cells in OPERATORS if cells[0] == "`extract`")
    assert set(spans(extract)) == set(FIELDS)


# Formats


def test_every_format_has_a_section_and_every_section_a_format() -> None:
    sections = set(re.findall(r"^## ([a-z-]+-\d+)$", (REFERENCE / "formats.md").read_text(), re.MULTILINE))
    of_libraries = {name.replace("/", "-") for name in FORMATS if not name.startswith(("linear", "clusters"))}
    assert sections == formats_in_code() | NO_RECORDS | of_libraries


def top_keys(name: str) -> set[str]:
    value = json.loads((REFERENCE.parent.parent / "tests" / "compat" / name).read_text())
    inner = next((value[key] for key in ("body", "program", "datasets") if key in value), value)
    if "holdout" in inner:
        inner = inner["holdout"]
    return set(inner) - {"format"}


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith(".json")])
def test_every_key_of_a_format_is_documented(name: str) -> None:
    documented = section(REFERENCE / "formats.md", name.split(".", maxsplit=1)[0])
    assert top_keys(name) <= {word for cells in rows(documented) for word in spans(cells[0])}


def test_every_key_of_a_journal_entry_is_documented() -> None:
    entry = json.loads((REFERENCE.parent.parent / "tests" / "compat" / "audit-1.json").read_text())
    documented = {cells[0].strip("`") for cells in rows(section(REFERENCE / "formats.md", "Journals"))}
    assert documented == set(entry)


def test_no_page_is_forgotten_in_the_index() -> None:
    index = (REFERENCE.parent / "README.md").read_text()
    assert all(f"(reference/{page.name})" in index for page in REFERENCE.glob("*.md"))
