"""The records of a run: taken from the Dask scheduler when the work ends, well or badly, and kept with the run.

1. They never fail a run: where they can't be noted, taken or written, the run says so in a line and goes on.
2. Each attempt at a run writes files of its own, then the event that names it; without that event they are none. Of an
   attempt whose driver died there are none.
3. They hold phases, workers, times, numbers of rows and bytes: no key, no value of any row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataops.engine.noted import Recorded, SeenWorker
from dataops.engine.work import Work
from dataops.errors import DataopsError
from dataops.monitoring.recorded import Attempt, recorded_figures
from dataops.records import canonical_bytes, format_time, new_nonce, parse_time
from dataops.runs.ledger import RUNS_FOLDER, RunState
from dataops.runs.phases import RECORDED
from dataops.storage.files import DataFiles, open_files

FOLDER = "recorder"
_TIME = pa.timestamp("us", "UTC")
_ASTRAY = timedelta(hours=1)  # that the clock of a worker may be, until Dask has compared it with its own
TASKS = pa.schema(
    [
        pa.field("task", pa.int64(), nullable=False),
        pa.field("phase", pa.string(), nullable=False),
        pa.field("worker", pa.int32(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("began_at", _TIME, nullable=False),
        pa.field("ended_at", _TIME, nullable=False),
        pa.field("rows", pa.int64(), nullable=True),
        pa.field("read_bytes", pa.int64(), nullable=True),
        pa.field("result_bytes", pa.int64(), nullable=False),
        pa.field("failed", pa.bool_(), nullable=False),
    ]
)
"""What tasks did for a while, one part of a task a row; `rows` and `read_bytes` are null where it has no units."""
WORKERS = pa.schema(
    [
        pa.field("at", _TIME, nullable=False),
        pa.field("worker", pa.int32(), nullable=False),
        pa.field("address", pa.string(), nullable=False),
        pa.field("threads", pa.int32(), nullable=False),
        pa.field("memory_limit", pa.int64(), nullable=False),
        pa.field("memory_bytes", pa.int64(), nullable=False),
        pa.field("spilled_bytes", pa.int64(), nullable=False),
        pa.field("cpu_percent", pa.float64(), nullable=False),
        pa.field("executing", pa.int32(), nullable=False),
    ]
)
"""How workers were at a moment, one worker a row."""
SPANS = pa.schema(
    [
        pa.field("phase", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("activity", pa.string(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("figure", pa.float64(), nullable=False),
    ]
)
"""Sums over all tasks of a phase: Dask's, and the recorder's own."""


@contextmanager
def recorded(work: Work, storage: str, *, wanted: bool) -> Iterator[Callable[[], None]]:
    """While it holds, the run of `work` is recorded; what it gives keeps the records, and they are kept when it ends.

    Parameters
    ----------
    storage : URL of the workspace's storage.
    wanted : False: nothing is recorded.
    """
    take = _begun(work) if wanted else None

    def keep() -> None:
        nonlocal take
        if take is not None:
            taking, take = take, None
            _keep(work, open_files(storage), taking)

    try:
        yield keep
    finally:
        keep()


def _begun(work: Work) -> Callable[[], Recorded] | None:
    from dataops.engine.recorder import begin_recording

    try:
        return begin_recording(work.client, work.run)
    except DataopsError as error:
        work.progress.say(f"  note: nothing is recorded of where the time goes: {error}")
        return None


def _keep(work: Work, files: DataFiles, take: Callable[[], Recorded]) -> None:
    """The records lie with the run, if that can be."""
    try:
        noted = take()
        attempt = new_nonce()[:8]
        for name, table in tables_of(noted).items():
            _write(files, _path(work.run, name, attempt), table)
        work.emit(
            RECORDED,
            attempt=attempt,
            began_at=_text(noted.began),
            ended_at=_text(noted.ended),
            tasks=len({one.task for one in noted.tasks}),
            left_out=noted.left_out,
            sample_seconds=noted.sample_seconds,
        )
    except Exception as error:  # noqa: BLE001  # whatever it is, it is no reason to fail a run
        why = str(error) if isinstance(error, DataopsError) else type(error).__name__
        work.progress.say(f"  note: no recording of where the time went: {why}")


def _path(run: str, name: str, attempt: str) -> str:
    return f"{RUNS_FOLDER}/{run}/{FOLDER}/{name}-{attempt}.parquet"


def _write(files: DataFiles, path: str, table: pa.Table) -> None:
    def write(stream: IO[bytes]) -> None:
        pq.write_table(table, stream, compression="zstd")

    files.write(path, write)


def tables_of(noted: Recorded) -> dict[str, pa.Table]:
    """`noted` as tables, by the names of their files."""
    workers = noted.workers
    tasks = [
        (t.task, noted.phases[t.phase], t.worker, t.action, _micros(t.began), _micros(t.ended), *t[6:])
        for t in noted.tasks
    ]
    samples = [
        (_micros(s.at), s.worker, *_of_worker(workers[s.worker]), s.memory, s.spilled, s.cpu, s.executing)
        for s in noted.samples
    ]
    return {
        "tasks": _table(tasks, TASKS),
        "workers": _table(samples, WORKERS),
        "spans": _table(noted.spans, SPANS),
    }


def _of_worker(worker: SeenWorker) -> tuple[str, int, int]:
    return worker.address, worker.threads, worker.memory_limit


def _table(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def recorded_of(storage: str, state: RunState) -> dict[str, Any] | None:
    """What is shown of the recording of a run, as `recorded_figures` gives it; of one that holds anything else, that it
    can't be shown.
    """
    try:
        found = recorded_figures(*read_attempts(storage, state))
        canonical_bytes(found)  # no figure is infinite, or no number
    except Exception as error:  # noqa: BLE001  # whatever its files hold, the rest of the run can be shown
        return recorded_figures([], [f"the recording can't be shown ({type(error).__name__})"])
    return found


def read_attempts(storage: str, state: RunState) -> tuple[list[Attempt], list[str]]:
    """The records of each attempt at a run, in order, and why some can't be read; none of an old run."""
    files, found, problems = open_files(storage), [], []
    for event in state.events:
        if event["event"] != RECORDED:
            continue
        try:
            found.append(_attempt(files, state.run.id, event))
        except (DataopsError, pa.ArrowException, KeyError, ValueError, OSError) as error:
            problems.append(f"the recording of attempt {event.get('attempt')} can't be read ({type(error).__name__})")
    return found, problems


def _attempt(files: DataFiles, run: str, event: Any) -> Attempt:
    began, ended = parse_time(event["began_at"]), parse_time(event["ended_at"])

    def read(name: str, schema: pa.Schema) -> pa.Table:
        table = _read(files, _path(run, name, event["attempt"]), schema)
        for times in (table[field.name] for field in schema if field.type == _TIME and len(table)):
            if pc.min(times).as_py() < began - _ASTRAY or pc.max(times).as_py() > ended + _ASTRAY:
                raise ValueError(f"{name} has times of another attempt")
        return table

    return Attempt(
        began=began.timestamp(),
        ended=ended.timestamp(),
        left_out=int(event["left_out"]),
        tasks=read("tasks", TASKS),
        workers=read("workers", WORKERS),
        spans=read("spans", SPANS),
    )


def _read(files: DataFiles, path: str, schema: pa.Schema) -> pa.Table:
    with files.open(path) as stream:
        table = pq.read_table(stream, columns=schema.names).select(schema.names)
    if any(table[field.name].null_count for field in schema if not field.nullable):
        raise ValueError(f"{path} has rows that say nothing")
    return table.cast(schema)


def _micros(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _text(seconds: float) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))
