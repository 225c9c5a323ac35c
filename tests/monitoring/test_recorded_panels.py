"""Charts and words of a run's records, and the page that shows them."""

from __future__ import annotations

from typing import Any

import pytest
from bokeh.models import GlyphRenderer, Span

from dataops.monitoring import recorded_panels as panels
from dataops.monitoring import recorded_words as words
from dataops.monitoring.recorded import recorded_figures
from dataops.monitoring.report import render_report
from tests.monitoring import sample
from tests.monitoring.recorded_runs import a_rescore, attempt, part, sampled, summed


def drawn(plot: Any) -> list[GlyphRenderer]:
    return [renderer for renderer in plot.renderers if isinstance(renderer, GlyphRenderer)]


def spans(plot: Any) -> list[Span]:
    return [one for one in plot.center if isinstance(one, Span)]


def recorded(*attempts: Any) -> dict[str, Any]:
    found = recorded_figures(attempts)
    assert found is not None
    return found


def rescore(**parts: Any) -> dict[str, Any]:
    phases = [sample.phase("survey", 2.0), sample.phase("score", 7.5), sample.phase("publish", 0.3)]
    return {**sample.rescore_figures(), "phases": phases, "recorded": recorded(*a_rescore()), **parts}


def test_moments_stand_below_each_other_in_all_charts() -> None:
    found = recorded(*a_rescore())
    plots = [draw(found) for draw in (panels.stream_panel, panels.rate_panel, panels.memory_panel)]
    assert {(plot.x_range.start, plot.x_range.end, plot.min_border_left) for plot in plots} == {(0, 10.0, panels.LEFT)}


def test_a_bar_has_the_colour_of_its_phase_and_waiting_is_thin() -> None:
    data = drawn(panels.stream_panel(recorded(*a_rescore())))[0].data_source.data
    by_phase = {
        (phase, what): colour for phase, what, colour in zip(data["phase"], data["what"], data["colour"], strict=True)
    }
    assert by_phase == {
        ("survey", "at work"): panels.colour_of(0),
        ("score", "at work"): panels.colour_of(1),
        ("score", "waiting for data"): panels.WAITING,
    }
    assert min(data["height"]) == data["height"][data["what"].index("waiting for data")]


def test_a_failed_task_differs_by_more_than_colour() -> None:
    data = drawn(panels.stream_panel(recorded(attempt([part(0, 1, 2), part(1, 2, 3, failed=True)]))))[
        0
    ].data_source.data
    assert data["hatch"] == [" ", "/"]
    assert data["what"] == ["at work", "failed"]


def test_a_worker_has_one_name_beside_all_its_lanes() -> None:
    found = recorded(attempt([part(0, 0, 2), part(1, 1, 3), part(2, 0, 1, worker=1)]))
    assert panels.stream_panel(found).yaxis[0].major_label_overrides == {0.5: "worker 1", 2.0: "worker 2"}


def test_the_limit_is_drawn_where_workers_come_near_it() -> None:
    near = recorded(attempt([], sampled(5, 2, memory=10**9), seconds=5.0))
    far = recorded(attempt([], sampled(5, 2, memory=10**8), seconds=5.0))
    assert [one.location for one in spans(panels.memory_panel(near))] == [2.0]
    assert spans(panels.memory_panel(far)) == []


@pytest.mark.parametrize(
    ("seconds", "end", "unit"), [(60.0, 60.0, "seconds"), (600.0, 10.0, "minutes"), (36_000.0, 10.0, "hours")]
)
def test_long_runs_are_told_in_larger_units(seconds: float, end: float, unit: str) -> None:
    plot = panels.rate_panel(recorded(attempt([part(0, 1, 2, rows=5)], seconds=seconds)))
    assert (plot.x_range.end, plot.xaxis[0].axis_label) == (end, unit)


def test_where_a_run_was_taken_up_again_there_is_a_line() -> None:
    twice = recorded(*a_rescore(), *a_rescore())
    for draw in (panels.stream_panel, panels.rate_panel):
        assert [one.location for one in spans(draw(twice))] == [10.0]


def test_each_phase_has_a_line_also_one_without_tasks() -> None:
    survey, score, publish = words.phase_lines(rescore())
    assert (survey.name, survey.number, survey.rows, survey.rate, survey.tasks) == (
        "survey",
        0,
        "200,000",
        "100,000",
        "4",
    )
    assert (score.busy, score.cores, score.memory, score.waited) == ("85%", "1.8", "1.2 GB", "0.05 s")
    assert (publish.number, publish.rows, publish.tasks, publish.busy, publish.memory) == (None, *["-"] * 4)


def test_a_phase_of_two_attempts_is_one_line_and_ends_as_the_last_did() -> None:
    phases = [sample.phase("score", 2.0, "failed"), sample.phase("score", 4.0)]
    (line,) = words.phase_lines(rescore(phases=phases))
    assert (line.time, line.failed) == ("6.0 s", False)


def test_rows_are_those_of_the_runs_events_and_of_a_lost_recording_no_sums_are_told() -> None:
    lost = {**sample.phase("score", 7.5, "failed"), "rows": 100_000, "recorded": False}
    known = {**sample.phase("score", 7.5), "rows": 50_000, "recorded": True}
    (line,) = words.phase_lines(rescore(phases=[lost, known]))
    assert (line.time, line.rows, line.rate) == ("15.0 s", "150,000", "10,000")
    assert (line.tasks, line.busy, line.waited) == ("-", "-", "-")
    assert (line.cores, line.memory) == ("1.8", "1.2 GB")
    assert "Of an attempt there is no recording" in " ".join(words.remarks(rescore(phases=[lost, known])))
    assert words.remarks(rescore(phases=[known])) == ()
    (line,) = words.phase_lines(rescore(phases=[known]))
    assert (line.rows, line.tasks) == ("50,000", "13")


def test_parts_that_were_too_many_are_in_the_table_where_the_recorder_added_them_up() -> None:
    whole = attempt([part(0, 1, 2)], left_out=5, sums=summed("score", tasks=6))
    assert words.remarks({"recorded": recorded_figures([whole])}) == (
        "5 parts of tasks were too many to be kept: the charts lack them.",
    )


def test_what_there_is_to_know_is_said() -> None:
    attempts = [attempt([part(0, 1, 2, failed=True)], sampled(5, 2, spilled=3 * 10**8), left_out=1200), attempt([])]
    said = words.remarks(
        {"recorded": recorded_figures(attempts, ["the recording of attempt x can't be read (Storage)"])}
    )
    assert said == (
        "The recording of attempt x can't be read (Storage).",
        "The run was taken up again once: at the dashed lines.",
        "A task failed: a red bar.",
        "1,200 parts of tasks were too many to be kept: charts and table lack them.",
        "Memory was short: a worker had up to 300.0 MB moved to its disk.",
    )
    assert words.remarks(rescore()) == ()


def test_the_page_of_a_recorded_run_has_the_charts_and_the_table() -> None:
    page = render_report(rescore(), scripts="../scripts")
    for place in ("stream", "rate", "memory"):
        assert f'<div class="chart" id="{place}"></div>' in page
    assert "threads busy" in page


@pytest.mark.parametrize("parts", [{}, {"recorded": None}], ids=["never recorded", "nothing found"])
def test_the_page_of_a_run_without_records_is_as_before(parts: dict[str, Any]) -> None:
    page = render_report({**sample.rescore_figures(), **parts}, scripts="../scripts")
    assert "What each worker did" not in page
    assert "<summary>The numbers</summary>" in page


def test_the_page_of_a_run_whose_records_are_gone_says_so() -> None:
    figures = rescore(recorded=recorded_figures([], ["the recording of attempt x can't be read (NotFound)"]))
    page = render_report(figures, scripts="../scripts")
    assert "The recording of attempt x can&#39;t be read (NotFound)." in page
    assert "What each worker did" not in page


def test_names_of_phases_are_text() -> None:
    evil = attempt([part(0, 0, 1, phase=0)], sampled(5, 2), phases=(f"fit {sample.MARKUP}",))
    figures = rescore(phases=[sample.phase(f"fit {sample.MARKUP}", 1.0)], recorded=recorded(evil))
    assert "<img" not in render_report(figures, scripts="../scripts")
