"""``dataops job run --run ID``: what is refused before anything is opened or begun."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Call


def test_an_id_of_another_job_is_refused(workspace: Path, dataops: Call) -> None:
    called = dataops(
        "job", "run", "jobs/people.yaml", "people_ready", "--run", "other-20260131t120000-1a2b3c", "--json"
    )
    assert called.code == 2
    assert "can't be a run of job 'people_ready'" in called.json["error"]["message"]
    assert not (workspace / "storage" / "runs").exists()


def test_one_run_and_many_looks_are_two_things(workspace: Path, dataops: Call) -> None:
    name = "people_ready-20260131t120000-1a2b3c"
    called = dataops("job", "run", "jobs/people.yaml", "people_ready", "--run", name, "--poll", "5")
    assert called.code == 2
    assert "--run names one run" in called.err
