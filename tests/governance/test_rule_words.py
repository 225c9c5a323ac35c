"""What rules ask, in words: bounds and counts are said, values never."""

from __future__ import annotations

from typing import Any

import pytest

from dataops.governance.contract import Rule, RuleKind
from dataops.governance.rule_words import asked, difference
from dataops.governance.text_formats import FORMATS

DAY = 86_400


def make_rule(kind: RuleKind, of: str | None = "age", **arguments: Any) -> Rule:
    return Rule(id="x", kind=kind, column=of, arguments=arguments)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (make_rule(RuleKind.NOT_NULL), "age is not null"),
        (make_rule(RuleKind.LIST_NOT_NULL), "the list of age is not null"),
        (make_rule(RuleKind.NOT_MISSING, values=[None, "", "n/a"]), "age is not null and none of 2 values"),
        (make_rule(RuleKind.VALID_VALUES, values=["a", "b", "c"]), "age is one of 3 values"),
        (make_rule(RuleKind.PATTERN, value=FORMATS["email"]), "age looks like an email"),
        (make_rule(RuleKind.PATTERN, value="secret"), "age matches a pattern"),
        (make_rule(RuleKind.MINIMUM, value=1000), "age >= 1,000"),
        (make_rule(RuleKind.EXCLUSIVE_MAXIMUM, value=0.5), "age < 0.5"),
        (make_rule(RuleKind.MAXIMUM, value="2026-01-31"), "age <= 2026-01-31"),
        (make_rule(RuleKind.MAXIMUM, value="secret"), "age <= a text"),
        (make_rule(RuleKind.MULTIPLE_OF, value=5), "age is a multiple of 5"),
        (make_rule(RuleKind.MAX_LENGTH, value=20), "length(age) <= 20"),
        (make_rule(RuleKind.MIN_ITEMS, value=2), "items of age >= 2"),
        (make_rule(RuleKind.EXPRESSION, sql="hours <= 48\n  and age >= 18"), "hours <= 48 and age >= 18"),
        (make_rule(RuleKind.EXPRESSION, sql="age <> 7"), "a condition on age"),
        (make_rule(RuleKind.EXPRESSION, sql="age in (7, 8)"), "a condition on age"),
        (make_rule(RuleKind.EXPRESSION, sql="age > 7 -- secret"), "a condition on age"),
        (make_rule(RuleKind.EXPRESSION, sql="name = 'secret' or age > 7"), "a condition on age, name"),
        (make_rule(RuleKind.UNIQUE, columns=["age"]), "age is unique"),
        (make_rule(RuleKind.UNIQUE, None, columns=["a", "b"]), "a, b together are unique"),
        (make_rule(RuleKind.ROW_COUNT, None, minimum=1001, maximum=None), "at least 1,001 rows"),
        (make_rule(RuleKind.ROW_COUNT, None, minimum=None, maximum=1), "at most 1 row"),
        (make_rule(RuleKind.ROW_COUNT, None, minimum=1, maximum=5000), "1 to 5,000 rows"),
        (make_rule(RuleKind.ROW_COUNT, None, minimum=5, maximum=5), "exactly 5 rows"),
        (make_rule(RuleKind.FRESHNESS, None, column="at", max_age_seconds=2 * DAY), "newest at at most 2 days old"),
        (make_rule(RuleKind.FRESHNESS, None, column=None, max_age_seconds=90), "newest file at most 90 seconds old"),
    ],
)
def test_a_rule_says_what_it_asks(rule: Rule, words: str) -> None:
    assert asked(rule) == words
    assert "secret" not in asked(rule)


@pytest.mark.parametrize(
    ("kind", "old", "new", "words"),
    [
        (RuleKind.MAXIMUM, {"value": 48}, {"value": 60}, "maximum 48 -> 60"),
        (RuleKind.MIN_LENGTH, {"value": 1}, {"value": 2}, "min length 1 -> 2"),
        (RuleKind.VALID_VALUES, {"values": ["a", "b"]}, {"values": ["b", "c"]}, "2 values -> 2 (1 added, 1 removed)"),
        (RuleKind.UNIQUE, {"columns": ["a"]}, {"columns": ["a", "b"]}, "a is unique -> a, b together are unique"),
        (RuleKind.PATTERN, {"value": "secret"}, {"value": "x"}, "age matches a pattern, another one"),
        (
            RuleKind.ROW_COUNT,
            {"minimum": 1, "maximum": None},
            {"minimum": 9, "maximum": None},
            "at least 1 row -> at least 9 rows",
        ),
    ],
)
def test_a_difference_says_from_what_to_what(kind: RuleKind, old: Any, new: Any, words: str) -> None:
    said = difference(make_rule(kind, **old), make_rule(kind, **new))
    assert said == words
    assert "secret" not in said


def test_every_kind_has_words() -> None:
    given: dict[str, Any] = {"value": 1, "values": [1], "columns": ["a"], "sql": "a > 1", "minimum": 1, "maximum": 2}
    given |= {"column": None, "max_age_seconds": 1}
    for kind in RuleKind:
        assert asked(Rule(id="x", kind=kind, column="a", arguments=given))
