"""Searching for a trainer's parameters: trials on the rows to learn from, judged on a share of these, never on others.

1. Whole groups of rows (`dataops.training.groups`) are held out of all trials, the same ones for every trial, trainer
   and cluster. Each trial is judged on them by the search's metric.
2. A trial has the whole cluster, and trials go one after another: what is tried next may depend on all before it.
3. A trial that fails is kept with why, and the search goes on. Only where none came to a figure the search fails.
4. Every step is in the trials' journal before the next begins (`search_trials`): a run that died goes on from there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dataops.declarations.metrics import Metric
from dataops.declarations.search import Search
from dataops.errors import Compute, InvalidInput
from dataops.records import Record, new_nonce
from dataops.training.boosting_ranks import held_out_rows
from dataops.training.evaluate import evaluate_on_cluster
from dataops.training.fitting import Fitting, Rounds
from dataops.training.parts import EncodedPart, PartsOnCluster, Stored, held, map_parts
from dataops.training.search_advice import Advisor, advisor_of, require_optuna, rungs
from dataops.training.search_space import require_space
from dataops.training.search_trials import BEGUN, ENDED, REACHED, Trial, TrialEnd, TrialLog, best_of, fold
from dataops.training.spilled import spill_part
from dataops.training.trainers import Trainer

HELD_OUT = 6
"""Groups that trials don't learn from: of 32, so 19 percent of the rows."""

_BY_ROW = ("target", "weight", "groups", "ranks")

Tell = Callable[[str, int, int], None]


class _Pruned(Exception):  # not ours to tell: it ends a fit from within
    """The trial isn't worth its rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What a search came to.

    Attributes
    ----------
    params : the trainer's, with those of the best trial.
    """

    params: Mapping[str, Any]
    search: Search
    metric: Metric
    seed: int
    best: Trial
    trials: tuple[Trial, ...]

    def lineage(self) -> Record:
        """What a version's lineage says of it."""
        ends = [one.end for one in self.trials]
        return {
            "space": {name: {key: list(of) for key, of in one.items()} for name, one in self.search.space.items()},
            "method": self.search.method,
            "pruner": self.search.pruner,
            "metric": self.metric.value,
            "trials": {end.value: ends.count(end) for end in TrialEnd},
            "best": self.best.number,
            "figure": self.best.figure,
            "seed": self.seed,
            "held_out_groups": HELD_OUT,
        }

    def record(self) -> Record:
        """What a run's result says of it: every trial, too."""
        trials = [one.record() for one in self.trials]
        return {"metric": self.metric.value, "best": self.best.number, "trials": trials}


def require_search(search: Search, trainer: Trainer, name: str, params: Mapping[str, Any]) -> None:
    """Nothing, if `trainer` called `name` can be searched so beside its other `params`.

    Raises
    ------
    InvalidInput : with every finding about the space; a pruner for a trainer without rounds, or without their number.
    Compute : Optuna is needed and isn't installed here.
    """
    if search.needs_optuna:
        require_optuna()
    require_space(trainer, params, search.dimensions)
    if search.pruner == "none":
        return
    if not holds_out(trainer):
        raise InvalidInput(f"search: pruner: trainer {name} doesn't tell how it does by rounds; leave it out")
    if "rounds" not in params and "rounds" not in search.space:
        raise InvalidInput("search: pruner: say `rounds` in params or space, by whose number trials are compared")


def holds_out(trainer: Trainer) -> bool:
    """Whether `trainer` takes all rows, keeps from those held out by itself, and tells its loss on them by round."""
    return bool(getattr(trainer, "holds_out", False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Searching:
    """A search on its way.

    Attributes
    ----------
    params : the trainer's, apart from those that are searched for.
    least : rows that a figure is about at least.
    quantile : that of a quantile loss.
    log : the trials' journal.
    tell : hears how far it came: in words, trials done, of how many.
    """

    search: Search
    trainer: Trainer
    params: Mapping[str, Any]
    metric: Metric
    seed: int
    least: int
    log: TrialLog
    tell: Tell
    quantile: float = 0.5

    def run(self, parts: PartsOnCluster) -> Searched:
        """The best parameters for `parts`, whose rows have their groups.

        Raises
        ------
        Compute : no trial came to a figure.
        InvalidInput : there are too few rows to hold any out.
        AccessDenied : there are fewer rows to judge on than the policies show figures about.
        Conflict : another process goes on with this search.
        """
        advisor = advisor_of(self.search, seed=self.seed, rounds=self._most_rounds())
        trials, doomed = self._resumed(advisor)
        to_fit, to_judge = self._sides(parts)
        for number in range(self.search.most_trials):
            if number not in trials:
                if self._is_over(trials):
                    break
                self._take(trials, advisor, self.log.append(BEGUN, number, params=advisor.propose(number)))
            if trials[number].end is None:
                self._try(trials, advisor, number, to_fit, to_judge, pruned=number in doomed)
            self._say(trials)
        return self._searched(trials)

    def _resumed(self, advisor: Advisor) -> tuple[dict[int, Trial], set[int]]:
        """The trials that there are, and those that were given up, if nobody wrote it down."""
        trials: dict[int, Trial] = {}
        doomed = {event["trial"] for event in self.log.read() if self._take(trials, advisor, event)}
        return trials, doomed

    def _take(self, trials: dict[int, Trial], advisor: Advisor, event: Mapping[str, Any]) -> bool:
        """Learn of an event; whether its trial isn't worth going on with."""
        trial = fold(trials, event)
        return advisor.take(event, self._goodness(trial))

    def _goodness(self, trial: Trial) -> float | None:
        if trial.figure is None:
            return None
        return trial.figure if self.metric.higher_is_better else -trial.figure

    def _is_over(self, trials: Mapping[int, Trial]) -> bool:
        spent = sum(one.seconds for one in trials.values())
        return self.search.seconds is not None and spent >= self.search.seconds

    def _try(
        self,
        trials: dict[int, Trial],
        advisor: Advisor,
        number: int,
        to_fit: PartsOnCluster,
        to_judge: PartsOnCluster,
        *,
        pruned: bool,
    ) -> None:
        """The trial of that number, to its end."""
        started, trial = time.monotonic(), trials[number]
        end, figure, why = TrialEnd.PRUNED, None, None

        def reached(rounds: Rounds) -> None:
            for step in self._steps(rounds):
                if step not in trial.curve and step <= len(rounds.losses):
                    loss = _finite(rounds.losses[step - 1], "the loss")
                    if self._take(trials, advisor, self.log.append(REACHED, number, rounds=step, loss=loss)):
                        raise _Pruned

        try:
            if not pruned:
                figure = self._figure(trial, to_fit, to_judge, reached)
                end = TrialEnd.DONE
        except _Pruned:
            pass
        except (InvalidInput, Compute) as error:
            end, why = TrialEnd.FAILED, str(error)
        seconds = round(time.monotonic() - started, 3)
        event = self.log.append(ENDED, number, outcome=end.value, figure=figure, why=why, seconds=seconds)
        self._take(trials, advisor, event)

    def _figure(
        self, trial: Trial, to_fit: PartsOnCluster, to_judge: PartsOnCluster, reached: Callable[[Rounds], None]
    ) -> float:
        fitting = replace(to_fit.fitting, rounds=reached, facts={})
        params = {**self.params, **trial.params}
        fitted = self.trainer.fit(replace(to_fit, fitting=fitting), params, self.seed)
        judged = evaluate_on_cluster(
            to_judge, *fitted, (self.metric,), min_group_size=self.least, quantile=self.quantile
        )
        return _finite(judged["overall"][self.metric], str(self.metric))

    def _steps(self, rounds: Rounds) -> list[int]:
        return [*rungs(self._most_rounds() or rounds.of), rounds.of]

    def _most_rounds(self) -> int | None:
        """The most rounds that a trial has; None where that isn't said."""
        for dimension in self.search.dimensions:
            if dimension.name == "rounds":
                return int(max(dimension.values))
        return self.params.get("rounds") if holds_out(self.trainer) else None

    def _sides(self, parts: PartsOnCluster) -> tuple[PartsOnCluster, PartsOnCluster]:
        """The rows to learn from, and those to judge on; a trainer that holds rows out by itself is given all."""
        to_judge = _side(parts, held_out=True)
        if not sum(to_judge.rows):
            raise InvalidInput(f"search: of {sum(parts.rows)} rows none is held out to judge trials on; give more rows")
        if holds_out(self.trainer):
            return replace(parts, fitting=replace(parts.fitting, last_use=False, held_out=HELD_OUT)), to_judge
        return replace(_side(parts, held_out=False), fitting=Fitting()), to_judge

    def _say(self, trials: Mapping[int, Trial]) -> None:
        best = best_of(trials.values(), higher_is_better=self.metric.higher_is_better)
        told = "" if best is None else f", best {self.metric} {best.figure:.4f}"
        count, most = len(trials), self.search.most_trials
        self.tell(f"{count:,} of {most:,} trials{told}", count, most)

    def _searched(self, trials: Mapping[int, Trial]) -> Searched:
        best = best_of(trials.values(), higher_is_better=self.metric.higher_is_better)
        if best is None:
            why = next((one.why for one in reversed([*trials.values()]) if one.why), "all were given up early")
            raise Compute(f"search: none of {len(trials)} trials came to a figure; the last one: {why}")
        return Searched(
            params={**self.params, **best.params},
            search=self.search,
            metric=self.metric,
            seed=self.seed,
            best=best,
            trials=tuple(trials[number] for number in sorted(trials)),
        )


def _finite(value: float | None, what: str) -> float:
    if value is None or not math.isfinite(value):
        raise Compute(f"{what} is not a number")
    return float(value)


def _side(parts: PartsOnCluster, *, held_out: bool) -> PartsOnCluster:
    """The rows of `parts` that are (or aren't) held out, each part where it lies."""
    name = f"{'judge' if held_out else 'fit'}-trials-{new_nonce()}"
    futures = tuple(
        parts.client.submit(_of_side, future, held_out, key=f"{name}-{unit}", pure=False)
        for unit, future in enumerate(parts.futures)
    )
    rows = map_parts(replace(parts, futures=futures), _rows)
    return replace(parts, futures=futures, rows=tuple(rows))


def _rows(part: EncodedPart, _argument: None = None) -> int:
    return part.rows


def _of_side(given: EncodedPart | Stored, held_out: bool) -> EncodedPart | Stored:  # noqa: FBT001  # a task's argument
    part = held(given)
    chosen = np.flatnonzero(held_out_rows(part, HELD_OUT) == held_out)
    by_row = {name: getattr(part, name, None) for name in _BY_ROW}
    taken = {name: values[chosen] for name, values in by_row.items() if values is not None}
    side = replace(part, encoded=part.encoded.of_rows(chosen), slices={}, **taken)
    return side if isinstance(given, EncodedPart) else spill_part(side)
