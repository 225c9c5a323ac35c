"""Who says what a search tries next, and which trial isn't worth its rounds.

1. Points of a grid and random ones need no library. TPE and the pruners are Optuna's, in memory: all that it knows of a
   search is told to it from the trials' journal, live and after a crash in the same order, so it gives the same advice.
2. What chance Optuna takes is seeded anew by the search's seed and the trial's number.
3. Losses are told at fixed rounds (`rungs`), never at those where a report happened to come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from dataops.declarations.search import Dimension, Scale, Search
from dataops.errors import Compute
from dataops.training.search_space import grid_point, random_point
from dataops.training.search_trials import BEGUN, REACHED, TrialEnd

REDUCTION = 3
"""Of trials that came to a rung, one in so many goes on."""
RUNGS = 3
"""At 1/27, 1/9 and 1/3 of the most rounds; a trial that has done more has little left to save."""


class Advisor(Protocol):
    """Knows the trials so far."""

    def propose(self, number: int) -> dict[str, Any]:
        """The point that the trial of that number tries."""

    def take(self, event: Mapping[str, Any], goodness: float | None = None) -> bool:
        """Learn of an event of the journal; whether its trial isn't worth going on with.

        Parameters
        ----------
        goodness : of the figure that a trial ended with: more is better.
        """


def advisor_of(search: Search, *, seed: int, rounds: int | None) -> Advisor:
    """The advisor of a search.

    Parameters
    ----------
    rounds : the most that a trial trains; None where its trainer doesn't go by rounds.

    Raises
    ------
    Compute : Optuna isn't installed here.
    """
    plain = PlainAdvisor(search=search, seed=seed)
    if not search.needs_optuna:
        return plain
    require_optuna()
    return OptunaAdvisor(search=search, seed=seed, plain=plain, rounds=rounds)


def require_optuna() -> None:
    """Nothing, if Optuna is there.

    Raises
    ------
    Compute : it isn't.
    """
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError:
        raise Compute("search: optuna isn't installed here: install dataops[search]") from None


def rungs(rounds: int) -> list[int]:
    """The rounds after which trials of at most `rounds` rounds are compared, rising."""
    least = max(1, rounds // REDUCTION**RUNGS)
    steps = [least * REDUCTION**place for place in range(RUNGS)]
    return [step for step in steps if step < rounds]


class PlainAdvisor:
    """A grid or random points."""

    def __init__(self, *, search: Search, seed: int) -> None:
        self._grid, self._seed, self._space = search.method == "grid", seed, search.dimensions

    def propose(self, number: int) -> dict[str, Any]:
        """The point of that number."""
        return grid_point(self._space, number) if self._grid else random_point(self._space, self._seed, number)

    def take(self, event: Mapping[str, Any], goodness: float | None = None) -> bool:
        """Nothing is learned."""
        del event, goodness
        return False


class OptunaAdvisor:
    """Optuna's TPE sampler (or points that need none of it) with a pruner of its own."""

    def __init__(self, *, search: Search, seed: int, plain: Advisor, rounds: int | None) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna, self._seed, self._space = optuna, seed, search.dimensions
        self._plain = None if search.method == "tpe" else plain
        self._study = optuna.create_study(study_name="search", pruner=_pruner(search.pruner, rounds))
        self._trials: dict[int, Any] = {}

    def propose(self, number: int) -> dict[str, Any]:
        """The point that TPE samples, or the one that it isn't asked for."""
        if self._plain is not None:
            return self._plain.propose(number)
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
        self._trials[number] = self._study.ask(self._distributions())
        return _from_optuna(self._space, self._trials[number].params)

    def take(self, event: Mapping[str, Any], goodness: float | None = None) -> bool:
        """Tell Optuna of it."""
        number = event["trial"]
        if event["event"] == BEGUN:
            if number not in self._trials:
                self._study.enqueue_trial(_to_optuna(self._space, event["params"]))
                self._trials[number] = self._study.ask(self._distributions())
            return False
        trial = self._trials[number]
        if event["event"] == REACHED:
            trial.report(event["loss"], event["rounds"])
            return bool(trial.should_prune())
        states, end = self._optuna.trial.TrialState, TrialEnd(event["outcome"])
        if end is TrialEnd.DONE and goodness is not None:
            self._study.tell(trial, -goodness)
        else:
            self._study.tell(trial, state=states.PRUNED if end is TrialEnd.PRUNED else states.FAIL)
        return False

    def _distributions(self) -> dict[str, Any]:
        return {one.name: _distribution(self._optuna, one) for one in self._space}


def _pruner(name: str, rounds: int | None) -> Any:
    """The least rung has 1 of 27 rounds: a trial that is bad from the start costs little."""
    import optuna

    if name == "none" or rounds is None:
        return optuna.pruners.NopPruner()
    steps = rungs(rounds) or [1]
    if name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=steps[0], reduction_factor=REDUCTION)
    return optuna.pruners.HyperbandPruner(min_resource=steps[0], max_resource=rounds, reduction_factor=REDUCTION)


def _distribution(optuna: Any, one: Dimension) -> Any:
    if one.scale is Scale.ONE_OF:  # by place: a value may be a list, or no number or text
        return optuna.distributions.CategoricalDistribution(range(len(one.values)))
    if one.scale is Scale.INT:
        return optuna.distributions.IntDistribution(*one.values)
    return optuna.distributions.FloatDistribution(*map(float, one.values), log=one.scale is Scale.LOG)


def _from_optuna(space: Sequence[Dimension], params: Mapping[str, Any]) -> dict[str, Any]:
    return {one.name: one.values[params[one.name]] if one.scale is Scale.ONE_OF else params[one.name] for one in space}


def _to_optuna(space: Sequence[Dimension], params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        one.name: one.values.index(params[one.name]) if one.scale is Scale.ONE_OF else params[one.name] for one in space
    }
