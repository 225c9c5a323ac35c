"""``dataops cluster``: certificates for a cluster, whether it can be worked on, and clusters that stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dataops.cli.cluster_standing import start, status, stop
from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import end_with, print_facts, print_json, print_note, print_table, spell_bytes

if TYPE_CHECKING:
    from dataops.runs.cluster_check import Checked


@click.group()
def cluster() -> None:
    """Start, check and stop clusters, make certificates for them."""


for verb in (start, status, stop):
    cluster.add_command(verb)


@cluster.command()
@click.argument("folder", metavar="DIR")
@click.option("--days", type=click.IntRange(1, 825), default=30, show_default=True, help="How long they are valid.")
@json_option
def certs(folder: str, *, days: int, as_json: bool) -> None:
    """Make the certificates of a new cluster in DIR.

    That is an authority of its own, and a key and a certificate for each role: scheduler, worker, client. All machines
    of the cluster get the same; whoever has them may run code on it, so the folder is for its owner alone. The
    authority's key is kept nowhere: for other certificates, make all anew.

    \b
    Examples:
      dataops cluster certs certs
      dataops cluster certs ~/night-certs --days 365
    """
    from pathlib import Path

    from dataops.engine.certs import expiry, new_certificates, write_certificates
    from dataops.records import format_time, now_utc

    path = Path(folder).expanduser()
    made = new_certificates(at=now_utc(), days=days)
    write_certificates(path, made)
    ends = expiry(made["ca.pem"])
    facts = {"folder": str(path), "files": sorted(made), "valid_until": format_time(ends) if ends else None}
    if as_json:
        print_json(facts)
        return
    print_facts({"folder": path, "files": ", ".join(sorted(made)), "valid until": facts["valid_until"]})


@cluster.command()
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--workers", type=click.IntRange(1, 1024), help="Worker processes, instead of the cluster file's.")
@workspace_option
@json_option
def check(file: str | None, *, workers: int | None, workspace: str | None, as_json: bool) -> None:
    """Check whether jobs can run on the cluster of FILE.

    Without FILE it is the cluster of dataops.yaml. It is started if it has to be, and every worker is asked: whether it
    runs the very code and libraries that run here; whether it reaches storage, registry and keys; whether of all that
    put one record at once one is told to be the first; how far its clock is off; what room it has to spill to. With
    TLS, whether it turns away who has no certificate. What has to be mended ends with exit code 11.

    \b
    Examples:
      dataops cluster check
      dataops cluster check cluster/ssh.yaml
    """
    from dataops.errors import Compute
    from dataops.runs.cluster_check import check_cluster
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    checked = check_cluster(opened, opened.cluster(file), workers=workers)
    _print(checked, as_json=as_json)
    if checked.wrong:
        end_with(Compute("\n".join(checked.wrong)))


def _print(checked: Checked, *, as_json: bool) -> None:
    if as_json:
        facts = {"address": checked.address, "encrypted": checked.encrypted, "ok": not checked.wrong}
        workers = {name: dict(said) for name, said in checked.workers.items()}
        print_json({**facts, "wrong": list(checked.wrong), "notes": list(checked.notes), "workers": workers})
        return
    print_facts({"scheduler": checked.address, "encrypted": checked.encrypted})
    click.echo("")
    print_table(
        ("worker", "host", "dataops", "python", "dask", "storage", "registry", "keys", "free", "clock off"),
        [_row(name, said) for name, said in checked.workers.items()],
        empty="no worker",
    )
    for note in checked.notes:
        print_note(note)


def _row(name: str, said: Any) -> list[object]:
    if "failed" in said:
        return [name, *[None] * 9]
    reached = [said[place]["ok"] for place in ("storage", "registry", "keys")]
    versions = [said["code"]["version"], said["versions"]["python"], said["versions"]["dask"]]
    return [name, said["host"], *versions, *reached, spell_bytes(said["free_bytes"]), f"{said['clock_off']:.1f} s"]
