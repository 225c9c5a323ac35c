"""The flights example: its files hold what its contracts say, and no flight sees the weather of later hours.

Needs the network once, for an archive that is kept in the user's cache.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from dataops.datasets.commit import open_storage
from dataops.declarations.jobs import find_job
from dataops.declarations.join import JoinJob
from dataops.demo.fetch import cache_folder, fetch
from dataops.errors import NotFound, Storage
from dataops.preparation.join import run_join
from dataops.preparation.join_plan import plan_join
from dataops.runs.workspace import Workspace
from tests.preparation.here import Here

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/flights"
DAYS, END = 6, datetime(2013, 2, 1, tzinfo=UTC)
"""Of January: the leak is looked for in some thousand flights, not in all."""


@pytest.fixture(scope="module")
def example() -> Any:
    sys.path.insert(0, str(EXAMPLE))
    try:
        import run
    finally:
        sys.path.remove(str(EXAMPLE))
    return run


@pytest.fixture(scope="module")
def tables(example: Any) -> dict[str, pa.Table]:
    try:
        archive = fetch(example.ARCHIVE, cache_folder(os.environ))
    except (NotFound, Storage) as error:
        pytest.skip(f"the flights can't be fetched: {error}")
    found: dict[str, pa.Table] = example.read_tables(archive)
    flights = found["flights"]
    chosen = pc.and_(pc.equal(flights["month"], 1), pc.less_equal(flights["day"], DAYS))
    weather = found["weather"].filter(
        pc.less(found["weather"]["time_hour"], pa.scalar(END, found["weather"]["time_hour"].type))
    )
    return {**found, "flights": flights.filter(chosen), "weather": weather}


def _joined(example: Any, tables: dict[str, pa.Table], folder: Path) -> pa.Table:
    workspace: Workspace = example.make_workspace(folder, tables)
    job = find_job(folder / "jobs/flights.yaml", "flights_joined").job
    assert isinstance(job, JoinJob)
    inputs = workspace.open_inputs(job)
    open_storage.cache_clear()
    plan = plan_join(job, inputs, where="jobs/flights.yaml:1")
    unsurveyed = {name: _without_rules(given) for name, given in inputs.items()}
    plan = plan.reading({name: given.source for name, given in unsurveyed.items()})
    manifest, _, _ = run_join(plan, unsurveyed, Here(), storage=str(folder / "out"))  # type: ignore[arg-type]
    home = folder / "out/datasets" / manifest.dataset
    return pa.concat_tables(pq.read_table(home / one.path) for one in manifest.fragments)


def _without_rules(given: Any) -> Any:
    """`given` under a contract that asks for no survey of the whole dataset: keys that are unique, above all."""
    contract = replace(given.dataset.contract, rules=(), primary_key=())
    return replace(
        given, dataset=replace(given.dataset, contract=contract), source=replace(given.source, contract=contract)
    )


def test_no_flight_sees_later_weather(example: Any, tables: dict[str, pa.Table], tmp_path: Path) -> None:
    before = _joined(example, tables, tmp_path / "before")
    ages = pc.subtract(before["time_hour"], before["weather_hour"]).to_pylist()
    known = [age for age in ages if age is not None]
    assert len(known) > 0.99 * before.num_rows
    assert all(timedelta(0) <= age <= timedelta(hours=3) for age in known)

    moment = tables["flights"]["time_hour"][tables["flights"].num_rows // 2].as_py()
    planted = [
        {**row, "time_hour": row["time_hour"] + timedelta(minutes=1), "temp": 999.0}
        if row["time_hour"] >= moment
        else row
        for row in tables["weather"].to_pylist()
    ]
    with_future = pa.Table.from_pylist(planted, tables["weather"].schema)
    after = _joined(example, {**tables, "weather": with_future}, tmp_path / "after")
    earlier = pc.less(before["time_hour"], pa.scalar(moment, before["time_hour"].type))
    assert pc.sum(earlier).as_py() > 1000
    assert after.filter(earlier).equals(before.filter(earlier))
    assert 999.0 in after["temp"].to_pylist()  # the planted weather is seen, once its time has come


def test_flights_are_joined_as_pandas_joins_them(example: Any, tables: dict[str, pa.Table], tmp_path: Path) -> None:
    joined = _joined(example, tables, tmp_path / "town").to_pandas()
    flights, weather, planes = (tables[name].to_pandas() for name in example.DATASETS)
    weather = weather.assign(weather_hour=weather["time_hour"])[
        ["origin", "time_hour", "weather_hour", "temp", "visib"]
    ]
    expected = pd.merge_asof(
        flights.sort_values("time_hour", kind="stable"),
        weather.sort_values("time_hour"),
        on="time_hour",
        by="origin",
        tolerance=pd.Timedelta(hours=3),
    ).merge(planes.rename(columns={"year": "built"}), on="tailnum", how="left", validate="m:1")
    key = ["carrier", "flight", "origin", "time_hour"]
    names = [*key, "weather_hour", "temp", "visib", "built", "seats"]
    one, other = (frame.sort_values(key).reset_index(drop=True)[names] for frame in (joined, expected))
    pd.testing.assert_frame_equal(one, other, check_dtype=False)


def test_no_feature_is_made_of_an_outcome(example: Any, tables: dict[str, pa.Table], tmp_path: Path) -> None:
    small = {**tables, "flights": tables["flights"].slice(0, 100)}
    workspace: Workspace = example.make_workspace(tmp_path / "town", small)
    declared = {name: find_job(tmp_path / "town/jobs/flights.yaml", name).job for name in example.JOBS}
    joined, prepared, trained = declared.values()
    plan = plan_join(joined, workspace.open_inputs(joined), where="jobs")  # type: ignore[arg-type]
    outcomes = {column.name for column in plan.columns if "outcome" in column.classification.split("+")}
    assert outcomes == {"arr_delay"}
    features = {*trained.features.numeric.columns, *trained.features.categorical.columns}  # type: ignore[union-attr]
    derived = {name for name, text in prepared.derive.items() if "arr_delay" in text}  # type: ignore[union-attr]
    assert derived == {"late"}
    assert not features & {*derived, *outcomes}
