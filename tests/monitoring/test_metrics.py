"""Metrics of runs: read off boards when asked, added up over the schedulers of a process, all of them documented."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from dataops.monitoring import metrics
from dataops.monitoring.page_views import board_record
from dataops.monitoring.shown import TROUBLES
from tests.monitoring.messages import BEGAN, BUSY, board, said, shown

PAGE = (Path(__file__).parent.parent.parent / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")


class Keeper(SimpleNamespace):
    """Who keeps a board."""

    __hash__ = object.__hash__


def test_every_scheduler_of_the_process_counts_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("prometheus_client")
    monkeypatch.setattr(metrics, "_watched", set())
    one = Keeper(board=board(*BUSY, said("unit_retried", phase="score", unit="u", reason="x")))
    other = Keeper(board=board(shown("a-1-2"), said("run_ended", "a-1-2", state="failed"), *BUSY))
    for keeper in (one, other):
        metrics.watch(keeper)
    assert told() == {
        ("dataops_rows_total", "rescore"): 2000.0,
        ("dataops_units_total", "rescore"): 20.0,
        ("dataops_troubles_total", "unit_retried"): 1.0,
        ("dataops_runs_total", "failed"): 1.0,
        ("dataops_run_seconds_total", "failed"): 1.0,
        ("dataops_runs_running", "rescore"): 2.0,
    }
    metrics.forget(other)
    assert told()[("dataops_rows_total", "rescore")] == 1000.0


def told() -> dict[tuple[str, str], float]:
    families = list(metrics._Boards().collect())
    return {(one.name, next(iter(one.labels.values()))): one.value for family in families for one in family.samples}


def test_every_metric_and_every_kind_of_trouble_is_documented() -> None:
    for name, _, label in metrics.COUNTERS.values():
        assert f"| `{name}_total` | `{label}` |" in PAGE
    assert f"| `{metrics.GAUGE[0]}` | `{metrics.GAUGE[2]}` |" in PAGE
    for event in TROUBLES:
        assert f"`{event}`" in PAGE


def test_every_key_of_the_json_is_documented() -> None:
    record = board_record(board(*BUSY), BEGAN + 10)
    for keys in (record, record["runs"][0], record["runs"][0]["phases"][0]):
        for key in keys:
            assert f"`{key}`" in PAGE
