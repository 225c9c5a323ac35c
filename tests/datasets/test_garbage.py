"""Garbage: only what nobody names goes, in two steps, and never what a living run may still publish."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from dataops.datasets.commit import commit_unit, committed_units
from dataops.datasets.garbage import find_garbage, sweep, totals
from dataops.datasets.publish import publish
from dataops.datasets.retention import expire, plan_expiry
from dataops.datasets.snapshot import publish_snapshot, read_manifest, read_snapshot, snapshot_journal
from dataops.datasets.tombstones import Garbage, Reason, mark, require_unmarked, tombstones
from dataops.errors import Conflict, NotFound
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

    def named(self) -> list[str]:
        """The runs that the newest snapshot names."""
        snapshot = read_snapshot(self.store, "made")
        return [manifest.run for manifest in snapshot.manifests] if snapshot else []

    def whole(self) -> bool:
        """Whether all parts of the newest snapshot are there."""
        snapshot = read_snapshot(self.store, "made")
        home = self.folder / "datasets/made"
        return snapshot is None or all((home / part.path).is_file() for part in snapshot.fragments)

    def collect(
        self, at: datetime, *, grace: timedelta = WEEK, store: Store | None = None, files: DataFiles | None = None
    ) -> None:
        """What the verb does, without a workspace."""
        for one in find_garbage(
            store or self.store, files or self.files, sign=self.sign.get, grace=grace, at=at, dataset=None
        ):
            marked = mark(store or self.store, one, at=at)
            if marked.may_go(at, grace):
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
    expire(place.store, planned)
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

    @pytest.mark.parametrize("before", [(), ("job-0-0",)], ids=["the first run", "a later run"])
    @pytest.mark.parametrize("deleted", [False, True])
    def test_cannot_publish_any_more_once_it_is_marked(
        self, place: Place, now: datetime, before: tuple[str, ...], deleted: bool
    ) -> None:
        for run in before:
            place.publish(run)
        place.write("job-a-1")
        for days in (8, 16) if deleted else (8,):
            place.collect(now + timedelta(days=days))
        with pytest.raises(Conflict, match=r"job-a-1 was given up.*'made' \(2 files.*Start a new run"):
            place.publish("job-a-1")
        with pytest.raises(NotFound):
            read_manifest(place.store, "made", "job-a-1")
        assert place.named() == [*before]
        place.collect(now + timedelta(days=16))
        place.collect(now + timedelta(days=30))
        assert [run for run in place.left() if run not in before] == []

    def test_is_not_deleted_by_the_call_that_marks_it(self, place: Place, now: datetime) -> None:
        place.write("job-a-1")
        place.collect(now + WEEK, grace=timedelta(0))
        assert len(place.left()) == 2
        place.collect(now + WEEK + timedelta(seconds=1), grace=timedelta(0))
        assert place.left() == []

    def test_whose_records_are_gone_goes_too(self, place: Place, now: datetime) -> None:
        place.write("job-a-1")
        for key in place.store.list("datasets"):
            if key.endswith(".json"):
                place.store.delete(key)
        for days in (8, 16):
            place.collect(now + timedelta(days=days))
        assert place.left() == []


@pytest.mark.parametrize("before", [(), ("job-0-0",)], ids=["the first run", "a later run"])
class TestARunThatPublishesWhileItIsCollected:
    """All orders of the publisher's steps (look for a mark, put the manifest, look again, append) and those of gc
    (mark; look for a manifest, delete). Whatever the order: what a snapshot names is there.
    """

    @pytest.mark.parametrize("calls", [0, 1, 2, 3])
    @pytest.mark.parametrize("look", [1, 2])
    @pytest.mark.parametrize("marked_before", [False, True])
    def test_is_either_published_whole_or_refused(
        self, place: Place, now: datetime, before: tuple[str, ...], calls: int, look: int, marked_before: bool
    ) -> None:
        """`calls` of gc come right after one of the publisher's looks for a mark; another may have come long before."""
        for run in before:
            place.publish(run)
        place.write("job-a-1")
        days = iter((8, 16, 24, 32))
        if marked_before:
            place.collect(now + timedelta(days=next(days)))
        looks = count(1)

        def look_and_wait(*asked: Any) -> None:
            require_unmarked(*asked)
            if next(looks) == look:
                for _ in range(calls):
                    place.collect(now + timedelta(days=next(days)))

        refused = False
        with patch("dataops.datasets.publish.require_unmarked", look_and_wait):
            try:
                place.publish("job-a-1")
            except Conflict:
                refused = True
        assert ("job-a-1" in place.named()) is not refused
        place.collect(now + timedelta(days=40))
        place.collect(now + timedelta(days=48))
        assert place.whole(), "a part that a snapshot names is gone"
        if not refused:
            assert place.left().count("job-a-1") == 2

    def test_and_was_marked_after_its_manifest_was_put_is_refused(
        self, place: Place, now: datetime, before: tuple[str, ...]
    ) -> None:
        for run in before:
            place.publish(run)
        place.write("job-a-1")
        (found,) = place.find(now + timedelta(days=8))

        def mark_then_publish(*given: Any, **named: Any) -> Any:
            mark(place.store, found, at=now + timedelta(days=8))
            return publish_snapshot(*given, **named)

        with (
            patch("dataops.datasets.publish.publish_snapshot", mark_then_publish),
            pytest.raises(Conflict, match="given up"),
        ):
            place.publish("job-a-1")
        assert place.named() == [*before]

    def test_and_is_marked_once_a_snapshot_names_it_stays_published(
        self, place: Place, now: datetime, before: tuple[str, ...]
    ) -> None:
        for run in before:
            place.publish(run)
        place.write("job-a-1")
        (found,) = place.find(now + timedelta(days=8))
        place.publish("job-a-1")
        marked = mark(place.store, found, at=now + timedelta(days=8))
        place.publish("job-a-1")  # resumed: it died before it was done
        assert not sweep(place.files, place.store, marked)
        assert (place.named(), place.left().count("job-a-1")) == (["job-a-1"], 2)


class TestARunThatDiedBetweenManifestAndSnapshot:
    @staticmethod
    def die(place: Place) -> None:
        with patch("dataops.datasets.publish.publish_snapshot", side_effect=Crash), pytest.raises(Crash):
            place.publish("job-a-1")

    def test_goes_behind_a_snapshot_that_no_publisher_can_overlook(self, place: Place, now: datetime) -> None:
        place.publish("job-0-0")
        self.die(place)
        for days in (8, 16):
            place.collect(now + timedelta(days=days))
        assert place.left() == ["job-0-0", "job-0-0"]
        last = snapshot_journal(place.store, "made").tail()
        assert last is not None
        assert (last.number, last.body["given_up"], place.named()) == (2, "job-a-1", ["job-0-0"])
        with pytest.raises(Conflict, match="given up"):
            place.publish("job-a-1")

    def test_is_left_alone_if_it_was_the_first_and_can_be_resumed(self, place: Place, now: datetime) -> None:
        self.die(place)
        for days in (8, 16):
            place.collect(now + timedelta(days=days))
        assert place.store.list("tombstones") == []
        place.publish("job-a-1")
        assert place.named() == ["job-a-1"]


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
