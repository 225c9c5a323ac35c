"""Rescoring: what is refused before a row is read, and what one unit's scores are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost
from hypothesis import given as given_values
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord
from dataops.datasets.receipt import merge_receipts
from dataops.datasets.scan import read_unit
from dataops.declarations.jobs import RescoreJob
from dataops.errors import AccessDenied, ContractViolation, DataopsError, Integrity, InvalidInput
from dataops.features.encoder import CategoricalColumn, Encoder, NumericColumn
from dataops.features.program import FeatureProgram
from dataops.features.steps import RowSteps
from dataops.governance.expressions import parse_expression
from dataops.governance.marks import mark
from dataops.governance.masking import Mask, MaskKind
from dataops.models.predictor import BOOSTED, LINEAR, LinearModel
from dataops.registry.versions import LoadedVersion
from dataops.rescoring import score
from dataops.rescoring.score import (
    PREDICTION,
    PROBABILITY,
    SCORE_BINS,
    ScoreContext,
    plan_rescore,
    score_histogram,
    score_unit,
)
from dataops.runs.workspace import Workspace, open_workspace
from tests.datasets.examples import open_one
from tests.line.people import POLICY, ROWS_PER_FILE, make_workspace
from tests.registry.examples import AT, make_package

TRADES = ("baker", "clerk", "miller", "smith")
PROGRAM = FeatureProgram(
    sources=(("age", "int32"), ("hours", "double"), ("trade", "string")),
    steps=RowSteps(
        generalise=(("age", Mask(kind=MaskKind.GENERALISE, width=5.0)),),
        where=parse_expression("hours > 25", where="where"),
    ),
    encoder=Encoder(
        numeric=(
            NumericColumn(name="age", fill=40.0, mean=40.0, scale=10.0),
            NumericColumn(name="hours", fill=38.0, mean=38.0, scale=8.0),
        ),
        categorical=(CategoricalColumn(name="trade", categories=TRADES[:3]),),
    ),
)


def _boosted() -> bytes:
    random = np.random.default_rng(1)
    matrix = xgboost.DMatrix(random.random((200, 3), np.float32), label=random.integers(0, 2, 200))
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 2, "nthread": 1}, matrix, 3)
    return bytes(booster.save_raw("ubj"))


MODELS: dict[str, Callable[[], bytes]] = {
    LINEAR: lambda: LinearModel(intercept=0.1, numeric=(0.5, 0.3), categorical=((0.0, 0.2, -0.2, 0.4),)).to_bytes(),
    BOOSTED: _boosted,
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = make_workspace(tmp_path_factory.mktemp("rescoring") / "town", files=2)
    return open_workspace(str(folder), {})


@pytest.fixture(scope="module")
def given(workspace: Workspace) -> GovernedInput:
    return open_one(workspace, "people_new", "score")


@pytest.fixture(scope="module", params=[LINEAR, BOOSTED])
def version(request: pytest.FixtureRequest, workspace: Workspace) -> LoadedVersion:
    return _register(workspace, request.param)


def _register(workspace: Workspace, kind: str = LINEAR, program: FeatureProgram = PROGRAM) -> LoadedVersion:
    package = replace(
        make_package(), program=program, model_format=kind, model=MODELS[kind](), lineage={"preparation_digest": "p1"}
    )
    registered = workspace.registry.register("wealth", package, at=AT)
    return workspace.registry.read("wealth", registered.version)


def _job(**changes: Any) -> RescoreJob:
    declared = {"name": "scores", "job": "rescore", "model": "wealth@1", "input": "people_new", "output": "scores"}
    return RescoreJob.model_validate(declared | {"keep": ["person_id"]} | changes)


def _context(workspace: Workspace, given: GovernedInput, version: LoadedVersion, storage: Path) -> ScoreContext:
    return ScoreContext(
        source=given.source,
        plan=plan_rescore(_job(), given, version, where="j"),
        storage=str(storage),
        registry=workspace.settings.registry,
        run="run-1",
    )


def _part(storage: Path, record: UnitRecord) -> pa.Table:
    assert record.part is not None
    return pq.read_table(storage / "datasets/scores" / record.part.path)


class TestPlan:
    @pytest.mark.parametrize(
        ("keep", "family", "says"),
        [
            (["diagnosis"], AccessDenied, "health is nobody's business"),
            (["persn_id"], InvalidInput, "Did you mean 'person_id'"),
        ],
    )
    def test_that_keeps_what_it_may_not_is_refused(
        self, workspace: Workspace, given: GovernedInput, keep: list[str], family: type[DataopsError], says: str
    ) -> None:
        with pytest.raises(family, match=says):
            plan_rescore(_job(keep=keep), given, _register(workspace), where="jobs.yaml:3")

    def test_gives_scores_all_that_the_model_reads(self, workspace: Workspace, given: GovernedInput) -> None:
        person, *scores = plan_rescore(_job(), given, _register(workspace), where="j").columns
        assert person.origins == ()
        (bands,) = (mark(mask) for name, mask in given.generalisations() if name == "age")
        for column in scores:
            assert column.origins == ("age", "hours", "trade")
            assert column.classification == "pii.quasi+work"
            assert column.masks == (f"{bands}#pii.quasi", f"{bands}@age")

    def test_of_what_was_derived_names_the_columns_that_it_came_from(
        self, workspace: Workspace, given: GovernedInput
    ) -> None:
        contract = given.dataset.contract
        columns = tuple(replace(one, origins=("a", "b")) if one.name == "hours" else one for one in contract.columns)
        derived = replace(given, dataset=replace(given.dataset, contract=replace(contract, columns=columns)))
        plan = plan_rescore(_job(), derived, _register(workspace), where="j")
        assert plan.columns[-1].origins == ("a", "age", "b", "trade")

    def test_of_a_model_that_needs_a_denied_column_is_refused(self, workspace: Workspace, given: GovernedInput) -> None:
        ill = CategoricalColumn(name="diagnosis", categories=("flu",))
        program = FeatureProgram(
            sources=(("diagnosis", "string"),), steps=RowSteps(), encoder=Encoder(numeric=(), categorical=(ill,))
        )
        version = replace(_register(workspace), package=replace(_register(workspace).package, program=program))
        with pytest.raises(AccessDenied, match=r"wealth@\d+ asks for 1 column"):
            plan_rescore(_job(), given, version, where="jobs.yaml:3")

    @pytest.mark.parametrize(
        ("column", "mask"),
        [
            ("hours", "null"),
            ("trade", "redact"),
            ("hours", "{generalise: {width: 5}}"),
            ("trade", "{pseudonym: {domain: d}}"),
        ],
    )
    def test_of_a_column_that_is_masked_otherwise_than_in_training_is_refused(
        self, tmp_path: Path, column: str, mask: str
    ) -> None:
        """Else constants would be scored as if they were values."""
        rule = f"  - {{id: more, effect: mask, purposes: [score], columns: {{names: [{column}]}}, mask: {mask}}}\n"
        workspace = open_workspace(str(make_workspace(tmp_path / "town", files=1, policy=POLICY + rule)), {})
        given = open_one(workspace, "people_new", "score")
        with pytest.raises(AccessDenied, match=f"(?s)without a mask.*{column} \\(.*rule 'more'"):
            plan_rescore(_job(), given, _register(workspace), where="j")

    def test_of_a_column_that_is_not_there_is_refused(self, workspace: Workspace, given: GovernedInput) -> None:
        columns = tuple(column for column in given.dataset.contract.columns if column.name != "hours")
        contract = replace(given.dataset.contract, columns=columns)
        lacking = replace(given, dataset=replace(given.dataset, contract=contract))
        with pytest.raises(InvalidInput, match="no column 'hours' in dataset 'people_new'"):
            plan_rescore(_job(), lacking, _register(workspace), where="jobs.yaml:3")

    def _made_by(self, given: GovernedInput, preparation: str) -> GovernedInput:
        snapshot = given.dataset.snapshot
        manifest = replace(snapshot.manifests[-1], lineage={"preparation_digest": preparation})
        return replace(given, dataset=replace(given.dataset, snapshot=replace(snapshot, manifests=(manifest,))))

    def test_over_data_that_another_declaration_prepared_is_refused(
        self, workspace: Workspace, given: GovernedInput
    ) -> None:
        with pytest.raises(InvalidInput, match="prepared by another declaration"):
            plan_rescore(_job(), self._made_by(given, "p2"), _register(workspace), where="j")

    def test_over_data_that_its_own_declaration_prepared_repeats_no_step(
        self, workspace: Workspace, given: GovernedInput
    ) -> None:
        plan = plan_rescore(_job(), self._made_by(given, "p1"), _register(workspace), where="j")
        assert plan.program.steps == RowSteps()
        assert plan.program.encoder == PROGRAM.encoder

    def test_reads_what_the_model_and_keep_need_and_no_more(self, workspace: Workspace, given: GovernedInput) -> None:
        plan = plan_rescore(_job(keep=["region"]), given, _register(workspace), where="j")
        assert set(plan.read) == {"age", "hours", "trade", "region"}
        assert [column.name for column in plan.columns] == ["region", PROBABILITY, PREDICTION]
        assert plan.columns[1].classification == "pii.quasi+work"


class TestUnit:
    def test_scores_each_row_that_passed_once(
        self, workspace: Workspace, given: GovernedInput, version: LoadedVersion, tmp_path: Path
    ) -> None:
        records = [score_unit(_context(workspace, given, version, tmp_path), unit) for unit in given.units]
        counts = merge_receipts([record.receipt for record in records])
        assert counts["read"] == 2 * ROWS_PER_FILE
        assert min(counts[name] for name in ("filtered_by_policy", "filtered_by_job", "quarantined")) > 0
        for unit, record in zip(given.units, records, strict=True):
            scores = _part(tmp_path, record)
            assert scores.num_rows == record.receipt.passed == sum(record.summary["scores"])
            raw = read_unit(given.source, unit, ["person_id", "age", "hours", "trade"]).table
            kept, encoded = version.package.program.run(raw)
            predictor = score.load_predictor(version.package.model_format, version.package.model)
            assert scores.column("person_id").equals(kept.column("person_id"))
            assert scores.column(PROBABILITY).to_numpy().tolist() == predictor.predict(encoded).tolist()

    def test_gives_the_same_bytes_again(
        self, workspace: Workspace, given: GovernedInput, version: LoadedVersion, tmp_path: Path
    ) -> None:
        one, other = (score_unit(_context(workspace, given, version, tmp_path / name), given.units[0]) for name in "ab")
        assert one.part is not None
        assert other.part is not None
        assert one.part.digest == other.part.digest

    @pytest.mark.parametrize("nobody", ["age > 1000", "age > 100"], ids=["filtered", "quarantined"])
    def test_whose_rows_are_all_left_out_has_a_record_and_no_part(
        self, workspace: Workspace, given: GovernedInput, version: LoadedVersion, tmp_path: Path, nobody: str
    ) -> None:
        effect = replace(given.source.effect, filters=(nobody,))
        empty = replace(given, source=replace(given.source, effect=effect))
        record = score_unit(_context(workspace, empty, version, tmp_path), given.units[0])
        assert record.part is None
        assert record.receipt.passed == 0
        assert record.receipt.quarantined == (0 if nobody == "age > 1000" else ROWS_PER_FILE // 20)
        assert sum(record.summary["scores"]) == 0

    def test_counts_categories_that_the_model_never_saw(
        self, workspace: Workspace, given: GovernedInput, tmp_path: Path
    ) -> None:
        record = score_unit(_context(workspace, given, _register(workspace), tmp_path), given.units[0])
        assert record.summary["unknown"]["trade"] > 0

    def test_refuses_a_version_that_is_not_the_planned_one(
        self, workspace: Workspace, given: GovernedInput, tmp_path: Path
    ) -> None:
        context = _context(workspace, given, _register(workspace), tmp_path)
        other = replace(context.plan.model, digest="sha256:other")
        context = replace(context, plan=replace(context.plan, model=other))
        with pytest.raises(Integrity, match="changed after the run was planned"):
            score_unit(context, given.units[0])
        assert list(tmp_path.iterdir()) == []

    def test_with_a_score_too_few_is_not_written(
        self, workspace: Workspace, given: GovernedInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Forgetful:
            def predict(self, encoded: Any) -> np.ndarray:
                return np.zeros(encoded.rows - 1, np.float32)

        context = _context(workspace, given, _register(workspace), tmp_path)
        monkeypatch.setattr(score, "_predictor", lambda *_: Forgetful())
        with pytest.raises(ContractViolation, match="rows went in"):
            score_unit(context, given.units[0])
        assert list(tmp_path.iterdir()) == []


class TestErrorRate:
    def test_beyond_what_is_allowed_fails_by_counts(
        self, workspace: Workspace, given: GovernedInput, tmp_path: Path
    ) -> None:
        context = _context(workspace, given, _register(workspace), tmp_path)
        records = [score_unit(context, unit) for unit in given.units]
        score._require_error_rate(_job(errors={"max_rate": 0.2}), given, records)
        score._require_error_rate(_job(), given, [])
        with pytest.raises(ContractViolation, match=r"40 of \d+ rows of 'people_new' were quarantined"):
            score._require_error_rate(_job(), given, records)


@given_values(arrays.arrays(np.float32, st.integers(0, 50), elements=st.floats(0, 1, width=32)))
def test_the_histogram_counts_every_score_once(probability: np.ndarray) -> None:
    counts = score_histogram(probability)
    assert len(counts) == SCORE_BINS
    assert sum(counts) == len(probability)


def test_figures_of_no_unit_are_zeros() -> None:
    assert score.score_figures([]) == {"scores": [0] * SCORE_BINS, "unknown_categories": {}}
