"""What peers of boosting, summary and encoder computed is looked at before their seconds count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.benchmarks.scripts import loaded

summaries, boosting_turn = loaded("summaries"), loaded("boosting_turn")
CATEGORIES = {"origin": ["ABE", "ORD"], "destination": ["ABE", "LAX", "ORD"]}
DATES = np.array(["2001-01-01T06:05", "2001-02-07T23:59", "2001-12-31T00:00", "2001-02-04T12:00"], "datetime64[us]")
COPIES = 3


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    path = Path(tmp_path_factory.mktemp("flights")) / "flights.parquet"
    texts = {"origin": ["ORD", "ABE", "ORD", "ORD"], "destination": ["LAX", "ORD", "LAX", "ABE"]}
    flights = {"date": DATES, "delay": [1, 2, 3, 4], "distance": [100, 200, 400, 300]}
    pq.write_table(pa.table(flights | texts), path)
    found: np.ndarray = summaries.learnt_rows(path, CATEGORIES)
    return found


def scaled_of(rows: np.ndarray) -> dict[str, Any]:
    numbers = rows[:, :6]
    return {"means": list(numbers.mean(axis=0)), "scales": list(numbers.std(axis=0)), "categories": CATEGORIES}


def encoded_of(values: np.ndarray, copies: int = COPIES) -> dict[str, Any]:
    means = {"means": list(values.mean(axis=0)), "squares": list(np.square(values).mean(axis=0))}
    return {"rows": copies * len(values), **means}


def scaled_rows(rows: np.ndarray) -> np.ndarray:
    scaled = scaled_of(rows)
    return np.column_stack([(rows[:, :6] - scaled["means"]) / scaled["scales"], rows[:, 6:]])


def test_features_are_the_parts_of_dates_and_the_places_of_texts(rows: np.ndarray) -> None:
    assert rows.tolist() == [
        [100, 1, 1, 1, 6, 5, 1, 1],
        [200, 2, 7, 3, 23, 59, 0, 2],
        [400, 12, 31, 1, 0, 0, 1, 1],
        [300, 2, 4, 7, 12, 0, 1, 0],
    ]


def test_a_summary_that_is_ours_passes(rows: np.ndarray) -> None:
    summaries.check_summary("peer", scaled_of(rows), scaled_of(rows))


@pytest.mark.parametrize("what", ["means", "scales"])
def test_a_summary_a_hundred_thousandth_off_is_refused(rows: np.ndarray, what: str) -> None:
    theirs = scaled_of(rows)
    theirs[what] = [*theirs[what][:-1], theirs[what][-1] * 1.00001]
    with pytest.raises(AssertionError, match=f"peer's {what} are 1.0e-05 apart"):
        summaries.check_summary("peer", theirs, scaled_of(rows))


def test_a_category_that_is_missing_or_elsewhere_is_refused(rows: np.ndarray) -> None:
    for origins in (["ORD"], ["ORD", "ABE"]):
        theirs = scaled_of(rows) | {"categories": CATEGORIES | {"origin": origins}}
        with pytest.raises(AssertionError, match="categories aren't ours"):
            summaries.check_summary("peer", theirs, scaled_of(rows))


def test_a_median_with_more_than_half_of_the_rows_on_one_side_is_refused() -> None:
    column = np.arange(1000.0)[:, None]
    for median in (499.0, 499.5, 500.0):
        summaries.check_medians("peer", [median], column)
    for median in (498.0, 501.0, float("nan")):
        with pytest.raises(AssertionError, match="median 1"):
            summaries.check_medians("peer", [median], column)


def test_encoded_rows_that_are_those_learnt_from_pass(rows: np.ndarray) -> None:
    told = encoded_of(scaled_rows(rows))
    summaries.check_encoded("peer", told, scaled_of(rows), rows, COPIES)


def test_encoded_rows_that_are_fewer_are_refused(rows: np.ndarray) -> None:
    told = encoded_of(scaled_rows(rows), COPIES - 1)
    with pytest.raises(AssertionError, match="peer encoded 8 rows, not 12"):
        summaries.check_encoded("peer", told, scaled_of(rows), rows, COPIES)


@pytest.mark.parametrize("column", range(8))
def test_a_column_of_other_values_is_refused(rows: np.ndarray, column: int) -> None:
    wrong = scaled_rows(rows)
    wrong[:, column] = wrong[0, column]
    with pytest.raises(AssertionError, match=f"encoded column {column + 1}"):
        summaries.check_encoded("peer", encoded_of(wrong), scaled_of(rows), rows, COPIES)


def test_numbers_that_were_only_shifted_are_refused_by_their_squares(rows: np.ndarray) -> None:
    shifted = np.column_stack([rows[:, :6] - scaled_of(rows)["means"], rows[:, 6:]])
    with pytest.raises(AssertionError, match="squares of peer's encoded column 1"):
        summaries.check_encoded("peer", encoded_of(shifted), scaled_of(rows), rows, COPIES)


def test_boosters_that_judged_other_rows_or_differ_are_refused() -> None:
    ours = {"rows": 600, "roc_auc": 0.7}
    boosting_turn.check_judged({"dataops": ours, "peer": ours | {"roc_auc": 0.702}})
    with pytest.raises(AssertionError, match="rows that were judged differ"):
        boosting_turn.check_judged({"dataops": ours, "peer": ours | {"rows": 599}})
    with pytest.raises(AssertionError, match="AUCs"):
        boosting_turn.check_judged({"dataops": ours, "peer": ours | {"roc_auc": 0.704}})
    with pytest.raises(AssertionError, match="AUCs"):  # each is close to us, and they aren't to each other
        boosting_turn.check_judged({"dataops": ours} | {str(auc): ours | {"roc_auc": auc} for auc in (0.698, 0.702)})


def test_peers_of_an_environment_that_cannot_be_built_are_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: object) -> Path:
        raise boosting_turn.CannotBuild("no index")

    monkeypatch.setattr(boosting_turn, "build", refuse)
    assert boosting_turn.find_spark() == (None, {"spark": "no index"})
    assert "left out: no index" in capsys.readouterr().out
