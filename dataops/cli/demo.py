"""``dataops demo``: the whole line on real data."""

from __future__ import annotations

import sys

import click

from dataops.cli.options import json_option
from dataops.cli.output import print_json, print_table


@click.command()
@click.argument("folder", metavar="[DIR]", default="demo")
@click.option("--watch", is_flag=True, help="Keep the last cluster and its dashboard up until Enter.")
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
@json_option
def demo(folder: str, *, watch: bool, quiet: bool, as_json: bool) -> None:
    """The whole line on real data, in DIR (./demo): 299,285 people of the censuses of 1994 and 1995.

    Fetches the data, makes a workspace, prepares a governed training set, trains two candidates, promotes the better
    one and
    rescores 1995 with it. A second run does only what is missing.
    """
    from pathlib import Path

    from dataops.demo.line import run_demo
    from dataops.engine.progress import Progress
    from dataops.runs.report import report_path

    hold = _wait_for_enter if watch else None
    with Progress(sys.stderr, quiet=quiet) as progress:
        workspace, story = run_demo(Path(folder), progress=progress, hold=hold)
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
    scores = runs["income_scores"]
    click.echo(f"""
In {folder}/: policies, contracts and jobs to read; storage/ with datasets, runs and audit; registry/ with the models.
Reports:  {report_path(workspace, scores)}

Look around:
  dataops job list -w {folder}
  dataops job explain {folder}/jobs/census.yaml income_scores -w {folder}
  dataops dataset verify income_scores -w {folder}
  dataops model show income -w {folder}
  dataops audit verify -w {folder}""")


def _wait_for_enter(dashboard: str) -> None:
    click.echo(f"The cluster is still up: {dashboard}  Press Enter to end it.", err=True)
    sys.stdin.readline()
