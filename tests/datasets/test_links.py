"""Links: gc and a run that takes units over see each other, whichever is first, and however slow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from dataops.datasets import publish as publishing
from dataops.datasets.commit import UnitRecord, committed_units, unit_key
from dataops.datasets.links import (
    Link,
    Links,
    files_by_run,
    linked_record,
    linking_runs,
    put_links,
    read_links,
    unit_files,
)
from dataops.datasets.publish import publish
from dataops.datasets.snapshot import newest_listed, snapshot_journal
from dataops.datasets.tombstones import Reason
from dataops.errors import Conflict
from dataops.storage.objects import MemoryStore
from tests.datasets.examples import COLUMNS
from tests.datasets.test_garbage import UNIT, WEEK, Place

FIRST, SECOND, LINKING = "job-a-1", "job-b-2", "job-c-3"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """What the first run wrote was replaced by what the second did."""
    made = Place(tmp_path / "storage")
    made.publish(FIRST)
    made.publish(SECOND)
    return made


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def days(number: float) -> timedelta:
    return timedelta(days=number)


def record_of(place: Place, run: str) -> UnitRecord:
    return committed_units(place.store, "made", run)[UNIT.id]


def say(place: Place) -> UnitRecord:
    """The links of the linking run, which takes over the first run's unit; its record is given, and not put yet."""
    record = linked_record(record_of(place, FIRST), UNIT.id, FIRST)
    link = Link(run=FIRST, unit=UNIT.id, digest="sha256:0")
    files = files_by_run("made", [record])
    put_links(place.store, Links(dataset="made", run=LINKING, units={UNIT.id: link}, files=files))
    return record


def link(place: Place) -> None:
    record = say(place)
    assert place.store.put_if_absent(unit_key("made", LINKING, UNIT.id), record.to_bytes())


def end(place: Place) -> None:
    publish(
        place.store,
        dataset="made",
        run=LINKING,
        zone="historical",
        columns=COLUMNS,
        units=(UNIT,),
        records=committed_units(place.store, "made", LINKING),
        lineage={"kind": "rescore"},
    )


class TestFilesThatALivingRunLinks:
    def test_are_not_marked_before_and_stay_after_it_published(self, place: Place, now: datetime) -> None:
        link(place)
        place.sign[LINKING] = now
        place.collect(now + days(6))
        end(place)
        assert place.named() == [LINKING]
        for day in (7, 15, 23):
            place.collect(now + days(day))
        assert place.left() == [FIRST, FIRST]
        assert place.whole()

    def test_go_once_the_last_run_that_has_them_is_replaced(self, place: Place, now: datetime) -> None:
        link(place)
        place.sign[LINKING] = now
        end(place)
        place.publish("job-d-4")
        (one, other) = place.find(now + days(1), grace=WEEK)
        assert {one.run, other.run} == {FIRST, SECOND}
        assert {one.reason, other.reason} == {Reason.REPLACED}
        since = {found.run: found.since for found in (one, other)}
        assert since[FIRST] > since[SECOND]  # it stood longer
        for day in (1, 9):
            place.collect(now + days(day))
        assert set(place.left()) == {"job-d-4"}


class TestFilesThatWereMarked:
    def test_are_never_published(self, place: Place, now: datetime) -> None:
        record = say(place)
        place.collect(now)  # the linking run has said nothing of itself: it looks dead
        assert place.store.put_if_absent(unit_key("made", LINKING, UNIT.id), record.to_bytes())
        with pytest.raises(Conflict, match="gave up meanwhile"):
            end(place)
        assert place.named() == [SECOND]
        assert "manifest.json" not in {
            key.rsplit("/", 1)[-1] for key in place.store.list(f"datasets/made/runs/{LINKING}")
        }

    def test_between_the_manifest_and_the_snapshot_are_never_published(self, place: Place, now: datetime) -> None:
        link(place)
        with at_the_last_moment(lambda: place.collect(now)), pytest.raises(Conflict, match="gave up meanwhile"):
            end(place)
        assert place.named() == [SECOND]
        assert len(place.left()) == 4

    @pytest.mark.parametrize("times", [1, 2, 3])
    def test_and_deleted_after_a_slow_publisher_looked_stop_it(self, place: Place, now: datetime, times: int) -> None:
        link(place)

        def collect() -> None:
            for time in range(times):
                place.collect(now + days(8 * time))

        with after_the_last_look(collect):
            if times == 1:  # nothing is gone yet, and nothing of it ever will be while a snapshot names it
                end(place)
            else:
                with pytest.raises(Conflict, match="gave up meanwhile"):
                    end(place)
        assert place.whole()
        place.collect(now + days(60))
        assert place.whole()

    def test_and_published_all_the_same_are_spared(self, place: Place, now: datetime) -> None:
        link(place)
        with after_the_last_look(lambda: place.collect(now)):
            end(place)
        assert place.named() == [LINKING]
        for day in (8, 16, 24):
            place.collect(now + days(day))
        assert place.whole()


class Once:
    """Does something the first time that it is called."""

    def __init__(self, do: Callable[[], None]) -> None:
        self.do = do
        self.done = False

    def __call__(self) -> None:
        if not self.done:
            self.done = True
            self.do()


def at_the_last_moment(do: Callable[[], None]) -> Any:
    """`do` happens when the manifest was put, before the publisher's last look for tombstones."""
    put, once = publishing._put_once, Once(do)

    def putting(*args: Any) -> Any:
        manifest = put(*args)
        once()
        return manifest

    return patch.object(publishing, "_put_once", putting)


def after_the_last_look(do: Callable[[], None]) -> Any:
    """`do` happens after the publisher looked for tombstones a last time, before its snapshot is put."""
    publishes, once = publishing.publish_snapshot, Once(do)

    def slowly(store: Any, manifest: Any, *, require: Callable[[], None]) -> Any:
        def looking() -> None:
            require()
            once()

        return publishes(store, manifest, require=looking)

    return patch.object(publishing, "publish_snapshot", slowly)


class TestARecordOfLinks:
    def test_is_put_once_and_comes_back(self) -> None:
        store = MemoryStore()
        one = Links(
            dataset="made",
            run=LINKING,
            units={"u000000": Link(run=FIRST, unit="u000007", digest="sha256:1")},
            files={FIRST: ("datasets/made/runs/job-a-1/data/a.parquet",)},
        )
        assert read_links(store, "made", LINKING) is None
        assert put_links(store, one) == one
        assert put_links(store, replace(one, units={}, files={})) == one
        assert read_links(store, "made", LINKING) == one
        assert linking_runs(store, "made") == [LINKING]

    def test_of_a_unit_that_was_linked_before_names_the_run_that_did_it(self, place: Place) -> None:
        record = linked_record(linked_record(record_of(place, FIRST), "u000003", FIRST), "u000005", SECOND)
        assert (record.unit, record.receipt.unit, record.linked) == ("u000005", "u000005", FIRST)
        assert set(unit_files("made", record)) == {
            str(path.relative_to(place.folder)) for path in place.parquet() if FIRST in path.parts
        }
        assert json.loads(record.to_bytes())["linked"] == FIRST


def test_what_expired_is_not_among_what_may_be_linked(place: Place) -> None:
    (listed,) = newest_listed(place.store, "made", 1)
    assert [one["run"] for one in newest_listed(place.store, "made", 20)] == [SECOND, FIRST]
    journal = snapshot_journal(place.store, "made")
    journal.append({"manifests": [], "expiry": {"manifests": [listed]}}, after=journal.tail())
    assert [one["run"] for one in newest_listed(place.store, "made", 20)] == [FIRST]
    assert newest_listed(MemoryStore(), "made", 20) == []
