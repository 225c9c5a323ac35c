"""Messages as drivers send them, and a board made of them."""

from __future__ import annotations

from typing import Any

from distributed.protocol import dumps, loads

from dataops.monitoring.board import apply
from dataops.monitoring.shown import Board

RUN = "income_scores-20261123t120000-0a1b2c"
BEGAN = 1_795_000_000.0


def said(event: str, /, run: str = RUN, **fields: Any) -> dict[str, Any]:
    """A message as a Dask scheduler gets it: what was sent as a list arrives as a tuple."""
    return dict(loads(dumps({"event": event, "run": run, "at": 1.0, **fields})))


def shown(run: str = RUN, client: str = "client-1", **figures: Any) -> dict[str, Any]:
    return said("run_shown", run, job=run.rsplit("-", 2)[0], kind="rescore", client=client, figures=figures)


def board(*messages: dict[str, Any], at: float = BEGAN, after: Board | None = None) -> Board:
    """The board after `messages`, a second apart."""
    made = after or Board()
    for number, message in enumerate(messages):
        made = apply(made, message, at + number)
    return made


BUSY = (
    shown(inputs=[]),
    said("cluster_ready", workers=2, threads=1),
    said("phase_started", phase="link", units=0, rows=0),
    said("phase_ended", phase="link", outcome="done", seconds=0.5),
    said("phase_started", phase="score", units=40, rows=4000),
    said(
        "progress", phase="score", units=10, rows=1000,
        counts={"read": 1000, "passed": 990, "quarantined": 10, "broken:wage_stated": 10},
    ),
)  # fmt: skip
