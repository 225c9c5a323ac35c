"""The files below ``policies/``: which are read, and that no other one is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataops.declarations.policy_files import POLICY_TESTS, policy_files, read_policy_file, stray_files
from dataops.errors import InvalidInput, NotFound


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / POLICY_TESTS).mkdir(parents=True)
    for name in ("policies/a.yaml", "policies/b.yaml", "policies/tests/a.yaml"):
        (tmp_path / name).write_text("name: a\n")
    return tmp_path


def put(root: Path, name: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("name: c\n")


def test_policies_and_tests_are_told_by_folder_and_ending(root: Path) -> None:
    assert [path.name for path in policy_files(root)] == ["a.yaml", "b.yaml"]
    assert [path.name for path in policy_files(root, POLICY_TESTS)] == ["a.yaml"]
    assert stray_files(root) == ()


@pytest.mark.parametrize(
    "name",
    [
        "policies/x.yml",
        "policies/X.YAML",
        "policies/x.yaml.bak",
        "policies/x.json",
        "policies/x",
        "policies/sub/x.yaml",
        "policies/tests/x.yml",
        "policies/tests/sub/x.yaml",
        "policies/sub/deeper/readme.txt",
    ],
)
def test_a_file_that_nobody_reads_is_named(root: Path, name: str) -> None:
    put(root, name)
    (stray,) = stray_files(root)
    assert stray.name == name
    assert "rename it, or move it out of policies/" in stray.reason
    assert stray.is_test == ("tests" in name)


@pytest.mark.parametrize(
    "name",
    [
        "policies/README.md",
        "policies/tests/README.md",
        "policies/sub/README.md",
        "policies/.gitkeep",
        "policies/.x.yaml.swp",
        "policies/.git/config",
        "policies/tests/.a.yaml",
    ],
)
def test_hidden_files_and_a_readme_may_lie_there(root: Path, name: str) -> None:
    put(root, name)
    assert stray_files(root) == ()
    assert len(policy_files(root)) == 2
    assert len(policy_files(root, POLICY_TESTS)) == 1


def test_all_strays_come_at_once_in_order(root: Path) -> None:
    for name in ("policies/z.yml", "policies/sub/x.yaml", "policies/c.json"):
        put(root, name)
    assert [stray.name for stray in stray_files(root)] == ["policies/c.json", "policies/sub/x.yaml", "policies/z.yml"]


def test_a_link_to_a_folder_is_not_followed_and_said(root: Path) -> None:
    put(root, "elsewhere/x.yaml")
    (root / "policies/more").symlink_to(root / "elsewhere")
    (stray,) = stray_files(root)
    assert stray.name == "policies/more"
    assert "isn't followed" in stray.reason


def test_a_link_to_nothing_is_said_to_be_one(root: Path) -> None:
    (root / "policies/c.yaml").symlink_to(root / "gone.yaml")
    assert policy_files(root)[-1].name == "c.yaml"
    with pytest.raises(NotFound, match=r"c\.yaml: a symbolic link to nothing"):
        read_policy_file(policy_files(root)[-1])


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "\n\n"])
def test_a_file_without_content_is_refused(root: Path, text: str) -> None:
    path = root / "policies/a.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"a\.yaml: holds no policy: write one, or remove the file"):
        read_policy_file(path)


def test_no_folder_of_policies_is_none_and_something_else_in_its_place_is_refused(tmp_path: Path) -> None:
    assert (stray_files(tmp_path), policy_files(tmp_path)) == ((), ())
    (tmp_path / "policies").symlink_to(tmp_path / "gone")
    with pytest.raises(InvalidInput, match="a symbolic link to nothing"):
        stray_files(tmp_path)
    (tmp_path / "policies").unlink()
    (tmp_path / "policies").write_text("")
    with pytest.raises(InvalidInput, match="not a folder"):
        stray_files(tmp_path)
