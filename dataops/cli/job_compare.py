"""``dataops job compare``: two runs beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_facts, print_json, print_table, spell_bytes

if TYPE_CHECKING:
    from dataops.monitoring.compared import Compared, PhasePair, PhaseTook

COLUMNS = (
    "phase", "seconds A", "seconds B", "B to A", "rows/s A", "rows/s B", "cores A", "cores B", "memory A", "memory B",
)  # fmt: skip
RARE = COLUMNS[4:]


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--noise",
    type=click.FloatRange(min=0, max=1000),
    metavar="PERCENT",
    help="By how much times of the same work differ here anyway; default: 10.",
)
@workspace_option
@json_option
def compare(first: str, second: str, *, noise: float | None, workspace: str | None, as_json: bool) -> None:
    """Say what got slower from run A to run B.

    First what isn't the same of what they did: inputs, model, code, shape of the cluster. Then phase by phase how long
    they took, per row where the rows differ, with cores and memory of the workers as far as runs are recorded. Their
    clusters may be long gone.

    \b
    Examples:
      dataops job compare income_scores-20260131t120000-1a2b3c income_scores-20260201t120000-4d5e6f
      dataops job compare income_scores-20260131t120000-1a2b3c income_scores-20260201t120000-4d5e6f --noise 5 --json
    """
    from dataops.monitoring.compared import NOISE_PERCENT, compared_record
    from dataops.runs.compare import compare_runs
    from dataops.runs.workspace import open_workspace

    opened = open_workspace(workspace, read_only=True)
    found = compare_runs(opened, first, second, noise_percent=NOISE_PERCENT if noise is None else noise)
    print_json(compared_record(found)) if as_json else _print(found)


def _print(found: Compared) -> None:
    print_facts({"A": f"{found.first.run}, {found.first.state}", "B": f"{found.second.run}, {found.second.state}"})
    click.echo()
    print_table(["not the same", "A", "B"], found.differences, empty="both did the same, on the same data")
    click.echo()
    rows = [_row(one) for one in found.phases]
    rows.append(["all", found.first.seconds, found.second.seconds, None, *[None] * 6])
    print_table(list(COLUMNS), rows, rare=RARE)
    click.echo()
    click.echo(found.said)


def _row(pair: PhasePair) -> list[object]:
    ratio = None if pair.ratio is None else f"{pair.ratio:.2f}{' a row' if pair.per_row else ''}"
    sides = (pair.first, pair.second)
    failed = f"{pair.phase} (failed)" if any(one is not None and one.failed for one in sides) else pair.phase
    return [
        failed,
        *(None if one is None else one.seconds for one in sides),
        ratio,
        *(None if one is None or one.rate is None else round(one.rate) for one in sides),
        *(None if one is None else one.cores for one in sides),
        *(_memory(one) for one in sides),
    ]


def _memory(took: PhaseTook | None) -> str | None:
    return None if took is None or took.peak_memory is None else spell_bytes(took.peak_memory)
