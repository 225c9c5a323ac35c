"""The example application: promotions and rollbacks reach it while it answers, without Dask, pandas or scikit-learn."""

from __future__ import annotations

import runpy
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from tests.runtime.examples import make_registry, opened, promote, register, wait_until
from tests.runtime.traffic import APP, EVERY, ROOT, Client, Traffic, change_versions, serving


@pytest.fixture
def models(tmp_path: Path) -> Path:
    registry = make_registry(tmp_path / "models")
    for number in (1, 2):
        register(registry, float(number))
    promote(registry, 1)
    return tmp_path / "models"


def test_a_promotion_and_a_rollback_reach_the_application_and_no_request_fails(models: Path) -> None:
    with serving(models, "--every", str(EVERY)) as port, Traffic(Client(port), threads=2) as traffic:
        wait_until(lambda: len(traffic.answers) > 20)
        change_versions(models, traffic, rounds=1)
    assert traffic.failures == []
    versions = [version for _, _, version in traffic.answers]
    assert set(versions) == {"income@1", "income@2"}


def test_the_application_says_what_is_wrong_with_a_request(models: Path) -> None:
    with serving(models) as port:
        client = Client(port)
        assert client.ask("GET", "/health")[1]["version"] == "income@1"
        assert client.ask("GET", "/signature")[1]["inputs"][0] == {"name": "age", "type": "int64"}
        status, answer = client.ask("POST", "/score", [{"age": 1, "jobb": "clerk"}])
        assert (status, "'job' in 1 of 1 rows" in answer["error"]) == (400, True)
        assert client.ask("POST", "/score", b"no JSON")[0] == 400
        assert client.ask("POST", "/score", {"age": 1})[0] == 400
        assert client.ask("POST", "/score", b"[" * 100_000)[0] == 400
        for length in ("-1", "many"):  # no bytes follow: who waits for their end answers nothing
            assert client.ask("POST", "/score", b"", {"Content-Length": length})[0] == 400
        assert client.ask("GET", "/nothing")[0] == 404
        client.score()


def test_the_application_goes_on_with_its_last_good_version(models: Path) -> None:
    with serving(models, "--every", "0.05") as port:
        client = Client(port)
        (models / "income/versions/2/model.json").unlink()
        promote(make_registry(models), 2)
        wait_until(lambda: client.ask("GET", "/health")[1]["error"] is not None)
        assert client.score() == "income@1"
        said = client.ask("GET", "/health")[1]
        assert said["error"] == "Integrity"  # what kind, and nothing that the error quotes
        assert 0 <= said["looked_seconds_ago"] < 20


def test_health_shows_that_the_registry_hangs(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(models) as model:
        monkeypatch.setattr(model, "_looked_at", model.looked_at - timedelta(hours=1))
        said = runpy.run_path(str(APP))["health"](model, {})[1]
    assert 3600 <= said["looked_seconds_ago"] < 3700
    assert said["error"] is None


@pytest.mark.faults
def test_no_request_of_ten_thousand_fails_while_versions_change(models: Path) -> None:
    with serving(models, "--every", str(EVERY)) as port, Traffic(Client(port), threads=2) as traffic:
        changes = 0
        while len(traffic.answers) < 10_000:
            changes += len(change_versions(models, traffic, rounds=1))
    assert traffic.failures == []
    assert changes >= 2


def test_the_example_lists_what_it_needs_as_the_project_bounds_it() -> None:
    listed = set((APP.parent / "requirements.txt").read_text().splitlines()[1:])
    assert listed <= set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    names = {line.split(">=")[0] for line in listed}
    assert not names & {"dask[dataframe]", "dask-ml", "distributed", "pandas", "scikit-learn"}
