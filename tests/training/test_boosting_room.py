from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from dataops.errors import Compute
from dataops.training import boosting_room
from dataops.training.boosting import XGBOOST, BoostingTrainer, fit_xgboost
from dataops.training.boosting_room import PROCESS_BYTES, NeedsRoom, Table, WorkerRoom, need_of, require_fits
from dataops.training.lightgbm import LIBRARY, LightGbmTrainer

GIB = 2**30
EIGHT = Table(columns=8, bins=256, weighted=False, held_out=False)
FLIGHTS = [1_000_000] * 30


def need(rows=FLIGHTS, workers=5, table=EIGHT, library=XGBOOST, shared=False, copied=False):
    return need_of(rows, workers, table, library.room(table), process=0, shared=shared, copied=copied)


@pytest.mark.parametrize("library", [XGBOOST, LIBRARY], ids=["xgboost", "lightgbm"])
def test_eight_features_take_80_bytes_a_row_at_most_all_told(library):
    assert 40 < need(library=library).row_bytes <= 80


@pytest.mark.parametrize(
    "more",
    [{"columns": 9}, {"bins": 1024}, {"weighted": True}, {"held_out": True}],
    ids=lambda more: next(iter(more)),
)
@pytest.mark.parametrize("library", [XGBOOST, LIBRARY], ids=["xgboost", "lightgbm"])
def test_more_to_keep_never_needs_less(library, more):
    assert need(table=replace(EIGHT, **more), library=library).bytes >= need(library=library).bytes


def test_parts_that_others_need_are_counted_as_well():
    assert need(shared=True).row_bytes == need().row_bytes + EIGHT.encoded


def test_the_second_copy_of_rows_that_a_calibration_takes_is_counted():
    assert need(shared=True, copied=True).row_bytes == need(shared=True).row_bytes + EIGHT.encoded


def test_the_worker_with_the_most_rows_counts():
    assert need(rows=[10, 10, 500], workers=2).most_rows == 500
    assert need(rows=[100] * 4, workers=4).most_rows == 100
    assert need(rows=[7], workers=4).most_rows == 7


def test_thirty_million_flights_fit_five_workers_of_a_gibibyte_and_not_two():
    five, two = ([WorkerRoom(limit=GIB, used=0)] * count for count in (5, 2))
    require_fits("xgboost", need(workers=5), EIGHT, five, 0.8)
    with pytest.raises(Compute) as refused:
        require_fits("xgboost", need(workers=2), EIGHT, two, 0.8)
    message = str(refused.value)
    assert "xgboost needs 69 bytes a row for 8 columns: 1,383 MB on the worker with the most" in message
    assert "30,000,000 rows (15,000,000)" in message
    assert "The smallest of 2 workers has 1,074 MB, of which 80% may be used" in message
    assert "give each worker 1,729 MB (`memory_limit` of the cluster file)" in message
    enough = int(re.search("take ([0-9]+) workers", message)[1])
    require_fits("xgboost", need(workers=enough), EIGHT, [WorkerRoom(limit=GIB, used=0)] * enough, 0.8)
    assert enough == 5


def test_no_number_of_workers_is_named_where_none_would_do():
    with pytest.raises(Compute) as refused:
        require_fits("xgboost", need(), EIGHT, [WorkerRoom(limit=PROCESS_BYTES, used=0)] * 5, 0.8)
    assert "workers of this size" not in str(refused.value)


def test_wide_bins_are_named_where_they_are_why():
    table = replace(EIGHT, bins=1024)
    with pytest.raises(Compute, match="lower `max_bin` to 256"):
        require_fits("xgboost", need(workers=1, table=table), table, [WorkerRoom(limit=GIB, used=0)], 0.8)


def test_workers_without_a_limit_are_asked_nothing():
    require_fits("xgboost", need(workers=1), EIGHT, [WorkerRoom(limit=0, used=0)], 0.8)


@pytest.mark.parametrize("trainer", [BoostingTrainer(), LightGbmTrainer()], ids=["xgboost", "lightgbm"])
def test_both_trainers_say_what_they_need_before_a_row_is_read(cluster, encoder, trainer):
    assert isinstance(trainer, NeedsRoom)
    asked = {"weighted": False, "shared": False}
    said = trainer.require_room(cluster, [1000, 1000], encoder, {}, **asked)
    assert "bytes a row for 5 columns" in said
    assert "2,000 rows (1,000)" in said
    with pytest.raises(Compute, match="so it doesn't fit, and nothing was started"):
        trainer.require_room(cluster, [10**10, 10**10], encoder, {}, **asked)
    once, twice = (
        float(
            re.search("([0-9.]+) bytes a row", trainer.require_room(cluster, [1000], encoder, {}, **asked, **more))[1]
        )
        for more in ({}, {"copied": True})
    )
    assert twice == once + 4 * (5 + 1)


def test_a_fit_that_cannot_fit_starts_no_rank(cluster, make_part, place, monkeypatch):
    asked = []
    monkeypatch.setattr(boosting_room, "PROCESS_BYTES", math.inf)
    monkeypatch.setattr(boosting_room, "in_use", lambda _: {})
    monkeypatch.setattr(cluster, "run", lambda *given, **named: asked.append((given, named)))
    with pytest.raises(Compute, match="nothing was started"):
        fit_xgboost(place(cluster, [make_part(0, 100)]), {}, 0)
    assert asked == []
