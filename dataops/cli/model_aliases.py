"""``dataops model`` champion, history, promote: where aliases point, and how they move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_facts, print_json, print_table

if TYPE_CHECKING:
    from dataops.registry.aliases import AliasMove
    from dataops.registry.versions import Registry


@click.command()
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


@click.command()
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
    from dataops.promotion.verdict import verdict_key

    if move.verdict_digest is None:
        return None
    return f"{registry.store.url.removeprefix('file://')}/{verdict_key(move.model, move.verdict_digest)}.md"


@click.command()
@click.argument("reference")
@click.option("--reason", required=True, help="Why; it is kept with the move.")
@click.option("--rules", metavar="FILE", help="The promotion file. Default: jobs/promotion.yaml in the workspace.")
@click.option("--override", metavar="WHY", help="Promote it also where a gate says no; the verdict keeps who and why.")
@click.option("--until", metavar="DATE", help="The last day of the override, as 2026-12-31, within a year.")
@workspace_option
@json_option
def promote(
    reference: str,
    *,
    reason: str,
    rules: str | None,
    override: str | None,
    until: str | None,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Make REFERENCE the champion, if it passes its gates.

    REFERENCE is NAME@VERSION, or NAME alone for the best candidate of its newest train run, by the first rule of the
    promotion file that names a metric. All rules must hold. The verdict is kept either way. Exits with 5 where a gate
    says no, unless --override says why it is promoted all the same. What isn't whole, readable and signed is never
    promoted.

    \b
    Examples:
      dataops model promote income --reason "trained on the data of May"
      dataops model promote income@2 --reason "better on 1995"
      dataops model promote income@2 --reason "better on 1995" --override "agreed with the audit" --until 2026-12-31
    """
    from dataops.promotion.override import parse_override
    from dataops.runs.promotion import promote_reference
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    taken = parse_override(override, until)
    promoted = promote_reference(opened, reference, reason=reason, rules=rules, override=taken)
    record = _moves(opened.registry, promoted.move.model, promoted.move.alias)[-1]
    if as_json:
        print_json({**record, "moved": promoted.moved, "overridden": promoted.overridden})
        return
    moved = "moved, against its gates" if promoted.overridden else "moved"
    print_facts({"champion": moved if promoted.moved else "was this version already", **record})
