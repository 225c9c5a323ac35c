"""``dataops audit``: the record of who read what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import json_option, moment, workspace_option
from dataops.cli.output import end_with, print_facts, print_json, print_table

if TYPE_CHECKING:
    from dataops.governance.audit import Shown
    from dataops.governance.audit_chain import AuditFinding

COLUMNS = ("time", "person", "roles", "what", "about", "rows", "outcome", "run")


@click.group()
def audit() -> None:
    """Show and check the audit."""


@audit.command()
@workspace_option
@json_option
def verify(*, workspace: str | None, as_json: bool) -> None:
    """Check that the audit is whole, and signed.

    Tells records apart that were altered, restamped, reordered, taken out, cut off at the end or written anew, by the
    chain, its signed checkpoints and their anchors. Exits with 8 where something doesn't hold. Warnings, with exit 0:
    records after the last checkpoint, checkpoints without an anchor, a reading without a result (a run that was killed,
    or is still going).

    \b
    Example:
      dataops audit verify
    """
    from dataops.errors import Integrity
    from dataops.runs.audit import check_audit
    from dataops.runs.workspace import open_workspace

    state = check_audit(open_workspace(workspace))
    facts = {"records": state.records, "head": state.head, "signed": state.signed}
    if as_json:
        found = {
            "findings": [_record(one) for one in state.broken],
            "warnings": [_record(one) for one in state.warnings],
        }
        print_json({**facts, **found})
    elif not state.broken:
        whole = "whole: nothing altered, missing or out of order" if state.records else "empty: nothing was read yet"
        warnings = "\n".join(map(str, state.warnings)) or "none"
        print_facts({"audit": whole, **facts, "warnings": warnings})
    if state.broken:
        listed = "\n  ".join(map(str, state.broken))
        end_with(Integrity(f"the audit is not as it was written:\n  {listed}"))


@audit.command()
@click.option("--person", metavar="USER", help="Only what this user did.")
@click.option("--dataset", metavar="NAME", help="Only what concerns this dataset.")
@click.option("--run", metavar="RUN", help="Only what this run did.")
@click.option("--event", metavar="WORD", help="Only such events: intent, result and others.")
@click.option("--events", "every", is_flag=True, help="Every record, in a line of its own.")
@click.option("--since", metavar="TIME", help="From then on: 2026-01-31, 2026-01-31T12:00:00Z, or 7d, 12h (ago).")
@click.option("--until", metavar="TIME", help="Up to then; a day is included as a whole.")
@workspace_option
@json_option
def show(
    *, every: bool, workspace: str | None, as_json: bool, since: str | None, until: str | None, **asked: str | None
) -> None:
    """Show who read and did what, when, for what, and with what outcome.

    A line for each reading, and for what else was done to datasets, models and keys: what, about which of them, and
    what came of it. A reading has two records or more, which --events and --json show: an intent before its first row,
    and a result after its last; without that it is open. Times are UTC.

    \b
    Examples:
      dataops audit show --person ana --since 7d
      dataops audit show --dataset income_scores --event result --json
    """
    from dataops.governance.audit import Asked, select_records
    from dataops.runs.readings import readings
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    begin, end = moment(since, "--since"), moment(until, "--until", end_of_day=True)
    empty = "nothing was read yet" if not any([*asked.values(), since, until]) else "nothing"
    if not (as_json or every or asked["event"]):
        # of any time: a reading may begin before and end within
        records = select_records(opened.audit.entries(), Asked(**asked, since=None, until=None))
        print_table(COLUMNS, [_line(one) for one in readings(records, since=begin, until=end)], empty=empty)
        return
    found = list(select_records(opened.audit.entries(), Asked(**asked, since=begin, until=end)))
    if as_json:
        print_json([{"number": one.number, "written_at": one.written_at, **one.body} for one in found])
        return
    print_table(
        ("number", "event", *COLUMNS), [(str(one.number), one.event, *_line(one)) for one in found], empty=empty
    )


def _line(one: Shown) -> tuple[object, ...]:
    """A record or a reading under `COLUMNS`."""
    roles = ", ".join(one.roles) or None
    time = one.written_at[:19].replace("T", " ")
    return (time, one.principal, roles, _what(one), one.about, one.rows, one.outcome, one.run)


def _what(one: Shown) -> str:
    """``read to train``, ``model promote``: in words what was done."""
    from dataops.governance.audit_verdicts import INTENT, RESULT

    if one.event in (INTENT, RESULT):
        return f"read to {one.purpose}" if one.purpose else "read"
    return one.event.replace("_", " ")


def _record(finding: AuditFinding) -> dict[str, Any]:
    return {"kind": str(finding.kind), "number": finding.number, "message": finding.message}
