"""``dataops job errors``: rows of a rescore that came to no score."""

from __future__ import annotations

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_json, print_note, print_table, printable


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Rows at most.")
@workspace_option
@json_option
def errors(run_id: str, *, limit: int, workspace: str | None, as_json: bool) -> None:
    """Show the rows of RUN that came to no score, and why.

    By reason: `rule:ID` for a row that a contract's rule set aside, else the exception or the signal that the row
    caused. A row is told by its file, its offset there, and the kept key columns that the policies show you; no other
    value of it is kept. The audit records the look. Who may see none of the rows is told the reasons all the same.

    \b
    Examples:
      dataops job errors income_scores-20260131t120000-1a2b3c
      dataops job errors income_scores-20260131t120000-1a2b3c --limit 1000 --json
    """
    from dataops.runs.errors import error_rows_of
    from dataops.runs.workspace import open_workspace

    found = error_rows_of(open_workspace(workspace), run_id, limit=limit)
    print_note(found.note)
    if as_json:
        facts = {"run": found.run, "dataset": found.dataset, "reasons": dict(found.reasons), "total": found.told}
        print_json({**facts, "rows": [dict(row) for row in found.rows], "hidden": found.hidden})
        return
    if not found.reasons:
        click.echo(printable(f"every row of {found.run} that its conditions keep was scored"))
        return
    print_table(["reason", "rows"], [[reason, rows] for reason, rows in found.reasons.items()])
    if found.hidden:
        click.echo(printable(f"\nwhich rows they are isn't yours to see: {found.hidden}"))
        return
    if not found.rows:
        click.echo("which rows they are wasn't kept; `dataops quarantine list` counts those that broke a rule")
        return
    names = list(found.rows[0])
    click.echo("")
    print_table(names, [[_text(row[name]) for name in names] for row in found.rows])
    if len(found.rows) < found.told:
        click.echo(f"{len(found.rows):,} of {found.told:,} rows; --limit shows more")


def _text(value: object) -> object:
    """`value` as it stands in the data: a number isn't grouped or rounded."""
    return value if value is None else str(value)
