"""``dataops demo``: the whole line on real data."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dataops.cli.options import json_option
from dataops.cli.output import print_json, print_table

if TYPE_CHECKING:
    from dataops.demo.line import Story

PROGRAM = "dataops"
LOOK_AROUND = (
    "job list",
    "job explain {}/jobs/census.yaml income_scores",
    "dataset verify income_scores",
    "model show income",
    "audit verify",
)


@click.command()
@click.argument("folder", metavar="[DIR]", default="demo")
@click.option("--watch", is_flag=True, help="Keep the last cluster and its dashboard up until Enter.")
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
@json_option
def demo(folder: str, *, watch: bool, quiet: bool, as_json: bool) -> None:
    """Run the whole line on real data, in ./demo.

    299,285 people of the censuses of 1994 and 1995: fetches the data, makes a workspace in DIR, prepares a governed
    training set from 1994, trains two candidates, promotes the better one and rescores 1995 with it. A second run does
    only what is missing.

    \b
    Examples:
      dataops demo
      dataops demo somewhere/else --watch
    """
    from dataops.demo.line import run_demo
    from dataops.engine.progress import Progress

    hold = _wait_for_enter if watch else None
    with Progress(sys.stderr, quiet=quiet) as progress:
        workspace, story = run_demo(Path(folder), progress=progress, hold=hold)
    if watch and story.outcomes["income_scores"].skipped:
        click.echo("There is no cluster to watch: nothing was left to do. A demo in another DIR has one.", err=True)
    runs = {name: outcome.state.run.id for name, outcome in story.outcomes.items()}
    if as_json:
        steps = [
            {"step": s.name, "what": s.what, "outcome": s.outcome, "seconds": round(s.seconds, 2)} for s in story.steps
        ]
        print_json({"workspace": str(workspace.settings.workspace), "steps": steps, "runs": runs})
        return
    click.echo("")
    rows = [[step.name, step.what, step.outcome, f"{step.seconds:.1f} s"] for step in story.steps]
    print_table(["step", "what", "outcome", "time"], rows)
    click.echo(_closing(story, folder))


def _closing(story: Story, folder: str) -> str:
    """Where things lie, and how to look around."""
    done = "" if any(not outcome.skipped for outcome in story.outcomes.values()) else "\nNothing was left to do.\n"
    report = story.outcomes["income_scores"].report
    where = shlex.quote(folder)
    lines = [
        f"{done}",
        f"In {folder}/: policies/, contracts/ and jobs/ to read; storage/ with datasets, runs and audit;",
        "registry/ with the models.",
        f"Report of the last run: {report}",
        "",
        "Look around:",
        *(f"  {program()} {verb.format(where)} -w {where}" for verb in LOOK_AROUND),
    ]
    return "\n".join(lines)


def program() -> str:
    """How to call this program from where the person stands: its name, or its path where it isn't on the PATH."""
    here = Path(sys.argv[0])
    if here.name != PROGRAM or shutil.which(PROGRAM):
        return PROGRAM
    return shlex.quote(os.path.relpath(here))


def _wait_for_enter(page: str) -> None:
    click.echo(f"The cluster is still up, and shows the run: {page}  Press Enter to end it.", err=True)
    sys.stdin.readline()
