"""Where the time of a run went: the recordings of its attempts, made small enough for a page. Pure.

1. Attempts of a run that was resumed stand one after the other, in seconds of work: the time in between is left out.
2. However much there is, a page holds some thousand numbers: neighbours of one kind are joined, memory is the most that
   was seen in a while.
3. Sums by phase hold all tasks, also those of which no more was kept; of a recording of before there were such sums
   they are made of what was kept.
4. A worker is known by its number in its attempt; a process that was started again is another one.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataops.engine.noted import COMPUTE, DISK, NOTED, TRANSFER

MAX_BARS = 6_000
MAX_LANES = 48
MAX_POINTS = 240
EACH_WORKER = 6  # beyond, the one with the most and the one in the middle stand for all
CPU_MOMENTS = 3  # fewer say nothing of a phase
_SPAN_COLUMNS = ("phase", "kind", "activity", "figure")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The records of one attempt, from `began` to `ended` (seconds since 1970); columns of the tables as in
    ``docs/reference/formats.md``.

    Attributes
    ----------
    left_out : parts of tasks that weren't kept.
    """

    began: float
    ended: float
    tasks: pa.Table
    workers: pa.Table
    spans: pa.Table
    left_out: int

    @property
    def seconds(self) -> float:
        """How long it was recorded."""
        return max(0.0, self.ended - self.began)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tasks:
    """Parts of tasks of all attempts, in the order of their beginning; times in seconds of work."""

    names: tuple[str, ...]
    attempt: Ints
    task: Ints
    phase: Ints
    worker: Ints
    compute: Bools
    disk: Bools
    failed: Bools
    began: Floats
    ended: Floats
    rows: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Samples:
    """How workers were, in the order of time, in seconds of work."""

    attempt: Ints
    at: Floats
    worker: Ints
    threads: Ints
    memory: Ints
    cpu: Floats


def recorded_figures(attempts: Sequence[Attempt], problems: Sequence[str] = ()) -> dict[str, Any] | None:
    """What a page shows of `attempts`, JSON types; None where there is nothing.

    Parameters
    ----------
    problems : why records can't be shown, in words.
    """
    if not attempts:
        return {"problems": list(problems), "seconds": 0.0} if problems else None
    starts = [0.0, *itertools.accumulate(one.seconds for one in attempts)]
    tasks, samples, seconds = _tasks(attempts, starts), _samples(attempts, starts), starts[-1]
    return {
        "seconds": _short(seconds),
        "attempts": [_short(start) for start in starts[1:-1]],
        "problems": list(problems),
        "left_out": sum(one.left_out for one in attempts),
        "whole": all(_noted(one) for one in attempts if one.left_out),
        "workers": len(set(samples.worker.tolist())),
        "threads": _most_threads(samples),
        "memory_limit": max(_largest(one.workers["memory_limit"]) for one in attempts),
        "spilled": max(_largest(one.workers["spilled_bytes"]) for one in attempts),
        "phases": [_phase(name, tasks, samples, attempts) for name in _names(tasks, attempts)],
        "stream": _stream(tasks, seconds),
        "memory": _memory(samples, seconds),
        "rate": _rate(tasks, seconds),
    }


def _tasks(attempts: Sequence[Attempt], starts: Sequence[float]) -> _Tasks:
    tables = [one.tasks for one in attempts]
    table = pa.concat_tables(tables)
    first = itertools.accumulate((_largest(one["task"]) + 1 for one in tables), initial=0)  # each counts anew
    began, ended = (_times(attempts, tables, name, starts) for name in ("began_at", "ended_at"))
    phase = pc.dictionary_encode(table["phase"].combine_chunks())
    order = np.argsort(began, kind="stable")
    return _Tasks(
        names=tuple(phase.dictionary.to_pylist()),
        attempt=_attempt_of(tables)[order],
        task=np.concatenate([_numbers(one["task"]) + start for one, start in zip(tables, first, strict=False)])[order],
        phase=_numbers(phase.indices)[order],
        worker=_numbers(table["worker"])[order],
        compute=_flags(pc.equal(table["action"], COMPUTE))[order],
        disk=_flags(pc.starts_with(table["action"], DISK))[order],
        failed=_flags(table["failed"])[order],
        began=began[order],
        ended=np.maximum(began, ended)[order],
        rows=_numbers(pc.fill_null(table["rows"], 0)).astype(float)[order],
    )


def _samples(attempts: Sequence[Attempt], starts: Sequence[float]) -> _Samples:
    tables = [one.workers for one in attempts]
    table, at = pa.concat_tables(tables), _times(attempts, tables, "at", starts)
    order = np.argsort(at, kind="stable")
    return _Samples(
        attempt=_attempt_of(tables)[order],
        at=at[order],
        worker=_numbers(table["worker"])[order],
        threads=_numbers(table["threads"])[order],
        memory=_numbers(table["memory_bytes"])[order],
        cpu=table["cpu_percent"].to_numpy()[order],
    )


def _names(tasks: _Tasks, attempts: Sequence[Attempt]) -> list[str]:
    """All phases that had a task, also those of which none was kept."""
    return list(dict.fromkeys((*tasks.names, *(phase for one in attempts for phase in _noted(one)))))


def _phase(name: str, tasks: _Tasks, samples: _Samples, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """What the recordings say of a phase; `cpu_seconds` are those of the tasks' own threads, by Dask's sums: None for
    all phases where one has none, since Dask added its tasks to another's.
    """
    mine = tasks.phase == (tasks.names.index(name) if name in tasks.names else -1)
    meanwhile, sums, cpu = _meanwhile(tasks, mine, samples), _sums(name, tasks, mine, attempts), _thread_cpu(attempts)
    moments = len(np.unique(samples.at[meanwhile]))
    return {
        "phase": name,
        "tasks": round(sums["tasks"]),
        "failed": round(sums["failed"]),
        "rows": round(sums["rows"]),
        "busy_seconds": _short(sums[COMPUTE]),
        "transfer_seconds": _short(sums[TRANSFER]),
        "disk_seconds": _short(sums[DISK]),
        "cpu_seconds": _short(cpu[name]) if set(_names(tasks, attempts)) <= set(cpu) else None,
        "cpu_percent": _short(samples.cpu[meanwhile].sum() / moments) if moments >= CPU_MOMENTS else None,
        "peak_memory": int(samples.memory[meanwhile].max()) if meanwhile.any() else None,
    }


def _sums(name: str, tasks: _Tasks, mine: Bools, attempts: Sequence[Attempt]) -> Mapping[str, float]:
    """Tasks, failed ones, rows and seconds of a phase, by what they are of; all attempts together."""
    found: defaultdict[str, float] = defaultdict(float)
    for place, one in enumerate(attempts):
        noted = _noted(one)
        sums = noted.get(name, {}) if noted else _counted(tasks, mine & (tasks.attempt == place))
        for what, figure in sums.items():
            found[what] += figure
    return found


def _noted(attempt: Attempt) -> dict[str, dict[str, float]]:
    """The recorder's own sums by phase and what they are of; none in a recording of old."""
    found: dict[str, dict[str, float]] = {}
    for phase, kind, activity, figure in _spans(attempt):
        if kind == NOTED:
            found.setdefault(phase, {})[activity] = figure
    return found


def _counted(tasks: _Tasks, mine: Bools) -> dict[str, float]:
    """The same of the tasks that were kept."""
    took, computed = tasks.ended - tasks.began, mine & tasks.compute
    return {
        "tasks": len(np.unique(tasks.task[mine])),
        "failed": len(np.unique(tasks.task[mine & tasks.failed])),
        "rows": float(tasks.rows[computed].sum()),
        COMPUTE: float(took[computed].sum()),
        TRANSFER: float(took[mine & ~tasks.compute & ~tasks.disk].sum()),
        DISK: float(took[mine & tasks.disk].sum()),
    }


def _spans(attempt: Attempt) -> Iterator[tuple[str, str, str, float]]:
    return zip(*(attempt.spans[name].to_pylist() for name in _SPAN_COLUMNS), strict=True)


def _meanwhile(tasks: _Tasks, mine: Bools, samples: _Samples) -> Bools:
    """Which samples were taken while tasks of a phase ran."""
    found = np.zeros(len(samples.at), dtype=bool)
    for attempt in np.unique(tasks.attempt[mine]):
        those = mine & (tasks.attempt == attempt)
        within = (samples.at >= tasks.began[those].min()) & (samples.at <= tasks.ended[those].max())
        found |= within & (samples.attempt == attempt)
    return found


def _thread_cpu(attempts: Sequence[Attempt]) -> dict[str, float]:
    """CPU seconds of tasks' threads by the phase that Dask counted them under."""
    found: dict[str, float] = {}
    for phase, kind, activity, figure in itertools.chain.from_iterable(map(_spans, attempts)):
        if activity == "thread-cpu" and kind != NOTED:
            found[phase] = found.get(phase, 0.0) + figure
    return found


def _stream(tasks: _Tasks, seconds: float) -> dict[str, Any]:
    """Bars of what workers did: neighbours of one kind in a lane are one bar where there are too many."""
    lane, workers = _lanes(tasks)
    shown = lane < MAX_LANES
    kind = 4 * tasks.phase + 2 * tasks.compute + tasks.failed
    bars, gap = _joined(tasks, lane, kind, shown, 0.0), (seconds or 1.0) / 2000
    while len(bars) > MAX_BARS:
        bars, gap = _joined(tasks, lane, kind, shown, gap), 2 * gap
    columns = list(zip(*bars, strict=True)) or [()] * 5
    bar = dict(zip(("lane", "kind", "began", "ended", "tasks"), columns, strict=True))
    return {
        "lanes": workers[:MAX_LANES],
        "hidden_lanes": max(0, len(workers) - MAX_LANES),
        "names": list(tasks.names),
        "lane": list(bar["lane"]),
        "phase": [one // 4 for one in bar["kind"]],
        "compute": [bool(one & 2) for one in bar["kind"]],
        "failed": [bool(one & 1) for one in bar["kind"]],
        "began": [_short(one) for one in bar["began"]],
        "ended": [_short(one) for one in bar["ended"]],
        "tasks": list(bar["tasks"]),
    }


def _lanes(tasks: _Tasks) -> tuple[Ints, list[int]]:
    """The lane of each part, and the worker of each lane: a worker has as many as it did tasks at once. Whatever a task
    waited for is in its lane.
    """
    free: dict[int, list[tuple[float, int]]] = {}
    home: dict[int, tuple[int, int]] = {}
    of = zip(
        *(one[tasks.compute].tolist() for one in (tasks.task, tasks.worker, tasks.began, tasks.ended)), strict=True
    )
    for task, worker, began, ended in of:
        lanes = free.setdefault(worker, [])
        if lanes and lanes[0][0] <= began:
            lane = heapq.heapreplace(lanes, (ended, lanes[0][1]))[1]
        else:
            lane = len(lanes)
            heapq.heappush(lanes, (ended, lane))
        home[task] = (worker, lane)
    own = [home.get(one, (worker, 0)) for one, worker in zip(tasks.task.tolist(), tasks.worker.tolist(), strict=True)]
    places = {one: place for place, one in enumerate(sorted(set(own)))}
    return np.array([places[one] for one in own], dtype=np.int64), [worker for worker, _ in places]


def _joined(tasks: _Tasks, lane: Ints, kind: Ints, shown: Bools, gap: float) -> list[tuple[Any, ...]]:
    """Bars (lane, kind, began, ended, tasks): parts of one kind that are no more than `gap` seconds apart, and what is
    too short to be seen beside them; nothing hides a failure.
    """
    order = np.lexsort((tasks.began, lane))
    order = order[shown[order]]
    bars: list[list[Any]] = []
    of = zip(*(one[order].tolist() for one in (lane, kind, tasks.began, tasks.ended)), strict=True)
    for here, what, began, ended in of:
        last = bars[-1] if bars else None
        near = last is not None and gap > 0 and last[0] == here and began - last[3] <= gap
        if last is not None and near and last[1] == what:
            last[3], last[4] = max(ended, last[3]), last[4] + 1
        elif last is not None and near and ended - began < gap / 2 and not what & 1:
            last[4] += 1
        else:
            bars.append([here, what, began, ended, 1])
    return [tuple(one) for one in bars]


def _memory(samples: _Samples, seconds: float) -> list[dict[str, Any]]:
    """Lines of memory over time: of each worker, or of the one with the most and the one in the middle."""
    place = _places(samples.at, seconds)
    grid: dict[int, dict[int, int]] = {}
    for here, worker, memory in zip(place.tolist(), samples.worker.tolist(), samples.memory.tolist(), strict=True):
        bins = grid.setdefault(worker, {})
        bins[here] = max(bins.get(here, 0), memory)
    if len(grid) <= EACH_WORKER:
        return [_line(f"worker {worker + 1}", bins, seconds) for worker, bins in sorted(grid.items())]
    at_once: dict[int, list[int]] = {}
    for bins in grid.values():
        for here, memory in bins.items():
            at_once.setdefault(here, []).append(memory)
    return [
        _line("the largest", {here: max(some) for here, some in at_once.items()}, seconds),
        _line("in the middle", {here: sorted(some)[len(some) // 2] for here, some in at_once.items()}, seconds),
    ]


def _line(name: str, bins: Mapping[int, int], seconds: float) -> dict[str, Any]:
    ordered = sorted(bins)
    width = (seconds or 1.0) / MAX_POINTS
    return {"name": name, "at": [_short((one + 0.5) * width) for one in ordered], "bytes": [bins[o] for o in ordered]}


def _rate(tasks: _Tasks, seconds: float) -> dict[str, Any]:
    """Rows a second over time: a task's rows are spread evenly over the time that it took."""
    computed = tasks.compute & (tasks.rows > 0)
    if not computed.any() or not seconds:
        return {"at": [], "rows": []}
    began = tasks.began[computed]
    ended = np.maximum(tasks.ended[computed], began + 1e-6)
    speed = tasks.rows[computed] / (ended - began)
    at = np.concatenate([began, ended])
    order = np.argsort(at, kind="stable")
    slopes = np.cumsum(np.concatenate([speed, -speed])[order])
    at = at[order]
    done = np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(at))])
    edges = np.linspace(0.0, seconds, MAX_POINTS // 2 + 1)
    rows = np.diff(np.interp(edges, at, done)) / np.diff(edges)
    return {"at": [_short(one) for one in edges[:-1]], "rows": [round(max(0.0, one), 1) for one in rows.tolist()]}


def _most_threads(samples: _Samples) -> int:
    """Threads of all workers together, at the moment when they had most."""
    _, moments = np.unique(samples.at, return_inverse=True)
    return int(np.bincount(moments, weights=samples.threads).max()) if len(moments) else 0


def _places(at: Floats, seconds: float) -> Ints:
    return np.clip((at / (seconds or 1.0) * MAX_POINTS).astype(np.int64), 0, MAX_POINTS - 1)


def _times(attempts: Sequence[Attempt], tables: Sequence[pa.Table], name: str, starts: Iterable[float]) -> Floats:
    """The column `name` of each attempt's table, in seconds of work."""
    parts = zip(attempts, tables, starts, strict=False)
    return np.concatenate([_numbers(table[name]) / 1e6 - one.began + start for one, table, start in parts])


def _attempt_of(tables: Sequence[pa.Table]) -> Ints:
    return np.repeat(np.arange(len(tables)), [len(one) for one in tables])


def _numbers(column: pa.ChunkedArray | pa.Array) -> Ints:
    return np.asarray(column.cast(pa.int64()).to_numpy(zero_copy_only=False)).astype(np.int64)


def _flags(column: pa.ChunkedArray | pa.Array) -> Bools:
    return np.asarray(column.to_numpy(zero_copy_only=False)).astype(bool)


def _largest(column: pa.ChunkedArray) -> int:
    return int(pc.max(column).as_py() or 0)


def _short(number: float) -> float:
    """`number` to a tenth of a millisecond, or as many bytes of a page."""
    return round(float(number), 4)
