"""A calibrated candidate from training to scores: fitted apart, better where it was wrong, one for every scorer."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataops.datasets.snapshot import read_snapshot
from dataops.declarations.promotion import CallableLimits
from dataops.engine.connect import Connection
from dataops.engine.progress import Progress
from dataops.models.calibration import CalibratedModel
from dataops.promotion.calling import call_version
from dataops.registry.aliases import move
from dataops.registry.versions import Registry
from dataops.runs.execute import Options
from dataops.runs.reproduce import reproduce
from dataops.runs.reproduced import Verdict
from dataops.runtime import UNSIGNED, load
from dataops.runtime.mlflow import TRUST, _load_pyfunc
from dataops.storage.objects import open_store
from tests.line.people import make_workspace
from tests.line.running import CLUSTER, Line

FEATURES = """\
features:
  numeric: {columns: [age, hours]}
  categorical: {columns: [trade]}
evaluate: {metrics: [log_loss, brier, roc_auc, f1, lift], threshold: 0.4, slices: [trade]}
"""
BALANCED = "{trainer: TRAINER, params: {class_weight: balanced}}"
JOBS = f"""\
name: wealth
job: train
input: people_old
target: rich and region = 'north'
{FEATURES}candidates:
  - {BALANCED.replace("TRAINER", "logistic")}
  - {BALANCED.replace("TRAINER", "logistic").replace("}}", "}, calibrate: sigmoid}")}
  - {BALANCED.replace("TRAINER", "xgboost").replace("balanced", "balanced, rounds: 10")}
  - {BALANCED.replace("TRAINER", "xgboost").replace("balanced}", "balanced, rounds: 10}, calibrate: isotonic")}
---
name: scores
job: rescore
model: wealth@4
input: people_new
keep: [region]
outputs: [probability, margin]
errors: {{max_rate: 0.1}}
monitor: {{drift: false}}
output: scores
"""


@pytest.fixture(scope="module")
def town(cluster, tmp_path_factory) -> Line:
    folder = make_workspace(tmp_path_factory.mktemp("calibration") / "town", files=10)
    (folder / "jobs" / "people.yaml").write_text(JOBS)
    line = Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))
    line.run("wealth")
    return line


def packages(line: Line):
    return [line.workspace.registry.read("wealth", number).package for number in (1, 2, 3, 4)]


def test_probabilities_are_better_where_classes_were_balanced_and_ranks_are_as_good(town):
    for before, after in (packages(town)[:2], packages(town)[2:]):
        was, now = before.metrics["holdout"]["overall"], after.metrics["holdout"]["overall"]
        assert now["log_loss"] < was["log_loss"] - 0.02
        assert now["brier"] < was["brier"] - 0.01
        assert now["roc_auc"] == pytest.approx(was["roc_auc"], abs=0.02)  # of seven eighths of the rows
        assert {"f1", "lift", "lift_error_bound"} <= now.keys()
        assert after.metrics["holdout"]["threshold"] == 0.4
        assert "lift" in after.metrics["holdout"]["slices"]["trade"]["baker"]
        assert len(after.metrics["holdout"]["replicates"]["overall"]["f1"]) == 32


def test_a_version_says_how_and_by_how_many_rows_it_was_calibrated(town):
    plain, line, _, curve = packages(town)
    assert (plain.calibration, "calibration" in plain.lineage["fit"]) == (None, False)
    learnt = plain.lineage["rows"]["input"]["passed"]
    for package, method in ((line, "sigmoid"), (curve, "isotonic")):
        told = package.lineage["fit"]["calibration"]
        assert told["method"] == method == package.calibration.method
        assert 0.08 * learnt < told["rows"] < 0.17 * learnt
        assert f"- **Calibration:** {method}, by {told['rows']} of these rows" in package.card
        assert package.lineage["held_out_by"] == {"place": True}


def test_every_way_to_score_gives_the_calibrated_probabilities(town, monkeypatch):
    registry, package = town.workspace.registry, packages(town)[3]
    unsigned = Registry(open_store(str(town.folder / "registry")))
    move(unsigned, "wealth", "calibrated", 4, actor="ana", reason="to compare it")
    frame = pq.read_table(min((town.folder / "data" / "people_new").rglob("*.parquet"))).to_pandas()
    with load(town.folder / "registry", "wealth", "calibrated", trust=UNSIGNED, every=None) as model:
        answers = model.predict(frame)
    assert isinstance(package.predictor(), CalibratedModel)
    monkeypatch.setenv(TRUST, "unsigned")
    by_mlflow = _load_pyfunc(str(town.folder / "registry/wealth/versions/4")).predict(frame)
    assert by_mlflow.tobytes() == answers.tobytes()
    known = np.isfinite(answers)
    by_sklearn = package.to_sklearn(filtered=True).predict_proba(frame[known])[:, 1]
    np.testing.assert_allclose(by_sklearn, answers[known], rtol=0, atol=1e-6)
    called = call_version(registry.read("wealth", 4), CallableLimits())
    assert (called.failed, called.compared) == ("", True)


def test_a_rescore_writes_calibrated_probabilities_and_their_log_odds(town):
    outcome = town.run("scores")
    snapshot = read_snapshot(town.workspace.store, "scores")
    home = town.storage / "datasets" / "scores"
    table = pq.read_table(home / snapshot.fragments[0].path).to_pandas()
    odds = np.log(table.probability.astype(float)) - np.log1p(-table.probability.astype(float))
    np.testing.assert_allclose(table.margin, odds, atol=1e-4)
    assert outcome.state.result["predictors"] == {"": "xgboost"}
    made = np.array(packages(town)[3].calibration.made)
    assert len(made) > 4
    people = pq.read_table(town.folder / "data" / "people_new").to_pandas()
    true = (people.rich & (people.region == "north"))[people.age < 120].mean()
    assert table.probability.mean() == pytest.approx(true, abs=0.05)  # as if no class had ever weighed more


def test_a_calibrated_version_is_trained_again_bit_for_bit(town):
    for number in (2, 4):
        with town._standing(), Progress(town.said) as progress:
            found = reproduce(town.workspace, f"wealth@{number}", options=Options(cluster=CLUSTER), progress=progress)
        assert (found.verdict, dict(found.not_as_it_was)) == (Verdict.BIT_EQUAL, {})
        assert json.dumps(found.figures)
