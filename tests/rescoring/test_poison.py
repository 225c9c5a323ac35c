"""A poisoned row in a real run: its workers die of it, the run ends all the same, and names the row."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataops.datasets.verify import verify_dataset
from dataops.runs.errors import error_rows_of
from tests.line.running import Line, standing_cluster
from tests.rescoring.poison import poison_processes, poison_rows
from tests.runs.offline import Offline

FILES = 6
POISON = {"part-002.parquet": {11: "kills", 380: "raises"}, "part-005.parquet": {0: "crashes"}}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A town whose rows are poison to the workers of its cluster; the driver never touches them."""
    made = Offline.make(tmp_path_factory.mktemp("poison") / "town", files=FILES)
    for file, rows in POISON.items():
        poison_rows(made.folder / "data" / "people_new" / file, rows)
    with pytest.MonkeyPatch.context() as monkeypatch:
        poison_processes(monkeypatch)
        with standing_cluster(2) as connection:
            yield Line(folder=made.folder, connection=connection)


def test_rows_that_kill_their_workers_are_named_and_all_others_are_scored(town: Line) -> None:
    outcome = town.run("people_scores")
    result = outcome.state.result
    reasons = {reason: rows for reason, rows in result["errors"].items() if not reason.startswith("rule:")}
    assert reasons == {"SIGKILL": 1, "SIGSEGV": 1, "TypeError": 1}
    found = error_rows_of(town.workspace, outcome.state.run.id, limit=1000)
    named = {(row["file"], row["row"]) for row in found.rows if row["reason"] in reasons}
    assert named == {(file, row) for file, rows in POISON.items() for row in rows}
    verified = verify_dataset(town.workspace.settings, town.workspace.store, "people_scores")
    assert verified.findings == ()
    assert verified.checks["rows failed"] == 3
    assert len(town.rows("people_scores")) == result["reads"]["input"]["counts"]["passed"]
    assert "CANARY" not in town.said.getvalue()
