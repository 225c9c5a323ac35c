"""``dataops model`` sign, verify, pin, unpin, gc: that versions are what they were, and which of them stay."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import duration, json_option, workspace_option, yes_option
from dataops.cli.output import end_with, print_facts, print_json, print_note, print_table

if TYPE_CHECKING:
    from dataops.registry.garbage import Collection
    from dataops.runs.models import Pinned


@click.command()
@click.argument("reference")
@workspace_option
@json_option
def sign(reference: str, *, workspace: str | None, as_json: bool) -> None:
    """Vouch for REFERENCE with this workspace's signing key.

    REFERENCE is NAME@VERSION, NAME@ALIAS, or NAME alone for its champion. Every byte of the version is checked first.
    By its number a version is signed whoever signed it before. By an alias only one that is trusted already, together
    with the alias's last move, as a new generation: for a new key, before the old one is revoked.

    \b
    Examples:
      dataops model sign income@3
      dataops model sign income
    """
    from dataops.runs.models import sign_reference
    from dataops.runs.workspace import open_workspace

    done = sign_reference(open_workspace(workspace), reference)
    print_note(done.note)
    facts = {
        "version": done.version.reference,
        "digest": done.version.digest,
        "key": done.key_id,
        "vouched_for": done.move and {"alias": done.move.alias, "generation": done.move.generation},
    }
    if as_json:
        print_json(facts)
        return
    moved = f"{done.move.alias}, as generation {done.move.generation}" if done.move else None
    print_facts({**facts, "vouched_for": moved} if moved else {k: v for k, v in facts.items() if k != "vouched_for"})


@click.command()
@click.argument("reference", required=False)
@workspace_option
@json_option
def verify(reference: str | None, *, workspace: str | None, as_json: bool) -> None:
    """Check that models are what they were when registered.

    Every byte of every version, its signatures, every move of every alias and the verdict that allowed it, by the keys
    of signers.yaml. Of all models, of one (NAME), or of one version (NAME@VERSION, NAME@ALIAS). Exits with 8 where
    something doesn't hold. Warnings, with exit 0: old moves whose signature doesn't count, registrations that were cut
    off, versions that are marked to be deleted.

    \b
    Examples:
      dataops model verify
      dataops model verify income@champion --json
    """
    from dataops.errors import Integrity
    from dataops.runs.models import verify_models
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    found = verify_models(opened, reference)
    facts: dict[str, Any] = {"versions": found.versions, "moves": found.moves, "bytes_read": found.bytes_read}
    facts["signatures"] = "checked" if opened.registry.trust.signers is not None else "not asked for: no signers.yaml"
    if as_json:
        listed = {
            "findings": [one.record() for one in found.broken],
            "warnings": [one.record() for one in found.warnings],
        }
        print_json({**facts, **listed})
    elif not found.broken:
        warnings = "\n".join(map(str, found.warnings)) or "none"
        print_facts({"models": "whole: every byte is what was registered", **facts, "warnings": warnings})
    if found.broken:
        end_with(Integrity("the registry is not as it was written:\n  " + "\n  ".join(map(str, found.broken))))


def _reason_option(function: Any) -> Any:
    return click.option("--reason", required=True, help="Why; it is kept.")(function)


@click.command()
@click.argument("reference")
@_reason_option
@workspace_option
@json_option
def pin(reference: str, *, reason: str, workspace: str | None, as_json: bool) -> None:
    """Keep the version REFERENCE from being deleted.

    REFERENCE is NAME@VERSION, NAME@ALIAS, or NAME alone for its champion. A version that is marked to be deleted isn't
    any more.

    \b
    Example:
      dataops model pin income@3 --reason "the model of the annual report"
    """
    from dataops.runs.models import pin_version
    from dataops.runs.workspace import open_workspace

    _say_pinned(pin_version(open_workspace(workspace), reference, reason=reason), as_json=as_json)


@click.command()
@click.argument("reference")
@_reason_option
@workspace_option
@json_option
def unpin(reference: str, *, reason: str, workspace: str | None, as_json: bool) -> None:
    """Take the pin of REFERENCE away.

    \b
    Example:
      dataops model unpin income@3 --reason "the report of 2027 is out"
    """
    from dataops.runs.models import unpin_version
    from dataops.runs.workspace import open_workspace

    _say_pinned(unpin_version(open_workspace(workspace), reference, reason=reason), as_json=as_json)


def _say_pinned(done: Pinned, *, as_json: bool) -> None:
    from dataops.records import format_time

    said = done.pin
    print_note(done.note)
    record = {
        "version": f"{said.model}@{said.version}",
        "pinned": said.pinned,
        "by": said.actor,
        "at": format_time(said.at),
        "reason": said.reason,
    }
    print_json(record) if as_json else print_facts(record)


@click.command()
@click.argument("name")
@click.option("--keep", type=click.IntRange(min=1), required=True, metavar="N", help="How much stays; see above.")
@click.option(
    "--grace",
    callback=duration,
    default="7d",
    show_default=True,
    metavar="AGE",
    help="How long a version stays after it was registered, and again after it was marked.",
)
@yes_option
@workspace_option
@json_option
def gc(name: str, *, keep: int, grace: timedelta, do: bool, workspace: str | None, as_json: bool) -> None:
    """Delete versions of NAME that nobody needs.

    What stays: the newest N versions, what any alias pointed at in its last N generations, where a rollback would go,
    what is pinned, what an application ran within a day, what a run is scoring with, what was registered within the
    grace. The first call marks the others, one that comes a grace later deletes them; in between no alias moves to
    them, and `dataops model pin` keeps one. Heartbeats of processes that are silent for 30 days go as well.

    \b
    Examples:
      dataops model gc income --keep 5
      dataops model gc income --keep 5 --grace 30d --yes
    """
    from dataops.records import now_utc
    from dataops.registry.heartbeats import FORGOTTEN
    from dataops.runs.models import collect_versions
    from dataops.runs.workspace import open_workspace

    done = collect_versions(open_workspace(workspace), name, keep=keep, grace=grace, at=now_utc(), do=do)
    print_note(done.note)
    found = done.collection
    if as_json:
        print_json({"model": name, "done": do, **_collection(found)})
        return
    rows: list[list[str | None]] = [[f"{name}@{one}", "stays", why] for one, why in found.kept.items()]
    marked = f"{'marked' if do else 'would be marked'}, to be deleted after {_days(grace)}"
    rows += [[f"{name}@{one.version}", marked, None] for one in found.marked]
    rows += [[f"{name}@{one.version}", "waits", f"marked {one.at:%Y-%m-%d %H:%M}"] for one in found.waiting]
    rows += [[f"{name}@{one.version}", "deleted" if do else "would be deleted", None] for one in found.deleted]
    print_table(["version", "what", "why"], sorted(rows, key=lambda row: int(str(row[0]).rpartition("@")[2])))
    if found.forgotten:
        went = "deleted" if do else "would be deleted"
        click.echo(f"{len(found.forgotten)} heartbeats of processes that are silent for {_days(FORGOTTEN)} {went}")
    if not do and (found.marked or found.deleted or found.forgotten):
        click.echo("Dry run: --yes does it.")


def _days(grace: timedelta) -> str:
    from dataops.datasets.retention import spell_seconds

    return spell_seconds(int(grace.total_seconds()))


def _collection(found: Collection) -> dict[str, Any]:
    names = ("marked", "waiting", "deleted", "spared")
    listed = {name: [stone.version for stone in getattr(found, name)] for name in names}
    kept = {str(number): why for number, why in found.kept.items()}
    return {"kept": kept, **listed, "heartbeats": len(found.forgotten)}
