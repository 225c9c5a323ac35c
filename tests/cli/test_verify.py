"""``verify`` where something doesn't hold: exit 8, the findings on stderr, one JSON document on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataops.governance.audit import record_intent
from dataops.runs.workspace import open_workspace


@pytest.fixture
def audited(workspace: Path) -> Path:
    """A workspace with three intents in its audit, none of which has a result."""
    opened = open_workspace(str(workspace), {})
    for number in range(3):
        record_intent(
            opened.audit,
            run=f"run-{number}",
            principal="ada",
            roles=["data_science"],
            purpose="train",
            dataset="people_old",
            snapshot="sha256:0",
            effect_digest="sha256:1",
            policy_digest="sha256:2",
        )
    return workspace


def test_an_empty_audit_is_whole(workspace, dataops):
    called = dataops("audit", "verify")
    assert called.code == 0
    assert "nothing was read yet" in called.out


def test_an_open_reading_is_a_warning(audited, dataops):
    called = dataops("audit", "verify", "--json")
    assert called.code == 0
    assert called.json["records"] == 3
    assert len(called.json["warnings"]) == 3
    assert "whole" in dataops("audit", "verify").out


def test_an_altered_audit_is_no_longer_whole(audited, dataops):
    record = sorted((audited / "storage" / "audit").rglob("*.json"))[1]
    record.write_text(record.read_text().replace("ada", "eve"))
    called = dataops("audit", "verify", "--json")
    assert called.code == 8
    assert called.json["findings"]
    assert "the audit is not as it was written" in called.err
    text = dataops("audit", "verify")
    assert text.code == 8
    assert "whole" not in text.out


def test_a_source_is_verified_and_a_change_is_found(workspace, dataops):
    assert dataops("dataset", "show", "people_old").code == 0
    whole = dataops("dataset", "verify", "people_old", "--json")
    assert whole.code == 0, whole.err
    assert whole.json["findings"] == []


def test_what_dataset_show_says_as_text_stands_in_its_json(workspace, dataops):
    shown = dataops("dataset", "show", "people_old", "--json").json
    text = dataops("dataset", "show", "people_old").out
    assert {column["column"] for column in shown["columns"]} == {
        *("person_id", "diagnosis", "age", "hours", "trade", "region", "rich")
    }
    assert f"{shown['rows']:,}" in text
    assert all(" " not in name for name in shown)
    listed = dataops("dataset", "list", "--json").json
    assert [one["rows"] for one in listed] == [None, shown["rows"]]


def test_keys_are_made_anew_and_kept_private(workspace, dataops):
    before = {path.name for path in (workspace / "keys").iterdir()}
    made = dataops("keys", "init", "--json").json
    new = {path.name for path in Path(made["folder"]).iterdir()} - before
    assert [path for path in new if made["key"] in path]
    assert all((workspace / "keys" / name).stat().st_mode & 0o077 == 0 for name in new)
    assert "secret" not in json.dumps(made)
