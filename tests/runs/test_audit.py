"""Whatever ends a run, and however often: each reading has one result for each intent, and nothing looks forged."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest

from dataops.errors import Storage
from dataops.governance.audit import verify_audit
from dataops.runs import execute
from dataops.runs.ledger import Ledger
from tests.line.running import Line


def outcomes(town: Line) -> list[str]:
    return [entry.body["outcome"] for entry in town.workspace.audit.entries() if entry.body["event"] == "result"]


def test_a_run_that_fails_after_its_result_has_no_second_one(town: Line) -> None:
    with patch.object(Ledger, "finish", side_effect=Storage("full")), pytest.raises(Storage):
        town.run("people_ready")
    assert (outcomes(town), verify_audit(town.workspace.audit)) == (["done"], [])
    (run,) = town.workspace.ledger.ids()
    town.resume(run)
    assert (outcomes(town), verify_audit(town.workspace.audit)) == (["done", "done"], [])


def test_a_result_that_was_perhaps_written_is_not_written_again(town: Line) -> None:
    def write_and_lose_the_reply(*given: Any, **named: Any) -> None:
        record_result(*given, **named)
        raise Storage("no reply")

    record_result = execute.record_result
    with patch.object(execute, "record_result", write_and_lose_the_reply), pytest.raises(Storage):
        town.run("people_ready")
    assert (outcomes(town), verify_audit(town.workspace.audit)) == (["done"], [])


def test_a_driver_that_was_thought_dead_has_no_result_after_the_one_that_took_over(town: Line) -> None:
    publish = execute.run_prepare
    resumed: list[str] = []

    def slow(*given: Any, **named: Any) -> Any:
        if not resumed:
            resumed.extend(town.workspace.ledger.ids())
            town.resume(resumed[0])
        return publish(*given, **named)

    with patch.object(execute, "run_prepare", slow):
        town.run("people_ready")
    assert (outcomes(town), verify_audit(town.workspace.audit)) == (["done"], [])
