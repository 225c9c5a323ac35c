"""``dataops cluster``: certificates that only their owner can open, and whether a cluster can do a workspace's jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataops.engine.certs import FILES
from dataops.runs.cluster_check import wrong_with


def test_certificates_are_made_once(dataops, tmp_path: Path) -> None:
    made = dataops("cluster", "certs", str(tmp_path / "certs"), "--days", "2", "--json")
    assert made.code == 0
    assert set(made.json["files"]) == set(FILES) == {path.name for path in (tmp_path / "certs").iterdir()}
    assert "PRIVATE KEY" not in made.out
    again = dataops("cluster", "certs", str(tmp_path / "certs"))
    assert again.code == 4
    assert "isn't empty" in again.err


def test_the_embedded_cluster_can_do_the_jobs(dataops, workspace: Path) -> None:
    checked = dataops("cluster", "check", "--workers", "1", "--json")
    assert checked.code == 0, checked.err
    assert checked.json["ok"]
    assert checked.json["wrong"] == []
    (worker,) = checked.json["workers"].values()
    assert worker["storage"] == {"ok": True, "found": True}
    assert worker["keys"]["ok"]
    assert list((workspace / "storage").glob("probe-*")) == []


def test_keys_that_workers_cannot_find_are_told(dataops, workspace: Path) -> None:
    settings = workspace / "dataops.yaml"
    settings.write_text(settings.read_text().replace("keys: keys", "keys: elsewhere"))
    checked = dataops("cluster", "check", "--workers", "1")
    assert checked.code == 11
    assert "doesn't reach the keys" in checked.err


def test_a_cluster_that_is_not_there_is_told(dataops, workspace: Path) -> None:
    (workspace / "cluster" / "gone.yaml").write_text(
        "{kind: address, address: 'tcp://127.0.0.1:1', start_seconds: 1}\n"
    )
    checked = dataops("cluster", "check", "cluster/gone.yaml")
    assert checked.code == 11
    assert "the Dask scheduler at tcp://127.0.0.1:1 can't be reached" in checked.err


def test_a_cluster_that_stands_has_the_workers_that_it_has(dataops, workspace: Path) -> None:
    asked = dataops("cluster", "check", "cluster/address.yaml", "--workers", "3")
    assert asked.code == 2
    assert "with the workers that it has" in asked.err


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"code": {"version": "0.0.1", "digest": "sha256:0"}}, "runs other code (dataops 0.0.1"),
        ({"clock_off": 61.0}, "its clock is 61 seconds off"),
        ({"free_bytes": 10**9}, "1.0 GB are free"),
        ({"registry": {"ok": False, "reason": "no folder"}}, "doesn't reach the registry: no folder"),
        ({"failed": "ModuleNotFoundError"}, "is this very dataops installed there?"),
    ],
)
def test_what_is_wrong_with_a_worker_is_told_in_words(changed: dict[str, object], told: str) -> None:
    from dataops.engine.code import code_identity

    fine = {"ok": True, "found": 1}
    said = {"code": dict(code_identity()), "clock_off": 0.1, "free_bytes": 10**11} | dict.fromkeys(
        ("storage", "registry", "keys"), fine
    )
    assert list(wrong_with(said)) == []
    (found,) = wrong_with(said | changed)
    assert told in found
