"""``dataops model reproduce``: a version, trained again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import json_option, running_options, workspace_option
from dataops.cli.output import end_with, print_facts, print_json, print_note, print_table

if TYPE_CHECKING:
    from dataops.runs.reproduced import Reproduced


@click.command()
@click.argument("reference")
@running_options
@workspace_option
@json_option
def reproduce(
    reference: str, *, quiet: bool, workers: int | None, cluster: str | None, workspace: str | None, as_json: bool
) -> None:
    """Train REFERENCE again, and say whether it comes out the same.

    On the very data that its run pinned, as the policies let you read it today, with the version's trainer, parameters,
    seed and shape of cluster. Says `bit-equal`, `metric-equal` (every metric within 0.1 percent, on the same rows) or
    `different`, and what is not as it was. Nothing is registered; the audit knows. `different` exits with 8, with 3
    where the data is gone.

    \b
    Examples:
      dataops model reproduce income@3
      dataops model reproduce income --json
    """
    from dataops.engine.progress import Progress
    from dataops.runs.execute import Options
    from dataops.runs.reproduce import reproduce as reproduce_version
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace)
    options = Options(cluster=opened.cluster(cluster), workers=workers)
    with Progress(sys.stderr, quiet=quiet) as progress:
        found = reproduce_version(opened, reference, options=options, progress=progress)
    print_note(found.note)
    print_json(_record(found)) if as_json else _print(found)
    _end(found)


def _record(found: Reproduced) -> dict[str, Any]:
    return {
        "version": found.version,
        "verdict": found.verdict.value,
        "not_as_it_was": dict(found.not_as_it_was),
        "figures": found.figures,
        "digests": found.digests,
        "reading": found.reading,
        "trained_by": found.trained_by,
    }


def _print(found: Reproduced) -> None:
    print_facts(
        {
            "version": found.version,
            "reproduced": found.verdict.value,
            **found.not_as_it_was,
            "trained by": found.trained_by,
            "read as": found.reading,
        }
    )
    rows = [
        [dataset, metric, _figure(one["then"]), _figure(one["now"])]
        for dataset, metrics in found.figures.items()
        for metric, one in metrics.items()
    ]
    if rows:
        click.echo()
        print_table(["dataset", "metric", "then", "now"], rows)


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.6f}"


def _end(found: Reproduced) -> None:
    """The exit code of a version that wasn't reproduced."""
    from dataops.errors import Integrity, NotFound
    from dataops.runs.reproduced import Verdict

    if found.verdict is not Verdict.DIFFERENT:
        return
    if not found.trained:
        end_with(NotFound(f"{found.version} can't be trained again: {found.not_as_it_was['data']}"))
        return
    why = "; ".join(f"{what}: {said}" for what, said in found.not_as_it_was.items())
    end_with(Integrity(f"{found.version} came out different: {why or 'though all that is on record is as it was'}"))
