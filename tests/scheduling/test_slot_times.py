"""The times that a slot fills into job files, and the words that give a step's process the same ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from dataops.cli.job import run
from dataops.cli.options import slot_times
from dataops.declarations.schedules import EveryWhen
from dataops.declarations.slot_names import SlotTimes
from dataops.runs.workspace import open_workspace
from dataops.scheduling.keeping import backfill
from dataops.scheduling.slot_times import previous_slot, slot_arguments, slot_times_of
from tests.scheduling.figures import make_schedule
from tests.scheduling.stage import HOUR, HOURLY, START, Stage, make_stage

STEP = {"job": "a", "file": "a.yaml"}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("line", "zone", "nominal", "before"),
    [
        ("30 2 * * *", "America/New_York", "2026-03-08T07:00Z", "2026-03-07T07:30Z"),  # in the gap: right after it
        ("30 2 * * *", "America/New_York", "2026-03-09T06:30Z", "2026-03-08T07:00Z"),
        ("*/15 * * * *", "UTC", "2026-03-08T07:00Z", "2026-03-08T06:45Z"),
        ("0 6 1 * *", "UTC", "2026-03-01T06:00Z", "2026-02-01T06:00Z"),
        ("0 6 29 2 *", "UTC", "2028-02-29T06:00Z", "2024-02-29T06:00Z"),
    ],
)
def test_the_slot_before_is_that_of_the_schedule_s_own_clock(line: str, zone: str, nominal: str, before: str) -> None:
    schedule = make_schedule(STEP, when={"cron": line, "time_zone": zone})
    times = slot_times_of(schedule, at(nominal))
    assert times == SlotTimes(nominal=at(nominal), zone=zone, previous=at(before))


def test_of_equal_distances_the_one_before_is_one_distance_away() -> None:
    when = EveryWhen.model_validate({"every": "6h", "from": "2026-01-01"})
    assert previous_slot(when, START) == START - timedelta(hours=6)


def test_an_occasion_has_none_before_it() -> None:
    schedule = make_schedule(STEP, when={"snapshot": "people"})
    assert slot_times_of(schedule, START) == SlotTimes(nominal=START)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_what_a_step_s_process_is_told_comes_to_the_same_times(zone: str) -> None:
    times = SlotTimes(nominal=START, zone=zone, previous=START - HOUR)
    for one in (times, SlotTimes(nominal=START, zone=zone)):
        context = run.make_context("run", ["jobs/a.yaml", "a", *slot_arguments(one)])
        asked = slot_times(*(context.params[name] for name in ("slot", "time_zone", "previous")))
        assert asked == one


def test_a_zone_without_a_slot_is_a_slip() -> None:
    with pytest.raises(click.UsageError, match="give that too"):
        slot_times(None, "UTC", None)


def test_a_label_reaches_the_process_of_each_step_whatever_it_holds(tmp_path: Path) -> None:
    stage = Stage(make_stage(tmp_path / "flights", HOURLY.replace("start: 2026-03-01T01:00:00Z\n", "")))
    (stage.folder / "jobs").mkdir()
    (stage.folder / "jobs" / "a.yaml").write_text("name: scores\njob: prepare\ninput: people\noutput: scores\n")
    stage.once()
    stage.company.started.clear()
    workspace = open_workspace(str(stage.folder), {})
    backfill(workspace, "hourly", first=START - HOUR, last=START - HOUR, at=START, hindsight="--again", reason="")
    stage.once()
    (plain,) = stage.company.started  # the model isn't younger: it scores with none
    assert not any("hindsight" in word for word in plain.command.arguments)
    words = slot_arguments(SlotTimes(nominal=START), "--again 'it'")
    assert run.make_context("run", ["jobs/a.yaml", "a", *words]).params["hindsight"] == "--again 'it'"
