"""Options that many verbs share."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from dataops.declarations.slot_names import SlotTimes

F = TypeVar("F", bound=Callable[..., Any])
_DURATION = re.compile(r"(\d{1,6})([dhms])")
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def workspace_option(function: F) -> F:
    """``--workspace``: the folder with ``dataops.yaml``; by default the one that the present folder lies in."""
    return click.option(
        "--workspace",
        "-w",
        metavar="DIR",
        help="The workspace: a folder with dataops.yaml. Default: the one you are in, or $DATAOPS_WORKSPACE.",
    )(function)


def json_option(function: F) -> F:
    """``--json``: results as JSON on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)


def duration(context: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:
    """A whole number of days, hours, minutes or seconds (``30d``) as a timedelta."""
    if value is None:
        return None
    found = _DURATION.fullmatch(value)
    if found is None:
        message = f"{value!r} is no duration: expected a whole number with d, h, m or s, such as 30d"
        raise click.BadParameter(message, ctx=context, param=parameter)
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def yes_option(function: F) -> F:
    """``--yes``: do what else is only shown."""
    words = "Do it: takes the role `steward`. Without, only say what would be done."
    return click.option("--yes", "do", is_flag=True, help=words)(function)


def running_options(function: F) -> F:
    """How to run a job: cluster, workers, quiet."""
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="No progress on stderr."),
        click.option(
            "--workers", type=click.IntRange(1, 1024), help="Worker processes, instead of the cluster file's."
        ),
        click.option("--cluster", metavar="FILE", help="Cluster file. Default: the one that dataops.yaml names."),
    ):
        function = option(function)
    return function


def slot_options(function: F) -> F:
    """``--slot``, ``--time-zone``, ``--previous``: the slot that fills in what a job says of one."""
    for option in (
        click.option("--previous", metavar="TIME", help="With --slot: the slot before it, for ${previous}."),
        click.option(
            "--time-zone",
            metavar="ZONE",
            help="With --slot: the zone of its day, and of times without one. Default: UTC.",
        ),
        click.option(
            "--slot",
            metavar="TIME",
            help="The slot that fills in ${date}, ${day_before} and ${slot}: a date or a time.",
        ),
    ):
        function = option(function)
    return function


def slot_times(slot: str | None, time_zone: str | None, previous: str | None) -> SlotTimes | None:
    """The slot that the texts of `slot_options` say; None for none.

    Raises
    ------
    InvalidInput : no time, or no time zone.
    """
    from dataops.declarations.slot_names import SlotTimes, parse_slot

    if slot is None:
        if time_zone or previous:
            raise click.UsageError("--time-zone and --previous say more of a --slot: give that too")
        return None
    zone = time_zone or "UTC"
    before = None if previous is None else parse_slot(previous, zone)
    return SlotTimes(nominal=parse_slot(slot, zone), zone=zone, previous=before)


def job_file(workspace: Path, file: str) -> Path:
    """See `dataops.settings.find_file`."""
    from dataops.settings import find_file

    return find_file(workspace, file)


def moment(text: str | None, option: str, *, end_of_day: bool = False) -> datetime | None:
    """The time that the text of `option` says: a date, a time with its zone, or how long ago (``7d``); None for none.

    Raises
    ------
    InvalidInput : none of these.
    """
    from dataops.declarations.signers import parse_moment
    from dataops.errors import InvalidInput
    from dataops.records import now_utc

    if text is None:
        return None
    if ago := re.fullmatch(r"(\d{1,5})([dhm])", text):
        return now_utc() - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
    try:
        return parse_moment(text, end_of_day=end_of_day)
    except InvalidInput as error:
        raise InvalidInput(f"{option}: {error}, or 7d, 12h, 30m (ago)") from None
