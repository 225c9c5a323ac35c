"""The join of scores with outcomes, over arrays: pure, in any order, exact.

1. Rows are joined by two hashes of 64 bits each of their keys: both must be equal.
2. A key that stands twice among the outcomes fails the join; one of several scored rows judges each of them.
3. What has no outcome yet is counted, and judges nothing; so is a row without a key, which nothing can be equal to.
4. Rows judge what made their scores, which needn't be one model version for all of them.
5. Versions that scored a part in one pass scored the same rows of it: what they came to is kept by who scored together,
   so that two of them can be compared on the very rows that both scored.
6. What is kept are counts, merged as they come: their size doesn't grow with the rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.datasets.receipt import Receipt
from dataops.declarations.metrics import USUAL_POINTS, Points, Task
from dataops.errors import ContractViolation
from dataops.training.evaluate import Evaluation, evaluate_scores, merge_evaluations

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Keyed:
    """Rows of one side.

    Parameters
    ----------
    keys : uint64 (2, n_rows), both hashes of each row's key.
    values : float32 (n_columns, n_rows): outcomes, or a model's predictions each.
    slices : of outcomes, a column each, of n_rows.
    receipts : of the readings that they are from.
    keyless : how many rows there are beside these that have no key.
    """

    keys: Words
    values: npt.NDArray[np.float32]
    slices: Mapping[str, pa.Array]
    receipts: tuple[Receipt, ...]
    keyless: int = 0

    @property
    def rows(self) -> int:
        """How many rows have a key."""
        return int(self.keys.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one model version came to: the rows that it `scored`, and the evaluation on those with an outcome."""

    scored: int
    evaluation: Evaluation

    @property
    def judged(self) -> int:
        """Rows that have both."""
        return self.evaluation.overall.rows

    def with_rows(self, other: Measured | None) -> Measured:
        """Both together."""
        if other is None:
            return self
        merged = merge_evaluations([self.evaluation, other.evaluation])
        return Measured(scored=self.scored + other.scored, evaluation=merged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What the join came to so far.

    Attributes
    ----------
    scored, outcomes, judged : rows with a score, with a known outcome, with both.
    scored_keyless, outcomes_keyless : those of `scored` and `outcomes` that have no key.
    together : what each model version came to, by whatever `join` was told to call it, for each company that scored
        parts in one pass.
    """

    scored: int = 0
    outcomes: int = 0
    judged: int = 0
    scored_keyless: int = 0
    outcomes_keyless: int = 0
    together: Mapping[frozenset[Hashable], Mapping[Hashable, Measured]] = field(default_factory=dict)

    @property
    def models(self) -> dict[Hashable, Measured]:
        """What each model version came to, whoever scored beside it."""
        models: dict[Hashable, Measured] = {}
        for company in self.together.values():
            models = _merged(models, company)
        return models

    def with_share(self, other: Joined) -> Joined:
        """Both together."""
        return Joined(
            scored=self.scored + other.scored,
            outcomes=self.outcomes + other.outcomes,
            judged=self.judged + other.judged,
            scored_keyless=self.scored_keyless + other.scored_keyless,
            outcomes_keyless=self.outcomes_keyless + other.outcomes_keyless,
            together={
                company: _merged(self.together.get(company, {}), other.together.get(company, {}))
                for company in {**self.together, **other.together}
            },
        )


def _merged(ours: Mapping[Hashable, Measured], theirs: Mapping[Hashable, Measured]) -> dict[Hashable, Measured]:
    return {**ours, **{model: found.with_rows(ours.get(model)) for model, found in theirs.items()}}


def join(
    outcomes: Sequence[Keyed],
    scored: Sequence[Keyed],
    *,
    models: Sequence[Sequence[Hashable]],
    task: Task = Task.BINARY,
    points: Points = USUAL_POINTS,
) -> Joined:
    """One share of both sides, joined.

    Parameters
    ----------
    models : of each of `scored`, what gave its rows of values; None for values that nobody gave.
    task : of the models.
    points : that metrics will be taken at.

    Raises
    ------
    ContractViolation : a key stands twice among the outcomes.
    """
    known = _concatenated(outcomes)
    order = np.lexsort((known.keys[1], known.keys[0]))
    keys = known.keys[:, order]
    _require_unique(keys)
    judged, together = 0, dict[frozenset[Hashable], dict[Hashable, Measured]]()
    for part, made_by in zip(scored, models, strict=True):
        places, found = _find(keys, part.keys)
        at = order[places[found]]
        judged += int(found.sum())
        target = known.values[0, at]
        slices = {name: values.take(pa.array(at)) for name, values in known.slices.items()}
        measured = together.setdefault(frozenset(made_by) - {None}, {})
        for values, model in zip(part.values, made_by, strict=True):
            if model is not None:
                evaluation = evaluate_scores(values[found], target, slices, task=task, points=points)
                one = Measured(scored=part.rows + part.keyless, evaluation=evaluation)
                measured[model] = one.with_rows(measured.get(model))
    scored_keyless, outcomes_keyless = (sum(part.keyless for part in side) for side in (scored, outcomes))
    return Joined(
        scored=sum(part.rows for part in scored) + scored_keyless,
        outcomes=known.rows + outcomes_keyless,
        judged=judged,
        scored_keyless=scored_keyless,
        outcomes_keyless=outcomes_keyless,
        together=together,
    )


def _concatenated(parts: Sequence[Keyed]) -> Keyed:
    names = dict.fromkeys(name for part in parts for name in part.slices)
    return Keyed(
        keys=np.concatenate([np.empty((2, 0), np.uint64), *(part.keys for part in parts)], axis=1),
        values=np.concatenate([np.empty((1, 0), np.float32), *(part.values for part in parts)], axis=1),
        slices={name: pa.concat_arrays([part.slices[name] for part in parts]) for name in names},
        receipts=(),
    )


def _require_unique(keys: Words) -> None:
    """Nothing, if no two of the sorted `keys` are equal."""
    twice = int(np.count_nonzero((keys[:, 1:] == keys[:, :-1]).all(axis=0)))
    if twice:
        raise ContractViolation(
            f"{twice} outcomes have a key that another one has too; whose outcome it is can't be told. Name more "
            "columns under key, or keep one outcome for each"
        )


def _find(keys: Words, wanted: Words) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Where each of `wanted` stands among the sorted `keys`, and whether it does."""
    places = np.searchsorted(keys[0], wanted[0])
    found = np.zeros(len(places), np.bool_)
    looking = np.arange(len(places))
    while len(looking):  # a second round only where first words are equal and second ones aren't
        looking = looking[places[looking] < keys.shape[1]]
        looking = looking[keys[0, places[looking]] == wanted[0, looking]]
        hit = keys[1, places[looking]] == wanted[1, looking]
        found[looking[hit]] = True
        looking = looking[~hit]
        places[looking] += 1
    return places, found
