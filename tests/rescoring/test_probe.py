"""Units that kill: the rows that do are found in processes that die instead of the worker; they alone are missing."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord
from dataops.datasets.quarantine import QUARANTINE_FOLDER
from dataops.errors import AccessDenied, Compute, ContractViolation
from dataops.rescoring import probe
from dataops.rescoring.probe import LENGTH_BYTES, Told, probe_unit
from dataops.rescoring.score import ScoreContext, score_unit
from dataops.runs.workspace import Workspace, open_workspace
from tests.datasets.examples import open_one
from tests.line.people import ROWS_PER_FILE, make_workspace
from tests.rescoring.examples import make_context, make_plan, read_part, register
from tests.rescoring.poison import REASONS, poison_processes, poison_rows

DEADLINE_SECONDS = 60.0
IMPATIENT = (
    "from dataops.rescoring import prober as p; "
    "p.ATTEMPT_SECONDS = p.LEAST_SECONDS = 1.0; p.SILENT_SECONDS = {}; p.main()"
)
GIB = 1 << 30


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A town of one file, whose poisoned rows do nothing to this process."""
    poison_processes(monkeypatch)
    return open_workspace(str(make_workspace(tmp_path / "town", files=1)), {})


def poisoned(town: Workspace, rows: Mapping[int, str]) -> tuple[GovernedInput, ScoreContext]:
    """The town with those `rows`, and what scores it below ``out``."""
    poison_rows(town.settings.workspace / "data" / "people_new" / "part-000.parquet", rows)
    given = open_one(town, "people_new", "score")
    out = town.settings.workspace / "out"
    return given, make_context(town, given, make_plan(given, register(town)), out)


def error_rows(context: ScoreContext, record: UnitRecord) -> list[dict[str, object]]:
    assert record.errors is not None
    rows: list[dict[str, object]] = pq.read_table(
        Path(context.storage) / "datasets/scores" / record.errors.path
    ).to_pylist()
    return rows


class TestRowsThatKill:
    def test_are_all_that_is_missing(self, town: Workspace) -> None:
        rows = {3: "kills", 4: "crashes", 171: "aborts", 377: "raises", 398: "kills"}
        given, context = poisoned(town, rows)
        record = probe_unit(context, given.units[0])
        assert record.failed == {"SIGABRT": 1, "SIGKILL": 2, "SIGSEGV": 1, "TypeError": 1}
        failed = [one for one in error_rows(context, record) if not str(one["reason"]).startswith("rule:")]
        assert {one["row"]: one["reason"] for one in failed} == {row: REASONS[deed] for row, deed in rows.items()}
        # this process scores all rows without harm: what was left out is what was told, and nothing else
        whole = replace(context, storage=str(town.settings.workspace / "whole"))
        keys = {one["person_id"] for one in failed}
        expected = [
            row
            for row in read_part(Path(whole.storage), score_unit(whole, given.units[0])).to_pylist()
            if row["person_id"] not in keys
        ]
        assert read_part(Path(context.storage), record).to_pylist() == expected
        assert record.receipt.failed == len(rows) == len(keys)
        assert record.receipt.passed == len(expected)
        assert record.receipt.read == ROWS_PER_FILE
        for row in failed:
            assert row.keys() == {"row", "unit", "reason", "person_id"}
            assert row["unit"] == given.units[0].id
            assert "secret" not in str(row["person_id"])

    def test_no_module_is_taken_from_the_folder_of_the_worker(
        self, town: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given, context = poisoned(town, {9: "kills"})
        (tmp_path / "here").mkdir()
        for name in ("numpy.py", "pyarrow.py"):
            (tmp_path / "here" / name).write_text("raise SystemExit('taken from here')")
        monkeypatch.chdir(tmp_path / "here")
        assert probe_unit(context, given.units[0]).failed == {"SIGKILL": 1}

    def test_leave_no_value_behind(self, town: Workspace) -> None:
        given, context = poisoned(town, {9: "raises"})
        record = probe_unit(context, given.units[0])
        assert record.failed == {"TypeError": 1}
        for path in Path(context.storage).rglob("*"):
            assert "secret" not in path.name
            if path.is_file() and QUARANTINE_FOLDER not in path.parts:
                text = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else path.read_text()
                assert not re.search(r"CANARY|diagnosis|secret|\b7006\b", text)  # hex digits of a digest may hold it

    def test_are_found_in_what_the_worker_scores_dictionaries_too(self, town: Workspace) -> None:
        given, context = poisoned(town, {9: "kills dictionaries"})
        record = probe_unit(context, given.units[0])
        assert record.failed == {"SIGKILL": 1}

    def test_are_none_that_only_take_long_since_the_machine_is_busy(
        self, town: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(probe, "COMMAND", (*probe.COMMAND[:1], "-c", IMPATIENT.format(DEADLINE_SECONDS)))
        given, context = poisoned(town, {9: "dawdles"})
        assert probe_unit(context, given.units[0]).failed == {}

    def test_hang_or_need_more_memory_than_a_worker_has(self, town: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probe, "COMMAND", (*probe.COMMAND[:1], "-c", IMPATIENT.format(DEADLINE_SECONDS)))
        monkeypatch.setattr(probe, "_memory_limit", lambda: 2 * GIB)
        given, context = poisoned(town, {7: "hangs", 200: "fills"})
        record = probe_unit(context, given.units[0])
        assert record.failed == {"MemoryError": 1, "TimeoutError": 1}

    def test_more_than_the_run_may_set_aside_fail_it(self, town: Workspace) -> None:
        given, context = poisoned(town, {9: "kills", 10: "kills"})
        with pytest.raises(
            ContractViolation, match=r"row 9 of part-000.parquet can't be scored \(SIGKILL\), and 1 more"
        ):
            probe_unit(replace(context, most_failed=1), given.units[0])
        assert not Path(context.storage).exists()


class TestAUnitThatKills:
    def test_for_no_row_of_its_own_fails(self, town: Workspace) -> None:
        given, context = poisoned(town, {9: "kills together"})
        with pytest.raises(
            Compute, match=r"u000000 \(part-000.parquet\) kills its workers: SIGKILL while its rows were"
        ):
            probe_unit(context, given.units[0])
        assert not Path(context.storage).exists()

    def test_and_says_nothing_for_long_fails(self, town: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probe, "COMMAND", (*probe.COMMAND[:1], "-c", IMPATIENT.format(4.0)))
        given, context = poisoned(town, {9: "waits"})
        with pytest.raises(Compute, match=r"no answer for 4 seconds while its"):
            probe_unit(context, given.units[0])
        assert not Path(context.storage).exists()

    def test_and_may_not_be_read_any_more_is_refused(self, town: Workspace) -> None:
        given, context = poisoned(town, {9: "kills"})
        ended = replace(context, source=replace(context.source, expires_at="2020-01-31T12:00:00.000000Z"))
        with pytest.raises(AccessDenied, match="ended at 2020"):
            probe_unit(ended, given.units[0])
        assert not Path(context.storage).exists()

    def test_that_was_only_beside_one_that_kills_is_whole(self, town: Workspace) -> None:
        given, context = poisoned(town, {})
        record = probe_unit(context, given.units[0])
        assert record.failed == {}
        assert record == replace(score_unit(context, given.units[0]))

    def test_before_it_is_read_fails(self, town: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        given, context = poisoned(town, {})
        monkeypatch.setattr(probe, "COMMAND", (*probe.COMMAND[:1], "-c", "import os; os.abort()"))
        with pytest.raises(Compute, match=r"a process that reads it ended \(-6\) before any row was scored"):
            probe_unit(context, given.units[0])
        assert not Path(context.storage).exists()


def test_a_prober_and_its_runner_end_with_the_worker_that_asked(town: Workspace) -> None:
    given, context = poisoned(town, {9: "hangs"})
    payload = pickle.dumps(Told(context=context, unit=given.units[0], memory_bytes=None))
    alive, held = os.pipe()  # the write end goes to the prober and its runner, and is closed when both have ended
    with subprocess.Popen(
        probe.COMMAND,
        env=probe._environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=(held,),
    ) as prober:
        os.close(held)
        assert prober.stdin is not None
        prober.stdin.write(len(payload).to_bytes(LENGTH_BYTES, "big") + payload)
        prober.stdin.close()
        assert prober.wait(DEADLINE_SECONDS) == 0
    with os.fdopen(alive, "rb") as pipe:
        assert pipe.read() == b""
