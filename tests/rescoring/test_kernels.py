"""What scores a model: measured once for a version and the code, kept by each run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest.mock import Mock, patch

import pytest

from dataops.datasets.access import GovernedInput
from dataops.datasets.units import Unit
from dataops.models.onedal import Choice
from dataops.models.predictor import BOOSTED
from dataops.rescoring import kernels
from dataops.rescoring.kernels import known_kernels, pinned_kernels, predictors
from dataops.rescoring.plan import ScorePlan
from dataops.runs.workspace import Workspace
from dataops.storage.objects import Store, open_store
from tests.rescoring.examples import make_job, make_plan, register

Pin = Callable[..., dict[str, str]]
SLOW = 1e6  # seconds a row: any number of rows is worth it


@pytest.fixture
def plan(workspace: Workspace, given: GovernedInput) -> ScorePlan:
    return make_plan(given, register(workspace, BOOSTED))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "storage"))


@pytest.fixture
def pin(workspace: Workspace, given: GovernedInput, store: Store, plan: ScorePlan) -> Pin:
    """What scores a run: ``pin(run)`` for one over all units, by the plan."""

    def pinned(run: str, *, plan: ScorePlan = plan, units: Sequence[Unit] = given.units) -> dict[str, str]:
        return dict(pinned_kernels(store, plan, units, run=run, registry=workspace.settings.registry))

    return pinned


@pytest.fixture
def choose() -> Iterator[Mock]:
    """oneDAL is there, and is chosen for whatever is measured."""
    chosen = Mock(return_value=Choice(kernel="onedal", reason="faster", row_seconds=SLOW))
    with (
        patch.object(kernels, "choose", chosen),
        patch.object(kernels, "is_installed", lambda: True),
        patch.object(kernels, "LEAST_ROWS", 1),
    ):
        yield chosen


def test_a_version_is_measured_once(pin: Pin, choose: Mock) -> None:
    assert pin("run-1") == {"": "onedal"}
    choose.return_value = Choice(kernel="xgboost", reason="a slow moment", row_seconds=SLOW)
    assert pin("run-2") == {"": "onedal"}
    assert choose.call_count == 1


def test_other_code_measures_anew(pin: Pin, choose: Mock) -> None:
    assert pin("run-1") == {"": "onedal"}
    choose.return_value = Choice(kernel="xgboost", reason="another library", row_seconds=SLOW)
    with patch.object(kernels, "code_identity", lambda: {"digest": "sha256:other"}):
        assert pin("run-1") == {"": "onedal"}
        assert pin("run-2") == {"": "xgboost"}
    assert pin("run-3") == {"": "onedal"}


def test_a_run_goes_on_as_it_began(pin: Pin, choose: Mock) -> None:
    with patch.object(kernels, "is_installed", lambda: False):
        assert pin("run-1") == {}
    assert pin("run-2") == {"": "onedal"}
    assert pin("run-1") == {}
    with patch.object(kernels, "is_installed", lambda: False):
        assert pin("run-2") == {"": "onedal"}


def test_few_rows_are_scored_by_xgboost_and_nothing_is_measured_twice(pin: Pin, choose: Mock) -> None:
    choose.return_value = Choice(kernel="onedal", reason="faster", row_seconds=1e-9)
    assert pin("run-1") == pin("run-2") == {"": "xgboost"}
    assert choose.call_count == 1


def test_few_rows_margins_and_models_without_trees_leave_no_choice(
    workspace: Workspace, given: GovernedInput, pin: Pin, choose: Mock
) -> None:
    with patch.object(kernels, "LEAST_ROWS", 10**9):
        assert pin("run-1") == {}
    margins = make_plan(given, register(workspace, BOOSTED), job=make_job(outputs=["margin"]))
    assert pin("run-2", plan=margins) == {}
    assert pin("run-3", plan=make_plan(given, register(workspace))) == {}
    assert choose.call_count == 0


def test_what_is_known_is_what_was_measured_and_leaves_nothing_behind(
    given: GovernedInput, store: Store, plan: ScorePlan, pin: Pin, choose: Mock
) -> None:
    assert known_kernels(store, plan, given.units) == {}
    assert list(store.list("kernels")) == list(store.list("plans")) == []
    assert choose.call_count == 0
    pin("run-1")
    assert known_kernels(store, plan, given.units) == {"": "onedal"}


def test_the_result_names_what_scored_each_model(workspace: Workspace, given: GovernedInput) -> None:
    boosted = register(workspace, BOOSTED)
    job = make_job(challengers={"next": boosted.version.reference})
    plan = make_plan(given, register(workspace), job=job, next=boosted)
    assert predictors(plan, {}) == {"": "linear", "next": "xgboost"}
    assert predictors(plan, {"next": "onedal"}) == {"": "linear", "next": "onedal"}
