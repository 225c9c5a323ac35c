"""The one commit: one record per unit whoever tries, and nothing visible before all of it is."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.commit import UnitRecord, commit_unit, committed_units, parquet_bytes, unit_key
from dataops.datasets.publish import publish
from dataops.datasets.quarantine import QUARANTINE_FOLDER
from dataops.datasets.snapshot import Manifest, Snapshot, read_snapshot, snapshot_journal
from dataops.errors import Integrity, Storage
from dataops.storage.files import DataFiles, open_files
from dataops.storage.objects import PosixStore, Store, open_store
from tests.datasets.examples import ASIDE, COLUMNS, TABLE, make_manifest, make_receipt, make_unit
from tests.storage.faulty import MODES, Crash, FaultyFiles, FaultyStore, Mode, crash_points

UNITS = tuple(make_unit(number, 5) for number in range(3))


def _commit(store: Store, files: DataFiles, unit: str = "u000000", **changes: Any) -> UnitRecord:
    given: dict[str, Any] = {
        "dataset": "made",
        "run": "run-1",
        "input_dataset": "people",
        "table": TABLE,
        "quarantined": ASIDE,
        "receipt": make_receipt(unit, passed=4, quarantined=1),
    }
    return commit_unit(store, files, **given | changes)


def _publish(store: Store, records: dict[str, UnitRecord], **changes: Any) -> tuple[Manifest, Snapshot]:
    given: dict[str, Any] = {
        "dataset": "made",
        "run": "run-1",
        "zone": "historical",
        "columns": COLUMNS,
        "units": UNITS,
        "records": records,
        "lineage": {"kind": "prepare"},
    }
    return publish(store, **given | changes)


def _commit_all(folder: Path, run: str = "run-1") -> dict[str, UnitRecord]:
    store, files = open_store(str(folder)), open_files(str(folder))
    return {unit.id: _commit(store, files, unit.id, run=run) for unit in UNITS}


def _parts(folder: Path) -> list[str]:
    """Names of all Parquet files below `folder`, those of quarantine too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))


def _named(record: UnitRecord) -> list[str]:
    assert record.part is not None
    assert record.quarantine is not None
    return sorted([f"datasets/made/{record.part.path}", f"{QUARANTINE_FOLDER}/{record.quarantine.path}"])


class TestUnit:
    def test_leaves_a_part_a_quarantine_file_and_a_record(self, tmp_path: Path) -> None:
        store, files = open_store(str(tmp_path)), open_files(str(tmp_path))
        record = _commit(store, files, summary={"scores": [1, 3]})
        assert committed_units(store, "made", "run-1") == {"u000000": record}
        assert _parts(tmp_path) == _named(record)
        assert record.part is not None
        assert pq.read_table(tmp_path / "datasets/made" / record.part.path).equals(TABLE)
        assert files.sha256(f"datasets/made/{record.part.path}") == record.part.digest

    def test_without_rows_has_a_record_and_no_part(self, tmp_path: Path) -> None:
        store, files = open_store(str(tmp_path)), open_files(str(tmp_path))
        record = _commit(store, files, table=TABLE.slice(0, 0), receipt=make_receipt(passed=0, quarantined=1))
        assert record.part is None
        assert _parts(tmp_path) == [f"quarantine/{record.quarantine and record.quarantine.path}"]

    def test_whose_rows_are_not_those_of_its_receipt_leaves_nothing(self, tmp_path: Path) -> None:
        store, files = open_store(str(tmp_path)), open_files(str(tmp_path))
        with pytest.raises(Integrity, match="4 rows to write, its receipt says 3"):
            _commit(store, files, receipt=make_receipt(passed=3))
        assert list(tmp_path.rglob("*")) == []

    def test_whose_quarantine_is_not_that_of_its_receipt_leaves_nothing(self, tmp_path: Path) -> None:
        store, files = open_store(str(tmp_path)), open_files(str(tmp_path))
        with pytest.raises(Integrity, match="0 rows to set aside, its receipt says 1 quarantined"):
            _commit(store, files, quarantined=None)
        assert list(tmp_path.rglob("*")) == []

    def test_says_how_many_rows_each_rule_set_aside(self, tmp_path: Path) -> None:
        record = _commit(open_store(str(tmp_path)), open_files(str(tmp_path)))
        assert record.set_aside == {"age-limit": 1}
        assert UnitRecord.from_bytes(record.to_bytes()) == record

    def test_done_before_is_not_written_again(self, tmp_path: Path) -> None:
        store, files = open_store(str(tmp_path)), open_files(str(tmp_path))
        first = _commit(store, files)
        assert _commit(store, files) == first
        assert _parts(tmp_path) == _named(first)

    @pytest.mark.parametrize("attempts", [2, 5])
    def test_tried_by_several_at_once_has_one_record_and_one_set_of_files(self, tmp_path: Path, attempts: int) -> None:
        store, files = open_store(str(tmp_path)), open_files(str(tmp_path))
        barrier = threading.Barrier(attempts)

        class Meeting(PosixStore):
            """All attempts have written their files before the first of them puts its record."""

            def put_if_absent(self, key: str, data: bytes) -> bool:
                barrier.wait()
                return super().put_if_absent(key, data)

        with ThreadPoolExecutor(attempts) as pool:
            records = list(pool.map(lambda _: _commit(Meeting(tmp_path), files), range(attempts)))
        assert len({record.attempt for record in records}) == 1
        assert committed_units(store, "made", "run-1") == {"u000000": records[0]}
        assert _parts(tmp_path) == _named(records[0])

    def test_of_an_attempt_that_was_cut_off_and_comes_back_later_changes_nothing(self, tmp_path: Path) -> None:
        store, files = open_store(str(tmp_path)), open_files(str(tmp_path))
        winner: list[UnitRecord] = []

        class Slow(PosixStore):
            def put_if_absent(self, key: str, data: bytes) -> bool:
                winner.append(_commit(store, files))
                return super().put_if_absent(key, data)

        assert _commit(Slow(tmp_path), files) == winner[0]
        assert _parts(tmp_path) == _named(winner[0])

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("seam", ["store", "files"])
    def test_that_dies_anywhere_is_finished_by_a_second_attempt_and_no_orphan_is_named(
        self, tmp_path: Path, mode: Mode, seam: str
    ) -> None:
        def attempt(k: int) -> bool:
            folder = tmp_path / str(k)
            store, files = open_store(str(folder)), open_files(str(folder))
            faulty_store = FaultyStore(store, k, mode) if seam == "store" else store
            faulty_files = FaultyFiles(files, k, mode) if seam == "files" else files
            try:
                acknowledged = _commit(faulty_store, faulty_files)
            except Crash:
                acknowledged = None
            before = committed_units(store, "made", "run-1")
            record = _commit(store, files)
            assert before in ({}, {"u000000": record})
            assert acknowledged in (None, record)
            assert set(_named(record)) <= set(_parts(folder))
            assert record.part is not None
            assert files.sha256(f"datasets/made/{record.part.path}") == record.part.digest
            return acknowledged is None

        crash_points(attempt, at_least=2)

    def test_whose_put_failed_but_was_done_is_found_by_the_retry(self, tmp_path: Path) -> None:
        store, files = open_store(str(tmp_path)), open_files(str(tmp_path))
        # get (nothing yet), create (done, reply lost), then neither a try nor a look gets through
        lost = FaultyStore(store, 2, "after", lambda: Storage("lost"))
        record = _commit(lost, files)
        assert committed_units(store, "made", "run-1") == {"u000000": record}
        assert _parts(tmp_path) == _named(record)

    def test_record_that_was_edited_does_not_load(self, tmp_path: Path) -> None:
        store, files = open_store(str(tmp_path)), open_files(str(tmp_path))
        _commit(store, files)
        path = tmp_path / unit_key("made", "run-1", "u000000")
        path.write_bytes(path.read_bytes().replace(b'"read":5', b'"read":6'))
        with pytest.raises(Integrity, match="accounted for"):
            committed_units(store, "made", "run-1")


class TestParts:
    @given(st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=50), st.integers(1, 9))
    def test_of_equal_rows_have_equal_bytes_however_they_are_chunked(self, values: list[str | None], size: int) -> None:
        whole = pa.table({"a": pa.array(values, pa.string())})
        pieces = [whole.slice(start, size) for start in range(0, len(values), size)]
        cut = pa.concat_tables(pieces) if pieces else whole
        noted = whole.replace_schema_metadata({"pandas": "CANARY", "attempt": "1"})
        assert parquet_bytes(cut).equals(parquet_bytes(whole))
        assert parquet_bytes(noted).equals(parquet_bytes(whole))

    def test_hold_no_metadata_of_schema_or_fields(self) -> None:
        fields = [field.with_metadata({"note": "CANARY"}) for field in TABLE.schema]
        data = parquet_bytes(TABLE.cast(pa.schema(fields, metadata={"pandas": "CANARY"})).select(["age", "trade"]))
        assert b"CANARY" not in data.to_pybytes()
        assert pq.read_metadata(pa.BufferReader(data)).metadata is None

    def test_of_two_attempts_are_the_same_bytes_under_two_names(self, tmp_path: Path) -> None:
        one, other = _commit_all(tmp_path / "1")["u000000"], _commit_all(tmp_path / "2")["u000000"]
        assert one.part is not None
        assert other.part is not None
        assert one.part.digest == other.part.digest
        assert one.part.path != other.part.path


class TestPublish:
    def test_lists_the_winners_in_the_order_of_the_plan(self, tmp_path: Path) -> None:
        records = _commit_all(tmp_path)
        backwards = dict(reversed(records.items()))
        manifest, snapshot = _publish(open_store(str(tmp_path)), backwards)
        assert manifest.fragments == tuple(records[unit.id].part for unit in UNITS)
        assert (manifest.counts["read"], manifest.rows, snapshot.rows, snapshot.number) == (15, 12, 12, 1)

    def test_before_all_units_are_done_leaves_nothing(self, tmp_path: Path) -> None:
        records = _commit_all(tmp_path)
        del records["u000001"]
        with pytest.raises(Integrity, match="1 of 3 units have no record, u000001 first; resume it"):
            _publish(open_store(str(tmp_path)), records)
        assert list(tmp_path.rglob("manifest.json")) == []
        assert read_snapshot(open_store(str(tmp_path)), "made") is None

    def test_of_receipts_that_are_not_the_plans_rows_leaves_nothing(self, tmp_path: Path) -> None:
        records = _commit_all(tmp_path)
        with pytest.raises(Integrity, match="18 rows were planned, 15 read"):
            _publish(open_store(str(tmp_path)), records, units=tuple(make_unit(number, 6) for number in range(3)))
        assert list(tmp_path.rglob("manifest.json")) == []

    def test_of_a_part_with_other_rows_than_passed_leaves_nothing(self, tmp_path: Path) -> None:
        records = _commit_all(tmp_path)
        records["u000001"] = replace(records["u000001"], part=make_manifest("x", rows=3).fragments[0])
        with pytest.raises(Integrity, match="12 rows were written, 11 lie in its parts"):
            _publish(open_store(str(tmp_path)), records)
        assert list(tmp_path.rglob("manifest.json")) == []

    def test_of_nothing_is_an_empty_dataset(self, tmp_path: Path) -> None:
        manifest, snapshot = _publish(open_store(str(tmp_path)), {}, units=())
        assert (manifest.rows, snapshot.fragments) == (0, ())
        again = read_snapshot(open_store(str(tmp_path)), "made")
        assert again == snapshot

    def test_twice_gives_the_same(self, tmp_path: Path) -> None:
        store, records = open_store(str(tmp_path)), _commit_all(tmp_path)
        assert _publish(store, records) == _publish(store, records)

    def test_again_after_another_run_does_not_bring_the_old_state_back(self, tmp_path: Path) -> None:
        store, records = open_store(str(tmp_path)), _commit_all(tmp_path)
        _, first = _publish(store, records)
        _, second = _publish(store, _commit_all(tmp_path, run="run-2"), run="run-2")
        _, again = _publish(store, records)
        assert again == first
        assert read_snapshot(store, "made") == second

    def test_of_a_replay_is_one_more_manifest(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path))
        base, _ = _publish(store, _commit_all(tmp_path))
        more, snapshot = _publish(store, _commit_all(tmp_path, run="run-2"), run="run-2", replay_of="run-1")
        assert snapshot.manifests == (base, more)
        assert more.replay_of == "run-1"
        assert snapshot.rows == 24

    def test_of_a_replay_that_freed_no_row_leaves_all_as_it_is(self, tmp_path: Path) -> None:
        store, files = open_store(str(tmp_path)), open_files(str(tmp_path))
        _, before = _publish(store, _commit_all(tmp_path))
        units = (make_unit(0, 1),)
        receipt = make_receipt(passed=0, quarantined=1)
        records = {"u000000": _commit(store, files, run="run-2", table=TABLE.slice(0, 0), receipt=receipt)}
        _, snapshot = _publish(store, records, run="run-2", units=units, replay_of="run-1")
        assert snapshot == before
        assert not (tmp_path / "datasets/made/runs/run-2/manifest.json").exists()

    def test_with_other_parts_than_were_published_is_refused(self, tmp_path: Path) -> None:
        store, records = open_store(str(tmp_path)), _commit_all(tmp_path)
        _, snapshot = _publish(store, records)
        records["u000001"] = replace(records["u000001"], part=make_manifest("x").fragments[0])
        with pytest.raises(Integrity, match="published already, with other parts"):
            _publish(store, records)
        assert read_snapshot(store, "made") == snapshot

    @pytest.mark.parametrize("mode", MODES)
    def test_that_dies_anywhere_shows_the_old_or_the_new_and_is_finished_by_the_next(
        self, tmp_path: Path, mode: Mode
    ) -> None:
        _publish(open_store(str(tmp_path / "first")), _commit_all(tmp_path / "first"))

        def attempt(k: int) -> bool:
            folder = tmp_path / str(k)
            store = open_store(str(folder))
            _, old = _publish(store, _commit_all(folder))
            records = _commit_all(folder, run="run-2")
            try:
                acknowledged = _publish(FaultyStore(store, k, mode), records, run="run-2")
            except Crash:
                acknowledged = None
            seen = read_snapshot(store, "made")
            manifest, new = _publish(store, records, run="run-2")
            assert seen in (old, new)
            assert acknowledged in (None, (manifest, new))
            assert read_snapshot(store, "made") == new
            assert [entry.number for entry in snapshot_journal(store, "made").entries()] == [1, 2]
            return acknowledged is None

        crash_points(attempt, at_least=3)

    def test_by_two_drivers_at_once_is_one_snapshot(self, tmp_path: Path) -> None:
        records = _commit_all(tmp_path)
        barrier = threading.Barrier(2)

        def drive(_: int) -> tuple[Manifest, Snapshot]:
            store = open_store(str(tmp_path))
            barrier.wait()
            return _publish(store, records)

        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(drive, range(2))
        assert one == other
        assert len(list(snapshot_journal(open_store(str(tmp_path)), "made").entries())) == 1
