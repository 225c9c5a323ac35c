"""A regression through the whole line: prepared, trained, judged, promoted, rescored, drifted, realised, served."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, r2_score, root_mean_squared_error

from dataops.cli.main import main
from dataops.engine.connect import Connection
from dataops.errors import InvalidInput
from dataops.models.predictor import load_predictor
from dataops.models.scoring import score_table
from dataops.monitoring.report import render_report
from dataops.registry.trust import UNSIGNED
from dataops.runs.execute import Outcome
from dataops.runs.report import report_figures
from dataops.runtime import load
from tests.line.people import make_workspace
from tests.line.running import Line

JOBS = """\
name: town_ready
job: prepare
input: people_old
derive:
  long_hours: "hours > 40"
split: {by: hash(person_id), test: 0.5}
output: people_town
---
name: toil
job: train
task: regression
input: people_town
target: "hours * 2 + 0 * length(region)"  # of hours alone, long_hours would be none of its features
features:
  numeric: {columns: [age]}
  categorical: {columns: [trade, long_hours]}
candidates:
  - {trainer: linear}
  - {trainer: poisson}
  - {trainer: xgboost, params: {rounds: 15, max_depth: 3}}
  - {trainer: xgboost, params: {rounds: 15, max_depth: 3, objective: absolute_error}}
  - {trainer: lightgbm, params: {rounds: 15, objective: poisson}}
evaluate: {metrics: [rmse, mae, r2, quantile_loss], quantile: 0.75, slices: [region], datasets: [people_new]}
---
name: toil_scores
job: rescore
model: toil@champion
challengers: {next: toil@3}
input: people_new
keep: [person_id]
monitor: {slices: [region], limits: [{metric: psi, warn: 0.25}]}
errors: {max_rate: 0.1}
output: people_toil
---
name: toil_judged
job: evaluate
scores: people_toil
labels: people_new
key: [person_id]
target: "hours * 2"
metrics: [mae, r2]
slices: [region]
"""

PROMOTION = """\
model: toil
rules:
  - {metric: r2, minimum: 0.3}
  - {metric: rmse, max_loss: 1.0, confidence: 0.9}
  - {callable: {}}
"""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, cluster) -> Line:
    folder = make_workspace(tmp_path_factory.mktemp("town") / "first")
    (folder / "jobs" / "toil.yaml").write_text(JOBS)
    (folder / "jobs" / "promotion-toil.yaml").write_text(PROMOTION)
    return Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1), reports=True)


@pytest.fixture(scope="module")
def trained(town: Line) -> Outcome:
    town.run("town_ready", file="jobs/toil.yaml")
    return town.run("toil", file="jobs/toil.yaml")


@pytest.fixture(scope="module")
def rescored(town: Line, trained: Outcome) -> Outcome:
    assert len(trained.state.result["versions"]) == 5
    promoted = type_(
        town,
        "model",
        "promote",
        "toil@1",
        "--reason",
        "first",
        "--rules",
        str(town.folder / "jobs/promotion-toil.yaml"),
    )
    assert promoted.exit_code == 0, promoted.output
    return town.run("toil_scores", file="jobs/toil.yaml")


def type_(line: Line, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--workspace", str(line.folder)])


def held_out(line: Line, version: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets and predictions of the test rows, straight from the prepared rows and the version's own program."""
    rows = [row for row in line.rows("people_town") if row["split"] == "test" and row["hours"] is not None]
    loaded = line.workspace.registry.read("toil", version)
    program = loaded.package.program.after_preparation()
    predictor = load_predictor(loaded.package.model_format, loaded.package.model)
    found = score_table(program, predictor, pa.Table.from_pylist(rows).select(program.source_columns()))
    return np.array([row["hours"] * 2 for row in rows], np.float32).astype(np.float64), found.astype(np.float64)


def test_every_candidate_is_judged_by_the_metrics_of_scikit_learn(town: Line, trained: Outcome) -> None:
    for version in trained.state.result["versions"]:
        target, found = held_out(town, version["version"])
        figures = version["metrics"]["holdout"]
        assert figures["rows"] == len(target)
        assert figures["quantile"] == 0.75
        overall = figures["overall"]
        assert overall["rmse"] == pytest.approx(root_mean_squared_error(target, found), rel=1e-9)
        assert overall["mae"] == pytest.approx(mean_absolute_error(target, found), rel=1e-9)
        assert overall["r2"] == pytest.approx(r2_score(target, found), rel=1e-9)
        assert overall["quantile_loss"] == pytest.approx(mean_pinball_loss(target, found, alpha=0.75), rel=1e-9)
        assert overall["r2"] > 0.3
        assert set(figures["slices"]["region"]) == {"north", "south"}


def test_rows_without_a_number_are_set_aside_and_counted(town: Line, trained: Outcome) -> None:
    counts = trained.state.result["reads"]["input"]["counts"]
    rows = town.rows("people_town")
    known = [row for row in rows if row["split"] == "train" and row["hours"] is not None]
    assert 0 < counts["passed"] == len(known) < sum(row["split"] == "train" for row in rows)
    assert counts["read"] == len(rows)


def test_a_version_says_that_it_is_a_regression(town: Line, trained: Outcome) -> None:
    formats = [version["format"] for version in trained.state.result["versions"]]
    assert formats == ["linear-json/2", "linear-json/2", "xgboost-ubj/1", "xgboost-ubj/1", "lightgbm-text/1"]
    package = town.workspace.registry.read("toil", 2).package
    assert package.task == "regression"
    assert "- **Estimates the number:** hours" in package.card
    assert package.reference is not None
    assert package.reference.histogram == ()
    assert package.reference.decile_edges is not None


def test_a_rescore_writes_numbers_alone(town: Line, rescored: Outcome) -> None:
    rows = town.rows("people_toil")
    assert set(rows[0]) == {"person_id", "prediction", "prediction_next"}
    assert all(isinstance(row["prediction"], float) for row in rows)
    assert 50 < np.mean([row["prediction"] for row in rows]) < 100
    result = rescored.state.result
    assert result["task"] == "regression"
    assert (len(result["scores"]), sum(result["scores"])) == (10, len(rows))
    assert result["drift"]["columns"][0]["psi"] < 0.25
    assert result["drift"]["histogram_then"] == []
    assert not result["drift"]["raised"]


def test_impact_is_a_rank_correlation_and_no_flips(town: Line, rescored: Outcome) -> None:
    typed = type_(town, "model", "impact", rescored.state.run.id, "--movers", "2", "--json")
    assert typed.exit_code == 0, typed.output
    shown = json.loads(typed.output)
    assert shown["figures"]["rows"] == len(town.rows("people_toil"))
    assert 0.4 < shown["figures"]["rank_correlation"] <= 1
    assert "flipped_up" not in shown["figures"]
    rows = town.rows("people_toil")
    changes = sorted((abs(row["prediction_next"] - row["prediction"]) for row in rows), reverse=True)
    assert [abs(row["change"]) for row in shown["movers"]] == pytest.approx(changes[:2])
    told = type_(town, "model", "impact", rescored.state.run.id)
    assert "rank correlation" in told.output
    assert "turn positive" not in told.output


def test_outcomes_that_came_later_judge_the_numbers(town: Line, rescored: Outcome) -> None:
    assert rescored.state.result["task"] == "regression"
    judged = town.run("toil_judged", file="jobs/toil.yaml")
    raw = [
        row for file in sorted((town.folder / "data/people_new").glob("*")) for row in pq.read_table(file).to_pylist()
    ]
    passed = [row["hours"] for row in raw if 18 <= row["age"] <= 120]
    pairs = zip(passed, town.rows("people_toil"), strict=True)
    target, found = zip(*((hours * 2, row["prediction"]) for hours, row in pairs if hours is not None), strict=True)
    own = judged.state.result["versions"][0]["metrics"]["realised"]
    assert own["rows"] == len(target) < judged.state.result["realised"]["scored"]
    assert own["overall"]["mae"] == pytest.approx(mean_absolute_error(np.float32(target), found), rel=1e-6)
    assert own["overall"]["r2"] == pytest.approx(r2_score(np.float32(target), found), rel=1e-6)
    assert set(own["slices"]["region"]) == {"north", "south"}
    assert "realised" in type_(town, "model", "realised", "toil").output


def test_an_application_gets_the_numbers_of_the_rescore(town: Line, rescored: Outcome) -> None:
    assert rescored.state.result["task"] == "regression"
    raw = pa.concat_tables(pq.read_table(file) for file in sorted((town.folder / "data/people_new").glob("*")))
    passed = raw.filter((pc.field("age") >= 18) & (pc.field("age") <= 120))
    with load(str(town.folder / "registry"), "toil", trust=UNSIGNED, every=None) as handle:
        signature = handle.explain_signature()
        assert (signature["task"], signature["output"]) == (
            "regression",
            "float32, one per row: the number that is predicted",
        )
        found = handle.predict(passed)
    np.testing.assert_array_equal(found, [np.float32(row["prediction"]) for row in town.rows("people_toil")])


def test_the_report_shows_numbers_by_decile_and_no_share_of_positives(town: Line, rescored: Outcome) -> None:
    page = render_report(report_figures(rescored.state), scripts="scripts")
    assert "decile 10" in page
    assert "At 0.5 or above" not in page


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (
            ("keep: [person_id]", "keep: [person_id]\noutputs: [probability]"),
            "gives prediction and decile, and no probability",
        ),
        (("keep: [person_id]", "keep: [person_id]\nthreshold: 0.5"), "decides nothing: leave it out"),
        (("{next: toil@3}", "{next: wealth@1}"), "is of task binary, and toil@1 of task regression"),
    ],
)
def test_what_a_regression_has_not_is_refused_before_a_row_is_read(
    town: Line, rescored: Outcome, change: tuple[str, str], finding: str
) -> None:
    assert rescored.state.result["task"] == "regression"
    if "wealth" in change[1] and "wealth" not in town.workspace.registry.list_models():
        town.run("people_ready")
        town.run("wealth")
    file = town.folder / "jobs" / "refused.yaml"
    file.write_text(JOBS.replace(*change).replace("people_toil", "people_refused"))
    with pytest.raises(InvalidInput, match=finding):
        town.run("toil_scores", file="jobs/refused.yaml")
    assert not (town.storage / "datasets" / "people_refused").exists()


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (("{trainer: poisson}", "{trainer: logistic}"), "trainer logistic makes no models of task regression"),
        (('target: "hours * 2 + 0 * length(region)"', "target: rich"), "the target of a regression is a number"),
        (("[rmse, mae, r2, quantile_loss]", "[roc_auc]"), "roc_auc is a figure of binary models"),
        (("max_depth: 3, objective: absolute_error", "class_weight: balanced"), "unknown parameter 'class_weight'"),
        (("task: regression\n", ""), "rmse is a figure of regression models"),
    ],
)
def test_a_train_job_of_two_tasks_is_refused_before_a_row_is_read(
    town: Line, trained: Outcome, change: tuple[str, str], finding: str
) -> None:
    assert trained.state.result["versions"]
    file: Path = town.folder / "jobs" / "refused.yaml"
    file.write_text(JOBS.replace(*change))
    with pytest.raises(InvalidInput, match=finding):
        town.run("toil", file="jobs/refused.yaml")
