"""A run under an id that somebody else chose: begun, gone on with, taken; whoever does it twice comes to one run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from dataops.datasets.snapshot import read_snapshot
from dataops.declarations.jobs import find_job
from dataops.errors import AccessDenied, Conflict, InvalidInput
from dataops.runs.execute import Outcome
from dataops.runs.ledger import Ledger, State
from dataops.runs.named import run_under
from tests.line.people import give_roles
from tests.runs.offline import JOBS, SCORES, Offline, dying
from tests.storage.faulty import Crash

RUN = f"{SCORES}-20260131t120000-1a2b3c"


@pytest.fixture(scope="module")
def unscored(tmp_path_factory: pytest.TempPathFactory) -> Offline:
    return Offline.make(tmp_path_factory.mktemp("named") / "people", files=3)


@pytest.fixture
def town(unscored: Offline, tmp_path: Path) -> Offline:
    return unscored.copied(tmp_path)


def run(town: Offline, run_id: str | None = RUN, job: str = SCORES) -> Outcome:
    declared = find_job(town.folder / JOBS, job)
    with town.working() as given:
        return run_under(town.workspace, declared.job, run_id, source=declared.document.source, **given())


def events(town: Offline) -> list[str]:
    return [event["event"] for event in town.workspace.ledger.state(RUN).events]


def test_is_begun_where_there_is_none(town: Offline) -> None:
    outcome = run(town)
    assert (outcome.state.run.id, outcome.state.state, outcome.skipped) == (RUN, State.DONE, False)
    assert town.runs() == [RUN]


def test_is_taken_where_it_is_done(town: Offline) -> None:
    first = run(town)
    audited = len(list(town.workspace.audit.entries()))
    again = run(town)
    assert again.state == first.state
    assert (again.skipped, again.report) == (False, first.report)
    assert len(list(town.workspace.audit.entries())) == audited
    assert "is done already" in town.said.getvalue()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 3, 4, 5])
def test_is_gone_on_with_where_it_died(town: Offline, at: int, after: bool) -> None:
    with dying(at=at, after=after), pytest.raises(Crash):
        run(town)
    outcome = run(town)
    assert outcome.state.state is State.DONE
    assert town.runs() == [RUN]
    assert events(town).count("run_resumed") == 1
    assert town.findings() == ()
    snapshot = read_snapshot(town.workspace.store, SCORES)
    assert snapshot is not None
    assert [manifest.run for manifest in snapshot.manifests] == [RUN]


def test_what_an_earlier_run_did_is_not_done_again(town: Offline) -> None:
    earlier = town.run().state.run.id
    outcome = run(town)
    assert (outcome.skipped, outcome.state.run.id) == (True, earlier)
    assert town.workspace.ledger.find(RUN) is None


def test_without_an_id_is_a_new_one(town: Offline) -> None:
    assert run(town, None).state.run.id != RUN


@pytest.mark.parametrize(
    "run_id", ["people_ready-20260131t120000-1a2b3c", SCORES, f"{SCORES}-now-1a2b3c", f"../{RUN}", f"{RUN}\n", ""]
)
def test_is_refused_under_an_id_that_is_none_of_its_job(town: Offline, run_id: str) -> None:
    with pytest.raises(InvalidInput, match=f"can't be a run of job '{SCORES}'"):
        run(town, run_id)
    assert town.runs() == []


class TestTwoAtOnce:
    """What the second process finds, when it had looked before the first one put its record."""

    def test_the_second_takes_what_the_first_one_did(self, town: Offline) -> None:
        first, find = run(town), Ledger.find
        looks = iter([None])

        def find_late(ledger: Ledger, run_id: str) -> Any:
            return next(looks, find(ledger, run_id))

        with (
            patch.object(Ledger, "find", find_late),
            patch("dataops.runs.execute._is_current", lambda *_: False),  # it had looked before that too
        ):
            assert run(town).state == first.state
        assert town.runs() == [RUN]

    def test_one_that_froze_other_units_and_began_nothing_makes_it_try_another_id(self, town: Offline) -> None:
        start, started = Ledger.start, []

        def die_before_the_record(ledger: Ledger, given: Any, plans: Any) -> None:
            started.append(given.id)
            with patch.object(type(ledger._store), "put_if_absent", _only_plans(ledger._store.put_if_absent)):
                start(ledger, given, {name: units[:1] for name, units in plans.items()})

        with patch.object(Ledger, "start", die_before_the_record), pytest.raises(Crash):
            run(town)
        with pytest.raises(Conflict, match="other units were frozen") as refused:
            run(town)
        assert refused.value.may_pass
        assert town.runs() == []
        assert run(town, f"{RUN[:-1]}d").state.state is State.DONE


def _only_plans(put: Callable[[str, bytes], bool]) -> Callable[..., bool]:
    def put_plan(_: object, key: str, data: bytes) -> bool:
        if not key.startswith("plans/"):
            raise Crash
        return put(key, data)

    return put_plan


class TestOneThatCannotGoOn:
    @pytest.fixture
    def died(self, town: Offline) -> Offline:
        with dying(at=3), pytest.raises(Crash):
            run(town)
        return town

    def test_says_that_it_may_go_well_under_another_id(self, died: Offline) -> None:
        died.change("policies/people.yaml", "age >= 18", "age >= 21")
        with pytest.raises(Conflict, match="can't go on, another one may be begun") as refused:
            run(died)
        assert refused.value.may_pass
        assert events(died).count("run_resumed") == 0
        assert run(died, f"{RUN[:-1]}d").state.state is State.DONE

    def test_is_refused_under_another_id_for_the_reason_of_today(self, died: Offline) -> None:
        """A right that was revoked since then."""
        give_roles(died.folder, "intern")
        with pytest.raises(Conflict, match="can't go on"):
            run(died)
        with pytest.raises(AccessDenied):
            run(died, f"{RUN[:-1]}d")
