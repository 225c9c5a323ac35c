from __future__ import annotations

import errno
import os
import pickle
from contextlib import suppress
from pathlib import Path

import pytest

from dataops.errors import Integrity, InvalidInput, NotFound, Storage
from dataops.storage import objects
from dataops.storage.disk import link_new
from dataops.storage.objects import MemoryStore, PosixStore, ReadOnlyStore, Store, open_store, probe, prove
from tests.storage.faulty import MODES, Crash, FaultyDisk, Mode, crash_points, trees_after
from tests.storage.store_suite import SharedStoreSuite, StoreSuite


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return MemoryStore()

    def test_stores_of_one_name_share_their_records(self) -> None:
        open_store("memory://shared-by-name").put_if_absent("a", b"x")
        assert open_store("memory://shared-by-name").get("a") == b"x"
        assert MemoryStore().list("") == []


class TestPosixStore(SharedStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(str(tmp_path / "a store"))

    def test_no_temporary_file_stays_behind(self, store: PosixStore) -> None:
        store.put_if_absent("a/b", b"x")
        store.put_if_absent("a/b", b"y")
        assert files_below(store.root) == ["a/b"]

    def test_what_a_kill_left_is_never_listed(self, store: PosixStore) -> None:
        store.put_if_absent("a/b", b"x")
        (store.root / "a" / ".tmp-0123").write_bytes(b"ha")
        assert store.list("") == ["a/b"]

    @pytest.mark.timeout(60)
    def test_a_named_pipe_where_a_record_should_be_holds_nobody_up(self, store: PosixStore) -> None:
        store.put_if_absent("a/b", b"x")
        os.mkfifo(store.root / "a" / "pipe")
        with pytest.raises(NotFound):
            store.get_at_most("a/pipe", 10)

    @pytest.mark.timeout(60)
    def test_who_wrote_a_record_is_told_of_its_bytes_and_of_no_link_or_pipe(
        self, store: PosixStore, tmp_path: Path
    ) -> None:
        store.put_if_absent("a", b"x")
        os.mkfifo(store.root / "pipe")
        (tmp_path / "outside").write_bytes(b"x")
        (store.root / "link").symlink_to(tmp_path / "outside")
        with pytest.raises(NotFound):
            store.get_owned("pipe", 10)
        with pytest.raises(InvalidInput, match="symbolic link"):
            store.get_owned("link", 10)
        assert store.names() == [one.key for one in store.names_owned()] == ["a", "link"]

    def test_a_link_that_takes_a_record_s_place_after_the_path_was_looked_at_is_not_followed(
        self, store: PosixStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "outside").write_bytes(b"x")
        (store.root / "link").symlink_to(tmp_path / "outside")
        monkeypatch.setattr(os.path, "islink", lambda _: False)
        assert store.get_at_most("link", 10) == b"x"  # the race is won by whoever exchanges it
        with pytest.raises(NotFound):
            store.get_owned("link", 10)

    @pytest.mark.parametrize("umask", [0o000, 0o002, 0o022])
    def test_a_record_is_never_written_so_that_others_may_rewrite_it(self, store: PosixStore, umask: int) -> None:
        before = os.umask(umask)
        try:
            store.put_if_absent("a", b"x")
        finally:
            os.umask(before)
        assert (store.root / "a").stat().st_mode & 0o7777 == 0o644
        assert store.get_owned("a", 1).is_own

    @pytest.mark.parametrize("mode", [0o664, 0o646, 0o620])
    def test_of_what_others_may_write_nobody_is_the_writer(self, store: PosixStore, mode: int) -> None:
        store.put_if_absent("a", b"x")
        (store.root / "a").chmod(mode)
        with pytest.raises(Integrity, match=rf"written by others than its owner \(mode 0{mode:o}\)"):
            store.get_owned("a", 10)

    @pytest.mark.skipif(os.getuid() != 0, reason="gives files away")
    def test_another_s_record_is_the_other_s(self, store: PosixStore) -> None:
        import pwd

        other = next(one for one in pwd.getpwall() if one.pw_uid not in (0, 65_534))
        store.put_if_absent("a", b"x")
        os.chown(store.root / "a", other.pw_uid, -1)
        owned = store.get_owned("a", 10)
        assert (owned.owner, owned.is_own) == (other.pw_name, False)
        os.chown(store.root / "a", 4_000_001, -1)
        assert store.get_owned("a", 10).owner == "uid 4000001"
        os.chown(store.root / "a", 65_534, -1)
        with pytest.raises(Integrity, match="belongs to 'nobody'"):
            store.get_owned("a", 10)

    def test_when_a_record_changed_is_told_by_a_clock_that_its_owner_cannot_set(self, store: PosixStore) -> None:
        store.put_if_absent("a", b"x")
        first = store.get_owned("a", 10).changed_at
        os.utime(store.root / "a", (0, 0))
        assert first is not None
        assert store.get_owned("a", 10).changed_at >= first

    def test_a_listing_takes_files_only_and_bears_a_folder_that_goes_meanwhile(
        self, store: PosixStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.put_if_absent("a/b", b"x")
        store.put_if_absent("gone/b", b"x")
        os.mkfifo(store.root / "a" / "pipe")
        real = os.scandir

        def gone_meanwhile(folder: Path) -> object:
            if Path(folder).name == "gone":
                raise FileNotFoundError
            return real(folder)

        monkeypatch.setattr(os, "scandir", gone_meanwhile)
        assert store.list("") == ["a/b"]

    def test_a_key_is_not_the_folder_of_another(self, store: PosixStore) -> None:
        store.put_if_absent("a/b", b"x")
        with pytest.raises(Storage):
            store.put_if_absent("a", b"y")
        with pytest.raises(Storage):
            store.put_if_absent("a/b/c", b"y")
        assert files_below(store.root) == ["a/b"]

    def test_a_symbolic_link_below_the_root_leads_nowhere(self, store: PosixStore, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(b"secret")
        (store.root / "folder").symlink_to(outside)
        (store.root / "file").symlink_to(outside / "secret")
        attempts = (
            lambda: store.get("folder/secret"),
            lambda: store.get("file"),
            lambda: store.put_if_absent("folder/new", b"x"),
            lambda: store.put_if_absent("file", b"x"),
            lambda: store.delete("folder/secret"),
            lambda: store.list("folder"),
            lambda: store.list(""),
        )
        for attempt in attempts:
            with pytest.raises(InvalidInput, match="symbolic link"):
                attempt()
        assert store.list_with_links("") == ["file", "folder"]
        assert ReadOnlyStore(store).list_with_links("") == ["file", "folder"]
        assert files_below(outside) == ["secret"]
        assert (outside / "secret").read_bytes() == b"secret"

    def test_the_root_itself_may_be_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "disk")
        store = open_store(str(tmp_path / "link"))
        assert store.put_if_absent("a/b", b"x") is True
        assert (store.get("a/b"), store.list("")) == (b"x", ["a/b"])

    def test_a_link_whose_reply_was_lost_is_known_by_its_inode(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.link

        def lost(source: Path, target: Path, **kwargs: object) -> None:
            real(source, target)
            raise OSError(errno.EIO, "reply lost")

        (tmp_path / "mine").write_bytes(b"x")
        monkeypatch.setattr(os, "link", lost)
        assert link_new(tmp_path / "mine", tmp_path / "target") is True

    def test_a_disk_without_hard_links_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def unsupported(source: Path, target: Path, **kwargs: object) -> None:
            raise OSError(errno.EOPNOTSUPP, "no links here")

        monkeypatch.setattr(os, "link", unsupported)
        with pytest.raises(Storage, match="not supported"):
            open_store(str(tmp_path / "exfat")).put_if_absent("a", b"x")
        assert files_below(tmp_path) == []

    @pytest.mark.parametrize("mode", MODES)
    def test_a_put_cut_off_anywhere_is_done_or_not_and_can_be_repeated(self, tmp_path: Path, mode: Mode) -> None:
        new = b"the whole record"

        def attempt(k: int) -> bool:
            root = tmp_path / str(k) / "store"
            store = open_store(str(root))
            store.put_if_absent("old/1", b"old")
            acknowledged = False
            with FaultyDisk(root, fail_at=k, mode=mode) as disk, suppress(Crash):
                acknowledged = store.put_if_absent("new/folder/2", new)
            for case, tree in trees_after(disk, root.parent):
                found = PosixStore(tree)
                assert found.get("old/1") == b"old", case
                keys = found.list("")
                assert keys in (["old/1"], ["new/folder/2", "old/1"]), case
                assert len(keys) == 1 or found.get("new/folder/2") == new, case
                assert len(keys) == 2 or not acknowledged, case
                assert found.put_if_absent("new/folder/2", new) is True, case
                assert found.get("new/folder/2") == new, case
            return not acknowledged

        crash_points(attempt, at_least=9)

    def test_a_loser_says_there_only_of_what_lasts(self, tmp_path: Path) -> None:
        """The winner was cut off between its link and the sync of the folder; who puts the same next makes it last."""
        root = tmp_path / "store"
        store = open_store(str(root))
        (root / "slots").mkdir()
        with FaultyDisk(root, fail_at=0) as disk:
            (root / "slots" / "1").write_bytes(b"x")
            disk._note_file(root / "slots" / "1")
            assert store.put_if_absent("slots/1", b"x") is True
        assert PosixStore(disk.after_power_cut(tmp_path / "after", names="synced")).get("slots/1") == b"x"

    def test_a_full_disk_is_a_storage_error_and_leaves_nothing(self, tmp_path: Path) -> None:
        root = tmp_path / "store"
        store = open_store(str(root))

        class AlwaysFull(FaultyDisk):
            def _fsync(self, descriptor: int) -> None:
                raise OSError(errno.ENOSPC, "full")

        with AlwaysFull(root, fail_at=0), pytest.raises(Storage, match="No space left on device; free space"):
            store.put_if_absent("b", b"x")
        assert files_below(root) == []


class IgnoresTheCondition(MemoryStore):
    """Takes every put for a first one."""

    def _create(self, key: str, data: bytes) -> bool:
        self._records[key] = data
        return True


class SaysNoButOverwrites(MemoryStore):
    def _create(self, key: str, data: bytes) -> bool:
        taken = key in self._records
        self._records[key] = data
        return not taken


class KeepsNothing(MemoryStore):
    def _create(self, key: str, data: bytes) -> bool:
        return True


class TestOpening:
    @pytest.mark.parametrize("kind", [IgnoresTheCondition, SaysNoButOverwrites, KeepsNothing])
    def test_a_store_that_does_not_keep_the_first_is_refused(self, kind: type[MemoryStore]) -> None:
        store = kind()
        with pytest.raises(Storage, match="two writers could both win"):
            probe(store)
        assert store.list("") == []

    def test_its_first_record_is_refused_every_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def overwrite(store: PosixStore, key: str, data: bytes) -> bool:
            (store.root / key).write_bytes(data)
            return True

        monkeypatch.setattr(PosixStore, "_create", overwrite)
        for _ in range(2):
            with pytest.raises(Storage, match="two writers could both win"):
                open_store(str(tmp_path)).put_if_absent("a", b"x")
        assert files_below(tmp_path) == []

    def test_a_store_is_probed_once_in_a_process(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        probed: list[str] = []
        monkeypatch.setattr(objects, "probe", lambda store: probed.append(store.url))
        for url in (str(tmp_path / "s"), str(tmp_path / "s"), (tmp_path / "s").as_uri()):
            store = open_store(url)
            for key in ("a", "b"):
                store.put_if_absent(key, b"x")
            assert prove(store) is None
        assert probed == [(tmp_path / "s").as_uri()]

    def test_who_writes_nothing_tries_nothing_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(objects, "probe", lambda _: pytest.fail("nothing was to be written"))
        store = open_store(str(tmp_path / "s"))
        assert (store.list(""), store.names(), store.folders("")) == ([], [], [])
        with pytest.raises(NotFound):
            store.get("a")
        store.delete("a")

    def test_a_store_that_went_to_another_process_is_tried_out_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        probed: list[str] = []
        monkeypatch.setattr(objects, "probe", lambda store: probed.append(store.url))
        for url in (str(tmp_path / "s"), "s3://bucket/p"):
            store = pickle.loads(pickle.dumps(open_store(url)))
            assert probed == []
            with suppress(Storage):
                store.put_if_absent("a", b"x")
            assert probed == [store.url]
            probed.clear()

    def test_a_reader_may_open_what_it_cannot_write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        open_store(str(tmp_path / "s")).put_if_absent("a/b", b"x")
        monkeypatch.setattr(objects, "probe", lambda _: pytest.fail("a reader must not write"))
        store = open_store(str(tmp_path / "s"), read_only=True)
        assert isinstance(store, ReadOnlyStore)
        assert (store.get("a/b"), store.list("a")) == (b"x", ["a/b"])
        for change in (lambda: store.put_if_absent("c", b"y"), lambda: store.delete("a/b")):
            with pytest.raises(Storage, match="reading only"):
                change()
        assert files_below(tmp_path / "s") == ["a/b"]

    def test_a_reader_makes_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="there is no folder"):
            open_store(str(tmp_path / "s"), read_only=True)
        assert not (tmp_path / "s").exists()

    def test_the_folder_is_made_and_a_file_in_its_place_refused(self, tmp_path: Path) -> None:
        open_store(str(tmp_path / "deep" / "er"))
        assert (tmp_path / "deep" / "er").is_dir()
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(Storage, match="making the folder"):
            open_store(str(tmp_path / "file"))

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("sftp://key:secret@host/x", "no store for sftp:// URLs"),
            ("fiel:///x", "Did you mean 'file'"),
            ("file://host/x", "without host"),
            ("file:///x?token=secret", "without host"),
            ("", "empty"),
            ("a\0b", "NUL"),
        ],
    )
    def test_a_url_without_a_store_is_refused_without_its_secrets(self, url: str, message: str) -> None:
        with pytest.raises(InvalidInput, match=message) as refusal:
            open_store(url)
        assert "secret" not in str(refusal.value)
