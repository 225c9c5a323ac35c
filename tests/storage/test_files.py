from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from dataops.errors import InvalidInput, Storage
from dataops.storage.disk import redact, storage_errors
from dataops.storage.files import DataFiles, FileStat, PosixFiles, open_files
from tests.storage.faulty import MODES, Crash, FaultyDisk, FaultyFiles, Mode, crash_points, trees_after
from tests.storage.files_suite import FilesSuite, put

HALVES = (b"first half, ", b"second half")


@pytest.fixture
def files(tmp_path: Path) -> DataFiles:
    return open_files(str(tmp_path / "some data"))


def write_halves(stream: IO[bytes]) -> None:
    for half in HALVES:
        stream.write(half)


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


class TestPosixFiles(FilesSuite):
    @pytest.fixture
    def files(self, tmp_path: Path) -> DataFiles:
        return open_files(str(tmp_path / "some data"))

    def test_its_stat_and_digest_are_those_of_the_bytes(self, files: DataFiles, tmp_path: Path) -> None:
        data = os.urandom(3_000_000)
        files.write("big.bin", put(data))
        on_disk = (tmp_path / "some data" / "big.bin").stat()
        assert files.stat("big.bin") == FileStat(path="big.bin", size_bytes=len(data), mtime_ns=on_disk.st_mtime_ns)
        assert files.sha256("big.bin") == "sha256:" + hashlib.sha256(data).hexdigest()

    def test_a_file_that_is_a_link_has_no_ends(self, files: DataFiles, tmp_path: Path) -> None:
        files.write("a.bin", put(b"x"))
        folder = tmp_path / "some data"
        (folder / "b.bin").symlink_to(folder / "a.bin")
        with pytest.raises(InvalidInput, match="symbolic link"):
            files.read_ends("b.bin", 1, 1)

    def test_opening_touches_no_disk_and_its_url_opens_it_again(self, files: DataFiles, tmp_path: Path) -> None:
        assert not (tmp_path / "some data").exists()
        files.write("a", put(b"x"))
        assert open_files(files.url).stat("a").size_bytes == 1

    def test_another_scheme_is_refused_without_its_secrets(self) -> None:
        with pytest.raises(InvalidInput, match="sftp:// URLs") as refusal:
            open_files("sftp://key:secret@host")
        assert "secret" not in str(refusal.value)

    def test_a_link_to_another_dataset_is_not_read(self, files: DataFiles, tmp_path: Path) -> None:
        files.write("ours.parquet", put(b"x"))
        other = open_files(str(tmp_path / "restricted"))
        other.write("secret.parquet", put(b"secret"))
        (tmp_path / "some data" / "sub").symlink_to(tmp_path / "restricted")
        attempts = (
            lambda: files.list(""),
            lambda: files.open("sub/secret.parquet"),
            lambda: files.stat("sub/secret.parquet"),
            lambda: files.sha256("sub/secret.parquet"),
            lambda: files.read_ends("sub/secret.parquet", 4, 8),
            lambda: files.delete("sub/secret.parquet"),
            lambda: files.write("sub/new.parquet", put(b"x")),
        )
        for attempt in attempts:
            with pytest.raises(InvalidInput, match="symbolic link"):
                attempt()
        assert files_below(tmp_path / "restricted") == ["secret.parquet"]


class TestFailing:
    def test_a_writer_that_fails_leaves_no_file_and_its_error_as_it_was(self, files: DataFiles, tmp_path: Path) -> None:
        def write(stream: IO[bytes]) -> None:
            stream.write(b"half")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            files.write("a/b", write)
        assert files_below(tmp_path) == []
        assert files.write("a/b", put(b"whole")) == 5

    @pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_leaves_no_file(
        self, files: DataFiles, tmp_path: Path, interrupt: type[BaseException]
    ) -> None:
        def write(stream: IO[bytes]) -> None:
            stream.write(b"half")
            raise interrupt

        with pytest.raises(interrupt):
            files.write("a/b", write)
        assert files_below(tmp_path) == []

    def test_a_full_disk_is_a_storage_error_that_says_what_to_do(self, files: DataFiles, tmp_path: Path) -> None:
        def write(stream: IO[bytes]) -> None:
            stream.write(b"half")
            raise OSError(errno.ENOSPC, "no space", "/secret/place")

        with pytest.raises(Storage, match=r"writing a/b in .*: No space left on device; free space") as refusal:
            files.write("a/b", write)
        assert "secret" not in str(refusal.value)
        assert files_below(tmp_path) == []

    def test_a_limit_met_for_real_leaves_no_file(self, tmp_path: Path) -> None:
        script = """
import resource, sys, pyarrow as pa, pyarrow.parquet as pq
from dataops.errors import Storage
from dataops.storage.files import open_files
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
table = pa.table({"n": pa.array(range(1_000_000))})
try:
    open_files(sys.argv[1]).write("a/b.parquet", lambda stream: pq.write_table(table, stream))
except Storage as error:
    print(error)
"""
        done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
        assert "writing a/b.parquet in" in done.stdout
        assert "File too large" in done.stdout
        assert files_below(tmp_path) == []

    def test_a_message_from_below_loses_its_credentials(self) -> None:
        leaky = "cannot reach s3://KEY:se/cr%2Fet@host/bucket/key?X-Sig=abc#frag, twice"
        assert redact(leaky) == "cannot reach s3://host/bucket/key twice"
        with pytest.raises(Storage) as refusal, storage_errors("reading x"):
            raise OSError(leaky)
        assert str(refusal.value) == "reading x failed: cannot reach s3://host/bucket/key twice"

    @pytest.mark.parametrize("mode", ["before", "torn"])
    def test_an_error_at_any_operation_leaves_no_file(self, tmp_path: Path, mode: Mode) -> None:
        def attempt(k: int) -> bool:
            root = tmp_path / str(k)
            files = PosixFiles(root)
            files.write("old/1", put(b"old"))
            full = FaultyDisk(root, fail_at=k, mode=mode, error=lambda: OSError(errno.ENOSPC, "full"))
            failed = False
            with full:
                try:
                    files.write("new/folder/2", write_halves)
                except Storage:
                    failed = True
            assert files_below(root) == (["old/1"] if failed else ["new/folder/2", "old/1"])
            return failed

        crash_points(attempt, at_least=7)

    @pytest.mark.parametrize("mode", MODES)
    def test_a_write_cut_off_anywhere_lasts_when_it_was_acknowledged(self, tmp_path: Path, mode: Mode) -> None:
        whole = b"".join(HALVES)

        def attempt(k: int) -> bool:
            root = tmp_path / str(k) / "files"
            files = PosixFiles(root)
            files.write("old/1", put(b"old"))
            acknowledged: int | None = None
            with FaultyDisk(root, fail_at=k, mode=mode) as disk, suppress(Crash):
                acknowledged = files.write("new/folder/2", write_halves)
            for case, tree in trees_after(disk, root.parent):
                assert (tree / "old/1").read_bytes() == b"old", case
                assert files_below(tree) in (["old/1"], ["new/folder/2", "old/1"]), case
                if acknowledged is not None:
                    assert (tree / "new/folder/2").read_bytes() == whole, case
                    assert acknowledged == len(whole), case
                assert PosixFiles(tree).write("new/folder/3", write_halves) == len(whole), case
            return acknowledged is None

        crash_points(attempt, at_least=8)


class TestFaultyFiles:
    """The fake keeps the seam's promises, or breaks them as it says."""

    @pytest.mark.parametrize(("mode", "left"), [("before", []), ("torn", ["a"]), ("after", ["a"])])
    def test_a_crash_leaves_what_its_mode_says(
        self, files: DataFiles, tmp_path: Path, mode: Mode, left: list[str]
    ) -> None:
        faulty = FaultyFiles(files, fail_at=1, mode=mode)
        with pytest.raises(Crash):
            faulty.write("a", write_halves)
        with pytest.raises(Crash):
            faulty.stat("a")
        assert files_below(tmp_path / "some data") == left if left else not (tmp_path / "some data").exists()
        if left:
            whole = sum(map(len, HALVES))
            assert files.stat("a").size_bytes == (whole if mode == "after" else whole // 2)

    def test_without_a_fault_it_is_the_inner_one(self, files: DataFiles) -> None:
        faulty = FaultyFiles(files, fail_at=0)
        assert faulty.write("a.parquet", put(b"x")) == 1
        assert faulty.list("") == [faulty.stat("a.parquet")]
        assert faulty.sha256("a.parquet") == files.sha256("a.parquet")
        assert faulty.open("a.parquet").read() == b"x"
        faulty.delete("a.parquet")
        assert faulty.list("") == []
        assert faulty.fault.operations == 7
