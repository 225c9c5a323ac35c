"""``verify`` where something doesn't hold: exit 8, the findings on stderr, one JSON document on stdout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dataops.datasets.snapshot import append_snapshot, manifest_key, read_manifest
from dataops.engine.connect import Connection
from dataops.runs.workspace import open_workspace
from tests.line.people import CONTRACT
from tests.line.running import Line


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


def test_a_dataset_that_a_replay_added_to_is_verified_run_by_run(workspace, dataops, cluster):
    line = Line(folder=workspace, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))
    first = line.run("people_ready").state.run.id
    contract = CONTRACT.replace("logicalTypeOptions: {minimum: 0, maximum: 120}}", "logicalTypeOptions: {minimum: 0}}")
    (workspace / "contracts/people.yaml").write_text(contract)
    with line._standing():
        second = dataops("quarantine", "replay", "people_old", "--quiet", "--json").json["run"]
    verified = dataops("dataset", "verify", "people_ready", "--json").json
    checks, runs = verified["checks"], verified["runs"]
    assert [(one["run"], one["replay_of"], one["read"], one["quarantined"]) for one in runs] == [
        (first, None, 400, 20),
        (second, first, 20, 0),
    ]
    assert checks["rows in quarantine files"] == "20, all of them replayed"
    assert checks["runs"].split("\n") == [first, second]
    assert checks["accounted for"].startswith("400 read =")
    assert checks["accounted for"].endswith(" filtered + 0 quarantined")
    assert checks["by run"].split("\n")[1].startswith(f"{second} (replay of {first}): 20 read = 20 passed")
    text = dataops("dataset", "verify", "people_ready")
    assert text.code == 0
    assert text.out.split("\n")[0].split("  ")[-1] == "everything holds"
    assert f"{second} (replay of {first}): " in text.out
    _add_another_replay(workspace, first, second)
    broken = dataops("dataset", "verify", "people_ready")
    assert broken.code == 8
    assert f"took the quarantine of run {first}, which run {second} took before" in broken.err


def _add_another_replay(workspace: Path, first: str, second: str) -> None:
    """What no dataops writes: a snapshot with two replays of one run."""
    store = open_workspace(str(workspace), {}).store
    read = [read_manifest(store, "people_ready", run) for run in (first, second)]
    other = replace(read[1], run=second + "x", fragments=(), units={}, counts=dict.fromkeys(read[1].counts, 0))
    assert store.put_if_absent(manifest_key("people_ready", other.run), other.to_bytes())
    append_snapshot(store, other, replace=False)
