"""Results: the metric, what makes a run invalid, and the file that they are kept in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dataops.bench.page import render_page
from dataops.bench.results import COUNTED, METRIC, Check, Phase, Result, add_result, comparable, read_results
from tests.bench.sample import a_result


def test_the_metric_is_the_geometric_mean_of_the_counted_phases() -> None:
    assert a_result().throughput == pytest.approx((1e6 * 1e5 * 1e4 * 1e3 * 1e4 * 1e5) ** (1 / 6))


def test_start_up_and_generation_are_no_part_of_the_metric() -> None:
    slower = tuple(
        replace(phase, startup_seconds=1000.0, seconds=phase.seconds if phase.name in COUNTED else 1e6)
        for phase in a_result().phases
    )
    assert replace(a_result(), phases=slower).throughput == a_result().throughput


@pytest.mark.parametrize("name", COUNTED)
def test_twice_as_fast_counts_the_same_in_every_phase(name: str) -> None:
    faster = tuple(
        replace(phase, seconds=phase.seconds / 2) if phase.name == name else phase for phase in a_result().phases
    )
    assert replace(a_result(), phases=faster).throughput == pytest.approx((a_result().throughput or 0) * 2 ** (1 / 6))


def test_a_run_that_misses_a_check_has_no_metric() -> None:
    missed = replace(a_result(), checks=(*a_result().checks, Check(name="x", found="1", asked="2", holds=False)))
    assert missed.throughput is None
    assert missed.record()["valid"] is False
    assert replace(a_result(), checks=()).throughput is None
    assert replace(a_result(), phases=a_result().phases[:-1]).throughput is None


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    first, second = a_result(), replace(a_result(), seed=3)
    for one in (first, second):
        add_result(tmp_path / "results.jsonl", one)
    assert read_results(tmp_path / "results.jsonl") == ([first, second], 0)
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["format"] for line in lines] == ["dataops/bench-result/1"] * 2


def test_a_line_that_was_cut_off_or_is_of_a_later_release_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    add_result(file, a_result())
    file.write_bytes(file.read_bytes() + b'{"format": "dataops/bench-result/2"}\n' + b'{"format": "dataops/be')
    add_result(file, replace(a_result(), seed=3))
    found, strange = read_results(file)
    assert [one.seed for one in found] == [0, 3]
    assert strange == 2


def test_only_runs_over_the_same_data_and_streams_are_compared() -> None:
    mine = a_result()
    others = [replace(mine, scale=2.0), replace(mine, streams=5), replace(mine, data={"digest": "sha256:other"})]
    assert comparable([*others, mine], mine) == [mine]


def test_a_result_that_was_counted_otherwise_is_shown_and_not_compared() -> None:
    older, mine = a_result(), replace(a_result(), metric=METRIC)
    assert older.metric == 1 < METRIC
    assert comparable([older, mine], mine) == [mine]
    page = render_page([older, mine])
    assert page.count("counted otherwise") == 1
    assert "1 valid run before" not in page


def test_the_end_to_end_rate_has_every_second_of_the_phases_that_count() -> None:
    seconds = 6 * (2.0 + 3.5) + 1.5  # the other try of the rescore
    assert a_result().end_to_end == pytest.approx(100_000 / seconds)
    assert a_result().record()["end_to_end"] == a_result().end_to_end
    missed = replace(a_result(), checks=(Check(name="x", found="1", asked="2", holds=False),))
    assert missed.end_to_end is None
    assert "End to end: 2,899 payments a second" in render_page([a_result()])
    assert "End to end:" not in render_page([missed])


def test_the_page_tells_every_figure_and_fetches_nothing() -> None:
    page = render_page([a_result(), replace(a_result(), measured_at="2026-02-01T12:00:00.000000Z")])
    assert 'data-charts="' not in page
    assert "http://" not in page.partition('<script type="application/json"')[0]
    for told in ("dataops throughput", "31,623", "governed load", "1,000", "valid", "scale 0.01", "1.00"):
        assert told in page, told
    assert '"history"' in page or "history-0" in page


def test_the_page_of_a_run_that_is_invalid_says_why() -> None:
    missed = replace(
        a_result(), checks=(Check(name="ROC AUC, xgboost", found="0.5001", asked="at least 0.8", holds=False),)
    )
    page = render_page([a_result(), missed], strange=1)
    assert "This run is invalid" in page
    assert "ROC AUC, xgboost: 0.5001. Asked: at least 0.8." in page
    assert "1 line of" in page


def test_what_a_result_holds_is_text_on_the_page() -> None:
    machine = {"processor": "<script>alert(1)</script>", "cores": 2}
    page = render_page([replace(a_result(), machine=machine)])
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_a_phase_without_time_has_a_rate() -> None:
    assert Phase(name="load", rows=10, seconds=0.0, startup_seconds=0.0).rate > 0
    assert isinstance(a_result(), Result)
