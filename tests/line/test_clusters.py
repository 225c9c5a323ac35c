"""A clustering through the whole line: prepared, trained, judged, promoted, rescored, drifted, served, made again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from dataops.cli.main import main
from dataops.engine.connect import Connection
from dataops.engine.progress import Progress
from dataops.errors import InvalidInput
from dataops.models.centres import CentresModel
from dataops.models.predictor import load_predictor
from dataops.monitoring.report import render_report
from dataops.registry.trust import UNSIGNED
from dataops.runs.execute import Options, Outcome
from dataops.runs.report import report_figures
from dataops.runs.reproduce import reproduce
from dataops.runs.reproduced import Verdict
from dataops.runtime import load
from tests.line.people import make_workspace
from tests.line.running import CLUSTER, Line

JOBS = """\
name: town_ready
job: prepare
input: people_old
derive:
  long_hours: "hours > 40"
split: {by: hash(person_id), test: 0.5}
output: people_town
---
name: kinds
job: train
task: clusters
input: people_town
features:
  numeric: {columns: [age, hours]}
  categorical: {columns: [trade, long_hours], min_count: 2}
candidates:
  - {trainer: kmeans, params: {clusters: 3}}
  - {trainer: kmeans, params: {init: random}, search: {method: grid, space: {clusters: {int: [2, 4]}}}}
evaluate: {slices: [region], datasets: [people_new]}
---
name: kinds_found
job: rescore
model: kinds@champion
input: people_new
keep: [person_id]
monitor: {slices: [region], limits: [{metric: psi, warn: 0.25}]}
errors: {max_rate: 0.1}
output: people_kinds
"""

PROMOTION = """\
model: kinds
rules:
  - {metric: inertia, maximum: 5.0}
  - {metric: silhouette, minimum: 0.1, max_loss: 0.9, confidence: 0.9}
  - {metric: silhouette, minimum: 0.05, slice: {column: region}}
  - {callable: {}}
"""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, cluster) -> Line:
    folder = make_workspace(tmp_path_factory.mktemp("town") / "first")
    (folder / "jobs" / "kinds.yaml").write_text(JOBS)
    (folder / "jobs" / "promotion-kinds.yaml").write_text(PROMOTION)
    return Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1), reports=True)


@pytest.fixture(scope="module")
def trained(town: Line) -> Outcome:
    town.run("town_ready", file="jobs/kinds.yaml")
    return town.run("kinds", file="jobs/kinds.yaml")


@pytest.fixture(scope="module")
def promoted(town: Line, trained: Outcome) -> list[str]:
    """The verdicts: the first version comes after the second, by the same rules."""
    rules = str(town.folder / "jobs/promotion-kinds.yaml")
    assert len(trained.state.result["versions"]) == 2
    found = [type_(town, "model", "promote", f"kinds@{n}", "--reason", "found", "--rules", rules) for n in (2, 1)]
    assert [one.exit_code for one in found] == [0, 0], found
    return [Path(re.search(r"verdict +(\S+)", one.output)[1]).read_text() for one in found]


@pytest.fixture(scope="module")
def rescored(town: Line, promoted: list[str]) -> Outcome:
    assert promoted
    return town.run("kinds_found", file="jobs/kinds.yaml")


def type_(line: Line, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--workspace", str(line.folder)])


def raw_rows(line: Line) -> pa.Table:
    raw = pa.concat_tables(pq.read_table(file) for file in sorted((line.folder / "data/people_new").glob("*")))
    return raw.filter((pc.field("age") >= 18) & (pc.field("age") <= 120))


def nearest(line: Line, version: int, rows: list[dict[str, Any]]) -> np.ndarray:
    """What the version's own program and centres say of prepared rows."""
    package = line.workspace.registry.read("kinds", version).package
    program = package.program.after_preparation()
    model = load_predictor(package.model_format, package.model)
    assert isinstance(model, CentresModel)
    return model.nearest(program.run(pa.Table.from_pylist(rows).select(program.source_columns()))[1])


def test_inertia_and_silhouette_are_those_of_the_test_rows(town: Line, trained: Outcome) -> None:
    rows = [row for row in town.rows("people_town") if row["split"] == "test"]
    for version in trained.state.result["versions"]:
        figures = version["metrics"]["holdout"]
        found = nearest(town, version["version"], rows)
        own, other = found["distance"].astype(np.float64), found["next"].astype(np.float64)
        assert figures["rows"] == len(rows)
        assert figures["overall"]["inertia"] == pytest.approx((own**2).mean(), rel=1e-12)
        assert figures["overall"]["silhouette"] == pytest.approx((1 - own / other).mean(), rel=1e-9)
        assert set(figures["slices"]["region"]) == {"north", "south"}
        assert version["metrics"]["people_new"]["rows"] > 0
    assert trained.state.result["primary_metric"] == "silhouette"
    assert len(trained.state.result["searches"]["kmeans-2"]["trials"]) == 3


def test_no_row_is_set_aside_for_want_of_a_target(town: Line, trained: Outcome) -> None:
    counts = trained.state.result["reads"]["input"]["counts"]
    assert counts["passed"] == sum(row["split"] == "train" for row in town.rows("people_town"))


def test_a_version_says_that_it_is_a_clustering(town: Line, trained: Outcome) -> None:
    assert [version["format"] for version in trained.state.result["versions"]] == ["clusters-json/1"] * 2
    package = town.workspace.registry.read("kinds", 1).package
    assert (package.task, package.lineage["target"]) == ("clusters", None)
    assert "which cluster it is in, by the nearest centre" in package.card
    assert sum(package.lineage["fit"]["rows"]) == trained.state.result["reads"]["input"]["counts"]["passed"]
    assert package.golden is not None
    assert set(package.golden.predictions) <= {0.0, 1.0, 2.0}
    assert package.reference is not None
    assert package.reference.decile_edges is None
    assert list(package.reference.spec.scores.edges) == [0.5, 1.5]


def test_gates_judge_it_and_the_champion_is_compared(promoted: list[str]) -> None:
    assert all("inertia" in one and "silhouette" in one for one in promoted)
    assert "no champion yet" in promoted[0]
    assert "no champion yet" not in promoted[1]


def test_a_rescore_writes_the_cluster_and_how_far_its_centre_is(town: Line, rescored: Outcome) -> None:
    rows = town.rows("people_kinds")
    assert set(rows[0]) == {"person_id", "cluster", "distance"}
    written = pq.read_schema(next(iter(sorted((town.storage / "datasets/people_kinds").rglob("part-*.parquet")))))
    assert (written.field("cluster").type, written.field("distance").type) == (pa.int32(), pa.float32())
    result = rescored.state.result
    assert result["task"] == "clusters"
    assert result["scores"] == np.bincount([row["cluster"] for row in rows], minlength=3).tolist()
    drift = result["drift"]["columns"][0]
    assert len(drift["then"]) == len(drift["now"]) == 3
    assert drift["now"] == pytest.approx(np.array(result["scores"]) / len(rows), abs=1e-5)
    assert drift["psi"] < 0.25


def test_an_application_mlflow_and_scikit_learn_give_the_clusters_of_the_rescore(
    town: Line, rescored: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rescored.state.result["task"] == "clusters"
    clusters = [row["cluster"] for row in town.rows("people_kinds")]
    raw = raw_rows(town)
    with load(str(town.folder / "registry"), "kinds", trust=UNSIGNED, every=None) as handle:
        signature = handle.explain_signature()
        assert signature["task"] == "clusters"
        assert signature["output"] == "float32, one per row: the number of the cluster, a whole one from 0"
        found = handle.predict(raw)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, clusters)
    pipeline = town.workspace.registry.read("kinds", 1).package.to_sklearn()
    assert type(pipeline[-1]).__name__ == "KMeans"
    frame = raw.select(town.workspace.registry.read("kinds", 1).package.program.source_columns()).to_pandas()
    np.testing.assert_array_equal(pipeline.predict(frame), clusters)
    from dataops.runtime.mlflow import _load_pyfunc

    monkeypatch.setenv("DATAOPS_TRUST", "unsigned")
    loaded = _load_pyfunc(str(town.folder / "registry/kinds/versions/1"))
    np.testing.assert_array_equal(loaded.predict(frame), clusters)


def test_the_report_shows_rows_by_cluster(rescored: Outcome, trained: Outcome) -> None:
    page = render_report(report_figures(rescored.state), scripts="scripts")
    assert "cluster 2" in page
    assert "decile" not in page
    assert "At 0.5 or above" not in page
    assert "silhouette" in render_report(report_figures(trained.state), scripts="scripts")


def test_a_version_is_trained_again_bit_for_bit(town: Line, trained: Outcome) -> None:
    assert trained.state.result["versions"]
    with town._standing(), Progress(town.said) as progress:
        found = reproduce(town.workspace, "kinds@1", options=Options(cluster=CLUSTER), progress=progress)
    assert found.verdict is Verdict.BIT_EQUAL


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (("keep: [person_id]", "keep: [person_id]\noutputs: [probability]"), "gives cluster and distance, and no prob"),
        (("keep: [person_id]", "keep: [person_id]\noutputs: [cluster, decile]"), "and no decile"),
        (("keep: [person_id]", "keep: [person_id]\nthreshold: 0.5"), "decides nothing: leave it out"),
        (("input: people_new\nk", "challengers: {next: kinds@2}\ninput: people_new\nk"), "says nothing of this one's"),
    ],
)
def test_what_a_clustering_has_not_is_refused_before_a_row_is_read(
    town: Line, rescored: Outcome, change: tuple[str, str], finding: str
) -> None:
    assert rescored.state.result["task"] == "clusters"
    refused(town, "kinds_found", change, finding)
    assert not (town.storage / "datasets" / "people_refused").exists()


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (("clusters\ninput", "clusters\ntarget: rich\ninput"), "clusters are found without a target: leave it out"),
        (("task: clusters\n", ""), "a required key is missing: what is to be predicted"),
        (("task: clusters\n", "target: rich\n"), "trainer kmeans makes no models of task binary"),
        (("{trainer: kmeans, params: {clusters: 3}}", "{trainer: linear}"), "linear makes no models of task clusters"),
        (("evaluate: {", "evaluate: {metrics: [rmse], "), "rmse is a figure of regression models"),
        (("evaluate: {", "evaluate: {metrics: [inertia], "), "inertia is lower with each cluster more"),
        (("min_count: 2", "encode: target"), "`encode: target` takes a target of true/false or 1/0"),
    ],
)
def test_a_train_job_that_mixes_tasks_is_refused_before_a_row_is_read(
    town: Line, trained: Outcome, change: tuple[str, str], finding: str
) -> None:
    assert trained.state.result["versions"]
    refused(town, "kinds", change, finding)


def refused(line: Line, job: str, change: tuple[str, str], finding: str) -> None:
    assert change[0] in JOBS
    file: Path = line.folder / "jobs" / "refused.yaml"
    file.write_text(JOBS.replace(*change).replace("people_kinds", "people_refused"))
    with pytest.raises(InvalidInput, match=finding):
        line.run(job, file="jobs/refused.yaml")
