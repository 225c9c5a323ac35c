"""Rescoring: what fails a whole run."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataops.datasets.access import GovernedInput
from dataops.errors import ContractViolation
from dataops.rescoring.run import _require_error_rate
from dataops.rescoring.score import score_unit
from dataops.runs.workspace import Workspace
from tests.rescoring.examples import make_context, make_job, make_plan, register


class TestErrorRate:
    def test_beyond_what_is_allowed_fails_by_counts(
        self, workspace: Workspace, given: GovernedInput, tmp_path: Path
    ) -> None:
        context = make_context(workspace, given, make_plan(given, register(workspace)), tmp_path)
        records = [score_unit(context, unit) for unit in given.units]
        _require_error_rate(make_job(errors={"max_rate": 0.2}), given, records)
        _require_error_rate(make_job(), given, [])
        with pytest.raises(ContractViolation, match=r"40 of \d+ rows of 'people_new' were quarantined"):
            _require_error_rate(make_job(), given, records)
