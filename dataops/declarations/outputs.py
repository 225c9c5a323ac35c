"""Columns of scores, as declarations name them, and whoever writes or reads them."""

from __future__ import annotations

from enum import StrEnum

OWN = ""
"""What the job's own model is called among those of one pass."""


class Output(StrEnum):
    """A column that a model gives for each row."""

    PROBABILITY = "probability"
    PREDICTION = "prediction"
    MARGIN = "margin"
    DECILE = "decile"
    CLUSTER = "cluster"
    DISTANCE = "distance"


def column_name(output: Output, model: str) -> str:
    """The column of `output` of the model called `model` in the job; the job's own is `OWN`."""
    return f"{output}_{model}" if model else str(output)
