"""Estimators of scikit-learn through the whole line: trained, judged, registered, rescored."""

from __future__ import annotations

from pathlib import Path

import pytest
from distributed import Client

from dataops.engine.connect import Connection
from dataops.errors import InvalidInput
from dataops.runs.execute import Outcome
from tests.line.people import JOBS, make_workspace
from tests.line.running import Line

pytest.importorskip("skops.io", reason="the extra skops isn't installed")

CANDIDATES = """\
candidates:
  - {trainer: incremental, params: {estimator: sgd, epochs: 3, average: true, class_weight: balanced}}
  - {trainer: sklearn, params: {estimator: hist_gradient_boosting, rows: 700, max_iter: 10, max_depth: 3}}
"""


def declare(line: Line, candidates: str) -> None:
    start, end = JOBS.index("candidates:"), JOBS.index("evaluate:")
    (line.folder / "jobs" / "people.yaml").write_text(JOBS[:start] + candidates + JOBS[end:])


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, cluster: Client) -> Line:
    folder = make_workspace(Path(tmp_path_factory.mktemp("estimators")) / "town")
    made = Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))
    declare(made, CANDIDATES)
    return made


@pytest.fixture(scope="module")
def outcomes(town: Line) -> dict[str, Outcome]:
    return town.run_all(version=2)


def test_both_are_registered_with_what_was_found_out(town: Line, outcomes: dict[str, Outcome]) -> None:
    versions = outcomes["wealth"].state.result["versions"]
    assert [version["format"] for version in versions] == ["sklearn-skops/1"] * 2
    for version in versions:
        assert version["metrics"]["holdout"]["overall"]["roc_auc"] > 0.65
    by_parts, sampled = (town.workspace.registry.read("wealth", number).package.lineage["fit"] for number in (1, 2))
    assert (by_parts["estimator"], by_parts["epochs"], len(by_parts["losses"])) == ("sgd", 3, 3)
    assert (sampled["estimator"], sampled["rows"], sampled["converged"]) == ("hist_gradient_boosting", 700, True)
    assert sampled["of"] > 700
    assert "sklearn takes a sample of 700 rows to one worker" in town.said.getvalue()


@pytest.mark.usefixtures("outcomes")
def test_a_rescore_scores_with_it(town: Line) -> None:
    scores = [row["probability"] for row in town.rows("people_scores")]
    assert len(scores) > 1000
    assert 0 < min(scores) < max(scores) < 1


@pytest.mark.usefixtures("outcomes")
def test_training_again_gives_the_same_bytes(town: Line) -> None:
    town.run("wealth", again=True)
    models = [town.workspace.registry.read("wealth", number).package.model for number in (1, 2, 3, 4)]
    assert models[:2] == models[2:]


@pytest.mark.usefixtures("outcomes")
def test_what_can_not_be_is_refused_before_anything_is_read(town: Line) -> None:
    declare(town, "candidates: [{trainer: sklearn, params: {estimator: svc}}]\n")
    runs = sorted((town.storage / "runs").iterdir())
    with pytest.raises(InvalidInput, match=r"candidates\[0\]: trainer sklearn: there is no estimator 'svc'"):
        town.run("wealth")
    assert sorted((town.storage / "runs").iterdir()) == runs
