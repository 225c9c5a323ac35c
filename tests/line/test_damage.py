"""Planted damage: `dataops dataset verify` names what was done to which file, and exits with 8."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dataops.cli.main import main
from dataops.runs.execute import Outcome
from tests.line.running import Line

SCORES = "people_scores"


@pytest.fixture
def copy(line: Line, outcomes: dict[str, Outcome], tmp_path: Path) -> Line:
    """The finished line at another path, to damage."""
    folder = tmp_path / "damaged"
    shutil.copytree(line.folder, folder)
    return Line(folder=folder, connection=line.connection)


def verify(copy: Line, dataset: str = SCORES) -> Result:
    return CliRunner().invoke(main, ["dataset", "verify", dataset, "-w", str(copy.folder)])


def run_folder(copy: Line, dataset: str = SCORES) -> Path:
    (folder,) = (copy.storage / "datasets" / dataset / "runs").iterdir()
    return folder


def part(copy: Line, unit: str) -> Path:
    (path,) = (run_folder(copy) / "data").glob(f"part-{unit}-*.parquet")
    return path


def quarantine(copy: Line, unit: str) -> Path:
    (path,) = (copy.storage / "quarantine" / "people_new").glob(f"people_scores-*/part-{unit}-*.parquet")
    return path


def unit_record(copy: Line, unit: str) -> Path:
    return run_folder(copy) / "units" / f"{unit}.json"


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """`path` with its record changed, as somebody with an editor would."""
    record = json.loads(path.read_bytes())
    change(record)
    path.write_text(json.dumps(record))
    return path


def flip(path: Path, place: int) -> Path:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("dataset", ["people_ready", SCORES])
def test_a_whole_dataset_verifies(copy: Line, dataset: str) -> None:
    result = verify(copy, dataset)
    assert result.exit_code == 0, result.output
    counts = json.loads((run_folder(copy, dataset) / "manifest.json").read_bytes())["counts"]
    filtered = counts["filtered_by_policy"] + counts["filtered_by_job"]
    said = f"{counts['read']:,} read = {counts['passed']:,} passed + {filtered:,} filtered + "
    assert said + f"{counts['quarantined']:,} quarantined" in result.output


def flipped_byte(copy: Line) -> Path:
    return flip(part(copy, "u000001"), 100)


def deleted_part(copy: Line) -> Path:
    path = part(copy, "u000002")
    path.unlink()
    return path


def replaced_part(copy: Line) -> Path:
    path = part(copy, "u000003")
    shutil.copyfile(part(copy, "u000000"), path)
    return path


def part_cut_short(copy: Line) -> Path:
    path = part(copy, "u000001")
    os.truncate(path, path.stat().st_size - 1)
    return path


def quarantine_cut_short(copy: Line) -> Path:
    path = quarantine(copy, "u000001")
    os.truncate(path, path.stat().st_size // 2)
    return path


def quarantine_deleted(copy: Line) -> Path:
    path = quarantine(copy, "u000001")
    path.unlink()
    return path


def quarantine_replaced_with_its_record(copy: Line) -> Path:
    """Another unit's quarantine, with a record that says so: every digest in the record is right."""
    other = json.loads(unit_record(copy, "u000000").read_bytes())["quarantine"]
    return edit(unit_record(copy, "u000001"), lambda record: record.update(quarantine=other))


def receipt_edited(copy: Line) -> Path:
    """A row moved from filtered to dropped: the sum still holds."""

    def move(record: dict[str, Any]) -> None:
        record["receipt"]["filtered_by_policy"] -= 1
        record["receipt"]["dropped"] += 1

    return edit(unit_record(copy, "u000002"), move)


def receipt_that_does_not_add_up(copy: Line) -> Path:
    return edit(unit_record(copy, "u000002"), lambda record: record["receipt"].update(passed=1))


def receipt_of_words(copy: Line) -> Path:
    return edit(unit_record(copy, "u000002"), lambda record: record["receipt"].update(passed="many"))


def figures_edited(copy: Line) -> Path:
    return edit(unit_record(copy, "u000000"), lambda record: record["summary"].update(scores=[0] * 20))


def record_emptied(copy: Line) -> Path:
    path = unit_record(copy, "u000003")
    path.write_bytes(b"")
    return path


def record_deleted(copy: Line) -> Path:
    path = unit_record(copy, "u000003")
    path.unlink()
    return path


def record_added(copy: Line) -> Path:
    path = unit_record(copy, "u000009")
    shutil.copyfile(unit_record(copy, "u000001"), path)
    return path


@pytest.mark.parametrize(
    "damage",
    [
        flipped_byte,
        deleted_part,
        replaced_part,
        part_cut_short,
        quarantine_cut_short,
        quarantine_deleted,
        quarantine_replaced_with_its_record,
        receipt_edited,
        receipt_that_does_not_add_up,
        receipt_of_words,
        figures_edited,
        record_emptied,
        record_deleted,
        record_added,
    ],
)
def test_damage_is_named(copy: Line, damage: Callable[[Line], Path]) -> None:
    path = damage(copy)
    result = verify(copy)
    assert result.exit_code == 8, result.output
    assert path.name in result.output


def test_an_edited_manifest_is_not_the_one_of_the_snapshot(copy: Line) -> None:
    edit(run_folder(copy) / "manifest.json", lambda record: record["counts"].update(read=1))
    result = verify(copy)
    assert result.exit_code == 8, result.output
    assert run_folder(copy).name in result.output


def test_an_edited_snapshot_breaks_its_digest(copy: Line) -> None:
    (path,) = (copy.storage / "datasets" / SCORES / "snapshots").glob("*.json")
    edit(path, lambda record: record["body"].update(manifests=[]))
    result = verify(copy)
    assert result.exit_code == 8, result.output


@pytest.mark.parametrize("dataset", ["people_ready", "people_new"])
def test_damage_of_one_dataset_is_not_laid_on_another(copy: Line, dataset: str) -> None:
    flipped_byte(copy)
    assert verify(copy, dataset).exit_code == 0


class TestASource:
    """What lies outside is read where it lies: a change since the last look is told, whoever made it."""

    def source(self, copy: Line, number: int) -> Path:
        return copy.folder / "data" / "people_new" / f"part-{number:03d}.parquet"

    def test_that_was_rewritten(self, copy: Line) -> None:
        shutil.copyfile(self.source(copy, 0), self.source(copy, 1))
        result = verify(copy, "people_new")
        assert result.exit_code == 8, result.output
        assert "part-001.parquet: changed" in result.output

    def test_whose_footer_changed_under_the_same_size_and_time(self, copy: Line) -> None:
        path = self.source(copy, 1)
        times = path.stat()
        data = path.read_bytes()
        swapped = data.replace(b"parquet-cpp-arrow", b"parquet-cpp-arrov")
        assert swapped != data
        path.write_bytes(swapped)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        result = verify(copy, "people_new")
        assert result.exit_code == 8, result.output
        assert "part-001.parquet: changed" in result.output

    def test_that_lost_a_file(self, copy: Line) -> None:
        self.source(copy, 2).unlink()
        result = verify(copy, "people_new")
        assert result.exit_code == 8, result.output
        assert "part-002.parquet: gone" in result.output

    def test_that_got_a_file(self, copy: Line) -> None:
        shutil.copyfile(self.source(copy, 0), self.source(copy, 7))
        result = verify(copy, "people_new")
        assert result.exit_code == 8, result.output
        assert "part-007.parquet: new" in result.output
