"""``dataops model deployed``: which application serves which version."""

from __future__ import annotations

from typing import Any

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_json, print_note, print_table


@click.command()
@click.argument("name")
@click.option("--alias", default="champion", show_default=True, help="The alias that applications follow.")
@workspace_option
@json_option
def deployed(name: str, *, alias: str, workspace: str | None, as_json: bool) -> None:
    """Show which applications serve which version of NAME.

    As they say themselves, each process on its own: since when, when it was last heard, and why it doesn't serve what
    the alias names. A process that is late is silent, and shown with for how long: gone, cut off, or stuck. `dataops
    model gc` takes those away that are silent for 30 days.

    \b
    Example:
      dataops model deployed income
    """
    from dataops.records import format_time, now_utc
    from dataops.registry.aliases import last_move, resolve
    from dataops.registry.heartbeats import converged, read_heartbeats
    from dataops.runs.workspace import open_workspace

    registry, now = open_workspace(workspace).registry, now_utc()
    last = last_move(registry, name, alias)
    if last is None:
        resolve(registry, name, alias)  # says what is missing
        return
    beats = [beat for beat in read_heartbeats(registry.store, name) if beat.alias == alias]
    rows: list[dict[str, Any]] = [
        {
            "application": beat.app,
            "host": beat.host,
            "process": beat.process,
            "version": f"{name}@{beat.version}",
            "generation": beat.generation,
            "since": format_time(beat.since),
            "heard": format_time(beat.at),
            "silent_seconds": int((now - beat.at).total_seconds()) if beat.silent(now) else None,
            "state": _state(silent=beat.silent(now), behind=beat.generation != last.generation, error=beat.error),
            "error": beat.error,
        }
        for beat in beats
    ]
    everywhere = converged(beats, alias=alias, generation=last.generation, now=now)
    named = {"version": f"{name}@{last.version}", "generation": last.generation}
    if as_json:
        print_json({**named, "converged": everywhere, "applications": rows})
        return
    shown = [[row[key] for key in ("application", "host", "version", "generation")] for row in rows]
    seen = [[row["since"][:19].replace("T", " "), row["heard"][:19].replace("T", " "), _spell(row)] for row in rows]
    columns = ["application", "host", "version", "generation", "since", "heard", "state"]
    lines = [left + right for left, right in zip(shown, seen, strict=True)]
    print_table(columns, lines, empty="no application says that it serves it: load(..., app=NAME) does")
    heard = sum(row["state"] != "silent" for row in rows)
    if heard:
        where = f"{named['version']} (generation {last.generation})"
        click.echo(f"\n{where} is served by all {heard}" if everywhere else f"\n{where} is not served by all yet")
    for row in rows:
        if row["error"]:
            print_note(f"{row['application']} on {row['host']}: {row['error']}")


def _state(*, silent: bool, behind: bool, error: str | None) -> str:
    if silent:
        return "silent"
    if error is not None:
        return "error"
    return "behind" if behind else "serves it"


def _spell(row: dict[str, Any]) -> str:
    """The state of a process; of one that is silent also for how long, in its largest unit."""
    from dataops.datasets.retention import spell_seconds

    seconds = row["silent_seconds"]
    if seconds is None:
        return str(row["state"])
    unit = next((size for size in (86_400, 3_600, 60) if seconds >= size), 1)
    return f"silent for {spell_seconds(seconds - seconds % unit)}"
