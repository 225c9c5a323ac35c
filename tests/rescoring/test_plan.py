"""Rescoring: what is refused before a row is read, and what comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataops.datasets.access import GovernedInput
from dataops.errors import AccessDenied, DataopsError, InvalidInput
from dataops.features.encoder import CategoricalColumn, Encoder
from dataops.features.program import FeatureProgram
from dataops.features.steps import RowSteps
from dataops.governance.expressions import parse_expression
from dataops.governance.marks import mark
from dataops.rescoring.plan import _require_own_names
from dataops.runs.workspace import Workspace, open_workspace
from tests.datasets.examples import open_one
from tests.line.people import POLICY, make_workspace
from tests.rescoring.examples import PROGRAM, make_job, make_plan, register


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
            make_plan(given, register(workspace), "jobs.yaml:3", job=make_job(keep=keep))

    def test_gives_scores_all_that_the_model_reads(self, workspace: Workspace, given: GovernedInput) -> None:
        person, *scores = make_plan(given, register(workspace), "j").columns
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
        plan = make_plan(derived, register(workspace), "j")
        assert plan.columns[-1].origins == ("a", "age", "b", "trade")

    def test_of_a_model_that_needs_a_denied_column_is_refused(self, workspace: Workspace, given: GovernedInput) -> None:
        ill = CategoricalColumn(name="diagnosis", categories=("flu",))
        program = FeatureProgram(
            sources=(("diagnosis", "string"),), steps=RowSteps(), encoder=Encoder(numeric=(), categorical=(ill,))
        )
        version = replace(register(workspace), package=replace(register(workspace).package, program=program))
        with pytest.raises(AccessDenied, match=r"wealth@\d+ asks for 1 column"):
            make_plan(given, version, "jobs.yaml:3")

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
            make_plan(given, register(workspace), "j")

    def test_of_a_column_that_is_not_there_is_refused(self, workspace: Workspace, given: GovernedInput) -> None:
        columns = tuple(column for column in given.dataset.contract.columns if column.name != "hours")
        contract = replace(given.dataset.contract, columns=columns)
        lacking = replace(given, dataset=replace(given.dataset, contract=contract))
        with pytest.raises(InvalidInput, match="no column 'hours' in dataset 'people_new'"):
            make_plan(lacking, register(workspace), "jobs.yaml:3")

    def _made_by(self, given: GovernedInput, preparation: str) -> GovernedInput:
        snapshot = given.dataset.snapshot
        manifest = replace(snapshot.manifests[-1], lineage={"preparation_digest": preparation})
        return replace(given, dataset=replace(given.dataset, snapshot=replace(snapshot, manifests=(manifest,))))

    def test_over_data_that_another_declaration_prepared_is_refused(
        self, workspace: Workspace, given: GovernedInput
    ) -> None:
        with pytest.raises(InvalidInput, match="prepared by another declaration"):
            make_plan(self._made_by(given, "p2"), register(workspace), "j")

    def test_over_data_that_its_own_declaration_prepared_repeats_no_step(
        self, workspace: Workspace, given: GovernedInput
    ) -> None:
        plan = make_plan(self._made_by(given, "p1"), register(workspace), "j")
        assert plan.models[0].program.steps == RowSteps()
        assert plan.models[0].program.encoder == PROGRAM.encoder

    def test_reads_what_the_model_and_keep_need_and_no_more(self, workspace: Workspace, given: GovernedInput) -> None:
        plan = make_plan(given, register(workspace), "j", job=make_job(keep=["region"]))
        assert set(plan.read) == {"age", "hours", "trade", "region"}
        assert [column.name for column in plan.columns] == ["region", "probability", "prediction"]
        assert plan.columns[1].classification == "pii.quasi+work"


class TestChallengers:
    def test_have_columns_that_end_in_their_names(self, workspace: Workspace, given: GovernedInput) -> None:
        job = make_job(challengers={"next": "wealth@2"}, outputs=["prediction", "margin"])
        plan = make_plan(given, register(workspace), job=job, next=register(workspace))
        names = [column.name for column in plan.columns]
        assert names == ["person_id", "prediction", "margin", "prediction_next", "margin_next"]

    def test_that_keep_other_rows_are_refused(self, workspace: Workspace, given: GovernedInput) -> None:
        steps = replace(PROGRAM.steps, where=parse_expression("hours > 30", where="where"))
        other = register(workspace, program=replace(PROGRAM, steps=steps))
        job = make_job(challengers={"next": "wealth@2"})
        with pytest.raises(InvalidInput, match=r"challengers.next: model wealth@\d+ keeps rows by another condition"):
            make_plan(given, register(workspace), job=job, next=other)

    def test_whose_columns_are_kept_ones_are_refused(self, workspace: Workspace, given: GovernedInput) -> None:
        job = make_job(challengers={"next": "wealth@2"})
        plan = make_plan(given, register(workspace), job=job, next=register(workspace))
        clashing = make_job(challengers={"next": "wealth@2"}, keep=["prediction_next"])
        with pytest.raises(InvalidInput, match="'prediction_next' is a column that scores have themselves"):
            _require_own_names(clashing, plan.columns[1:], "j")


class TestOutputs:
    def test_of_a_model_without_edges_have_no_deciles(self, workspace: Workspace, given: GovernedInput) -> None:
        with pytest.raises(InvalidInput, match="has no edges for deciles"):
            make_plan(given, register(workspace), job=make_job(outputs=["decile"]))

    def test_are_sorted_by_their_own_columns_only(self, workspace: Workspace, given: GovernedInput) -> None:
        with pytest.raises(InvalidInput, match=r"sort_by: 'probabilty' is no column.*Did you mean 'probability'"):
            make_plan(given, register(workspace), job=make_job(sort_by=["probabilty"]))
