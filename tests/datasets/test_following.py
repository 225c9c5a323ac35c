"""What arrives is taken when it is whole, and once; repeated, changed and late files have their rules."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.arrivals import NANOSECONDS, Arrived, Waits, look_for_arrivals, storage_clock_ns
from dataops.datasets.following import Rules, Sorted, Taken, read_chain, read_taken, sort_arrivals, taken_key
from dataops.datasets.snapshot import Fragment, RowGroup
from dataops.declarations.follow import Late, Repeated
from dataops.errors import Integrity, InvalidInput, NotFound
from dataops.records import digest_bytes
from dataops.storage.files import DataFiles, FileStat, open_files
from dataops.storage.objects import MemoryStore
from tests.datasets.examples import TABLE, write

NOW = 1_700_000_000 * NANOSECONDS
SETTLE = 60


def make_fragment(path: str, *, content: str = "", day: str | None = None, size: int = 10) -> Fragment:
    return Fragment(
        path=path,
        size_bytes=size,
        digest=f"sha256:{content or path}",
        row_groups=(RowGroup(rows=4, size_bytes=10),),
        modified_ns=1,
        partition=(("day", day),) if day else (),
    )


def sort(
    fragments: Sequence[Fragment], taken: Sequence[Fragment] = (), rules: Rules | None = None, *, same: bool = True
) -> Sorted:
    return sort_arrivals(fragments, taken, rules or Rules(), same_bytes=lambda *_: same)


class TestWhatArrives:
    def look(self, folder: Path, known: Sequence[Fragment] = ()) -> Arrived:
        files = open_files(str(folder))
        return look_for_arrivals(files, {one.path: one for one in known}, settle_seconds=SETTLE, now_ns=NOW)

    def put(self, path: Path, *, age: float = 3600, data: bytes | None = None) -> Path:
        write(path)
        if data is not None:
            path.write_bytes(data)
        time = NOW - int(age * NANOSECONDS)
        os.utime(path, ns=(time, time))
        return path

    def test_is_taken_once_it_is_as_old_as_it_has_to_be(self, tmp_path: Path) -> None:
        self.put(tmp_path / "old.parquet", age=SETTLE)
        self.put(tmp_path / "young.parquet", age=SETTLE - 1)
        self.put(tmp_path / "tomorrow.parquet", age=-86_400)
        found = self.look(tmp_path)
        assert [one.path for one in found.fragments] == ["old.parquet"]
        assert found.waiting == {"young.parquet": Waits.YOUNG, "tomorrow.parquet": Waits.YOUNG}

    @pytest.mark.parametrize(
        "name", [".a.parquet", "_a.parquet", "a.parquet.tmp", "a.parquet.crc", "_temporary/0/a.parquet"]
    )
    def test_is_no_file_under_a_temporary_name(self, tmp_path: Path, name: str) -> None:
        self.put(tmp_path / name)
        assert self.look(tmp_path) == Arrived(fragments=(), waiting={})

    @pytest.mark.parametrize("keep", [0, 4, 11, 100, -1, -8])
    def test_waits_without_a_whole_footer_however_old_it_is(self, tmp_path: Path, keep: int) -> None:
        whole = write(tmp_path / "a.parquet").read_bytes()
        self.put(tmp_path / "a.parquet", data=whole[:keep])
        assert self.look(tmp_path).waiting == {"a.parquet": Waits.UNFINISHED}

    @pytest.mark.parametrize("name", ["a\x1b[31m.parquet", "a\n.parquet", "a\udcff.parquet", "day=x\ty/a.parquet"])
    def test_waits_under_a_name_that_can_not_be_printed_and_stops_no_other(self, tmp_path: Path, name: str) -> None:
        plain = self.put((tmp_path / name).with_name("plain.parquet"))
        plain.rename(tmp_path / name)
        self.put(tmp_path / "day=1" / "b.parquet")
        found = self.look(tmp_path)
        assert [one.path for one in found.fragments] == ["day=1/b.parquet"]
        assert set(found.waiting.values()) == {Waits.UNNAMED}
        (shown,) = sort(found.fragments).named(found)["unnamed"]
        assert shown.isascii()
        assert shown.isprintable()
        assert "x" not in shown.partition("day=")[2]

    def test_waits_while_it_changes_under_the_look(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.put(tmp_path / "a.parquet")
        files = open_files(str(tmp_path))
        real = type(files).stat
        grown = []

        def stat(self: DataFiles, path: str) -> FileStat:
            found = real(self, path)
            grown.append(path)
            return replace(found, size_bytes=found.size_bytes + len(grown))

        monkeypatch.setattr(type(files), "stat", stat)
        assert self.look(tmp_path).waiting == {"a.parquet": Waits.CHANGING}

    def test_is_not_opened_again_if_it_is_known_also_where_its_writer_touches_it_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.put(tmp_path / "a.parquet")
        known = self.look(tmp_path).fragments
        monkeypatch.setattr("dataops.datasets.arrivals.read_fragment", lambda *_: pytest.fail("opened"))
        assert self.look(tmp_path, known).fragments == known

    def test_is_nothing_in_an_empty_folder_and_an_error_without_one(self, tmp_path: Path) -> None:
        assert self.look(tmp_path).fragments == ()
        with pytest.raises(NotFound):
            self.look(tmp_path / "none")

    def test_ages_by_the_clock_of_the_storage(self, tmp_path: Path) -> None:
        before = write(tmp_path / "a").stat().st_mtime_ns
        now = storage_clock_ns(open_files(str(tmp_path)))
        assert before <= now <= write(tmp_path / "b").stat().st_mtime_ns
        assert list((tmp_path / "_clock").iterdir()) == []


class TestRules:
    def test_a_file_is_new_until_it_was_taken(self) -> None:
        first, second = make_fragment("a"), make_fragment("b")
        assert sort([first, second], [first]).new == (second,)
        assert sort([first, second], [first, second]).new == ()

    @pytest.mark.parametrize("change", [{"size_bytes": 11}, {"digest": "sha256:other"}, {"modified_ns": 2}])
    def test_a_file_that_changed_after_it_was_taken_is_named_and_not_scored(self, change: dict[str, object]) -> None:
        one = make_fragment("a")
        changed = replace(one, **change)  # type: ignore[arg-type]
        found = sort([changed], [one])
        assert (found.changed, found.new) == ((changed,), ())

    def test_a_repeated_file_is_skipped_also_within_one_look(self) -> None:
        first, second, third = (make_fragment(path, content="x") for path in "abc")
        found = sort([second, third], [first])
        assert (found.repeated, found.new) == ((second, third), ())
        assert sort([first, second]).new == (first,)

    def test_a_repeated_file_is_scored_where_the_job_says_so(self) -> None:
        first, second = (make_fragment(path, content="x") for path in "ab")
        found = sort([second], [first], Rules(repeated=Repeated.SCORE))
        assert (found.repeated, found.new) == ((second,), (second,))

    def test_files_with_one_footer_and_other_bytes_are_two(self) -> None:
        """Without statistics, or with values in other places, footers are alike: rows would be lost unseen."""
        first, second = (make_fragment(path, content="x") for path in "ab")
        assert sort([second], [first], same=False).new == (second,)

    @pytest.mark.parametrize(("late", "scored"), [(Late.SCORE, True), (Late.SKIP, False), (Late.STOP, False)])
    def test_a_late_file_lies_below_the_newest_time_that_was_taken(self, late: Late, scored: bool) -> None:
        rules = Rules(late=late, watermark=("day", pa.date32()), lateness_seconds=86_400)
        taken = [make_fragment("a", day="2024-01-10"), make_fragment("b", day="2024-01-03")]
        edge, below = make_fragment("c", day="2024-01-09"), make_fragment("d", day="2024-01-08")
        found = sort([edge, below], taken, rules)
        assert found.late == (below,)
        assert found.new == ((edge, below) if scored else (edge,))

    def test_no_file_is_late_before_any_was_taken_nor_without_a_time(self) -> None:
        rules = Rules(late=Late.SKIP, watermark=("day", pa.date32()))
        old = make_fragment("a", day="1999-01-01")
        nameless = make_fragment("b", day="__HIVE_DEFAULT_PARTITION__")
        assert sort([old, make_fragment("c", day="2024-01-01")], (), rules).late == ()
        assert sort([nameless], [old], rules).new == (nameless,)

    def test_a_folder_that_is_no_time_is_refused_without_its_value(self) -> None:
        rules, taken = Rules(watermark=("day", pa.date32())), make_fragment("b", day="2024-01-01")
        with pytest.raises(InvalidInput) as refusal:
            sort([replace(make_fragment("a"), path="day=CANARY/a", partition=(("day", "CANARY"),))], [taken], rules)
        assert "CANARY" not in str(refusal.value)

    @given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")), max_size=12), st.integers(0, 12))
    def test_every_file_becomes_one_thing_and_contents_are_taken_once(
        self, files: list[tuple[str, str]], cut: int
    ) -> None:
        fragments = list({path: make_fragment(path, content=content) for path, content in files}.values())
        first = sort(fragments[:cut]).new
        found = sort(fragments, first)
        parts = (found.new, found.before, found.repeated, found.changed)
        assert sorted(one.path for part in parts for one in part) == sorted(one.path for one in fragments)
        taken = [one.digest for one in (*first, *found.new)]
        assert len(taken) == len(set(taken)) == len({one.digest for one in fragments})
        assert sort(fragments, (*first, *found.new)).new == ()


class TestWhatWasTaken:
    def make(self, previous: tuple[str, str] | None, *paths: str) -> Taken:
        return Taken(
            dataset="d",
            previous=previous,
            fragments=tuple(make_fragment(path, day="2024-01-01") for path in paths),
            counts={"files": len(paths)},
            named={"late": ("x",)},
        )

    def test_is_read_back_run_by_run(self) -> None:
        store, first = MemoryStore(), self.make(None, "a", "b")
        store.put_if_absent(taken_key("one"), first.to_bytes())
        second = self.make(("one", digest_bytes(first.to_bytes())), "c")
        store.put_if_absent(taken_key("two"), second.to_bytes())
        assert list(read_chain(store, "two", digest_bytes(second.to_bytes()))) == [second, first]

    def test_that_is_gone_or_changed_is_never_guessed(self) -> None:
        store, one = MemoryStore(), self.make(None, "a")
        with pytest.raises(Integrity, match="is gone"):
            read_taken(store, "one")
        store.put_if_absent(taken_key("one"), one.to_bytes())
        with pytest.raises(Integrity, match="isn't the one"):
            read_taken(store, "one", digest_bytes(self.make(None).to_bytes()))


def test_rows_of_a_look_are_those_of_its_files(tmp_path: Path) -> None:
    found = sort([make_fragment("a"), make_fragment("b")])
    assert found.counts(Arrived(fragments=(), waiting={"c": Waits.YOUNG})) == {
        "files": 2, "rows": 2 * TABLE.num_rows, "before": 0, "waiting": 1, "repeated": 0, "changed": 0, "late": 0,
    }  # fmt: skip
