"""What a run calls the datasets that its job reads.

Each kind of job says in `inputs` which dataset stands under which of these names.
"""

from __future__ import annotations

INPUT = "input"
"""What a run calls the dataset that its job names as input."""

LABELS = "labels"
SCORE_KEYS, LABEL_KEYS = "score_keys", "label_keys"
"""What a run that measures realised performance calls the outcomes, and the keys of both sides."""


def evaluation_name(dataset: str) -> str:
    """What a run calls `dataset` where it is read for evaluation."""
    return f"evaluate:{dataset}"


def joined_name(place: int, dataset: str) -> str:
    """What a run calls `dataset` where the join job's join number `place` (from 0) reads it."""
    return f"join:{place + 1}:{dataset}"
