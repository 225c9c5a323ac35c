"""What scores a model: measured once for a version, kept by each run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock, patch

import pytest

from dataops.datasets.access import GovernedInput
from dataops.models.onedal import Choice
from dataops.models.predictor import BOOSTED
from dataops.rescoring import kernels
from dataops.rescoring.kernels import pinned_kernels, predictors
from dataops.rescoring.score import ScoreContext
from dataops.runs.workspace import Workspace
from dataops.storage.objects import Store, open_store
from tests.rescoring.examples import make_context, make_job, make_plan, register


@pytest.fixture
def context(workspace: Workspace, given: GovernedInput, tmp_path: Path) -> ScoreContext:
    return make_context(workspace, given, make_plan(given, register(workspace, BOOSTED)), tmp_path / "storage")


@pytest.fixture
def store(context: ScoreContext) -> Store:
    return open_store(context.storage)


@pytest.fixture
def choose() -> Iterator[Mock]:
    """oneDAL is there, and is chosen for whatever is measured."""
    chosen = Mock(return_value=Choice(kernel="onedal", reason="faster"))
    with (
        patch.object(kernels, "choose", chosen),
        patch.object(kernels, "is_installed", lambda: True),
        patch.object(kernels, "LEAST_ROWS", 1),
    ):
        yield chosen


def test_a_version_is_measured_once(context: ScoreContext, store: Store, given: GovernedInput, choose: Mock) -> None:
    assert pinned_kernels(store, context, given.units) == {"": "onedal"}
    choose.return_value = Choice(kernel="xgboost", reason="a slow moment")
    assert pinned_kernels(store, replace(context, run="run-2"), given.units) == {"": "onedal"}
    assert choose.call_count == 1


def test_a_run_goes_on_as_it_began(context: ScoreContext, store: Store, given: GovernedInput, choose: Mock) -> None:
    assert pinned_kernels(store, context, given.units, begun=True) == {}
    assert pinned_kernels(store, replace(context, run="run-2"), given.units) == {"": "onedal"}
    assert pinned_kernels(store, context, given.units, begun=True) == {}
    with patch.object(kernels, "is_installed", lambda: False):
        assert pinned_kernels(store, replace(context, run="run-2"), given.units, begun=True) == {"": "onedal"}


def test_what_was_not_measured_decides_nothing_for_later_runs(
    context: ScoreContext, store: Store, given: GovernedInput, choose: Mock
) -> None:
    choose.return_value = Choice(kernel="xgboost", reason="too few rows", measured=False)
    assert pinned_kernels(store, context, given.units) == {}
    choose.return_value = Choice(kernel="onedal", reason="faster")
    assert pinned_kernels(store, replace(context, run="run-2"), given.units) == {"": "onedal"}
    assert pinned_kernels(store, context, given.units) == {}


def test_few_rows_margins_and_models_without_trees_leave_no_choice(
    workspace: Workspace, context: ScoreContext, store: Store, given: GovernedInput, choose: Mock
) -> None:
    with patch.object(kernels, "LEAST_ROWS", 10**9):
        assert pinned_kernels(store, context, given.units) == {}
    margins = make_plan(given, register(workspace, BOOSTED), job=make_job(outputs=["margin"]))
    assert pinned_kernels(store, replace(context, plan=margins), given.units) == {}
    linear = replace(context, plan=make_plan(given, register(workspace)), run="run-2")
    assert pinned_kernels(store, linear, given.units) == {}
    assert choose.call_count == 0


def test_the_result_names_what_scored_each_model(workspace: Workspace, given: GovernedInput) -> None:
    boosted = register(workspace, BOOSTED)
    job = make_job(challengers={"next": boosted.version.reference})
    plan = make_plan(given, register(workspace), job=job, next=boosted)
    assert predictors(plan, {}) == {"": "linear", "next": "xgboost"}
    assert predictors(plan, {"next": "onedal"}) == {"": "linear", "next": "onedal"}
