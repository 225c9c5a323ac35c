"""Searches, declared: ranges of parameters, points of a grid, every mistake at its place."""

from __future__ import annotations

import pytest

from dataops.declarations.jobs import job_from_record, job_record
from dataops.declarations.loader import parse_yaml, validate
from dataops.declarations.search import Scale, Search
from dataops.declarations.train import TrainJob
from dataops.errors import InvalidInput

JOB = """
name: wealth
job: train
input: people_ready
target: rich
features: {numeric: {columns: [age]}}
candidates:
  - {trainer: logistic%s}
"""


def read(text: str) -> Search:
    (document,) = parse_yaml(text, "s.yaml")
    return validate(document, Search)


def read_job(more: str) -> TrainJob:
    (document,) = parse_yaml(JOB % more, "j.yaml")
    return validate(document, TrainJob)


def finding(text: str) -> str:
    with pytest.raises(InvalidInput) as raised:
        read(text)
    return str(raised.value)


def test_ranges_become_dimensions_in_the_order_of_their_names():
    search = read("space: {rounds: {int: [1, 3]}, l2: {log: [0.1, 10]}, grow: {one_of: [a, null]}, x: {float: [0, 1]}}")
    assert [(one.name, one.scale, one.values) for one in search.dimensions] == [
        ("grow", Scale.ONE_OF, ("a", None)),
        ("l2", Scale.LOG, (0.1, 10)),
        ("rounds", Scale.INT, (1, 3)),
        ("x", Scale.FLOAT, (0, 1)),
    ]
    assert [one.choices for one in search.dimensions] == [("a", None), None, (1, 2, 3), None]
    assert (search.method, search.most_trials, search.needs_optuna) == ("random", 20, False)


def test_a_grid_has_as_many_trials_as_points():
    assert read("{method: grid, space: {a: {int: [1, 3]}, b: {one_of: [x, y]}}}").most_trials == 6
    assert read("{method: tpe, trials: 7, space: {a: {int: [1, 3]}}}").most_trials == 7


def test_all_mistakes_of_a_space_are_named_at_once_at_their_places():
    told = finding(
        "space:\n  a: {int: [1, 2.5]}\n  b: {log: [0, 1]}\n  c: {float: [2, 1]}\n  d: {one_of: []}\n"
        "  e: {whole: [1, 2]}\n"
        "  f: {int: [1, 2], log: [1, 2]}\n  g: {one_of: [x, y, x]}\n  h: {int: [true, 3]}\n  i: {float: [1]}\n"
    )
    assert "space.a.int: expected two whole numbers" in told
    assert "space.b.log: expected numbers above 0" in told
    assert "space.c.float: expected two numbers, the least and the greatest" in told
    assert "space.d.one_of: expected a list of values" in told
    assert "space.e.whole: expected one of int, float, log, one_of, found 'whole'" in told
    assert "space.f: expected one of int, float, log, one_of, found 2 keys" in told
    assert "space.g.one_of: 'x' is listed twice" in told
    assert "space.h.int: expected two whole numbers" in told
    assert "space.i.float: expected two numbers" in told
    assert "s.yaml:2" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{method: grid, trials: 3, space: {a: {int: [1, 3]}}}", "leave trials out"),
        ("{method: grid, space: {a: {float: [1, 3]}}}", "a grid takes int and one_of"),
        ("{method: grid, space: {a: {int: [1, 300]}, b: {int: [1, 300]}}}", "a grid of 90,000 points"),
        ("{space: {}}", "space"),
        ("{space: {a: {int: [1, 3]}}, trials: 0}", "trials"),
        ("{space: {a: {int: [1, 3]}}, seconds: 0}", "seconds"),
        ("{space: {a: {int: [1, 3]}}, prune: asha}", "pruner"),
    ],
)
def test_what_cannot_be_searched_is_refused(text, told):
    assert told in finding(text)


def test_a_parameter_is_given_or_searched_for_and_the_metric_is_of_the_task():
    with pytest.raises(InvalidInput) as raised:
        read_job(", params: {l2: 1}, search: {metric: rmse, space: {l2: {log: [0.1, 1]}}}")
    assert "'l2' is among the params, too" in str(raised.value)
    with pytest.raises(InvalidInput) as raised:
        read_job(", search: {metric: rmse, space: {l2: {log: [0.1, 1]}}}")
    assert "candidates[0].search.metric: rmse is a figure of regression models" in str(raised.value)


def test_a_job_with_a_search_goes_through_its_record_and_one_without_says_nothing_of_it():
    searching = read_job(
        ", search: {method: tpe, space: {l2: {log: [0.1, 1]}, class_weight: {one_of: [balanced, null]}}}"
    )
    assert job_from_record(job_record(searching)) == searching
    assert "search" not in job_record(read_job(""))["candidates"][0]
