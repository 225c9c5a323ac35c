"""Inputs of no row, of files without rows among others, and of one row: as good as any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dataops.datasets.verify import verify_dataset
from dataops.declarations.jobs import find_job
from dataops.runs.explain import explain_job
from dataops.runs.report import report_path
from tests.datasets.examples import open_one
from tests.runs.offline import SCORES, Offline

EMPTY, ONE = 0, 1


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    return Offline.make(tmp_path_factory.mktemp("small") / "town", files=2)


def cut(town: Offline, *rows: int) -> None:
    """The files of the input have so many rows each."""
    whole = pq.read_table(town.folder / "data/people_old/part-000.parquet")
    for number, kept in enumerate(rows):
        few = whole.slice(1, kept)  # the first row is one that goes to quarantine
        pq.write_table(few, town.folder / f"data/people_new/part-{number:03d}.parquet")


@pytest.mark.parametrize("rows", [(EMPTY, EMPTY), (ONE, EMPTY), (EMPTY, ONE), (400, EMPTY)])
def test_are_scored_explained_published_and_verified(home: Offline, rows: tuple[int, int]) -> None:
    cut(home, *rows)
    declared = find_job(home.folder / "jobs/people.yaml", SCORES)
    explained = explain_job(home.workspace, declared.job, source=declared.document.source)
    assert explained["refused"] is None
    outcome = replace(home, reports=True).run()
    counts = outcome.state.result["reads"]["input"]["counts"]
    assert counts["read"] == sum(min(one, 399) for one in rows)
    assert len(home.rows()) == counts["passed"]
    verified = verify_dataset(home.workspace.settings, home.workspace.store, SCORES)
    assert verified.findings == ()
    assert Path(report_path(home.workspace, outcome.state.run.id)).is_file()
    assert home.run().skipped


def test_the_scores_of_no_row_can_be_read_like_any(home: Offline) -> None:
    cut(home, EMPTY, EMPTY)
    home.run(again=True)

    given = open_one(home.workspace, SCORES, "score")
    assert given.units == ()
    assert [column.name for column in given.dataset.contract.columns] == ["person_id", "probability", "prediction"]
