"""Retention: what is too old leaves in one step, digests stay, sources are left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataops.datasets.catalog import open_dataset
from dataops.datasets.retention import (
    ExpiryPlan,
    expire,
    expiries,
    plan_expiry,
    published_times,
    require_rows_left,
    require_unexpired,
)
from dataops.datasets.snapshot import Manifest, append_snapshot, manifest_key, read_snapshot, snapshot_journal
from dataops.errors import Conflict, InvalidInput, NotFound
from dataops.records import format_time
from dataops.runs.ledger import job_of
from dataops.settings import Settings, read_settings
from dataops.storage.objects import Store, open_store
from tests.datasets.examples import make_manifest
from tests.line.people import make_workspace
from tests.storage.faulty import Crash, FaultyStore, crash_points

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MONTH = timedelta(days=30)
SOURCES = {"sources": [{"dataset": "people_old", "zone": "historical", "filters": []}]}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(make_workspace(tmp_path / "people", files=1), {})


@pytest.fixture
def store(settings: Settings) -> Store:
    return open_store(settings.storage)


def add(store: Store, run: str, *, days: int, add_to: bool = False, replay_of: str | None = None) -> Manifest:
    """A run's manifest, published `days` before `NOW`."""
    lineage = {**SOURCES, **({"replay_of": replay_of} if replay_of else {})}
    manifest = replace(make_manifest(run), created_at=format_time(NOW - timedelta(days=days)), lineage=lineage)
    assert store.put_if_absent(manifest_key("made", run), manifest.to_bytes())
    append_snapshot(store, manifest, replace=not add_to)
    return manifest


def plan(settings: Settings, store: Store, age: timedelta | None = MONTH) -> ExpiryPlan:
    return plan_expiry(settings, store, "made", older_than=age, at=NOW)


def keep_for(settings: Settings, contract: str, days: int) -> None:
    path = settings.workspace / "contracts" / contract
    told = f"slaProperties:\n  - {{property: retention, value: {days}, unit: d}}\n"
    path.write_text(path.read_text() + told)


def runs(store: Store) -> list[str]:
    snapshot = read_snapshot(store, "made")
    assert snapshot is not None
    return [manifest.run for manifest in snapshot.manifests]


class TestExpiry:
    def test_takes_what_is_too_old_and_leaves_the_rest(self, settings: Settings, store: Store) -> None:
        add(store, "job-a-1", days=40)
        add(store, "job-b-2", days=10, add_to=True)
        planned = plan(settings, store)
        assert [one.run for one in planned.gone] == ["job-a-1"]
        assert runs(store) == ["job-a-1", "job-b-2"], "a plan changes nothing"
        snapshot = expire(store, planned, at=NOW)
        assert snapshot is not None
        assert (snapshot.number, runs(store)) == (3, ["job-b-2"])

    def test_of_nothing_appends_nothing(self, settings: Settings, store: Store) -> None:
        add(store, "job-a-1", days=30)
        assert expire(store, plan(settings, store), at=NOW) is None
        assert read_snapshot(store, "made", 1) == read_snapshot(store, "made")

    def test_keeps_record_of_what_went_and_why(self, settings: Settings, store: Store) -> None:
        gone = add(store, "job-a-1", days=40)
        expire(store, plan(settings, store), at=NOW)
        ((entry, expiry),) = expiries(store, "made")
        assert (entry.number, expiry["because"], expiry["retention_seconds"]) == (2, "asked for", 30 * 86_400)
        (one,) = expiry["manifests"]
        assert (one["run"], one["rows"], one["parts"], one["published_at"]) == ("job-a-1", 4, 1, gone.created_at)
        assert read_snapshot(store, "made", 1).manifests == (gone,)  # type: ignore[union-attr]
        assert snapshot_journal(store, "made").verify() == []

    def test_of_all_leaves_an_empty_dataset_of_the_same_job_and_columns(self, settings: Settings, store: Store) -> None:
        gone = add(store, "my-job-20260101t000000-abcdef", days=40)
        expire(store, plan(settings, store), at=NOW)
        dataset = open_dataset(settings, store, "made")
        assert (dataset.snapshot.rows, dataset.snapshot.columns) == (0, gone.columns)
        assert job_of(dataset.snapshot.manifests[-1].run) == "my-job"
        assert dataset.snapshot.manifests[-1].lineage["sources"] == SOURCES["sources"]
        with pytest.raises(NotFound, match=r"all rows of dataset 'made' expired at 2026-03-01.*30 days.*again"):
            require_rows_left(store, dataset)
        again = plan(settings, store, timedelta(0))
        assert (again.gone, expire(store, again, at=NOW)) == ((), None)
        add(store, "my-job-20260301t000000-abcdef", days=0)
        require_rows_left(store, open_dataset(settings, store, "made"))

    def test_counts_the_rows_of_a_replay_from_the_run_that_it_replays(self, settings: Settings, store: Store) -> None:
        add(store, "job-a-1", days=40)
        add(store, "job-b-2", days=10, add_to=True, replay_of="job-a-1")
        add(store, "job-c-3", days=1, add_to=True, replay_of="job-b-2")
        expire(store, plan(settings, store), at=NOW)
        assert read_snapshot(store, "made").rows == 0  # type: ignore[union-attr]

    def test_of_a_dataset_that_moved_on_meanwhile_is_refused(self, settings: Settings, store: Store) -> None:
        add(store, "job-a-1", days=40)
        planned = plan(settings, store)
        add(store, "job-b-2", days=0)
        with pytest.raises(Conflict):
            expire(store, planned, at=NOW)
        assert runs(store) == ["job-b-2"]
        assert list(expiries(store, "made")) == []

    def test_that_dies_anywhere_is_all_or_nothing_and_done_by_the_next(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        def attempt(k: int) -> bool:
            inner = open_store(str(tmp_path / f"crash-{k}"))
            add(inner, "job-a-1", days=40)
            planned = plan(settings, inner)
            faulty = FaultyStore(inner, k, "torn")
            died = False
            try:
                expire(faulty, planned, at=NOW)
            except Crash:
                died = True
                assert read_snapshot(inner, "made").rows in (0, 4)  # type: ignore[union-attr]
                expire(inner, plan(settings, inner), at=NOW + timedelta(hours=1))
            assert read_snapshot(inner, "made").rows == 0  # type: ignore[union-attr]
            assert len(list(expiries(inner, "made"))) == 1
            return died

        crash_points(attempt, at_least=3)


class TestHowLong:
    def test_is_what_the_sources_contract_says(self, settings: Settings, store: Store) -> None:
        keep_for(settings, "people.yaml", 7)
        add(store, "job-a-1", days=8)
        planned = plan(settings, store, None)
        assert (planned.retention_seconds, planned.because) == (7 * 86_400, "contract of 'people_old'")
        assert [one.run for one in planned.gone] == ["job-a-1"]

    def test_has_to_be_said_by_somebody(self, settings: Settings, store: Store) -> None:
        add(store, "job-a-1", days=8)
        with pytest.raises(InvalidInput, match=r"no contract says.*made from people_old.*--older-than"):
            plan(settings, store, None)

    def test_a_source_is_never_touched(self, settings: Settings, store: Store) -> None:
        before = sorted((settings.workspace / "data").rglob("*"))
        open_dataset(settings, store, "people_old")
        with pytest.raises(
            InvalidInput, match=r"nothing is ever deleted there\. 1 of its 1 files are older than 0 sec"
        ):
            plan_expiry(
                settings, store, "people_old", older_than=timedelta(0), at=datetime.now(UTC) + timedelta(seconds=5)
            )
        assert sorted((settings.workspace / "data").rglob("*")) == before
        assert snapshot_journal(store, "people_old").tail().number == 1  # type: ignore[union-attr]

    def test_a_chain_of_replays_has_the_age_of_its_first(self, store: Store) -> None:
        first = add(store, "job-a-1", days=40)
        second = add(store, "job-b-2", days=1, add_to=True, replay_of="job-a-1")
        assert len(set(published_times([first, second]).values())) == 1
        assert published_times([second])["job-b-2"] == NOW - timedelta(days=1)


class TestReaders:
    def test_of_what_expired_are_told_by_which_expiry(self, settings: Settings, store: Store) -> None:
        add(store, "job-a-1", days=40)
        pinned = read_snapshot(store, "made").content_digest  # type: ignore[union-attr]
        require_unexpired(store, "made", pinned)
        expire(store, plan(settings, store), at=NOW)
        with pytest.raises(
            NotFound, match=r"inputs expired: dataset 'made' as of snapshot 1 lost 1 of its 1 runs.*30 d"
        ):
            require_unexpired(store, "made", pinned)

    def test_of_what_was_only_replaced_are_not(self, settings: Settings, store: Store) -> None:
        add(store, "job-a-1", days=50)
        replaced = read_snapshot(store, "made").content_digest  # type: ignore[union-attr]
        add(store, "job-b-2", days=40)
        expire(store, plan(settings, store), at=NOW)
        require_unexpired(store, "made", replaced)
        require_unexpired(store, "made", read_snapshot(store, "made").content_digest)  # type: ignore[union-attr]
