"""``dataops job submit``, ``cancel`` and ``logs``: jobs that a scheduler script runs, as seen by who submitted them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import job_file, json_option, workspace_option
from dataops.cli.output import print_facts, print_json, printable

if TYPE_CHECKING:
    from dataops.runs.workspace import Workspace
    from dataops.scheduling.submissions import Submission


sign_option = click.option(
    "--sign", is_flag=True, help="Sign it with your key for submitting. On S3, where no file has an owner, always."
)


@click.command()
@click.argument("file")
@click.argument("name", required=False)
@click.option("--again", is_flag=True, help="Do the work even if a finished run did the same.")
@click.option("--cluster", metavar="FILE", help="One of the workspace's cluster/. Default: the one of dataops.yaml.")
@sign_option
@click.option("--wait", is_flag=True, help="Stay until it has ended, and end with its exit code.")
@click.option("--quiet", "-q", is_flag=True, help="With --wait: no progress on stderr.")
@workspace_option
@json_option
def submit(
    file: str,
    name: str | None,
    *,
    again: bool,
    cluster: str | None,
    sign: bool,
    wait: bool,
    quiet: bool,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Leave the job NAME of FILE with the scheduler script.

    It runs as you, under your roles, with the text that FILE has now. NAME may be left out where FILE has one job. The
    answer says when a script last looked, and how to start one where none ever did. Who you are says the owner of the
    request's file, or your signature: see `dataops keys submitting`.

    \b
    Examples:
      dataops job submit jobs/census.yaml income_scores
      dataops job submit jobs/census.yaml income --wait
    """
    from dataclasses import replace

    from dataops.records import now_utc
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.inbox import open_inbox
    from dataops.scheduling.submitting import submit as submit_job

    looked = open_workspace(workspace, read_only=True)
    inbox = open_inbox(looked, sign=sign)
    looked = replace(looked, acting_for=inbox.user)
    path = job_file(looked.settings.workspace, file)
    request = submit_job(looked, inbox, path, name, cluster=cluster, again=again, now=now_utc())
    submission = inbox.state(request.id)
    if not wait:
        _print_submitted(looked, submission, as_json=as_json)
        return
    if not quiet:
        click.echo(f"submitted as {submission.id}; {_script_facts(looked)['scheduler script']}", err=True)
    _wait(workspace, submission.id, quiet=quiet, as_json=as_json)


def _print_submitted(opened: Workspace, submission: Submission, *, as_json: bool) -> None:
    from dataops.cli.submitted import submission_record
    from dataops.records import format_time

    polled = _last_polled(opened)
    if as_json:
        at = format_time(polled.polled_at) if polled and polled.polled_at else None
        print_json({**submission_record(submission), "last_polled": at})
        return
    print_facts(
        {"submission": submission.id, "state": submission.state.value, "by": submission.principal}
        | _script_facts(opened)
    )
    click.echo(f"\nNext: dataops job show {submission.id}, or dataops job logs {submission.id} --follow")


def _last_polled(opened: Workspace) -> Any:
    from dataops.scheduling.beats import last_polled, read_beats

    return last_polled(read_beats(opened.store))


def _script_facts(opened: Workspace) -> dict[str, object]:
    """When a script last looked, and, if none is about, what starts one."""
    from dataops.records import now_utc
    from dataops.scheduling.beats import looks_alive

    start = "`dataops schedule run` starts one"
    beat = _last_polled(opened)
    if beat is None or beat.polled_at is None:
        return {"scheduler script": f"none ever looked into this inbox: {start}"}
    seen = f"looked {beat.polled_at.strftime('%Y-%m-%d %H:%M:%S')} (UTC), on {beat.host} as {beat.account}"
    return {"scheduler script": seen if looks_alive(beat, now_utc()) else f"{seen}, and runs no more: {start}"}


def _wait(workspace: str | None, submission_id: str, *, quiet: bool, as_json: bool) -> None:
    """Ends with the exit code of the submission, once it has ended; what it says meanwhile goes to stderr."""
    from dataops.cli.submitted import print_ended
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.watching import watch

    opened = open_workspace(workspace, read_only=True)
    try:
        for line in watch(opened, submission_id):
            if not quiet:
                click.echo(printable(line), err=True)
    except KeyboardInterrupt as error:
        error.add_note(
            f"{submission_id} goes on without you: `dataops job logs {submission_id} --follow` watches it, "
            f"`dataops job cancel {submission_id}` stops it."
        )
        raise
    click.get_current_context().exit(print_ended(opened, submission_id, as_json=as_json))


@click.command()
@click.argument("submission_id", metavar="SUBMISSION")
@sign_option
@workspace_option
@json_option
def cancel(submission_id: str, *, sign: bool, workspace: str | None, as_json: bool) -> None:
    """Have SUBMISSION not run, or stop.

    Who submitted it may, and accounts with the role `scheduler_script`. A scheduler script does it when it looks next;
    what a run did by then stays, and the run can be resumed.

    \b
    Example:
      dataops job cancel income_scores-20260131t120000-s1a2b3c
    """
    from dataops.cli.submitted import submission_record
    from dataops.records import now_utc
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.inbox import open_inbox

    opened = open_workspace(workspace, read_only=True)
    inbox = open_inbox(opened, sign=sign)
    found = inbox.state(submission_id)
    if not found.has_ended and found.stop_asked_by is None:
        inbox.ask_to_stop(submission_id, now=now_utc())
    after = inbox.state(submission_id)
    if as_json:
        print_json({**submission_record(after), "asked": not found.has_ended})
        return
    click.echo(_said_of_cancelling(found))
    if not found.has_ended:
        print_facts(_script_facts(opened))


def _said_of_cancelling(found: Submission) -> str:
    """What cancelling comes to, by where the submission stood."""
    if found.has_ended:
        return f"{found.id} has ended before: it is {found.state.value}, and stays so"
    again = " (it was asked for before)" if found.stop_asked_by else ""
    if found.script is None:
        return f"{found.id} waits, and will not be begun{again}"
    return f"{found.id} is {found.state.value}, and is stopped when its script looks{again}"


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--follow", "-f", is_flag=True, help="Stay until it has ended.")
@workspace_option
@json_option
def logs(run_id: str, *, follow: bool, workspace: str | None, as_json: bool) -> None:
    """Print what RUN says, or said.

    RUN is a submission, or a run that a schedule started: what a scheduler script runs is kept. What you run yourself
    says it to you.

    \b
    Examples:
      dataops job logs income_scores-20260131t120000-s1a2b3c
      dataops job logs income_scores-20260131t120000-s1a2b3c --follow
    """
    from dataops.records import format_time
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.watching import follow_log, logged, require_known

    opened = open_workspace(workspace, read_only=True)
    require_known(opened, run_id)
    records = follow_log(opened, run_id) if follow else logged(opened, run_id)
    kept: list[dict[str, Any]] = []
    any_line = False
    for record in records:
        any_line = True
        if as_json:
            kept.append({"at": format_time(record.at), "lines": list(record.lines), "lost": record.lost})
            continue
        if record.lost:
            click.echo(f"... {record.lost:,} lines were not kept")
        for line in record.lines:
            click.echo(printable(line))
        sys.stdout.flush()
    if as_json:
        print_json(kept)
    elif not any_line:
        click.echo(f"{run_id} has said nothing so far, or said it to whoever ran it", err=True)
