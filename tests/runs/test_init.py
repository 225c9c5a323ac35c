"""A new workspace: whole or not there, private keys, nobody allowed anything, nothing overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataops.declarations.catalog import read_principals
from dataops.errors import AccessDenied, AlreadyExists, InvalidInput, NotFound
from dataops.runs import init
from dataops.runs.init import ROLES, init_workspace
from dataops.runs.workspace import open_workspace
from tests.datasets.examples import write


def test_is_whole_and_allows_nothing(tmp_path: Path) -> None:
    made = init_workspace(tmp_path / "a b" / "ü")
    workspace = open_workspace(str(made.folder), {})
    assert workspace.reader().roles == ROLES
    assert workspace.policies() == ()
    assert workspace.cluster(None).kind == "local"
    keys = made.folder / "keys"
    assert keys.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys.iterdir())
    write(made.folder / "data/a.parquet")
    assert "keys/" in (made.folder / ".gitignore").read_text().split()


def test_is_not_made_twice(tmp_path: Path) -> None:
    init_workspace(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(AlreadyExists):
        init_workspace(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_touches_nothing_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "principals.yaml").write_text("principals: {}\n")
    (tmp_path / "cluster").mkdir()
    init_workspace(tmp_path)
    assert (tmp_path / "principals.yaml").read_text() == "principals: {}\n"
    assert list((tmp_path / "cluster").iterdir()) == []
    with pytest.raises(AccessDenied):
        open_workspace(str(tmp_path), {}).reader()


@pytest.mark.parametrize("user", ["no", "007", "DOMAIN\\ana b", "a: {b}", "null", "#x", "ü@example"])
def test_knows_its_maker_by_whatever_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    monkeypatch.setattr(init, "os_user", lambda: user)
    init_workspace(tmp_path)
    assert read_principals(tmp_path / "principals.yaml").roles_of(user) == ROLES


def test_that_died_on_the_way_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = init._write_if_absent

    def die(path: Path, text: str) -> None:
        if path.name == "dataops.yaml":
            raise KeyboardInterrupt
        real(path, text)

    monkeypatch.setattr(init, "_write_if_absent", die)
    with pytest.raises(KeyboardInterrupt):
        init_workspace(tmp_path)
    with pytest.raises(NotFound, match="is no workspace"):
        open_workspace(str(tmp_path), {})
    monkeypatch.setattr(init, "_write_if_absent", real)
    init_workspace(tmp_path)
    assert open_workspace(str(tmp_path), {}).reader().roles == ROLES


def test_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidInput, match="is a file"):
        init_workspace(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
