"""Rounds of boosting, whichever library trains them: how many, early stopping, going on after a lost worker.

1. ``early_stopping: n`` ends a fit when the loss on the rows held out hasn't fallen for `n` rounds, and keeps the
   rounds up to its least. Rows are held out by their group (`dataops.training.groups`): the same ones for every cluster
   and trainer. They are of the rows to learn from; those that a model is judged on aren't known here.
2. Rounds are trained for `CHUNK_SECONDS` at a time; how many that are changes nothing of the model.
3. A fit that loses workers goes on from the last model that came to the driver; it is given up after `ATTEMPTS` losses
   without a round between them.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dataops.errors import Compute, InvalidInput
from dataops.training.boosting_gang import Gang, WorkersLost
from dataops.training.boosting_library import BALANCED, Library
from dataops.training.boosting_ranks import Advance, HeldOut, Order
from dataops.training.boosting_rows import Sums, place_rows, sums_by_unit, workers_in_order
from dataops.training.failures import cluster_failures
from dataops.training.fitting import Rounds
from dataops.training.parts import PartsOnCluster
from dataops.training.targets import require_numbers
from dataops.training.trainable import require_trainable

if TYPE_CHECKING:
    from distributed import Client

ATTEMPTS = 3
WORKER_TIMEOUT_SECONDS, RETURN_SECONDS = 120, 30
CHUNK_SECONDS = 4.0
KEPT_BYTES, KEPT_SECONDS = 16 * 2**20, 60.0
"""A model so far comes to the driver with each chunk; one of as many bytes only so often."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Trained:
    """How far a fit came.

    Attributes
    ----------
    model, saved : the last model that came to the driver, and after how many rounds.
    losses : on the rows held out after each round.
    """

    model: bytes | None = None
    saved: int = 0
    rounds: int = 0
    losses: list[float] = field(default_factory=list)

    @property
    def best(self) -> int:
        """After how many rounds the loss was least; all of them where none was held out."""
        return 1 + int(np.argmin(self.losses)) if self.losses else self.rounds

    def take(self, results: Sequence[Advance], *, saved: bool) -> None:
        """Add what the ranks tell of some rounds; `saved`: also the model that they came to."""
        self.rounds += results[0].rounds
        weights = np.array([result.weights[1] for result in results])
        if results[0].held_out:
            losses = np.array([result.held_out for result in results])  # (n_ranks, n_rounds)
            weighed = np.where(weights[:, None] > 0, losses, 0) * weights[:, None]
            self.losses.extend((weighed.sum(axis=0) / weights.sum()).tolist())
        if saved:
            self.model, self.saved = results[0].model, self.rounds

    def back_to_saved(self) -> None:
        """Forget what came after the last model."""
        self.rounds = self.saved
        del self.losses[self.saved :]


def boost(library: Library, parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> bytes:
    """The trained model's bytes; what is worth keeping of the fit goes to ``parts.fitting.facts``.

    Raises
    ------
    InvalidInput : wrong parameters, or rows that can't be trained on.
    Compute : it doesn't fit in memory, the library failed, or workers were lost again and again.
    """
    values = library.parse(params)
    given = library.params(values, parts.encoder, seed)
    facts, started = require_trainable(parts), time.monotonic()
    if values.get("objective") == "poisson" and require_numbers(parts).least < 0:
        raise InvalidInput("can't train: some targets are below 0, which the objective poisson doesn't take")
    groups = _held_out(library.groups(values), parts.fitting.held_out)
    sums = sums_by_unit(parts, groups, library.name)
    metric = library.metric[values.get("objective")]
    order = _order(values, given, sums, metric=metric, groups=groups, weighted=facts.weighted)
    fit = Fit(library=library, parts=parts, values=values, order=order, sums=sums, started=started)
    trained = fit.run()
    kept = trained.best if values["early_stopping"] else trained.rounds
    parts.fitting.facts.update(_facts(values, trained, kept, fit))
    if trained.model is None or trained.saved < kept:
        raise Compute(f"{library.name} kept {trained.saved} rounds of {kept}: a fault of dataops, please report it")
    return trained.model if kept == trained.saved else library.cut(trained.model, kept)


def _held_out(stopping: int, judging: int) -> HeldOut:
    """Of a trial that stops early, groups of its own for it: the loss on those that it is judged on would be the least
    that it had by chance.
    """
    return HeldOut(count=stopping, before=judging) if stopping else HeldOut(count=judging)


def _order(
    values: Mapping[str, Any], given: dict[str, Any], sums: Sums, *, metric: str, groups: HeldOut, weighted: bool
) -> Order:
    """What every rank is told."""
    negative_rows, positive_rows, negatives, positives = sums.sum(axis=0)[0].tolist()
    rows, class_weights = negative_rows + positive_rows, None
    if values.get("scale_pos_weight"):
        asked = values["scale_pos_weight"]
        given = {**given, "scale_pos_weight": negatives / positives if asked == BALANCED else asked}
    if values.get("class_weight"):
        class_weights = (rows / (2 * negatives), rows / (2 * positives))
    elif weighted:
        class_weights = (rows / (negatives + positives), rows / (negatives + positives))
    return Order(params=given, metric=metric, held_out=groups, class_weights=class_weights, saved=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One fit, from its first worker to its last.

    Attributes
    ----------
    values : the trainer's parameters.
    sums : of each unit; see `boosting_rows.sums_by_unit`.
    started : by the monotonic clock.
    """

    library: Library
    parts: PartsOnCluster
    values: Mapping[str, Any]
    order: Order
    sums: Sums
    started: float

    @property
    def is_told(self) -> bool:
        """Whether the rows that the loss is about are as many as the policies show figures about."""
        return self.rows_told >= self.parts.fitting.least

    @property
    def rows_told(self) -> int:
        """Rows that the loss is about."""
        return int(self.sums[:, int(bool(self.order.held_out)), :2].sum())

    def run(self) -> Trained:
        """All rounds, however many workers it takes."""
        trained, attempt, fit = Trained(), 1, self
        workers = len(self.parts.client.nthreads())
        while True:
            before = trained.saved
            try:
                fit.run_once(trained)
            except WorkersLost as lost:
                trained.back_to_saved()
                attempt = 1 if trained.saved > before else attempt
                _log.warning(
                    "%s: %d workers lost in attempt %d of %d, after round %d",
                    *(self.library.name, lost.count, attempt, ATTEMPTS, trained.saved),
                )
            else:
                return trained
            if attempt == ATTEMPTS:
                raise Compute(
                    f"{self.library.name} lost workers in each of {ATTEMPTS} attempts; look at the workers' memory "
                    "limit and logs"
                )
            attempt += 1
            _wait_for_others(self.parts.client, workers)
            fit = replace(fit, parts=_made_again(fit.parts))

    def run_once(self, trained: Trained) -> None:
        """Rounds until there are enough; `trained` tells how far it came, also when workers are lost."""
        library, parts = self.library, self.parts
        _wait_for_workers(parts.client, 1, WORKER_TIMEOUT_SECONDS)
        weighted, releases = self.order.class_weights is not None, _releases(parts)
        how = {"weighted": weighted, "shared": not releases, "copied": parts.fitting.copied}
        library.require_room(parts.client, parts.rows, parts.encoder, self.values, **how)
        gang = Gang(
            parts=parts,
            placed=place_rows(self.sums, parts.rows, workers_in_order(parts.client)),
            name=library.name,
            kind=library.rank,
            meet=library.meet,
            order=replace(self.order, saved=trained.model),
        )
        began, rows = time.monotonic(), sum(parts.rows)
        with gang:
            parts.fitting.say(f"  {library.name}: {rows:,} rows quantised in {time.monotonic() - began:.1f} s")
            if releases:
                gang.release_parts()
            self._go_on(gang, trained)

    def _go_on(self, gang: Gang, trained: Trained) -> None:
        n_rounds, count, saved_at = self.values["rounds"], 1, time.monotonic()
        most = self.values["early_stopping"] or n_rounds
        while not _enough(trained, self.values):
            count = min(count, most, n_rounds - trained.rounds)
            began = time.monotonic()
            small = len(trained.model or b"") < KEPT_BYTES
            save = small or count == n_rounds - trained.rounds or began - saved_at > KEPT_SECONDS
            results = gang.advance(count, save=save)
            trained.take(results, saved=save)
            took = time.monotonic() - began
            saved_at = time.monotonic() if save else saved_at
            self._tell(trained, results)
            if results[0].rounds < count:  # no tree gains anything any more
                break
            count = max(1, round(count * min(CHUNK_SECONDS / max(took, 1e-3), 8)))
        if trained.saved < trained.rounds:  # a large model didn't come with the last chunk
            trained.model, trained.saved = gang.advance(0, save=True)[0].model, trained.rounds

    def _tell(self, trained: Trained, results: Sequence[Advance]) -> None:
        loss = (trained.losses[-1] if trained.losses else _mean_loss(results)) if self.is_told else None
        rounds = Rounds(
            done=trained.rounds,
            of=self.values["rounds"],
            loss=loss,
            held_out=bool(trained.losses),
            losses=tuple(trained.losses) if self.is_told else (),
            seconds=time.monotonic() - self.started,
        )
        self.parts.fitting.rounds(rounds)


def _mean_loss(results: Sequence[Advance]) -> float:
    total = math.fsum(result.weights[0] for result in results)
    return math.fsum((result.loss or 0.0) * result.weights[0] for result in results) / total


def _enough(trained: Trained, values: Mapping[str, Any]) -> bool:
    patience = values["early_stopping"]
    return trained.rounds >= values["rounds"] or bool(patience and trained.rounds - trained.best >= patience)


def _releases(parts: PartsOnCluster) -> bool:
    """Whether the parts are released once they are quantised: where they can be made again, if a worker is lost."""
    return parts.fitting.last_use and parts.fitting.again is not None


def _wait_for_others(client: Client, workers: int) -> None:
    """Wait for as many workers as there were: a nanny starts a lost one again. What is there then has to do."""
    with suppress(TimeoutError):
        client.wait_for_workers(workers, timeout=RETURN_SECONDS)
    _wait_for_workers(client, 1, WORKER_TIMEOUT_SECONDS)


def _wait_for_workers(client: Client, workers: int, seconds: float) -> None:
    with cluster_failures(f"waiting {seconds:.0f} seconds for a worker"):
        client.wait_for_workers(workers, timeout=seconds)


def _made_again(parts: PartsOnCluster) -> PartsOnCluster:
    """`parts`, those that were released made anew."""
    if not any(future.cancelled() or future.status == "cancelled" for future in parts.futures):
        return parts
    if parts.fitting.again is None:
        raise Compute("the parts are released, and nobody makes them anew")
    return replace(parts, futures=parts.fitting.again())


def _facts(values: Mapping[str, Any], trained: Trained, kept: int, fit: Fit) -> dict[str, Any]:
    """What a version's lineage says of the fit; nothing about fewer rows than the policies show figures about."""
    found: dict[str, Any] = {"rounds": kept}
    if values["early_stopping"]:
        found["rounds_trained"] = trained.rounds
        if fit.is_told:
            found |= {"held_out_rows": fit.rows_told, "held_out_loss": trained.losses[kept - 1]}
    return found
