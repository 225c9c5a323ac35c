"""What a run of all questions says of itself."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.scripts import loaded

suite = loaded("suite")


def record(median: float, *, at: str, **more: Any) -> dict[str, Any]:
    spread = {"median": median, "min": 0.1, "max": 9.0}
    machine = {"processor": "p", "cores": 2}
    ratios = {"a/b": spread, "null: A/A": {**spread, "median": median * 7}}
    return {"question": "q", "quick": False, "measured_at": at, "ratios": ratios, "machine": machine, **more}


def said(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    found: list[str] = suite.steadiness({"q": before}, {"q": after}, ["q"])
    return found


def test_ratios_that_moved_between_two_runs_are_named() -> None:
    before = record(2.0, at="1")
    assert said(before, record(2.19, at="2")) == ["medians of 1 ratios beside the run before: all within 10%"]
    moved = ["medians of 1 ratios beside the run before: 1 moved by 10% or more"]
    assert said(before, record(2.2, at="2")) == [*moved, "  q: a/b: 2, now 2.2"]
    assert said(before, record(1.75, at="2")) == [*moved, "  q: a/b: 2, now 1.75"]


def test_only_runs_that_say_something_about_each_other_are_compared() -> None:
    alone = ["there is no earlier run to compare the ratios with: run it twice"]
    before = record(2.0, at="1")
    assert said(before, before) == alone
    assert said(before, record(2.0, at="2", size="--rows 3")) == alone
    assert said(before, record(2.0, at="2", data={"rows": 3})) == alone
    assert suite.steadiness({}, {"q": before}, ["q"]) == alone
    assert suite.steadiness({"q": before}, {"q": record(2.0, at="2")}, ["another"]) == alone
