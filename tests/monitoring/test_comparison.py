from __future__ import annotations

import pytest

from dataops.declarations.metrics import Metric
from dataops.monitoring import comparison, sections
from tests.monitoring import sample


def test_records_sort_by_name_but_the_jobs_own_input_and_the_holdout_come_first() -> None:
    figures = sample.train_figures()
    assert [given["name"] for given in figures["inputs"]][-1] == "input"
    assert next(reading.name for reading in sections.readings(figures)) == "input"
    table = comparison.metrics(figures)
    assert table is not None
    assert [row.dataset for row in table.rows] == ["holdout", "holdout", "census_1995", "census_1995"]


def test_every_metric_that_is_counted_in_buckets_has_its_own_bound() -> None:
    table = comparison.metrics(sample.train_figures())
    assert table is not None
    assert [name for name, _ in table.bounds] == ["roc_auc", "average_precision"]
    assert [float(bound) for _, bound in table.bounds] == pytest.approx([3.1e-6, 0.0107], rel=0.1)


def test_metrics_that_are_taken_at_a_point_say_which() -> None:
    figures = sample.train_figures()
    for version in figures["result"]["versions"]:
        for report in version["metrics"].values():
            report |= {"threshold": 0.3, "overall": {"f1": 0.4, "log_loss": 0.2}}
    table = comparison.metrics(figures)
    assert table is not None
    assert table.points == (("f1", "threshold 0.3"),)


def test_the_best_metric_of_a_dataset_follows_the_metrics_own_direction() -> None:
    table = comparison.metrics(sample.train_figures())
    assert table is not None
    assert table.names == ("roc_auc", "average_precision", "log_loss")
    best = {(row.dataset, row.candidate): [is_best for _, is_best in row.cells] for row in table.rows}
    assert best == {
        ("holdout", "logistic"): [False] * 3,
        ("holdout", "xgboost"): [True] * 3,
        ("census_1995", "logistic"): [False] * 3,
        ("census_1995", "xgboost"): [True] * 3,
    }


def test_a_lone_candidate_is_not_called_the_best() -> None:
    figures = sample.train_figures()
    del figures["result"]["versions"][1]
    table = comparison.metrics(figures)
    assert table is not None
    assert not table.compared


def test_a_metric_that_the_rows_do_not_define_is_said_to_be_undefined() -> None:
    figures = sample.train_figures()
    del figures["result"]["versions"][0]["metrics"]["holdout"]["overall"]["roc_auc"]
    table = comparison.metrics(figures)
    assert table is not None
    assert ("not defined", False) in [cell for row in table.rows for cell in row.cells]


def test_slices_of_one_column_share_an_axis_that_holds_every_dot() -> None:
    shown = comparison.slices(sample.train_figures())
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
    one = comparison.slices(sample.train_figures())[0]
    small = sample.AGES[-1]
    assert small in one.values
    assert small not in one.judged
    assert [point.too_small for point in one.at(small) if point] == ["fewer than 20 rows"] * 2


def test_no_slice_at_all_is_large_enough() -> None:
    figures = sample.train_figures()
    for version in figures["result"]["versions"]:
        for report in version["metrics"].values():
            report["slices"] = {"sex": {"Male": {"rows": 3, "too_small": "fewer than 20 rows"}}}
    assert [one.judged for one in comparison.slices(figures)] == [(), ()]


def test_candidates_that_were_never_judged_have_no_table() -> None:
    figures = sample.run("train", result={"model": "income", "versions": []})
    assert comparison.metrics(figures) is None
    assert comparison.slices(figures) == ()


@pytest.mark.parametrize("metric", Metric)
def test_whatever_metric_a_job_may_ask_for_is_in_the_table(metric: Metric) -> None:
    figures = sample.train_figures()
    for version in figures["result"]["versions"]:
        version["metrics"]["holdout"]["overall"][metric.value] = 0.125
    table = comparison.metrics(figures)
    assert table is not None
    assert metric.value in table.names
    assert [dict(zip(table.names, row.cells, strict=True))[metric.value][0] for row in table.rows[:2]] == ["0.1250"] * 2
