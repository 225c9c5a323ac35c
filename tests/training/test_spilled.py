from __future__ import annotations

import gc
import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataops.errors import Storage
from dataops.training import linear_passes
from dataops.training.boosting_ranks import held_out_rows
from dataops.training.boosting_room import WorkerRoom
from dataops.training.groups import row_groups, row_ranks
from dataops.training.logistic import fit_logistic
from dataops.training.parts import map_parts, merge_parts
from dataops.training.spilled import needs_disk, spill_part

GIB = 2**30


def spill_all(parts):
    """The same units, on the workers' disks."""
    futures = tuple(parts.client.submit(spill_part, future, pure=False) for future in parts.futures)
    return replace(parts, futures=futures)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_a_part_comes_back_as_it_went_to_the_disk(make_part, tmp_path, rows, weighted):
    part = make_part(0, rows, weighted=weighted)
    if weighted:
        part = replace(part, groups=row_groups("a file", np.arange(rows)), ranks=row_ranks("a file", np.arange(rows)))
    spilled = spill_part(part, str(tmp_path))
    loaded = spilled.load()
    assert spilled.rows == loaded.rows == rows
    assert np.array_equal(loaded.encoded.values, part.encoded.values)
    assert loaded.encoded.n_numeric == part.encoded.n_numeric
    assert np.array_equal(loaded.target, part.target)
    for name in ("weight", "groups", "ranks"):
        found, expected = getattr(loaded, name), getattr(part, name)
        assert (found is None) == (expected is None)
        assert expected is None or (np.array_equal(found, expected) and found.dtype == expected.dtype)


def test_the_same_rows_are_held_out_of_a_part_on_the_disk(make_part, tmp_path):
    part = make_part(0, 1000)
    part = replace(part, groups=row_groups("a file", np.arange(1000)))
    assert np.array_equal(held_out_rows(spill_part(part, str(tmp_path)).load(), 6), held_out_rows(part, 6))


def test_a_file_goes_with_its_part_and_others_can_t_read_it(make_part, tmp_path):
    spilled = spill_part(make_part(0, 10), str(tmp_path))
    path = Path(spilled.path)
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    del spilled
    gc.collect()
    assert list(tmp_path.rglob("*.part")) == []


def test_a_part_that_travels_takes_its_rows_along(make_part, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    part = make_part(0, 10)
    spilled = spill_part(part, str(tmp_path / "."))
    arrived = pickle.loads(pickle.dumps(spilled))
    assert arrived.path != spilled.path
    del spilled
    gc.collect()
    assert np.array_equal(arrived.load().encoded.values, part.encoded.values)


def test_a_file_that_is_gone_or_cut_is_told_without_its_place(make_part, tmp_path):
    spilled = spill_part(make_part(0, 10), str(tmp_path))
    with Path(spilled.path).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(Storage, match="shorter than it was written"):
        spilled.load()
    Path(spilled.path).unlink()
    with pytest.raises(Storage, match="can't be read from this worker's disk: No such file") as refused:
        spilled.load()
    assert str(tmp_path) not in str(refused.value)


def test_a_disk_that_takes_nothing_leaves_nothing(make_part, tmp_path):
    with pytest.raises(Storage, match="can't be written to this worker's disk"):
        spill_part(make_part(0, 10), str(tmp_path / "nowhere"))
    assert list(tmp_path.iterdir()) == []


def test_functions_over_parts_are_given_them_in_memory(cluster, make_part, place):
    parts = spill_all(place(cluster, [make_part(seed, seed) for seed in range(4)], workers=[0, 1, 1, 0]))
    assert map_parts(parts, lambda part, extra: len(part.encoded.values) + extra, 10) == [10, 11, 12, 13]
    assert merge_parts(parts, lambda part, _: len(part.target), sum) == 6


def test_a_fit_on_disks_is_the_fit_in_memory_to_the_bit_also_when_a_worker_dies(
    mortal_cluster, make_part, place, monkeypatch
):
    units = [make_part(seed, 300, weighted=True) for seed in range(4)]
    expected = fit_logistic(place(mortal_cluster, units), {}).model
    parts = spill_all(place(mortal_cluster, units, workers=[0, 1, 0, 1]))
    pids, calls, map_groups = mortal_cluster.run(os.getpid), [], linear_passes.map_groups

    def kill_at_the_third_pass(*given):
        calls.append(given)
        if len(calls) == 3:
            os.kill(next(iter(pids.values())), signal.SIGKILL)
        return map_groups(*given)

    monkeypatch.setattr(linear_passes, "map_groups", kill_at_the_third_pass)
    found = fit_logistic(parts, {}).model
    assert len(calls) > 3
    assert mortal_cluster.run(os.getpid) != pids
    assert found.to_bytes() == expected.to_bytes()


@pytest.mark.parametrize(
    ("rows", "limit", "on_disk"),
    [(10_000_000, GIB, False), (30_000_000, GIB, True), (30_000_000, 2 * GIB, False), (30_000_000, 0, False)],
)
def test_parts_go_to_disk_where_they_would_take_too_much_of_a_worker(encoder, rows, limit, on_disk):
    workers = [WorkerRoom(limit=limit, used=0)] * 2
    told = needs_disk(workers, [rows // 10] * 10, encoder, weighted=False)
    assert (told is not None) == on_disk
    if on_disk:
        assert "24 bytes each, 343 MB on one worker of 1,024 MB" in told
