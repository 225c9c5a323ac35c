"""``dataops job compare``: two runs on record, one of them on a cluster that was slower."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataops.engine.noted import Recorded, Sample, SeenWorker, SpanFigure, TaskPart
from dataops.engine.progress import Progress
from dataops.records import digest
from dataops.runs.ledger import Run
from dataops.runs.recording import _keep
from dataops.runs.workspace import open_workspace
from dataops.storage.files import open_files
from tests.cli.conftest import Call

FAST, SLOW, OLD = (f"scores-2026013{day}t120000-1a2b3c" for day in (0, 1, 2))
LOST = "scores-20260203t120000-1a2b3c"
SECRET = "wage > 4711"


def noted(score_seconds: float, left_out: int = 0) -> Recorded:
    """Two workers that each took three tasks of the phase, and what of more was too much to be kept."""
    parts = [
        TaskPart(n, 0, n % 2, "compute", 1000.0 + (n // 2) * score_seconds / 3,
                 1000.0 + (n // 2 + 1) * score_seconds / 3, 5000, 100, 10, False)
        for n in range(6)
    ]  # fmt: skip
    samples = [Sample(1000.0 + at, worker, 10**9, 0, 95.0, 1) for at in range(int(score_seconds)) for worker in (0, 1)]
    return Recorded(
        began=999.0,
        ended=1001.0 + score_seconds,
        phases=["score"],
        workers=[SeenWorker(f"tcp://127.0.0.1:400{n}", 1, 2 * 10**9) for n in (0, 1)],
        tasks=parts,
        samples=samples,
        spans=[SpanFigure("score", "execute", "thread-cpu", "seconds", 2 * score_seconds)],
        left_out=left_out,
        sample_seconds=1,
    )


def put(
    run: str,
    seconds: float,
    *,
    recorded: bool = True,
    snapshot: int = 1,
    where: str = "wage > 0",
    lost: str | None = None,
    left_out: int = 0,
) -> None:
    """A run that is done, in the workspace of the folder that the test stands in.

    Parameters
    ----------
    seconds : of the phase `score`, and as much again where half of it was done when its cluster or driver was `lost`.
    """
    opened = open_workspace(None)
    given = {
        "dataset": "people", "snapshot": snapshot, "rows": 30_000, "units": 6,
        "grant": {
            "effect": {"digest": digest("effect"), "filters": []}, "policy_digest": digest("policy"),
            "purpose": "score", "zone": "production", "decisions": [],
        },
    }  # fmt: skip
    made = Run(
        id=run, job="scores", kind="rescore", declaration={"job": "rescore", "name": "scores", "where": where},
        source="jobs/people.yaml", principal="ana", roles=(), inputs={"input": given},
        model={"model": "wealth", "version": 1, "digest": digest("model")},
        code={"version": "1", "digest": digest("code")}, work_digest=digest(run),
        created_at="2026-01-31T12:00:00.000000Z",
    )  # fmt: skip
    ledger = opened.ledger
    ledger.start(made, {})

    def emit(event: str, /, **fields: Any) -> None:
        ledger.emit(run, event, **fields)

    emit("run_started", principal="ana", code=digest("code"))
    emit("cluster_ready", workers=2, threads=1)
    if lost is not None:
        emit("phase_started", phase="score", units=12, rows=60_000)
    if lost == "cluster":
        emit("phase_ended", phase="score", outcome="failed", seconds=seconds)
        emit("cluster_lost", message="the Dask scheduler is gone", seconds=1.0)
    if lost == "driver":
        emit("run_resumed", principal="ana", code=digest("code"))
    emit("phase_started", phase="score", units=6, rows=30_000)
    emit("phase_ended", phase="score", outcome="done", seconds=seconds)
    emit("phase_started", phase="publish", units=0, rows=0)
    emit("phase_ended", phase="publish", outcome="done", seconds=0.2)
    if recorded:
        work: Any = SimpleNamespace(run=run, emit=emit, progress=Progress(io.StringIO()))
        _keep(work, open_files(opened.settings.storage), lambda: noted(seconds, left_out))
    ledger.finish(made, {})


@pytest.fixture
def runs(workspace: Path) -> Path:
    put(FAST, 12.0)
    put(SLOW, 24.0, snapshot=2, where=SECRET)
    put(OLD, 12.0, recorded=False)
    return workspace


def test_what_differs_comes_first_then_the_phases_then_what_got_slower(runs: Path, dataops: Call) -> None:
    called = dataops("job", "compare", FAST, SLOW)
    assert called.code == 0
    places = [called.out.index(text) for text in ("not the same", "snapshot 2", "seconds A", "got slower")]
    assert places == sorted(places)
    assert called.out.splitlines()[-1] == (
        "'score' got slower: 2.00 times as long (12.0 s, then 24.0 s); its tasks took 2.00 times the processor time."
    )
    assert "1.0 GB" in called.out
    assert SECRET not in called.out


def test_the_same_as_json(runs: Path, dataops: Call) -> None:
    record = dataops("job", "compare", FAST, SLOW, "--json").json
    assert {one["what"] for one in record["differences"]} == {"declaration: where", "input"}
    score, publish = record["phases"]
    assert (score["phase"], score["verdict"], score["ratio"]) == ("score", "slower", 2.0)
    assert (score["a"]["rows"], score["a"]["tasks"], score["a"]["rows_per_second"]) == (30_000, 6, 2500.0)
    assert (score["b"]["cores"], score["b"]["peak_memory"], score["b"]["busy"]) == (1.9, 10**9, 1.0)
    assert (publish["verdict"], publish["a"]["tasks"]) == ("same", None)
    assert (record["a"]["run"], record["b"]["seconds"]) == (FAST, 24.2)


def test_a_run_that_was_not_recorded_is_compared_by_its_times(runs: Path, dataops: Call) -> None:
    called = dataops("job", "compare", OLD, SLOW)
    assert "'score' got slower: 2.00 times as long (12.0 s, then 24.0 s)." in called.out
    same = dataops("job", "compare", FAST, OLD)
    assert same.out.splitlines()[-1] == "Nothing got slower or faster beyond noise (10 percent and 0.5 seconds)."
    assert same.code == 0


def test_a_run_beside_itself_differs_in_nothing(runs: Path, dataops: Call) -> None:
    assert "both did the same, on the same data" in dataops("job", "compare", FAST, FAST).out


@pytest.mark.parametrize("lost", ["cluster", "driver"])
def test_a_run_that_lost_its_cluster_or_its_driver_is_as_fast_as_the_same_run_without(
    runs: Path, dataops: Call, lost: str
) -> None:
    put(LOST, 12.0, lost=lost)
    record = dataops("job", "compare", FAST, LOST, "--json").json
    score = record["phases"][0]
    assert (score["verdict"], score["ratio"]) == ("same", 1.0)
    assert score["b"]["rows_per_second"] == score["a"]["rows_per_second"] == 2500.0
    assert {one["what"]: (one["a"], one["b"]) for one in record["differences"]} == {"attempts": ("1", "2")}
    page = Path(dataops("job", "report", LOST).out.strip()).read_text(encoding="utf-8")
    assert ("Of an attempt there is no recording" in page) is (lost == "cluster")


def test_of_a_recording_that_lacks_an_attempt_no_reason_is_made(runs: Path, dataops: Call) -> None:
    put(LOST, 30.0, lost="cluster")
    called = dataops("job", "compare", FAST, LOST)
    assert called.out.splitlines()[-1] == (
        "'score' got slower: 2.50 times as long a row (12.0 s, then 1 min 0 s in 2 attempts)."
    )
    score = dataops("job", "compare", FAST, LOST, "--json").json["phases"][0]["b"]
    assert (score["rows"], score["attempts"]) == (60_000, 2)
    assert [score[name] for name in ("tasks", "busy_seconds", "cpu_seconds", "busy")] == [None] * 4
    assert (score["cores"], score["peak_memory"]) == (1.9, 10**9)


def test_a_recording_that_left_out_tasks_gives_the_runs_own_rows_and_no_reason(runs: Path, dataops: Call) -> None:
    put(LOST, 24.0, left_out=6)
    called = dataops("job", "compare", FAST, LOST)
    assert called.out.splitlines()[-1] == "'score' got slower: 2.00 times as long (12.0 s, then 24.0 s)."


def test_noise_can_be_told(runs: Path, dataops: Call) -> None:
    assert "Nothing got slower" in dataops("job", "compare", FAST, SLOW, "--noise", "150").out
    assert dataops("job", "compare", FAST, SLOW, "--noise", "-1").code == 2


def test_an_unknown_run_is_named_with_the_near_match(runs: Path, dataops: Call) -> None:
    called = dataops("job", "compare", FAST, SLOW[:-1] + "d", "--json")
    assert called.code == 3
    assert SLOW in called.json["error"]["message"]


@pytest.mark.parametrize("nullable", [True, False], ids=["nothing", "another age of the world"])
def test_a_recording_that_holds_anything_else_stops_neither_report_nor_comparison(
    runs: Path, dataops: Call, nullable: bool
) -> None:
    (path,) = (runs / "storage" / "runs" / SLOW / "recorder").glob("tasks-*.parquet")
    table = pq.read_table(path)
    place = table.schema.get_field_index("began_at")
    field = table.schema.field("began_at").with_nullable(nullable)
    others = pa.nulls(len(table), field.type) if nullable else pa.array([2**62] * len(table), field.type)
    pq.write_table(table.set_column(place, field, others), path)
    page = Path(dataops("job", "report", SLOW).out.strip()).read_text(encoding="utf-8")
    assert "can&#39;t be" in page
    assert "What each worker did" not in page
    assert "What each worker did" in Path(dataops("job", "report", FAST).out.strip()).read_text(encoding="utf-8")
    called = dataops("job", "compare", FAST, SLOW)
    assert called.code == 0
    assert "2.00 times as long (12.0 s, then 24.0 s)." in called.out
