from __future__ import annotations

import pytest

from dataops.monitoring import sections
from tests.monitoring import sample


@pytest.mark.parametrize("make", [sample.prepare_figures, sample.train_figures, sample.rescore_figures])
def test_every_row_that_was_read_is_shown_under_what_became_of_it(make: sample.Make) -> None:
    shown = sections.readings(make())
    assert shown
    for reading in shown:
        assert sum(share.rows for share in reading.shares) == reading.read


def test_rules_are_counted_beside_the_outcomes_since_a_row_may_break_several() -> None:
    (reading,) = sections.readings(sample.prepare_figures())
    assert reading.broken == {"veteran_code_known": 17, "wage_not_negative": 180, "weeks_within_a_year": 41}
    assert reading.rows("dropped", "quarantined") == 229


def test_key_figures_of_rows_add_up() -> None:
    shown = {key.label: key.value for key in sections.key_figures(sample.prepare_figures())}
    assert shown["rows read"] == "144,962"
    assert [shown[label] for label in ("passed", "filtered", "set aside")] == ["95,130", "49,603", "229"]
    assert shown["rows per second"] == "21,822"


def test_rows_that_were_scored_before_are_not_counted_as_speed() -> None:
    figures = sample.prepare_figures()
    all_rows = sections.key_figures(figures)[-1]
    read = sum(reading.read or 0 for reading in sections.readings(figures))
    half = sections.key_figures({**figures, "linked_rows": read // 2})[-1]
    assert (all_rows.label, all_rows.note) == ("rows per second", "")
    assert half.note == f"without {read // 2:,} scored before"
    assert int(half.value.replace(",", "")) == pytest.approx(int(all_rows.value.replace(",", "")) / 2, abs=1)
    assert sections.key_figures({**figures, "linked_rows": read})[-1].label == "time"


def test_a_run_without_receipts_says_what_was_planned_and_guesses_nothing() -> None:
    figures = sample.failed_figures()
    assert [reading.read for reading in sections.readings(figures)] == [None]
    assert [key.label for key in sections.key_figures(figures)] == ["rows planned", "time"]
    assert sections.scores(figures) is None


def test_a_phase_that_a_resumed_run_did_again_is_told_apart() -> None:
    figures = sample.run("prepare", phases=[sample.phase("prepare", 2.0, "failed"), sample.phase("prepare", 3.0)])
    assert [(p.name, p.failed) for p in sections.phases(figures)] == [("prepare", True), ("prepare (attempt 2)", False)]


def test_only_columns_with_unknown_categories_are_listed_most_rows_first() -> None:
    shown = sections.unknown_categories(sample.rescore_figures())
    assert shown == (("state_of_previous_residence", 1209), ("occupation", 14))
    assert sections.unknown_categories(sample.failed_figures()) == ()


def test_equal_decisions_are_said_once() -> None:
    figures = sample.train_figures()
    assert [len(group.readings) for group in sections.governance(figures)] == [3]
    figures["inputs"][-1]["denied"] = ["race"]
    assert [len(group.readings) for group in sections.governance(figures)] == [1, 2]


def test_scores_are_counted_by_bin_and_from_one_half_up() -> None:
    scores = sections.scores(sample.rescore_figures())
    assert scores is not None
    assert scores.bins[0] == ("0.00 to 0.05", 103422)
    assert scores.rows == 149000 == sum(rows for _, rows in scores.bins)
    assert scores.positive == sum(rows for _, rows in scores.bins[10:])


def test_what_can_be_checked_has_its_digest() -> None:
    shown = dict(sections.digests(sample.rescore_figures()))
    assert list(shown) == [
        "code, dataops 0.1.0",
        "policy for census_1995 (input)",
        "effect on census_1995 (input)",
        "receipts of census_1995 (input)",
        "model income@2",
    ]
