"""``dataops dataset expire`` and ``gc``: what was kept long enough goes, after a look at what would."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import duration, json_option, workspace_option, yes_option
from dataops.cli.output import print_facts, print_json, print_note, print_table, spell_bytes

if TYPE_CHECKING:
    from dataops.datasets.retention import ExpiryPlan
    from dataops.datasets.tombstones import Garbage
    from dataops.runs.retention import Collected


@click.command()
@click.argument("name")
@click.option(
    "--older-than",
    callback=duration,
    metavar="AGE",
    help="Keep rows that were published within AGE (30d, 12h). Default: as the contracts say.",
)
@yes_option
@workspace_option
@json_option
def expire(name: str, *, older_than: timedelta | None, do: bool, workspace: str | None, as_json: bool) -> None:
    """Let rows of NAME go that were kept long enough.

    NAME gets a snapshot without them, which says what went and why; records and digests stay. Files are removed by
    `dataset gc`. How long is the shortest retention of the contracts of all that NAME was made from, as they were then
    and are now. Datasets of the catalog are never touched. The audit records it, and what came of it.

    \b
    Examples:
      dataops dataset expire income_scores
      dataops dataset expire income_scores --older-than 30d --yes
    """
    from dataops.datasets.retention import spell_seconds
    from dataops.records import now_utc
    from dataops.runs.retention import expire_dataset
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    done = expire_dataset(opened, name, older_than=older_than, at=now_utc(), do=do)
    plan, number = done.plan, done.snapshot
    print_note(done.note)
    if as_json:
        print_json({"dataset": name, **plan.record(), "done": number is not None, "snapshot": number})
        return
    print_table(
        ["run", "published", "parts", "rows", "bytes"],
        [[one.run, one.published_at[:19], one.parts, one.rows, one.size_bytes] for one in plan.gone],
        empty=f"nothing of '{name}' is older than {spell_seconds(plan.retention_seconds)} ({plan.because})",
    )
    if plan.gone:
        _say_expiry(plan, number)


def _say_expiry(plan: ExpiryPlan, number: int | None) -> None:
    from dataops.datasets.retention import spell_seconds

    rows = f"{sum(one.rows for one in plan.gone):,} rows"
    why = f"kept for {spell_seconds(plan.retention_seconds)} ({plan.because})"
    if number is None:
        click.echo(f"Dry run: {rows} would leave '{plan.dataset}', {why}. --yes does it.")
        return
    click.echo(f"{rows} left '{plan.dataset}' with snapshot {number}, {why}. `dataops dataset gc` removes their files.")


@click.command()
@click.argument("name", required=False)
@click.option(
    "--grace",
    callback=duration,
    default="7d",
    show_default=True,
    metavar="AGE",
    help="How long files stay after nobody names them, and again after they were marked.",
)
@yes_option
@workspace_option
@json_option
def gc(name: str | None, *, grace: timedelta, do: bool, workspace: str | None, as_json: bool) -> None:
    """Remove files that no dataset names any more.

    Of NAME alone, if given: parts and quarantine of runs that were replaced or expired, or that gave up; parts of
    attempts that lost; surveys of content that is no more; what was left of writes that were cut off. The first call
    marks them, one that comes a grace later deletes them. Records stay. A run that said or wrote something within the
    grace is left alone, and one that was marked can't publish any more.

    \b
    Examples:
      dataops dataset gc
      dataops dataset gc income_scores --grace 1d --yes
    """
    from dataops.datasets.garbage import totals
    from dataops.records import now_utc
    from dataops.runs.retention import collect_garbage
    from dataops.runs.workspace import open_workspace

    collected = collect_garbage(open_workspace(workspace), dataset=name, grace=grace, at=now_utc(), do=do)
    print_note(collected.note)
    steps = {
        "delete": collected.deleted,
        "mark": collected.marked,
        "wait": collected.waiting,
        "spare": collected.spared,
    }
    if as_json:
        found = {step: [_record(one) for one in garbage] for step, garbage in steps.items()}
        print_json({"done": do, "totals": {step: totals(one) for step, one in steps.items()}, **found})
        return
    _print_garbage(collected, do=do)


def _print_garbage(collected: Collected, *, do: bool) -> None:
    from dataops.datasets.garbage import totals

    words = (
        ("deleted" if do else "would be deleted", collected.deleted),
        ("marked" if do else "would be marked", collected.marked),
        ("marked before", collected.waiting),
        ("spared: somebody needs it by now", collected.spared),
    )
    rows = [
        [one.dataset or None, one.run or None, str(one.reason), len(one.files), one.rows, one.size_bytes, word]
        for word, garbage in words
        for one in garbage
    ]
    print_table(["dataset", "run", "reason", "files", "rows", "bytes", "state"], rows, empty="no garbage")
    if rows:
        sums = {word: totals(garbage) for word, garbage in words if garbage}
        facts = {
            word: f"{sum_['files']:,} files of {sum_['runs']:,} runs, {spell_bytes(sum_['size_bytes'])}"
            for word, sum_ in sums.items()
        }
        print_facts(facts)
    if rows and not do:
        click.echo("Dry run: --yes does it.")


def _record(one: Garbage) -> dict[str, Any]:
    from dataops.records import format_time

    return {
        "dataset": one.dataset or None,
        "run": one.run or None,
        "reason": str(one.reason),
        "since": format_time(one.since),
        "marked_at": None if one.marked_at is None else format_time(one.marked_at),
        "files": [file.path for file in one.files],
        "rows": one.rows,
        "size_bytes": one.size_bytes,
    }
