"""Every kind of feature through the whole line: prepared, trained, judged, rescored, and served by an application."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from distributed import Client

from dataops.engine.connect import Connection
from dataops.features.kinds import LookupColumn
from dataops.runs.execute import Outcome
from dataops.runtime import load
from tests.line.people import JOBS, make_people, make_workspace
from tests.line.running import Line

FEATURES = """\
features:
  numeric:
    - {columns: [age], scale: min_max, clip: [20, 70]}
    - {columns: [hours], clip: {quantiles: [0.05, 0.95]}, log: true, indicator: true}
    - {columns: [hours], bins: 6}
  categorical:
    - {columns: [trade], encode: target, min_count: 2}
    - {columns: [region, long_hours], encode: frequency}
    - {columns: [trade], encode: hash, buckets: 8}
    - {columns: [long_hours]}
  dates:
    - {columns: [seen], parts: [weekday, month], encode: cyclical}
    - {columns: [seen], parts: [day]}
  crosses:
    - {columns: [trade, region], min_count: 2}
    - {columns: [trade, age], encode: target}
"""
NAMES = [
    *("age", "hours", "is_missing(hours)"),
    *(f"{wave}({part}(seen))" for part in ("weekday", "month") for wave in ("sin", "cos")),
    *("day(seen)", "target(trade)", "frequency(region)", "frequency(long_hours)", "target(cross(trade, age))"),
    *("bins(hours)", "hash(trade)", "long_hours", "cross(trade, region)"),
]


@pytest.fixture(scope="module")
def featured(tmp_path_factory: pytest.TempPathFactory, cluster: Client) -> Line:
    folder = make_workspace(tmp_path_factory.mktemp("featured") / "town")
    start = JOBS.index("features:")
    jobs = JOBS[:start] + FEATURES + JOBS[JOBS.index("candidates:") :]
    day = "'2025-07-0' || cast(cast(age % 9 + 1 as integer) as varchar)"
    derived = f"  seen: \"cast(case when hours > 40 then '2026-01-31' else {day} end as date)\"\n"
    jobs = jobs.replace("derive:\n", "derive:\n" + derived)
    (folder / "jobs" / "people.yaml").write_text(jobs)
    return Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))


@pytest.fixture(scope="module")
def outcomes(featured: Line) -> dict[str, Outcome]:
    return featured.run_all(version=2)


def test_both_models_learn_from_them(featured: Line, outcomes: dict[str, Outcome]) -> None:
    for version in outcomes["wealth"].state.result["versions"]:
        assert version["metrics"]["holdout"]["overall"]["roc_auc"] > 0.65
    package = featured.workspace.registry.read("wealth", 2).package
    encoder = package.program.encoder
    assert [column.name for column in encoder.columns] == NAMES
    assert [cells.name for cells in package.reference.spec.columns] == NAMES if package.reference else False
    assert "hash(trade) (8 buckets)" in package.card.replace("\\", "")
    program = Path(featured.workspace.settings.registry) / "wealth/versions/2/program.json"
    assert json.loads(program.read_bytes())["format"] == "dataops/feature-program/2"
    (mean,) = [one for one in encoder.numeric if isinstance(one, LookupColumn) and one.name == "target(trade)"]
    assert mean.categories == ("baker", "clerk", "miller", "smith")
    assert mean.values[3] == max(mean.values)  # smiths are rich more often


@pytest.mark.usefixtures("outcomes")
def test_an_application_answers_as_the_rescore_did_to_the_bit(featured: Line) -> None:
    rng = np.random.default_rng(2)
    raw = pa.concat_tables([make_people(rng, number * 400, 400, "secret") for number in range(4)])
    kept = raw.filter((pa.compute.field("age") >= 18) & (pa.compute.field("age") <= 120))
    settings = featured.workspace.settings
    trust = settings.workspace / "signers.yaml"
    with load(settings.registry, "wealth", trust=trust, every=None) as model:
        answers = model.predict(kept.select(["age", "hours", "trade", "region"]))
    scores = [row["probability"] for row in featured.rows("people_scores")]
    assert len(scores) == kept.num_rows
    assert np.array(scores, np.float32).tobytes() == np.asarray(answers, np.float32).tobytes()


def test_drift_is_told_by_feature(outcomes: dict[str, Outcome]) -> None:
    drift = outcomes["people_scores"].state.result["drift"]
    told = {one["column"] for one in drift["columns"]}
    assert set(NAMES) <= told | {"hash(trade)"}
    assert not drift.get("raised")
