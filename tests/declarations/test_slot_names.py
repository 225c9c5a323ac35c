from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.declarations.jobs import find_job, read_jobs
from dataops.declarations.loader import Document, parse_yaml
from dataops.declarations.rescore import RescoreJob
from dataops.declarations.slot_names import EXAMPLE, NAMES, SlotTimes, fill, names_in, parse_slot, time_zone
from dataops.errors import InvalidInput, NotFound

NIGHT = SlotTimes(
    nominal=datetime(2026, 3, 8, 3, 30, tzinfo=UTC),  # 7 March, 22:30 in New York
    zone="America/New_York",
    previous=datetime(2026, 3, 7, 3, 30, tzinfo=UTC),
)
JOBS = """\
name: nightly
job: prepare
input: flights
where: "day = '${date}' and seen_at > '${previous}'"
output: flights_${date}
---
name: scores
job: rescore
model: late@champion
input: flights_ready
output: scores
"""


def document(text: str) -> Document:
    (found,) = parse_yaml(text, "jobs/nightly.yaml")
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "nightly.yaml"
    found.write_text(JOBS)
    return found


def test_a_slot_s_day_is_that_of_the_schedule_s_time_zone_and_its_time_that_of_utc() -> None:
    assert NIGHT.values() == {
        "date": "2026-03-07",
        "day_before": "2026-03-06",
        "slot": "2026-03-08 03:30:00",
        "previous": "2026-03-07 03:30:00",
    }


@given(st.integers(-600_000_000, 4_000_000_000), st.sampled_from(["UTC", "Asia/Kathmandu", "Pacific/Apia"]))
def test_what_is_filled_in_is_a_date_or_a_time_and_nothing_else(seconds: int, zone: str) -> None:
    aware = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    values = SlotTimes(nominal=aware, zone=zone, previous=aware - timedelta(hours=1)).values()
    assert set(values) == set(NAMES)
    assert date.fromisoformat(values["date"]) - date.fromisoformat(values["day_before"]) == timedelta(days=1)
    assert abs(date.fromisoformat(values["date"]) - aware.date()) <= timedelta(days=1)
    for name in ("slot", "previous"):
        assert datetime.strptime(values[name], "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007


def test_text_is_filled_in_wherever_it_stands_but_in_keys() -> None:
    written = document("""\
name: nightly
job: prepare
note: {"${date}": ["${day_before}..${date}", {deep: "$${date} is ${slot}"}], n: 5, none: null}
""")
    assert fill(written, NIGHT).value == {
        "name": "nightly",
        "job": "prepare",
        "note": {
            "${date}": ["2026-03-06..2026-03-07", {"deep": "${date} is 2026-03-08 03:30:00"}],
            "n": 5,
            "none": None,
        },
    }
    assert names_in(written) == ("date", "day_before", "slot")


def test_the_filled_document_has_another_digest_for_each_slot_and_the_lines_of_the_file() -> None:
    written = document("name: nightly\njob: prepare\n# of that day\noutput: flights_${date}\n")
    one, again, other = (fill(written, slot) for slot in (NIGHT, NIGHT, EXAMPLE))
    assert one.digest == again.digest != other.digest != written.digest
    assert one.where(("output",)) == "jobs/nightly.yaml:4"
    assert one.digest == document("name: nightly\njob: prepare\noutput: flights_2026-03-07\n").digest


def test_a_document_without_names_stays_as_it_is() -> None:
    written = document("name: nightly\njob: prepare\nwhere: \"price like '%$'\"\n")
    assert fill(written, NIGHT) is written
    assert names_in(written) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("where: ${dat}", r":1: where: \$\{dat\}: unknown name of a slot. Did you mean 'date'\? .*write \$\$"),
        ("where: ${ date }", "unknown name"),
        ("where: ${}", "unknown name"),
        ("where: ${__class__}", "Known: date, day_before, previous, slot"),
        ("name: n_${date}", ":1: name: .*the same in each slot"),
        ("job: ${slot}", "the same in each slot"),
    ],
)
def test_a_name_that_can_t_be_filled_in_is_refused_where_it_stands(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        fill(document(text), NIGHT)


def test_a_slot_with_none_before_it_has_no_previous_time() -> None:
    first = SlotTimes(nominal=NIGHT.nominal)
    assert fill(document("where: day = '${date}'"), first).value == {"where": "day = '2026-03-08'"}
    with pytest.raises(InvalidInput, match="this slot has none before it"):
        fill(document("where: day > '${previous}'"), first)


def test_a_job_is_filled_in_for_its_slot(path: Path) -> None:
    found = find_job(path, "nightly", NIGHT)
    assert found.job.output == "flights_2026-03-07"
    assert found.job.where == "day = '2026-03-07' and seen_at > '2026-03-07 03:30:00'"
    assert found.document.value["output"] == "flights_2026-03-07"
    assert found.written.value["output"] == "flights_${date}"


def test_a_job_that_names_a_slot_is_not_run_without_one_and_the_others_of_its_file_are(path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"nightly.yaml:5: output: \$\{date\} is filled in by a slot.*--slot"
    ) as told:
        find_job(path, "nightly")
    assert str(told.value).count("--slot") == 3  # where names two
    assert isinstance(find_job(path, "scores").job, RescoreJob)
    with pytest.raises(NotFound):
        find_job(path, "nightli", NIGHT)


def test_a_file_with_names_is_checked_before_its_first_slot(path: Path) -> None:
    assert [one.job.name for one in read_jobs(path)] == ["nightly", "scores"]
    path.write_text(JOBS.replace("flights_${date}", "Flights ${date}").replace("'${previous}'", "'${prevous}'"))
    with pytest.raises(InvalidInput, match="Did you mean 'previous'"):
        read_jobs(path)
    path.write_text(JOBS.replace("flights_${date}", "Flights ${date}"))
    with pytest.raises(InvalidInput, match="can't name a dataset"):
        read_jobs(path)


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-03-08", "UTC", "2026-03-08T00:00Z"),
        ("2026-03-08", "America/New_York", "2026-03-08T05:00Z"),
        ("2026-03-08T02:30", "America/New_York", "2026-03-08T07:30Z"),  # a time that the clock never showed
        ("2026-11-01T01:30", "America/New_York", "2026-11-01T05:30Z"),  # and one that it showed twice
        ("2026-11-01T01:30-05:00", "America/New_York", "2026-11-01T06:30Z"),
        ("2026-03-08T07:30:00Z", "Asia/Tokyo", "2026-03-08T07:30Z"),
    ],
)
def test_a_slot_by_hand_is_a_date_or_a_time_of_the_zone(text: str, zone: str, moment: str) -> None:
    assert parse_slot(text, zone) == datetime.fromisoformat(moment)


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01", "0001-01-01", "9999-12-31"])
def test_what_is_no_time_is_no_slot(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no slot: expected"):
        parse_slot(text, "UTC")


@pytest.mark.parametrize(
    "name", ["Europe/Amsterdan", "", "../UTC", "/etc/localtime", "Europe", "localtime", "Nowhere/At_All"]
)
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="is no time zone"):
        time_zone(name)


def test_a_time_zone_s_near_match_is_named() -> None:
    with pytest.raises(InvalidInput, match="Did you mean 'Europe/Amsterdam'"):
        time_zone("Europe/Amsterdan")
