"""``dataops schedule`` list, plan, pause, resume, stop, why: what people ask of schedules."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import json_option, moment, workspace_option
from dataops.cli.output import print_facts, print_json, print_note, print_table
from dataops.cli.schedule_backfill import backfill

if TYPE_CHECKING:
    from dataops.declarations.schedules import Schedule
    from dataops.scheduling.keeping import Kept


@click.command(name="list")
@workspace_option
@json_option
def list_schedules(*, workspace: str | None, as_json: bool) -> None:
    """List the schedules, how each is, and its next slot.

    \b
    Examples:
      dataops schedule list
      dataops schedule list --json
    """
    from dataops.records import now_utc
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.status import look_at_schedules
    from dataops.scheduling.wording import spell_slot

    found = look_at_schedules(open_workspace(workspace, read_only=True), now=now_utc())
    if as_json:
        print_json([one.record() for one in found])
        return
    rows = [
        [one.name, one.mood.value, one.next and spell_slot(one.next, one.zone), one.owner, one.file, one.says]
        for one in found
    ]
    empty = "no schedules: write one into schedules/, look at it with `dataops schedule plan FILE`"
    print_table(["schedule", "is", "next slot", "owner", "file", "why"], rows, empty=empty, rare=("owner",))


@click.command()
@click.argument("file")
@click.argument("name", required=False)
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many slots.")
@click.option("--after", metavar="TIME", help="The slots after this date or time. Default: now.")
@workspace_option
@json_option
def plan(file: str, name: str | None, *, count: int, after: str | None, workspace: str | None, as_json: bool) -> None:
    """Say what the schedules of FILE would do, before they do it.

    FILE needn't lie in schedules/ yet. That is: the next slots, by the schedule's own clock and in UTC, what becomes of
    late and overlapping ones, and the steps, whose jobs and rules are looked for. Nothing is written.

    \b
    Examples:
      dataops schedule plan schedules/nightly.yaml
      dataops schedule plan schedules/nightly.yaml nightly --after 2026-10-24 --count 3
    """
    from dataops.cli.options import job_file
    from dataops.declarations.schedules import read_schedule_file
    from dataops.errors import NotFound, near_match
    from dataops.records import now_utc
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.keeping import require_steps

    opened = open_workspace(workspace, read_only=True)
    root = opened.settings.workspace
    found = read_schedule_file(job_file(root, file))
    if name is not None and name not in found:
        raise NotFound(f"{file}: declares no schedule '{name}'.{near_match(name, found)}")
    chosen = [one for one in found.values() if name in (None, one.schedule.name)]
    for one in chosen:
        require_steps(root, one)
    begin = moment(after, "--after") or now_utc()
    records = [_planned(one.schedule, begin, count) for one in chosen]
    if as_json:
        print_json(records)
        return
    for place, record in enumerate(records):
        click.echo("\n" if place else "", nl=False)
        _print_plan(record)


def _planned(schedule: Schedule, after: datetime, count: int) -> dict[str, Any]:
    """What `schedule` would do, as JSON values."""
    from dataops.scheduling.cron import next_slots
    from dataops.scheduling.previewing import planned, rules, spell_when, step_lines
    from dataops.scheduling.standing import zone_of

    zone = zone_of(schedule)
    slots = planned(schedule, next_slots(schedule, after=after, count=count), zone=zone)
    return {
        "schedule": schedule.name,
        "when": spell_when(schedule),
        "by_clock": schedule.by_clock,
        "paused": schedule.paused,
        **rules(schedule),
        "steps": step_lines(schedule),
        "slots": [one.record() for one in slots],
    }


def _print_plan(record: dict[str, Any]) -> None:
    told = {name: value for name, value in record.items() if name not in ("slots", "steps", "by_clock", "paused")}
    if record["paused"]:
        told["paused"] = "yes: it begins nothing until its file says otherwise"
    print_facts({**told, "steps": "\n".join(record["steps"])})
    if not record["by_clock"]:
        click.echo("\nIt goes by occasions: when the next slot comes, no clock says.")
        return
    rows = [
        [
            one["local"],
            _utc(one["nominal"]),
            None if one["begins"] == one["nominal"] else _utc(one["begins"]),
            one["note"],
        ]
        for one in record["slots"]
    ]
    click.echo()
    columns = ["slot", "in UTC", "begins (jitter)", "note"]
    print_table(columns, rows, empty="no slot comes any more: its end has passed", rare=("begins (jitter)", "note"))


def _utc(time: str) -> str:
    from dataops.records import parse_time
    from dataops.scheduling.wording import spell_slot

    return spell_slot(parse_time(time))


@click.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why; it is kept.")
@workspace_option
@json_option
def pause(name: str, *, reason: str, workspace: str | None, as_json: bool) -> None:
    """Let NAME begin nothing until it is resumed.

    What is open goes on to its end. Slots that come due meanwhile are left out, and don't come later.

    \b
    Example:
      dataops schedule pause nightly --reason "the source is being moved"
    """
    from dataops.records import now_utc
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.keeping import pause as pause_schedule

    _say_kept(name, pause_schedule(open_workspace(workspace), name, reason=reason, at=now_utc()), as_json=as_json)


@click.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; it is kept.")
@workspace_option
@json_option
def resume(name: str, *, reason: str, workspace: str | None, as_json: bool) -> None:
    """Let NAME go on.

    Slots of the time in which it was paused are left out; `dataops schedule backfill` asks for them.

    \b
    Example:
      dataops schedule resume nightly --reason "the source is back"
    """
    from dataops.records import now_utc
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.keeping import resume as resume_schedule

    _say_kept(name, resume_schedule(open_workspace(workspace), name, reason=reason, at=now_utc()), as_json=as_json)


def _say_kept(name: str, kept: Kept, *, as_json: bool) -> None:
    from dataops.records import format_time

    print_note(kept.note)
    pause_ = kept.state.paused
    record: dict[str, Any] = {"schedule": name, "paused": pause_ is not None, "open": sorted(kept.state.open)}
    if pause_ is not None:
        record |= {"by": pause_.by, "at": format_time(pause_.at), "reason": pause_.reason}
    if as_json:
        print_json(record)
        return
    print_facts({**record, "open": ", ".join(record["open"]) or "none"})


@click.command()
@click.argument("name")
@click.argument("slot", required=False)
@click.option("--reason", required=True, help="Why; it is kept.")
@workspace_option
@json_option
def stop(name: str, slot: str | None, *, reason: str, workspace: str | None, as_json: bool) -> None:
    """Stop an open slot of NAME.

    SLOT is its key, or its time: a date or time by the schedule's own clock. Default: the only one that is open. The
    scheduler script that holds it stops its step, and begins no other; what came due meanwhile goes on. What its runs
    did so far stays: `dataops schedule backfill` asks for the slot again, and goes on there.

    \b
    Examples:
      dataops schedule stop nightly --reason "it hangs since the disk was full"
      dataops schedule stop nightly 20260131t073000z --reason "its data was wrong"
    """
    from dataops.cli.schedule_backfill import has_script
    from dataops.records import now_utc
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.asking import open_slot
    from dataops.scheduling.keeping import stop as stop_slot

    opened = open_workspace(workspace)
    key = open_slot(opened, name, slot)
    kept = stop_slot(opened, name, key, reason=reason, at=now_utc())
    print_note(kept.note)
    runs = has_script(opened)
    record = {"schedule": name, "slot": key, "holder": kept.state.open[key].holder, "reason": reason}
    if as_json:
        print_json(record)
        return
    print_facts(record)
    click.echo("It ends at the next look of a scheduler script." if runs else _NOBODY_ENDS_IT)


_NOBODY_ENDS_IT = "No scheduler script runs: the next one ends it, such as `dataops schedule run --once`."


@click.command()
@click.argument("name")
@click.argument("slot", required=False)
@workspace_option
@json_option
def why(name: str, slot: str | None, *, workspace: str | None, as_json: bool) -> None:
    """Say what became of a slot of NAME, and why.

    SLOT is its key, or its time: a date or time by the schedule's own clock. Default: the one that is open, else the
    last one that ended.

    \b
    Examples:
      dataops schedule why nightly
      dataops schedule why nightly 20260131t073000z
      dataops schedule why nightly 2026-01-31T02:30
    """
    from dataops.records import now_utc
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.asking import why_slot
    from dataops.scheduling.wording import spell_slot

    told, zone = why_slot(open_workspace(workspace, read_only=True), name, slot, now=now_utc())
    if as_json:
        print_json(told.record())
        return
    label = {"hindsight": told.hindsight} if told.hindsight else {}
    nominal = {"time": spell_slot(told.nominal, zone)} if told.nominal is not None else {}
    cause = {"cause": told.cause} if told.cause else {}
    print_facts({**label, "slot": told.slot, **nominal, **cause, "outcome": told.outcome, "why": told.says})
    if told.lines:
        click.echo()
        rows = [[f"{one.at:%Y-%m-%d %H:%M:%S}", one.by, one.says] for one in told.lines]
        print_table(["at (UTC)", "by", "what"], rows)


KEEPING = (list_schedules, plan, backfill, pause, resume, stop, why)
