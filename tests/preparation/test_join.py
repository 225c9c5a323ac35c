"""Join jobs: what comes out is what pandas says, however rows travelled; nothing is lost, seen too early, or shown to
those who may not see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataops.datasets import commit
from dataops.datasets.garbage import find_garbage
from dataops.datasets.snapshot import read_snapshot
from dataops.datasets.verify import verify_dataset
from dataops.errors import AccessDenied, ContractViolation, DataopsError, Integrity, InvalidInput
from dataops.preparation import exchange, join, join_groups, join_tasks
from dataops.preparation.join import run_join
from dataops.preparation.join_plan import JoinPlan
from dataops.preparation.join_side import JoinSide
from dataops.records import now_utc
from dataops.runs.workspace import Workspace, open_workspace
from dataops.storage.files import open_files
from dataops.storage.objects import open_store
from tests.datasets.examples import open_one
from tests.line.voyages import HOUR, POLICY, START, TIME, make_port, write_dataset
from tests.preparation.here import Here
from tests.preparation.joining import PARTED
from tests.preparation.joining import job_of as _job
from tests.preparation.joining import plan_of as _plan
from tests.preparation.joining import rows_of as _rows
from tests.preparation.joining import run_of as _run
from tests.storage.faulty import Crash, FaultyFiles, FaultyStore, crash_points


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return open_workspace(str(make_port(tmp_path_factory.mktemp("join") / "port", secret="CANARY")), {})


@pytest.fixture(scope="module")
def joined(port: Workspace, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("sailings")
    return _frame(_rows(folder, _run(port, _job(port, "sailings"), folder)))


@pytest.fixture(autouse=True)
def opened_anew() -> Iterator[None]:
    commit.open_storage.cache_clear()
    yield
    commit.open_storage.cache_clear()


def _source(workspace: Workspace, name: str) -> pd.DataFrame:
    """The rows of a dataset as its reader gets them."""
    frame = pa.concat_tables(
        pq.read_table(path) for path in sorted((workspace.settings.workspace / "data" / name).glob("*.parquet"))
    ).to_pandas()
    if name != "voyages":
        return frame
    return frame[(frame["port"] != "closed") & (frame["crew"] >= 1)].drop(columns="captain").reset_index(drop=True)


def _frame(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas()


class TestSailings:
    """Weather as of the hour, ships, and counts of voyages, added to voyages."""

    def test_keeps_every_row_of_the_main_input_in_its_order(self, port: Workspace, joined: pd.DataFrame) -> None:
        voyages = _source(port, "voyages")
        pd.testing.assert_frame_equal(joined[list(voyages.columns)], voyages, check_dtype=False)

    def test_ships_are_those_of_pandas(self, port: Workspace, joined: pd.DataFrame) -> None:
        expected = _source(port, "voyages").merge(
            _source(port, "ships"), left_on="ship", right_on="name", how="left", validate="m:1"
        )
        assert joined["built"].fillna(-1).tolist() == expected["built"].fillna(-1).tolist()
        assert 0 < joined["built"].isna().sum() < len(joined)

    def test_counts_are_those_of_pandas(self, port: Workspace, joined: pd.DataFrame) -> None:
        voyages = _source(port, "voyages")
        groups = voyages.groupby("ship")["crew"]
        assert joined["voyages_of_ship"].equals(voyages["ship"].map(groups.size()).astype("float64"))
        pd.testing.assert_series_equal(joined["mean_crew"], voyages["ship"].map(groups.mean()), check_names=False)

    def test_weather_is_the_newest_that_was_known(self, port: Workspace, joined: pd.DataFrame) -> None:
        weather = _source(port, "weather").dropna(subset=["hour", "seen_at"])
        found = 0
        for row in joined.iloc[::7].itertuples():
            known = weather[
                (weather["port"] == row.port) & (weather["hour"] <= row.sails_at) & (weather["seen_at"] <= row.sails_at)
            ]
            newest = known.sort_values("hour").tail(1)
            if len(newest) and row.sails_at - newest["hour"].iloc[0] <= 3 * HOUR:
                assert row.weather_hour == newest["hour"].iloc[0]
                assert row.wind == newest["wind"].iloc[0]
                found += 1
            else:
                assert pd.isna(row.wind)
        assert 20 < found < len(joined) // 7

    def test_rows_that_go_by_key_come_to_the_same_bytes(self, port: Workspace, tmp_path: Path) -> None:
        job = _job(port, "sailings")
        work = Here()
        one = _run(port, job, tmp_path / "given")
        other = _run(port, job, tmp_path / "parted", work, **PARTED)
        assert [part.digest for part in one.fragments] == [part.digest for part in other.fragments]
        assert one.receipts_root == other.receipts_root
        checked = [event for event in work.events if event["event"] == "exchange_checked"]
        assert {event["step"] for event in checked} == {
            f"{what}-{n}" for what in ("keys", "read", "match") for n in (1, 2, 3)
        }
        assert all(event["rows"] > 0 for event in checked)

    def test_leaves_nothing_beside_the_output(self, port: Workspace, tmp_path: Path) -> None:
        _run(port, _job(port, "sailings"), tmp_path, **PARTED)
        assert not list(tmp_path.rglob("exchange/*"))

    def test_no_denied_value_is_in_any_file(self, port: Workspace, tmp_path: Path) -> None:
        with patch.object(exchange.Exchange, "remove"):
            _run(port, _job(port, "sailings"), tmp_path, **PARTED)
        left = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert any(path.suffix == ".arrow" for path in left)
        assert not [path for path in left if b"CANARY" in path.read_bytes()]


class TestLeak:
    """A weather record of the future, or one that was recorded later, changes no row before it."""

    @pytest.mark.parametrize("limits", [{}, PARTED], ids=["given", "parted"])
    def test_what_comes_later_is_not_seen(self, tmp_path: Path, limits: dict[str, int]) -> None:
        before = self._winds(tmp_path / "a", [], limits)
        moment = START + 100 * HOUR
        planted = [
            {"port": "Kiel", "hour": moment + HOUR / 4, "seen_at": moment + HOUR / 4, "wind": 99.0, "notes": "future"},
            {"port": "Kiel", "hour": moment - HOUR / 4, "seen_at": moment + HOUR / 4, "wind": 98.0, "notes": "revised"},
        ]
        after = self._winds(tmp_path / "b", planted, limits)
        assert [row for row in after if row["sails_at"] is None or row["sails_at"] <= moment] == [
            row for row in before if row["sails_at"] is None or row["sails_at"] <= moment
        ]
        assert any(row["wind"] == 99.0 for row in after)  # it is seen, once it is there

    @pytest.mark.parametrize("limits", [{}, PARTED], ids=["given", "parted"])
    def test_what_comes_later_is_not_counted(self, tmp_path: Path, limits: dict[str, int]) -> None:
        before = self._counts(tmp_path / "a", [], limits)
        moment = START + 100 * HOUR
        planted = [
            {"port": "Kiel", "hour": moment + HOUR / 4, "seen_at": moment + HOUR / 4, "wind": 99.0, "notes": "future"},
            {"port": "Kiel", "hour": moment - HOUR / 4, "seen_at": moment + HOUR / 4, "wind": 98.0, "notes": "revised"},
        ]
        after = self._counts(tmp_path / "b", planted, limits)
        assert [row for row in after if row["sails_at"] is None or row["sails_at"] <= moment] == [
            row for row in before if row["sails_at"] is None or row["sails_at"] <= moment
        ]
        assert any(row["strongest"] == 99.0 for row in after)
        assert self._counts(tmp_path / "c", planted, {} if limits else PARTED) == after  # however rows travel

    def _counts(self, folder: Path, planted: list[dict[str, Any]], limits: dict[str, int]) -> list[dict[str, Any]]:
        known = {"at": "sails_at", "of": "hour", "as_known": "seen_at"}
        asked = {
            "winds": "count(wind)",
            "mean_wind": "mean(wind)",
            "strongest": "max(wind)",
            "note": "last(notes, hour)",
        }
        joins = [
            {"dataset": "weather", "on": ["port"], "asof": known, "aggregate": asked},
            {
                "dataset": "weather",
                "on": ["port"],
                "asof": known | {"tolerance": "9h"},
                "aggregate": {f"{name}_of_9h": text for name, text in asked.items()},
            },
        ]
        return self._found(folder, planted, limits, joins=joins).to_pylist()

    def _winds(self, folder: Path, planted: list[dict[str, Any]], limits: dict[str, int]) -> list[dict[str, Any]]:
        found = self._found(folder, planted, limits)
        return found.select(["voyage_id", "sails_at", "wind", "weather_hour"]).to_pylist()

    def _found(self, folder: Path, planted: list[dict[str, Any]], limits: dict[str, int], **changes: Any) -> pa.Table:
        workspace = open_workspace(str(make_port(folder)), {})
        if planted:
            schema = pq.read_schema(folder / "data/weather/part-0.parquet").remove_metadata()
            write_dataset(folder, "weather", {"part-9": pa.Table.from_pylist(planted, schema)})
        job = _job(workspace, "sailings", **changes)
        return _rows(folder / "out", _run(workspace, job, folder / "out", **limits))


class TestOthers:
    @pytest.mark.parametrize("limits", [{}, PARTED], ids=["given", "parted"])
    def test_inner_join_of_many_is_that_of_pandas(
        self, port: Workspace, tmp_path: Path, limits: dict[str, int]
    ) -> None:
        joins = [{"dataset": "weather", "on": ["port"], "columns": ["wind", "hour"], "how": "inner", "expect": "many"}]
        job = _job(port, "loud", joins=joins)
        manifest = _run(port, job, tmp_path, **limits)
        expected = _source(port, "voyages").merge(_source(port, "weather"), on="port")[
            ["voyage_id", "port", "wind", "hour"]
        ]
        expected = expected.sort_values("voyage_id", kind="stable").reset_index(drop=True)
        pd.testing.assert_frame_equal(_frame(_rows(tmp_path, manifest)), expected, check_dtype=False)
        assert manifest.counts["made"] == len(expected)

    @pytest.mark.parametrize("limits", [{}, PARTED], ids=["given", "parted"])
    def test_more_rows_than_a_unit_may_become_are_refused_before_they_are_put_together(
        self, port: Workspace, tmp_path: Path, limits: dict[str, int]
    ) -> None:
        real, made = join_tasks.expanded, []

        def counting(*args: Any, **how: Any) -> Any:
            found = real(*args, **how)
            made.append(len(found[0]))
            return found

        with (
            patch.object(join_tasks, "MOST_ROWS", 1000),
            patch.object(join_tasks, "expanded", counting),
            pytest.raises(InvalidInput, match=r"rows would become \d+, more than 1000"),
        ):
            _run(port, _job(port, "loud"), tmp_path, **limits)
        assert sum(made) == 0  # a bucket may have no key at all
        assert read_snapshot(open_store(str(tmp_path)), "loud") is None

    def test_rows_without_a_key_count_for_nobody(self, port: Workspace) -> None:
        joins = [{"dataset": "voyages", "on": ["ship"], "aggregate": {"total": "sum(voyage_id)"}}]
        plan, _ = _plan(port, _job(port, "sailings", joins=joins))
        rows = pa.table({"ship": [None, None, "a"], "voyage_id": [2**62, 2**62, 5]})  # together they don't fit 64 bits
        _, found = JoinSide(plan.joins[0], rows).found([rows.column("ship")], None)
        assert found.to_pydict() == {"total": [5]}

    @pytest.mark.parametrize("limits", [{}, PARTED], ids=["one bucket", "many"])
    def test_newest_of_each_ship_is_that_of_pandas(
        self, port: Workspace, tmp_path: Path, limits: dict[str, int]
    ) -> None:
        manifest = _run(port, _job(port, "newest"), tmp_path, **limits)
        voyages = _source(port, "voyages")
        ordered = voyages.dropna(subset=["ship"]).sort_values("sails_at", kind="stable", na_position="first")
        kept = {
            *ordered.drop_duplicates("ship", keep="last")["voyage_id"],
            *voyages[voyages["ship"].isna()]["voyage_id"],
        }
        assert _rows(tmp_path, manifest)["voyage_id"].to_pylist() == sorted(kept)
        assert manifest.counts["filtered_by_job"] == len(voyages) - len(kept)

    @pytest.mark.parametrize("limits", [{}, PARTED], ids=["one bucket", "many"])
    def test_groups_are_those_of_pandas(self, port: Workspace, tmp_path: Path, limits: dict[str, int]) -> None:
        manifest = _run(port, _job(port, "by_port"), tmp_path, **limits)
        groups = _source(port, "voyages").groupby(["port", "ship"], dropna=False)
        expected = {
            (key[0], None if pd.isna(key[1]) else key[1]): (len(rows), rows["crew"].sum()) for key, rows in groups
        }
        found = _rows(tmp_path, manifest).to_pylist()
        assert {(row["port"], row["ship"]): (row["voyages"], row["crew"]) for row in found} == expected
        assert len(found) == len(expected) == manifest.counts["made"]

    def test_joined_side_is_deduplicated_first(self, port: Workspace, tmp_path: Path) -> None:
        weather = {
            "dataset": "weather",
            "on": ["port"],
            "columns": ["hour"],
            "deduplicate": {"by": ["port"], "order": "hour", "keep": "last"},
        }
        parts = []
        for name, limits in (("given", {}), ("parted", PARTED)):
            manifest = _run(port, _job(port, "loud", joins=[weather]), tmp_path / name, **limits)
            parts.append([part.digest for part in manifest.fragments])
            newest = _source(port, "weather").groupby("port")["hour"].max()
            rows = _frame(_rows(tmp_path / name, manifest))
            assert rows["hour"].tolist() == rows["port"].map(newest).tolist()
        assert parts[0] == parts[1]

    def test_can_be_verified(self, port: Workspace, tmp_path: Path) -> None:
        settings = replace(port.settings, storage=tmp_path.as_uri())
        for name in ("sailings", "loud", "newest", "by_port"):
            for dataset in ("voyages", "weather", "ships"):  # the catalog's snapshots are records of this storage too
                read_snapshot(open_store(str(tmp_path)), dataset)
            manifest = _run(
                replace(port, settings=settings, store=open_store(str(tmp_path))), _job(port, name), tmp_path
            )
            verified = verify_dataset(settings, open_store(str(tmp_path)), name)
            assert not verified.findings
            assert manifest.counts["read"] == 720


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "changes", "family", "says"),
        [
            ("loud", {"columns": ["captain"]}, AccessDenied, "captain"),
            (
                "loud",
                {"joins": [{"dataset": "ships", "on": ["ship"], "to": ["name"], "columns": ["owner"]}]},
                AccessDenied,
                "owner",
            ),
            (
                "loud",
                {"joins": [{"dataset": "ships", "on": ["ship"], "to": ["owner"], "columns": ["built"]}]},
                AccessDenied,
                "owner",
            ),
            (
                "loud",
                {"joins": [{"dataset": "ships", "on": ["shop"], "to": ["name"], "columns": ["built"]}]},
                InvalidInput,
                "'ship'",
            ),
            (
                "loud",
                {"joins": [{"dataset": "ships", "on": ["crew"], "to": ["name"], "columns": ["built"]}]},
                InvalidInput,
                "one type",
            ),
            (
                "sailings",
                {"joins": [{"dataset": "weather", "on": ["port"], "columns": ["port"]}]},
                InvalidInput,
                "already",
            ),
            ("newest", {"deduplicate": {"by": ["captain"]}}, AccessDenied, "captain"),
            ("by_port", {"group_by": ["captain"]}, AccessDenied, "captain"),
            ("by_port", {"aggregate": {"x": "sum(port)"}}, InvalidInput, "numbers"),
        ],
    )
    def test_before_anything_runs(
        self, port: Workspace, name: str, changes: dict[str, Any], family: type[DataopsError], says: str
    ) -> None:
        with pytest.raises(family, match=says):
            _plan(port, _job(port, name, **changes))

    @pytest.mark.parametrize("limits", [{}, PARTED], ids=["given", "parted"])
    def test_second_row_with_a_key_ends_the_run(self, port: Workspace, tmp_path: Path, limits: dict[str, int]) -> None:
        joins = [{"dataset": "weather", "on": ["port"], "columns": ["wind"]}]
        with pytest.raises(ContractViolation, match="stand on more than one row"):
            _run(port, _job(port, "loud", joins=joins), tmp_path, **limits)
        assert read_snapshot(open_store(str(tmp_path)), "loud") is None

    def test_keys_that_are_masked_otherwise_are_not_joined(self, tmp_path: Path) -> None:
        policy = POLICY + (
            "  - {id: ships, effect: mask, roles: [data_science], purposes: [train], zones: [historical],\n"
            "     datasets: [ships], columns: {names: [name]}, mask: {hash: {}}}\n"
        )
        workspace = open_workspace(
            str(make_port(tmp_path, policy=policy.replace("hash: {}", "generalise: {prefix: 5}"))), {}
        )
        with pytest.raises(DataopsError, match="masked otherwise"):
            _plan(workspace, _job(workspace, "sailings"))


class TestGovernance:
    def test_what_is_found_by_a_key_is_classified_as_the_key(self, port: Workspace) -> None:
        plan, _ = _plan(port, _job(port, "sailings"))
        columns = {column.name: column for column in plan.columns}
        assert columns["built"].classification == "pii.quasi+public"
        assert columns["built"].origins == ("built", "name", "ship")
        assert columns["wind"].classification == "public+travel"
        assert set(columns["wind"].origins) == {"hour", "port", "sails_at", "seen_at", "wind"}
        assert columns["mean_crew"].classification == "pii.quasi+work"
        assert columns["crew"].origins == ()

    @pytest.mark.parametrize(("how", "ship"), [("left", "travel"), ("inner", "pii.quasi+travel")])
    @pytest.mark.parametrize("columns", [["built"], []], ids=["adds a column", "chooses alone"])
    def test_rows_that_an_inner_join_chose_are_classified_as_its_keys(
        self, port: Workspace, how: str, ship: str, columns: list[str]
    ) -> None:
        weather = {"dataset": "weather", "on": ["port"], "columns": ["wind"], "expect": "many"}
        ships = {"dataset": "ships", "on": ["ship"], "to": ["name"], "columns": columns, "how": how}
        if how == "left" and not columns:
            return
        plan, _ = _plan(port, _job(port, "sailings", columns=["voyage_id", "ship"], joins=[weather, ships]))
        found = {column.name: column for column in plan.columns}
        assert found["voyage_id"].classification == ship
        assert found["voyage_id"].origins == (("name", "ship", "voyage_id") if how == "inner" else ())
        assert found["voyage_id"].required
        assert found["ship"].classification == "pii.quasi"
        assert ("pii.quasi" in found["wind"].classification) == (how == "inner")

    def test_every_input_is_a_source_of_the_output(self, port: Workspace, tmp_path: Path) -> None:
        manifest = _run(port, _job(port, "sailings"), tmp_path)
        sources = {one["dataset"]: one["filters"] for one in manifest.lineage["sources"]}
        assert set(sources) == {"voyages", "weather", "ships"}
        assert sources["voyages"]
        assert not sources["ships"]
        assert manifest.lineage["input"] == "voyages"
        assert list(manifest.lineage["inputs"]) == ["input", "join:1:weather", "join:2:ships", "join:3:voyages"]


PSEUDONYMS = POLICY + (
    "  - {id: ships, effect: mask, roles: [data_science], purposes: [train, evaluate], zones: [historical],\n"
    "     datasets: ['*'], columns: {names: [ship, name]}, mask: {pseudonym: {domain: ship}}}\n"
)


class TestPseudonyms:
    """Keys that are pseudonyms on both sides find what the keys themselves would."""

    @pytest.fixture
    def town(self, tmp_path: Path) -> Workspace:
        return open_workspace(str(make_port(tmp_path / "port", policy=PSEUDONYMS)), {})

    @pytest.mark.parametrize("limits", [{}, PARTED], ids=["given", "parted"])
    def test_find_the_same_rows(
        self, town: Workspace, joined: pd.DataFrame, tmp_path: Path, limits: dict[str, int]
    ) -> None:
        found = _frame(_rows(tmp_path / "out", _run(town, _job(town, "sailings"), tmp_path / "out", **limits)))
        pd.testing.assert_frame_equal(found.drop(columns="ship"), joined.drop(columns="ship"))
        assert not found["ship"].str.startswith("ship-").any()

    def test_what_they_find_is_not_masked_again(self, town: Workspace, tmp_path: Path) -> None:
        settings = replace(town.settings, storage=tmp_path.as_uri())
        workspace = replace(town, settings=settings, store=open_store(str(tmp_path)))
        _run(workspace, _job(workspace, "sailings"), tmp_path)
        for purpose in ("train", "evaluate"):
            columns = open_one(workspace, "sailings", purpose).grant.effect.columns
            assert columns["built"] is None
            assert columns["voyages_of_ship"] is None
        assert open_one(workspace, "sailings", "evaluate").grant.effect.columns["ship"] is not None

    def test_of_another_purpose_are_other_keys(self, town: Workspace) -> None:
        job = _job(town, "sailings")
        joins = [job.joins[1].model_dump() | {"purpose": "evaluate"}]
        with pytest.raises(InvalidInput, match="masked otherwise"):
            _plan(town, _job(town, "sailings", joins=joins))


class TestConservation:
    def test_row_that_is_lost_on_its_way_publishes_nothing(self, port: Workspace, tmp_path: Path) -> None:
        real = exchange.Exchange.write
        lost = []

        def losing(self: exchange.Exchange, name: str, table: pa.Table, part: Any, parts: int) -> str:
            if name.startswith("read-2") and not lost:
                lost.append(name)
                table, part = table.slice(1), part[1:]
            return real(self, name, table, part, parts)

        with patch.object(exchange.Exchange, "write", losing), pytest.raises(Integrity, match="32 arrived"):
            _run(port, _job(port, "sailings"), tmp_path, **PARTED)
        assert read_snapshot(open_store(str(tmp_path)), "sailings") is None
        lost.clear()
        with patch.object(exchange.Exchange, "write", losing), pytest.raises(Integrity, match="32 arrived"):
            _run(port, _job(port, "sailings"), tmp_path / "given")

    @pytest.mark.parametrize("name", ["newest", "by_port"])
    def test_row_that_is_to_go_and_is_lost_on_its_way_publishes_nothing(
        self, port: Workspace, tmp_path: Path, name: str
    ) -> None:
        real = exchange.Exchange.write

        def losing(self: exchange.Exchange, name: str, table: pa.Table, part: Any, parts: int) -> str:
            if name.startswith("settle-main"):
                table, part = table.slice(1), part[1:]
            return real(self, name, table, part, parts)

        job = _job(port, name, deduplicate={"by": ["ship"], "order": "sails_at"})
        with patch.object(exchange.Exchange, "write", losing), pytest.raises(Integrity, match="settle-main: 434 rows"):
            _run(port, job, tmp_path, **PARTED)
        assert read_snapshot(open_store(str(tmp_path)), name) is None
        assert _run(port, job, tmp_path / "whole", **PARTED).counts["filtered_by_job"] >= 434

    @pytest.mark.parametrize("name", ["sailings", "newest", "by_port"])
    def test_row_that_comes_twice_publishes_nothing(self, port: Workspace, tmp_path: Path, name: str) -> None:
        real = exchange.Exchange.read

        def doubling(self: exchange.Exchange, paths: Sequence[str], part: int, *schema: Any) -> pa.Table:
            found = real(self, paths, part, *schema)
            return pa.concat_tables([found, found.slice(0, 1)]).combine_chunks() if part == 0 else found

        with patch.object(exchange.Exchange, "read", doubling), pytest.raises((Integrity, ContractViolation)):
            _run(port, _job(port, name), tmp_path, **PARTED)
        assert read_snapshot(open_store(str(tmp_path)), name) is None


class TestCrash:
    """Killed at any operation on the storage, the run is taken up again and comes to the same bytes."""

    @pytest.mark.parametrize(("name", "mode"), [("sailings", "before"), ("newest", "after"), ("by_port", "torn")])
    def test_at_any_operation_is_made_good_by_going_on(
        self, port: Workspace, tmp_path: Path, name: str, mode: Any
    ) -> None:
        job = _job(port, name)
        plan, inputs = _plan(port, job, GIVEN_BYTES=0, BUCKET_ROWS=400)
        expected = self._run(plan, inputs, tmp_path / "whole", Here())
        step = 79 if name == "sailings" else 7  # each operation would take a minute

        def attempt(k: int) -> bool:
            storage = tmp_path / f"at-{k}"
            store = FaultyStore(open_store(str(storage)), 1 + (k - 1) * step, mode)
            files = FaultyFiles(open_files(str(storage)), 0)
            files.fault = store.fault
            with self._storage(store, files), suppress(Crash):
                self._run(plan, inputs, storage, Here())
            assert self._run(plan, inputs, storage, Here()) == expected
            return store.fault.dead

        crash_points(attempt, at_least=3)

    def test_what_is_left_is_garbage_once_nobody_goes_on(self, port: Workspace, tmp_path: Path) -> None:
        plan, inputs = _plan(port, _job(port, "sailings"), **PARTED)
        with patch.object(join, "publish", side_effect=Crash), pytest.raises(Crash):
            self._run(plan, inputs, tmp_path, Here())
        left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("exchange/*")}
        assert left
        store, files = open_store(str(tmp_path)), open_files(str(tmp_path))
        for late, expected in ((timedelta(hours=1), set()), (timedelta(days=9), left)):
            found = find_garbage(store, files, sign=lambda _run: None, grace=timedelta(days=7), at=now_utc() + late)
            assert {one.path for garbage in found for one in garbage.files if "/exchange/" in one.path} == expected

    def test_goes_on_with_what_is_there(self, port: Workspace, tmp_path: Path) -> None:
        plan, inputs = _plan(port, _job(port, "sailings"), **PARTED)
        whole, again = Here(), Here()
        with patch.object(join, "publish", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            self._run(plan, inputs, tmp_path, whole)
        assert whole.tasks > 15
        self._run(plan, inputs, tmp_path, again)
        assert again.tasks == 0

    def _run(self, plan: JoinPlan, inputs: Any, storage: Path, work: Here) -> list[str]:
        join_tasks._SIDES._exchange = None
        manifest, _, _ = run_join(plan, inputs, work, storage=str(storage))  # type: ignore[arg-type]
        return [part.digest for part in manifest.fragments]

    @contextmanager
    def _storage(self, store: FaultyStore, files: FaultyFiles) -> Iterator[None]:
        def opened(_url: str) -> tuple[Any, Any]:
            return store, files

        with (
            patch.object(exchange, "open_storage", opened),
            patch.object(join_tasks, "open_storage", opened),
            patch.object(join_groups, "open_storage", opened),
            patch.object(join, "open_store", lambda _url: store),
        ):
            yield


def test_dataset_without_rows_finds_nothing(tmp_path: Path) -> None:
    folder = make_port(tmp_path)
    for name in ("weather", "ships"):
        for path in (folder / "data" / name).iterdir():
            pq.write_table(pq.read_table(path).slice(0, 0), path)
    workspace = open_workspace(str(folder), {})
    for number, limits in enumerate(({}, PARTED)):
        out = tmp_path / f"out-{number}"
        rows = _rows(out, _run(workspace, _job(workspace, "sailings"), out, **limits))
        assert rows["wind"].null_count == rows["built"].null_count == rows.num_rows > 0


def test_main_input_without_rows_makes_an_empty_dataset(tmp_path: Path) -> None:
    folder = make_port(tmp_path)
    for path in (folder / "data/voyages").iterdir():
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    workspace = open_workspace(str(folder), {})
    for name in ("sailings", "newest", "by_port"):
        assert not _run(workspace, _job(workspace, name), tmp_path / name, **PARTED).fragments


def test_times_of_other_units_are_compared_as_moments(tmp_path: Path) -> None:
    folder = make_port(tmp_path)
    contract = folder / "contracts/weather.yaml"
    contract.write_text(contract.read_text().replace("timestamp[us, tz=UTC]", "timestamp[ms, tz=UTC]"))
    for path in (folder / "data/weather").iterdir():
        table = pq.read_table(path)
        for name in ("hour", "seen_at"):
            at = table.column_names.index(name)
            table = table.set_column(at, name, table.column(name).cast(pa.timestamp("ms", "UTC")))
        pq.write_table(table, path)
    workspace = open_workspace(str(folder), {})
    plan, _ = _plan(workspace, _job(workspace, "sailings"))
    assert plan.joins[0].times is not None
    assert plan.joins[0].times.type_ == TIME
    rows = _rows(tmp_path / "out", _run(workspace, _job(workspace, "sailings"), tmp_path / "out"))
    assert rows["wind"].null_count < rows.num_rows
