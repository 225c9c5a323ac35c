"""``dataops policy``: policies checked, tested and explained, before anything runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import end_with, print_facts, print_json, print_table, printable

if TYPE_CHECKING:
    from dataops.governance.policy_world import Severity
    from dataops.runs.policy import Checked, Explained


@click.group()
def policy() -> None:
    """Check policies with their tests, explain them."""


@policy.command()
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@workspace_option
@json_option
def check(*, strict: bool, workspace: str | None, as_json: bool) -> None:
    """Check all policies and run their tests.

    They are judged against the catalog, its contracts, principals.yaml and the jobs; tests stand in policies/tests.
    Nothing is read but files and records, never a row. Exits with 2 where there is an error; warnings may be meant.

    \b
    Examples:
      dataops policy check
      dataops policy check --strict --json
    """
    from dataops.errors import InvalidInput
    from dataops.runs.policy import check_workspace
    from dataops.runs.workspace import open_workspace

    checked = check_workspace(open_workspace(workspace))
    if as_json:
        print_json(_checked_record(checked))
    else:
        _print_checked(checked)
    failing = len(checked.findings) if strict else checked.errors
    if failing:
        end_with(InvalidInput(f"{_count(failing, 'finding')} to mend in the policies"))


def _print_checked(checked: Checked) -> None:
    for finding in checked.findings:
        click.echo(f"{_coloured(finding.severity)}: {printable(f'{finding.where}: {finding.message}')}")
    passed = sum(outcome.passed for outcome in checked.tests)
    if checked.findings:
        click.echo("")
    looked = (
        f"{_count(checked.rules, 'rule')} in {_count(checked.policies, 'policy', 'policies')}, "
        f"{_count(checked.datasets, 'dataset')}, {_count(checked.jobs, 'job')}"
    )
    if not checked.judged:
        tests = "not run, since a policy can't be read"
    else:
        tests = f"{passed} of {len(checked.tests)} passed" if checked.tests else "none in policies/tests"
        looked += "" if checked.policies else ": no policy in policies/, so everything is denied"
    print_facts(
        {
            "looked at": looked,
            "tests": tests,
            "findings": f"{_count(checked.errors, 'error')}, {_count(checked.warnings, 'warning')}",
        }
    )


def _coloured(severity: Severity) -> str:
    colour = "red" if severity == "error" else "yellow"
    return click.style(str(severity), fg=colour) if sys.stdout.isatty() else str(severity)


def _checked_record(checked: Checked) -> dict[str, Any]:
    return {
        "policies": checked.policies,
        "rules": checked.rules,
        "datasets": checked.datasets,
        "jobs": checked.jobs,
        "judged": checked.judged,
        "errors": checked.errors,
        "warnings": checked.warnings,
        "findings": [
            {
                "severity": finding.severity.value,
                "kind": finding.kind.value,
                "file": finding.source,
                "line": finding.line,
                "message": finding.message,
            }
            for finding in checked.findings
        ],
        "tests": [
            {
                "name": outcome.test.name,
                "file": outcome.test.place[0],
                "line": outcome.test.place[1],
                "passed": outcome.passed,
                "failures": list(outcome.failures),
            }
            for outcome in checked.tests
        ],
    }


@policy.command()
@click.argument("dataset")
@click.option("--as", "roles", multiple=True, metavar="ROLE", help="Ask as anyone with this role; may be repeated.")
@click.option("--principal", metavar="USER", help="Ask as this user of principals.yaml. Default: you.")
@click.option(
    "--purpose", type=click.Choice(["train", "evaluate", "score", "benchmark"]), required=True, help="What it is for."
)
@workspace_option
@json_option
def explain(
    dataset: str, *, roles: tuple[str, ...], principal: str | None, purpose: str, workspace: str | None, as_json: bool
) -> None:
    """Show what somebody would see of DATASET.

    Column by column, with the rules that say so; no row is read. A request that is refused as a whole exits with 7
    and says why.

    \b
    Examples:
      dataops policy explain --as analyst --purpose train flights
      dataops policy explain --principal ana --purpose score flights --json
    """
    from dataops.runs.policy import explain_policy
    from dataops.runs.workspace import open_workspace, os_user

    if roles and principal:
        raise click.UsageError("--as and --principal: ask with roles or as a user, not both")
    asks = principal or (None if roles else os_user())
    explained = explain_policy(open_workspace(workspace), principal=asks, roles=roles, purpose=purpose, dataset=dataset)
    if as_json:
        print_json(_explained_record(explained))
    else:
        _print_explained(explained)


def _explained_record(explained: Explained) -> dict[str, Any]:
    grant = explained.grant
    return {
        "dataset": grant.dataset,
        "zone": grant.zone,
        "purpose": grant.purpose,
        "principal": grant.principal,
        "roles": list(grant.roles),
        "row_filters": list(grant.effect.filters),
        "min_group_size": grant.effect.min_group_size,
        "expires_at": grant.expires_at,
        "columns": explained.columns(),
    }


def _print_explained(explained: Explained) -> None:
    from dataops.governance.grant import Verdict, who

    grant, size = explained.grant, explained.grant.effect.min_group_size
    print_facts(
        {
            "dataset": f"{grant.dataset} ({grant.zone})",
            "as": who(grant.principal, grant.roles),
            "purpose": grant.purpose,
            "rows": "\n".join(f"only where {sql}" for sql in grant.effect.filters) or "all",
            "figures": "all" if size <= 1 else f"only about {size} rows or more",
            **({"until": grant.expires_at} if grant.expires_at else {}),
        }
    )
    click.echo("")
    shown = explained.columns()
    columns = ["column", "type", "classification", "verdict", "mask", "decided by"]
    rows = [
        [
            one["column"],
            one["type"] or "-",
            one["classification"],
            one["verdict"],
            one["mask"] or "",
            ", ".join(one["rules"]) or "no rule",
        ]
        for one in shown
    ]
    print_table(columns, rows)
    denied: dict[str, list[str]] = {}
    for one in shown:
        if one["verdict"] == Verdict.DENIED:
            denied.setdefault(one["reason"], []).append(one["column"])
    for reason, names in denied.items():
        click.echo(printable(f"{', '.join(names)}: {reason}"))


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
