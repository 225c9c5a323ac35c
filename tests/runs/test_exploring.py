"""Reading governed data outside of jobs: the same rows as a job gets, and the audit knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from distributed import Client

import dataops
from dataops.engine.survey import surveyed
from dataops.errors import AccessDenied, ContractViolation, InvalidInput, NotFound
from dataops.runs import exploring
from dataops.runs.exploring import HANDED_OUT, frame_of
from dataops.runs.workspace import open_workspace
from tests.line.people import CONTRACT, POLICY, make_workspace

EVENTS = ("intent", "result")
ROOT = Path(__file__).resolve().parents[2]

GROUPED = (
    POLICY
    + """\
  - {id: crowd, effect: group, roles: [data_science], purposes: [train], zones: [historical], datasets: [people_old],
     min_size: 20}
"""
)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("exploring") / "town")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    dask.config.set(scheduler="synchronous")


def results(folder: Path, run: str) -> list[tuple[str, dict[str, int]]]:
    """Outcome and counts of the one reading that the audit knows of `run`."""
    audit = open_workspace(str(folder), {}).audit
    told = [entry.body for entry in audit.entries() if entry.body.get("run") == run]
    assert [body["event"] for body in told] == [*EVENTS]
    return [(body["outcome"], dict(body["counts"])) for body in told[1:]]


def test_it_gives_what_the_policies_leave(people: Path) -> None:
    reading = dataops.read("people_old", purpose="train", workspace=str(people))
    table = reading.to_table()
    assert reading.columns == ("person_id", "age", "hours", "trade", "region", "rich")
    assert table.schema == reading.schema
    ages = table.column("age").to_numpy()
    assert 0 < len(ages) < reading.rows
    assert ages.min() >= 15
    assert ages.max() < 120
    assert set(ages % 5) == {0}
    assert not any("secret" in one for one in table.column("person_id").to_pylist())


def test_the_audit_counts_what_was_taken(people: Path) -> None:
    reading = dataops.read("people_old", purpose="train", workspace=str(people))
    rows = sum(table.num_rows for table in reading.to_tables())
    [(outcome, counts)] = results(people, reading.id)
    assert (outcome, counts["passed"], counts["read"]) == ("done", rows, reading.rows)


def test_who_stops_early_has_read_as_much_as_that(people: Path) -> None:
    reading = dataops.read("people_old", purpose="train", workspace=str(people))
    tables = reading.to_tables()
    next(tables)
    tables.close()
    [(outcome, counts)] = results(people, reading.id)
    assert outcome == "done"
    assert 0 < counts["read"] < reading.rows


def test_head_reads_no_more_than_it_takes(people: Path) -> None:
    reading = dataops.read("people_old", purpose="train", columns=["trade"], workspace=str(people))
    assert reading.head(3).num_rows == 3
    [(_, counts)] = results(people, reading.id)
    assert counts["read"] < reading.rows
    everything = dataops.read("people_old", purpose="train", columns=["trade"], workspace=str(people))
    assert everything.head(10**6) == everything.to_table()
    with pytest.raises(InvalidInput, match="rows: expected 1 or more"):
        reading.head(0)


def test_a_dask_frame_has_the_same_rows_and_reads_only_what_is_used(people: Path) -> None:
    reading = dataops.read("people_old", purpose="train", workspace=str(people))
    frame = reading.to_dask()
    assert results(people, reading.id) == [(HANDED_OUT, {})]
    expected = frame_of(reading.to_table())
    pd.testing.assert_frame_equal(frame.compute().reset_index(drop=True), expected)
    pd.testing.assert_series_equal(
        frame.groupby("trade").age.mean().compute().sort_index(), expected.groupby("trade").age.mean().sort_index()
    )
    assert frame.npartitions == len(reading.given.units)
    plan = str(frame[["age"]].optimize().expr.tree_repr())
    assert "columns=['age']" in plan
    assert (frame.partitions[1].compute().dtypes == frame.dtypes).all()


def test_rows_are_there_also_where_no_column_of_theirs_is_used(people: Path) -> None:
    reading = dataops.read("people_old", purpose="train", columns=["trade"], workspace=str(people))
    rows, frame = reading.to_table().num_rows, reading.to_dask()
    assert frame.assign(one=1).one.sum().compute() == rows > 0
    assert len(frame[[]].compute()) == rows


def test_a_dask_frame_is_read_on_the_cluster(people: Path, cluster: Client) -> None:
    reading = dataops.read("people_old", purpose="train", columns=["hours", "rich"], workspace=str(people))
    total = cluster.compute(reading.to_dask().hours.sum()).result()
    assert total == pytest.approx(np.nansum(reading.to_table().column("hours").to_numpy()))


def test_what_is_denied_is_refused_by_name(people: Path) -> None:
    folder = str(people)
    with pytest.raises(AccessDenied, match="diagnosis"):
        dataops.read("people_old", purpose="train", columns=["diagnosis"], workspace=folder)
    with pytest.raises(AccessDenied):
        dataops.read("people_old", purpose="benchmark", workspace=folder)
    with pytest.raises(InvalidInput, match="expected train, evaluate, score, benchmark; found 'fun'"):
        dataops.read("people_old", purpose="fun", workspace=folder)
    with pytest.raises(InvalidInput, match="Did you mean 'trade'"):
        dataops.read("people_old", purpose="train", columns=["trad"], workspace=folder)
    with pytest.raises(InvalidInput, match="one or more names, each once"):
        dataops.read("people_old", purpose="train", columns=["age", "age"], workspace=folder)
    with pytest.raises(NotFound, match="people_odl"):
        dataops.read("people_odl", purpose="train", workspace=folder)


def test_where_only_groups_may_be_shown_no_row_is(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path / "town", files=1, policy=GROUPED)
    with pytest.raises(AccessDenied, match="20 rows or more"):
        dataops.read("people_old", purpose="train", workspace=str(folder))


def test_a_broken_contract_ends_the_reading(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path / "town", files=2)
    strict = CONTRACT.replace(
        "logicalTypeOptions: {minimum: 0, maximum: 120}",
        "quality: [{metric: invalidValues, arguments: {validValues: [1]}, mustBe: 0, unit: rows}]",
    )
    (folder / "contracts" / "people.yaml").write_text(strict)
    reading = dataops.read("people_old", purpose="train", workspace=str(folder))
    with pytest.raises(ContractViolation, match="age"):
        reading.to_table()
    [(outcome, counts)] = results(folder, reading.id)
    assert outcome == "failed"
    assert counts["read"] == reading.rows


def test_nothing_is_handed_out_of_a_dataset_that_breaks_a_rule_of_the_whole(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path / "town", files=1)
    quality = "\n    quality: [{metric: rowCount, mustBeGreaterThan: 5000, severity: error}]\n"
    (folder / "contracts" / "people.yaml").write_text(CONTRACT.rstrip() + quality)
    with pytest.raises(ContractViolation, match="it has 400 rows, at least 5001 are expected"):
        dataops.read("people_old", purpose="train", workspace=str(folder))


def test_a_survey_is_announced_before_it_reads_and_made_once(
    tmp_path: Path, cluster: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_workspace(tmp_path / "town", files=2)
    (folder / "contracts" / "people.yaml").write_text(CONTRACT.replace("person_id,", "person_id, unique: true,"))
    audit = open_workspace(str(folder), {}).audit
    before: list[str] = []

    def watched(*given: Any, **options: Any) -> Any:
        before.extend(entry.body["event"] for entry in audit.entries())
        return surveyed(*given, **options)

    monkeypatch.setattr(exploring, "surveyed", watched)
    first = dataops.read("people_old", purpose="train", workspace=str(folder), client=cluster)
    assert before == ["intent"]
    told = [entry.body for entry in audit.entries()]
    assert [(body["event"], body["run"][:17]) for body in told] == [(one, "survey-people_old") for one in EVENTS]
    monkeypatch.setattr(exploring, "connect", None)  # no cluster is needed any more
    again = dataops.read("people_old", purpose="train", workspace=str(folder))
    assert len(list(audit.entries())) == len(EVENTS)
    assert again.to_table() == first.to_table()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.int8(), pd.Int8Dtype()),
        (pa.uint32(), pd.UInt32Dtype()),
        (pa.bool_(), pd.BooleanDtype()),
        (pa.float32(), np.dtype("float32")),
        (pa.date32(), pd.ArrowDtype(pa.date32())),
        (pa.list_(pa.string()), pd.ArrowDtype(pa.list_(pa.string()))),
        (pa.timestamp("us"), np.dtype("datetime64[us]")),
    ],
)
def test_types_depend_on_columns_not_on_values(kind: pa.DataType, expected: object) -> None:
    with_null = pa.table({"c": pa.array([None], kind)})
    assert frame_of(with_null).c.dtype == expected
    assert frame_of(with_null.slice(0, 0)).c.dtype == expected


def test_an_estimator_of_dask_ml_learns_from_a_governed_frame_as_the_page_on_python_shows(people: Path) -> None:
    """The page's own lines, on these people: masked ages, filtered rows, and not a row more."""
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    (lines,) = (block for block in examples_of(page) if "dask_ml" in block)
    lines = lines.replace("census_training", "people_old").replace('"weeks"', '"hours"')
    lines = lines.replace('purpose="train",', f'purpose="train", workspace={str(people)!r},')
    names: dict[str, Any] = {"dataops": dataops}
    exec(lines, names)  # noqa: S102 - the page's own text
    table = dataops.read("people_old", purpose="train", columns=["age", "hours"], workspace=str(people)).to_table()
    rows = np.column_stack([table.column(name).to_numpy() for name in ("age", "hours")]).astype("float64")
    rows = rows[~np.isnan(rows).any(axis=1)]
    kmeans = names["kmeans"]
    labels = kmeans.labels_.compute()
    assert kmeans.cluster_centers_.shape == (3, 2)
    assert len(labels) == len(rows)
    nearest = np.argmin(((rows[:, None, :] - kmeans.cluster_centers_[None]) ** 2).sum(axis=2), axis=1)
    assert (labels == nearest).all()


def examples_of(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)
