from __future__ import annotations

from typing import Any

from bokeh.models import GlyphRenderer

from dataops.monitoring import comparison, panels, sections
from tests.monitoring import sample


def drawn(plot: Any) -> list[GlyphRenderer]:
    return [renderer for renderer in plot.renderers if isinstance(renderer, GlyphRenderer)]


def test_phases_stand_in_order_from_the_top_and_a_failed_one_says_so() -> None:
    plot = panels.phase_panel(sample.failed_figures())
    assert plot.y_range.factors == ["publish", "score"]
    data = drawn(plot)[0].data_source.data
    assert data["text"] == ["7.9 s", "0.02 s failed"]
    assert data["colour"][0] != data["colour"][1]


def test_the_bar_of_a_receipt_is_whole() -> None:
    (reading,) = sections.readings(sample.prepare_figures())
    plot = panels.receipt_panel(reading)
    data = drawn(plot)[0].data_source.data
    assert data["left"][0] == 0
    assert data["left"][1:] == data["right"][:-1]
    assert data["right"][-1] == plot.x_range.end == reading.read
    assert len(set(data["colour"])) == len(data["outcome"]) == 5


def test_candidates_differ_by_more_than_colour_and_do_not_hide_each_other() -> None:
    plot = panels.slice_panel(comparison.slices(sample.train_figures())[0])
    first, second = drawn(plot)
    assert first.glyph.marker != second.glyph.marker
    places = [renderer.data_source.data["place"][0] for renderer in (first, second)]
    assert places[0][0] == places[1][0]
    assert places[0][1] > 0 > places[1][1]


def test_more_rows_make_a_larger_dot() -> None:
    plot = panels.slice_panel(comparison.slices(sample.train_figures())[0])
    data = drawn(plot)[0].data_source.data
    by_rows = [size for _, size in sorted(zip(data["rows"], data["size"], strict=True))]
    assert by_rows == sorted(by_rows)
    assert panels.SMALLEST_DOT <= by_rows[0] < by_rows[-1] == panels.LARGEST_DOT


def test_names_that_shortening_makes_equal_stay_apart() -> None:
    figures = sample.hostile(sample.train_figures(), "n" * 60)
    plot = panels.slice_panel(next(one for one in comparison.slices(figures) if len(one.judged) == 2))
    assert len(set(plot.y_range.factors)) == len(plot.y_range.factors) == 2
    assert len({item.label.value for item in plot.legend[0].items}) == 2


def test_a_numbered_label_that_somebody_chose_is_not_taken_twice() -> None:
    assert list(panels._distinct(["a", "a #2", "a", "a"])) == ["a", "a #2", "a #3", "a #4"]


def test_every_bin_of_the_scores_has_its_number() -> None:
    scores = sections.scores(sample.rescore_figures())
    assert scores is not None
    data = drawn(panels.score_panel(scores))[0].data_source.data
    assert data["rows"] == [rows for _, rows in scores.bins]
    assert data["text"][0] == "103,422"


def test_a_dataset_of_no_rows_can_be_drawn() -> None:
    panels.score_panel(sections.Scores(bins=(("0.00 to 1.00", 0),), rows=0, positive=0))
