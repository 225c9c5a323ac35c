from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dataops.engine.spill import LOCK, PREFIX, spill_folder

# holds a folder until it is killed
HOLDER = """
import sys
from dataops.engine.spill import spill_folder
with spill_folder(sys.argv[1]) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def folders(base: Path) -> list[Path]:
    return list(base.glob(f"{PREFIX}*"))


def test_a_spill_folder_is_its_owners_alone_and_wiped_at_the_end(tmp_path: Path) -> None:
    with spill_folder(str(tmp_path)) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "spilled").write_bytes(b"rows")
    assert folders(tmp_path) == []


def test_a_spill_folder_is_wiped_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), spill_folder(str(tmp_path)):
        raise RuntimeError
    assert folders(tmp_path) == []


def test_what_a_killed_driver_left_is_wiped_by_the_next_one(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    left = Path(holder.stdout.readline().strip())
    (left / "spilled").write_bytes(b"rows")
    with spill_folder(str(tmp_path)):
        assert (left / "spilled").exists()  # its driver lives
    holder.kill()
    holder.communicate()
    with spill_folder(str(tmp_path)) as folder:
        assert folders(tmp_path) == [folder]


def test_what_is_no_spill_folder_of_a_driver_is_let_be(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / LOCK).touch()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "target")
    (tmp_path / f"{PREFIX}beginning").mkdir()
    with spill_folder(str(tmp_path)):
        pass
    assert (tmp_path / "target" / LOCK).exists()
    assert {path.name for path in folders(tmp_path)} == {f"{PREFIX}link", f"{PREFIX}beginning"}
