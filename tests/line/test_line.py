"""The line as a whole: every row accounted for, nothing done twice, the same bytes whoever does the work."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dataops.datasets.snapshot import read_manifest
from dataops.engine.work import Work
from dataops.errors import Conflict
from dataops.runs.execute import Outcome
from tests.compat.writing import cluster_in_process
from tests.line.people import ROWS_PER_FILE
from tests.line.running import Line

FILES = 4


def source_table(line: Line, dataset: str) -> list[dict[str, object]]:
    """The raw rows, read past all governance."""
    files = sorted((line.folder / "data" / dataset).glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def counts_of(outcome: Outcome, read: str = "input") -> dict[str, int]:
    return outcome.state.result["reads"][read]["counts"]


class TestEveryRowIsAccountedFor:
    """Counted against the raw files with plain Python, not against the line's own figures."""

    @pytest.mark.parametrize(("job", "source"), [("people_ready", "people_old"), ("people_scores", "people_new")])
    def test_by_a_job_that_writes(self, line: Line, outcomes: dict[str, Outcome], job: str, source: str) -> None:
        raw = source_table(line, source)
        grown = [row for row in raw if row["age"] >= 18]
        sane = [row for row in grown if row["age"] <= 120]
        counts = counts_of(outcomes[job])
        assert counts["read"] == len(raw) == FILES * ROWS_PER_FILE
        assert counts["filtered_by_policy"] == len(raw) - len(grown) > 0
        assert counts["quarantined"] == len(grown) - len(sane) > 0
        assert counts["passed"] == len(sane) == len(line.rows(job))
        assert (counts["dropped"], counts["filtered_by_job"]) == (0, 0)

    def test_by_every_reading_of_a_training(self, line: Line, outcomes: dict[str, Outcome]) -> None:
        reads = outcomes["wealth"].state.result["reads"]
        assert set(reads) == {"input", "evaluate:people_ready", "evaluate:people_new"}
        for read in reads.values():
            aside = ("filtered_by_policy", "filtered_by_job", "dropped", "quarantined")
            assert read["counts"]["read"] == read["counts"]["passed"] + sum(read["counts"][name] for name in aside)
        prepared = line.rows("people_ready")
        assert reads["input"]["counts"]["passed"] == sum(row["split"] == "train" for row in prepared)
        assert reads["evaluate:people_ready"]["counts"]["passed"] == sum(row["split"] == "test" for row in prepared)

    def test_by_the_receipts_of_its_units(self, line: Line, outcomes: dict[str, Outcome]) -> None:
        run = outcomes["people_scores"].state.run
        records = line.records("people_scores", run.id)
        units = line.workspace.ledger.plan(run.id, "input")
        assert sorted(records) == [unit.id for unit in units]
        for unit in units:
            assert records[unit.id].receipt.read == unit.rows
            part = records[unit.id].part
            assert part is not None
            assert records[unit.id].receipt.passed == part.rows

    def test_with_one_score_per_row_that_passed(self, line: Line, outcomes: dict[str, Outcome]) -> None:
        scores = line.rows("people_scores")
        assert len(scores) == counts_of(outcomes["people_scores"])["passed"]
        assert len({row["person_id"] for row in scores}) == len(scores)
        assert all(0 <= row["probability"] <= 1 for row in scores)

    def test_with_reasons_for_those_set_aside(self, line: Line, outcomes: dict[str, Outcome]) -> None:
        run = outcomes["people_scores"].state.run.id
        files = sorted((line.storage / "quarantine" / "people_new" / run).glob("*.parquet"))
        aside = [row for file in files for row in pq.read_table(file).to_pylist()]
        raw = {f"part-{n:03d}.parquet": pq.read_table(f) for n, f in enumerate(self._files(line, "people_new"))}
        assert len(aside) == counts_of(outcomes["people_scores"])["quarantined"]
        for row in aside:
            assert raw[row["quarantine_fragment"]].column("age")[row["quarantine_row"]].as_py() == row["age"] == 150
            assert "age" in row["quarantine_rule"]

    def _files(self, line: Line, dataset: str) -> list[Path]:
        return sorted((line.folder / "data" / dataset).glob("*.parquet"))


class TestWorkThatIsDone:
    def test_is_not_done_again(self, line: Line, outcomes: dict[str, Outcome]) -> None:
        before = tree(line.storage / "datasets")
        runs = line.workspace.ledger.ids()
        for job, outcome in outcomes.items():
            second = line.run(job)
            assert second.skipped
            assert second.state.run.id == outcome.state.run.id
            assert f"nothing changed since run {outcome.state.run.id}" in line.said.getvalue()
        assert line.workspace.ledger.ids() == runs
        assert tree(line.storage / "datasets") == before

    def test_is_not_taken_up_again(self, line: Line, outcomes: dict[str, Outcome]) -> None:
        before = tree(line.storage)
        with pytest.raises(Conflict, match="is done"):
            line.resume(outcomes["people_scores"].state.run.id)
        assert tree(line.storage) == before


def tree(folder: Path) -> dict[str, bytes]:
    """All files below `folder` with their bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def alone(line: Line, outcomes: dict[str, Outcome], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """The same data, key and registry at another path, on one worker."""
    folder = tmp_path_factory.mktemp("elsewhere") / "second"
    shutil.copytree(line.folder, folder, ignore=shutil.ignore_patterns("storage"))
    with cluster_in_process() as connection:
        yield Line(folder=folder, connection=connection)


class TestSameInputsGiveTheSameBytes:
    """Parts by unit, feature program, scores of one given version."""

    def test_in_another_workspace_with_one_worker(self, line: Line, outcomes: dict[str, Outcome], alone: Line) -> None:
        prepared = alone.run("people_ready").state.run.id
        assert alone.parts("people_ready", prepared) == line.parts(
            "people_ready", outcomes["people_ready"].state.run.id
        )
        scored = alone.run("people_scores").state.run.id
        assert alone.parts("people_scores", scored) == line.parts(
            "people_scores", outcomes["people_scores"].state.run.id
        )

    def test_of_the_feature_program(self, line: Line, outcomes: dict[str, Outcome], alone: Line) -> None:
        alone.run("people_ready")
        again = alone.run("wealth", again=True).state.result["versions"]
        programs = {
            (alone.folder / "registry" / "wealth" / "versions" / str(one["version"]) / "program.json").read_bytes()
            for one in again
        }
        first = outcomes["wealth"].state.result["versions"]
        programs |= {
            (line.folder / "registry" / "wealth" / "versions" / str(one["version"]) / "program.json").read_bytes()
            for one in first
        }
        assert {one["version"] for one in again}.isdisjoint(one["version"] for one in first)
        assert len(programs) == 1

    def test_in_the_reverse_order_of_units(
        self, line: Line, outcomes: dict[str, Outcome], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reverse_units(monkeypatch)
        for job in ("people_ready", "people_scores"):
            run = line.run(job, again=True).state.run.id
            first = outcomes[job].state.run.id
            assert run != first
            assert line.parts(job, run) == line.parts(job, first)
            roots = [manifest_of(line, job, one) for one in (run, first)]
            assert roots[0] == roots[1]

    def test_and_the_parts_name_neither_run_nor_time(self, line: Line, outcomes: dict[str, Outcome]) -> None:
        for job in ("people_ready", "people_scores"):
            run = outcomes[job].state.run.id
            for part in line.parts(job, run).values():
                assert run.encode() not in part
                assert run.split("-")[1].encode() not in part


def reverse_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Submit units last first."""
    forward = Work._run

    def backward(
        self: Work, phase: str, function: object, context: object, waiting: list[object], *rest: object
    ) -> None:
        forward(self, phase, function, context, waiting[::-1], *rest)

    monkeypatch.setattr(Work, "_run", backward)


def manifest_of(line: Line, dataset: str, run: str) -> tuple[object, ...]:
    """What a run's manifest says of rows: counts and the receipts' root."""
    manifest = read_manifest(line.workspace.store, dataset, run)
    return dict(manifest.counts), manifest.receipts_root
