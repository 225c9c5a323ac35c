"""Parts of dates and crossed columns, against Python's own calendar and time zones."""

from __future__ import annotations

import datetime as dt
import json
import math
import subprocess
import sys
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.features import FeatureSpec
from dataops.errors import InvalidInput
from dataops.features.columns import read_categories
from dataops.features.fitting import require_types
from dataops.features.making import Crossed, DatePart, Made, made_column, with_made

BEGIN = dt.datetime(1903, 1, 1, tzinfo=dt.UTC)
PLAIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)
MOMENTS = st.none() | st.integers(0, 2 * 10**8).map(lambda minutes: BEGIN + dt.timedelta(minutes=minutes))
# From 2038 on Arrow tells the very second in which a clock is put forward by its time before.
ZONED = st.none() | st.integers(0, 7 * 10**7).map(lambda minutes: BEGIN + dt.timedelta(minutes=minutes))
ZONES = st.sampled_from(["America/New_York", "Europe/Paris", "Asia/Kolkata", "Australia/Lord_Howe", "UTC", None])
PARTS = {
    "year": lambda at: at.year,
    "quarter": lambda at: (at.month + 2) // 3,
    "month": lambda at: at.month,
    "week": lambda at: at.isocalendar().week,
    "day": lambda at: at.day,
    "day_of_year": lambda at: at.timetuple().tm_yday,
    "weekday": lambda at: at.isoweekday(),
    "hour": lambda at: at.hour,
    "minute": lambda at: at.minute,
}
TURNS = {"quarter": 4, "month": 12, "week": 53, "day": 31, "day_of_year": 366, "weekday": 7, "hour": 24, "minute": 60}


def make(column: pa.Array, part: str, **how: Any) -> list[Any]:
    made = DatePart(name="made", source="at", part=part, **how)
    found: list[Any] = with_made(pa.table({"at": column}), [made]).column("made").to_pylist()
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(ZONED, max_size=20), ZONES, st.sampled_from(sorted(PARTS)), st.sampled_from(["s", "ms", "us"]))
def test_parts_of_zoned_times_are_those_of_the_zones_clocks_and_calendar(
    moments: list[dt.datetime | None], zone: str | None, part: str, unit: str
) -> None:
    stored = pa.array(moments, pa.timestamp(unit, "Asia/Tokyo"))  # what zone it is stored with doesn't matter
    clocks = ZoneInfo(zone or "UTC")
    expected = [None if at is None else PARTS[part](at.astimezone(clocks)) for at in moments]
    assert make(stored, part, zone=zone) == expected


def test_daylight_saving_time_is_told() -> None:
    winter, summer = (dt.datetime(2026, month, 1, 12, tzinfo=dt.UTC) for month in (1, 7))
    assert make(pa.array([winter, summer]), "hour", zone="America/New_York") == [7, 8]


@settings(max_examples=30)
@given(st.lists(MOMENTS, max_size=10), st.sampled_from(sorted(PARTS)))
def test_dates_and_times_without_a_zone_are_taken_as_they_stand(moments: list[dt.datetime | None], part: str) -> None:
    plain = [None if at is None else at.replace(tzinfo=None) for at in moments]
    expected = [None if at is None else PARTS[part](at) for at in plain]
    assert make(pa.array(plain, pa.timestamp("us")), part) == expected
    if part not in ("hour", "minute"):
        dates = pa.array([None if at is None else at.date() for at in plain], pa.date32())
        assert make(dates, part) == expected


@pytest.mark.parametrize("part", sorted(TURNS))
def test_a_place_on_the_circle_begins_anew_and_is_a_unit_from_its_middle(part: str) -> None:
    hours = [PLAIN + dt.timedelta(hours=7 * step, minutes=step) for step in range(2000)]
    column = pa.array(hours)
    sines, cosines = (np.array(make(column, part, wave=wave)) for wave in ("sin", "cos"))
    np.testing.assert_allclose(sines**2 + cosines**2, 1)
    angles = np.array([2 * math.pi * PARTS[part](at) / TURNS[part] for at in hours])
    first = 0 if part in ("hour", "minute") else 2 * math.pi / TURNS[part]
    np.testing.assert_allclose(sines, np.sin(angles - first), atol=1e-12)
    np.testing.assert_allclose(cosines, np.cos(angles - first), atol=1e-12)
    assert make(pa.array([None], pa.timestamp("us")), part, wave="sin") == [None]


@pytest.mark.parametrize(
    ("column", "how", "message"),
    [
        (pa.array(["2026-01-01"]), {}, "'at' is string, neither a date nor a time"),
        (pa.array([dt.date(2026, 1, 1)]), {}, "'at' is date32.*, a date without a time: it has no hour"),
        (pa.array([PLAIN]), {"zone": "Europe/Paris"}, "a time of no zone: leave `zone` out"),
        (pa.array([BEGIN]), {"zone": "Mars/Olympus"}, "no time zone 'Mars/Olympus' is known"),
    ],
)
def test_what_has_no_such_part_is_refused(column: pa.Array, how: dict[str, Any], message: str) -> None:
    for rows in (column, column[:0]):
        with pytest.raises(InvalidInput, match=message):
            make(rows, "hour", **how)


TEXTS = st.none() | st.sampled_from(["a", "b", '"', "a,b", ",", "é", ""])


@settings(max_examples=60)
@given(st.lists(st.tuples(TEXTS, TEXTS, st.none() | st.integers(0, 3)), max_size=20))
def test_a_cross_is_the_list_of_its_categories_and_null_where_one_is(rows: list[Any]) -> None:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table(
        {
            "a": pa.array(columns[0], pa.string()),
            "b": pa.array(columns[1], pa.string()).dictionary_encode(),
            "n": pa.array(columns[2], pa.int64()),
        }
    )
    crossed = with_made(table, [Crossed(name="cross", sources=("a", "b", "n"))]).column("cross")
    found = read_categories("cross", crossed)
    texts = [*found.texts.to_pylist(), None]
    expected = [
        None if None in row else json.dumps([row[0], row[1], str(row[2])], ensure_ascii=False, separators=(",", ":"))
        for row in rows
    ]
    assert [texts[place] for place in found.indices] == expected


def test_four_columns_of_many_values_are_crossed_without_overflow() -> None:
    rows = 70_000  # its fourth power is beyond 64 bits
    table = pa.table({name: pa.array([f"{name}{row}" for row in range(rows)]) for name in "abcd"})
    crossed = with_made(table, [Crossed(name="cross", sources=tuple("abcd"))]).column("cross")
    assert crossed[rows - 1].as_py() == '["a69999","b69999","c69999","d69999"]'
    assert len(crossed.chunk(0).dictionary) == rows


MADE: list[Made] = [
    DatePart(name="hour(at)", source="at", part="hour", zone="Europe/Paris"),
    DatePart(name="sin(month(at))", source="at", part="month", wave="sin"),
    Crossed(name="cross(a, b)", sources=("a", "b")),
]


@pytest.mark.parametrize("made", MADE)
def test_what_is_made_survives_json(made: Made) -> None:
    assert made_column(json.loads(json.dumps(made.record()))) == made


@pytest.mark.parametrize(
    "change", [{"part": "fortnight"}, {"wave": "tan"}, {"part": "year", "wave": "sin"}, {"zone": 3}, {"name": None}]
)
def test_a_record_that_makes_nothing_known_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        made_column({**MADE[1].record(), **change})


def test_making_a_row_of_features_imports_no_pandas() -> None:
    code = """
import sys, pyarrow as pa
from dataops.features.columns import array_of
from dataops.features.making import Crossed, DatePart, with_made
at = array_of([0, None]).cast(pa.timestamp("us", "UTC"))
table = pa.table([array_of(["a", None]), array_of(["b", "c"]), at], ["a", "b", "at"])
with_made(table, [Crossed(name="x", sources=("a", "b")), DatePart(name="h", source="at", part="hour", wave="sin")])
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_column_that_is_called_as_what_is_made_is_left_out() -> None:
    table = pa.table({"hour(t)": [77, 77], "t": pa.array([PLAIN, PLAIN.replace(hour=5)]), "x": [1, 2]})
    made = with_made(table, [DatePart(name="hour(t)", source="t", part="hour")])
    assert made.column_names == ["t", "x", "hour(t)"]
    assert made.column("hour(t)").to_pylist() == [0, 5]


def test_a_feature_that_is_called_as_a_column_that_features_are_made_of_is_refused_by_name() -> None:
    schema = pa.schema({"t": pa.timestamp("us"), "hour(t)": pa.int64()})
    spec = FeatureSpec.model_validate({"dates": [{"columns": ["t"], "parts": ["hour"]}]})
    with pytest.raises(InvalidInput, match=r"'hour\(t\)', made of 't'\. Rename that column"):
        require_types(spec, schema)
    require_types(spec, schema.remove(1))
