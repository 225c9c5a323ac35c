"""``dataops model``: the registry."""

from __future__ import annotations

from typing import Any

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_facts, print_json, print_table


@click.group()
def model() -> None:
    """Look at model versions, and promote them."""


@model.command(name="list")
@workspace_option
@json_option
def list_models(*, workspace: str | None, as_json: bool) -> None:
    """All versions of all models, with their first metric and the aliases that name them."""
    from dataops.runs.workspace import open_workspace

    registry = open_workspace(workspace).registry
    listed = [
        _version_record(registry, name, found) for name in registry.list_models() for found in registry.versions(name)
    ]
    if as_json:
        print_json(listed)
        return
    rows = [
        [one["version"], one["trainer"], one["aliases"] or None, one["headline"], one["registered_at"][:19]]
        for one in listed
    ]
    print_table(["version", "trainer", "aliases", "metric", "registered"], rows, empty="no models: run a train job")


def _version_record(registry: Any, name: str, found: Any) -> dict[str, Any]:
    from dataops.records import format_time
    from dataops.registry.aliases import current, list_aliases

    loaded = registry.read(name, found.version)
    moves = {alias: current(registry, name, alias) for alias in list_aliases(registry, name)}
    pointing = [alias for alias, move in moves.items() if move is not None and move.version == found.version]
    metric = loaded.package.lineage["primary_metric"]
    figures = [f"{metric} {report['overall'][metric]:.4f} on {of}" for of, report in loaded.package.metrics.items()]
    return {
        "version": found.reference,
        "digest": found.digest,
        "trainer": loaded.package.lineage.get("trainer"),
        "format": found.model_format,
        "aliases": ", ".join(pointing),
        "headline": ", ".join(figures),
        "metrics": {of: report["overall"] for of, report in loaded.package.metrics.items()},
        "registered_at": format_time(found.registered_at),
        "lineage": dict(loaded.package.lineage),
    }


@model.command()
@click.argument("reference")
@workspace_option
@json_option
def show(reference: str, *, workspace: str | None, as_json: bool) -> None:
    """The model card of REFERENCE: NAME@VERSION, NAME@ALIAS, or NAME for its champion."""
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


@model.command()
@click.argument("name")
@workspace_option
@json_option
def champion(name: str, *, workspace: str | None, as_json: bool) -> None:
    """Which version of NAME is champion, since when, and why."""
    from dataops.registry.aliases import resolve
    from dataops.runs.workspace import open_workspace

    registry = open_workspace(workspace).registry
    resolve(registry, name)
    record = _moves(registry, name, "champion")[-1]
    print_json(record) if as_json else print_facts(record)


@model.command()
@click.argument("name")
@click.option("--alias", default="champion", show_default=True, help="The alias whose moves to show.")
@workspace_option
@json_option
def history(name: str, *, alias: str, workspace: str | None, as_json: bool) -> None:
    """Every move of an alias of NAME: which version, since when, by whom, why."""
    from dataops.registry.aliases import list_aliases, resolve
    from dataops.runs.workspace import open_workspace

    registry = open_workspace(workspace).registry
    if alias not in list_aliases(registry, name):
        resolve(registry, name, alias)
    moves = _moves(registry, name, alias)
    if as_json:
        print_json(moves)
        return
    print_table(["generation", "version", "since", "by", "reason"], [list(one.values())[:5] for one in moves])


def _moves(registry: Any, name: str, alias: str) -> list[dict[str, Any]]:
    from dataops.records import format_time
    from dataops.registry.aliases import history as moves_of

    return [
        {
            "generation": move.generation,
            "version": f"{name}@{move.version}",
            "since": format_time(move.moved_at),
            "by": move.actor,
            "reason": move.reason,
            "verdict": move.verdict_digest,
        }
        for move in moves_of(registry, name, alias)
    ]


@model.command()
@click.argument("reference")
@click.option("--reason", required=True, help="Why; it is kept with the move.")
@click.option("--rules", metavar="FILE", help="The promotion file. Default: jobs/promotion.yaml in the workspace.")
@workspace_option
@json_option
def promote(reference: str, *, reason: str, rules: str | None, workspace: str | None, as_json: bool) -> None:
    """Make REFERENCE (NAME@VERSION) the champion, if it passes the gates of the promotion file.

    The verdict is kept either way. Exits with 5 where a gate says no.

    \b
    Example:
      dataops model promote income@2 --reason "better on 1995"
    """
    from dataops.registry.aliases import resolve_reference
    from dataops.runs.promotion import promote_version
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    version = resolve_reference(opened.registry, reference)
    promoted = promote_version(opened, version.model, version.version, reason=reason, rules=rules)
    record = _moves(opened.registry, version.model, "champion")[-1]
    print_json({**record, "moved": promoted.moved}) if as_json else print_facts(record)
