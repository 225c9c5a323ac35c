"""``dataops job``: run, look at, resume, explain."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataops.cli.errors import errors
from dataops.cli.explained import print_explained
from dataops.cli.job_compare import compare
from dataops.cli.options import job_file, json_option, running_options, slot_options, slot_times, workspace_option
from dataops.cli.outcome import print_outcome, print_searches, state_facts
from dataops.cli.output import print_facts, print_json, print_table
from dataops.cli.submissions import cancel, logs, submit
from dataops.cli.submitted import all_submissions, begun_at, find_submission, run_record, run_row, submission_facts

if TYPE_CHECKING:
    from dataops.engine.progress import Progress
    from dataops.runs.execute import Outcome


class Seconds(click.FloatRange):
    """A number of seconds in a range; ``nan`` lies in none, though it is neither below nor above one."""

    name = "number of seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """`value` as a number; fails as a wrong use of the command."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value} is no number of seconds.", param, ctx)
        return seconds


@click.group()
def job() -> None:
    """Run jobs, look at their runs."""


for verb in (compare, errors, submit, cancel, logs):
    job.add_command(verb)


@job.command()
@click.argument("file", metavar="FILE", required=False)
@click.argument("name", required=False)
@click.option("--submission", metavar="ID", hidden=True, help="Of a scheduler script: carry out what was submitted.")
@click.option("--again", is_flag=True, help="Do the work even if a finished run did the same.")
@click.option(
    "--poll",
    type=Seconds(min=0.1, max=86_400),  # 0 would look without a rest, for ever
    metavar="SECONDS",
    help="Of a job that follows files: look again.",
)
@click.option("--polls", type=click.IntRange(min=1), metavar="N", help="With --poll: look N times in all.")
@click.option(
    "--run",
    "run_id",
    metavar="ID",
    help="The run's id: begun, gone on with where it stopped, or taken where it is done.",
)
@slot_options
@click.option(
    "--hindsight", metavar="LABEL", help="With --slot: that the model is younger than the slot; kept with the run."
)
@running_options
@workspace_option
@json_option
def run(
    file: str | None,
    name: str | None,
    *,
    submission: str | None,
    again: bool,
    poll: float | None,
    polls: int | None,
    run_id: str | None,
    slot: str | None,
    time_zone: str | None,
    previous: str | None,
    hindsight: str | None,
    quiet: bool,
    workers: int | None,
    cluster: str | None,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Run the job NAME of FILE.

    It stays in the foreground. NAME may be left out where FILE has one job. What a finished run did on the same data,
    under the same policies, with the same code, isn't done again.

    \b
    Examples:
      dataops job run jobs/census.yaml census_training
      dataops job run jobs/census.yaml income --workers 1
      dataops job run jobs/arrivals.yaml arrival_scores --poll 300
      dataops job run jobs/nightly.yaml flights_of_the_day --slot 2026-01-31 --time-zone America/New_York
      dataops job run jobs/census.yaml income_scores --run income_scores-20260131t120000-1a2b3c
    """
    from dataops.declarations.jobs import find_job
    from dataops.declarations.locate import located
    from dataops.engine.progress import Progress
    from dataops.runs.execute import Options
    from dataops.runs.following import require_followed
    from dataops.runs.named import run_under
    from dataops.runs.workspace import open_workspace

    if submission is not None:
        print_outcome(_carry_out(submission, workspace, workers=workers, quiet=quiet), as_json=as_json)
        return
    if file is None:
        context = click.get_current_context()
        raise click.MissingParameter(
            ctx=context, param=next(one for one in context.command.params if one.name == "file")
        )
    if polls is not None and poll is None:
        raise click.UsageError("--polls says how often --poll looks: give both")
    if run_id is not None and poll is not None:
        raise click.UsageError("--run names one run, and --poll makes one after the other: give one of them")

    times = slot_times(slot, time_zone, previous)
    if hindsight is not None and times is None:
        raise click.UsageError("--hindsight says something of a --slot: give that too")

    def run_once(progress: Progress) -> Outcome:  # all of it read anew: a policy of today holds from the next look on
        opened = open_workspace(workspace)
        declared = find_job(job_file(opened.settings.workspace, file), name, times)
        options = Options(cluster=opened.cluster(cluster), workers=workers, again=again, hindsight=hindsight)
        with located(declared.document):
            if poll is not None:
                require_followed(declared.job, declared.document.source)
            source = declared.document.source
            return run_under(opened, declared.job, run_id, source=source, options=options, progress=progress)

    with Progress(sys.stderr, quiet=quiet) as progress:
        outcome = run_once(progress) if poll is None else _poll(run_once, progress, poll, polls)
    print_outcome(outcome, as_json=as_json)


def _carry_out(submission_id: str, workspace: str | None, *, workers: int | None, quiet: bool) -> Outcome:
    """What came of a submission, whose process this is."""
    from dataops.declarations.locate import located
    from dataops.engine.progress import Progress
    from dataops.runs.audit import signed
    from dataops.runs.execute import Options
    from dataops.runs.named import run_under
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.carrying_out import open_submission

    with Progress(sys.stderr, quiet=quiet) as progress, signed(opened := open_workspace(workspace)):
        asked = open_submission(opened, submission_id)
        options = Options(cluster=asked.cluster, workers=workers, again=asked.again)
        job, document = asked.declared.job, asked.declared.document
        with located(document):
            return run_under(
                asked.workspace, job, submission_id, source=document.source, options=options, progress=progress
            )


def _poll(run_once: Callable[[Progress], Outcome], progress: Progress, seconds: float, times: int | None) -> Outcome:
    from dataops.runs.following import Polling, poll

    polling = Polling(seconds=seconds, times=times)
    return poll(lambda: run_once(progress), polling, progress=progress, sleep=time.sleep)


@job.command()
@click.argument("run_id", metavar="RUN")
@running_options
@workspace_option
@json_option
def resume(
    run_id: str, *, quiet: bool, workers: int | None, cluster: str | None, workspace: str | None, as_json: bool
) -> None:
    """Go on with RUN where it stopped.

    Units that are done are not done again.

    \b
    Example:
      dataops job resume income_scores-20260131t120000-1a2b3c
    """
    from dataops.engine.progress import Progress
    from dataops.runs.execute import Options
    from dataops.runs.execute import resume as resume_run
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    options = Options(cluster=opened.cluster(cluster), workers=workers)
    with Progress(sys.stderr, quiet=quiet) as progress:
        outcome = resume_run(opened, run_id, options=options, progress=progress)
    print_outcome(outcome, as_json=as_json)


@job.command(name="list")
@click.option("--job", "job_name", metavar="NAME", help="Only runs of this job.")
@workspace_option
@json_option
def list_runs(*, job_name: str | None, workspace: str | None, as_json: bool) -> None:
    """List all runs and submissions, oldest first.

    \b
    Examples:
      dataops job list
      dataops job list --job income --json
    """
    from dataops.runs.ledger import job_of
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace, read_only=True)
    submissions = all_submissions(opened)
    runs = {run_id: opened.ledger.state(run_id) for run_id in opened.ledger.ids()}
    ids = [one for one in {**runs, **submissions} if job_name in (None, job_of(one))]
    ids.sort(key=lambda one: begun_at(runs.get(one), submissions.get(one)))
    if as_json:
        print_json([run_record(runs.get(one), submissions.get(one)) for one in ids])
        return
    rows = [run_row(runs.get(one), submissions.get(one)) for one in ids]
    print_table(["run", "kind", "state", "seconds", "by"], rows, empty="no runs yet: `dataops job run FILE`")


@job.command()
@click.argument("run_id", metavar="RUN")
@workspace_option
@json_option
def show(run_id: str, *, workspace: str | None, as_json: bool) -> None:
    """Show what RUN read, did and made.

    RUN may be a submission: then also who asked for it, and how far it got.

    \b
    Examples:
      dataops job show income_scores-20260131t120000-1a2b3c
      dataops job show income_scores-20260131t120000-s1a2b3c
    """
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace, read_only=True)
    submission = find_submission(opened, run_id)
    state = opened.ledger.find(run_id) if submission else opened.ledger.state(run_id)
    if as_json:
        print_json(run_record(state, submission))
        return
    if submission is not None:
        print_facts(submission_facts(submission))
    if submission is not None and state is not None:
        click.echo()
    if state is not None:
        print_facts(state_facts(state))
        print_searches(state.result)


@job.command()
@click.argument("run_id", metavar="RUN")
@click.option("--standalone", metavar="FILE", help="Write one file that needs no other: to send to somebody.")
@workspace_option
@json_option
def report(run_id: str, *, standalone: str | None, workspace: str | None, as_json: bool) -> None:
    """Write RUN's report, and say where it lies.

    It is made anew from the run's records.

    \b
    Examples:
      dataops job report income_scores-20260131t120000-1a2b3c
      dataops job report income_scores-20260131t120000-1a2b3c --standalone scores.html
    """
    from dataops.runs.report import write_run_report
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    path = write_run_report(opened, run_id, standalone=Path(standalone) if standalone else None)
    print_json({"report": str(path)}) if as_json else click.echo(str(path))


@job.command()
@click.argument("file")
@click.argument("name", required=False)
@slot_options
@workspace_option
@json_option
def explain(
    file: str,
    name: str | None,
    *,
    slot: str | None,
    time_zone: str | None,
    previous: str | None,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Say what a job would read, and why.

    Column by column, with what the policies say of it to you. No row is read. A job that would be refused ends with the
    exit code that running it would.

    \b
    Example:
      dataops job explain jobs/census.yaml income_scores
    """
    from dataops.declarations.jobs import find_job
    from dataops.declarations.locate import locate, located
    from dataops.runs.explain import explain_job
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    times = slot_times(slot, time_zone, previous)
    declared = find_job(job_file(opened.settings.workspace, file), name, times)
    with located(declared.document):
        explained = explain_job(opened, declared.job, source=declared.document.source)
    if explained["refused"]:
        explained["refused"] = locate(declared.document, explained["refused"])
    if as_json:
        print_json(explained)
    else:
        print_explained(explained)
    if explained["refused"]:
        click.get_current_context().exit(explained["exit_code"])
