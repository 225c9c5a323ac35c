"""What a train job of ours takes in all, as a peer's clock would tell it: from when it is asked for until its model is
there, but for the cluster's start; and what a driver imports before, as peers import before they begin.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

LOADED = (
    "dataops.governance.expression_syntax",
    "dataops.training.boosting",
    "dataops.training.candidates",
    "dataops.training.linear",
    "dataops.training.search",
    "dataops.training.train",
)
FITTED = ("search ", "fit ")  # what the phases are called at whose end there is a model


def load_driver() -> None:
    """What a train job imports in its driver is there."""
    for name in LOADED:
        importlib.import_module(name)


def seconds_to_model(events: Iterable[Mapping[str, Any]], asked: float) -> float:
    """Seconds from `asked` until the last fit ended, without those from the run's record to the cluster's being ready.

    Parameters
    ----------
    events : of the run.
    asked : when `run_job` was called, in seconds since 1970.
    """
    at = {}
    for event in events:
        fitted = event["event"] == "phase_ended" and event["phase"].startswith(FITTED)
        at["fitted" if fitted else event["event"]] = datetime.fromisoformat(event["at"]).timestamp()
    return at["run_started"] - asked + at["fitted"] - at["cluster_ready"]
