"""What a benchmark leaves: everything where it is invalid, asked for, or far away; else results and the page."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataops.bench import run
from dataops.bench.results import Check, read_results
from dataops.bench.sizes import size_of
from dataops.engine.progress import Progress
from tests.bench.sample import a_result

MISSED = Check(name="ROC AUC, xgboost", found="0.5", asked="at least 0.75", holds=False)


@pytest.mark.parametrize(
    ("keep", "storage", "missed", "stays"),
    [
        (False, None, False, False),
        (True, None, False, True),
        (False, "file:///far", False, True),
        (False, None, True, True),
    ],
)
def test_only_a_valid_run_that_nobody_wants_to_keep_is_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool, storage: str | None, missed: bool, stays: bool
) -> None:
    result = replace(a_result(), checks=(MISSED,)) if missed else a_result()

    def measured(place: Any, *_: Any, **__: Any) -> Any:
        (place.folder / "storage").mkdir()
        return result

    monkeypatch.setattr(run, "_measured", measured)
    place, found = run.run_bench(
        tmp_path / "bench",
        size_of(0.001, 0),
        cluster=None,
        storage=storage,
        workers=None,
        streams=2,
        keep=keep,
        progress=Progress(io.StringIO(), quiet=True),
    )
    assert found == result
    assert read_results(place.results) == ([result], 0)
    assert place.page.read_text().startswith("<!DOCTYPE html>")
    assert (place.folder / "storage").exists() is stays
