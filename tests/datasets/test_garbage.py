"""Garbage: only what nobody names goes, in two steps, and never what a living run may still publish."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataops.datasets.commit import commit_unit, committed_units
from dataops.datasets.garbage import find_garbage, sweep, totals
from dataops.datasets.publish import publish
from dataops.datasets.retention import expire, plan_expiry
from dataops.datasets.snapshot import read_snapshot
from dataops.datasets.tombstones import Garbage, Reason, mark, require_unmarked, tombstones
from dataops.errors import NotFound
from dataops.runs.init import init_workspace
from dataops.settings import Settings, read_settings
from dataops.storage.files import DataFiles, open_files
from dataops.storage.objects import Store, open_store
from tests.datasets.examples import ASIDE, COLUMNS, TABLE, make_receipt, make_unit
from tests.storage.faulty import Crash, Fault, FaultyFiles, FaultyStore, crash_points

WEEK = timedelta(days=7)
UNIT = make_unit(0, 5)


class Place:
    """A storage with one dataset ``made``; `sign` is what runs last said of themselves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Store = open_store(str(folder))
        self.files: DataFiles = open_files(str(folder))
        self.sign: dict[str, datetime] = {}

    def write(self, run: str) -> None:
        """The unit of a run: four rows that passed, one that is set aside."""
        commit_unit(
            self.store,
            self.files,
            dataset="made",
            run=run,
            input_dataset="people",
            table=TABLE,
            quarantined=ASIDE,
            receipt=make_receipt(passed=4, quarantined=1),
        )

    def publish(self, run: str) -> None:
        self.write(run)
        records = committed_units(self.store, "made", run)
        publish(
            self.store,
            dataset="made",
            run=run,
            zone="historical",
            columns=COLUMNS,
            units=(UNIT,),
            records=records,
            lineage={"kind": "prepare"},
        )

    def left(self) -> list[str]:
        """Runs whose parts and quarantine are there, one entry a file."""
        return sorted(path.parts[-3] if "data" in path.parts[-2] else path.parts[-2] for path in self.parquet())

    def parquet(self) -> Iterator[Path]:
        return self.folder.rglob("*.parquet")

    def find(self, at: datetime, *, grace: timedelta = WEEK, dataset: str | None = None) -> tuple[Garbage, ...]:
        return find_garbage(self.store, self.files, sign=self.sign.get, grace=grace, at=at, dataset=dataset)

    def collect(self, at: datetime, *, store: Store | None = None, files: DataFiles | None = None) -> None:
        """What the verb does, without a workspace."""
        for one in find_garbage(
            store or self.store, files or self.files, sign=self.sign.get, grace=WEEK, at=at, dataset=None
        ):
            marked = mark(store or self.store, one, at=at)
            if marked.may_go(at, WEEK):
                sweep(files or self.files, store or self.store, marked)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "storage")


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def reasons(found: tuple[Garbage, ...]) -> list[tuple[str, Reason]]:
    return [(one.run, one.reason) for one in found]


class TestARunThatWasReplaced:
    def test_is_marked_at_once_and_deleted_a_grace_later(self, place: Place, now: datetime) -> None:
        place.publish("job-a-1")
        assert place.find(now) == ()
        place.publish("job-b-2")
        (found,) = place.find(now)
        assert (found.run, found.reason, len(found.files), found.rows) == ("job-a-1", Reason.REPLACED, 2, 4)
        place.collect(now)
        place.collect(now + timedelta(days=6))
        assert place.left() == ["job-a-1", "job-a-1", "job-b-2", "job-b-2"]
        place.collect(now + timedelta(days=8))
        assert place.left() == ["job-b-2", "job-b-2"]
        assert place.find(now + timedelta(days=9)) == ()

    def test_is_not_deleted_by_a_first_call_however_late(self, place: Place, now: datetime) -> None:
        place.publish("job-a-1")
        place.publish("job-b-2")
        place.collect(now + timedelta(days=300))
        assert len(place.left()) == 4

    def test_keeps_its_records(self, place: Place, now: datetime) -> None:
        place.publish("job-a-1")
        before = read_snapshot(place.store, "made")
        place.publish("job-b-2")
        for days in (0, 8):
            place.collect(now + timedelta(days=days))
        assert read_snapshot(place.store, "made", 1) == before
        assert committed_units(place.store, "made", "job-a-1")
        assert [one["reason"] for one in tombstones(place.store, "made", "job-a-1")] == ["replaced"]


def test_what_expired_goes_with_its_quarantine(place: Place, tmp_path: Path, now: datetime) -> None:
    init_workspace(tmp_path / "workspace")
    (tmp_path / "workspace" / "dataops.yaml").write_text(f"storage: {place.folder}\n")
    settings: Settings = read_settings(tmp_path / "workspace", {})
    place.publish("job-a-1")
    planned = plan_expiry(settings, place.store, "made", older_than=timedelta(0), at=now + WEEK)
    expire(place.store, planned, at=now)
    assert reasons(place.find(now)) == [("job-a-1", Reason.EXPIRED)]
    for days in (0, 8):
        place.collect(now + timedelta(days=days))
    assert place.left() == []


class TestARunThatPublishedNothing:
    def test_is_left_alone_while_it_may_live(self, place: Place, now: datetime) -> None:
        place.write("job-a-1")
        assert place.find(now + timedelta(days=6)) == (), "its files are young"
        place.sign["job-a-1"] = now + timedelta(days=5)
        assert place.find(now + timedelta(days=8)) == (), "it said something lately"
        (found,) = place.find(now + timedelta(days=13))
        assert (found.run, found.reason) == ("job-a-1", Reason.UNPUBLISHED)

    def test_cannot_publish_any_more_once_it_is_marked(self, place: Place, now: datetime) -> None:
        place.write("job-a-1")
        require_unmarked(place.store, "made", "job-a-1")
        place.collect(now + timedelta(days=8))
        assert len(place.left()) == 2
        with pytest.raises(NotFound, match=r"gave up what it had written to 'made' \(2 files.*start a new run"):
            require_unmarked(place.store, "made", "job-a-1")
        place.collect(now + timedelta(days=16))
        assert place.left() == []

    def test_that_publishes_after_all_is_spared(self, place: Place, now: datetime) -> None:
        place.write("job-a-1")
        place.collect(now + timedelta(days=8))
        place.publish("job-a-1")  # it was on its way while it was marked
        place.collect(now + timedelta(days=16))
        assert place.left() == ["job-a-1", "job-a-1"]
        assert place.find(now + timedelta(days=30)) == ()

    def test_whose_records_are_gone_goes_too(self, place: Place, now: datetime) -> None:
        place.write("job-a-1")
        for key in place.store.list("datasets"):
            if key.endswith(".json"):
                place.store.delete(key)
        for days in (8, 16):
            place.collect(now + timedelta(days=days))
        assert place.left() == []


class TestAnAttemptThatLost:
    def test_loses_its_files_and_nobody_else_does(self, place: Place, now: datetime) -> None:
        place.publish("job-a-1")
        home = place.folder / "datasets/made/runs/job-a-1/data"
        lost = [
            home / "part-u000000-lost.parquet",
            place.folder / "quarantine/people/job-a-1/part-u000000-lost.parquet",
        ]
        for path in lost:
            path.write_bytes(b"lost")
        assert place.find(now + timedelta(days=6)) == ()
        (found,) = place.find(now + timedelta(days=8))
        assert (found.reason, sorted(place.folder / one.path for one in found.files)) == (Reason.ORPHAN, sorted(lost))
        for days in (8, 16):
            place.collect(now + timedelta(days=days))
        assert place.left() == ["job-a-1", "job-a-1"]
        assert not any(path.exists() for path in lost)

    def test_that_comes_after_the_mark_waits_for_its_own(self, place: Place, now: datetime) -> None:
        place.publish("job-a-1")
        place.publish("job-b-2")
        place.collect(now)
        late = place.folder / "datasets/made/runs/job-a-1/data/part-u000001-late.parquet"
        late.write_bytes(b"late")
        place.collect(now + timedelta(days=8))
        assert [path.name for path in place.parquet() if "job-a-1" in path.parts] == [late.name]
        place.collect(now + timedelta(days=16))
        assert place.left() == ["job-b-2", "job-b-2"]


class TestTemporaries:
    def test_that_are_stale_go_at_once_and_young_ones_stay(self, place: Place, now: datetime) -> None:
        folder = place.folder / "datasets"
        folder.mkdir()
        old, young = folder / ".tmp-old", folder / ".tmp-young"
        for path in (old, young):
            path.write_bytes(b"x")
        past = (now - timedelta(days=8)).timestamp()
        os.utime(old, (past, past))
        (folder / ".tmp-link").symlink_to(place.folder.parent)
        (found,) = place.find(now)
        assert totals([found]) == {"runs": 0, "files": 1, "size_bytes": 1}
        place.collect(now)
        assert (old.exists(), young.exists(), (folder / ".tmp-link").is_symlink()) == (False, True, True)

    def test_are_not_looked_for_in_one_dataset(self, place: Place, now: datetime) -> None:
        place.publish("job-a-1")
        (place.folder / ".tmp-old").write_bytes(b"x")
        assert place.find(now + timedelta(days=9), dataset="made") == ()


def test_one_dataset_alone_can_be_looked_at(place: Place, now: datetime) -> None:
    place.publish("job-a-1")
    place.publish("job-b-2")
    assert reasons(place.find(now, dataset="made")) == [("job-a-1", Reason.REPLACED)]
    assert place.find(now, dataset="other") == ()


@pytest.mark.parametrize("seam", ["store", "files"])
def test_that_dies_anywhere_is_done_by_the_next(tmp_path: Path, now: datetime, seam: str) -> None:
    def attempt(k: int) -> bool:
        place = Place(tmp_path / f"crash-{seam}-{k}")
        place.publish("job-a-1")
        place.publish("job-b-2")
        store, files = FaultyStore(place.store, 0), FaultyFiles(place.files, 0)
        faulty: FaultyStore | FaultyFiles = store if seam == "store" else files
        faulty.fault = Fault(k, "after", Crash)
        died = False
        for days in (0, 8):
            try:
                place.collect(now + timedelta(days=days), store=store, files=files)
            except Crash:
                died = True
        assert [run for run in place.left() if run == "job-b-2"] == ["job-b-2", "job-b-2"]
        for days in (9, 17):
            place.collect(now + timedelta(days=days))
        assert place.left() == ["job-b-2", "job-b-2"]
        return died

    crash_points(attempt, at_least=3)
