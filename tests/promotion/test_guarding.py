"""What a guard judges a champion by: what was measured after it was promoted, and nothing older."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from dataops.declarations.metrics import Metric
from dataops.records import format_time
from dataops.registry.moves import MoveKind
from dataops.runs import guarding
from dataops.runs.guarding import Guard, Kept, judge_champion

MOVED = datetime(2026, 11, 23, 7, tzinfo=UTC)
GUARD = Guard(job="later", metric=Metric.ROC_AUC, minimum=0.5)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What becomes of a version, promoted again after a rollback, with this time between its promotion and the newest
    run, which found it to be bad.
    """

    def judge(after: timedelta) -> guarding.Guarded:
        def move(version: int) -> SimpleNamespace:
            return SimpleNamespace(
                model="late",
                version=version,
                version_digest=f"sha256:{version}",
                generation=4,
                kind=MoveKind.PROMOTED,
                moved_at=MOVED,
                reason="it learnt",
            )

        own = {
            "candidate": "own late@3",
            "digest": "sha256:3",
            "judged": 5000,
            "metrics": {"realised": {"overall": {"roc_auc": 0.1}}},
        }
        run = SimpleNamespace(id="later-1", created_at=format_time(MOVED + after))
        state = SimpleNamespace(run=run, result={"versions": [own]})
        monkeypatch.setattr(guarding, "current", lambda *_: move(3))
        monkeypatch.setattr(guarding, "done_runs", lambda *_, **__: iter([state]))
        monkeypatch.setattr(guarding, "_before", lambda *_: move(2))
        workspace: Any = SimpleNamespace(registry=None, ledger=None)
        return judge_champion(workspace, "late", GUARD, now=MOVED + timedelta(days=400))

    return judge


def test_figures_that_are_older_than_the_promotion_take_nothing_back(judged: Any) -> None:
    found = judged(timedelta(minutes=-1))
    assert found.outcome is Kept.UNKNOWN
    assert found.why == "later-1, the newest of job 'later', began before late@3 was promoted"


def test_figures_of_after_it_do(judged: Any) -> None:
    found = judged(timedelta(minutes=1))
    assert found.outcome is Kept.ROLLED_BACK
    assert "roc_auc is 0.1000 on 5,000 rows of later-1, below 0.5" in found.why
