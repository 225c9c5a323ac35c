"""``dataops schedule backfill``: slots of the past, asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_json, print_note, print_table

if TYPE_CHECKING:
    from dataops.declarations.schedules import DeclaredSchedule
    from dataops.runs.workspace import Workspace
    from dataops.scheduling.backfill import BackfillSlot
    from dataops.scheduling.events import WantedSlot
    from dataops.scheduling.keeping import Asked, Kept

_LONGEST = 100  # characters of a reason in a table


@click.command()
@click.argument("name")
@click.option("--from", "first", metavar="TIME", help="The first slot: a date or a time. Without --cancel required.")
@click.option("--to", "last", metavar="TIME", help="The last slot: a time, or a date, that day included. Default: now.")
@click.option("--plan", "plan_only", is_flag=True, help="Only say what would be asked for, and why.")
@click.option("--stale", is_flag=True, help="Also what was done under another declaration of the schedule.")
@click.option(
    "--hindsight",
    metavar="LABEL",
    help="Also slots for times before the model was there; what comes of them carries this label.",
)
@click.option("--cancel", is_flag=True, help="Take back what was asked for and nobody began, between these times.")
@click.option("--reason", default="", help="Why; it is kept.")
@workspace_option
@json_option
def backfill(
    name: str,
    *,
    first: str | None,
    last: str | None,
    plan_only: bool,
    stale: bool,
    hindsight: str | None,
    cancel: bool,
    reason: str,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Ask for slots of NAME that are missing between two times.

    Every slot is listed with its reason. What was done isn't done again. A scheduler script does what was asked for, as
    many side by side as its limits allow. A slot for a time before the model that it would use was there is hindsight:
    refused, unless a label says so. With --cancel what was asked for is taken back, of all times where none is given.

    \b
    Examples:
      dataops schedule backfill nightly --from 2026-03-01 --to 2026-03-31 --plan
      dataops schedule backfill nightly --from 2026-03-01 --to 2026-03-31 --reason "files came late"
      dataops schedule backfill nightly --from 2025-01-01 --hindsight "what today's model would have said"
      dataops schedule backfill nightly --cancel --reason "too many at once"
    """
    from dataops.records import now_utc
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.asking import slot_moment
    from dataops.scheduling.keeping import backfill as ask
    from dataops.scheduling.keeping import find_schedule, take_back

    _require_fitting(first, cancel=cancel, others=plan_only or stale or hindsight is not None)
    opened = open_workspace(workspace, read_only=plan_only)
    declared, now = find_schedule(opened, name), now_utc()
    begin = slot_moment(declared.schedule, first) if first is not None else None
    end = slot_moment(declared.schedule, last, end_of_day=True) if last is not None else None
    if cancel:
        kept, taken = take_back(opened, name, first=begin, last=end, reason=reason, at=now)
        _print_taken_back(declared, kept, taken, as_json=as_json)
        return
    assert begin is not None  # noqa: S101  # `_require_fitting`
    asked = ask(
        opened,
        name,
        first=begin,
        last=end or now,
        at=now,
        stale=stale,
        hindsight=hindsight,
        reason=reason,
        do=not plan_only,
    )
    _print_asked(opened, declared, asked, plan_only=plan_only, as_json=as_json)


def _require_fitting(first: str | None, *, cancel: bool, others: bool) -> None:
    if cancel and others:
        raise click.UsageError("--cancel takes --from, --to and --reason alone.")
    if not cancel and first is None:
        raise click.UsageError("Missing option '--from'.")


def _print_taken_back(declared: DeclaredSchedule, kept: Kept, taken: Sequence[WantedSlot], *, as_json: bool) -> None:
    from dataops.scheduling.standing import zone_of
    from dataops.scheduling.wording import counted, spell_slot

    print_note(kept.note)
    if as_json:
        waiting = [one.key for one in kept.state.wanted]
        print_json({"schedule": declared.schedule.name, "cancelled": [one.key for one in taken], "wait": waiting})
        return
    zone = zone_of(declared.schedule)
    print_table(["slot", "key"], [[spell_slot(one.nominal, zone), one.key] for one in taken], empty="none waits there")
    click.echo(f"{counted(len(taken), 'slot')} taken back; {counted(len(kept.state.wanted), 'slot')} asked for still.")


def _print_asked(
    opened: Workspace, declared: DeclaredSchedule, asked: Asked, *, plan_only: bool, as_json: bool
) -> None:
    from dataops.scheduling.standing import zone_of
    from dataops.scheduling.wording import counted

    print_note(asked.note)
    if as_json:
        listed = [one.record() for one in asked.slots]
        print_json({"schedule": declared.schedule.name, "done": not plan_only, "asked": asked.asked, "slots": listed})
        return
    zone = zone_of(declared.schedule)
    rows = [_row(one, zone, done=not plan_only) for one in asked.slots]
    columns = ["slot", "was", "why", "now", "hindsight"]
    print_table(columns, rows, empty="no slot lies between these times", rare=("hindsight",))
    wanted = sum(one.runs_now for one in asked.slots)
    if plan_only and wanted:
        younger = sum(bool(one.younger) for one in asked.slots)
        label = f", {younger:,} of them only with --hindsight LABEL" if younger else ""
        click.echo(f"Dry run: without --plan {counted(wanted, 'slot')} would be asked for{label}.")
    elif asked.asked:
        click.echo(f"{counted(asked.asked, 'slot')} asked for.{_who_does_it(opened)}")


def _row(one: BackfillSlot, zone: str, *, done: bool) -> list[object]:
    from dataops.scheduling.wording import spell_minute, spell_slot

    now = ("asked for" if done else "runs") if one.runs_now else "stays"
    younger = ", ".join(f"{used.named}, made {spell_minute(used.since)} UTC" for used in one.younger) or None
    says = one.says if len(one.says) <= _LONGEST else f"{one.says[:_LONGEST]}..."
    return [spell_slot(one.nominal, zone), one.reason.value, says, now, younger]


def _who_does_it(opened: Workspace) -> str:
    if has_script(opened):
        return " A scheduler script runs, and takes them."
    return " No scheduler script runs: `dataops schedule run --once` does them."


def has_script(opened: Workspace) -> bool:
    """Whether a scheduler script seems to be there."""
    from dataops.records import now_utc
    from dataops.scheduling.beats import looks_alive, read_beats

    return any(looks_alive(one, now_utc()) for one in read_beats(opened.store))
