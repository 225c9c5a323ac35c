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


def test_a_run_without_receipts_says_what_was_planned_and_guesses_nothing() -> None:
    figures = sample.failed_figures()
    assert [reading.read for reading in sections.readings(figures)] == [None]
    assert [key.label for key in sections.key_figures(figures)] == ["rows planned", "time"]
    assert sections.scores(figures) is None


def test_a_phase_that_a_resumed_run_did_again_is_told_apart() -> None:
    figures = sample.run("prepare", phases=[sample.phase("prepare", 2.0, "failed"), sample.phase("prepare", 3.0)])
    assert [(p.name, p.failed) for p in sections.phases(figures)] == [("prepare", True), ("prepare (attempt 2)", False)]


def test_records_sort_by_name_but_the_jobs_own_input_and_the_holdout_come_first() -> None:
    figures = sample.train_figures()
    assert [given["name"] for given in figures["inputs"]][-1] == "input"
    assert next(reading.name for reading in sections.readings(figures)) == "input"
    table = sections.metrics(figures)
    assert table is not None
    assert [row.dataset for row in table.rows] == ["holdout", "holdout", "census_1995", "census_1995"]


def test_every_metric_that_is_counted_in_buckets_has_its_own_bound() -> None:
    table = sections.metrics(sample.train_figures())
    assert table is not None
    assert [name for name, _ in table.bounds] == ["roc_auc", "average_precision"]
    assert [float(bound) for _, bound in table.bounds] == pytest.approx([3.1e-6, 0.0107], rel=0.1)


def test_only_columns_with_unknown_categories_are_listed_most_rows_first() -> None:
    shown = sections.unknown_categories(sample.rescore_figures())
    assert shown == (("state_of_previous_residence", 1209), ("occupation", 14))
    assert sections.unknown_categories(sample.failed_figures()) == ()


def test_equal_decisions_are_said_once() -> None:
    figures = sample.train_figures()
    assert [len(group.readings) for group in sections.governance(figures)] == [3]
    figures["inputs"][-1]["denied"] = ["race"]
    assert [len(group.readings) for group in sections.governance(figures)] == [1, 2]


def test_the_best_metric_of_a_dataset_follows_the_metrics_own_direction() -> None:
    table = sections.metrics(sample.train_figures())
    assert table is not None
    assert table.names == ("roc_auc", "average_precision", "log_loss", "base_rate")
    best = {(row.dataset, row.candidate): [is_best for _, is_best in row.cells] for row in table.rows}
    assert best == {
        ("holdout", "logistic"): [False] * 4,
        ("holdout", "xgboost"): [True, True, True, False],
        ("census_1995", "logistic"): [False] * 4,
        ("census_1995", "xgboost"): [True, True, True, False],
    }


def test_a_lone_candidate_is_not_called_the_best() -> None:
    figures = sample.train_figures()
    del figures["result"]["versions"][1]
    table = sections.metrics(figures)
    assert table is not None
    assert not table.compared


def test_a_metric_that_the_rows_do_not_define_is_said_to_be_undefined() -> None:
    figures = sample.train_figures()
    del figures["result"]["versions"][0]["metrics"]["holdout"]["overall"]["roc_auc"]
    table = sections.metrics(figures)
    assert table is not None
    assert ("not defined", False) in [cell for row in table.rows for cell in row.cells]


def test_slices_of_one_column_share_an_axis_that_holds_every_dot() -> None:
    shown = sections.slices(sample.train_figures())
    assert [(one.column, one.dataset) for one in shown] == [
        ("age_band", "holdout"),
        ("age_band", "census_1995"),
        ("sex", "holdout"),
        ("sex", "census_1995"),
    ]
    assert shown[0].axis == shown[1].axis
    for one in shown:
        low, high = one.axis
        assert all(low < point.value < high for point in one.points if point.value is not None)


def test_a_slice_that_is_too_small_is_named_but_not_drawn() -> None:
    one = sections.slices(sample.train_figures())[0]
    small = sample.AGES[-1]
    assert small in one.values
    assert small not in one.judged
    assert [point.too_small for point in one.at(small) if point] == ["fewer than 20 rows"] * 2


def test_no_slice_at_all_is_large_enough() -> None:
    figures = sample.train_figures()
    for version in figures["result"]["versions"]:
        for report in version["metrics"].values():
            report["slices"] = {"sex": {"Male": {"rows": 3, "too_small": "fewer than 20 rows"}}}
    assert [one.judged for one in sections.slices(figures)] == [(), ()]


def test_candidates_that_were_never_judged_have_no_table() -> None:
    figures = sample.run("train", result={"model": "income", "versions": []})
    assert sections.metrics(figures) is None
    assert sections.slices(figures) == ()


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
