"""``dataops init`` and ``dataops keys``: a workspace, and the key files of its pseudonyms."""

from __future__ import annotations

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_facts, print_json


@click.command()
@click.argument("folder", metavar="[DIR]", default=".")
@json_option
def init(folder: str, *, as_json: bool) -> None:
    """Make a workspace in DIR.

    That is: settings, yourself as a principal, a key for pseudonyms, a cluster file, and folders for the rest. Nothing
    that exists is touched, and nobody may read anything until a policy says so.

    \b
    Example:
      dataops init flights && cd flights
      dataops dataset add flights ../data/flights --draft-contract
    """
    from pathlib import Path

    from dataops.runs.init import init_workspace

    made = init_workspace(Path(folder))
    if as_json:
        print_json({"workspace": str(made.folder), "roles": list(made.roles), "key": made.key_id})
        return
    print_facts({"workspace": made.folder, "you": f"{made.principal} ({', '.join(made.roles)})", "key": made.key_id})
    click.echo(
        "\nNext: dataops dataset add NAME FOLDER --draft-contract, then a policy, then a job (docs/quickstart.md)"
    )


@click.group()
def keys() -> None:
    """Make keys for pseudonyms."""


@keys.command(name="init")
@workspace_option
@json_option
def init_keys(*, workspace: str | None, as_json: bool) -> None:
    """Make a new key.

    It is used from the next run on. Pseudonyms made with an older one no longer join with new ones, and what was read
    under the old one is read anew. Workers read the key files themselves; nothing else carries them.

    \b
    Example:
      dataops keys init
    """
    import secrets
    from pathlib import Path

    from dataops.governance.keys import SECRET_BYTES, create_key
    from dataops.records import now_utc
    from dataops.runs.workspace import open_workspace

    folder = Path(open_workspace(workspace).settings.keys)
    key_id = create_key(folder, at=now_utc(), secret=secrets.token_bytes(SECRET_BYTES))
    print_json({"key": key_id, "folder": str(folder)}) if as_json else print_facts({"key": key_id, "folder": folder})
