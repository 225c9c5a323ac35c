"""A regression in a rescore: its columns, its bins, and how a challenger orders rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr

from dataops.declarations.metrics import Task
from dataops.declarations.outputs import Output
from dataops.rescoring.outputs import score_columns
from dataops.rescoring.ranks import RankCounts, count_ranks, merge_ranks, rank_figures
from dataops.rescoring.scales import scale_of

EDGES = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
NUMBERS = scale_of(Task.REGRESSION)


def predictions(rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    own = rng.normal(size=rows).astype(np.float32)
    return own, (own + rng.normal(0, 0.5, rows)).astype(np.float32)


def test_rank_correlation_is_spearmans_of_the_cells() -> None:
    own, other = predictions()
    found = rank_figures(count_ranks(own, other, EDGES))
    cells = [np.searchsorted(np.float32(EDGES), one, side="right") for one in (own, other)]
    assert found["rank_correlation"] == pytest.approx(spearmanr(*cells).statistic)
    assert (found["rows"], found["task"]) == (400, "regression")


def test_counts_of_units_add_up_and_go_through_their_record() -> None:
    own, other = predictions()
    whole = count_ranks(own, other, EDGES)
    pieces = [count_ranks(own[rows], other[rows], EDGES) for rows in (slice(150, 400), slice(0, 150))]
    merged = merge_ranks(RankCounts.from_record(piece.record()) for piece in pieces)
    assert merged.joint.tolist() == whole.joint.tolist()
    assert merge_ranks([]).joint.sum() == 0


def test_of_too_few_rows_nothing_is_told() -> None:
    counts = count_ranks(*predictions(9), EDGES)
    assert rank_figures(counts, min_group_size=10) == {
        "task": "regression",
        "rows": None,
        "rank_correlation": None,
        "slices": {},
    }
    assert rank_figures(counts, min_group_size=9)["rows"] == 9


def test_a_prediction_is_the_number_itself() -> None:
    numbers = np.array([-3.5, 0.0, 1e6], np.float32)
    columns = score_columns(
        (Output.PREDICTION, Output.DECILE),
        numbers,
        None,
        model="next",
        threshold=None,
        decile_edges=(-2, -1, 0, 0, 0, 1, 2, 3, 4),
        task=Task.REGRESSION,
    )
    assert columns["prediction_next"].type == pa.float32()
    assert columns["prediction_next"].to_pylist() == numbers.tolist()
    assert columns["decile_next"].to_pylist() == [1, 6, 10]


def test_numbers_that_are_none_arent_valid_and_others_are_counted_by_decile() -> None:
    assert NUMBERS.valid(np.array([-1e30, np.inf, np.nan, 0], np.float32)).tolist() == [True, False, False, True]
    edges = tuple(float(edge) for edge in range(9))
    assert NUMBERS.histogram(np.array([-5, 0, 0.5, 8, 99], np.float32), edges) == [1, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert NUMBERS.histogram(np.array([1, 2], np.float32), None) == [2]


def test_what_comes_where_a_job_says_nothing() -> None:
    assert NUMBERS.outputs(None) == (Output.PREDICTION,)
    assert scale_of(Task.BINARY).outputs(None) == (Output.PROBABILITY, Output.PREDICTION)
    assert NUMBERS.outputs((Output.DECILE,)) == (Output.DECILE,)
