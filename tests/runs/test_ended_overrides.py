"""A rescore by an alias says when the override ended by which its version was promoted."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest

from dataops.models.predictor import BOOSTED
from dataops.promotion.override import Override
from dataops.records import now_utc
from dataops.runs.promotion import promote_version
from tests.rescoring.examples import register
from tests.runs.offline import JOBS, Offline

ENDED = "wealth@2 was promoted against its gates until"


@pytest.fixture(scope="module")
def overridden(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """A town whose champion is version 2, promoted against its gates for three days."""
    town = Offline.make(tmp_path_factory.mktemp("overridden") / "town", files=1)
    register(town.workspace, BOOSTED)
    rules = "format: 1\nmodel: wealth\nrules: [{metric: roc_auc, minimum: 0.99}]\n"
    (town.folder / "jobs" / "promotion.yaml").write_text(rules)
    taken = Override(why="agreed", until=now_utc() + timedelta(days=3))
    assert promote_version(town.workspace, "wealth", 2, reason="test", override=taken).overridden
    return town


@pytest.mark.parametrize(
    ("model", "days", "told"),
    [("wealth@champion", 2, False), ("wealth@champion", 4, True), ("wealth", 4, True), ("wealth@2", 4, False)],
)
def test_by_alias_and_once_it_is_over(overridden: Offline, tmp_path: Path, model: str, days: int, told: bool) -> None:
    town = overridden.copied(tmp_path)
    town.change(JOBS, "model: wealth@1", f"model: {model}")

    def later() -> datetime:
        return now_utc() + timedelta(days=days)

    with patch("dataops.runs.execute.now_utc", later):
        town.run()
    said = " ".join(town.said.getvalue().split())  # a terminal breaks lines
    assert (ENDED in said) is told
