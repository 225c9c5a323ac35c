"""The page's text: the states that people meet, names as text, and the same words as the report's."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import pytest

from dataops.monitoring import page_views
from dataops.monitoring.flow import Done, Flow, add, with_workers
from dataops.monitoring.page_document import SECONDS_BETWEEN_DRAWINGS, _RunView
from dataops.monitoring.page_panels import BYTES, ROWS, FlowChart, champion_panel, curve_panel
from dataops.monitoring.shown import Board
from tests.monitoring import sample
from tests.monitoring.messages import BEGAN, BUSY, RUN, board, said, shown

FIGURES = ("inputs", "reads", "linked_rows", "result")
NOW = BEGAN + 14


def done(make: sample.Make) -> Board:
    """A board with a run that came to the figures of `make`."""
    figures = {name: value for name, value in make().items() if name in FIGURES}
    return board(shown(**figures), said("run_ended", state="done", figures=figures))


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", html))


def test_a_cluster_without_runs_says_what_will_be_here_and_how_to_begin() -> None:
    text = plain(page_views.runs_text(Board(), NOW))
    assert "No run on this cluster yet" in text
    assert "dataops job run" in text


def test_a_run_that_goes_on_shows_phases_rows_rate_time_left_and_receipts() -> None:
    text = plain(page_views.runs_text(board(*BUSY), NOW))
    for told in ("running", "10 of 40 units", "1,000 of 4,000 rows", "100 rows/s", "about 30.0 s left", "990 passed"):
        assert told in text
    assert "10 quarantined" in text
    assert "2 workers with 1 thread each" in text


def test_a_run_that_failed_says_why_and_what_to_do_on_both_pages() -> None:
    made = board(*BUSY, said("run_ended", state="failed", error="ContractViolation: 3 rows were quarantined"))
    assert "ContractViolation: 3 rows were quarantined" in plain(page_views.runs_text(made, NOW))
    head = plain(page_views.head_text(made.runs[RUN], RUN, NOW))
    assert "ContractViolation: 3 rows were quarantined" in head
    assert f"dataops job resume {RUN}" in head


def test_a_run_whose_driver_is_gone_says_how_to_go_on() -> None:
    made = board({"event": "client_left", "client": "client-1"}, after=board(*BUSY))
    assert f"dataops job resume {RUN}" in plain(page_views.head_text(made.runs[RUN], RUN, NOW))


def test_a_run_that_nobody_knows_says_where_to_look() -> None:
    text = page_views.head_text(None, "<script>x</script>", NOW)
    assert "<script>" not in text
    assert "dataops job list" in plain(text)


def test_a_run_that_is_done_says_what_its_report_says() -> None:
    made = done(sample.rescore_figures)
    run = made.runs[RUN]
    assert "149,000" in plain(page_views.head_text(run, RUN, NOW))
    rows = plain(page_views.rows_text(run))
    assert "census_1995, read to score" in rows
    assert "323 quarantined" in rows
    assert "2 columns masked: age (generalise width 5) , person_id (pseudonym domain person)" in rows
    results = plain(page_views.results_text(run) or "")
    assert "stability index of education" in results
    assert "0.310" in results
    tally = plain(page_views.runs_text(made, NOW))
    assert "149,323 149,000 0 323 2" in tally


def test_a_train_run_shows_how_good_its_candidates_are() -> None:
    results = plain(page_views.results_text(done(sample.train_figures).runs[RUN]) or "")
    assert "xgboost" in results
    assert "0.9460" in results


def test_trials_are_told_while_the_search_goes_on_the_best_first() -> None:
    events = []
    for number, figure in enumerate((0.8, 0.95, 0.9)):
        trial = {"candidate": "xgboost", "metric": "roc_auc", "trial": number}
        events += [
            said("trial_begun", **trial, params={"depth": number}),
            said("trial_ended", **trial, outcome="done", figure=figure, why=None, seconds=1.0),
        ]
    results = page_views.results_text(board(shown(), *events).runs[RUN])
    assert results is not None
    assert [float(found) for found in re.findall(r">(0\.\d{4})<", results)] == [0.95, 0.9, 0.8]
    assert results.count("n best") == 1


@pytest.mark.parametrize("name", [sample.MARKUP, sample.HIDDEN], ids=["markup", "hidden"])
@pytest.mark.parametrize("make", list(sample.ALL.values()), ids=list(sample.ALL))
def test_names_are_text_wherever_they_stand(make: sample.Make, name: str) -> None:
    made = done(lambda: sample.hostile(make(), name))
    messages = [
        shown(f"{name}-1-2"),
        said("phase_started", f"{name}-1-2", phase=name),
        said("progress", f"{name}-1-2", phase=name, figures=name, counts={f"broken:{name}": 1, "read": 1, "passed": 1}),
        said("unit_retried", f"{name}-1-2", phase=name, unit=name, reason=name),
        said("run_ended", f"{name}-1-2", state="failed", error=name),
    ]
    made = board(*messages, after=made)
    texts = [page_views.runs_text(made, NOW)]
    for run in made.runs.values():
        texts += [page_views.head_text(run, run.run, NOW), page_views.phases_text(run, NOW), page_views.rows_text(run)]
        texts.append(page_views.results_text(run) or "")
    for text in texts:
        assert "<script" not in text
        assert "<img" not in text
        assert "\u202e" not in text


def test_figures_that_are_not_as_they_should_be_hide_no_other_run() -> None:
    broken: dict[str, Any] = {"inputs": [{"name": "input"}], "reads": 3, "result": []}
    made = board(shown("odd-1-2", **broken), said("run_ended", "odd-1-2", state="done"), *BUSY)
    assert "10 of 40 units" in plain(page_views.runs_text(made, NOW))


def test_the_board_as_json_has_every_phase_with_its_numbers() -> None:
    record = page_views.board_record(board(*BUSY), NOW)
    (run,) = record["runs"]
    assert (run["run"], run["state"], run["seconds"]) == (RUN, "running", 14.0)
    assert run["began"] == "2026-11-18T11:06:40.000Z"
    link, score = run["phases"]
    assert (link["outcome"], link["seconds"]) == ("done", 0.5)
    assert {name: score[name] for name in ("units_done", "rows_per_second", "seconds_left", "share")} == {
        "units_done": 10, "rows_per_second": 100.0, "seconds_left": 30.0, "share": 0.25,
    }  # fmt: skip


class TestSearches:
    """What the Dask scheduler's loop waits for while somebody looks at a search."""

    TRIAL: ClassVar = {"candidate": "xgboost", "metric": "roc_auc", "trial": 0}

    def begun(self) -> Board:
        reached = [said("trial_reached", **self.TRIAL, rounds=rounds, loss=0.5) for rounds in (1, 2)]
        return board(shown(), said("trial_begun", **self.TRIAL, params={}), *reached)

    def losses(self, view: _RunView) -> list[float]:
        (title, chart) = view._charts.children
        assert "Trials for xgboost" in title.text
        drawn = next(one for one in chart.renderers if one.name == "not ended")
        return [float(one) for one in drawn.data_source.data["loss"][:-1]]

    def test_trials_are_drawn_every_few_seconds_at_most_and_the_chart_stays(self) -> None:
        made, view = self.begun(), _RunView(RUN)
        view.show(made, NOW)
        chart, models = view._charts.children[1], len(view.root.references())
        more = board(said("trial_reached", **self.TRIAL, rounds=3, loss=0.25), after=made)
        view.show(more, NOW + SECONDS_BETWEEN_DRAWINGS / 2)
        assert self.losses(view) == [0.5, 0.5]
        view.show(more, NOW + SECONDS_BETWEEN_DRAWINGS)
        assert self.losses(view) == [0.5, 0.5, 0.25]
        assert view._charts.children[1] is chart
        assert len(view.root.references()) == models

    def test_a_run_that_ended_is_drawn_as_it_ended(self) -> None:
        made, view = self.begun(), _RunView(RUN)
        view.show(made, NOW)
        last = said("trial_reached", **self.TRIAL, rounds=3, loss=0.25)
        view.show(board(last, said("run_ended", state="done"), after=made), NOW + 0.1)
        assert self.losses(view) == [0.5, 0.5, 0.25]


def named(chart: FlowChart) -> list[str]:
    """The workers in the legend."""
    return [str(item.label.value) for item in chart.figure.legend[0].items]


class TestCharts:
    def test_workers_are_stacked_and_only_new_workers_need_a_new_figure(self) -> None:
        task = Done(worker="tcp://a:1", start=BEGAN, stop=BEGAN + 2, rows=20, size_bytes=4e6)
        chart, first = FlowChart(ROWS), add(Flow(), [task])
        assert chart.show(first, BEGAN)
        figure = chart.figure
        assert not chart.show(add(first, [task]), BEGAN)
        assert chart.figure is figure
        assert list(figure.renderers[0].data_source.data["total"][:2]) == [20.0, 20.0]
        other = Done(worker="tcp://b:1", start=BEGAN, stop=BEGAN + 2, rows=20, size_bytes=4e6)
        assert chart.show(add(first, [other]), BEGAN)

    def test_more_workers_than_colours_are_summed(self) -> None:
        tasks = [Done(worker=f"tcp://w:{n}", start=BEGAN, stop=BEGAN + 1, rows=1, size_bytes=1e6) for n in range(20)]
        chart = FlowChart(BYTES)
        chart.show(add(Flow(), tasks), BEGAN)
        assert len(chart.figure.renderers) == 8
        assert sum(chart.figure.renderers[0].data_source.data["total"]) == pytest.approx(20.0)

    def test_a_worker_has_its_number_and_those_that_count_as_one_have_none(self) -> None:
        there = [f"tcp://w:{number}" for number in range(3)]
        task = Done(worker="tcp://w:2", start=BEGAN, stop=BEGAN + 2, rows=20, size_bytes=4e6)
        chart = FlowChart(ROWS)
        chart.show(add(with_workers(Flow(), there), [task]), BEGAN)
        assert named(chart) == ["worker 3"]
        tasks = [Done(worker=f"tcp://w:{n}", start=BEGAN, stop=BEGAN + 1, rows=1, size_bytes=1e6) for n in range(20)]
        chart.show(add(Flow(), tasks), BEGAN)
        assert named(chart)[-2:] == ["worker 7", "13 others"]
        tasks = [Done(worker=f"tcp://w:{n}", start=BEGAN, stop=BEGAN + 1, rows=1, size_bytes=1e6) for n in range(99)]
        chart.show(add(Flow(), tasks), BEGAN)
        assert named(chart)[-1] == "others"

    def test_a_champion_reigns_until_now_and_a_rollback_goes_down(self) -> None:
        moves = [
            {"version": version, "at": f"2026-11-{day:02}T00:00:00+00:00", "kind": kind}
            for day, version, kind in ((1, 1, "promoted"), (3, 2, "promoted"), (5, 1, "rolled_back"))
        ]
        plot = champion_panel(moves, BEGAN)
        steps, dots = plot.renderers
        assert list(steps.data_source.data["version"]) == [1, 2, 1, 1]
        assert steps.data_source.data["at"][-1] == BEGAN * 1000
        assert list(dots.data_source.data["kind"])[-1] == "rolled back"

    def test_losses_of_candidates_differ_by_more_than_colour(self) -> None:
        plot = curve_panel({"a": ((1, 0.5), (2, 0.4)), "b": ((1, 0.6),)})
        markers = {one.glyph.marker for one in plot.renderers if hasattr(one.glyph, "marker")}
        assert len(markers) == 2
