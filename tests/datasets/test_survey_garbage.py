"""Surveys are collected: those of content that is no more, and what was left of those that came to no end."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataops.datasets.garbage import find_garbage, sweep
from dataops.datasets.snapshot import append_snapshot, manifest_key, read_snapshot
from dataops.datasets.survey import Asked, Survey, SurveyFile
from dataops.datasets.tombstones import Garbage, Reason, mark
from dataops.storage.files import open_files
from dataops.storage.objects import open_store
from tests.datasets.examples import make_manifest
from tests.storage.faulty import Crash, FaultyFiles, FaultyStore, crash_points

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
DAY = timedelta(days=1)


class Place:
    """A storage with a dataset ``made`` and files of surveys of it, all of them a day old."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store, self.files = open_store(str(folder)), open_files(str(folder))
        self.sign: dict[str, datetime] = {}
        self.in_use: set[str] = set()

    def remake(self, run: str) -> str:
        """The digest of the dataset's new content."""
        manifest = make_manifest(run)
        assert self.store.put_if_absent(manifest_key("made", run), manifest.to_bytes())
        append_snapshot(self.store, manifest)
        snapshot = read_snapshot(self.store, "made")
        assert snapshot is not None
        return snapshot.content_digest

    def write(self, path: str, *, survey: str = "s1", at: datetime = NOW - DAY, data: bytes = b"1234") -> str:
        whole = self.folder / "surveys/made" / survey / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(data)
        os.utime(whole, (at.timestamp(), at.timestamp()))
        return str(whole.relative_to(self.folder))

    def survey(self, content_digest: str, *, name: str = "s1", at: datetime = NOW - DAY) -> Survey:
        """A survey with one file, stored under `name`."""
        made = Survey(
            dataset="made",
            asked=Asked(keys=(("a",),)),
            content_digest=content_digest,
            key_id="key",
            rows=4,
            duplicates=(1,),
            repeated={"f": SurveyFile(path="repeated/f.parquet", digest="sha256:0", rows=1)},
        )
        self.write("repeated/f.parquet", survey=name, at=at)
        self.write("survey.json", survey=name, at=at, data=made.to_bytes())
        return made

    def find(self, at: datetime, *, grace: timedelta = WEEK, dataset: str | None = None) -> tuple[Garbage, ...]:
        found = find_garbage(
            self.store,
            self.files,
            sign=self.sign.get,
            in_use=self.in_use.__contains__,
            grace=grace,
            at=at,
            dataset=dataset,
        )
        return tuple(one for one in found if one.reason is Reason.SURVEY)

    def collect(self, at: datetime, *, grace: timedelta = WEEK) -> list[bool]:
        """What became of what was to be deleted."""
        marked = [mark(self.store, one, at=at) for one in self.find(at, grace=grace)]
        return [sweep(self.files, self.store, one) for one in marked if one.may_go(at, grace)]

    def left(self) -> list[str]:
        root = self.folder / "surveys/made"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "storage")


WHOLE = ["s1/repeated/f.parquet", "s1/survey.json"]


class TestASurveyOfContent:
    def test_that_is_there_stays(self, place: Place) -> None:
        place.survey(place.remake("job-a-1"))
        for days in (8, 16, 300):
            assert place.collect(NOW + days * DAY) == []
        assert place.left() == WHOLE

    def test_that_is_no_more_is_marked_and_deleted_a_grace_later(self, place: Place) -> None:
        place.survey(place.remake("job-a-1"))
        kept = place.remake("job-b-2")
        place.survey(kept, name="s2")
        assert place.find(NOW) == (), "it is young"
        assert place.find(NOW + 8 * DAY, dataset="other") == ()
        (found,) = place.find(NOW + 8 * DAY, dataset="made")
        assert (found.run, len(found.files), found.since) == ("", 2, NOW - DAY)
        assert place.collect(NOW + 8 * DAY) == []
        assert [key.split("/")[:3] for key in place.store.list("tombstones")] == [["tombstones", "made", "s1"]]
        assert place.collect(NOW + 14 * DAY) == []
        assert place.collect(NOW + 15 * DAY) == [True]
        assert place.left() == ["s2/repeated/f.parquet", "s2/survey.json"]
        assert place.find(NOW + 30 * DAY) == ()

    def test_of_a_dataset_that_is_gone_goes_too(self, place: Place) -> None:
        place.survey("sha256:1")
        for days in (8, 16):
            place.collect(NOW + days * DAY)
        assert place.left() == []

    def test_that_a_living_run_was_given_is_left_alone(self, place: Place) -> None:
        content = place.remake("job-a-1")
        place.survey(content)
        place.remake("job-b-2")
        place.in_use = {content}
        assert place.find(NOW + 30 * DAY) == ()
        place.in_use = set()
        assert len(place.find(NOW + 30 * DAY)) == 1

    def test_that_came_back_in_between_is_spared(self, place: Place) -> None:
        content = place.remake("job-a-1")
        place.survey(content)
        place.remake("job-b-2")
        place.collect(NOW + 8 * DAY)
        same = replace(make_manifest("job-a-1"), run="job-c-3")  # the same parts again
        assert place.store.put_if_absent(manifest_key("made", same.run), same.to_bytes())
        append_snapshot(place.store, same)
        assert place.collect(NOW + 16 * DAY) == []
        assert place.left() == WHOLE

    def test_whose_record_is_damaged_is_left_alone(self, place: Place) -> None:
        place.survey(place.remake("job-a-1"))
        place.remake("job-b-2")
        place.write("survey.json", data=b"{}")
        for days in (8, 16):
            place.collect(NOW + days * DAY)
        assert place.left() == WHOLE

    def test_is_not_deleted_by_the_call_that_marks_it(self, place: Place) -> None:
        place.survey(place.remake("job-a-1"))
        place.remake("job-b-2")
        assert place.collect(NOW, grace=timedelta()) == []
        assert place.collect(NOW + timedelta(seconds=1), grace=timedelta()) == [True]

    @pytest.mark.parametrize("seam", ["store", "files"])
    def test_never_stands_without_its_files(self, tmp_path: Path, seam: str) -> None:
        def attempt(k: int) -> bool:
            place = Place(tmp_path / f"crash-{seam}-{k}")
            place.survey(place.remake("job-a-1"))
            place.remake("job-b-2")
            whole = place.store, place.files
            faulty: FaultyStore | FaultyFiles = (
                FaultyStore(whole[0], k, "after") if seam == "store" else FaultyFiles(whole[1], k, "after")
            )
            place.store, place.files = (faulty, whole[1]) if seam == "store" else (whole[0], faulty)  # type: ignore[assignment]
            died = False
            for days in (8, 16):
                try:
                    place.collect(NOW + days * DAY)
                except Crash:
                    died = True
                assert place.left() in (WHOLE, WHOLE[:1], [])
            place.store, place.files = whole
            for days in (17, 25):
                place.collect(NOW + days * DAY)
            assert place.left() == []
            return died

        crash_points(attempt, at_least=2)


class TestWhatARunKeptInBetween:
    def test_goes_when_the_run_showed_no_sign_of_life_for_long(self, place: Place) -> None:
        place.survey(place.remake("job-a-1"))
        work = "work-train-20260228t000000-abcdef"
        place.write(f"{work}/hashes-u0.bin")
        assert place.find(NOW) == ()
        place.sign["train-20260228t000000-abcdef"] = NOW + 5 * DAY
        assert place.find(NOW + 8 * DAY) == (), "the run is alive"
        (found,) = place.find(NOW + 12 * DAY)
        assert (found.run, len(found.files)) == ("train-20260228t000000-abcdef", 1)
        for days in (12, 19):
            place.collect(NOW + days * DAY)
        assert place.left() == WHOLE

    def test_goes_without_any_survey_beside_it(self, place: Place) -> None:
        place.remake("job-a-1")
        place.write("work-train-1/hashes-u0.bin")
        for days in (8, 16):
            place.collect(NOW + days * DAY)
        assert place.left() == []


class TestAnAnswerFile:
    def test_that_the_survey_does_not_name_goes_alone(self, place: Place) -> None:
        place.survey(place.remake("job-a-1"))
        place.write("repeated/f-lost.parquet")
        place.write("frequent/00-young.parquet", at=NOW + 7 * DAY)
        (found,) = place.find(NOW + 8 * DAY)
        assert [one.path for one in found.files] == ["surveys/made/s1/repeated/f-lost.parquet"]
        for days in (8, 16):
            place.collect(NOW + days * DAY)
        assert "s1/repeated/f-lost.parquet" not in place.left()
        assert set(WHOLE) < set(place.left())

    @pytest.mark.parametrize("named", [True, False])
    def test_that_a_survey_comes_to_name_after_the_mark_is_spared(self, place: Place, named: bool) -> None:
        content = place.remake("job-a-1")
        place.write("repeated/f.parquet" if named else "repeated/other.parquet")
        (found,) = place.find(NOW + 8 * DAY)
        marked = mark(place.store, found, at=NOW + 8 * DAY)
        place.survey(content)
        assert sweep(place.files, place.store, marked) is not named
        assert place.left() == WHOLE


def test_files_where_no_survey_puts_any_are_left_alone(place: Place) -> None:
    folder = place.folder / "surveys/made"
    folder.mkdir(parents=True)
    for path in (folder / "readme", folder.parent / "readme"):
        path.write_bytes(b"x")
    assert place.find(NOW + 300 * DAY) == ()
