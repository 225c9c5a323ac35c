"""``dataops model`` champion, history, promote, rollback, alias: where aliases point, and how they move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import json_option, moment, workspace_option
from dataops.cli.output import print_facts, print_json, print_note, print_table

if TYPE_CHECKING:
    from dataops.registry.moves import AliasMove
    from dataops.registry.versions import Registry
    from dataops.runs.models import Moved


@click.command()
@click.argument("name")
@click.option("--at", metavar="TIME", help="Then: 2026-01-31 (its end), 2026-01-31T12:00:00Z, or 7d, 12h (ago).")
@workspace_option
@json_option
def champion(name: str, *, at: str | None, workspace: str | None, as_json: bool) -> None:
    """Say which version of NAME is champion.

    And since when, by whom, and why; with --at, which one was.

    \b
    Examples:
      dataops model champion income
      dataops model champion income --at 2026-01-31
    """
    from dataops.errors import NotFound
    from dataops.promotion.override import tell_ended
    from dataops.records import now_utc
    from dataops.registry.aliases import CHAMPION, move_at, require_move, resolve
    from dataops.runs.workspace import open_workspace

    registry = open_workspace(workspace).registry
    then = moment(at, "--at", end_of_day=True)
    if then is None:
        resolve(registry, name)
        held = require_move(registry, name)
    else:
        require_move(registry, name)
        found = move_at(registry, name, CHAMPION, then)
        if found is None:
            raise NotFound(f"{name} had no champion by then; see `dataops model history {name}`")
        held = found
        if not held.trusted:
            print_note(f"generation {held.generation}: {held.words}")
    record = _record(registry, held)
    print_json(record) if as_json else print_facts(_spelled(record))
    if then is None:
        print_note(tell_ended(registry, held, now=now_utc()))


@click.command()
@click.argument("name")
@click.option("--alias", default="champion", show_default=True, help="The alias whose moves to show.")
@workspace_option
@json_option
def history(name: str, *, alias: str, workspace: str | None, as_json: bool) -> None:
    """List every move of NAME's champion.

    Or of another alias: which version, of which kind, since when, by whom, why. Signatures that this workspace doesn't
    trust are named.

    \b
    Example:
      dataops model history income
    """
    from dataops.registry.aliases import require_move
    from dataops.runs.workspace import open_workspace

    registry = open_workspace(workspace).registry
    require_move(registry, name, alias)
    moves = _moves(registry, name, alias)
    if as_json:
        print_json(moves)
        return
    columns = ["generation", "version", "kind", "since", "by", "reason", "signature"]
    rows = [[None if name == "signature" and one[name] == "good" else one[name] for name in columns] for one in moves]
    print_table(columns, rows, rare=("signature",))


@click.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why; it is kept with the move.")
@click.option("--alias", default="champion", show_default=True, help="The alias to roll back.")
@workspace_option
@json_option
def rollback(name: str, *, reason: str, alias: str, workspace: str | None, as_json: bool) -> None:
    """Take NAME's last promotion back.

    The champion is the version again that was promoted before, as a new generation; a second rollback goes back by one
    promotion more. No gates are asked; where it was promoted against its gates, that is shown again. It is read whole
    first. The audit says who and why.

    \b
    Example:
      dataops model rollback income --reason "too many rejections since Monday"
    """
    from dataops.runs.models import roll_back
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    _say_moved(opened.registry, roll_back(opened, name, reason=reason, alias=alias), as_json=as_json)


@click.command()
@click.argument("reference")
@click.argument("name", metavar="ALIAS")
@click.option("--reason", required=True, help="Why; it is kept with the move.")
@workspace_option
@json_option
def alias(reference: str, name: str, *, reason: str, workspace: str | None, as_json: bool) -> None:
    """Let ALIAS point at REFERENCE.

    REFERENCE is NAME@VERSION, or NAME@ and another alias. ALIAS is any but the champion, which is promoted and rolled
    back. The audit says who and why.

    \b
    Example:
      dataops model alias income@3 challenger --reason "to be compared in May"
    """
    from dataops.runs.models import set_alias
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    _say_moved(opened.registry, set_alias(opened, reference, name, reason=reason), as_json=as_json)


def _say_moved(registry: Registry, moved: Moved, *, as_json: bool) -> None:
    print_note(moved.note)
    before = moved.before and f"{moved.before.model}@{moved.before.version}"
    record = _record(registry, moved.move)
    if as_json:
        print_json({**record, "alias": moved.move.alias, "before": before})
        return
    print_facts({moved.move.alias: f"moved from {before}" if before else "set", **_spelled(record)})


def _moves(registry: Registry, name: str, alias: str) -> list[dict[str, Any]]:
    from dataops.registry.aliases import history as moves_of

    return [_record(registry, move) for move in moves_of(registry, name, alias)]


def _record(registry: Registry, move: AliasMove) -> dict[str, Any]:
    from dataops.records import format_time

    return {
        "generation": move.generation,
        "version": f"{move.model}@{move.version}",
        "since": format_time(move.moved_at),
        "by": move.actor,
        "reason": move.reason,
        "verdict": _verdict_page(registry, move),
        "kind": move.kind.value,
        "signed_by": move.signed_by,
        "signature": move.worth and move.worth.value,
        **_override(registry, move),
    }


def _spelled(record: dict[str, Any]) -> dict[str, Any]:
    """A record for people."""
    return {name.replace("_", " "): value for name, value in record.items()}


def _override(registry: Registry, move: AliasMove) -> dict[str, str]:
    """Why a move was made against its gates, and until when that holds; nothing where it wasn't."""
    from dataops.promotion.override import override_of
    from dataops.records import now_utc

    found = override_of(registry, move)
    if found is None:
        return {}
    return {"override": f"{'until' if now_utc() <= found.until else 'ended'} {found.until:%Y-%m-%d}: {found.why}"}


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
@click.option(
    "--until", metavar="DATE", help="The last day of the override: 2026-12-31, or 30d (from now); within a year."
)
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
      dataops model promote income@2 --reason "better on 1995" --override "agreed with the audit" --until 30d
    """
    from dataops.promotion.override import parse_override
    from dataops.records import now_utc
    from dataops.runs.promotion import promote_reference
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    taken = parse_override(override, until, now=now_utc())
    promoted = promote_reference(opened, reference, reason=reason, rules=rules, override=taken, note=print_note)
    record = _moves(opened.registry, promoted.move.model, promoted.move.alias)[-1]
    if as_json:
        print_json({**record, "moved": promoted.moved, "overridden": promoted.overridden})
        return
    moved = "moved, against its gates" if promoted.overridden else "moved"
    print_facts({"champion": moved if promoted.moved else "was this version already", **_spelled(record)})
