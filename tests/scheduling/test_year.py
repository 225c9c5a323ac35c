"""A year of fifty schedules in five time zones by a virtual clock: the claims are the slots that an oracle finds.

The clock goes from one time at which something is due to the next, a script decides until it has nothing more to say,
and every slot that it claims is ended at once. Ten years are among the tests that take minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from dataops.declarations.schedules import Schedule
from dataops.scheduling.applying import apply
from dataops.scheduling.cron import next_slots
from dataops.scheduling.deciding import decide
from dataops.scheduling.events import Claimed, Ended, Missed, Skipped
from dataops.scheduling.state import ScheduleState
from tests.scheduling import oracle

ZONES = ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"]
LINES = [
    "30 2 * * *",
    "0 0 * * *",
    "15 1-3 * * *",
    "30 */6 * * *",
    "*/20 0-2 * * SUN",
    "10 4 29 2 *",
    "0 9 L * *",
    "45 1 * * MON-FRI",
    "0 3 13 * FRI",
    "5 12 LW * FRI#2",
]
BEGIN = datetime(2027, 7, 1, 0, 0, 30, tzinfo=UTC)


class Script:
    """A script with a virtual clock and fifty schedules, that writes down what it claims."""

    def __init__(self, begin: datetime) -> None:
        self.now = begin
        self.schedules: Mapping[str, Schedule] = {
            f"s{number}-{place}": Schedule.model_validate(
                {
                    "name": f"s{number}-{place}",
                    "when": {"cron": line, "time_zone": zone},
                    "steps": [{"job": "a", "file": "a.yaml"}],
                }
            )
            for place, zone in enumerate(ZONES)
            for number, line in enumerate(LINES)
        }
        self.states: dict[str, ScheduleState] = {}
        self.claims: dict[str, list[datetime]] = {name: [] for name in self.schedules}
        self.left_out = 0
        self.due = dict.fromkeys(self.schedules, begin)

    def run(self, until: datetime) -> None:
        while (now := min(self.due.values())) <= until:
            self.now = now
            for name in [name for name, due in self.due.items() if due <= self.now]:
                self.look(name)

    def look(self, name: str) -> None:
        schedule, state = self.schedules[name], self.states.get(name)
        while (event := decide(schedule, state, [], now=self.now, script="s")) is not None:
            state = apply(state, event)
            self.left_out += isinstance(event, Skipped | Missed)
            if isinstance(event, Claimed):
                assert event.cause == "due"
                self.claims[name].append(event.nominal)
                state = apply(state, Ended(at=self.now, by="s", key=event.key, outcome="stopped"))
        assert state is not None
        self.states[name] = state
        self.due[name] = next_slots(schedule, after=self.now, count=1)[0]


def compare(until: datetime) -> int:
    """How many slots there were; all of them as the oracle has them."""
    script = Script(BEGIN)
    script.run(until)
    assert len(script.schedules) == 50
    for name, schedule in script.schedules.items():
        when = schedule.when.model_dump()
        expected = oracle.slots(when["cron"], when["time_zone"], after=BEGIN, until=until)
        assert script.claims[name] == expected, schedule.when
    assert script.left_out == 0
    return sum(map(len, script.claims.values()))


def changes(begin: datetime, until: datetime) -> int:
    """How often the clocks of the zones change."""
    found = 0
    for zone in ZONES:
        laid = oracle.minutes(zone, begin, until)
        offsets = (laid.wall - laid.utc).astype(int)
        found += int((offsets[1:] != offsets[:-1]).sum())
    return found


@pytest.mark.long
def test_a_year_with_both_changes_of_the_clocks_and_a_leap_day() -> None:
    until = BEGIN + timedelta(days=366)
    assert changes(BEGIN, until) == 8
    assert compare(until) > 20_000


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_ten_years() -> None:
    until = BEGIN.replace(year=BEGIN.year + 10)
    assert changes(BEGIN, until) == 80
    assert compare(until) > 200_000
