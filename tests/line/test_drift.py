"""Drift on the real census: a model of 1994 meets 1995, as it was asked and as it might have been."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import xgboost
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import committed_units
from dataops.datasets.scan import read_unit
from dataops.declarations.features import CategoricalFeatures, FeatureSpec, NumericFeatures
from dataops.declarations.jobs import find_job
from dataops.declarations.outputs import OWN
from dataops.declarations.train import TrainJob
from dataops.features.binning import fit_cells
from dataops.features.cells import SCORES
from dataops.features.encoder import Encoder, encode
from dataops.features.fitting import fit_encoder
from dataops.features.profile import count_columns, count_profile, dense_counts, score_histogram
from dataops.features.reference import Reference
from dataops.features.slices import slice_places
from dataops.features.summary import summarise
from dataops.models.predictor import BOOSTED, Predictor, load_predictor
from dataops.registry.versions import LoadedVersion
from dataops.rescoring.column_drift import stability_index
from dataops.rescoring.drift import compare
from dataops.rescoring.drift_limits import check_limits
from dataops.runs.ledger import RunState
from dataops.runs.workspace import Workspace, open_workspace
from dataops.training.evaluate import evaluate_scores
from dataops.training.judging import Judged, reference_of
from dataops.training.reading import HOLDOUT_EVERY
from tests.datasets.examples import open_one
from tests.line.conftest import CensusDemo

NOT_ASKED_ALIKE = (
    "migration_code_change_in_msa",
    "migration_code_change_in_reg",
    "migration_code_move_within_reg",
    "live_in_this_house_1_year_ago",
    "migration_prev_res_in_sunbelt",
    "region_of_previous_residence",
    "state_of_previous_residence",
    "full_or_part_time_employment_stat",
)
"""What 1995 wasn't asked, or was asked otherwise; the demo's job says so and leaves them out."""

# the fixture runs the whole demo
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def workspace(census_demo: CensusDemo) -> Workspace:
    return open_workspace(str(census_demo.folder), {})


@pytest.fixture(scope="module")
def scored(workspace: Workspace) -> RunState:
    """The demo's rescore."""
    (run,) = [one for one in workspace.ledger.ids() if one.startswith("income_scores-")]
    return workspace.ledger.state(run)


@pytest.fixture(scope="module")
def champion(workspace: Workspace, scored: RunState) -> LoadedVersion:
    assert scored.run.model is not None
    return workspace.registry.read(scored.run.model["model"], scored.run.model["version"])


@pytest.fixture(scope="module")
def later(workspace: Workspace) -> GovernedInput:
    return open_one(workspace, "census_1995", "score")


def read_all(given: GovernedInput, columns: tuple[str, ...]) -> pa.Table:
    return pa.concat_tables([read_unit(given.source, unit, columns).table for unit in given.units])


def columns_of(drift: Mapping[str, Any]) -> dict[str, Any]:
    return {one["column"]: one for one in drift["columns"]}


class TestDemo:
    """The job's own features were chosen with 1995 in view: nothing of them moved."""

    def test_tells_of_all_rows_and_features_and_raises_nothing(self, scored: RunState, champion: LoadedVersion) -> None:
        drift = scored.result["drift"]
        assert drift["rows"] == sum(scored.result["scores"]) == scored.result["reads"]["input"]["counts"]["passed"]
        assert drift["rows_then"] == champion.package.metrics["holdout"]["rows"]
        assert set(columns_of(drift)) == {SCORES, *champion.package.program.encoder.source_columns()}
        assert all("psi" in one for one in drift["columns"])
        by_sex = drift["slices"]["sex"]
        assert sum(one["rows"] for one in by_sex.values()) == drift["rows"]
        assert by_sex.keys() == {"Female", "Male"}
        assert drift["raised"] == []
        assert not [event for event in scored.events if event["event"] == "drifted"]

    def test_figures_of_units_are_those_of_the_whole_tables(
        self, workspace: Workspace, scored: RunState, champion: LoadedVersion, later: GovernedInput
    ) -> None:
        program, reference = champion.package.program, champion.package.reference
        assert reference is not None
        now, encoded = program.run(read_all(later, program.source_columns()))
        scores = load_predictor(champion.package.model_format, champion.package.model).predict(encoded)
        spec = reference.spec.with_slices(["sex"])
        places = [slice_places(now[name], values) for name, values in spec.slices]
        whole = count_profile(spec, encoded, scores, places)
        units = committed_units(workspace.store, "income_scores", scored.run.id).values()
        assert len(units) == 8
        assert np.array_equal(sum(dense_counts(one.summary["profile"][OWN], spec.size) for one in units), whole)
        training = open_one(workspace, "census_training", "evaluate")
        then = read_all(training, (*program.encoder.source_columns(), "split"))
        then = then.filter(pc.equal(then["split"], "test"))
        assert then.num_rows == reference.rows
        told = columns_of(scored.result["drift"])
        for column in program.encoder.numeric:
            exact = ks_2samp(*(table[column.name].drop_null().to_numpy() for table in (then, now))).statistic
            one = told[column.name]
            assert one["ks"] - 1e-6 <= exact <= one["ks"] + one["ks_error_bound"] + 1e-6
        for category in program.encoder.categorical:
            one = told[category.name]
            for table, share in zip((then, now), one["unknown_shares"], strict=True):
                texts = table[category.name].cast(pa.string())
                known = pc.is_in(texts, pa.array(category.categories))
                unknown = pc.sum(pc.and_(pc.invert(known), pc.is_valid(texts))).as_py() / table.num_rows
                assert share == pytest.approx(unknown, abs=1e-6)
        counts = [[pc.sum(pc.equal(table["sex"], sex)).as_py() for sex in ("Female", "Male")] for table in (then, now)]
        assert told["sex"]["js"] == pytest.approx(float(jensenshannon(*counts, base=2)), abs=1e-6)
        by_hand = stability_index(*(np.array(pair) for pair in counts))
        assert told["sex"]["psi"] == pytest.approx(by_hand, abs=1e-4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A small model of 1994 on other features, judged on every fifth row."""

    encoder: Encoder
    predictor: Predictor
    reference: Reference

    def raised(self, now: pa.Table) -> dict[str, set[str]]:
        """Feature -> metrics that reached a default limit, of rows that are counted in eleven parts."""
        encoded = encode(self.encoder, now)
        scores = self.predictor.predict(encoded)
        step = -(-now.num_rows // 11)
        counts = sum(
            count_profile(self.reference.spec, encoded.of_rows(part), scores[part])
            for part in (slice(start, start + step) for start in range(0, now.num_rows, step))
        )
        found: dict[str, set[str]] = {}
        for one in check_limits(compare(self.reference, counts, ()), None):
            found.setdefault(one.column, set()).add(str(one.metric))
        return found


def fit(then: pa.Table, numeric: tuple[str, ...], categorical: tuple[str, ...]) -> Judge:
    target = pc.equal(then["income_gt_50k"], "50000+.").to_numpy(zero_copy_only=False).astype(np.float32)
    held_out = np.arange(then.num_rows) % HOLDOUT_EVERY == HOLDOUT_EVERY - 1
    summary = summarise(then.filter(pa.array(~held_out)), numeric, categorical)
    asked = FeatureSpec(
        numeric=NumericFeatures(columns=numeric), categorical=CategoricalFeatures(columns=categorical, min_count=20)
    )
    encoder = fit_encoder(summary, asked)
    encoded = encode(encoder, then)
    matrix = xgboost.DMatrix(encoded.values[~held_out], label=target[~held_out])
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 4, "nthread": 2}, matrix, 10)
    predictor = load_predictor(BOOSTED, bytes(booster.save_raw("ubj")))
    judged = encoded.of_rows(np.flatnonzero(held_out))
    scores, cells = predictor.predict(judged), fit_cells(summary, encoder)
    counted = Judged(
        evaluation=evaluate_scores(scores, target[held_out]),
        histogram=np.array(score_histogram(scores)),
        columns=count_columns(cells, judged),
        slices={},
    )
    return Judge(
        encoder=encoder, predictor=predictor, reference=reference_of(counted, cells, dataset="holdout", least=1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Years:
    then: pa.Table
    now: pa.Table
    features: tuple[tuple[str, ...], tuple[str, ...]]


@pytest.fixture(scope="module")
def years(workspace: Workspace) -> Years:
    """Adults of both years, as they may be evaluated."""
    job = find_job(workspace.settings.workspace / "jobs/census.yaml", "income").job
    assert isinstance(job, TrainJob)
    numeric = tuple(name for group in job.features.numeric_groups for name in group.columns)
    categorical = tuple(name for group in job.features.categorical_groups for name in group.columns)
    categorical += NOT_ASKED_ALIKE
    read = (*numeric, *categorical, "income_gt_50k")
    then, now = (read_all(open_one(workspace, name, "evaluate"), read) for name in ("census_1994", "census_1995"))
    return Years(then=then, now=now, features=(numeric, categorical))


def replaced(table: pa.Table, name: str, change: Callable[[np.ndarray[Any, Any]], Any]) -> pa.Table:
    place = table.schema.get_field_index(name)
    values = change(table.column(name).to_numpy(zero_copy_only=False))
    return table.set_column(place, name, pa.array(values, table.schema.field(name).type))


class TestAnotherYear:
    def test_raises_what_was_asked_otherwise_and_only_that(self, years: Years) -> None:
        raised = fit(years.then, *years.features).raised(years.now)
        assert set(raised) == set(NOT_ASKED_ALIKE)
        assert all("psi" in metrics for metrics in raised.values())
        gone = {name for name, metrics in raised.items() if "missing" in metrics}
        assert gone == {name for name in NOT_ASKED_ALIKE if name.startswith("migration")}

    def test_that_was_shifted_raises_what_was_shifted_and_only_that(self, years: Years) -> None:
        numeric, categorical = years.features
        judge = fit(years.then, numeric, tuple(name for name in categorical if name not in NOT_ASKED_ALIKE))
        assert judge.raised(years.now) == {}
        shifts: dict[str, tuple[Callable[[Any], Any], set[str]]] = {
            "age": (lambda age: age + 20, {"psi"}),
            "wage_per_hour": (lambda wage: np.where(np.arange(len(wage)) % 5 == 0, 900, wage), {"psi"}),
            "weeks_worked_in_year": (lambda weeks: weeks // 2, {"psi"}),
            "education": (lambda text: np.where(np.arange(len(text)) % 8 == 0, None, text), {"psi", "missing"}),
            "marital_stat": (lambda text: np.where(np.arange(len(text)) % 8 == 0, "Other", text), {"psi", "unknown"}),
            "sex": (lambda text: np.where(np.arange(len(text)) % 2 == 0, "Male", text), {"psi"}),
        }
        for name, (change, expected) in shifts.items():
            raised = judge.raised(replaced(years.now, name, change))
            raised.pop(SCORES, None)  # what a model is told may move what it says
            assert raised == {name: expected}
