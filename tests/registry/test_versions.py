from __future__ import annotations

import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from dataops.errors import Format, Integrity, InvalidInput, NotFound, Storage
from dataops.registry.versions import Registry
from dataops.storage.objects import MemoryStore, PosixStore
from tests.registry.examples import AT, make_package
from tests.storage.faulty import MODES, Crash, FaultyDisk, FaultyStore, Mode, crash_points, trees_after


@pytest.fixture(params=["memory", "posix"])
def registry(request, tmp_path):
    return Registry(MemoryStore() if request.param == "memory" else PosixStore(tmp_path))


def test_a_version_comes_back_as_it_was_registered(registry):
    version = registry.register("income", make_package(), at=AT)
    loaded = registry.read("income", 1)
    assert loaded.package == make_package()
    assert loaded.version == version == registry.find("income", 1)
    alone, stored = registry.read_model("income", 1)
    assert alone == version
    assert (stored.model_format, stored.model) == (loaded.package.model_format, loaded.package.model)
    assert (version.version, version.registered_at, version.reference) == (1, AT, "income@1")


def test_versions_are_numbered_in_order_and_listed_by_model(registry):
    for run in range(11):
        registry.register("income", make_package(f"run-{run}"), at=AT)
    registry.register("delay", make_package(), at=AT)
    assert [version.version for version in registry.versions("income")] == list(range(1, 12))
    assert registry.list_models() == ["delay", "income"]
    assert registry.versions("nothing") == []


def test_registering_the_same_package_again_returns_the_version_that_is_there(registry):
    first = registry.register("income", make_package(), at=AT)
    keys = registry.store.list("")
    assert registry.register("income", make_package(), at=AT + timedelta(days=1)) == first
    assert registry.store.list("") == keys


def test_a_number_whose_writer_died_is_not_used_again_and_stays_invisible(registry):
    registry.store.put_if_absent("income/versions/1/claim.json", b"{}")
    assert registry.list_models() == []
    assert registry.register("income", make_package(), at=AT).version == 2
    assert [version.version for version in registry.versions("income")] == [2]
    with pytest.raises(NotFound, match="income has no version 1; its newest is 2"):
        registry.read("income", 1)


def test_an_unknown_model_gets_its_near_match(registry):
    registry.register("income", make_package(), at=AT)
    with pytest.raises(NotFound, match="Did you mean 'income'"):
        registry.read("incom", 1)


@pytest.mark.parametrize("name", ["../income", "a/b", "", "Income", "a\x00"])
def test_a_model_name_that_could_leave_the_registry_is_refused_and_writes_nothing(registry, name):
    with pytest.raises(InvalidInput):
        registry.register(name, make_package(), at=AT)
    assert registry.store.list("") == []


@pytest.mark.parametrize("name", ["program.json", "model.json", "metrics.json", "card.md", "manifest.json"])
def test_a_changed_file_is_refused_and_a_missing_one_too(registry, name):
    registry.register("income", make_package(), at=AT)
    key = f"income/versions/1/{name}"
    data = registry.store.get(key)
    registry.store.delete(key)
    with pytest.raises((Integrity, NotFound)):
        registry.read("income", 1)
    with pytest.raises((Integrity, NotFound)):
        registry.read_model("income", 1)
    registry.store.put_if_absent(key, data[:-2] + b" }")
    with pytest.raises((Integrity, Format)):
        registry.read("income", 1)
    with pytest.raises((Integrity, Format)):
        registry.read_model("income", 1)


def test_a_file_that_nobody_vouched_for_is_refused(registry):
    registry.register("income", make_package(), at=AT)
    registry.store.put_if_absent("income/versions/1/extra.pkl", b"\x80\x04")
    with pytest.raises(Integrity, match=r"extra\.pkl"):
        registry.read("income", 1)
    with pytest.raises(Integrity, match=r"extra\.pkl"):
        registry.read_model("income", 1)


def test_a_copied_version_folder_is_refused_under_its_new_number(registry):
    registry.register("income", make_package(), at=AT)
    for key in registry.store.list("income/versions/1"):
        registry.store.put_if_absent(key.replace("versions/1/", "versions/2/"), registry.store.get(key))
    with pytest.raises(Integrity, match="the folder was moved"):
        registry.read("income", 2)
    with pytest.raises(Integrity, match="the folder was moved"):
        registry.read_model("income", 2)


def test_a_version_is_never_written_over(registry):
    registry.register("income", make_package(), at=AT)
    registry.store.delete("income/versions/1/model.json")
    registry.store.put_if_absent("income/versions/1/model.json", b"other")
    with pytest.raises(Integrity, match="holds other bytes"):
        registry.register("income", make_package(), at=AT)
    assert registry.store.get("income/versions/1/model.json") == b"other"


def old_or_new(registry: Registry) -> None:
    """Nothing acknowledged is lost, nothing torn is seen, and another try ends with exactly one new version."""
    seen = [registry.read("income", version.version).package for version in registry.versions("income")]
    assert seen in ([make_package("old")], [make_package("old"), make_package("new")])
    again = registry.register("income", make_package("new"), at=AT)
    assert [version.digest for version in registry.versions("income")][1:] == [again.digest]
    assert registry.read("income", again.version).package == make_package("new")


@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_storage_operation_leaves_the_old_or_the_new_registry(mode: Mode):
    def attempt(fail_at: int) -> bool:
        store = MemoryStore()
        Registry(store).register("income", make_package("old"), at=AT)
        dying = FaultyStore(store, fail_at, mode)
        with suppress(Crash):
            Registry(dying).register("income", make_package("new"), at=AT)
        old_or_new(Registry(store))
        return dying.fault.operations >= fail_at

    crash_points(attempt, at_least=8)


def in_memory(root: Path) -> MemoryStore:
    """The records below `root`, where looking at them costs no sync."""
    found, copy = PosixStore(root), MemoryStore()
    for key in found.list(""):
        copy.put_if_absent(key, found.get(key))
    return copy


def test_power_lost_at_any_disk_operation_leaves_the_old_or_the_new_registry(tmp_path):
    Registry(PosixStore(tmp_path / "old")).register("income", make_package("old"), at=AT)

    def attempt(fail_at: int) -> bool:
        root = tmp_path / f"{fail_at}"
        shutil.copytree(tmp_path / "old", root)
        with FaultyDisk(root, fail_at, "after") as disk, suppress(Crash):
            Registry(PosixStore(root)).register("income", make_package("new"), at=AT)
        for _, tree in trees_after(disk, tmp_path / f"after-{fail_at}"):
            old_or_new(Registry(in_memory(tree)))
        return disk.fault.operations >= fail_at

    crash_points(attempt, at_least=8)


@pytest.mark.parametrize("mode", ["before", "after"])
def test_a_store_that_fails_once_at_any_operation_changes_nothing_for_a_caller_that_tries_again(mode: Mode):
    def attempt(fail_at: int) -> bool:
        store = FaultyStore(MemoryStore(), fail_at, mode, error=lambda: Storage("flapping"))
        registry = Registry(store)
        with suppress(Storage):
            registry.register("income", make_package(), at=AT)
        met = store.fault.operations >= fail_at
        again = Registry(store.inner).register("income", make_package(), at=AT)
        assert Registry(store.inner).versions("income") == [again]
        return met

    crash_points(attempt, at_least=8)


def test_writers_of_the_same_package_at_once_make_one_version(tmp_path):
    def register(_: int) -> str:
        return Registry(PosixStore(tmp_path)).register("income", make_package(), at=AT).digest

    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(register, range(16)))
    assert len(digests) == 1
    assert [version.digest for version in Registry(PosixStore(tmp_path)).versions("income")] == list(digests)


def register_ten(root: Path, writer: int) -> list[str]:
    registry = Registry(PosixStore(root))
    packages = (make_package(f"run-{writer}-{run}") for run in range(10))
    return [registry.register("income", package, at=AT).digest for package in packages]


def test_processes_that_register_at_once_lose_nothing(tmp_path):
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        digests = [digest for made in pool.map(register_ten, [tmp_path] * 4, range(4)) for digest in made]
    registry = Registry(PosixStore(tmp_path))
    versions = registry.versions("income")
    assert sorted(version.digest for version in versions) == sorted(digests)
    assert [version.version for version in versions] == list(range(1, 41))
    assert {registry.read("income", v.version).package.lineage["run"] for v in versions} == {
        f"run-{writer}-{run}" for writer in range(4) for run in range(10)
    }
