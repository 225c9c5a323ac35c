"""``dataops model guard``: a champion on probation, judged by outcomes, and rolled back where it has to be."""

from __future__ import annotations

from datetime import timedelta

import click

from dataops.cli.options import duration, json_option, moment, workspace_option
from dataops.cli.output import end_with, print_facts, print_json, print_note


@click.command()
@click.argument("name")
@click.option("--job", required=True, help="The evaluate job that measures it.")
@click.option("--metric", required=True, help="The metric: roc_auc, log_loss ...; one of the job's.")
@click.option("--minimum", type=float, help="The least value that is kept.")
@click.option("--maximum", type=float, help="The greatest value that is kept.")
@click.option("--max-loss", type=click.FloatRange(min=0), help="How much worse than the champion before.")
@click.option(
    "--within",
    callback=duration,
    metavar="TIME",
    help="How long after its promotion it is judged: 7d, 12h. Default: always.",
)
@click.option("--min-rows", type=click.IntRange(min=1), default=100, show_default=True, help="Rows to be judged on.")
@click.option("--since", metavar="TIME", help="When it became champion. Default: the time of the move.")
@click.option("--at", metavar="TIME", help="Until when its probation is counted. Default: now.")
@click.option("--by", default="", help="Who guards: the beginning of the reason. Asked again, the rollback is told.")
@workspace_option
@json_option
def guard(
    name: str,
    *,
    job: str,
    metric: str,
    minimum: float | None,
    maximum: float | None,
    max_loss: float | None,
    within: timedelta | None,
    min_rows: int,
    since: str | None,
    at: str | None,
    by: str,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Roll NAME's champion back, if it does badly on outcomes.

    Judged is the newest run of an evaluate job, on the rows that the version scored as champion. What isn't known yet
    is no reason: too few outcomes keep it. A champion that came back by a rollback isn't judged. The rollback is an
    ordinary one, with the figures as its reason.

    \b
    Example:
      dataops model guard income --job income_realised --metric roc_auc --minimum 0.7 --within 7d
    """
    from dataops.declarations.metrics import Metric
    from dataops.errors import InvalidInput, NotFound, near_match
    from dataops.records import now_utc
    from dataops.runs.guarding import Guard, Kept, guard_champion
    from dataops.runs.workspace import open_workspace

    if metric not in list(Metric):
        raise InvalidInput(f"--metric: {metric!r} is no metric.{near_match(metric, list(Metric))}")
    asked = Guard(
        job=job,
        metric=Metric(metric),
        minimum=minimum,
        maximum=maximum,
        max_loss=max_loss,
        within=within,
        min_rows=min_rows,
    )
    found = guard_champion(
        open_workspace(workspace),
        name,
        asked,
        now=moment(at, "--at") or now_utc(),
        since=moment(since, "--since"),
        by=by,
    )
    record = {"outcome": str(found.outcome), "judged": f"{name}@{found.judged.version}", "why": found.why}
    if found.moved is not None:
        print_note(found.moved.note)
        record["champion"] = f"{name}@{found.moved.move.version}"
    print_json(record) if as_json else print_facts(record)
    if found.outcome is Kept.STUCK:
        end_with(NotFound(f"{name}@{found.judged.version} does badly, and no other version was promoted before"))
