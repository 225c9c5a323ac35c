"""Options that many verbs share."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

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
