"""What all DataFiles do. A backend's tests inherit from `FilesSuite`."""

from __future__ import annotations

import hashlib
import os
import pickle
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataops.errors import AlreadyExists, InvalidInput, NotFound
from dataops.storage.files import DataFiles, open_files

TABLE = pa.table({"n": list(range(1000)), "s": [f"row {n}" for n in range(1000)]})


def put(data: bytes):
    return lambda stream: stream.write(data)


class FilesSuite:
    def test_a_parquet_file_is_read_back_as_it_was_written(self, files: DataFiles) -> None:
        path = "runs/r1/data/part-u00001-a.parquet"
        size_bytes = files.write(path, lambda stream: pq.write_table(TABLE, stream))
        assert files.stat(path).size_bytes == size_bytes
        for pre_buffer in (False, True):
            with files.open(path) as source:
                assert pq.ParquetFile(source, pre_buffer=pre_buffer).read().equals(TABLE)

    def test_a_writer_that_closes_its_stream_is_fine(self, files: DataFiles) -> None:
        def write(stream: IO[bytes]) -> None:
            stream.write(b"abc")
            stream.close()

        assert files.write("a.bin", write) == 3

    @pytest.mark.parametrize(("head", "tail"), [(4, 8), (4, 100), (100, 4), (0, 0)])
    def test_its_ends_are_those_of_the_bytes(self, files: DataFiles, head: int, tail: int) -> None:
        data = bytes(range(20))
        files.write("a/b.bin", put(data))
        wanted = (20, data[:head], data[-tail:] if tail else b"")
        assert files.read_ends("a/b.bin", head, tail) == wanted
        assert DataFiles.read_ends(files, "a/b.bin", head, tail) == wanted

    def test_a_file_is_never_overwritten(self, files: DataFiles) -> None:
        files.write("part", put(b"first"))
        with pytest.raises(AlreadyExists, match="no file is written twice"):
            files.write("part", put(b"other"))
        with files.open("part") as source:
            assert source.read() == b"first"

    def test_list_takes_data_files_sorted_and_skips_markers_and_temporary_files(self, files: DataFiles) -> None:
        names = ("year=2001/b c.parquet", "year=2001/a.parquet", "z.parquet", "y.csv")
        hidden = (
            "_delta_log/0.parquet",
            "year=2001/.crc.parquet",
            "_SUCCESS",
            ".tmp/a.parquet",
            "year=2001/_x.parquet",
        )
        for name in (*names, *hidden):
            files.write(name, put(b"x"))
        assert [stat.path for stat in files.list("")] == ["year=2001/a.parquet", "year=2001/b c.parquet", "z.parquet"]
        assert [stat.path for stat in files.list("year=2001/")] == ["year=2001/a.parquet", "year=2001/b c.parquet"]
        assert [stat.path for stat in files.list("", suffix=".csv")] == ["y.csv"]
        assert all(files.stat(stat.path) == stat for stat in files.list(""))

    def test_a_source_that_is_not_there_does_not_look_empty(self, files: DataFiles) -> None:
        with pytest.raises(NotFound, match="there is no folder"):
            files.list("")
        files.write("a/b.parquet", put(b"x"))
        with pytest.raises(NotFound, match="there is no folder c"):
            files.list("c")
        with pytest.raises(NotFound, match="that is a file: name the folder"):
            files.list("a/b.parquet")

    def test_what_is_not_a_file_is_not_found(self, files: DataFiles) -> None:
        files.write("a/b", put(b"x"))
        for path in ("nothing", "a", "a/b/c"):
            for attempt in (files.stat, files.open, files.sha256, lambda name: files.read_ends(name, 4, 8)):
                with pytest.raises(NotFound, match=f"there is no file {path} in"):
                    attempt(path)

    def test_delete_takes_nothing_for_an_answer(self, files: DataFiles) -> None:
        files.write("a/b", put(b"x"))
        for path in ("a/b", "a/b", "never/was"):
            files.delete(path)
        files.write("c", put(b"x"))
        assert [stat.path for stat in files.list("", suffix="")] == ["c"]

    def test_pickled_it_reaches_the_same_files(self, files: DataFiles) -> None:
        files.write("a", put(b"x"))
        copy = pickle.loads(pickle.dumps(files))
        assert copy.url == files.url
        with copy.open("a") as source:
            assert source.read() == b"x"

    def test_its_digest_is_that_of_the_bytes(self, files: DataFiles) -> None:
        data = os.urandom(3_000_000)
        assert files.write("big.bin", put(data)) == files.stat("big.bin").size_bytes == len(data)
        assert files.sha256("big.bin") == "sha256:" + hashlib.sha256(data).hexdigest()
        with files.open("big.bin") as source:
            assert source.size() == len(data)
            source.seek(2_000_000)
            assert source.read(10) == data[2_000_000:2_000_010]
            assert source.read_at(5, 7) == data[7:12]

    def test_a_buffer_of_arrow_is_written_as_it_is(self, files: DataFiles) -> None:
        data = pa.py_buffer(os.urandom(1000))
        assert files.write("a.bin", lambda stream: stream.write(data)) == 1000
        assert files.sha256("a.bin") == "sha256:" + hashlib.sha256(data).hexdigest()

    def test_its_url_opens_it_again(self, files: DataFiles) -> None:
        files.write("a", put(b"x"))
        assert open_files(files.url).stat("a").size_bytes == 1

    def test_an_empty_file_is_a_file(self, files: DataFiles) -> None:
        assert files.write("a", put(b"")) == 0
        assert files.read_ends("a", 4, 8) == (0, b"", b"")
        with files.open("a") as source:
            assert source.read() == b""

    def test_what_its_writer_raises_is_raised_and_leaves_no_file(self, files: DataFiles) -> None:
        def write(stream: IO[bytes]) -> None:
            stream.write(b"half")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            files.write("a/b", write)
        with pytest.raises(NotFound):
            files.stat("a/b")
        assert files.write("a/b", put(b"whole")) == 5

    @pytest.mark.parametrize(
        "path",
        ["", "/etc/passwd", "../a", "a/../../b", "a//b", "a/", ".", "a/./b", "a\0b", "a\nb", "a\u202eb", "a\udc80"],
    )
    def test_a_path_that_could_leave_or_deceive_is_refused(self, files: DataFiles, path: str) -> None:
        attempts = (files.stat, files.open, files.sha256, files.delete, lambda bad: files.write(bad, put(b"x")))
        for attempt in attempts:
            with pytest.raises(InvalidInput, match="can't be the path of a data file"):
                attempt(path)
        with pytest.raises(NotFound):
            files.list("", suffix="")
