"""Whether rows can be trained on: counted for all units in one pass, raised once with every finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dataops.declarations.metrics import Task
from dataops.errors import InvalidInput
from dataops.features.encoder import Encoder
from dataops.training.parts import EncodedPart, PartsOnCluster, merge_parts
from dataops.training.targets import require_numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFacts:
    """What decides whether rows can be trained on, counted exactly.

    Parameters
    ----------
    rows : all of them.
    weighted : whether any part has weights.
    positives, negatives : rows of target 1 and 0 with a weight above 0.
    strange_targets : targets that are neither 0 nor 1.
    bad_weights : weights that are negative, infinite or NaN.
    nonfinite : infinite or NaN values per numeric column.
    """

    rows: int
    weighted: bool
    positives: int
    negatives: int
    strange_targets: int
    bad_weights: int
    nonfinite: tuple[int, ...]


def part_facts(part: EncodedPart, _argument: None = None) -> PartFacts:
    """The facts of one part."""
    return facts_of(part, part.rows - np.isfinite(part.encoded.numeric).sum(axis=0))


def facts_of(part: EncodedPart, nonfinite: Iterable[int]) -> PartFacts:
    """The facts of one part, of which it is known how many values of each numeric column aren't finite."""
    positive, negative = part.target == 1, part.target == 0
    strange, bad = part.rows - int(np.count_nonzero(positive)) - int(np.count_nonzero(negative)), 0
    if (weight := part.weight) is not None:
        bad = int(np.count_nonzero(~(np.isfinite(weight) & (weight >= 0))))
        positive, negative = positive & (weight > 0), negative & (weight > 0)
    return PartFacts(
        rows=part.rows,
        weighted=weight is not None,
        positives=int(np.count_nonzero(positive)),
        negatives=int(np.count_nonzero(negative)),
        strange_targets=strange,
        bad_weights=bad,
        nonfinite=tuple(map(int, nonfinite)),
    )


def merge_facts(facts: Sequence[PartFacts]) -> PartFacts:
    """The facts of all of them together; of none: zeros."""
    columns = zip(*(one.nonfinite for one in facts), strict=True)
    return PartFacts(
        rows=sum(one.rows for one in facts),
        weighted=any(one.weighted for one in facts),
        positives=sum(one.positives for one in facts),
        negatives=sum(one.negatives for one in facts),
        strange_targets=sum(one.strange_targets for one in facts),
        bad_weights=sum(one.bad_weights for one in facts),
        nonfinite=tuple(sum(column) for column in columns),
    )


def untrainable(facts: PartFacts, encoder: Encoder, task: Task = Task.BINARY) -> list[str]:
    """Findings: why no model of `task` can be fitted to such rows; [] when one can, as far as these facts tell."""
    if facts.rows == 0:
        return ["there are no rows: look at `where`, `labelled` and the policy's filters"]
    findings = []
    if task is not Task.BINARY:
        pass  # see `targets.require_numbers`
    elif facts.strange_targets:
        findings.append(f"the target is neither 0 nor 1 in {facts.strange_targets} of {facts.rows} rows")
    elif not (facts.positives and facts.negatives):
        counts = f"{facts.positives} positive and {facts.negatives} negative rows of weight above 0"
        findings.append(f"the target has one class only ({counts} of {facts.rows}); both are needed")
    if facts.bad_weights:
        findings.append(f"the weight is negative, infinite or missing in {facts.bad_weights} of {facts.rows} rows")
    for column, count in zip(encoder.numeric, facts.nonfinite, strict=False):
        if count:
            findings.append(f"feature '{column.name}' is infinite or not a number in {count} of {facts.rows} rows")
    return findings


def require_trainable(parts: PartsOnCluster) -> PartFacts:
    """The facts of all parts.

    Raises
    ------
    InvalidInput : no rows, targets that their task can't learn from, bad weights, infinite values; all at once.
    """
    facts = merge_parts(parts, part_facts, merge_facts)
    raise_untrainable(facts, parts.encoder, parts.task)
    if parts.task is Task.REGRESSION:
        require_numbers(parts)
    return facts


def raise_untrainable(facts: PartFacts, encoder: Encoder, task: Task = Task.BINARY) -> None:
    """Nothing, where rows of which these are the facts can be trained on.

    Raises
    ------
    InvalidInput : they can't, with all findings.
    """
    findings = untrainable(facts, encoder, task)
    if findings:
        raise InvalidInput("can't train: " + "; ".join(findings))


def class_factors(by_class: tuple[float, float], *, balanced: bool) -> tuple[float, float]:
    """What weights of rows of target 0 and of target 1 are multiplied by (scikit-learn's ``balanced``)."""
    if not balanced:
        return 1.0, 1.0
    negative, positive = (sum(by_class) / (2 * one) for one in by_class)
    return negative, positive
