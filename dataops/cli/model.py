"""``dataops model``: the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import headline, print_facts, print_json, print_note, print_table

if TYPE_CHECKING:
    from dataops.registry.aliases import AliasMove
    from dataops.registry.versions import ModelVersion, Registry

_TOO_FEW = "too few rows"


@click.group()
def model() -> None:
    """Look at models, promote them."""


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


@model.command()
@click.argument("name")
@workspace_option
@json_option
def champion(name: str, *, workspace: str | None, as_json: bool) -> None:
    """Say which version of NAME is champion.

    And since when, by whom, and why.

    \b
    Example:
      dataops model champion income
    """
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
    """List every move of NAME's champion.

    Or of another alias: which version, since when, by whom, why.

    \b
    Example:
      dataops model history income
    """
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


def _moves(registry: Registry, name: str, alias: str) -> list[dict[str, Any]]:
    from dataops.records import format_time
    from dataops.registry.aliases import history as moves_of

    return [
        {
            "generation": move.generation,
            "version": f"{name}@{move.version}",
            "since": format_time(move.moved_at),
            "by": move.actor,
            "reason": move.reason,
            "verdict": _verdict_page(registry, move),
        }
        for move in moves_of(registry, name, alias)
    ]


def _verdict_page(registry: Registry, move: AliasMove) -> str | None:
    from dataops.promotion.promote import verdict_key

    if move.verdict_digest is None:
        return None
    return f"{registry.store.url.removeprefix('file://')}/{verdict_key(move.model, move.verdict_digest)}.md"


@model.command()
@click.argument("reference")
@click.option("--reason", required=True, help="Why; it is kept with the move.")
@click.option("--rules", metavar="FILE", help="The promotion file. Default: jobs/promotion.yaml in the workspace.")
@workspace_option
@json_option
def promote(reference: str, *, reason: str, rules: str | None, workspace: str | None, as_json: bool) -> None:
    """Make REFERENCE the champion, if it passes its gates.

    REFERENCE is NAME@VERSION, or NAME alone for the best candidate of its newest train run, by the first rule of the
    promotion file. All rules must hold. The verdict is kept either way. Exits with 5 where a gate says no.

    \b
    Examples:
      dataops model promote income --reason "trained on the data of May"
      dataops model promote income@2 --reason "better on 1995"
    """
    from dataops.runs.promotion import promote_reference
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    promoted = promote_reference(opened, reference, reason=reason, rules=rules)
    record = _moves(opened.registry, promoted.move.model, promoted.move.alias)[-1]
    if as_json:
        print_json({**record, "moved": promoted.moved})
        return
    print_facts({"champion": "moved" if promoted.moved else "was this version already", **record})


@model.command()
@click.argument("run")
@click.option("--challenger", metavar="NAME", help="Which challenger, by its name in the job. Default: the only one.")
@click.option("--movers", type=click.IntRange(min=1), help="Show so many rows whose probability would move most.")
@workspace_option
@json_option
def impact(run: str, *, challenger: str | None, movers: int | None, workspace: str | None, as_json: bool) -> None:
    """Show what a challenger would change in the scores of RUN.

    RUN is a rescore whose job names challengers. Figures are those that the run counted; movers are read from the
    scores, as the policies let you read them to evaluate, and the audit says so.

    \b
    Examples:
      dataops model impact income_scores-20260102t030405-a1b2c3
      dataops model impact income_scores-20260102t030405-a1b2c3 --challenger next --movers 10
    """
    from dataops.runs.impact import show_impact
    from dataops.runs.workspace import open_workspace

    shown = show_impact(open_workspace(workspace), run, challenger=challenger, movers=movers)
    print_note(shown.note)
    if as_json:
        print_json(
            {name: getattr(shown, name) for name in ("run", "own", "challenger", "version", "figures", "movers")}
        )
        return
    figures = shown.figures
    told = {
        name: _told(figures[name]) for name in ("flipped_up", "flipped_down", "positive_own", "positive_challenger")
    }
    print_facts(
        {
            "scores now": shown.own,
            "challenger": f"{shown.challenger}: {shown.version}",
            "rows": _TOO_FEW if figures["rows"] is None else f"{figures['rows']:,}",
            "turn positive": told["flipped_up"],
            "turn negative": told["flipped_down"],
            "positive": f"{told['positive_own']} now, {told['positive_challenger']} then",
            "rank correlation": _figure(figures["rank_correlation"]),
            **{f"move by over {step}": _told(share) for step, share in figures["moved"].items()},
        }
    )
    for column, values in figures["slices"].items():
        click.echo()
        rows = [
            [value, one["rows"], _told(one["flipped_up"]), _told(one["flipped_down"])] for value, one in values.items()
        ]
        print_table([column, "rows", "turn positive", "turn negative"], rows, empty="too few rows")
    if shown.movers is not None:
        click.echo()
        rows = [[_mover(value) for value in row.values()] for row in shown.movers]
        print_table(list(shown.movers[0]) if shown.movers else [], rows, empty="no rows")


@model.command()
@click.argument("name")
@workspace_option
@json_option
def realised(name: str, *, workspace: str | None, as_json: bool) -> None:
    """Show how well NAME did where outcomes came later.

    Jobs of the kind `evaluate` join scores with outcomes; each run of one is a line here, beside what the version had
    on held-out rows when it was trained.

    \b
    Example:
      dataops model realised income
    """
    from dataops.runs.realised import realised_of
    from dataops.runs.workspace import open_workspace

    measured = realised_of(open_workspace(workspace), name)
    if as_json:
        print_json([{key: getattr(one, key) for key in one.__slots__} for one in measured])
        return
    rows = [
        [
            one.at[:19].replace("T", " "),
            f"{name}@{one.version}",
            one.scores,
            one.labels,
            one.judged,
            _percent(one.judged / one.scored),
            one.primary_metric,
            _figure(one.metrics.get(one.primary_metric)),
            _figure((one.promised or {}).get(one.primary_metric)),
        ]
        for one in measured
    ]
    columns = ["measured", "version", "scores", "outcomes", "rows", "of scored", "metric", "realised", "when trained"]
    print_table(columns, rows, empty="nothing measured: run an evaluate job")


def _mover(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value


def _told(share: float | None) -> str:
    """A share that may stand for too few rows to be shown."""
    return _percent(share) or _TOO_FEW


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.2%}"


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
