"""``dataops init`` and ``dataops keys``: a workspace, and the key files of its pseudonyms."""

from __future__ import annotations

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_facts, print_json


@click.command()
@click.argument("folder", metavar="[DIR]", default=".")
@json_option
def init(folder: str, *, as_json: bool) -> None:
    """Make a workspace in DIR: settings, yourself as a principal, a key, a cluster file, and where everything else
    goes.

    Nothing that exists is touched.

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
    """Key files for pseudonyms; workers read them, nothing else carries them."""


@keys.command(name="init")
@workspace_option
@json_option
def init_keys(*, workspace: str | None, as_json: bool) -> None:
    """Make a new key. It is used from the next run on; pseudonyms made with an older one no longer join with new
    ones.
    """
    import secrets
    from pathlib import Path

    from dataops.governance.keys import SECRET_BYTES, create_key
    from dataops.records import now_utc
    from dataops.runs.workspace import open_workspace

    folder = Path(open_workspace(workspace).settings.keys)
    key_id = create_key(folder, at=now_utc(), secret=secrets.token_bytes(SECRET_BYTES))
    print_json({"key": key_id, "folder": str(folder)}) if as_json else print_facts({"key": key_id, "folder": folder})
