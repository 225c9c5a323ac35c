"""Features, declared: groups of one kind, keys that go together, and records as earlier releases wrote them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataops.declarations.features import FeatureSpec
from dataops.declarations.loader import parse_yaml, validate
from dataops.errors import InvalidInput


def read(text: str) -> FeatureSpec:
    (document,) = parse_yaml(text, "f.yaml")
    return validate(document, FeatureSpec)


def finding(text: str) -> str:
    with pytest.raises(InvalidInput) as raised:
        read(text)
    return str(raised.value)


def test_a_group_may_be_one_or_of_a_list() -> None:
    one = read("numeric: {columns: [a]}\ncrosses: {columns: [b, c]}")
    many = read("numeric: [{columns: [a]}]\ncrosses: [{columns: [b, c]}]")
    assert one.numeric_groups == many.numeric_groups
    assert one.all_crosses == many.all_crosses
    assert (one.columns, one.categorical_groups[0].columns, one.date_groups) == (("a", "b", "c"), (), ())


def test_features_are_named_after_what_is_made_of_what() -> None:
    spec = read(
        """
numeric: [{columns: [age], indicator: true}, {columns: [age], bins: 4}]
categorical: [{columns: [job], encode: target}, {columns: [job]}]
dates: [{columns: [at], parts: [hour], encode: cyclical}, {columns: [at], parts: [month], encode: category}]
crosses: {columns: [job, town], encode: hash}
"""
    )
    assert spec.numbers == ("age", "is_missing(age)", "target(job)", "sin(hour(at))", "cos(hour(at))")
    assert spec.codes == ("bins(age)", "job", "month(at)", "hash(cross(job, town))")
    assert spec.columns == ("age", "job", "at", "town")
    assert {name for _, name in spec.names()} == {*spec.numbers, *spec.codes}


OLD = {
    "numeric": {"columns": ["a"], "impute": "median", "scale": "standard"},
    "categorical": {"columns": ["b"], "min_count": 1, "encode": "ordinal"},
}


def test_a_record_of_what_earlier_releases_knew_is_the_one_that_they_wrote() -> None:
    spec = FeatureSpec.model_validate_json(json.dumps(OLD), strict=True)
    assert spec.model_dump(mode="json") == OLD


@pytest.mark.parametrize(
    "more",
    [
        {"numeric": [{"columns": ["a"], "log": True, "clip": [0.0, 2.0]}, {"columns": ["c"], "bins": 3}]},
        {"numeric": {"columns": ["a"], "clip": {"quantiles": [0.1, 0.9]}}},
        {"categorical": {"columns": ["b"], "encode": "target", "smoothing": 0.0}},
        {"dates": {"columns": ["c"], "parts": ["year"], "encode": "number", "zone": None}},
        {"crosses": [{"columns": ["b", "c"], "min_count": 1, "encode": "hash", "buckets": 9}]},
    ],
)
def test_a_record_holds_every_later_key_that_isn_t_its_default(more: dict[str, Any]) -> None:
    spec = FeatureSpec.model_validate_json(json.dumps({**OLD, **more}), strict=True)
    record = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert FeatureSpec.model_validate_json(json.dumps(record), strict=True) == spec
    assert record != OLD


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("numeric: {columns: [a], bins: 4, log: true}", "numeric.log: bins are made of the values as they are"),
        ("numeric: [{columns: [a], bins: 4, scale: none}]", "numeric[0].scale: bins are made of the values"),
        ("numeric: {columns: [a], bins: 1}", "numeric.bins: expected a number of at least 2, found the number 1"),
        ("numeric: {columns: [a], clip: [2, 1]}", "numeric.clip: expected two numbers, the lower one first"),
        ("numeric: {columns: [a], clip: {quantiles: [0.5, 1.5]}}", "numeric.clip.quantiles: expected two shares"),
        ("numeric: {columns: [a], clip: [-1, 1], log: true}", "numeric.clip[0]: log takes values of at least 0"),
        ("numeric: {columns: [a], impute: -1, log: true}", "numeric.impute: log takes values of at least 0"),
        ("numeric: {columns: [a], scale: minmax}", "numeric.scale: expected 'standard' or 'min_max' or 'robust'"),
        ("categorical: {columns: [a], buckets: 9}", "categorical.buckets: only `encode: hash` has buckets"),
        ("categorical: {columns: [a], smoothing: 9}", "categorical.smoothing: only `encode: target` is smoothed"),
        ("categorical: {columns: [a], encode: hash, min_count: 2}", "categorical.min_count: hash takes all values"),
        ("categorical: [{columns: [a]}, {columns: [a]}]", "categorical[1].columns[0]: 'a' is made by another group"),
        ("categorical: [{columns: [a]}, {colums: [a]}]", "categorical[1].colums: unknown key. Did you mean 'columns'?"),
        ("numeric: {columns: [a]}\ncategorical: [{columns: [a]}]", "categorical[0].columns[0]: 'a' is listed under"),
        ("dates: {columns: [a], parts: [year], encode: cyclical}", "dates.parts[0]: a year doesn't come again"),
        ("dates: {columns: [a], parts: [hour, hour]}", "dates.parts[1]: 'hour' is listed twice"),
        ("dates: {columns: [a], parts: [hour], zone: Paris}", "dates.zone: no time zone of that name is known"),
        ("dates: {columns: [a]}", "dates.parts: a required key is missing"),
        ("crosses: {columns: [a]}", "crosses.columns: expected a list of at least 2"),
        ("crosses: [{columns: [a, b]}, {columns: [a, b]}]", "crosses[1]: 'cross(a, b)' is made by another group too"),
        ("numeric: []", "no features: list columns under numeric or categorical"),
    ],
)
def test_what_doesn_t_go_together_is_found_at_its_place(text: str, message: str) -> None:
    assert message in finding(text)
