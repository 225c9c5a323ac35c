"""Slots of the clock are those that a look at every minute finds, above all where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.schedules import CronWhen, EveryWhen, Schedule
from dataops.scheduling.cron import clock_slots, names_times_of_day, next_slots
from tests.scheduling import oracle

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# Half an hour at Lord Howe, two hours at Troll, midnight in Santiago, Havana, Cairo and Beirut, Ramadan in Casablanca,
# a day left out in Apia, a quarter of an hour from UTC and no change in Kathmandu.
ZONES = [
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "America/Santiago",
    "America/Havana",
    "America/Asuncion",
    "Africa/Cairo",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Europe/Dublin",
    "America/St_Johns",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "UTC",
]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots(line: str, zone: str, begin: str, end: str) -> list[str]:
    when = CronWhen(cron=line, time_zone=zone)
    found = clock_slots(when, after=at(begin), until=at(end))
    return [slot.strftime("%m-%d %H:%M") for slot in found]


# The clock put forward and back, as stated


def test_a_time_of_day_in_the_gap_comes_once_right_after_it() -> None:
    # New York, 2026-03-08: 02:00 EST is 03:00 EDT, 07:00 in UTC
    assert slots("30 2 * * *", "America/New_York", "2026-03-07", "2026-03-10") == [
        "03-07 07:30",
        "03-08 07:00",
        "03-09 06:30",
    ]


def test_times_of_day_in_one_gap_come_together() -> None:
    assert slots("0,15,45 2 * * *", "America/New_York", "2026-03-08T05:00", "2026-03-08T12:00") == ["03-08 07:00"]


def test_a_time_of_day_in_the_gap_and_one_at_its_end_come_together() -> None:
    assert slots("0 2,3 * * *", "America/New_York", "2026-03-08T05:00", "2026-03-08T12:00") == ["03-08 07:00"]


def test_a_time_of_day_that_comes_twice_comes_the_first_time() -> None:
    # New York, 2026-11-01: 02:00 EDT is 01:00 EST, 06:00 in UTC
    assert slots("30 1 * * *", "America/New_York", "2026-10-31", "2026-11-03") == [
        "10-31 05:30",
        "11-01 05:30",
        "11-02 06:30",
    ]


def test_real_hours_go_on_where_the_clock_is_put_forward() -> None:
    found = slots("30 * * * *", "America/New_York", "2026-03-08T05:00", "2026-03-08T09:00")
    assert found == ["03-08 05:30", "03-08 06:30", "03-08 07:30", "03-08 08:30"]


def test_real_hours_go_on_where_the_clock_is_put_back() -> None:
    found = slots("30 * * * *", "America/New_York", "2026-11-01T04:00", "2026-11-01T08:00")
    assert found == ["11-01 04:30", "11-01 05:30", "11-01 06:30", "11-01 07:30"]


def test_half_an_hour_at_lord_howe() -> None:
    # 2026-10-04: 02:00 (+10:30) is 02:30 (+11:00), 15:30 in UTC; 2026-04-05: 02:00 (+11:00) is 01:30, 15:00 in UTC
    zone = "Australia/Lord_Howe"
    assert slots("15 2 * * *", zone, "2026-10-03T12:00", "2026-10-03T18:00") == ["10-03 15:30"]
    assert slots("45 1 * * *", zone, "2026-04-04T12:00", "2026-04-04T18:00") == ["04-04 14:45"]
    assert slots("30 * * * *", zone, "2026-10-03T13:30", "2026-10-03T17:00") == [
        "10-03 14:00",
        "10-03 15:00",
        "10-03 15:30",
        "10-03 16:30",
    ]
    assert slots("45 * * * *", zone, "2026-04-04T13:30", "2026-04-04T16:30") == [
        "04-04 13:45",
        "04-04 14:45",
        "04-04 15:15",
        "04-04 16:15",
    ]


def test_midnight_in_the_gap() -> None:
    # Santiago, 2026-09-06: 00:00 (-4) is 01:00 (-3), 04:00 in UTC
    assert slots("0 0 * * *", "America/Santiago", "2026-09-05", "2026-09-07T12:00") == [
        "09-05 04:00",
        "09-06 04:00",
        "09-07 03:00",
    ]
    assert slots("*/30 0 * * SUN", "America/Santiago", "2026-09-05", "2026-09-07T12:00") == []


def test_a_day_that_was_left_out() -> None:
    # Apia went from the 29th to the 31st of December 2011, at 10:00 in UTC
    found = slots("0 12 * * *", "Pacific/Apia", "2011-12-28", "2012-01-02")
    assert found == ["12-28 22:00", "12-29 22:00", "12-30 10:00", "12-30 22:00", "12-31 22:00", "01-01 22:00"]


def test_leap_days() -> None:
    assert slots("0 0 29 2 *", "UTC", "2026-01-01", "2033-01-01") == ["02-29 00:00", "02-29 00:00"]


@pytest.mark.parametrize(
    ("line", "fixed"),
    [
        ("30 2 * * *", True),
        ("0,30 1-3 * * *", True),
        ("*/5 2 * * *", False),
        ("0 */2 * * *", False),
        ("0 * * * *", False),
    ],
)
def test_what_a_line_means_is_told_by_how_its_minute_and_hour_begin(line: str, fixed: bool) -> None:
    assert names_times_of_day(line) is fixed


# Against the oracle


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.lists(number, min_size=2, max_size=2, unique=True).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(st.one_of(st.just("*"), span), st.integers(1, 12)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    part = st.one_of(number.map(str), span, stepped, number.map(lambda one: f"{one}/3"))
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


days = st.one_of(st.just("*"), st.just("*"), field(1, 31), st.sampled_from(["L", "LW", "1,L", "*/2"]))
weekdays = st.one_of(
    st.just("*"), st.just("*"), field(0, 7), st.sampled_from(["SUN", "MON-FRI", "SUN#1", "SAT,SUN", "0L", "FRI#2"])
)
lines = st.tuples(field(0, 59), st.one_of(field(0, 23), field(0, 4)), days, st.just("*"), weekdays).map(" ".join)


@cache
def changes(zone: str) -> list[datetime]:
    """The moments, to the hour, before which the zone's clock was changed, 2007 to 2037; its middle where none was."""
    place = ZoneInfo(zone)
    times = [at("2007-01-01") + 12 * HOUR * number for number in range(31 * 730)]
    offsets = [time.astimezone(place).utcoffset() for time in times]
    found = [
        right for (left, right), (one, other) in zip(pairwise(times), pairwise(offsets), strict=True) if one != other
    ]
    return found or [at("2024-02-28")]


@st.composite
def stretches(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    """A zone, and some hours or days about a change of its clock."""
    zone = draw(st.sampled_from(ZONES))
    change = draw(st.sampled_from(changes(zone)))
    after = (
        change
        - draw(st.integers(0, 40 * 3600)) * timedelta(seconds=1)
        - timedelta(microseconds=draw(st.sampled_from([0, 1, 999_999])))
    )
    return zone, after, after + draw(st.integers(1, 48)) * HOUR


@settings(max_examples=3 * settings.default.max_examples)
@given(line=lines, stretch=stretches())
def test_about_every_change_of_a_clock_the_slots_are_those_of_the_oracle(
    line: str, stretch: tuple[str, datetime, datetime]
) -> None:
    zone, after, until = stretch
    try:
        when = CronWhen(cron=line, time_zone=zone)
    except ValueError:  # the 31st of no month
        return
    assert list(clock_slots(when, after=after, until=until)) == oracle.slots(line, zone, after=after, until=until)


@given(line=lines, stretch=stretches(), cut=st.floats(0, 1))
def test_where_one_begins_to_look_makes_no_difference(
    line: str, stretch: tuple[str, datetime, datetime], cut: float
) -> None:
    zone, after, until = stretch
    when = CronWhen(cron=line, time_zone=zone)
    between = after + (until - after) * cut
    parts = [*clock_slots(when, after=after, until=between), *clock_slots(when, after=between, until=until)]
    assert parts == list(clock_slots(when, after=after, until=until))


# Distances


def test_distances_are_counted_in_real_time_from_a_given_one() -> None:
    when = EveryWhen.model_validate({"every": "6h", "from": "2026-01-01T01:30:00+01:00"})
    found = list(clock_slots(when, after=at("2026-03-29"), until=at("2026-03-29T12:30")))
    assert found == [at("2026-03-29T00:30"), at("2026-03-29T06:30"), at("2026-03-29T12:30")]


@given(
    every=st.integers(1, 10**6),
    days=st.integers(-(10**4), 10**4),
    seconds=st.floats(0, 86400),
)
def test_a_distance_has_every_slot_and_no_other(every: int, days: int, seconds: float) -> None:
    begin = at("2026-01-01") + timedelta(days=days, seconds=seconds)
    when = EveryWhen.model_validate({"every": f"{every}s", "from": "2026-01-01"})
    found = list(islice(clock_slots(when, after=begin, until=begin + timedelta(seconds=4 * every)), 9))
    assert len(found) == 4
    assert begin < found[0] <= begin + timedelta(seconds=every)
    assert all((slot - at("2026-01-01")).total_seconds() % every == 0 for slot in found)


# The next slots


def schedule(**keys: object) -> Schedule:
    return Schedule.model_validate({"name": "nightly", "steps": [{"job": "a", "file": "a.yaml"}], **keys})


def test_the_next_slots_keep_to_start_and_end() -> None:
    when = {"cron": "0 6 * * *", "time_zone": "Europe/Berlin"}
    found = next_slots(schedule(when=when, start="2026-03-28T05:00:00Z", end="2026-03-30"), after=at("2026-01-01"))
    assert found == [at("2026-03-28T05:00"), at("2026-03-29T04:00"), at("2026-03-30T04:00")]


def test_the_next_slots_are_as_many_as_were_asked_for() -> None:
    assert len(next_slots(schedule(when={"every": "1h"}), after=at("2026-01-01"))) == 10
    assert next_slots(schedule(when={"every": "1h"}), after=at("2026-01-01"), count=1) == [at("2026-01-01T01:00")]


def test_a_schedule_of_occasions_has_no_next_slots() -> None:
    assert next_slots(schedule(when={"snapshot": "flights"}), after=at("2026-01-01")) == []


def test_a_line_that_comes_seldom_is_found_and_one_that_ends_is_over() -> None:
    rare = next_slots(schedule(when={"cron": "0 0 29 2 MON#5"}), after=at("2026-01-01"), count=2)
    assert rare[0].strftime("%m-%d") == "02-29" or rare[0].isoweekday() == 1
    assert next_slots(schedule(when={"every": "1h"}, end="2026-01-01"), after=at("2026-01-02")) == []
