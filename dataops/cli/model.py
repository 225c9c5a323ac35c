"""``dataops model``: the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dataops.cli.model_aliases import alias, champion, history, promote, rollback
from dataops.cli.model_deployed import deployed
from dataops.cli.model_figures import impact, realised
from dataops.cli.model_guard import guard
from dataops.cli.model_keeping import gc, pin, sign, unpin, verify
from dataops.cli.model_reproduce import reproduce
from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import headline, print_json, print_table

if TYPE_CHECKING:
    from dataops.registry.versions import LoadedVersion, Registry


@click.group()
def model() -> None:
    """Look at models, promote them."""


for command in (deployed, champion, history, promote, rollback, alias, sign, verify, pin, unpin, gc, impact, realised):
    model.add_command(command)
model.add_command(reproduce)
model.add_command(guard)


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
    listed = [_listed(registry, name, number) for name in registry.list_models() for number in registry.numbers(name)]
    if as_json:
        print_json(listed)
        return
    rows = [
        [
            one["version"],
            one["trainer"],
            ", ".join(one["aliases"]) or None,
            one["headline"],
            one["registered_at"] and one["registered_at"][:19],
            one["fault"],
        ]
        for one in listed
    ]
    columns = ["version", "trainer", "aliases", "metric", "registered", "not usable"]
    print_table(columns, rows, empty="no models: run a train job", rare=("not usable",))


def _listed(registry: Registry, name: str, number: int) -> dict[str, Any]:
    """What there is to say of a version, also of one that nobody may load: then the first line of why."""
    from dataops.errors import Format, Integrity, InvalidInput, NotFound

    try:
        return {**_version_record(registry, registry.read(name, number)), "fault": None}
    except (Format, Integrity, InvalidInput, NotFound) as error:
        known = ("digest", "trainer", "format", "headline", "registered_at")
        unknown: dict[str, Any] = dict.fromkeys(known) | {"metrics": {}, "lineage": {}}
        aliases = _pointing(registry, name, number)
        return {**unknown, "version": f"{name}@{number}", "aliases": aliases, "fault": str(error).partition("\n")[0]}


def _version_record(registry: Registry, loaded: LoadedVersion) -> dict[str, Any]:
    from dataops.records import format_time

    found = loaded.version
    metric = loaded.package.lineage.get("primary_metric")
    return {
        "version": found.reference,
        "digest": found.digest,
        "trainer": loaded.package.lineage.get("trainer"),
        "format": found.model_format,
        "aliases": _pointing(registry, found.model, found.version),
        "headline": headline(loaded.package.metrics, metric),
        "metrics": {of: report["overall"] for of, report in loaded.package.metrics.items()},
        "registered_at": format_time(found.registered_at),
        "lineage": dict(loaded.package.lineage),
        "signed_by": list(loaded.signed_by),
    }


def _pointing(registry: Registry, name: str, number: int) -> list[str]:
    """The aliases whose last move, trusted or not, names the version."""
    from dataops.registry.aliases import last_move, list_aliases

    moves = {alias: last_move(registry, name, alias) for alias in list_aliases(registry, name)}
    return [alias for alias, move in moves.items() if move is not None and move.version == number]


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
    loaded = registry.read(version.model, version.version)
    if as_json:
        record = _version_record(registry, loaded)
        print_json({**record, "metrics": dict(loaded.package.metrics), "program": loaded.package.program.record()})
        return
    click.echo(loaded.package.card)
