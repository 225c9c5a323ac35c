"""``dataops cluster start``, ``status``, ``stop``: clusters that stand until somebody ends them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_facts, print_json, print_table

if TYPE_CHECKING:
    from dataops.runs.stood import Stood

_COLUMNS = ("cluster", "kind", "scheduler", "host", "process", "since")


@click.command()
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--name", metavar="NAME", help="What it is called. Default: as the cluster file is.")
@click.option(
    "--shape",
    type=click.Choice(["score", "train"]),
    default="score",
    show_default=True,
    help="The shape of the file that it takes.",
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Worker processes, instead of the cluster file's.")
@click.option("--detach", is_flag=True, help="Come back once it is there; it goes on.")
@workspace_option
@json_option
def start(
    file: str | None,
    *,
    name: str | None,
    shape: str,
    workers: int | None,
    detach: bool,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Start the cluster of FILE, and keep it.

    It stands until it is stopped (Ctrl-C, SIGTERM, `dataops cluster stop`), or has done nothing for `idle_seconds` of
    the file. Connections are encrypted, with certificates of its own. Where it is stands in the workspace's clusters/;
    a cluster file of the kind `address` with these two finds it.

    \b
    Examples:
      dataops cluster start cluster/local.yaml --detach
      dataops cluster start cluster/ssh.yaml --name night --shape train
    """
    from dataops.runs.standing import hold, name_of, start_limit
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    folder, place = opened.settings.workspace, opened.cluster_place(file)
    called = name_of(place, name)
    if detach:
        seconds = start_limit(opened.cluster(file))
        _print_started(folder, _detached(folder, place, called, shape, workers, seconds), as_json=as_json)
        return
    with _Ending() as ending:

        def told(stood: Stood) -> None:
            ending.stands = True
            _print_started(folder, stood, as_json=as_json)

        why = hold(
            folder,
            opened.cluster(file),
            name=called,
            training=shape == "train",
            workers=workers,
            stopped=ending.wanted.wait,
            told=told,
        )
    click.echo(f"cluster '{called}' ended: {why}", err=True)


def _print_started(folder: Path, stood: Stood, *, as_json: bool) -> None:
    from dataops.runs.stood import as_file, record_of

    found = as_file(folder, stood)
    inside = {
        key: str(Path(value).relative_to(folder))
        for key, value in (("scheduler_file", found.scheduler_file), ("certs", found.certs))
        if value is not None
    }
    if as_json:
        print_json({**record_of(stood), "cluster_file": {"kind": "address", **inside}})
        return
    print_facts({"cluster": stood.name, "scheduler": stood.address, "dashboard": stood.dashboard})
    lines = "".join(f"\n  {key}: {value}" for key, value in inside.items())
    click.echo(f"\nA cluster file for it:\n  kind: address{lines}")


class _Ending:
    """What SIGTERM and Ctrl-C do meanwhile: they end a start that is under way, and then a cluster in order.

    Attributes
    ----------
    stands : whether the cluster is there.
    wanted : set once somebody wants it to end.
    """

    def __init__(self) -> None:
        self.stands = False
        self.wanted = threading.Event()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._end) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, *_: object) -> None:
        again = self.wanted.is_set()
        self.wanted.set()
        if not self.stands and not again:  # nobody looks at `wanted` yet; a second one would break the end of the first
            raise KeyboardInterrupt


def _detached(folder: Path, file: Path, name: str, shape: str, workers: int | None, seconds: float) -> Stood:
    """The cluster, held by a process of its own; its output is in ``clusters/<name>.log``."""
    from dataops.runs.standing import require_free, wait_for_start
    from dataops.runs.stood import FOLDER

    require_free(folder, name)
    words = ["cluster", "start", str(file), "--name", name, "--shape", shape, "--workspace", str(folder)]
    words += ["--workers", str(workers)] if workers else []
    (folder / FOLDER).mkdir(exist_ok=True)
    log = folder / FOLDER / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # this very program, with words that were checked
            [sys.executable, "-m", "dataops.cli.main", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return wait_for_start(folder, name, process, log, seconds)


@click.command()
@click.argument("name", required=False)
@workspace_option
@json_option
def status(name: str | None, *, workspace: str | None, as_json: bool) -> None:
    """Say which clusters of this workspace stand, and what they do.

    One that does not answer was lost, or is held by a process that was killed: stop it, and start another one. Nobody
    is let in any more when its certificates have ended; it ends by itself then.

    \b
    Examples:
      dataops cluster status
      dataops cluster status night --json
    """
    from dataops.records import format_time
    from dataops.runs.standing import look
    from dataops.runs.stood import certs_until, names, record_of
    from dataops.settings import find_workspace

    folder = find_workspace(Path.cwd() if workspace is None else Path(workspace))
    found = [look(folder, one) for one in ([name] if name else names(folder))]
    if as_json:
        clusters: list[dict[str, Any]] = []
        for stood, does in found:
            does_now = {"workers": does.workers, "threads": does.threads, "tasks": does.busy} if does else None
            told = {"answers": does is not None, "now": does_now}
            ends = certs_until(folder, stood)
            clusters.append({**record_of(stood), "certs_until": format_time(ends) if ends else None, **told})
        print_json({"clusters": clusters})
        return
    print_table(
        (*_COLUMNS, "certs until", "answers", "workers", "threads", "tasks"),
        [
            (stood.name, stood.kind, stood.address, stood.host, str(stood.process), stood.started_at[:19])
            + (f"{ends:%Y-%m-%d}" if (ends := certs_until(folder, stood)) else None,)
            + ((True, does.workers, does.threads, does.busy) if does else (False, None, None, None))
            for stood, does in found
        ],
        empty="no cluster stands: `dataops cluster start FILE`",
    )


@click.command()
@click.argument("name")
@workspace_option
@json_option
def stop(name: str, *, workspace: str | None, as_json: bool) -> None:
    """Stop the cluster NAME, and wait until it has ended.

    A run that is on it fails, and can be resumed. What a process that was killed left of its cluster is taken away.

    \b
    Example:
      dataops cluster stop night
    """
    from dataops.runs.standing import stop as end
    from dataops.runs.stood import record_of
    from dataops.settings import find_workspace

    ended = end(find_workspace(Path.cwd() if workspace is None else Path(workspace)), name)
    if as_json:
        print_json({**record_of(ended), "stopped": True})
        return
    click.echo(f"cluster '{ended.name}' is stopped")
