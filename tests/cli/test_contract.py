"""Contracts checked against files, and against each other, from the command line."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.cli.conftest import Call


@pytest.fixture
def contract(workspace: Path) -> Path:
    return workspace / "contracts" / "people.yaml"


def test_a_file_is_read_and_shown(dataops: Call, contract: Path) -> None:
    called = dataops("contract", "check", str(contract))
    assert called.code == 0
    assert "classification" in called.out
    assert "age <= 120" in called.out
    assert "in the files" not in called.out
    assert "stored as" not in called.out
    assert called.out.endswith("\nthe contract can be executed\n")
    record = dataops("contract", "check", str(contract), "--json").json
    assert record["findings"] == []
    assert record["columns"]


def test_a_file_with_a_slip_is_refused_with_its_line(dataops: Call, contract: Path) -> None:
    contract.write_text(contract.read_text().replace("logicalType:", "logicalTyp:", 1))
    called = dataops("contract", "check", str(contract))
    assert called.code == 2
    assert "Did you mean 'logicalType'?" in called.err
    assert "people.yaml:" in called.err


def declared(dataops: Call, folder: Path) -> Path:
    """A dataset `nested` below `folder`, with a drafted contract."""
    folder.mkdir()
    address = pa.array([{"street": "CANARY", "Postal Code": 7}, None])
    pq.write_table(pa.table({"id": [1, 2], "address": address}), folder / "a.parquet")
    added = dataops("dataset", "add", "nested", str(folder), "--draft-contract")
    assert added.code == 0
    assert added.out.endswith("Next: dataops contract check nested\n")
    return Path("contracts/nested.yaml")


def test_a_dataset_is_held_against_all_its_footers(dataops: Call, workspace: Path, tmp_path: Path) -> None:
    drafted = declared(dataops, tmp_path / "nested")
    called = dataops("contract", "check", "nested", "--json")
    assert called.code == 0
    assert [column["name"] for column in called.json["columns"]] == ["id", "address.street", "address.Postal_Code"]
    assert (called.json["files"], called.json["rows"]) == (1, 2)
    assert called.json["found_types"] == {"id": "int64", "address.street": "string", "address.Postal_Code": "int64"}
    text = dataops("contract", "check", "nested").out
    assert "address.Postal Code" in text
    assert text.endswith("\nthe files fit the contract\n")
    written = yaml.safe_load(drafted.read_text())
    del written["schema"][0]["properties"][1]["properties"][0]
    drafted.write_text(yaml.safe_dump(written))
    called = dataops("contract", "check", "nested")
    assert called.code == 2
    assert "column 'address.street' is not in the contract" in called.err
    assert "CANARY" not in called.out + called.err


def test_an_unknown_dataset_is_not_found(dataops: Call, workspace: Path) -> None:
    assert dataops("contract", "check", "nobody").code == 3


def test_a_breaking_change_is_a_conflict(dataops: Call, contract: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer.yaml"
    written = yaml.safe_load(contract.read_text())
    newer.write_text(yaml.safe_dump(written))
    same = dataops("contract", "diff", str(contract), str(newer))
    assert (same.code, same.out) == (0, "no difference: both do the same\n")
    written["schema"][0]["properties"][0]["classification"] = "moved"
    newer.write_text(yaml.safe_dump(written))
    called = dataops("contract", "diff", str(contract), str(newer))
    assert called.code == 5
    assert "classification" in called.out
    assert "break readers" in called.err
    as_json = dataops("contract", "diff", str(contract), str(newer), "--json")
    assert as_json.code == 5
    assert as_json.json["breaks"] is True
    assert as_json.json["changes"][0]["effect"] == "breaking"


def test_a_looser_rule_says_how_rows_come_back(dataops: Call, contract: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer.yaml"
    newer.write_text(contract.read_text().replace("maximum: 120", "maximum: 160").replace("1.0.0", "1.1.0"))
    called = dataops("contract", "diff", str(contract), str(newer))
    assert called.code == 0
    assert "rule 'age.maximum': maximum 120 -> 160" in called.out
    assert "dataops quarantine replay DATASET" in called.out
    assert "replay" not in dataops("contract", "diff", str(newer), str(contract)).out
