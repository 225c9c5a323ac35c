"""Adopting Parquet where it lies: footers tell, and nothing else is read or written."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from dataops.datasets import source as sources
from dataops.datasets.snapshot import read_snapshot, snapshot_journal
from dataops.datasets.source import read_fragments, read_schema, refresh_source
from dataops.errors import Integrity, InvalidInput, NotFound, Storage
from dataops.storage.files import open_files
from dataops.storage.objects import MemoryStore, Store
from tests.datasets.examples import TABLE, make_contract, write
from tests.storage.faulty import MODES, Crash, FaultyFiles, FaultyStore, Mode, crash_points


def _refresh(store: Store, folder: Path, **options: object) -> int:
    return refresh_source(store, "people", str(folder), "historical", make_contract(**options)).number


class TestFragments:
    def test_are_the_parquet_files_by_path_without_hidden_ones(self, tmp_path: Path) -> None:
        for name in ("b/ü x=1'.parquet", "a.parquet", "_temporary/c.parquet", ".hidden.parquet", "_d.parquet"):
            write(tmp_path / name)
        (tmp_path / "_SUCCESS").write_text("")
        (tmp_path / "notes.txt").write_text("")
        found = read_fragments(open_files(str(tmp_path)))
        assert [fragment.path for fragment in found] == ["a.parquet", "b/ü x=1'.parquet"]
        assert [fragment.rows for fragment in found] == [4, 4]

    def test_of_an_empty_folder_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match=r"no \*\.parquet"):
            read_fragments(open_files(str(tmp_path)))

    def test_name_every_broken_file_in_the_middle(self, tmp_path: Path) -> None:
        for name in ("a", "b", "c", "d", "e"):
            write(tmp_path / f"{name}.parquet")
        (tmp_path / "b.parquet").write_bytes(b"PAR1")
        whole = (tmp_path / "c.parquet").read_bytes()
        (tmp_path / "c.parquet").write_bytes(whole[:-20])
        (tmp_path / "d.parquet").write_bytes(whole[:8] + b"CANARY" * 50 + whole[-8:])
        with pytest.raises(Integrity) as caught:
            read_fragments(open_files(str(tmp_path)))
        message = str(caught.value)
        assert "3 of 5 files" in message
        assert all(f"{name}.parquet" in message for name in "bcd")
        assert "CANARY" not in message

    @pytest.mark.parametrize("damage", ["broken", "link", "folder link", "schema", "partitions", "unprintable"])
    def test_no_refusal_says_the_value_of_a_partition(self, tmp_path: Path, damage: str) -> None:
        """A folder's name holds a value of a column that the one who runs the job may not be allowed to see."""
        town = tmp_path / "town"
        write(town / "illness=CANARY" / "a.parquet")
        odd = town / "illness=CANARY" / "b.parquet"
        match damage:
            case "broken":
                odd.write_bytes(b"PAR1")
            case "link":
                odd.symlink_to(town / "illness=CANARY" / "a.parquet")
            case "folder link":
                (town / "illness=CANARY2").symlink_to(town / "illness=CANARY")
            case "schema":
                write(odd, TABLE.rename_columns([f"{name}2" for name in TABLE.column_names]))
            case "partitions":
                write(town / "illness=CANARY" / "more=CANARY" / "b.parquet")
            case "unprintable":
                write(town / "illness=CANARY" / "b\x07.parquet")
        files = open_files(str(town))
        with pytest.raises((Integrity, InvalidInput)) as caught:
            read_schema(files, read_fragments(files))
        assert "illness=..." in str(caught.value)
        assert "CANARY" not in str(caught.value)

    def test_an_encrypted_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.parquet").write_bytes(b"PARE" + b"\0" * 40 + b"PARE")
        with pytest.raises(Integrity, match=r"a\.parquet: is encrypted"):
            read_fragments(open_files(str(tmp_path)))

    def test_seen_before_are_not_opened_again_unless_size_or_time_differ(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("a", "b", "c"):
            write(tmp_path / f"{name}.parquet")
        files = open_files(str(tmp_path))
        known = {fragment.path: fragment for fragment in read_fragments(files)}
        os.utime(tmp_path / "b.parquet", ns=(1, 1))
        write(tmp_path / "c.parquet", TABLE.slice(0, 1))
        opened: list[str] = []
        real = sources.read_fragment
        monkeypatch.setattr(
            sources, "read_fragment", lambda files, stat, *more: (opened.append(stat.path), real(files, stat, *more))[1]
        )
        assert [fragment.rows for fragment in read_fragments(files, known)] == [4, 4, 1]
        assert sorted(opened) == ["b.parquet", "c.parquet"]

    def test_a_failing_disk_does_not_make_a_file_a_broken_one(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet")
        files = FaultyFiles(open_files(str(tmp_path)), 2, error=lambda: Storage("disk"))
        with pytest.raises(Storage):
            read_fragments(files)

    def test_with_other_partition_folders_are_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "y=1" / "a.parquet")
        write(tmp_path / "b.parquet")
        with pytest.raises(InvalidInput, match="partition folders"):
            read_fragments(open_files(str(tmp_path)))


class TestSchema:
    def _schema(self, folder: Path) -> pa.Schema:
        files = open_files(str(folder))
        return read_schema(files, read_fragments(files))

    def test_does_not_mind_the_order_of_columns_nor_how_text_is_stored(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet")
        write(tmp_path / "b.parquet", TABLE.select(TABLE.column_names[::-1]))
        write(tmp_path / "c.parquet", TABLE.set_column(2, "trade", TABLE.column("trade").dictionary_encode()))
        required = pa.schema([field.with_nullable(False) for field in TABLE.schema])
        write(tmp_path / "d.parquet", TABLE.cast(required))
        assert self._schema(tmp_path).names == TABLE.column_names

    def test_names_what_differs(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet")
        write(tmp_path / "b.parquet", TABLE.set_column(1, "age", TABLE.column("age").cast(pa.int64())))
        with pytest.raises(InvalidInput, match=r"b\.parquet and a\.parquet differ in .*: age \(int64 and int32\);"):
            self._schema(tmp_path)

    def test_has_the_partitions_last(self, tmp_path: Path) -> None:
        write(tmp_path / "year=1994" / "a.parquet")
        assert self._schema(tmp_path).names == [*TABLE.column_names, "year"]


class TestRefresh:
    def test_records_a_snapshot_only_when_something_changed(self, tmp_path: Path) -> None:
        store = MemoryStore()
        write(tmp_path / "a.parquet")
        assert [_refresh(store, tmp_path) for _ in range(2)] == [1, 1]
        write(tmp_path / "b.parquet")
        assert _refresh(store, tmp_path) == 2
        assert _refresh(store, tmp_path, columns=make_contract().columns[:2]) == 3

    def test_goes_back_to_what_was_before(self, tmp_path: Path) -> None:
        store = MemoryStore()
        write(tmp_path / "a.parquet")
        first = refresh_source(store, "people", str(tmp_path), "historical", make_contract())
        extra = write(tmp_path / "b.parquet")
        _refresh(store, tmp_path)
        extra.unlink()
        back = refresh_source(store, "people", str(tmp_path), "historical", make_contract())
        assert (back.number, back.content_digest) == (3, first.content_digest)

    def test_of_a_broken_tree_records_nothing(self, tmp_path: Path) -> None:
        store = MemoryStore()
        write(tmp_path / "a.parquet")
        (tmp_path / "b.parquet").write_bytes(b"no parquet")
        with pytest.raises(Integrity):
            _refresh(store, tmp_path)
        assert store.list("") == []

    @pytest.mark.parametrize("mode", MODES)
    def test_that_dies_anywhere_is_finished_by_the_next(self, tmp_path: Path, mode: Mode) -> None:
        write(tmp_path / "a.parquet")

        def attempt(k: int) -> bool:
            store = MemoryStore()
            faulty = FaultyStore(store, k, mode)
            try:
                _refresh(faulty, tmp_path)
            except Crash:
                died = True
            else:
                died = False
            seen = read_snapshot(store, "people")
            assert seen is None or seen.rows == 4
            assert _refresh(store, tmp_path) == 1
            assert len(list(snapshot_journal(store, "people").entries())) == 1
            return died

        crash_points(attempt, at_least=4)
