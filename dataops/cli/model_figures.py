"""``dataops model`` impact and realised: what a version would change, and how well it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_facts, print_json, print_note, print_table

_TOO_FEW = "too few rows"


@click.command()
@click.argument("run")
@click.option("--challenger", metavar="NAME", help="Which challenger, by its name in the job. Default: the only one.")
@click.option("--movers", type=click.IntRange(min=1), help="Show so many rows whose prediction would move most.")
@workspace_option
@json_option
def impact(run: str, *, challenger: str | None, movers: int | None, workspace: str | None, as_json: bool) -> None:
    """Show what a challenger would change in the scores of RUN.

    RUN is a rescore whose job names challengers. Figures are those that the run counted; movers are read from the
    scores, as the policies let you read them to evaluate, and the audit says so.

    \b
    Examples:
      dataops model impact income_scores-20260102t030405-a1b2c3
      dataops model impact income_scores-20260102t030405-a1b2c3 --challenger next --movers 10
    """
    from dataops.promotion.impact import untold_rows
    from dataops.runs.impact import show_impact
    from dataops.runs.workspace import open_workspace

    shown = show_impact(open_workspace(workspace), run, challenger=challenger, movers=movers)
    print_note(shown.note)
    if as_json:
        print_json(
            {name: getattr(shown, name) for name in ("run", "own", "challenger", "version", "figures", "movers")}
        )
        return
    figures = shown.figures
    print_facts(
        {
            "scores now": shown.own,
            "challenger": f"{shown.challenger}: {shown.version}",
            "rows": _TOO_FEW if figures["rows"] is None else f"{figures['rows']:,}",
            **_facts_of_decisions(figures),
            "rank correlation": _figure(figures["rank_correlation"]),
            **{f"move by over {step}": _told(share) for step, share in figures.get("moved", {}).items()},
        }
    )
    for column, values in figures["slices"].items():
        click.echo()
        rows = [
            [value, one["rows"], _told(one["flipped_up"]), _told(one["flipped_down"])] for value, one in values.items()
        ]
        if rest := untold_rows(figures, column):
            rows.append([f"({_TOO_FEW} each)", rest, _TOO_FEW, _TOO_FEW])
        print_table([column, "rows", "turn positive", "turn negative"], rows, empty=_TOO_FEW)
    if shown.movers is not None:
        click.echo()
        rows = [[_mover(value) for value in row.values()] for row in shown.movers]
        print_table(list(shown.movers[0]) if shown.movers else [], rows, empty="no rows")


@click.command()
@click.argument("name")
@workspace_option
@json_option
def realised(name: str, *, workspace: str | None, as_json: bool) -> None:
    """Show how well NAME did where outcomes came later.

    Jobs of the kind `evaluate` join scores with outcomes; each run of one is a line here, beside what the version had
    on held-out rows when it was trained.

    \b
    Example:
      dataops model realised income
    """
    from dataops.runs.realised import realised_of
    from dataops.runs.workspace import open_workspace

    measured = realised_of(open_workspace(workspace), name)
    if as_json:
        print_json([{key: getattr(one, key) for key in one.__slots__} for one in measured])
        return
    rows = [
        [
            one.at[:19].replace("T", " "),
            f"{name}@{one.version}",
            one.scores,
            one.labels,
            one.judged,
            _percent(one.judged / one.scored),
            one.primary_metric,
            _figure(one.metrics.get(one.primary_metric)),
            _figure((one.promised or {}).get(one.primary_metric)),
        ]
        for one in measured
    ]
    columns = ["measured", "version", "scores", "outcomes", "rows", "of scored", "metric", "realised", "when trained"]
    print_table(columns, rows, empty="nothing measured: run an evaluate job")


def _facts_of_decisions(figures: Mapping[str, Any]) -> dict[str, object]:
    """Decisions that flip; none of a regression, which decides nothing."""
    if "flipped_up" not in figures:
        return {}
    names = ("flipped_up", "flipped_down", "positive_own", "positive_challenger")
    up, down, own, challenger = (_told(figures[name]) for name in names)
    return {"turn positive": up, "turn negative": down, "positive": f"{own} now, {challenger} then"}


def _mover(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value


def _told(share: float | None) -> str:
    """A share that may stand for too few rows to be shown."""
    return _percent(share) or _TOO_FEW


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.2%}"


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
