"""Records of runs: kept with them whether they end well or badly, read again by reports, and never in a run's way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from distributed import Client

from dataops.engine.progress import Progress
from dataops.engine.work import Work
from dataops.errors import ContractViolation, Storage
from dataops.records import digest, format_time, now_utc
from dataops.runs.ledger import Ledger, Run
from dataops.runs.phases import RECORDED as EVENT
from dataops.runs.recording import SPANS, TASKS, WORKERS, read_attempts, recorded
from dataops.storage.files import PosixFiles
from dataops.storage.objects import PosixStore
from tests.datasets.examples import make_unit
from tests.engine import jobs
from tests.storage.s3_server import S3Server

UNITS = tuple(make_unit(number, number + 1) for number in range(8))
RUN = "scores-20260131t120000-1a2b3c"


class Stage:
    """A run in a storage of its own, whose work is on a real cluster."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.storage, self.said = folder / "storage", io.StringIO()
        store = PosixStore(self.storage)
        store.make_root()
        self.ledger, self.folder = Ledger(store), folder
        self.ledger.start(run(), {})
        self.client = client

    @property
    def work(self) -> Work:
        def emit(event: str, /, **fields: Any) -> None:
            self.ledger.emit(RUN, event, **fields)

        return Work(client=self.client, run=RUN, emit=emit, progress=Progress(self.said))

    @contextmanager
    def recorded(self, *, wanted: bool = True) -> Iterator[Any]:
        with recorded(self.work, self.storage.as_uri(), wanted=wanted) as keep:
            self.work.map_units("count", jobs.rows_of, jobs.Context(folder=self.folder), UNITS)
            yield keep

    @property
    def files(self) -> list[str]:
        """What lies in the run's folder beside its record and events."""
        found = (path.relative_to(self.storage / "runs" / RUN) for path in self.storage.rglob("*.parquet"))
        return sorted(path.as_posix() for path in found)

    def attempts(self) -> Any:
        return read_attempts(self.storage.as_uri(), self.ledger.state(RUN))


def run() -> Run:
    return Run(
        id=RUN, job="scores", kind="rescore", declaration={}, source="jobs.yaml", principal="ana", roles=(), inputs={},
        model=None, code={"version": "1", "digest": digest("code")}, work_digest=digest("work"),
        created_at=format_time(now_utc()),
    )  # fmt: skip


@pytest.fixture
def stage(cluster: Client, tmp_path: Path) -> Stage:
    return Stage(cluster, tmp_path)


def test_records_lie_with_the_run_and_come_back(stage: Stage) -> None:
    with stage.recorded():
        pass
    (event,) = [event for event in stage.ledger.state(RUN).events if event["event"] == EVENT]
    names = [f"recorder/{name}-{event['attempt']}.parquet" for name in ("spans", "tasks", "workers")]
    assert stage.files == names
    (attempt,), problems = stage.attempts()
    assert problems == []
    computed = [row for row in attempt.tasks.to_pylist() if row["action"] == "compute"]
    assert sum(row["rows"] for row in computed) == sum(unit.rows for unit in UNITS)
    assert {row["phase"] for row in computed} == {"count"}
    assert event["tasks"] == len(computed)
    assert attempt.seconds > 0
    assert (attempt.tasks.schema, attempt.workers.schema, attempt.spans.schema) == (TASKS, WORKERS, SPANS)
    assert {row["address"] for row in attempt.workers.to_pylist()} == set(stage.client.nthreads())


def test_a_storage_on_s3_keeps_them_too(stage: Stage, s3: S3Server) -> None:
    url = f"s3://{s3.make_bucket()}/storage"
    with recorded(stage.work, url, wanted=True):
        stage.work.map_units("count", jobs.rows_of, jobs.Context(folder=stage.folder), UNITS)
    (attempt,), problems = read_attempts(url, stage.ledger.state(RUN))
    assert (problems, stage.files) == ([], [])
    assert set(attempt.tasks["phase"].to_pylist()) == {"count"}


def test_they_are_kept_once_and_before_the_run_is_done(stage: Stage) -> None:
    with stage.recorded() as keep:
        keep()
        stage.ledger.finish(run(), {})
    events = [event["event"] for event in stage.ledger.state(RUN).events]
    assert events[-2:] == [EVENT, "run_done"]
    assert len(stage.files) == 3


def test_a_run_that_fails_keeps_them_too(stage: Stage) -> None:
    with pytest.raises(ContractViolation), stage.recorded():
        raise ContractViolation("too many rows")
    assert len(stage.files) == 3


def test_a_run_that_is_taken_up_again_has_those_of_each_attempt(stage: Stage) -> None:
    for _ in range(2):
        with stage.recorded():
            pass
    attempts, problems = stage.attempts()
    assert (len(attempts), problems, len(stage.files)) == (2, [], 6)
    assert attempts[0].ended <= attempts[1].began


def test_what_is_not_wanted_is_not_recorded(stage: Stage) -> None:
    with stage.recorded(wanted=False):
        pass
    assert stage.files == []
    assert stage.attempts() == ([], [])


def test_a_cluster_that_takes_no_recorder_is_told_of_and_works(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("dataops")

    monkeypatch.setattr(stage.client, "register_plugin", refused)
    with stage.recorded():
        pass
    assert "nothing is recorded of where the time goes" in stage.said.getvalue()
    assert stage.files == []


@pytest.mark.parametrize("name", ["tasks", "workers", "spans"])
def test_a_disk_that_is_full_fails_no_run_and_leaves_no_event(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write = PosixFiles.write

    def full(files: PosixFiles, path: str, content: Any) -> Any:
        if f"/{name}-" in path:
            raise Storage("no space left")
        return write(files, path, content)

    monkeypatch.setattr(PosixFiles, "write", full)
    with stage.recorded():
        pass
    assert "no recording of where the time went: no space left" in stage.said.getvalue()
    assert stage.attempts() == ([], [])


def test_a_second_error_does_not_hide_the_first(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise Storage("no space left")

    monkeypatch.setattr(PosixFiles, "write", full)
    with pytest.raises(ContractViolation, match="too many rows"), stage.recorded():
        raise ContractViolation("too many rows")


@pytest.mark.parametrize("damage", ["gone", "cut", "others"])
def test_records_that_were_damaged_are_told_of_and_the_others_read(stage: Stage, damage: str) -> None:
    for _ in range(2):
        with stage.recorded():
            pass
    (path,) = stage.storage.rglob(f"tasks-{_first_attempt(stage)}.parquet")
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        pq.write_table(pq.read_table(path).drop_columns(["phase"]), path)
    attempts, problems = stage.attempts()
    assert len(attempts) == 1
    assert [_first_attempt(stage) in one for one in problems] == [True]


def _first_attempt(stage: Stage) -> str:
    return next(str(one["attempt"]) for one in stage.ledger.state(RUN).events if one["event"] == EVENT)


def test_an_event_that_somebody_forged_reads_no_other_file(stage: Stage) -> None:
    with stage.recorded():
        pass
    stage.ledger.emit(
        RUN, EVENT, attempt="x/../../../../secret", began_at=format_time(now_utc()), ended_at=format_time(now_utc()),
        left_out=0,
    )  # fmt: skip
    attempts, problems = stage.attempts()
    assert (len(attempts), len(problems)) == (1, 1)
