"""Searches on a cluster: which rows trials see, what becomes of bad and failing ones, going on after a crash."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from distributed import Client

from dataops.declarations.metrics import Metric
from dataops.declarations.search import Search
from dataops.errors import AccessDenied, Compute, InvalidInput
from dataops.storage.objects import MemoryStore, Store
from dataops.training import search as searching
from dataops.training.boosting import BoostingTrainer
from dataops.training.failures import lasting
from dataops.training.fitting import Fitting
from dataops.training.groups import GROUPS
from dataops.training.logistic import LogisticTrainer
from dataops.training.parts import EncodedPart, PartsOnCluster, map_parts
from dataops.training.search import HELD_OUT, Searched, Searching
from dataops.training.search_trials import Trial, TrialEnd, TrialLog, fold
from dataops.training.sides import side_of

PENALTIES = {"l2": {"one_of": [1e-3, 1.0, 1e6]}}


@pytest.fixture
def parts(cluster: Client, place, make_part) -> PartsOnCluster:
    made = [make_part(seed, 400) for seed in range(4)]
    grouped = [replace(part, groups=(np.arange(400) % GROUPS).astype(np.uint8)) for part in made]
    placed: PartsOnCluster = place(cluster, grouped)
    return placed


@dataclass(kw_only=True)
class Watched:
    """The logistic trainer; `before` is called with the parameters before each fit, and may raise."""

    before: Callable[[Mapping[str, Any]], None] = lambda _: None
    tried: list[Any] = field(default_factory=list)
    seen: list[set[int]] = field(default_factory=list)

    def require_params(self, params: Mapping[str, Any]) -> None:
        LogisticTrainer().require_params(params)

    def fit(self, parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> tuple[str, bytes]:
        self.tried.append(params["l2"])
        self.seen.append(set().union(*map_parts(parts, _groups_of)))
        self.before(params)
        return LogisticTrainer().fit(parts, params, seed)


def _die(_part: EncodedPart, _argument: None) -> None:
    os._exit(9)  # as the kernel does where memory is short


def _groups_of(part: EncodedPart, _argument: None) -> set[int]:
    return set() if part.groups is None else set(part.groups.tolist())


def run(parts: PartsOnCluster, search: Search, trainer: Any, store: Store | None = None, **how: Any) -> Searched:
    told: list[str] = []
    given = {"params": {}, "metric": Metric.LOG_LOSS, "seed": 1, "least": 1, **how}
    log = TrialLog(store or MemoryStore(), "run", "one")
    return Searching(search=search, trainer=trainer, log=log, tell=lambda text, *_: told.append(text), **given).run(
        parts
    )


def ends(trials: Sequence[Trial]) -> list[str]:
    return [str(one.end) for one in trials]


def test_trials_learn_from_other_rows_than_they_are_judged_on(parts, monkeypatch):
    judged: list[set[int]] = []
    evaluate = searching.evaluate_on_cluster

    def watched(to_judge: PartsOnCluster, *arguments: Any, **how: Any) -> Any:
        judged.append(set().union(*map_parts(to_judge, _groups_of)))
        assert sum(to_judge.rows) == sum(map_parts(to_judge, lambda part, _: part.rows))
        return evaluate(to_judge, *arguments, **how)

    monkeypatch.setattr(searching, "evaluate_on_cluster", watched)
    trainer = Watched()
    found = run(parts, Search(method="grid", space=PENALTIES), trainer)
    assert trainer.tried == [1e-3, 1.0, 1e6]
    assert trainer.seen == [set(range(HELD_OUT, GROUPS))] * 3
    assert judged == [set(range(HELD_OUT))] * 3
    assert found.params == {"l2": found.best.params["l2"]}
    assert found.best.figure == min(one.figure for one in found.trials if one.figure is not None)
    assert found.best.params["l2"] < 1e6


def test_the_best_is_the_highest_where_more_is_better(parts):
    found = run(parts, Search(method="grid", space=PENALTIES), Watched(), metric=Metric.ROC_AUC)
    assert found.best.figure == max(one.figure for one in found.trials if one.figure is not None)


def test_a_trial_that_fails_is_kept_with_why_and_the_search_goes_on(parts):
    def fail(params: Mapping[str, Any]) -> None:
        if params["l2"] == 1.0:
            raise lasting(Compute("out of luck"))

    found = run(parts, Search(method="grid", space=PENALTIES), Watched(before=fail))
    assert ends(found.trials) == ["done", "failed", "done"]
    assert [one.why for one in found.trials] == [None, "out of luck", None]
    assert found.lineage()["trials"] == {"done": 2, "pruned": 0, "failed": 1}


def test_a_search_of_which_no_trial_comes_to_a_figure_fails_and_says_why(parts):
    def fail(_: Mapping[str, Any]) -> None:
        raise InvalidInput("never")

    with pytest.raises(Compute, match="none of 3 trials came to a figure; the last one: never"):
        run(parts, Search(method="grid", space=PENALTIES), Watched(before=fail))


def test_a_cluster_that_fails_is_not_held_against_a_trial(impatient_cluster, place, make_part):
    """A worker dies in the second trial: the run ends, and the trial is run again when it goes on."""
    made = [replace(make_part(seed, 400), groups=(np.arange(400) % GROUPS).astype(np.uint8)) for seed in range(2)]
    search, store, deaths = Search(method="grid", space=PENALTIES), MemoryStore(), [1]
    parts = place(impatient_cluster, made)

    def lose(params: Mapping[str, Any]) -> None:
        if params["l2"] == 1.0 and deaths:
            deaths.pop()
            map_parts(parts, _die)

    with pytest.raises(Compute, match="KilledWorker"):
        run(parts, search, Watched(before=lose), store)
    ended = [event["trial"] for event in TrialLog(store, "run", "one").read() if event["event"] == "ended"]
    assert ended == [0]
    impatient_cluster.wait_for_workers(2, timeout=120)
    again = Watched()
    found = run(place(impatient_cluster, made), search, again, store)
    assert again.tried == [1.0, 1e6]
    assert ends(found.trials) == ["done"] * 3


def test_what_the_policies_show_no_figures_about_ends_the_search(parts):
    """Before a figure about so few is in the journal, or a trial is fitted."""
    store, trainer = MemoryStore(), Watched()
    with pytest.raises(AccessDenied, match="the rows to judge trials on are fewer than 10000"):
        run(parts, Search(method="grid", space=PENALTIES), trainer, store, least=10_000)
    assert trainer.tried == []
    assert TrialLog(store, "run", "one").read() == []


def test_a_metric_of_fewer_rows_than_the_policies_show_figures_about_is_none_to_search_by(parts):
    with pytest.raises(
        Compute, match="lift is not a number on the rows held out, or tells of fewer than 100 rows, abou"
    ):
        run(parts, Search(method="grid", space=PENALTIES), Watched(), metric=Metric.LIFT, least=100)


def test_rows_that_are_all_held_out_to_judge_on_are_said_before_a_trial(cluster, place, make_part):
    """As of a split by time where all are of one day."""
    trainer, one_day = Watched(), replace(make_part(0, 200), groups=np.zeros(200, np.uint8))
    with pytest.raises(InvalidInput, match="search: all 200 rows are held out to judge trials on"):
        run(place(cluster, [one_day]), Search(method="grid", space=PENALTIES), trainer)
    assert trainer.tried == []


def test_no_trial_begins_once_the_time_is_over(parts):
    found = run(parts, Search(trials=5, seconds=1e-6, space={"l2": {"log": [0.1, 1]}}), Watched())
    assert len(found.trials) == 1


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_search_that_died_goes_on_with_the_trials_it_had(parts, method):
    search = Search(method=method, trials=5, space={"l2": {"log": [1e-3, 1e3]}})
    whole = Watched()
    expected = run(parts, search, whole)
    store, left = MemoryStore(), [2]

    def die(_: Mapping[str, Any]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    first, second = Watched(before=die), Watched()
    with pytest.raises(KeyboardInterrupt):
        run(parts, search, first, store)
    found = run(parts, search, second, store)
    assert first.tried + second.tried[1:] == whole.tried
    assert second.tried == whole.tried[2:]
    assert [(one.params, one.figure) for one in found.trials] == [(one.params, one.figure) for one in expected.trials]
    again = Watched()
    assert run(parts, search, again, store).best.number == expected.best.number
    assert again.tried == []


@pytest.mark.parametrize("pruner", ["asha", "hyperband"])
def test_bad_trials_of_boosting_end_early(parts, pruner):
    search = Search(
        method="grid", pruner=pruner, space={"learning_rate": {"one_of": [0.3, 0.25, 1e-4, 1e-5, 1e-6, 0.2]}}
    )
    store = MemoryStore()
    found = run(parts, search, BoostingTrainer(), store, params={"rounds": 54, "max_depth": 2})
    pruned = {one.params["learning_rate"] for one in found.trials if one.end is TrialEnd.PRUNED}
    assert pruned
    assert pruned <= {1e-4, 1e-5, 1e-6, 0.2, 0.25}
    assert found.best.params["learning_rate"] >= 0.2
    assert list(found.best.curve) == [2, 6, 18, 54]
    assert all(max(one.curve) < 54 for one in found.trials if one.end is TrialEnd.PRUNED)
    trials: dict[int, Trial] = {}
    for event in TrialLog(store, "run", "one").read():
        fold(trials, event)
    assert [one.record() for one in trials.values()] == [one.record() for one in found.trials]


def test_a_trial_stops_early_by_other_rows_than_it_is_judged_on(parts, place, cluster, make_part):
    """The targets of the rows that it is judged on turned round: it stops where it did, and is the same model."""
    params = {"rounds": 40, "learning_rate": 0.5, "early_stopping": 3}
    turned = [make_part(seed, 400) for seed in range(4)]
    groups = (np.arange(400) % GROUPS).astype(np.uint8)
    others = [
        replace(part, groups=groups, target=np.where(groups < HELD_OUT, 1 - part.target, part.target))
        for part in turned
    ]
    fitting = Fitting(held_out=HELD_OUT)
    one, other = (replace(given, fitting=replace(fitting, facts={})) for given in (parts, place(cluster, others)))
    assert BoostingTrainer().fit(one, params, 1) == BoostingTrainer().fit(other, params, 1)
    assert one.fitting.facts == other.fitting.facts
    assert one.fitting.facts["held_out_rows"] == 4 * int(((groups >= HELD_OUT) & (groups < HELD_OUT + 4)).sum())


def test_a_trial_that_has_done_its_rounds_is_not_given_up():
    search = Search(trials=1, pruner="asha", space={"learning_rate": {"log": [0.1, 1]}})
    log = TrialLog(MemoryStore(), "run", "one")
    given = {"metric": Metric.LOG_LOSS, "seed": 1, "least": 1, "log": log, "tell": lambda *_: None}
    one = Searching(search=search, trainer=BoostingTrainer(), params={"rounds": 54}, **given)
    strict, trials = SimpleNamespace(take=lambda *_: True), {}
    one._take(trials, strict, {"event": "begun", "trial": 0, "params": {"learning_rate": 0.3}})
    assert one._take(trials, strict, {"event": "reached", "trial": 0, "rounds": 18, "loss": 0.7})
    assert not one._take(trials, strict, {"event": "reached", "trial": 0, "rounds": 54, "loss": 0.7})


def test_a_boosted_trial_is_the_fit_on_the_rows_that_are_not_held_out(parts):
    """What is judged is a model that never saw the rows: the one of a fit that was given the others alone."""
    kept = side_of(parts, HELD_OUT, held_out=False)
    alone = BoostingTrainer().fit(kept, {"rounds": 5}, 1)
    held_out = replace(parts, fitting=replace(parts.fitting, held_out=HELD_OUT))
    assert BoostingTrainer().fit(held_out, {"rounds": 5}, 1) == alone
    assert BoostingTrainer().fit(parts, {"rounds": 5}, 1) != alone
