"""kill -9 of the driver and of workers: the run goes on with what is missing, and comes to the same; a resume that
isn't of the same data, rules and versions is refused.
"""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from distributed import Client

from dataops.datasets.snapshot import Snapshot, read_snapshot
from dataops.engine.connect import Connection
from dataops.errors import AccessDenied, Conflict, DataopsError, Integrity
from dataops.governance.keys import SECRET_BYTES, create_key
from dataops.records import now_utc
from dataops.runs.ledger import State
from dataops.runs.promotion import promote_version
from tests.faults.driver import Driver, start
from tests.faults.dying import Death, Deed, Died, Moment, Step, begun, mortal, taken
from tests.faults.oracle import UNITS, Undisturbed, only_run, published, records
from tests.line.people import make_people
from tests.line.running import Line
from tests.runs.offline import Offline

PREPARE, RESCORE = "people_ready", "people_scores"

Copied = Callable[[Line], Line]


@pytest.fixture(scope="module")
def whole(undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory, cluster: Client) -> Line:
    """Everything prepared and scored once, without a fault."""
    folder = tmp_path_factory.mktemp("whole") / "people"
    shutil.copytree(undisturbed.whole, folder)
    line = Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))
    line.run(PREPARE)
    return line


@pytest.fixture
def copied(whole: Line, tmp_path: Path) -> Copied:
    """Makes a copy of a line, to go on with."""

    def copy(line: Line) -> Line:
        folder = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(line.folder, folder)
        return Line(folder=folder, connection=whole.connection)

    return copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """A run whose driver was killed, with the unit records it left behind."""

    line: Line
    job: str
    driver: Driver
    records: dict[str, bytes]
    parts: set[str]

    @property
    def run(self) -> str:
        assert self.driver.run is not None
        return self.driver.run


def kill_driver(line: Line, job: str, *, after: int, resume: str = "") -> Killed:
    """A run of `job` whose driver was killed when one of its workers had put `after` records."""
    marks = line.folder / f"marks-{after}"
    deaths = [Death(step=Step.RECORD, nth=after, victim="driver")]
    driver = start(line.folder, job, resume=resume, deaths=deaths, marks=marks)
    assert driver.finish() == -signal.SIGKILL
    driver.wait_for_family()
    return Killed(line=line, job=job, driver=driver, records=driver.records(), parts=driver.parts())


def newest(line: Line, dataset: str) -> Snapshot:
    snapshot = read_snapshot(line.workspace.store, dataset)
    assert snapshot is not None
    return snapshot


def run_of(line: Line, dataset: str) -> str:
    """The run whose rows readers of `dataset` see."""
    (manifest,) = newest(line, dataset).manifests
    return manifest.run


def require_invisible(killed: Killed, whole: Line) -> None:
    """The run was killed in the middle: some units are done, none of them can be seen."""
    assert 0 < len(killed.records) < UNITS
    assert run_of(killed.line, killed.job) == run_of(whole, killed.job)
    assert killed.line.workspace.ledger.state(killed.run).state is State.RUNNING


def require_finished(killed: Killed, whole: Line) -> None:
    """The run is published, did only what was missing, and made what a run without a fault makes."""
    line, dataset = killed.line, killed.job
    assert run_of(line, dataset) == killed.run
    assert line.rows(dataset) == whole.rows(dataset)
    assert line.parts(dataset, killed.run) == whole.parts(dataset, run_of(whole, dataset))
    records, parts = killed.driver.records(), killed.driver.parts()
    assert len(records) == UNITS
    assert {unit: records[unit] for unit in killed.records} == killed.records
    assert not {name for name in parts - killed.parts if _unit_of(name) in killed.records}
    assert len(parts - killed.parts) == UNITS - len(killed.records)
    counts = line.workspace.ledger.state(killed.run).result["reads"]["input"]["counts"]
    first = whole.workspace.ledger.state(run_of(whole, dataset)).result["reads"]["input"]["counts"]
    assert counts == first


def _unit_of(part: str) -> str:
    found = re.fullmatch(r"part-(u\d+)-[0-9a-f]+\.parquet", part)
    assert found is not None
    return found.group(1)


class TestADriverThatIsKilled:
    def test_while_preparing_is_resumed_and_only_what_is_missing_is_done(self, whole: Line, copied: Copied) -> None:
        killed = kill_driver(copied(whole), PREPARE, after=4)
        require_invisible(killed, whole)
        killed.line.resume(killed.run)
        require_finished(killed, whole)

    def test_before_its_first_unit_has_a_run_that_can_be_resumed(
        self, undisturbed: Undisturbed, unscored: Callable[[], Offline], tmp_path: Path
    ) -> None:
        town = unscored()
        before_its_intent = Death(step=Step.AUDIT, moment=Moment.BEFORE)
        driver = start(town.folder, RESCORE, deaths=[before_its_intent], marks=tmp_path / "marks")
        assert driver.finish() == -signal.SIGKILL
        assert published(town) is None
        assert town.resume(only_run(town)).state.state is State.DONE
        assert town.line.parts(RESCORE, only_run(town)) == undisturbed.parts


@pytest.fixture(scope="module")
def stopped(undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """One rescoring that ended in the middle, to try to resume under changed circumstances."""
    home = tmp_path_factory.mktemp("stopped")
    town = Offline(folder=home / "people")
    shutil.copytree(undisturbed.folder, town.folder)
    with mortal([Death(step=Step.RECORD, nth=5, deed=Deed.RAISE)], home), pytest.raises(Died):
        town.run()
    assert len(records(town, only_run(town))) == 5
    return town


@pytest.fixture
def town(stopped: Offline, tmp_path: Path) -> Offline:
    """A copy of it."""
    shutil.copytree(stopped.folder, tmp_path / "people")
    return Offline(folder=tmp_path / "people")


class TestAResume:
    """It goes on with what the run began with, or not at all."""

    def refused(self, town: Offline, family: type[DataopsError]) -> None:
        run = only_run(town)
        before = records(town, run)
        with pytest.raises(family, match="start a new run"):
            town.resume(run)
        assert published(town) is None
        home = town.storage / "datasets" / RESCORE / "runs" / run
        assert not (home / "manifest.json").exists()
        assert records(town, run) == before

    def test_is_refused_when_a_file_changed(self, town: Offline) -> None:
        changed = make_people(np.random.default_rng(9), 0, 100, "other")
        pq.write_table(changed, town.folder / "data" / "people_new" / "part-003.parquet")
        self.refused(town, Integrity)

    def test_is_refused_when_a_file_was_added(self, town: Offline) -> None:
        data = town.folder / "data" / "people_new"
        shutil.copyfile(data / "part-000.parquet", data / "part-999.parquet")
        self.refused(town, Integrity)

    @pytest.mark.parametrize(
        ("file", "before", "after"),
        [
            ("policies/people.yaml", "{domain: person}", "{domain: people}"),
            ("policies/people.yaml", "age >= 18", "age >= 21"),
            ("contracts/people.yaml", "maximum: 120", "maximum: 200"),
        ],
        ids=["mask", "filter", "contract"],
    )
    def test_is_refused_when_the_rules_changed(self, town: Offline, file: str, before: str, after: str) -> None:
        town.change(file, before, after)
        self.refused(town, AccessDenied)

    def test_is_refused_when_the_key_changed(self, town: Offline) -> None:
        create_key(town.folder / "keys", at=now_utc(), secret=b"k" * SECRET_BYTES)
        self.refused(town, AccessDenied)

    def test_goes_on_with_the_version_it_began_with(self, town: Offline, undisturbed: Undisturbed) -> None:
        promote_version(town.workspace, "wealth", 2, reason="in between")
        outcome = town.resume(only_run(town))
        assert outcome.state.result["model"]["version"] == 1
        assert town.rows() == undisturbed.rows

    def test_publishes_once(self, town: Offline) -> None:
        first = town.resume(only_run(town))
        made = read_snapshot(town.workspace.store, RESCORE)
        with pytest.raises(Conflict):
            town.resume(only_run(town))
        assert read_snapshot(town.workspace.store, RESCORE) == made
        assert made is not None
        assert first.state.result["snapshot"] == made.number


@pytest.mark.faults
@pytest.mark.timeout(600)
class TestPreparing:
    """The same at many moments of a job that writes rows; for those of a rescore see `test_schedules`."""

    @pytest.mark.parametrize("after", [1, 2, 6, 12, 20])
    def test_whose_driver_is_killed(self, whole: Line, copied: Copied, after: int) -> None:
        killed = kill_driver(copied(whole), PREPARE, after=after)
        require_invisible(killed, whole)
        killed.line.resume(killed.run)
        require_finished(killed, whole)

    def test_whose_drivers_are_killed_one_after_the_other(self, whole: Line, copied: Copied) -> None:
        """Every resume is killed too, until one isn't."""
        line = copied(whole)
        killed = kill_driver(line, PREPARE, after=2)
        for more in (3, 4, 5):
            again = kill_driver(line, PREPARE, after=more, resume=killed.run)
            assert killed.records.items() <= again.records.items()
            assert not set(killed.records).intersection(begun(line.folder / f"marks-{more}"))
            killed = again
        line.resume(killed.run)
        require_finished(killed, whole)

    @pytest.mark.parametrize("nth", [1, 3, 7])
    def test_whose_workers_are_killed(self, whole: Line, copied: Copied, nth: int) -> None:
        line = copied(whole)
        deaths = [Death(step=step, moment=Moment.HALF, nth=nth) for step in (Step.PART, Step.RECORD)]
        driver = start(line.folder, PREPARE, deaths=deaths, marks=line.folder / "marks")
        assert driver.finish() == 0
        assert taken(line.folder / "marks") == [0, 1]
        assert run_of(line, PREPARE) == driver.run
        assert line.rows(PREPARE) == whole.rows(PREPARE)


@pytest.mark.faults
def test_all_workers_killed_at_once_cost_no_row(
    unscored: Callable[[], Offline], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    town = unscored()
    driver = start(town.folder, RESCORE, marks=tmp_path / "marks")
    driver.wait_for_records(5)
    victims = driver.workers()
    assert len(victims) == 2
    for victim in victims:
        victim.kill()
    assert driver.finish() == 0
    assert town.rows() == undisturbed.rows
