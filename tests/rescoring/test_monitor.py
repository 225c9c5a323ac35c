"""Monitoring in the scoring pass: what units count, what a run says of it, what stops it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord, committed_units
from dataops.datasets.scan import read_unit
from dataops.datasets.snapshot import read_snapshot
from dataops.declarations.outputs import OWN
from dataops.errors import AccessDenied, Conflict, ContractViolation, InvalidInput
from dataops.features.binning import fit_cells
from dataops.features.cells import SCORES
from dataops.features.encoder import encode
from dataops.features.profile import SCORE_BINS, ProfileSpec, count_columns, count_profile, dense_counts
from dataops.features.reference import Reference
from dataops.features.slices import slice_places
from dataops.features.summary import summarise
from dataops.models.predictor import LINEAR, load_predictor
from dataops.records import now_utc
from dataops.registry.versions import LoadedVersion
from dataops.rescoring.monitor import NO_REFERENCE, NOT_COUNTED, drift_figures
from dataops.rescoring.run import run_rescore
from dataops.runs.workspace import Workspace
from dataops.storage.objects import open_store
from dataops.training.evaluate import evaluate_scores, rows_by_value
from dataops.training.judging import Judged, reference_of
from tests.engine.inline import InlineWork
from tests.registry.examples import make_package
from tests.rescoring.examples import MODELS, PROGRAM, make_job, make_plan, register

COLUMNS = ("age", "hours", "trade", "region")


class Working(InlineWork):
    """Work without a cluster, with phases."""

    def phase(self, *_: object, **__: object) -> nullcontext[None]:
        return nullcontext()


def read_all(given: GovernedInput) -> pa.Table:
    """All rows that the model scores, as one table."""
    read = pa.concat_tables([read_unit(given.source, unit, COLUMNS).table for unit in given.units])
    kept, _ = PROGRAM.run(read)
    return kept


def judge(table: pa.Table, *, least: int = 1) -> Reference:
    """What a model version would hold that was judged on the rows of `table`."""
    numeric = tuple(column.name for column in PROGRAM.encoder.numeric)
    cells = fit_cells(summarise(table, numeric, ["trade"]), PROGRAM.encoder)
    encoded = encode(PROGRAM.encoder, table)
    scores = load_predictor(LINEAR, MODELS[LINEAR]()).predict(encoded)
    region = table.column("region").combine_chunks()
    target = (np.arange(table.num_rows) % 2).astype(np.float32)
    judged = Judged(
        evaluation=evaluate_scores(scores, target, {"region": region}),
        histogram=np.histogram(scores, SCORE_BINS, (0, 1))[0],
        columns=count_columns(cells, encoded),
        slices={
            "region": {v: count_columns(cells, encoded.of_rows(rows)) for v, rows in rows_by_value("region", region)}
        },
    )
    return reference_of(judged, cells, dataset="holdout", least=least)


def version_with(workspace: Workspace, reference: Reference) -> LoadedVersion:
    package = replace(
        make_package(),
        program=PROGRAM,
        model_format=LINEAR,
        model=MODELS[LINEAR](),
        lineage={"preparation_digest": "p1"},
        reference=reference,
    )
    registered = workspace.registry.register("wealth", package, at=now_utc(), key=workspace.signing_key())
    return workspace.registry.read("wealth", registered.version)


@pytest.fixture(scope="module")
def same(workspace: Workspace, given: GovernedInput) -> LoadedVersion:
    """A version that was judged on the very rows that are scored."""
    return version_with(workspace, judge(read_all(given)))


@pytest.fixture(scope="module")
def moved(workspace: Workspace, given: GovernedInput) -> LoadedVersion:
    """A version that was judged on people who worked half as much, and most of them as millers."""
    table = read_all(given)
    table = table.set_column(table.schema.get_field_index("hours"), "hours", pc.divide(table.column("hours"), 2))
    trade = pa.array(np.where(np.arange(table.num_rows) % 10, "miller", "baker"))
    return version_with(workspace, judge(table.set_column(table.schema.get_field_index("trade"), "trade", trade)))


@pytest.fixture
def rescore(workspace: Workspace, given: GovernedInput, tmp_path: Path) -> Callable[..., Any]:
    """The work, and the figures of a run with such a version and job; its storage is the test's folder."""

    def run(version: LoadedVersion, replay_of: str | None = None, work: Working | None = None, **job: Any) -> Any:
        work = work or Working()
        plan = make_plan(given, version, job=make_job(errors={"max_rate": 1.0}, **job))
        registry = workspace.settings.registry
        _, _, figures = run_rescore(
            plan, given, work.work, storage=str(tmp_path), registry=registry, replay_of=replay_of
        )
        return work, figures

    return run


def records(folder: Path) -> dict[str, UnitRecord]:
    return committed_units(open_store(str(folder)), "scores", "run-1")


def drifted(work: Working) -> list[dict[str, Any]]:
    return [one for event in work.events if event["event"] == "drifted" for one in event["raised"]]


class TestUnits:
    def test_count_what_the_whole_table_counts(
        self, rescore: Callable[..., Any], same: LoadedVersion, given: GovernedInput, tmp_path: Path
    ) -> None:
        rescore(same, monitor={"slices": ["region"]})
        assert same.package.reference is not None
        spec = same.package.reference.spec
        table = read_all(given)
        encoded = encode(PROGRAM.encoder, table)
        scores = load_predictor(LINEAR, MODELS[LINEAR]()).predict(encoded)
        places = [slice_places(table.column("region"), ["north", "south"])]
        whole = count_profile(spec, encoded, scores, places)
        units = [one.summary["profile"][OWN] for one in records(tmp_path).values()]
        assert len(units) == 2
        assert np.array_equal(sum(dense_counts(unit, spec.size) for unit in units), whole)

    def test_count_no_value(self, rescore: Callable[..., Any], same: LoadedVersion, tmp_path: Path) -> None:
        rescore(same, monitor={"slices": ["region"]})
        kept = json.dumps([one.summary for one in records(tmp_path).values()])
        assert not any(value in kept for value in ("north", "south", "baker", "smith", "region"))

    def test_count_nothing_where_the_job_says_so(
        self, rescore: Callable[..., Any], same: LoadedVersion, tmp_path: Path
    ) -> None:
        _, figures = rescore(same, monitor={"drift": False})
        assert "drift" not in figures
        assert all(not one.summary["profile"] for one in records(tmp_path).values())


class TestResult:
    def test_of_the_rows_that_the_model_was_judged_on_says_that_nothing_moved(
        self, rescore: Callable[..., Any], same: LoadedVersion
    ) -> None:
        work, figures = rescore(same)
        drift = figures["drift"]
        assert drift["reference"] == "holdout"
        assert drift["rows"] == drift["rows_then"] == sum(figures["scores"])
        assert drift["histogram_then"] == figures["scores"]
        assert [one["column"] for one in drift["columns"]] == [SCORES, "age", "hours", "trade"]
        assert all(one["psi"] == one["js"] == one.get("ks", 0) == 0 for one in drift["columns"])
        assert drift["raised"] == drifted(work) == []

    def test_tells_what_moved_in_events_and_on_the_screen(
        self, rescore: Callable[..., Any], moved: LoadedVersion, tmp_path: Path
    ) -> None:
        work, figures = rescore(moved)
        raised = {(one["column"], one["metric"], one["level"]) for one in figures["drift"]["raised"]}
        assert raised >= {("hours", "psi", "warn"), ("trade", "psi", "warn")}
        assert not [one for one in raised if one[0] == "age"]
        assert {(event["column"], event["metric"]) for event in drifted(work)} == {one[:2] for one in raised}
        assert "drift        psi of " in work.said.getvalue()
        assert read_snapshot(open_store(str(tmp_path)), "scores") is not None

    def test_is_by_slice_where_asked_without_the_value_in_an_event(
        self, rescore: Callable[..., Any], moved: LoadedVersion
    ) -> None:
        work, figures = rescore(moved, monitor={"slices": ["region"]})
        assert figures["drift"]["slices"]["region"].keys() == {"north", "south"}
        assert sum(one["rows"] for one in figures["drift"]["slices"]["region"].values()) == figures["drift"]["rows"]
        assert not any(value in json.dumps(work.events) for value in ("north", "south"))

    def test_is_of_challengers_too_and_limits_are_not(
        self,
        rescore: Callable[..., Any],
        same: LoadedVersion,
        moved: LoadedVersion,
        given: GovernedInput,
        workspace: Workspace,
        tmp_path: Path,
    ) -> None:
        job = make_job(errors={"max_rate": 1.0}, challengers={"next": moved.version.reference})
        work = Working()
        _, _, figures = run_rescore(
            make_plan(given, same, job=job, next=moved),
            given,
            work.work,
            storage=str(tmp_path),
            registry=workspace.settings.registry,
        )
        theirs = {one["column"]: one.get("psi") for one in figures["challengers"]["next"]["drift"]["columns"]}
        assert theirs["hours"] > 0.25
        assert drifted(work) == []

    def test_of_a_version_without_a_reference_says_so(
        self, rescore: Callable[..., Any], workspace: Workspace, tmp_path: Path
    ) -> None:
        _, figures = rescore(register(workspace))
        assert figures["drift"] == {"unknown": NO_REFERENCE}
        assert read_snapshot(open_store(str(tmp_path)), "scores") is not None

    def test_of_units_that_an_earlier_release_scored_says_so(
        self, rescore: Callable[..., Any], same: LoadedVersion, given: GovernedInput, tmp_path: Path
    ) -> None:
        rescore(same)
        first, second = records(tmp_path).values()
        old = replace(first, summary={key: first.summary[key] for key in ("scores", "unknown")})
        model = make_plan(given, same).models[0].monitored
        figures, raised = drift_figures(model, [old, second], model=OWN, limits=None, min_group_size=1)
        assert (figures, raised) == ({"unknown": NOT_COUNTED}, [])


class TestLimits:
    STOP: Mapping[str, Any] = {"limits": [{"metric": "psi", "of": ["hours"], "stop": 0.25}]}

    def test_that_stop_let_nothing_be_published(
        self, rescore: Callable[..., Any], moved: LoadedVersion, tmp_path: Path
    ) -> None:
        work = Working()
        with pytest.raises(ContractViolation, match=r"psi of hours is \d\.\d+ \(limit 0.25\)\. Nothing was published"):
            rescore(moved, work=work, monitor=self.STOP)
        assert read_snapshot(open_store(str(tmp_path)), "scores") is None
        assert not list(tmp_path.rglob("manifest.json"))
        assert [(event["column"], event["level"]) for event in drifted(work)] == [("hours", "stop")]

    def test_do_not_stop_what_did_not_move(
        self, rescore: Callable[..., Any], same: LoadedVersion, tmp_path: Path
    ) -> None:
        rescore(same, monitor=self.STOP)
        assert read_snapshot(open_store(str(tmp_path)), "scores") is not None

    def test_do_not_judge_a_replay(self, rescore: Callable[..., Any], moved: LoadedVersion) -> None:
        work = Working()
        with pytest.raises(Conflict, match="not of run run-0"):  # that is looked at later, when it is published
            rescore(moved, replay_of="run-0", work=work, monitor=self.STOP)
        assert drifted(work) == []

    def test_are_no_matter_of_an_empty_list(self, rescore: Callable[..., Any], moved: LoadedVersion) -> None:
        work, figures = rescore(moved, monitor={"limits": []})
        assert figures["drift"]["raised"] == drifted(work) == []


class TestPlan:
    @pytest.mark.parametrize(
        ("monitor", "says"),
        [
            ({"slices": ["regoin"]}, r"monitor.slices: 'regoin' is no slice .* Did you mean 'region'"),
            ({"limits": [{"metric": "psi", "of": ["houres"], "warn": 1}]}, r"'houres' is no feature .* 'hours'"),
        ],
    )
    def test_refuses_what_the_model_was_not_judged_by(
        self, given: GovernedInput, same: LoadedVersion, monitor: Any, says: str
    ) -> None:
        with pytest.raises(InvalidInput, match=says):
            make_plan(given, same, job=make_job(monitor=monitor))

    @pytest.mark.parametrize("monitor", [{"slices": ["region"]}, {"limits": [{"metric": "psi", "stop": 1}]}])
    def test_refuses_to_monitor_what_has_no_reference(
        self, given: GovernedInput, workspace: Workspace, monitor: Any
    ) -> None:
        with pytest.raises(InvalidInput, match="holds no reference"):
            make_plan(given, register(workspace), job=make_job(monitor=monitor))

    def test_reads_a_slices_column_only_as_the_policies_allow(
        self, given: GovernedInput, workspace: Workspace, same: LoadedVersion
    ) -> None:
        assert same.package.reference is not None
        spec = same.package.reference.spec
        by_health = ProfileSpec(scores=spec.scores, columns=spec.columns, slices=(("diagnosis", spec.slices[0][1]),))
        judged = replace(same.package.reference, spec=by_health)
        with pytest.raises(AccessDenied, match="diagnosis"):
            make_plan(given, version_with(workspace, judged), job=make_job(monitor={"slices": ["diagnosis"]}))

    def test_takes_the_edges_of_deciles_from_what_the_model_was_judged_on(
        self, given: GovernedInput, same: LoadedVersion
    ) -> None:
        (model,) = make_plan(given, same, job=make_job(outputs=["decile"])).models
        assert model.decile_edges is not None
        assert list(model.decile_edges) == sorted(model.decile_edges)
