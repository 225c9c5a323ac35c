"""Retention: what is too old leaves in one step, digests stay, sources are left alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataops.datasets.catalog import open_dataset
from dataops.datasets.retention import (
    ExpiryPlan,
    expire,
    expiries,
    inherited_retention,
    plan_expiry,
    published_times,
    require_rows_left,
    require_unexpired,
)
from dataops.datasets.snapshot import Manifest, append_snapshot, manifest_key, read_snapshot, snapshot_journal
from dataops.errors import Conflict, InvalidInput, NotFound, Storage
from dataops.records import format_time
from dataops.runs.ledger import job_of
from dataops.runs.workspace import open_workspace
from dataops.settings import Settings, read_settings
from dataops.storage.objects import Store, open_store
from tests.datasets.examples import make_manifest, open_one
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


def made_from_people(settings: Settings, store: Store, *, days: int) -> None:
    """A run's manifest as a job would write it that read people_old a moment ago."""
    given = open_one(open_workspace(str(settings.workspace), {}), "people_old", "train")
    at = format_time(NOW - timedelta(days=days))
    manifest = replace(make_manifest("job-a-1"), created_at=at, lineage=given.lineage(), columns=given.masked_columns())
    assert store.put_if_absent(manifest_key("made", "job-a-1"), manifest.to_bytes())
    append_snapshot(store, manifest)


def add_rules_for_made(settings: Settings) -> None:
    path = settings.workspace / "policies/people.yaml"
    path.write_text(path.read_text().replace('datasets: ["people*"]', 'datasets: ["people*", made]', 1))


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
        snapshot = expire(store, planned)
        assert snapshot is not None
        assert (snapshot.number, runs(store)) == (3, ["job-b-2"])

    def test_of_nothing_appends_nothing(self, settings: Settings, store: Store) -> None:
        add(store, "job-a-1", days=30)
        assert expire(store, plan(settings, store)) is None
        assert read_snapshot(store, "made", 1) == read_snapshot(store, "made")

    def test_keeps_record_of_what_went_and_why(self, settings: Settings, store: Store) -> None:
        gone = add(store, "job-a-1", days=40)
        expire(store, plan(settings, store))
        ((entry, expiry),) = expiries(store, "made")
        assert (entry.number, expiry["because"], expiry["retention_seconds"]) == (2, "asked for", 30 * 86_400)
        (one,) = expiry["manifests"]
        assert (one["run"], one["rows"], one["parts"], one["published_at"]) == ("job-a-1", 4, 1, gone.created_at)
        assert read_snapshot(store, "made", 1).manifests == (gone,)  # type: ignore[union-attr]
        assert snapshot_journal(store, "made").verify() == []

    def test_of_all_leaves_an_empty_dataset_of_the_same_job_and_columns(self, settings: Settings, store: Store) -> None:
        gone = add(store, "my-job-20260101t000000-abcdef", days=40)
        expire(store, plan(settings, store))
        dataset = open_dataset(settings, store, "made")
        assert (dataset.snapshot.rows, dataset.snapshot.columns) == (0, gone.columns)
        assert job_of(dataset.snapshot.manifests[-1].run) == "my-job"
        assert dataset.snapshot.manifests[-1].lineage["sources"] == SOURCES["sources"]
        with pytest.raises(NotFound, match=r"all rows of dataset 'made' expired at 2026-03-01.*30 days.*again"):
            require_rows_left(store, dataset)
        again = plan(settings, store, timedelta(0))
        assert (again.gone, expire(store, again)) == ((), None)
        add(store, "my-job-20260301t000000-abcdef", days=0)
        require_rows_left(store, open_dataset(settings, store, "made"))

    def test_counts_the_rows_of_a_replay_from_the_run_that_it_replays(self, settings: Settings, store: Store) -> None:
        add(store, "job-a-1", days=40)
        add(store, "job-b-2", days=10, add_to=True, replay_of="job-a-1")
        add(store, "job-c-3", days=1, add_to=True, replay_of="job-b-2")
        expire(store, plan(settings, store))
        assert read_snapshot(store, "made").rows == 0  # type: ignore[union-attr]

    def test_of_a_dataset_that_moved_on_meanwhile_is_refused(self, settings: Settings, store: Store) -> None:
        add(store, "job-a-1", days=40)
        planned = plan(settings, store)
        add(store, "job-b-2", days=0)
        with pytest.raises(Conflict):
            expire(store, planned)
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
                expire(faulty, planned)
            except Crash:
                died = True
                assert read_snapshot(inner, "made").rows in (0, 4)  # type: ignore[union-attr]
                expire(inner, plan_expiry(settings, inner, "made", older_than=MONTH, at=NOW + timedelta(hours=1)))
            assert read_snapshot(inner, "made").rows == 0  # type: ignore[union-attr]
            assert len(list(expiries(inner, "made"))) == 1
            return died

        crash_points(attempt, at_least=3)

    @pytest.mark.parametrize("error", [Crash, lambda: Storage("timed out")])
    def test_whose_reply_is_lost_may_be_carried_out_again_and_is_there_once(
        self, settings: Settings, tmp_path: Path, error: Callable[[], BaseException]
    ) -> None:
        def attempt(k: int) -> bool:
            inner = open_store(str(tmp_path / f"lost-{k}"))
            add(inner, "job-a-1", days=40)
            planned = plan(settings, inner)
            faulty = FaultyStore(inner, k, "after", error)
            with suppress(Crash, Storage):
                expire(faulty, planned)
            again = expire(inner, planned)
            assert again is not None
            assert (again.number, again.rows) == (2, 0)
            ((entry, expiry),) = expiries(inner, "made")
            assert (entry.number, expiry["at"]) == (2, format_time(NOW))
            return faulty.fault.operations >= k

        crash_points(attempt, at_least=3)

    def test_of_another_moment_is_another_one(self, settings: Settings, store: Store) -> None:
        add(store, "job-a-1", days=40)
        planned = plan(settings, store)
        expire(store, planned)
        with pytest.raises(Conflict):
            expire(store, replace(planned, at=NOW + timedelta(hours=1)))


class TestHowLong:
    def test_is_what_the_sources_contract_says(self, settings: Settings, store: Store) -> None:
        keep_for(settings, "people.yaml", 7)
        add(store, "job-a-1", days=8)
        planned = plan(settings, store, None)
        assert (planned.retention_seconds, planned.because) == (7 * 86_400, "contract of 'people_old'")
        assert [one.run for one in planned.gone] == ["job-a-1"]

    def test_stays_when_the_source_leaves_the_catalog(self, settings: Settings, store: Store) -> None:
        keep_for(settings, "people.yaml", 7)
        made_from_people(settings, store, days=8)
        (settings.workspace / "catalog/people_old.yaml").unlink()
        planned = plan(settings, store, None)
        assert (planned.retention_seconds, planned.because) == (
            7 * 86_400,
            "contract of 'people_old' when it was read",
        )
        assert [one.run for one in planned.gone] == ["job-a-1"]
        expire(store, planned)
        emptied = inherited_retention(settings, open_dataset(settings, store, "made"))
        assert emptied == (planned.retention_seconds, planned.because), "what stands for the rows says it too"

    @pytest.mark.parametrize(("then", "now", "kept"), [(7, 90, 7), (90, 7, 7), (None, 7, 7), (7, None, 7)])
    def test_is_the_shorter_of_then_and_now(
        self, settings: Settings, store: Store, then: int | None, now: int | None, kept: int
    ) -> None:
        contract = settings.workspace / "contracts/people.yaml"
        before = contract.read_text()
        for days in (then, now):
            contract.write_text(before)
            if days is not None:
                keep_for(settings, "people.yaml", days)
            if days is then:
                made_from_people(settings, store, days=1)
        assert plan(settings, store, None).retention_seconds == kept * 86_400

    def test_follows_what_is_made_of_what_was_made(self, settings: Settings, store: Store) -> None:
        keep_for(settings, "people.yaml", 7)
        made_from_people(settings, store, days=1)
        (settings.workspace / "catalog/people_old.yaml").unlink()
        workspace = open_workspace(str(settings.workspace), {})
        add_rules_for_made(settings)
        given = open_one(workspace, "made", "train")
        (further,) = [one for one in given.made_from() if one.dataset == "people_old"]
        assert further.retention_seconds == 7 * 86_400

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
        expire(store, plan(settings, store))
        with pytest.raises(
            NotFound, match=r"inputs expired: dataset 'made' as of snapshot 1 lost 1 of its 1 runs.*30 d"
        ):
            require_unexpired(store, "made", pinned)

    def test_of_what_was_only_replaced_are_not(self, settings: Settings, store: Store) -> None:
        add(store, "job-a-1", days=50)
        replaced = read_snapshot(store, "made").content_digest  # type: ignore[union-attr]
        add(store, "job-b-2", days=40)
        expire(store, plan(settings, store))
        require_unexpired(store, "made", replaced)
        require_unexpired(store, "made", read_snapshot(store, "made").content_digest)  # type: ignore[union-attr]
