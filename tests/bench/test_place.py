"""The folder of a benchmark: taken if it is empty or its own, else refused and left alone; what goes and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataops.bench.making import make_part
from dataops.bench.place import Place, at_work, clear, make_workspace, rescore_jobs, take_place
from dataops.bench.sizes import size_of
from dataops.declarations.jobs import read_jobs
from dataops.declarations.rescore import RescoreJob
from dataops.errors import AlreadyExists, Conflict, Format, InvalidInput
from dataops.settings import read_settings

SIZE = size_of(0.001, 0)


def with_a_part(place: Place) -> Place:
    """A place with data in it, as far as it was made."""
    made = make_part(place.data_url, place.size.parts()[0], place.size)
    place.journal.write_text(f'{{"path": "{made.path}", "rows": 1, "size_bytes": 1, "digest": "sha256:0"}}\n')
    return place


def test_a_folder_that_is_not_there_or_is_empty_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        place = take_place(tmp_path / name, SIZE, None)
        assert [path.name for path in place.folder.iterdir()] == ["bench.json"]


def test_somebodys_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(AlreadyExists, match=r"holds 'thesis.txt', and no benchmark made it"):
        take_place(tmp_path, SIZE, None)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("thesis.txt", "all of it")]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "bench").write_text("")
    with pytest.raises(InvalidInput, match="is a file"):
        take_place(tmp_path / "bench", SIZE, None)


def test_data_of_another_scale_seed_or_storage_is_refused_and_kept(tmp_path: Path) -> None:
    place = with_a_part(take_place(tmp_path / "bench", SIZE, None))
    before = sorted(path for path in place.folder.rglob("*"))
    for size, storage, told in (
        (size_of(0.002, 0), None, "scale 0.001"),
        (size_of(0.001, 1), None, "seed 0"),
        (SIZE, "s3://bucket/bench", "storage None"),
    ):
        with pytest.raises(AlreadyExists, match=told):
            take_place(place.folder, size, storage)
    assert sorted(path for path in place.folder.rglob("*")) == before
    assert take_place(place.folder, SIZE, None) == place


def test_data_of_another_generator_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = with_a_part(take_place(tmp_path / "bench", SIZE, None))
    monkeypatch.setattr("dataops.bench.place.GENERATOR", 2)
    with pytest.raises(AlreadyExists, match="generator 1"):
        take_place(place.folder, SIZE, None)


def test_a_folder_whose_data_is_gone_takes_another_scale(tmp_path: Path) -> None:
    place = with_a_part(take_place(tmp_path / "bench", SIZE, None))
    clear(place)
    assert take_place(place.folder, size_of(0.002, 0), None).size.scale == 0.002


def test_a_mark_of_a_later_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text('{"format": "dataops/bench/2"}')
    with pytest.raises(Format, match="dataops/bench/1"):
        take_place(tmp_path, SIZE, None)


def test_two_at_once_in_one_folder_are_refused(tmp_path: Path) -> None:
    place = take_place(tmp_path / "bench", SIZE, None)
    with at_work(place), pytest.raises(Conflict, match="another benchmark is at work"), at_work(place):
        pass
    with at_work(place):
        assert take_place(place.folder, SIZE, None) == place


def test_results_and_page_stay_when_the_rest_goes(tmp_path: Path) -> None:
    place = take_place(tmp_path / "bench", SIZE, None)
    for part in SIZE.parts():
        make_part(place.data_url, part, SIZE)
    make_workspace(place)
    place.results.write_text("a result\n")
    place.page.write_text("a page")
    (place.folder / "notes.txt").write_text("mine")
    clear(place)
    assert sorted(path.name for path in place.folder.iterdir()) == [
        "bench.html",
        "bench.json",
        "notes.txt",
        "results.jsonl",
    ]


def test_what_a_link_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/precious").write_text("x")
    place = take_place(tmp_path / "bench", SIZE, None)
    (place.folder / "data").symlink_to(tmp_path / "disk")
    clear(place)
    assert (tmp_path / "disk/precious").exists()
    assert not (place.folder / "data").exists()


def test_everything_large_lies_below_the_storage_that_was_named(tmp_path: Path) -> None:
    far = (tmp_path / "far").as_uri()
    place = take_place(tmp_path / "bench", SIZE, f"{far}/")
    assert place.data_url == f"{far}/data"
    for part in SIZE.parts():
        make_part(place.data_url, part, SIZE)
    make_workspace(place)
    settings = read_settings(place.folder, {})
    assert [settings.storage, settings.registry, settings.anchors] == [
        f"{far}/{name}" for name in ("storage", "registry", "anchors")
    ]
    assert settings.keys == str(place.folder / "keys")
    assert not (place.folder / "data").exists()


def test_the_jobs_of_streams_load(tmp_path: Path) -> None:
    (tmp_path / "rescores.yaml").write_text(rescore_jobs(("scores", "scores_1", "scores_2"), "fraud@2"))
    jobs = [one.job for one in read_jobs(tmp_path / "rescores.yaml")]
    assert [(job.name, job.output, job.model) for job in jobs if isinstance(job, RescoreJob)] == [
        (name, name, "fraud@2") for name in ("scores", "scores_1", "scores_2")
    ]
