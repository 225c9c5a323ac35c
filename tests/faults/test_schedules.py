"""kill -9 of workers, of the driver and of Dask's scheduler, at every step of a rescore and at random moments.

Each schedule follows from its seed and is printed: ``pytest -k "workers and 3"`` does the third one of workers again.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from dataops.engine.connect import Connection
from dataops.engine.spill import spill_folder
from dataops.errors import Compute
from dataops.runs.execute import Outcome
from dataops.runs.ledger import State
from tests.faults.driver import ROOT, Driver, environment, mortal_environment, spill_folders, start, wait_for
from tests.faults.dying import OF_A_RUN, Death, Moment, Step, begun, mortal, of_a_unit, taken
from tests.faults.oracle import UNITS, Undisturbed, only_run, orphans, published, records, require_same
from tests.line.running import Line
from tests.runs.offline import SCORES, Offline

Unscored = Callable[..., Offline]


def say(*words: object) -> None:
    """For whoever has to replay a failure: pytest shows it then."""
    print(*words)  # noqa: T201


def live(town: Offline, run: str, deaths: list[Death], marks: Path, **how: Any) -> Driver:
    """A driver that does or resumes the run, to its end or its death; the processes that it leaves may go on."""
    before = records(town, run) if run else {}
    driver = start(town.folder, SCORES, resume=run, deaths=deaths, marks=marks, **how)
    driver.finish()
    after = records(town, driver.run or run)
    assert {unit: after[unit] for unit in before} == before
    done_before = set(before)
    assert not done_before.intersection(begun(marks)), "a unit that had a record was begun again"
    return driver


def kill_workers(town: Offline, seed: int, folder: Path, undisturbed: Undisturbed, *, kills: int) -> None:
    """One run, whose workers die `kills` times."""
    choice = random.Random(seed)  # noqa: S311
    deaths = [of_a_unit(choice) for _ in range(kills)]
    say("seed", seed, *deaths)
    driver = live(town, "", deaths, folder / "marks")
    run = only_run(town)
    if driver.process.returncode != 0:  # a unit that took several workers with it may end a run
        say("resumed", driver.answer())
        driver = live(town, run, [], folder / "resumed")
        assert driver.process.returncode == 0, driver.answer()
    assert set(taken(folder / "marks")) >= {one for one, death in enumerate(deaths) if death.step is not Step.TIME}
    require_same(town, run, undisturbed)
    driver.wait_for_family()


def kill_drivers(town: Offline, deaths: list[Death], folder: Path, undisturbed: Undisturbed) -> int:
    """How many drivers of one run died, each of one death; another one does what is left."""
    say(*deaths)
    run, drivers = "", []
    for life, death in enumerate(deaths):
        marks = folder / f"marks-{life}"
        driver = live(town, run, [death], marks)
        drivers.append(driver)
        run = only_run(town)
        if not taken(marks):
            assert driver.process.returncode == 0, (death, driver.answer())
            break
        assert driver.process.returncode == -signal.SIGKILL
        if death.step not in (Step.SNAPSHOT, *AFTER_PUBLISHING):
            assert published(town) is None
    died = sum(driver.process.returncode != 0 for driver in drivers)
    if town.workspace.ledger.state(run).state is not State.DONE:
        drivers.append(live(town, run, [], folder / "last"))
        assert drivers[-1].process.returncode == 0, drivers[-1].answer()
    require_same(town, run, undisturbed)
    for driver in drivers:
        driver.wait_for_family()
    return died


AFTER_PUBLISHING = (Step.AUDIT, Step.LINEAGE, Step.EVENT, Step.DONE)


def driver_deaths(seed: int) -> list[Death]:
    """One while each of four units is done, then at four puts of the end of a run, in the order in which they come."""
    choice = random.Random(seed)  # noqa: S311
    scoring = [of_a_unit(choice, "driver", most=3) for _ in range(4)]
    ending = sorted(choice.sample(OF_A_RUN, 4), key=OF_A_RUN.index)
    return scoring + [Death(step=step, moment=moment, nth=_nth(step)) for step, moment in ending]


def _nth(step: Step) -> int:
    """The put of a run's end: intent and START come first, and several events."""
    return {Step.AUDIT: 2, Step.LINEAGE: 2, Step.EVENT: 6}.get(step, 1)


@contextmanager
def dask(folder: Path, deaths: list[Death], marks: Path) -> Iterator[tuple[Connection, subprocess.Popen[bytes]]]:
    """A Dask scheduler and two workers in processes of their own; workers die, or let the scheduler die."""
    program, address = Path(sys.executable).parent / "dask", folder / "scheduler.json"
    environ = environment(folder) | mortal_environment(deaths, marks)
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show"]
    worker = ["worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(folder)]
    started = [
        subprocess.Popen(
            [program, *words, "--no-dashboard", "--scheduler-file", str(address)],
            cwd=ROOT,
            env=environ,
            stderr=subprocess.DEVNULL,
        )
        for words in (scheduler, worker, worker)
    ]
    (marks / "scheduler").write_text(str(started[0].pid))
    try:
        with Client(scheduler_file=str(address), set_as_default=False, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            yield Connection(client=client, dashboard="", workers=2, threads=1), started[0]
    finally:
        for process in started:
            process.kill()
            process.wait()


def kill_schedulers(town: Offline, deaths: list[Death], folder: Path, undisturbed: Undisturbed) -> int:
    """How many Dask schedulers died under one run, which was resumed after each with new ones."""
    say(*deaths)
    died = 0
    for life, death in enumerate(deaths):
        home, marks = folder / f"dask-{life}", folder / f"dask-{life}" / "marks"
        marks.mkdir(parents=True)
        with dask(home, [death], marks) as (connection, scheduler), mortal([death], marks):
            outcome = _go_on(Line(folder=town.folder, connection=connection))
            if taken(marks):
                wait_for(lambda scheduler=scheduler: scheduler.poll() is not None, "the Dask scheduler died")  # type: ignore[misc]
                died += 1
        if outcome is not None:
            break
    else:
        town.resume(only_run(town))
    require_same(town, only_run(town), undisturbed)
    return died


def _go_on(line: Line) -> Outcome | None:
    """What the run came to; None if it lost the cluster, and can be resumed."""
    runs = line.workspace.ledger.ids()
    try:
        return line.resume(runs[0]) if runs else line.run(SCORES, again=True)
    except Compute as error:
        if "Dask scheduler was lost" in str(error) and any("job resume" in note for note in error.__notes__):
            return None
        raise


def sure(deaths: list[Death]) -> int:
    """How many of `deaths` happen on any machine: on a fast one a run may be over before its time has come."""
    return sum(death.step is not Step.TIME for death in deaths)


@pytest.mark.faults
@pytest.mark.timeout(1200)
class TestKills:
    """Twelve times four workers, six times eight drivers, six times four Dask schedulers."""

    @pytest.mark.parametrize("seed", range(12))
    def test_of_workers(self, unscored: Unscored, tmp_path: Path, undisturbed: Undisturbed, seed: int) -> None:
        kill_workers(unscored(), seed, tmp_path, undisturbed, kills=4)

    @pytest.mark.parametrize("seed", range(6))
    def test_of_drivers(self, unscored: Unscored, tmp_path: Path, undisturbed: Undisturbed, seed: int) -> None:
        say("seed", seed)
        deaths = driver_deaths(seed)
        assert kill_drivers(unscored(), deaths, tmp_path, undisturbed) >= sure(deaths)

    @pytest.mark.parametrize("seed", range(6))
    def test_of_the_dask_scheduler(
        self, unscored: Unscored, tmp_path: Path, undisturbed: Undisturbed, seed: int
    ) -> None:
        choice = random.Random(seed)  # noqa: S311
        say("seed", seed)
        deaths = [of_a_unit(choice, "scheduler", most=2) for _ in range(3)]
        end = choice.choice([Step.MANIFEST, Step.SNAPSHOT])
        deaths.append(Death(step=end, moment=choice.choice(list(Moment)), victim="scheduler"))
        assert kill_schedulers(unscored(), deaths, tmp_path, undisturbed) >= sure(deaths)


@pytest.mark.faults
def test_a_worker_and_then_drivers_die_and_the_run_is_resumed(
    unscored: Unscored, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    """One of each, with what they leave: a torn part, a record without a name, a manifest that no snapshot names."""
    town = unscored()
    torn = Death(step=Step.PART, moment=Moment.HALF, nth=2)
    nameless = Death(step=Step.RECORD, moment=Moment.HALF, nth=4, victim="driver")
    driver = live(town, "", [torn, nameless], tmp_path / "first")
    run = only_run(town)
    assert taken(tmp_path / "first") == [0, 1]
    assert driver.process.returncode == -signal.SIGKILL
    assert 0 < len(records(town, run)) < UNITS
    assert published(town) is None
    assert town.workspace.ledger.state(run).state is State.RUNNING
    second = live(town, run, [Death(step=Step.SNAPSHOT, moment=Moment.BEFORE)], tmp_path / "second", workers=1)
    assert second.process.returncode == -signal.SIGKILL
    assert len(records(town, run)) == UNITS
    assert published(town) is None
    assert town.resume(run).state.run.id == run
    manifest = require_same(town, run, undisturbed)
    assert orphans(town, manifest)
    for one in (driver, second):
        one.wait_for_family()
    with spill_folder(str(town.folder / "tmp")):  # the next one wipes what the dead left
        assert len(spill_folders(town.folder)) == 1
