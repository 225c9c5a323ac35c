"""Rescoring: what one unit's scores are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from dataops.datasets.access import GovernedInput
from dataops.datasets.receipt import merge_receipts
from dataops.datasets.scan import read_unit
from dataops.declarations.metrics import Task
from dataops.declarations.outputs import OWN
from dataops.errors import ContractViolation, Integrity
from dataops.models.predictor import BOOSTED, LINEAR, load_predictor
from dataops.registry.versions import LoadedVersion
from dataops.rescoring import score
from dataops.rescoring.figures import score_figures
from dataops.rescoring.score import begin_unit, read_for_scoring, score_unit
from dataops.runs.workspace import Workspace, open_workspace
from tests.datasets.examples import open_one
from tests.engine.first_task import first_task
from tests.line.people import ROWS_PER_FILE, make_workspace
from tests.rescoring.examples import make_context, make_job, make_plan, read_part, register


class TestUnit:
    def test_scores_each_row_that_passed_once(
        self, workspace: Workspace, given: GovernedInput, version: LoadedVersion, tmp_path: Path
    ) -> None:
        records = [
            score_unit(make_context(workspace, given, make_plan(given, version), tmp_path), unit)
            for unit in given.units
        ]
        counts = merge_receipts([record.receipt for record in records])
        assert counts["read"] == 2 * ROWS_PER_FILE
        assert min(counts[name] for name in ("filtered_by_policy", "filtered_by_job", "quarantined")) > 0
        for unit, record in zip(given.units, records, strict=True):
            scores = read_part(tmp_path, record)
            assert scores.num_rows == record.receipt.passed == sum(record.summary["scores"][OWN])
            raw = read_unit(given.source, unit, ["person_id", "age", "hours", "trade"]).table
            kept, encoded = version.package.program.run(raw)
            predictor = load_predictor(version.package.model_format, version.package.model)
            assert scores.column("person_id").equals(kept.column("person_id"))
            assert scores.column("probability").to_numpy().tolist() == predictor.predict(encoded).tolist()

    def test_gives_the_same_bytes_again(
        self, workspace: Workspace, given: GovernedInput, version: LoadedVersion, tmp_path: Path
    ) -> None:
        one, other = (
            score_unit(make_context(workspace, given, make_plan(given, version), tmp_path / name), given.units[0])
            for name in "ab"
        )
        assert one.part is not None
        assert other.part is not None
        assert one.part.digest == other.part.digest

    def test_leaves_no_text_of_rows_that_come_to_no_score(self, tmp_path: Path) -> None:
        make_workspace(tmp_path / "town", files=1)
        workspace = open_workspace(str(tmp_path / "town"), {})
        for path in sorted((workspace.settings.workspace / "data").rglob("*.parquet")):
            people = pq.read_table(path)
            few = pc.less_equal(pc.fill_null(people["hours"], 0), 25)
            region = pc.if_else(few, pa.scalar("CANARY-REGION"), people["region"])
            pq.write_table(people.set_column(people.schema.get_field_index("region"), "region", region), path)
        given = open_one(workspace, "people_new", "score")
        assert (
            "CANARY-REGION"
            in read_for_scoring(
                make_context(
                    workspace, given, make_plan(given, register(workspace), job=make_job(keep=["region"])), tmp_path
                ),
                given.units[0],
            )
            .table["region"]
            .unique()
            .to_pylist()
        )
        plan = make_plan(given, register(workspace, BOOSTED), job=make_job(keep=["person_id", "region"]))
        record = score_unit(make_context(workspace, given, plan, tmp_path / "out"), given.units[0])
        assert record.part is not None
        assert record.receipt.filtered_by_job > 0
        written = (tmp_path / "out/datasets/scores" / record.part.path).read_bytes()
        texts = pq.read_table(pa.BufferReader(written), read_dictionary=["region"])["region"].chunk(0)
        assert {*texts.dictionary.to_pylist()} == {*texts.to_pylist()}
        assert "CANARY-REGION" not in texts.dictionary.to_pylist()

    @pytest.mark.parametrize("nobody", ["age > 1000", "age > 100"], ids=["filtered", "quarantined"])
    def test_whose_rows_are_all_left_out_has_a_record_and_noread_part(
        self, workspace: Workspace, given: GovernedInput, version: LoadedVersion, tmp_path: Path, nobody: str
    ) -> None:
        effect = replace(given.source.effect, filters=(nobody,))
        empty = replace(given, source=replace(given.source, effect=effect))
        record = score_unit(make_context(workspace, empty, make_plan(empty, version), tmp_path), given.units[0])
        assert record.part is None
        assert record.receipt.passed == 0
        assert record.receipt.quarantined == (0 if nobody == "age > 1000" else ROWS_PER_FILE // 20)
        assert sum(record.summary["scores"][OWN]) == 0

    def test_counts_categories_that_the_model_never_saw(
        self, workspace: Workspace, given: GovernedInput, tmp_path: Path
    ) -> None:
        record = score_unit(
            make_context(workspace, given, make_plan(given, register(workspace)), tmp_path), given.units[0]
        )
        assert record.summary["unknown"][OWN]["trade"] > 0

    def test_is_the_first_task_of_a_worker_that_needs_nothing_that_reads_declarations(
        self, workspace: Workspace, given: GovernedInput, version: LoadedVersion, tmp_path: Path
    ) -> None:
        context = make_context(workspace, given, make_plan(given, version), tmp_path)
        assert version.package.program.steps.where is not None
        assert given.source.effect.filters
        assert first_task(begin_unit, context, given.units[0]) == "UnitRecord\n"

    def test_refuses_a_version_that_is_not_the_planned_one(
        self, workspace: Workspace, given: GovernedInput, tmp_path: Path
    ) -> None:
        context = make_context(workspace, given, make_plan(given, register(workspace)), tmp_path)
        own = context.plan.models[0]
        other = replace(own, version=replace(own.version, digest="sha256:other"))
        context = replace(context, plan=replace(context.plan, models=(other,)))
        with pytest.raises(Integrity, match="changed after the run was planned"):
            score_unit(context, given.units[0])
        assert list(tmp_path.iterdir()) == []

    def test_with_a_score_too_few_is_not_written(
        self, workspace: Workspace, given: GovernedInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Forgetful:
            task = Task.BINARY

            def predict(self, encoded: Any) -> np.ndarray:
                return np.zeros(encoded.rows - 1, np.float32)

        context = make_context(workspace, given, make_plan(given, register(workspace)), tmp_path)
        monkeypatch.setattr(score, "read_predictor", lambda *_: Forgetful())
        with pytest.raises(ContractViolation, match="rows went in"):
            score_unit(context, given.units[0])
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.25, 1.5])
    def test_rows_whose_score_is_no_probability_are_set_aside_by_name(
        self, workspace: Workspace, given: GovernedInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
    ) -> None:
        context = make_context(workspace, given, make_plan(given, register(workspace)), tmp_path)
        model = score.read_predictor(context.registry, context.plan.models[0].version)
        right = score_unit(context, given.units[0])
        odd = np.max(read_part(tmp_path, right).column("probability").to_numpy())

        class Odd:
            task = Task.BINARY

            def predict(self, encoded: Any) -> np.ndarray:
                found = model.predict(encoded)
                return np.where(found == odd, np.float32(wrong), found)

        monkeypatch.setattr(score, "read_predictor", lambda *_: Odd())
        record = score_unit(replace(context, storage=str(tmp_path / "odd")), given.units[0])
        scores = read_part(tmp_path / "odd", record).column("probability").to_numpy()
        assert 0 < record.receipt.failed == right.receipt.passed - len(scores)
        assert np.isfinite(scores).all()
        assert scores.max() < odd
        assert record.errors is not None
        reasons = pq.read_table(tmp_path / "odd/datasets/scores" / record.errors.path).column("reason").to_pylist()
        assert reasons.count("NoProbability") == record.receipt.failed


class TestSeveralModels:
    def test_score_the_same_rows_as_each_would_alone(
        self, workspace: Workspace, given: GovernedInput, tmp_path: Path
    ) -> None:
        linear, boosted = register(workspace), register(workspace, BOOSTED)
        job = make_job(challengers={"next": boosted.version.reference}, outputs=["probability", "margin"])
        both = make_context(workspace, given, make_plan(given, linear, job=job, next=boosted), tmp_path / "both")
        record = score_unit(both, given.units[0])
        together = read_part(tmp_path / "both", record)
        for name, ending, version in ((OWN, "", linear), ("next", "_next", boosted)):
            alone = make_context(workspace, given, make_plan(given, version), tmp_path / version.version.reference)
            one = score_unit(alone, given.units[0])
            scores = read_part(tmp_path / version.version.reference, one)
            assert together.column("person_id").equals(scores.column("person_id"))
            assert together.column(f"probability{ending}").equals(scores.column("probability"))
            assert record.summary["scores"][name] == one.summary["scores"][OWN]

    def test_are_compared_with_the_jobs_own(self, workspace: Workspace, given: GovernedInput, tmp_path: Path) -> None:
        linear, boosted = register(workspace), register(workspace, BOOSTED)
        job = make_job(challengers={"next": boosted.version.reference})
        context = make_context(workspace, given, make_plan(given, linear, job=job, next=boosted), tmp_path)
        records = [score_unit(context, unit) for unit in given.units]
        rows = pa.concat_tables([read_part(tmp_path, record) for record in records])
        flipped = pc.xor(rows.column("prediction"), rows.column("prediction_next"))
        impact = score_figures(records)["challengers"]["next"]["impact"]
        assert impact["rows"] == rows.num_rows
        assert impact["flipped_up"] + impact["flipped_down"] == pytest.approx(pc.mean(pc.cast(flipped, "int8")).as_py())
        assert impact["flipped_up"] + impact["flipped_down"] > 0

    def test_margins_are_the_log_odds(self, workspace: Workspace, given: GovernedInput, tmp_path: Path) -> None:
        for kind in (LINEAR, BOOSTED):
            plan = make_plan(given, register(workspace, kind), job=make_job(outputs=["probability", "margin"]))
            scores = read_part(
                tmp_path / kind, score_unit(make_context(workspace, given, plan, tmp_path / kind), given.units[0])
            )
            margin = scores.column("margin").to_numpy().astype(np.float64)
            np.testing.assert_allclose(1 / (1 + np.exp(-margin)), scores.column("probability").to_numpy(), atol=1e-6)


class TestOutputs:
    def test_are_sorted_where_asked_with_equal_rows_as_they_came(
        self, workspace: Workspace, given: GovernedInput, tmp_path: Path
    ) -> None:
        version = register(workspace)
        plain = make_context(workspace, given, make_plan(given, version), tmp_path / "plain")
        job = make_job(sort_by=["prediction"])
        ordered = make_context(workspace, given, make_plan(given, version, job=job), tmp_path / "sorted")
        came = read_part(tmp_path / "plain", score_unit(plain, given.units[0]))
        found = read_part(tmp_path / "sorted", score_unit(ordered, given.units[0]))
        rows = sorted(came.to_pylist(), key=lambda row: row["prediction"])
        assert found.to_pylist() == rows

    def test_decide_at_the_threshold(self, workspace: Workspace, given: GovernedInput, tmp_path: Path) -> None:
        plan = make_plan(given, register(workspace), job=make_job(threshold=0.7))
        scores = read_part(tmp_path, score_unit(make_context(workspace, given, plan, tmp_path), given.units[0]))
        reached = scores.column("probability").to_numpy() >= np.float32(0.7)
        assert 0 < reached.sum() < len(reached)
        assert scores.column("prediction").to_pylist() == reached.tolist()
