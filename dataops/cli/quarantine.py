"""``dataops quarantine``: rows that broke a contract's rule, and how they come back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import json_option, running_options, workspace_option
from dataops.cli.output import print_facts, print_json, print_note, print_table, printable

if TYPE_CHECKING:
    from dataops.runs.execute import Outcome
    from dataops.runs.quarantine import Held

PLACE = "quarantine_"  # what the names of our own columns begin with
ROW = "quarantine_row"
# what replays go by, and people needn't see; --json has it
UNSHOWN = ("quarantine_contract", "quarantine_key", "quarantine_row_group")
RUN_OPTION = click.option("--run", metavar="RUN", help="Only the rows that RUN set aside.")


@click.group()
def quarantine() -> None:
    """Count, show, replay rows that broke a contract's rule."""


@quarantine.command(name="list")
@click.argument("dataset", required=False)
@click.option("--all", "every", is_flag=True, help="Also rows that a replay took, or whose run a newer one replaced.")
@workspace_option
@json_option
def list_held(dataset: str | None, *, every: bool, workspace: str | None, as_json: bool) -> None:
    """Count the rows in quarantine by dataset, run and rule.

    Rows that are `waiting` are what a replay takes. `unpublished` are those of a run that failed or hasn't ended. No
    value of a row is read.

    \b
    Examples:
      dataops quarantine list
      dataops quarantine list census --all --json
    """
    from dataops.runs.quarantine import HeldState, held_rows
    from dataops.runs.workspace import open_workspace

    held = held_rows(open_workspace(workspace), dataset)
    shown = [one for one in held if every or one.state in (HeldState.WAITING, HeldState.UNPUBLISHED)]
    if as_json:
        print_json([_record(one) for one in shown])
        return
    rows = [[one.dataset, one.run, *line, one.state.value, one.since] for one in shown for line in one.rules.items()]
    empty = f"nothing {'' if every else 'waits '}in quarantine"
    print_table(["dataset", "run", "rule", "rows", "state", "since"], rows, empty=empty)


def _record(held: Held) -> dict[str, Any]:
    return {
        "dataset": held.dataset,
        "output": held.output,
        "run": held.run,
        "state": held.state.value,
        "replayed_by": held.by,
        "rows": held.rows,
        "rules": dict(held.rules),
        "since": held.since,
    }


@quarantine.command()
@click.argument("dataset")
@RUN_OPTION
@click.option("--rule", metavar="ID", help="Only rows that this rule set aside.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Rows at most.")
@workspace_option
@json_option
def show(dataset: str, *, run: str | None, rule: str | None, limit: int, workspace: str | None, as_json: bool) -> None:
    """Show the rows of DATASET that wait in quarantine.

    They hold the true values of the columns that rules look at: for the role `steward` alone, and the audit records it.

    \b
    Examples:
      dataops quarantine show census
      dataops quarantine show census --rule age.maximum --limit 5
    """
    from dataops.runs.quarantine import show_rows
    from dataops.runs.workspace import open_workspace

    found = show_rows(open_workspace(workspace), dataset, run=run, rule=rule, limit=limit)
    print_note(found.note)
    if as_json:
        print_json({"dataset": dataset, "total": found.total, "rows": [dict(row) for row in found.rows]})
        return
    if not found.rows:
        click.echo(printable(f"no row of '{dataset}' waits in quarantine; --run shows those of an earlier run"))
        return
    names = [name for name in dict.fromkeys(name for row in found.rows for name in row) if name not in UNSHOWN]
    same = [name for name in names if _is_of_all(name) and len({row.get(name) for row in found.rows}) == 1]
    print_facts({_head(name): _text(found.rows[0].get(name)) for name in same})
    click.echo("")
    rest = [*(name for name in names if name == ROW), *(name for name in names if name not in (*same, ROW))]
    print_table([_head(name) for name in rest], [[_text(row.get(name)) for name in rest] for row in found.rows])
    if len(found.rows) < found.total:
        click.echo(f"{len(found.rows):,} of {found.total:,} rows; --limit shows more")


def _is_of_all(name: str) -> bool:
    """Whether a column says where rows come from and why they lie there, not what is in them."""
    return name != ROW and (name == "run" or name.startswith(PLACE))


def _head(name: str) -> str:
    return name.removeprefix(PLACE).replace("contract_version", "contract") if _is_of_all(name) or name == ROW else name


def _text(value: object) -> object:
    """`value` as it stands in the data: a number isn't grouped or rounded."""
    return value if value is None else str(value)


@quarantine.command()
@click.argument("dataset")
@RUN_OPTION
@running_options
@workspace_option
@json_option
def replay(
    dataset: str,
    *,
    run: str | None,
    quiet: bool,
    workers: int | None,
    cluster: str | None,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Read DATASET's rows in quarantine again, add what passes.

    For use after a contract or the data was mended. The rows are those that the newest run (or RUN) set aside. They go
    through the job that set them aside, under the contract and the policies of today, and come to its output once.
    Those that still break a rule go on waiting.

    \b
    Examples:
      dataops quarantine replay census
      dataops quarantine replay census --run census_training-20260131t120000-1a2b3c
    """
    from dataops.engine.progress import Progress
    from dataops.runs.execute import Options
    from dataops.runs.replay import replay_quarantine
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    options = Options(cluster=opened.cluster(cluster), workers=workers)
    with Progress(sys.stderr, quiet=quiet) as progress:
        outcome = replay_quarantine(opened, dataset, run=run, options=options, progress=progress)
    _print_replayed(dataset, outcome, as_json=as_json)


def _print_replayed(dataset: str, outcome: Outcome | None, *, as_json: bool) -> None:
    if outcome is None:
        print_json({"dataset": dataset, "run": None}) if as_json else click.echo("nothing waits in quarantine")
        return
    run, result = outcome.state.run, outcome.state.result
    counts = result["reads"]["input"]["counts"]
    if as_json:
        facts = {"dataset": dataset, "run": run.id, "replay_of": run.replay_of, "made": result["dataset"]}
        print_json({**facts, "snapshot": result["snapshot"], "counts": counts, "report": outcome.report})
        return
    print_facts(
        {
            "run": run.id,
            "replay of": run.replay_of,
            "rows read again": counts["read"],
            f"added to {result['dataset']}": counts["passed"],
            "filtered or dropped": counts["filtered_by_policy"] + counts["filtered_by_job"] + counts["dropped"],
            "still in quarantine": counts["quarantined"],
            "snapshot": result["snapshot"],
            "report": outcome.report,
        }
    )
