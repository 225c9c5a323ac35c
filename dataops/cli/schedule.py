"""``dataops schedule``: the scheduler script, and what its schedules are up to."""

from __future__ import annotations

from pathlib import Path

import click

from dataops.cli.job import Seconds
from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_json
from dataops.cli.schedule_keeping import KEEPING


@click.group()
def schedule() -> None:
    """Run schedules, look at their slots."""


for command in KEEPING:
    schedule.add_command(command)


@schedule.command()
@click.option("--once", is_flag=True, help="Do what is due, wait for it, and end: for cron.")
@click.option(
    "--poll",
    type=Seconds(min=0.1, max=3_600),
    metavar="SECONDS",
    default=5.0,
    show_default=True,
    help="How long to rest between two looks.",
)
@click.option("--accept-clock", is_flag=True, help="Believe the clock, also after it jumped by more than a day.")
@click.option("--quiet", "-q", is_flag=True, help="No line for each decision on stderr.")
@workspace_option
@json_option
def run(*, once: bool, poll: float, accept_clock: bool, quiet: bool, workspace: str | None, as_json: bool) -> None:
    """Do what is due: slots of schedules, and submitted jobs.

    This is the scheduler script. It goes on until it is stopped (Ctrl-C, SIGTERM), and needs no server: several may run
    on one workspace, on one machine or on many. Each decision is a line on stderr. With --once it ends with 0 where all
    that was due is done, 1 where something failed, and 2 where a schedule's file can't be read.

    \b
    Examples:
      dataops schedule run
      dataops schedule run --once --workspace /srv/flights
    """
    from dataops.scheduling.script import run_script
    from dataops.settings import find_workspace

    folder = find_workspace(Path.cwd() if workspace is None else Path(workspace))
    done = run_script(
        folder, once=once, poll_seconds=poll, accept_clock=accept_clock, log=(lambda _: None) if quiet else None
    )
    if as_json:
        print_json(done.record())
    click.get_current_context().exit(done.exit_code if once else 0)
