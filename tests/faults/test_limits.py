"""A disk that is full and memory that is short: nothing is published that isn't whole, and the run can go on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataops.errors import Storage
from dataops.runs.ledger import State
from tests.faults.driver import start
from tests.faults.dying import FULL, Death, Deed, Moment, Step, mortal, taken
from tests.faults.oracle import UNITS, Undisturbed, only_run, orphans, published, records, require_same
from tests.runs.offline import SCORES, Offline

Unscored = Callable[[], Offline]
MEMORY = "700 MiB"  # a worker takes less than half of it


def test_a_disk_that_is_full_stops_the_run_which_goes_on_when_there_is_room(
    unscored: Unscored, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    town = unscored()
    full = Death(step=Step.PART, nth=9, moment=Moment.HALF, deed=Deed.FILL_DISK)
    with mortal([full], tmp_path):
        with pytest.raises(Storage, match="No space left on device; free space there and run again") as raised:
            town.run()
        assert (tmp_path / FULL).exists()
    run = only_run(town)
    assert any(f"job resume {run}" in note for note in raised.value.__notes__)
    assert published(town) is None
    assert len(records(town, run)) == 8
    assert town.workspace.ledger.state(run).state is State.FAILED
    assert len(list((town.storage / "datasets" / SCORES / "runs" / run / "data").iterdir())) == 8  # no torn one
    town.resume(run)
    manifest = require_same(town, run, undisturbed)
    assert orphans(town, manifest) == []


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """What lies in `folder` lies on a disk of `size` of its own."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=False).returncode:
        aside.replace(folder)
        pytest.skip("nobody may mount a disk here")
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.faults
def test_a_real_disk_that_is_full(unscored: Unscored, undisturbed: Undisturbed) -> None:
    town = unscored()
    with small_disk(town.storage, "600k"):
        driver = start(town.folder, SCORES)
        assert driver.finish() == Storage.exit_code
        subprocess.run(["mount", "-o", "remount,size=100m", town.storage], check=True)
        run = only_run(town)
        assert published(town) is None
        assert 0 < len(records(town, run)) < UNITS
        again = start(town.folder, SCORES, resume=run)
        assert again.finish() == 0
        require_same(town, run, undisturbed)


@pytest.mark.faults
def test_a_worker_beyond_its_memory_is_ended_and_costs_no_row(
    unscored: Unscored, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    town = unscored()
    cluster = town.folder / "cluster" / "small.yaml"
    cluster.parent.mkdir(exist_ok=True)
    cluster.write_text(f"kind: local\nmemory_limit: {MEMORY}\n")
    hungry = [Death(step=Step.SCORE, nth=nth, deed=Deed.FILL_MEMORY) for nth in (3, 5)]
    driver = start(town.folder, SCORES, cluster=str(cluster), deaths=hungry, marks=tmp_path / "marks")
    assert driver.finish() == 0, driver.answer()
    assert taken(tmp_path / "marks") == [0, 1]
    require_same(town, only_run(town), undisturbed)
