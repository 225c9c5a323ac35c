"""Searching for a trainer's parameters: trials on the rows to learn from, judged on a share of these, never on others.

1. Whole groups of rows (`dataops.training.groups`) are held out of all trials, the same ones for every trial, trainer
   and cluster. Each trial is judged on them by the search's metric.
2. A trial has the whole cluster, and trials go one after another: what is tried next may depend on all before it.
3. A trial that its rows and parameters can't be fitted with is kept with why, and the search goes on. Only where none
   came to a figure the search fails. A cluster that fails ends the run, and the trial is run again when it goes on.
4. Every step is in the trials' journal before the next begins (`search_trials`): a run that died goes on from there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dataops.declarations.metrics import USUAL_POINTS, Metric, Points
from dataops.declarations.search import Search
from dataops.errors import AccessDenied, Compute, InvalidInput
from dataops.records import Record
from dataops.training.evaluate import evaluate_on_cluster
from dataops.training.failures import lasting
from dataops.training.fitting import Fitting, Rounds
from dataops.training.parts import PartsOnCluster
from dataops.training.search_advice import Advisor, advisor_of, require_optuna, rungs
from dataops.training.search_space import require_space
from dataops.training.search_trials import BEGUN, ENDED, REACHED, Trial, TrialEnd, TrialLog, best_of, fold
from dataops.training.sides import side_of
from dataops.training.trainers import Trainer

HELD_OUT = 6
"""Groups that trials don't learn from: of 32, so 19 percent of the rows."""

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
    points : that its metric is taken at.
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
    points: Points = USUAL_POINTS

    def run(self, parts: PartsOnCluster) -> Searched:
        """The best parameters for `parts`, whose rows have their groups.

        Raises
        ------
        Compute : no trial came to a figure, or the cluster failed.
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
        """Learn of an event; whether its trial isn't worth going on with, which one that is done is."""
        trial = fold(trials, event)
        is_bad = advisor.take(event, self._goodness(trial))
        return is_bad and not (event["event"] == REACHED and self._is_done(trial, event["rounds"]))

    def _is_done(self, trial: Trial, rounds: int) -> bool:
        of: int | None = {**self.params, **trial.params}.get("rounds")
        return of is not None and rounds >= of

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
            if error.may_pass:  # it says something of the cluster and nothing of the trial, which is run again
                raise
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
        judged = evaluate_on_cluster(to_judge, *fitted, (self.metric,), min_group_size=self.least, points=self.points)
        if (figure := judged["overall"].get(self.metric)) is None and self.metric.point and self.least > 1:
            why = f"or tells of fewer than {self.least} rows, about which the policies show no figures"
            raise lasting(Compute(f"{self.metric} is not a number on the rows held out, {why}"))
        return _finite(figure, str(self.metric))

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
        to_judge = side_of(parts, HELD_OUT, held_out=True, name="judge-trials")
        if not sum(to_judge.rows):
            raise InvalidInput(f"search: of {sum(parts.rows)} rows none is held out to judge trials on; give more rows")
        if sum(to_judge.rows) < self.least:  # said before a loss of theirs is in the journal
            raise AccessDenied(
                f"search: the rows to judge trials on are fewer than {self.least}, and the policies show no figures "
                "about so few"
            )
        if holds_out(self.trainer):
            fitting = replace(parts.fitting, last_use=False, held_out=HELD_OUT, least=self.least)
            return replace(parts, fitting=fitting), to_judge
        to_fit = side_of(parts, HELD_OUT, held_out=False, name="fit-trials")
        if not sum(to_fit.rows):
            raise InvalidInput(
                f"search: all {sum(parts.rows)} rows are held out to judge trials on. Rows of one key, or of one day "
                "or hour where the split goes by time, stay together: give rows of more of them, or leave search out"
            )
        return replace(to_fit, fitting=Fitting(least=self.least)), to_judge

    def _say(self, trials: Mapping[int, Trial]) -> None:
        best = best_of(trials.values(), higher_is_better=self.metric.higher_is_better)
        told = "" if best is None else f", best {self.metric} {best.figure:.4f}"
        count, most = len(trials), self.search.most_trials
        self.tell(f"{count:,} of {most:,} trials{told}", count, most)

    def _searched(self, trials: Mapping[int, Trial]) -> Searched:
        best = best_of(trials.values(), higher_is_better=self.metric.higher_is_better)
        if best is None:
            why = next((one.why for one in reversed([*trials.values()]) if one.why), "all were given up early")
            raise lasting(Compute(f"search: none of {len(trials)} trials came to a figure; the last one: {why}"))
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
        raise lasting(Compute(f"{what} is not a number"))
    return float(value)
