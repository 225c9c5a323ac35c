"""The declaration of a join: what contradicts itself is found with its place, and a record keeps what was declared."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from dataops.declarations.aggregation import Measure, parse_aggregation
from dataops.declarations.jobs import find_job, job_from_record, job_record
from dataops.declarations.join import JoinJob, parse_duration
from dataops.errors import InvalidInput
from dataops.governance.grant import Purpose

WHOLE = """\
name: joined
job: join
input: flights
deduplicate: {by: [flight, day], order: seen_at}
joins:
  - dataset: weather
    purpose: evaluate
    on: [origin]
    asof: {at: leaves_at, of: hour, tolerance: 2h, strictly_before: true, as_known: seen_at}
    columns: [wind, hour]
    rename: {hour: weather_hour}
  - dataset: planes
    on: [plane]
    to: [tail]
    aggregate: {zeta: count, alpha: "last(kind, done_at)", mean_cost: mean(cost)}
output: joined
"""


def _declared(folder: Path, text: str) -> JoinJob:
    (folder / "jobs.yaml").write_text(text)
    job = find_job(folder / "jobs.yaml").job
    assert isinstance(job, JoinJob)
    return job


def test_record_gives_the_job_back_with_its_order(tmp_path: Path) -> None:
    job = _declared(tmp_path, WHOLE)
    again = job_from_record(json.loads(json.dumps(job_record(job), sort_keys=True)))
    assert again == job
    assert isinstance(again, JoinJob)
    assert list(again.joins[1].aggregate) == ["zeta", "alpha", "mean_cost"]


def test_inputs_are_told_apart_by_their_place(tmp_path: Path) -> None:
    assert _declared(tmp_path, WHOLE).inputs == {
        "input": ("flights", Purpose.TRAIN),
        "join:1:weather": ("weather", Purpose.EVALUATE),
        "join:2:planes": ("planes", Purpose.TRAIN),
    }


@pytest.mark.parametrize(
    ("change", "to", "says"),
    [
        ("to: [tail]", "to: [tail, year]", "joins[1].to: expected 1 columns"),
        ("rename: {hour: weather_hour}", "rename: {hours: x}", "Did you mean 'hour'"),
        ("rename: {hour: weather_hour}", "expect: many", "an asof join takes one row"),
        ("aggregate: {", "columns: [kind]\n    aggregate: {", "joins[1].aggregate: is one row for each key"),
        ("    columns: [wind, hour]\n    rename: {hour: weather_hour}\n", "", "joins[0].columns: adds nothing"),
        ("tolerance: 2h", "tolerance: 2 weeks", "joins[0].asof.tolerance: expected a whole number"),
        ("zeta: count", "zeta: median(cost)", "joins[1].aggregate.zeta: expected one of count"),
        ("zeta: count", "wind: count", "already; rename one"),
        ("output: joined", "output: flights", "'flights' is the input"),
        ("output: joined", "output: weather", "joins[0].dataset"),
        ("output: joined", "group_by: [day]\noutput: joined", "makes rows of its own"),
        ("output: joined", "aggregate: {n: count}\noutput: joined", "needs `group_by`"),
    ],
)
def test_contradiction_is_found_with_its_place(tmp_path: Path, change: str, to: str, says: str) -> None:
    assert change in WHOLE
    with pytest.raises(InvalidInput) as caught:
        _declared(tmp_path, WHOLE.replace(change, to, 1))
    assert says in str(caught.value)


def test_job_that_does_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nothing to do"):
        _declared(tmp_path, "name: a\njob: join\ninput: b\noutput: c\n")


@pytest.mark.parametrize(
    "text", ["", "count(", "count(a, b)", "sum", "sum()", "last(a)", "sum(a b)", "COUNT", "sum(a,)"]
)
def test_what_is_no_aggregation_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_aggregation(text)


def test_columns_with_spaces_are_quoted() -> None:
    found = parse_aggregation('last("gate number", "left, at last")')
    assert found.measure is Measure.LAST
    assert found.columns == ("gate number", "left, at last")


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7200), ("7d", 604_800)])
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
