"""Forks: a child answers at once, looks by itself, and stands in nobody's way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataops.features.encoder import Encoded
from dataops.models.native import load_native
from tests.compat.writing import HERE
from tests.runtime.examples import ROWS, expected, make_registry, opened, promote, register, wait_until

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    registry = make_registry(tmp_path / "models")
    for number in (1, 2):
        register(registry, float(number))
    promote(registry, 1)
    return tmp_path / "models"


def in_child(work: Callable[[], None]) -> Callable[[], int]:
    """Forks; the child does `work`. What is returned waits for the child, and gives 0 where all went well."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_answers_and_follows_the_alias_by_itself(models: Path) -> None:
    with opened(models, every=0.05) as model:
        model.predict(ROWS)

        def serve() -> None:
            assert np.allclose(model.predict(ROWS), expected(1.0), atol=1e-6)
            wait_until(lambda: model.version.version == 2)
            assert np.allclose(model.predict(ROWS), expected(2.0), atol=1e-6)

        wait = in_child(serve)
        promote(make_registry(models), 2)
        assert wait() == 0
        wait_until(lambda: model.version.version == 2)


def test_a_fork_in_the_middle_of_a_look_does_not_hang(models: Path) -> None:
    with opened(models) as model:
        with model._looking, model._starting:  # as if the watcher held them

            def serve() -> None:
                model.refresh()
                assert np.allclose(model.predict(ROWS), expected(1.0), atol=1e-6)

            wait = in_child(serve)
        assert wait() == 0


def test_a_closed_handle_stays_closed_in_a_child(models: Path) -> None:
    with opened(models, every=0.05) as model:
        pass

    def serve() -> None:
        model.predict(ROWS)
        assert "dataops-income@champion" not in {thread.name for thread in threading.enumerate()}

    assert in_child(serve)() == 0


def test_each_process_beats_under_a_name_of_its_own(models: Path) -> None:
    folder = models / "income/heartbeats"
    with opened(models, every=0.05, app="shop") as model:
        wait_until(lambda: len(list(folder.rglob("*.json"))) == 1)
        go, wrote = os.pipe()

        def serve() -> None:
            model.predict(ROWS)
            os.read(go, 1)

        wait = in_child(serve)
        wait_until(lambda: len({path.name.split("-")[0] for path in folder.rglob("*.json")}) == 2)
        os.write(wrote, b".")
        assert wait() == 0


def test_trees_are_scored_in_a_child_after_they_were_scored_in_its_parent() -> None:
    model = load_native((HERE / "xgboost-ubj-1.ubj").read_bytes())
    if model is None:
        pytest.skip("XGBoost's library lies elsewhere here")
    rows = Encoded.of(numeric=np.ones((5000, 2), np.float32), codes=np.ones((5000, 2), np.int32))
    want = model.predict(rows).tolist()

    def score() -> None:
        assert model is not None
        assert model.predict(rows).tolist() == want

    assert [in_child(score)() for _ in range(3)] == [0, 0, 0]
