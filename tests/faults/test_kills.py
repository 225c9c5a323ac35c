"""kill -9 of the driver and of workers: the run goes on with what is missing, and comes to the same scores."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dataops.cli.main import main
from dataops.datasets.snapshot import Snapshot, read_snapshot
from dataops.errors import AccessDenied, Conflict, DataopsError, Integrity
from dataops.governance.keys import SECRET_BYTES, create_key
from dataops.records import now_utc
from dataops.runs.ledger import State
from dataops.runs.promotion import promote_version
from tests.faults.conftest import FILES
from tests.faults.driver import COMMAND, Driver, command, environment, spill_folders, start, wait_for
from tests.line.people import make_people
from tests.line.running import Line

PREPARE, RESCORE = "people_ready", "people_scores"

Copied = Callable[[Line], Line]


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


def kill_driver(line: Line, job: str, *, after: int) -> Killed:
    """A run of `job` whose driver was killed when `after` of its units had a record."""
    driver = start(line.folder, job)
    driver.wait_for_records(after)
    driver.kill()
    return Killed(line=line, job=job, driver=driver, records=driver.records(), parts=driver.parts())


def newest(line: Line, dataset: str) -> Snapshot:
    snapshot = read_snapshot(line.workspace.store, dataset)
    assert snapshot is not None
    return snapshot


def only_run(line: Line, dataset: str) -> str:
    (manifest,) = newest(line, dataset).manifests
    return manifest.run


def require_invisible(killed: Killed, whole: Line) -> None:
    """The run was killed in the middle: some units are done, none of them can be seen."""
    assert 5 <= len(killed.records) < FILES
    assert only_run(killed.line, killed.job) == only_run(whole, killed.job)
    assert killed.line.workspace.ledger.state(killed.run).state is State.RUNNING


def require_finished(killed: Killed, whole: Line) -> None:
    """The run is published, did only what was missing, and made what a run without a fault makes."""
    line, dataset = killed.line, killed.job
    assert only_run(line, dataset) == killed.run
    assert line.rows(dataset) == whole.rows(dataset)
    assert line.parts(dataset, killed.run) == whole.parts(dataset, only_run(whole, dataset))
    records, parts = killed.driver.records(), killed.driver.parts()
    assert len(records) == FILES
    assert {unit: records[unit] for unit in killed.records} == killed.records
    assert not {name for name in parts - killed.parts if _unit_of(name) in killed.records}
    assert len(parts - killed.parts) == FILES - len(killed.records)
    counts = line.workspace.ledger.state(killed.run).result["reads"]["input"]["counts"]
    first = whole.workspace.ledger.state(only_run(whole, dataset)).result["reads"]["input"]["counts"]
    assert counts == first


def _unit_of(part: str) -> str:
    found = re.fullmatch(r"part-(u\d+)-[0-9a-f]+\.parquet", part)
    assert found is not None
    return found.group(1)


class TestADriverThatIsKilled:
    def test_is_resumed_and_only_what_is_missing_is_done(self, whole: Line, copied: Copied) -> None:
        killed = kill_driver(copied(whole), RESCORE, after=5)
        require_invisible(killed, whole)
        resumed = command(killed.line.folder, "job", "resume", killed.run, "--workers", "1", "--json")
        assert resumed.returncode == 0, resumed.stderr
        assert json.loads(resumed.stdout)["state"] == "done"
        require_finished(killed, whole)
        assert spill_folders(killed.line.folder) == []
        for verb in (["dataset", "verify", RESCORE], ["audit", "verify"]):
            verified = CliRunner().invoke(main, [*verb, "-w", str(killed.line.folder)])
            assert verified.exit_code == 0, verified.output
        again = CliRunner().invoke(main, ["job", "resume", killed.run, "-w", str(killed.line.folder)])
        assert again.exit_code == Conflict.exit_code
        assert "is done" in again.output

    def test_is_resumed_while_preparing_too(self, whole: Line, copied: Copied) -> None:
        killed = kill_driver(copied(whole), PREPARE, after=5)
        require_invisible(killed, whole)
        killed.line.resume(killed.run)
        require_finished(killed, whole)

    def test_before_its_first_unit(self, whole: Line, copied: Copied) -> None:
        line = copied(whole)
        known = set(line.workspace.ledger.ids())
        driver = start(line.folder, RESCORE)
        wait_for(lambda: bool(set(line.workspace.ledger.ids()) - known), "the run has a record")
        driver.kill()
        (run,) = set(line.workspace.ledger.ids()) - known
        assert line.resume(run).state.state is State.DONE
        assert only_run(line, RESCORE) == run
        assert line.rows(RESCORE) == whole.rows(RESCORE)


@pytest.fixture(scope="module")
def stopped(whole: Line, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """One rescoring that was killed in the middle, to try to resume under changed circumstances."""
    folder = tmp_path_factory.mktemp("stopped") / "people"
    shutil.copytree(whole.folder, folder)
    return kill_driver(Line(folder=folder, connection=whole.connection), RESCORE, after=5)


class TestAResume:
    """It goes on with what the run began with, or not at all."""

    def refused(self, line: Line, killed: Killed, family: type[DataopsError]) -> None:
        published = newest(line, RESCORE)
        with pytest.raises(family, match="start a new run"):
            line.resume(killed.run)
        assert newest(line, RESCORE) == published
        home = line.storage / "datasets" / RESCORE / "runs" / killed.run
        assert not (home / "manifest.json").exists()
        assert {path.stem for path in (home / "units").iterdir()} == set(killed.records)

    def test_is_refused_when_a_file_changed(self, stopped: Killed, copied: Copied) -> None:
        line = copied(stopped.line)
        changed = make_people(np.random.default_rng(9), 0, 100, "other")
        pq.write_table(changed, line.folder / "data" / "people_new" / "part-003.parquet")
        self.refused(line, stopped, Integrity)

    def test_is_refused_when_a_file_was_added(self, stopped: Killed, copied: Copied) -> None:
        line = copied(stopped.line)
        data = line.folder / "data" / "people_new"
        shutil.copyfile(data / "part-000.parquet", data / "part-999.parquet")
        self.refused(line, stopped, Integrity)

    @pytest.mark.parametrize(
        ("file", "before", "after"),
        [
            ("policies/people.yaml", "{domain: person}", "{domain: people}"),
            ("policies/people.yaml", "age >= 18", "age >= 21"),
            ("contracts/people.yaml", "maximum: 120", "maximum: 200"),
        ],
        ids=["mask", "filter", "contract"],
    )
    def test_is_refused_when_the_rules_changed(
        self, stopped: Killed, copied: Copied, file: str, before: str, after: str
    ) -> None:
        line = copied(stopped.line)
        path = line.folder / file
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after))
        self.refused(line, stopped, AccessDenied)

    def test_is_refused_when_the_key_changed(self, stopped: Killed, copied: Copied) -> None:
        line = copied(stopped.line)
        create_key(line.folder / "keys", at=now_utc(), secret=b"k" * SECRET_BYTES)
        self.refused(line, stopped, AccessDenied)

    def test_goes_on_with_the_version_it_began_with(self, stopped: Killed, copied: Copied, whole: Line) -> None:
        line = copied(stopped.line)
        promote_version(line.workspace, "wealth", 2, reason="in between")
        outcome = line.resume(stopped.run)
        assert outcome.state.result["model"]["version"] == 1
        assert line.rows(RESCORE) == whole.rows(RESCORE)

    def test_publishes_once(self, stopped: Killed, copied: Copied) -> None:
        line = copied(stopped.line)
        first = line.resume(stopped.run)
        published = newest(line, RESCORE)
        with pytest.raises(Conflict):
            line.resume(stopped.run)
        assert newest(line, RESCORE) == published
        assert first.state.result["snapshot"] == published.number


class TestAWorkerThatIsKilled:
    @pytest.mark.parametrize("job", [RESCORE, pytest.param(PREPARE, marks=pytest.mark.faults)])
    def test_costs_no_row(self, whole: Line, copied: Copied, job: str) -> None:
        line = copied(whole)
        driver = start(line.folder, job)
        driver.wait_for_records(5)
        victims = driver.workers()
        assert len(victims) == 2
        records = driver.records()
        victims[0].kill()
        assert driver.finish() == 0
        assert len(records) < FILES
        assert only_run(line, job) == driver.run
        assert line.rows(job) == whole.rows(job)
        assert {unit: driver.records()[unit] for unit in records} == records


def resume_process(folder: Path, run: str) -> subprocess.Popen[bytes]:
    """A driver that resumes `run`."""
    arguments = ("job", "resume", run, "--workers", "2", "--quiet")
    return subprocess.Popen(
        [*COMMAND, *arguments, "-w", str(folder)],
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.faults
class TestManyKills:
    """The same at many moments."""

    @pytest.mark.parametrize("job", [RESCORE, PREPARE])
    @pytest.mark.parametrize("after", [1, 2, 9, 18, 25, 33, 40])
    def test_of_the_driver(self, whole: Line, copied: Copied, job: str, after: int) -> None:
        killed = kill_driver(copied(whole), job, after=after)
        state = killed.line.workspace.ledger.state(killed.run).state
        if state is State.RUNNING:
            killed.line.resume(killed.run)
        require_finished(killed, whole)

    @pytest.mark.parametrize("job", [RESCORE, PREPARE])
    def test_of_one_driver_after_the_other(self, whole: Line, copied: Copied, job: str) -> None:
        """Every resume is killed too, until so little is left that one gets through."""
        line = copied(whole)
        killed = kill_driver(line, job, after=3)
        for more in (8, 16, 24):
            driver = Driver(
                process=resume_process(line.folder, killed.run), runs=killed.driver.runs, earlier=killed.driver.earlier
            )
            driver.wait_for_records(more)
            driver.kill()
            assert {unit: driver.records()[unit] for unit in killed.records} == killed.records
            killed = Killed(line=line, job=job, driver=driver, records=driver.records(), parts=driver.parts())
        line.resume(killed.run)
        require_finished(killed, whole)
        assert spill_folders(line.folder)[1:] == []

    @pytest.mark.parametrize("seed", range(4))
    def test_of_workers_again_and_again(self, whole: Line, copied: Copied, seed: int) -> None:
        """A worker dies three times; a unit that took several workers with it may end the run: it is resumed."""
        line = copied(whole)
        choice = random.Random(seed)  # noqa: S311
        driver = start(line.folder, RESCORE)
        for after in (2, 12, 24):
            driver.wait_for_records(after)
            victims = driver.workers()
            if victims:
                choice.choice(victims).kill()
        code = driver.finish()
        assert driver.run is not None
        if code != 0:
            line.resume(driver.run)
        assert only_run(line, RESCORE) == driver.run
        assert line.rows(RESCORE) == whole.rows(RESCORE)

    def test_of_all_workers_at_once(self, whole: Line, copied: Copied) -> None:
        line = copied(whole)
        driver = start(line.folder, RESCORE)
        driver.wait_for_records(5)
        for victim in driver.workers():
            victim.kill()
        assert driver.finish() == 0
        assert line.rows(RESCORE) == whole.rows(RESCORE)
