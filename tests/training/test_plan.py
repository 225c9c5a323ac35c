"""Planning a training: what a model could not repeat on raw data is refused before a row is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from dataops.datasets.snapshot import Manifest, append_snapshot, manifest_key
from dataops.declarations.prepare import PrepareJob
from dataops.declarations.train import TrainJob
from dataops.errors import AccessDenied, DataopsError, InvalidInput
from dataops.preparation.prepare import plan_prepare, prepare_lineage
from dataops.runs.workspace import Workspace, open_workspace
from dataops.training.plan import TrainPlan, plan_train
from tests.datasets.examples import open_one
from tests.line.people import POLICY, make_workspace

BY_CLASS = POLICY.replace("columns: {names: [person_id]}", "columns: {classifications: [pii.direct]}")


def _workspace(folder: Path, policy: str = POLICY) -> Workspace:
    return open_workspace(str(make_workspace(folder / "town", files=1, policy=policy)), {})


def _prepare(workspace: Workspace, output: str = "people_ready", source: str = "people_old", **declared: Any) -> None:
    """A prepared dataset of no rows: its columns and lineage are all that a plan looks at."""
    job = PrepareJob.model_validate({"name": "p", "job": "prepare", "input": source, "output": output} | declared)
    given = open_one(workspace, source, "train")
    plan = plan_prepare(job, given, where="j")
    manifest = Manifest(
        dataset=output,
        run=f"run-{output}",
        zone=given.dataset.zone,
        columns=plan.columns,
        fragments=(),
        counts={},
        receipts_root=None,
        lineage=prepare_lineage(plan, given),
        created_at="2026-01-31T12:00:00.000000Z",
    )
    workspace.store.put_if_absent(manifest_key(output, manifest.run), manifest.to_bytes())
    append_snapshot(workspace.store, manifest)


def _plan(workspace: Workspace, *, source: str = "people_ready", judged: str = "people_new", **names: Any) -> TrainPlan:
    features = {
        "numeric": {"columns": names.get("numeric", ["age"])},
        "categorical": {"columns": names.get("texts", [])},
    }
    job = TrainJob.model_validate(
        {
            "name": "wealth",
            "job": "train",
            "input": source,
            "target": names.get("target", "rich"),
            "features": names.get("features", features),
            "candidates": [{"trainer": "logistic"}],
            "evaluate": {"datasets": [judged]},
        }
    )
    inputs = {name: open_one(workspace, dataset, purpose) for name, (dataset, purpose) in job.inputs.items()}
    return plan_train(job, inputs, where="j")


def _rule(purpose: str, column: str, mask: str) -> str:
    return f"  - {{id: more, effect: mask, purposes: [{purpose}], columns: {{names: [{column}]}}, mask: {mask}}}\n"


class TestGroups:
    """What is held out of training goes by the split, where its columns can be read."""

    TARGETED: ClassVar[dict[str, Any]] = {"categorical": {"columns": ["trade"], "encode": "target"}}

    def test_go_by_the_keys_of_the_split_and_read_them(self, tmp_path: Path) -> None:
        workspace = _workspace(tmp_path)
        _prepare(workspace, split={"by": "hash(person_id)", "test": 0.25})
        plan = _plan(workspace, features=self.TARGETED)
        assert plan.learn.grouping.keys == ("person_id",)
        assert "person_id" in plan.learn.read
        plain = _plan(workspace)  # nothing is held out of it: it reads what it needs
        assert plain.learn.grouping.columns == ()
        assert "person_id" not in plain.learn.read

    def test_go_by_place_where_there_is_no_split(self, tmp_path: Path) -> None:
        workspace = _workspace(tmp_path)
        _prepare(workspace)
        grouping = _plan(workspace, features=self.TARGETED).learn.grouping
        assert (grouping.columns, grouping.why) == ((), None)

    def test_go_by_place_and_say_so_where_the_keys_are_not_there(self, tmp_path: Path) -> None:
        workspace = _workspace(tmp_path)
        _prepare(workspace, split={"by": "hash(person_id)", "test": 0.25}, columns=["age", "trade", "rich"])
        grouping = _plan(workspace, features=self.TARGETED).learn.grouping
        assert grouping.columns == ()
        assert "has no column person_id, which it was split by; keep it in `columns`" in str(grouping)


class TestFeature:
    def test_that_the_target_is_made_of_is_refused(self, tmp_path: Path) -> None:
        workspace = _workspace(tmp_path)
        _prepare(workspace, derive={"toil": "hours * 2", "much": "toil > 80"})
        with pytest.raises(InvalidInput, match=r"the target \(hours > 40\) is made of hours: a model would read"):
            _plan(workspace, target="hours > 40", numeric=["age", "hours"])
        with pytest.raises(InvalidInput, match=r"the target \(much\) is made of hours, toil: a model"):
            _plan(workspace, target="much", numeric=["age", "hours", "toil"])
        assert _plan(workspace, target="much", numeric=["age"]).job.target == "much"
        assert _plan(workspace, target="rich", numeric=["age", "hours", "toil"])

    def test_that_is_made_of_the_target_or_of_what_alone_says_it_is_refused(self, tmp_path: Path) -> None:
        workspace = _workspace(tmp_path)
        derive = {"much": "hours > 40", "twice": "hours * 2", "again": "twice + age", "wealthy": "rich"}
        _prepare(workspace, derive={**derive, "both": "hours > age", "older": "age + 1"})
        with pytest.raises(
            InvalidInput, match=r"features: wealthy: made of rich, which says by itself what the target"
        ):
            _plan(workspace, numeric=["age", "wealthy"])
        with pytest.raises(InvalidInput, match=r"features: twice, again: made of hours, which says by itself what the"):
            _plan(workspace, target="much", numeric=["age", "twice", "again"])
        with pytest.raises(
            InvalidInput, match=r"features: twice: made of hours, which says by itself .*\(hours > 40\)"
        ):
            _plan(workspace, target="hours > 40", numeric=["age", "twice"])
        assert _plan(workspace, target="both", numeric=["older", "twice"]).job.target == "both"

    @pytest.mark.parametrize("derived", ["person_id", "concat(person_id, trade)", "length(person_id)"])
    def test_made_of_a_pseudonym_is_refused(self, tmp_path: Path, derived: str) -> None:
        """It would list pseudonyms in the registry, and mean nothing on data of another purpose."""
        workspace = _workspace(tmp_path)
        _prepare(workspace, derive={"who": derived})
        with pytest.raises(InvalidInput, match=r"who.*(pseudonym|policies mask)"):
            _plan(workspace, texts=["who"])

    def test_that_is_hidden_is_refused(self, tmp_path: Path) -> None:
        workspace = _workspace(tmp_path, POLICY + _rule("train", "trade", "redact"))
        _prepare(workspace)
        with pytest.raises(InvalidInput, match="trade: made of what the policies mask"):
            _plan(workspace, texts=["trade"])

    def test_made_of_what_was_generalised_is_fine(self, tmp_path: Path) -> None:
        workspace = _workspace(tmp_path)
        _prepare(workspace, derive={"old": "age >= 60"})
        plan = _plan(workspace, texts=["old"])
        assert [name for name, _ in plan.steps.generalise] == ["age"]

    @pytest.mark.parametrize(
        ("features", "message"),
        [
            ({"numeric": {"columns": ["trade"]}}, "j: features: column 'trade' is string, not a number"),
            ({"numeric": {"columns": ["trade"], "bins": 3}}, "column 'trade' is string, not a number"),
            ({"dates": {"columns": ["hours"], "parts": ["hour"]}}, "column 'hours' is double, neither a date nor"),
        ],
    )
    def test_that_no_column_of_its_type_can_be_is_refused_before_a_row_is_read(
        self, tmp_path: Path, features: dict[str, Any], message: str
    ) -> None:
        workspace = _workspace(tmp_path)
        _prepare(workspace)
        with pytest.raises(InvalidInput, match=message):
            _plan(workspace, features=features)


class TestInput:
    def test_that_was_prepared_twice_is_refused(self, tmp_path: Path) -> None:
        """A model has room for one preparation: raw data would go past the first."""
        workspace = _workspace(tmp_path)
        _prepare(workspace, "people_north", where="region = 'north'")
        _prepare(workspace, source="people_north")
        with pytest.raises(InvalidInput, match=r"(?s)'people_ready' was prepared from 'people_north'.*one prepare job"):
            _plan(workspace)

    def test_whose_split_is_masked_is_refused(self, tmp_path: Path) -> None:
        """No row would be on either side."""
        workspace = _workspace(tmp_path, POLICY + _rule("evaluate", "region", "redact"))
        _prepare(workspace, split={"by": "hash(region)", "test": 0.5})
        with pytest.raises(InvalidInput, match=r"the policy masks 'split'.*for purpose 'evaluate'"):
            _plan(workspace)

    def test_whose_split_is_by_a_pseudonym_tells_the_sides_for_every_purpose(self, tmp_path: Path) -> None:
        """The side shows less than a pseudonym, so another key need not be put on it."""
        for number, policy in enumerate((POLICY, BY_CLASS)):
            workspace = _workspace(tmp_path / str(number), policy)
            _prepare(workspace, split={"by": "hash(person_id)", "test": 0.5})
            plan = _plan(workspace)
            assert plan.learn.split_column == "split"

    def test_whose_split_key_is_denied_by_now_is_refused(self, tmp_path: Path) -> None:
        workspace = _workspace(tmp_path)
        _prepare(workspace, split={"by": "hash(person_id)", "test": 0.5})
        rules = f"{POLICY}  - {{id: nobody, effect: deny, columns: {{names: [person_id]}}}}\n"
        (workspace.settings.workspace / "policies" / "people.yaml").write_text(rules)
        with pytest.raises(AccessDenied, match=r"split .*denied by rule 'nobody'"):
            _plan(open_workspace(str(workspace.settings.workspace), {}))


class TestEvaluation:
    @pytest.mark.parametrize(
        ("column", "mask", "family"),
        [("hours", "null", AccessDenied), ("hours", "{generalise: {width: 5}}", AccessDenied)],
    )
    def test_under_another_mask_than_training_is_refused(
        self, tmp_path: Path, column: str, mask: str, family: type[DataopsError]
    ) -> None:
        workspace = _workspace(tmp_path, POLICY + _rule("evaluate", column, mask))
        _prepare(workspace)
        with pytest.raises(family, match=f"(?s)the model learnt from.*{column} \\("):
            _plan(workspace, numeric=[column])

    def test_of_raw_data_repeats_the_masks_of_training(self, tmp_path: Path) -> None:
        less = POLICY.replace("id: bands, effect: mask, roles: [data_science], purposes: [train, evaluate, score]",
                              "id: bands, effect: mask, roles: [data_science], purposes: [train]")  # fmt: skip
        assert less != POLICY
        plan = _plan(_workspace(tmp_path, less), source="people_old", judged="people_new")
        for selection in plan.judge.values():
            assert selection.steps.generalise == plan.steps.generalise != ()
