"""The report says how many rows came to no score, and why."""

from __future__ import annotations

from typing import Any

from dataops.monitoring import sections
from dataops.monitoring.report import render_report
from tests.monitoring import sample


def failing() -> dict[str, Any]:
    """A rescore some of whose rows failed."""
    figures = sample.rescore_figures()
    counts = figures["reads"]["input"]["counts"]
    counts["passed"] -= 7
    counts["failed"] = 7
    figures["result"]["errors"] = {"SIGSEGV": 2, "TypeError": 5, "rule:wage_not_negative": 323}
    return figures


def test_by_reason_with_the_verb_that_names_them() -> None:
    page = render_report(failing(), scripts="../scripts")
    assert "Rows without a score" in page
    for reason, rows in failing()["result"]["errors"].items():
        assert f"<code>{reason}</code></td>" in page
        assert f'<td class="n">{rows}</td>' in page
    assert f"dataops job errors {failing()['run']}" in page


def test_rows_that_failed_are_among_those_that_were_read() -> None:
    (reading,) = sections.readings(failing())
    assert sum(share.rows for share in reading.shares) == reading.read
    assert reading.rows(sections.FAILED) == 7


def test_a_run_without_any_says_nothing_of_them() -> None:
    figures = sample.rescore_figures()
    assert "Rows without a score" not in render_report(figures, scripts="../scripts")
    (reading,) = sections.readings(figures)
    assert [share.outcome for share in reading.shares] == [name for name in sections.OUTCOMES if name != "failed"]
