"""``dataops dataset``: the catalog and what it names."""

from __future__ import annotations

import click

from dataops.cli.export import export
from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import end_with, print_facts, print_json, print_table, printable
from dataops.cli.retention import expire, gc


@click.group()
def dataset() -> None:
    """Add, list, show, verify, export, expire datasets."""


for command in (export, expire, gc):
    dataset.add_command(command)


@dataset.command()
@click.argument("name")
@click.argument("url")
@click.option(
    "--zone",
    type=click.Choice(["historical", "production"]),
    default="historical",
    show_default=True,
    help="Whether this is data to learn from or data in production: policies decide by it.",
)
@click.option("--contract", metavar="FILE", help="The ODCS contract, in the workspace. Default: contracts/NAME.yaml.")
@click.option("--draft-contract", "draft", is_flag=True, help="Write that contract from the files' footers.")
@workspace_option
@json_option
def add(
    name: str, url: str, *, zone: str, contract: str | None, draft: bool, workspace: str | None, as_json: bool
) -> None:
    """Put the Parquet files below URL into the catalog as NAME.

    They stay where they are; only their footers are read. URL is a folder (seen from where you are) or a file:// URL.

    \b
    Examples:
      dataops dataset add flights data/flights --draft-contract
      dataops dataset add flights_new data/new --zone production --contract contracts/flights.yaml
    """
    from pathlib import Path

    from dataops.datasets.catalog import add_dataset
    from dataops.runs.workspace import open_workspace

    settings = open_workspace(workspace).settings
    # a path is meant from where the person stands; the catalog keeps it absolute
    where = url if "://" in url else str(Path(url).absolute())
    added = add_dataset(settings, name=name, url=where, zone=zone, contract=contract, draft=draft)
    if as_json:
        print_json(
            {
                "dataset": added.name,
                "files": added.files,
                "rows": added.rows,
                "size_bytes": added.size_bytes,
                "contract": str(added.contract),
                "drafted": added.drafted,
            }
        )
        return
    print_facts({"dataset": added.name, "files": added.files, "rows": f"{added.rows:,}", "contract": added.contract})
    if added.drafted:
        click.echo("The contract is a draft: check its classifications. Nothing can be read until a policy allows it.")
    click.echo(f"Next: dataops contract check {printable(added.name)}")


@dataset.command(name="list")
@workspace_option
@json_option
def list_datasets(*, workspace: str | None, as_json: bool) -> None:
    """List the datasets of the catalog, and those that jobs made.

    \b
    Example:
      dataops dataset list --json
    """
    from dataops.datasets.catalog import dataset_names, read_entry
    from dataops.datasets.snapshot import read_snapshot
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    declared, made = dataset_names(opened.settings, opened.store)
    listed = []
    for name in [*declared, *made]:
        snapshot = read_snapshot(opened.store, name)
        zone: str | None
        if name in declared:
            zone = read_entry(opened.settings.workspace, name).zone
        else:
            zone = snapshot.manifests[-1].zone if snapshot else None
        listed.append(
            {
                "dataset": name,
                "origin": "catalog" if name in declared else "job",
                "zone": zone,
                "snapshot": snapshot.number if snapshot else None,
                "files": len(snapshot.fragments) if snapshot else None,
                "rows": snapshot.rows if snapshot else None,
            }
        )
    if as_json:
        print_json(listed)
        return
    columns = ["dataset", "origin", "zone", "snapshot", "files", "rows"]
    rows = [[one[column] for column in columns] for one in listed]
    print_table(columns, rows, empty="no datasets: `dataops dataset add NAME URL`")


@dataset.command()
@click.argument("name")
@workspace_option
@json_option
def show(name: str, *, workspace: str | None, as_json: bool) -> None:
    """Show NAME: where it lies, its newest snapshot, its columns.

    \b
    Example:
      dataops dataset show flights
    """
    from dataops.datasets.catalog import open_dataset
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    found = open_dataset(opened.settings, opened.store, name)
    facts = {
        "dataset": found.name,
        "url": found.url,
        "zone": found.zone,
        "snapshot": found.snapshot.number,
        "since": found.snapshot.created_at,
        "files": len(found.snapshot.fragments),
        "rows": found.snapshot.rows,
        "made_by": found.snapshot.manifests[-1].run,
        "rules": len(found.contract.rules),
    }
    columns = [
        {"column": c.name, "type": str(c.type), "classification": c.classification, "masked": bool(c.masks)}
        for c in found.contract.columns
    ]
    if as_json:
        print_json({**facts, "columns": columns})
        return
    print_facts({name.replace("_", " "): value for name, value in facts.items()})
    click.echo("")
    print_table(["column", "type", "classification", "masked"], [list(one.values()) for one in columns])


@dataset.command()
@click.argument("name")
@workspace_option
@json_option
def verify(name: str, *, workspace: str | None, as_json: bool) -> None:
    """Check NAME's files against its records.

    Sizes, digests, rows and receipts are counted again from the files, so that nothing is lost and nothing was changed.
    Exits with 8 where something doesn't hold.

    \b
    Example:
      dataops dataset verify income_scores
    """
    from dataops.datasets.verify import verify_dataset
    from dataops.errors import Integrity
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    verified = verify_dataset(opened.settings, opened.store, name)
    if as_json:
        print_json(
            {
                "dataset": name,
                "checks": verified.checks,
                "runs": list(verified.runs),
                "findings": list(verified.findings),
            }
        )
    else:
        print_facts({"verdict": "broken" if verified.findings else "everything holds", **verified.checks})
    if verified.findings:
        listed = "\n  ".join(verified.findings)
        end_with(Integrity(f"dataset '{name}' is not what its records say:\n  {listed}"))
