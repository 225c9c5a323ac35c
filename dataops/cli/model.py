"""``dataops model``: the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dataops.cli.model_aliases import champion, history, promote
from dataops.cli.model_figures import impact, realised
from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import headline, print_json, print_table

if TYPE_CHECKING:
    from dataops.registry.versions import ModelVersion, Registry


@click.group()
def model() -> None:
    """Look at models, promote them."""


for command in (champion, history, promote, impact, realised):
    model.add_command(command)


@model.command(name="list")
@workspace_option
@json_option
def list_models(*, workspace: str | None, as_json: bool) -> None:
    """List all versions of all models.

    Each with its first metric and the aliases that name it.

    \b
    Example:
      dataops model list
    """
    from dataops.runs.workspace import open_workspace

    registry = open_workspace(workspace).registry
    listed = [
        _version_record(registry, name, found) for name in registry.list_models() for found in registry.versions(name)
    ]
    if as_json:
        print_json(listed)
        return
    rows = [
        [one["version"], one["trainer"], ", ".join(one["aliases"]) or None, one["headline"], one["registered_at"][:19]]
        for one in listed
    ]
    print_table(["version", "trainer", "aliases", "metric", "registered"], rows, empty="no models: run a train job")


def _version_record(registry: Registry, name: str, found: ModelVersion) -> dict[str, Any]:
    from dataops.records import format_time
    from dataops.registry.aliases import current, list_aliases

    loaded = registry.read(name, found.version)
    moves = {alias: current(registry, name, alias) for alias in list_aliases(registry, name)}
    pointing = [alias for alias, move in moves.items() if move is not None and move.version == found.version]
    metric = loaded.package.lineage.get("primary_metric")
    return {
        "version": found.reference,
        "digest": found.digest,
        "trainer": loaded.package.lineage.get("trainer"),
        "format": found.model_format,
        "aliases": pointing,
        "headline": headline(loaded.package.metrics, metric),
        "metrics": {of: report["overall"] for of, report in loaded.package.metrics.items()},
        "registered_at": format_time(found.registered_at),
        "lineage": dict(loaded.package.lineage),
    }


@model.command()
@click.argument("reference")
@workspace_option
@json_option
def show(reference: str, *, workspace: str | None, as_json: bool) -> None:
    """Show the model card of REFERENCE.

    REFERENCE is NAME@VERSION, NAME@ALIAS, or NAME alone for its champion.

    \b
    Examples:
      dataops model show income
      dataops model show income@2 --json
    """
    from dataops.registry.aliases import resolve_reference
    from dataops.runs.workspace import open_workspace

    registry = open_workspace(workspace).registry
    version = resolve_reference(registry, reference)
    if as_json:
        loaded = registry.read(version.model, version.version)
        record = _version_record(registry, version.model, version)
        print_json({**record, "metrics": dict(loaded.package.metrics), "program": loaded.package.program.record()})
        return
    click.echo(registry.read(version.model, version.version).package.card)
