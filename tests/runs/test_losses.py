"""A cluster that is lost as a whole: another one is tried, a few times, and only where that may help."""

from __future__ import annotations

import pytest

from dataops.errors import Compute, ContractViolation
from dataops.runs.losses import PAUSES_SECONDS, Attempts, on_clusters


class Play:
    """Clusters that are lost, or don't start, in the order of `acts`; then one that lasts."""

    def __init__(self, *acts: str) -> None:
        self.acts, self.slept, self.told = list(acts), list[float](), list[str]()

    def run(self) -> str:
        return on_clusters(self._do, lambda error, _: self.told.append(str(error)), sleep=self.slept.append)

    def _do(self, attempts: Attempts) -> str:
        act = self.acts.pop(0) if self.acts else "lasts"
        attempts.met = act != "no start"
        if act == "lasts":
            return "done"
        if act == "broken contract":
            raise ContractViolation(act)
        error = Compute(act)
        error.cluster_lost = act == "lost"
        raise error


def test_another_cluster_does_what_is_missing() -> None:
    play = Play("lost", "lost")
    assert play.run() == "done"
    assert play.told == ["lost", "lost"]
    assert play.slept == list(PAUSES_SECONDS[:2])


def test_after_a_few_clusters_the_error_is_told() -> None:
    play = Play(*["lost"] * 9)
    with pytest.raises(Compute, match="lost") as caught:
        play.run()
    assert len(play.told) == len(PAUSES_SECONDS)
    assert caught.value.__notes__ == ["3 clusters were tried after the first one was lost."]


def test_a_cluster_that_does_not_start_is_a_loss_only_after_another_one() -> None:
    with pytest.raises(Compute, match="no start"):
        Play("no start").run()
    play = Play("lost", "no start")
    assert play.run() == "done"
    assert play.told == ["lost", "no start"]


@pytest.mark.parametrize("act", ["a unit that kills workers", "broken contract"])
def test_what_no_other_cluster_mends_is_told_at_once(act: str) -> None:
    for acts in ([act], ["lost", act]):
        with pytest.raises((Compute, ContractViolation), match=act):
            Play(*acts).run()
