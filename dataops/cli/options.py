"""Options that many verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


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
