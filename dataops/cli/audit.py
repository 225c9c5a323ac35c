"""``dataops audit``: the record of who read what."""

from __future__ import annotations

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import end_with, print_facts, print_json


@click.group()
def audit() -> None:
    """Check the audit."""


@audit.command()
@workspace_option
@json_option
def verify(*, workspace: str | None, as_json: bool) -> None:
    """Check that the audit is whole.

    Nothing altered, missing or out of order, and every intent with its result. Exits with 8 where something doesn't
    hold. A reading without a result (a run that was killed, or is still going) is a warning.

    \b
    Example:
      dataops audit verify
    """
    from dataops.errors import Integrity
    from dataops.governance.audit import verify_audit
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    findings = verify_audit(opened.audit)
    warnings = [finding for finding in findings if finding.startswith("open:")]
    broken = [finding for finding in findings if finding not in warnings]
    tail = opened.audit.tail() if not broken else None
    facts = {"records": tail.number if tail else 0, "head": tail.digest if tail else None}
    if as_json:
        print_json({**facts, "findings": broken, "warnings": warnings})
    elif not broken:
        whole = "whole: nothing altered, missing or out of order" if tail else "empty: nothing was read yet"
        print_facts({"audit": whole, **facts, "warnings": "\n".join(warnings) or "none"})
    if broken:
        listed = "\n  ".join(broken)
        end_with(Integrity(f"the audit is not as it was written:\n  {listed}"))
