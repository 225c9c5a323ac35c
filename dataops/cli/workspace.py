"""``dataops init`` and ``dataops keys``: a workspace, and its key files."""

from __future__ import annotations

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_facts, print_json, print_note, print_table


@click.command()
@click.argument("folder", metavar="[DIR]", default=".")
@json_option
def init(folder: str, *, as_json: bool) -> None:
    """Make a workspace in DIR.

    That is: settings, yourself as a principal, keys for pseudonyms and signatures, a cluster file, and folders for the
    rest. Nothing that exists is touched, and nobody may read anything until a policy says so.

    \b
    Example:
      dataops init flights && cd flights
      dataops dataset add flights ../data/flights --draft-contract
    """
    from pathlib import Path

    from dataops.runs.init import init_workspace

    made = init_workspace(Path(folder))
    if as_json:
        print_json(
            {"workspace": str(made.folder), "roles": list(made.roles), "key": made.key_id, "signer": made.signer_id}
        )
        return
    you = f"{made.principal} ({', '.join(made.roles)})"
    print_facts({"workspace": made.folder, "you": you, "key": made.key_id, "signer": made.signer_id})
    click.echo(
        "\nNext: dataops dataset add NAME FOLDER --draft-contract, then a policy, then a job (docs/quickstart.md)"
    )


@click.group()
def keys() -> None:
    """Make, list and rotate keys."""


@keys.command(name="init")
@workspace_option
@json_option
def init_keys(*, workspace: str | None, as_json: bool) -> None:
    """Make the keys that the workspace lacks.

    That is one for pseudonyms and one that signs; the public side of the latter is added to signers.yaml. Where there
    is a key of each kind nothing is made. Workers read the key files themselves; nothing else carries them.

    \b
    Example:
      dataops keys init
    """
    from dataops.runs.keys import make_missing_keys
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    made = make_missing_keys(opened)
    facts = {"folder": opened.settings.keys, **{f"{kind} key": key_id for kind, key_id in made.items()}}
    print_json({"folder": opened.settings.keys, "made": made}) if as_json else print_facts(facts)


@keys.command(name="list")
@workspace_option
@json_option
def list_all(*, workspace: str | None, as_json: bool) -> None:
    """List keys and trusted signers: ids, kinds, ages, never a secret.

    \b
    Example:
      dataops keys list
    """
    from dataclasses import asdict

    from dataops.records import format_time
    from dataops.runs.keys import list_keys
    from dataops.runs.workspace import open_workspace

    facts = list_keys(open_workspace(workspace))
    if as_json:
        print_json([{**asdict(one), "since": format_time(one.since)} for one in facts])
        return
    rows = [
        (one.kind, one.id, f"{one.since:%Y-%m-%d %H:%M}", one.current, one.here, one.trusted, one.owner)
        for one in facts
    ]
    print_table(
        ("kind", "id", "since", "current", "here", "trusted", "owner"), rows, empty="no keys: `dataops keys init`"
    )


@keys.command()
@click.option("--new", is_flag=True, help="Make another one. The older goes on signing until the new one is listed.")
@json_option
def submitting(*, new: bool, as_json: bool) -> None:
    """Show the public line of your key for submitting.

    The first call makes the key. It signs what you submit from this machine, where no file's owner tells who you are:
    on S3, or with `--sign`. It lies in your own folder, and nothing else carries it. Whoever keeps principals.yaml puts
    the line below your name; taken out, or with `revoked:`, the key signs nothing more.

    \b
    Example:
      dataops keys submitting
    """
    import os

    from dataops.runs.submitting_keys import held_keys, make_key, public_line, submitting_folder

    folder = submitting_folder(os.environ)
    held = held_keys(folder)
    line = make_key(folder) if new or not held else public_line(folder, held[-1])
    if as_json:
        print_json({"key": line.id, "public_key": line.public_key, "folder": str(line.folder)})
        return
    print_facts({"key": line.id, "folder": line.folder})
    click.echo(f"\nNext: below your name in principals.yaml, under `keys:`\n{line.text()}")


@keys.command()
@click.option(
    "--kind",
    type=click.Choice(["pseudonym", "signing"]),
    required=True,
    help="Which key. Pseudonyms made with an older key no longer join with new ones.",
)
@workspace_option
@json_option
def rotate(*, kind: str, workspace: str | None, as_json: bool) -> None:
    """Make a new key, which is used from the next run on.

    Older keys stay: what they signed is still verified, and pseudonyms that they made still join with each other. What
    was read under an older pseudonym key is read anew. A lost signing key is revoked in signers.yaml.

    \b
    Example:
      dataops keys rotate --kind signing
    """
    from dataops.runs.audit import sign_audit
    from dataops.runs.keys import KeyKind, rotate_key
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    key_id = rotate_key(opened, KeyKind(kind))
    print_note(sign_audit(opened))
    facts = {"kind": kind, "key": key_id, "folder": opened.settings.keys}
    print_json(facts) if as_json else print_facts(facts)
