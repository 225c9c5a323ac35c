"""``dataops lineage``: what was made of what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_facts, print_json, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataops.governance.lineage_graph import Branch, Link

HEADINGS = {"up": "was made of", "down": "was made into"}
SHOWN_DIGITS = 8


@click.group()
def lineage() -> None:
    """Show what was made of what, export it."""


@lineage.command()
@click.argument("name")
@click.option("--up", "way", flag_value="up", help="Only what it was made of.")
@click.option("--down", "way", flag_value="down", help="Only what was made of it.")
@click.option("--both", "way", flag_value="both", default="both", help="Both ways. The default.")
@click.option("--column", "columns", multiple=True, metavar="NAME", help="Follow this column alone; may be repeated.")
@workspace_option
@json_option
def show(name: str, *, way: str, columns: tuple[str, ...], workspace: str | None, as_json: bool) -> None:
    """Walk from NAME both ways: what it was made of, and into.

    NAME is a dataset, a model, a run, or one version: income@3 (of a dataset: its snapshot), income@champion. Columns
    that were masked on the way are marked. Told from the lineage events: runs and data may be gone.

    \b
    Examples:
      dataops lineage show income_scores
      dataops lineage show income@champion --up
      dataops lineage show census_1994 --down --column education
    """
    from dataops.runs.lineage import walk_from
    from dataops.runs.workspace import open_workspace

    ways = ("up", "down") if way == "both" else (way,)
    walked = walk_from(open_workspace(workspace), name, ways=ways, columns=columns)
    if as_json:
        print_json({"name": name, **{direction: one.record() for direction, one in walked.items()}})
        return
    trees = {direction: list(tree_lines(start)) for direction, start in walked.items()}
    click.echo(printable(next(iter(trees.values()))[0]))
    for direction, (_, *lines) in trees.items():
        click.echo(f"{HEADINGS[direction]}:")
        click.echo("\n".join(map(printable, lines)) or "   nothing that lineage knows of")


@lineage.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@workspace_option
@json_option
def export(file: str, *, workspace: str | None, as_json: bool) -> None:
    """Write all OpenLineage events to FILE, one a line.

    In the order of time: what a catalogue takes. FILE must not be there yet; - is standard output.

    \b
    Example:
      dataops lineage export lineage.jsonl
    """
    import json
    from pathlib import Path

    from dataops.errors import AlreadyExists
    from dataops.runs.lineage import read_events
    from dataops.runs.workspace import open_workspace

    events = sorted(read_events(open_workspace(workspace).store), key=lambda event: event["eventTime"])
    lines = [json.dumps(event, sort_keys=True) for event in events]
    if file == "-":
        click.echo("\n".join(lines), nl=bool(lines))
        return
    try:
        with Path(file).open("x", encoding="utf-8") as opened:
            opened.writelines(f"{line}\n" for line in lines)
    except FileExistsError:
        raise AlreadyExists(f"{file} is there already; name another file, or remove it") from None
    told = {"file": file, "events": len(lines)}
    if as_json:
        print_json(told)
    else:
        print_facts(told)


def tree_lines(start: Branch | Link) -> Iterator[str]:
    """A walk as a tree, a line each; the first is where it starts."""
    from dataops.governance.lineage_graph import Link

    if isinstance(start, Link):
        yield _step_text(start)
        below: tuple[Branch | Link, ...] = start.branches
    else:
        yield _place_text(start)
        below = start.links
    for number, one in enumerate(below):
        last = number == len(below) - 1
        first, *rest = tree_lines(one)
        yield f"{'└─' if last else '├─'} {first}"
        for line in rest:
            yield f"{'   ' if last else '│  '}{line}"


def _place_text(branch: Branch) -> str:
    from dataops.governance.lineage_graph import CATALOG, DATASET

    place = branch.place
    if place.kind == DATASET:
        told = [f"{place.zone}, {'source' if place.origin == CATALOG else 'made'}"]
    else:
        told = [f"model {_short(place.digest)}"]
    if branch.readings:
        told.append(f"read to {_purposes(branch.readings)}")
    if branch.columns:
        told += [f"column {', '.join(_marked(branch.columns))}"]
    else:
        told += _masked(branch)
    return f"{place.reference}  {'; '.join(told)}"


def _marked(columns: Mapping[str, bool]) -> list[str]:
    return [f"{name} (masked)" if masked else name for name, masked in columns.items()]


def _masked(branch: Branch) -> list[str]:
    """Columns that were read under a mask, and those whose values were masked when they were made."""
    read = [f"{name} ({kind})" for name, kind in branch.masks.items()]
    held = [name for name in branch.place.carries if name not in branch.masks]
    found = (("masked", read), ("masked before" if branch.readings else "holds masked", held))
    return [f"{how}: {', '.join(names)}" for how, names in found if names]


def _step_text(link: Link) -> str:
    step = link.step
    roles = ", ".join(dict.fromkeys(role for reading in step.readings for role in reading["roles"]))
    policies = ", ".join(dict.fromkeys(_short(reading["policy"]) for reading in step.readings))
    told = [f"as {roles}, policy {policies}"]
    if link.readings:
        told.insert(0, f"to {_purposes(link.readings)}")
    if not step.done:
        told.append("made nothing")
    return f"{step.kind} {step.run}  {'told above' if link.again else '; '.join(told)}"


def _purposes(readings: Sequence[Mapping[str, Any]]) -> str:
    """What for, and for each the digest of what the policies left: ``train (effect 1a2b3c4d)``."""
    return ", ".join(dict.fromkeys(f"{one['purpose']} (effect {_short(one['effect'])})" for one in readings))


def _short(digest: str | None) -> str:
    return (digest or "").removeprefix("sha256:")[:SHOWN_DIGITS]
