"""A search counts once everybody tried every point and found about as good a model, whoever could come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.scripts import loaded

search = loaded("search")


def told(*, auc: float = 0.7, rows: int = 100, trials: int = 8) -> dict[str, Any]:
    return {"trials": trials, "metrics": {"rows": rows, "roc_auc": auc}}


def all_told(**peers: dict[str, Any]) -> dict[str, Any]:
    ours = {"search": {"trials": {"done": 8, "failed": 0}}, "metrics": {"rows": 100, "roc_auc": 0.7}}
    return {"dataops": ours, "dataops null": ours, **{name.replace("_", " "): one for name, one in peers.items()}}


def test_every_peer_that_came_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    search.check(all_told(joblib=told(auc=0.705), ray_tune=told(auc=0.695)))
    said = capsys.readouterr().out
    assert "joblib: 8 trials" in said
    assert "ray tune: 8 trials" in said
    search.check(all_told(joblib=told()))


@pytest.mark.parametrize("peer", ["joblib", "ray_tune"])
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"trials": 7}, "7 trials"),
        ({"rows": 99}, "100 rows were judged, not 99"),
        ({"auc": 0.72}, "0.0200 apart"),
    ],
)
def test_a_peer_that_did_less_or_found_another_model_ends_it(peer: str, wrong: dict[str, Any], why: str) -> None:
    peers = {"joblib": told(), "ray_tune": told(), peer: told(**wrong)}
    with pytest.raises(AssertionError, match=why):
        search.check(all_told(**peers))


def test_a_peer_whose_environment_cannot_be_built_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise search.CannotBuild("no index")

    monkeypatch.setattr(search, "build", refuse)
    commands, missing = search.find_commands(Path("home"), 10)
    assert list(commands) == ["dataops", "joblib", "dataops null"]
    assert missing == {"ray tune": "no index"}


def test_peers_search_the_grid_of_the_job() -> None:
    points = [f"{name}: {{one_of: {values}}}" for name, values in search.GRID.items()]
    assert all(point in search.JOB.format(rounds=10) for point in points)
