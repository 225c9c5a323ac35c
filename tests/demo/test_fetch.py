"""An archive is fetched by name, refused by digest, and never run: real pip, on an index that is a folder."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from dataops.demo import fetch as room
from dataops.demo.fetch import Archive, cache_folder, fetch, find_pip
from dataops.errors import Integrity, NotFound, Storage


def write_sdist(folder: Path, setup_py: str) -> Archive:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "census-like-1.0.tar.gz", "w:gz") as archive:
        for name, text in {
            "setup.py": setup_py,
            "PKG-INFO": "Metadata-Version: 1.1\nName: census-like\nVersion: 1.0\n",
        }.items():
            entry = tarfile.TarInfo(f"census-like-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    digest = hashlib.sha256((folder / "census-like-1.0.tar.gz").read_bytes()).hexdigest()
    return Archive(name="census-like", version="1.0", sha256=digest)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which pip looks instead of on the network."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """What a setup.py would leave behind if it were run."""
    return tmp_path / "setup-py-was-run"


def hostile(ran: Path) -> str:
    return f"open({str(ran)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='census-like', version='1.0')\n"


def test_the_archive_arrives_and_its_setup_py_is_never_run(index: Path, ran: Path, tmp_path: Path) -> None:
    archive = write_sdist(index, hostile(ran))
    fetched = fetch(archive, tmp_path / "cache")
    assert fetched.read_bytes() == (index / archive.filename).read_bytes()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [archive.filename]
    assert not ran.exists()


def test_other_bytes_than_the_digest_are_refused_before_they_are_unpacked(
    index: Path, ran: Path, tmp_path: Path
) -> None:
    write_sdist(index, hostile(ran))
    with pytest.raises(Integrity, match="nothing was unpacked"):
        fetch(Archive(name="census-like", version="1.0", sha256="0" * 64), tmp_path / "cache")
    assert not ran.exists()
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_archive_in_the_cache_is_used_without_asking_pip(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_sdist(tmp_path / "cache", "")
    monkeypatch.setattr(room, "find_pip", lambda: pytest.fail("pip was asked"))
    assert fetch(archive, tmp_path / "cache") == tmp_path / "cache" / archive.filename


def test_a_damaged_archive_in_the_cache_is_fetched_again(index: Path, tmp_path: Path) -> None:
    archive = write_sdist(index, "")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / archive.filename).write_bytes(b"half")
    assert fetch(archive, tmp_path / "cache").read_bytes() == (index / archive.filename).read_bytes()


def test_a_package_that_is_not_to_be_had_says_what_to_do_by_hand(index: Path, tmp_path: Path) -> None:
    index.mkdir()
    absent = Archive(name="census-like", version="2.0", sha256="1" * 64)
    with pytest.raises(Storage, match=r"lay census-like-2\.0\.tar\.gz \(SHA-256 1{64}\) into"):
        fetch(absent, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_virtual_environment_without_pip_finds_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    command = find_pip()
    assert subprocess.run([*command, "--version"], capture_output=True, check=True).stdout.startswith(b"pip ")


def test_no_pip_at_all_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_answers", lambda _: False)
    with pytest.raises(NotFound, match="ensurepip"):
        find_pip()


def test_credentials_in_an_index_address_stay_out_of_the_message() -> None:
    said = room._last_error("ERROR: could not open https://name:secret@mirror.example/simple/\n")
    assert said == "could not open https://mirror.example/simple/"


def test_the_cache_folder_can_be_chosen_and_has_a_default() -> None:
    assert cache_folder({"DATAOPS_CACHE": "/srv/cache"}) == Path("/srv/cache")
    assert cache_folder({"XDG_CACHE_HOME": "/home/x/.c"}) == Path("/home/x/.c/dataops")
    assert cache_folder({}) == Path.home() / ".cache" / "dataops"
