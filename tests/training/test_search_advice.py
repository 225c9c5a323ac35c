"""What is tried next, and what is given up: the same from a journal that is read again as it was live."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import pytest

from dataops.declarations.search import Search
from dataops.errors import Compute, Conflict
from dataops.storage.objects import MemoryStore
from dataops.training.search_advice import Advisor, advisor_of, rungs
from dataops.training.search_trials import BEGUN, ENDED, REACHED, Trial, TrialEnd, TrialLog, best_of, fold

SPACE = {"x": {"float": [-5, 5]}, "kind": {"one_of": [["a"], ["b"], None]}, "depth": {"int": [1, 9]}}


def loss(point: Mapping[str, Any]) -> float:
    return (point["x"] - 2) ** 2 + (point["kind"] is not None) + abs(point["depth"] - 4)


def play(advisor: Advisor, known: list[dict[str, Any]], trials: int) -> list[dict[str, Any]]:  # noqa: C901
    """The events of a search, those that are `known` first; a trial's loss falls with its rounds."""
    events = list(known)
    doomed = set()
    for event in known:
        if advisor.take(event, -(event["figure"] or 0.0) if event["event"] == ENDED else None):
            doomed.add(event["trial"])

    def add(event: str, number: int, **facts: Any) -> bool:
        events.append({"event": event, "trial": number, **facts})
        goodness = -facts["figure"] if facts.get("figure") is not None else None
        return advisor.take(events[-1], goodness)

    states: dict[int, Trial] = {}
    for event in events:
        fold(states, event)
    for number in range(trials):
        if number in states and states[number].end:
            continue
        if number not in states:
            params = advisor.propose(number)
            add(BEGUN, number, params=params)
        else:
            params = states[number].params
        pruned = number in doomed
        for step in rungs(27):
            if pruned:
                break
            if number not in states or step not in states[number].curve:
                pruned = add(REACHED, number, rounds=step, loss=loss(params) + 3 / step)
        figure = None if pruned else loss(params)
        add(ENDED, number, outcome="pruned" if pruned else "done", figure=figure, why=None, seconds=1.0)
    return events


@pytest.mark.parametrize("method", ["random", "tpe"])
@pytest.mark.parametrize("pruner", ["none", "asha", "hyperband"])
def test_a_search_that_is_taken_up_again_anywhere_comes_to_the_same_trials(method, pruner):
    search = Search(method=method, pruner=pruner, trials=14, space=SPACE)

    def advisor(seed: int = 3) -> Advisor:
        return advisor_of(search, seed=seed, rounds=27)

    whole = play(advisor(), [], 14)
    assert whole == play(advisor(), [], 14)
    assert whole != play(advisor(seed=4), [], 14)
    for died_after in range(0, len(whole), 7):
        assert play(advisor(), whole[:died_after], 14) == whole


def test_tpe_finds_better_points_than_chance():
    def best(method: str) -> float:
        search = Search(method=method, trials=40, space=SPACE)
        events = play(advisor_of(search, seed=5, rounds=None), [], 40)
        return min(event["figure"] for event in events if event["event"] == ENDED)

    assert best("tpe") < best("random")


@pytest.mark.parametrize("pruner", ["asha", "hyperband"])
def test_bad_trials_are_given_up_at_early_rungs(pruner):
    search = Search(pruner=pruner, trials=20, space=SPACE)
    events = play(advisor_of(search, seed=0, rounds=27), [], 20)
    trials: dict[int, Trial] = {}
    for event in events:
        fold(trials, event)
    pruned = [one for one in trials.values() if one.end is TrialEnd.PRUNED]
    best = best_of(trials.values(), higher_is_better=False)
    assert len(pruned) >= 8
    assert best is not None
    assert best.figure == min(loss(one.params) for one in trials.values() if one.end is TrialEnd.DONE)
    assert all(max(one.curve) < 27 for one in pruned)


def test_rungs_rise_by_threes_below_the_most_rounds():
    assert rungs(27) == [1, 3, 9]
    assert rungs(200) == [7, 21, 63]
    assert rungs(300) == [11, 33, 99]
    assert rungs(1000) == [37, 111, 333]
    assert rungs(1) == []


def test_without_optuna_only_what_needs_it_is_refused():
    with patch.dict(sys.modules, {"optuna": None}):
        advisor_of(Search(space=SPACE), seed=0, rounds=None).propose(0)
        with pytest.raises(Compute, match=r"install dataops\[search\]"):
            advisor_of(Search(method="tpe", space=SPACE), seed=0, rounds=None)


def test_of_two_who_go_on_with_one_search_one_is_told_so():
    store = MemoryStore()
    first, second = (TrialLog(store, "wealth-1", "xgboost") for _ in range(2))
    assert first.read() == second.read() == []
    first.append(BEGUN, 0, params={"x": 1.0})
    with pytest.raises(Conflict, match="another process goes on with it"):
        second.append(BEGUN, 0, params={"x": 1.0})
    assert [event["trial"] for event in second.read()] == [0]
    second.append(ENDED, 0, outcome="failed", figure=None, why="no", seconds=1.0)
    trials: dict[int, Trial] = {}
    for event in TrialLog(store, "wealth-1", "xgboost").read():
        fold(trials, event)
    assert (trials[0].end, trials[0].why) == (TrialEnd.FAILED, "no")
    assert best_of(trials.values(), higher_is_better=True) is None


def test_whoever_hears_of_trials_hears_of_those_before_it_went_on_too():
    """The page of a Dask scheduler that began after them knows them so."""
    store, heard = MemoryStore(), []
    first = TrialLog(store, "wealth-1", "xgboost")
    first.append(BEGUN, 0, params={"x": 1.0})
    first.append(ENDED, 0, outcome="done", figure=0.5, why=None, seconds=1.0)
    again = TrialLog(store, "wealth-1", "xgboost", heard=heard.append)
    again.read()
    again.append(BEGUN, 1, params={"x": 2.0})
    assert [(event["event"], event["trial"]) for event in heard] == [(BEGUN, 0), (ENDED, 0), (BEGUN, 1)]
