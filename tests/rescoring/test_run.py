"""Rescoring: what fails a whole run, and what a run says of rows that came to no score."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import committed_units
from dataops.datasets.snapshot import read_snapshot
from dataops.errors import ContractViolation
from dataops.features.program import FeatureProgram
from dataops.rescoring.run import run_rescore
from dataops.runs.workspace import Workspace
from dataops.storage.objects import open_store
from tests.engine.inline import InlineWork
from tests.line.people import ROWS_PER_FILE
from tests.rescoring.examples import make_job, make_plan, register

KINDS = ("passed", "filtered_by_policy", "filtered_by_job", "dropped", "quarantined", "failed")
ASIDE = ROWS_PER_FILE // 20  # of each of the two files


class Working(InlineWork):
    """Work without a cluster, with phases."""

    def phase(self, *_: object, **__: object) -> nullcontext[None]:
        return nullcontext()


@pytest.fixture
def rescore(workspace: Workspace, given: GovernedInput, tmp_path: Path) -> Callable[..., Any]:
    """Runs a job with such a budget over the town; its storage is the test's folder."""

    def run(replay_of: str | None = None, **errors: Any) -> Any:
        plan = make_plan(given, register(workspace), job=make_job(errors=errors))
        registry = workspace.settings.registry
        return run_rescore(plan, given, Working().work, storage=str(tmp_path), registry=registry, replay_of=replay_of)

    return run


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Whose rows no model can take: the program quotes them and fails."""
    people: set[str] = set()
    run = FeatureProgram.run

    def refuse(program: FeatureProgram, table: Any, *others: Any, **named: Any) -> Any:
        there = people & set(table.column("hours").cast("string").to_pylist())
        if there:
            raise ValueError(f"can't take {there}")
        return run(program, table, *others, **named)

    monkeypatch.setattr(FeatureProgram, "run", refuse)
    return people


def published(folder: Path) -> bool:
    return read_snapshot(open_store(str(folder)), "scores") is not None


class TestBudget:
    @pytest.mark.parametrize(
        ("errors", "says"),
        [
            ({}, r"20 of \d+ rows of 'people_new' were quarantined, .*; errors.max_rate allows 0.000%"),
            ({"max_rate": 0.001}, r"\(after 400 of 800 rows\); errors.max_rate allows 0.100%.*rule:age.* 20"),
            ({"max_rate": 1.0, "max_rows": 30}, r"40 of \d+ rows .* errors.max_rows allows 30"),
        ],
    )
    def test_that_is_spent_fails_the_run_and_nothing_is_published(
        self, rescore: Callable[..., Any], tmp_path: Path, errors: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(ContractViolation, match=says):
            rescore(**errors)
        assert not published(tmp_path)
        assert not list(tmp_path.rglob("manifest.json"))

    def test_that_can_not_be_kept_any_more_ends_the_run_early(
        self, rescore: Callable[..., Any], tmp_path: Path
    ) -> None:
        with pytest.raises(ContractViolation, match="after 400 of 800 rows"):
            rescore()
        assert len(committed_units(open_store(str(tmp_path)), "scores", "run-1")) == 1

    def test_that_is_kept_lets_the_run_be_published(self, rescore: Callable[..., Any], tmp_path: Path) -> None:
        manifest, _, figures = rescore(max_rate=0.2, max_rows=2 * ASIDE)
        assert published(tmp_path)
        assert manifest.counts["quarantined"] == sum(figures["errors"].values()) == 2 * ASIDE
        assert all(reason.startswith("rule:") for reason in figures["errors"])


class TestRowsThatFail:
    def _all_of(self, workspace: Workspace, file: str, *rows: int) -> list[str]:
        """The hours of `rows` of a file of the town."""
        path = workspace.settings.workspace / "data" / "people_new" / file
        hours: list[str] = pq.read_table(path).column("hours").cast("string").to_pylist()
        return [hours[row] for row in rows]

    def test_are_told_by_place_reason_and_key_and_all_others_are_scored(
        self, rescore: Callable[..., Any], workspace: Workspace, failing: set[str], tmp_path: Path
    ) -> None:
        failing.update(self._all_of(workspace, "part-001.parquet", 1, 2))
        manifest, _, figures = rescore(max_rate=0.2)
        counts, failed = manifest.counts, manifest.counts["failed"]
        assert counts["read"] == sum(counts.get(kind, 0) for kind in KINDS) == 2 * ROWS_PER_FILE
        assert figures["errors"]["ValueError"] == failed >= 1
        records = committed_units(open_store(str(tmp_path)), "scores", "run-1").values()
        files = [tmp_path / "datasets/scores" / record.errors.path for record in records if record.errors]
        told = [row for file in files for row in pq.read_table(file).to_pylist()]
        assert len(told) == failed + 2 * ASIDE
        assert {1, 2} & {row["row"] for row in told if row["reason"] == "ValueError"}
        assert all(row.keys() == {"row", "unit", "reason", "person_id"} for row in told)
        assert all("secret" not in row["person_id"] for row in told)

    def test_fail_the_run_by_the_first_of_them_where_none_may(
        self, rescore: Callable[..., Any], workspace: Workspace, failing: set[str], tmp_path: Path
    ) -> None:
        failing.update(self._all_of(workspace, "part-000.parquet", *range(1, 9)))
        says = r"row \d+ of part-000.parquet can't be scored \(ValueError\), and 3 more there; errors allows 3"
        with pytest.raises(ContractViolation, match=says) as caught:
            rescore(max_rate=1.0, max_rows=3)
        assert not [hours for hours in failing if f"'{hours}'" in str(caught.value)]
        assert not published(tmp_path)

    def test_count_for_a_replay_where_rows_that_stay_in_quarantine_do_not(
        self, rescore: Callable[..., Any], workspace: Workspace, failing: set[str], tmp_path: Path
    ) -> None:
        failing.update(self._all_of(workspace, "part-001.parquet", 1))
        with pytest.raises(ContractViolation, match=r"can't be scored \(ValueError\).*errors allows 0"):
            rescore(replay_of="run-0")
        assert not published(tmp_path)
