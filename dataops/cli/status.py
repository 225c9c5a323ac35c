"""``dataops status``: the page that an operator wants at three in the morning.

What needs a person stands first, each with the command that says more. Below it stands what runs, what waits, and what
there is: the schedules that aren't merely fine, the newest champions, promises, drift and runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.outcome import spell_drift
from dataops.cli.output import print_json, print_table, printable

if TYPE_CHECKING:
    from dataops.scheduling.concerns import Concern
    from dataops.scheduling.standing import Standing
    from dataops.scheduling.status import Status

NEXT_SHOWN = 5
SHOWN = 12
_LONGEST = 400


@click.command()
@click.option("--all", "show_all", is_flag=True, help="All schedules and runs, not only those that matter now.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing where nothing needs a person: for cron.")
@workspace_option
@json_option
def status(*, show_all: bool, quiet: bool, workspace: str | None, as_json: bool) -> None:
    """Say how all is, and what needs a person.

    That is: what is late, running, failed, waiting or stale, and why; champions, drift, the newest runs. What needs a
    person stands first. Nothing is written, so an account that may only read can ask. Exits with 0 where all is fine,
    and with 1 where something needs a person: for monitors.

    \b
    Examples:
      dataops status
      dataops status --json
      dataops status --quiet
    """
    from dataops.records import now_utc
    from dataops.runs.workspace import open_workspace
    from dataops.scheduling.status import look

    found = look(open_workspace(workspace, read_only=True), now=now_utc())
    if as_json:
        print_json(found.record())
    elif found.needs_a_person or not quiet:
        _print_page(found, show_all=show_all)
    click.get_current_context().exit(1 if found.needs_a_person else 0)


def _print_page(found: Status, *, show_all: bool) -> None:
    count = len(found.concerns)
    verdict = "all is fine" if not count else f"{count:,} {'things need' if count > 1 else 'thing needs'} a person"
    color = "red" if count else "green"
    click.echo(
        f"{printable(found.workspace)}, {found.at:%Y-%m-%d %H:%M} UTC: {click.style(verdict, fg=color, bold=True)}"
    )
    _print_concerns(found.concerns)
    for title, columns, rows in _sections(found, show_all=show_all):
        if rows:
            click.echo(f"\n{title}")
            print_table(columns, rows, rare=("why", "next slot"))
    click.echo(f"\n{_scripts(found)}")


def _print_concerns(concerns: Sequence[Concern]) -> None:
    for one in concerns:
        first, *rest = _shortened(one.says).split("\n")
        click.echo(f"\n{click.style('!', fg='red', bold=True)} {printable(one.about)}: {printable(first)}")
        for line in rest:
            click.echo(f"    {printable(line)}")
        if one.do is not None:
            click.echo(f"    {printable(one.do)}")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_Section = tuple[str, Sequence[str], Sequence[Sequence[object]]]


def _sections(found: Status, *, show_all: bool) -> Iterator[_Section]:
    from dataops.scheduling.wording import ago

    yield from _of_schedules(found, show_all=show_all)
    waiting = [
        [one.id, one.state.value, one.principal, one.submitted_at and ago(one.submitted_at, found.at)]
        for one in found.submissions
    ]
    yield "submissions", ["id", "is", "by", "submitted"], waiting[:SHOWN]
    promised = [[one.name, "fresh", one.says(found.at)] for one in found.freshness if not one.is_stale(found.at)]
    yield "promises", ["what", "is", "why"], promised if show_all else promised[:SHOWN]
    champions = [
        [f"{one.model}@{one.version}", ago(one.since, found.at), f"{one.kind} by {one.actor}", one.reason]
        for one in found.champions
        if one.since is not None
    ]
    yield "champions", ["version", "since", "how", "why"], champions
    yield from _of_runs(found, show_all=show_all)


def _of_schedules(found: Status, *, show_all: bool) -> Iterator[_Section]:
    from dataops.scheduling.standing import Mood

    gravest = sorted(found.schedules, key=lambda one: list(Mood).index(one.mood))
    hidden = () if show_all else (Mood.GONE,)  # of those that no file has any more, only what is open matters
    listed = [one for one in gravest if one.mood is not Mood.BROKEN and (one.open or one.mood not in hidden)]
    others = [one for one in listed if one.mood is not Mood.FINE]
    calm = [one for one in listed if one.mood is Mood.FINE]
    shown = listed if show_all or len(listed) <= SHOWN else [*others[:SHOWN], *_soonest(calm)]
    counts = Counter(one.mood.value for one in listed)
    title = f"schedules: {', '.join(f'{count:,} {mood}' for mood, count in counts.items())}"
    left = "" if len(shown) == len(listed) else f" ({len(listed) - len(shown):,} not shown: --all)"
    yield f"{title}{left}", ["schedule", "is", "next slot", "why"], [_schedule_row(one, found) for one in shown]


def _soonest(calm: Sequence[Standing]) -> list[Standing]:
    """Those whose next slot comes first."""
    timed = [one for one in calm if one.next is not None]
    return sorted(timed, key=lambda one: str(one.next))[:NEXT_SHOWN]


def _schedule_row(one: Standing, found: Status) -> list[object]:
    from dataops.scheduling.wording import ago, counted, spell_slot

    queue = f"; {counted(one.wanted, 'slot')} asked for" if one.wanted and one.open else ""
    when = f"{spell_slot(one.next, one.zone)}, {ago(one.next, found.at)}" if one.next is not None else None
    says = "see above" if one.needs_a_person else f"{_shortened(one.says)}{queue}"
    return [one.name, one.mood.value, when, says]


def _of_runs(found: Status, *, show_all: bool) -> Iterator[_Section]:
    from dataops.scheduling.concerns import silent_runs
    from dataops.scheduling.wording import ago

    drifts = [[one.job, spell_drift(one.drift), ago(one.at, found.at)] for one in found.drift]
    yield "drift of the newest rescores", ["job", "drift", "when"], drifts if show_all else drifts[:SHOWN]
    silent = {one.run: f"silent: `dataops job resume {one.run}` goes on with it" for one in silent_runs(found)}
    runs = [
        [
            *(one.run, one.state.value, one.principal, ago(one.at, found.at)),
            _shortened(one.error or silent.get(one.run, "")) or None,
        ]
        for one in found.runs
    ]
    yield "newest run of each job", ["run", "is", "by", "when", "why"], runs if show_all else runs[:SHOWN]


def _scripts(found: Status) -> str:
    """Which scheduler scripts run."""
    from dataops.scheduling.beats import looks_alive
    from dataops.scheduling.concerns import spell_polled, spell_script
    from dataops.scheduling.wording import counted

    alive = [one for one in found.scripts if looks_alive(one, found.at)]
    if alive:
        opened = sum(len(one.open) for one in found.schedules)
        named = ", ".join(printable(spell_script(one)) for one in alive[:3])
        return f"{counted(len(alive), 'scheduler script')}: {named}; {counted(opened, 'slot')} open"
    if found.scripts or found.polled is not None:
        return f"no scheduler script runs now; {spell_polled(found)}"
    return "no scheduler script has ever run here: `dataops schedule run`" if found.schedules else "no schedules"
