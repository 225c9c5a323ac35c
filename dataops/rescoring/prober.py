"""The process that finds the rows that kill: it reads a unit once, and forks for every range that it has to try anew.

1. It scores nothing itself. So it has one thread, and no library in it has threads that a fork would lose and a runner
   needs: models are read before the fork, since S3 can't be reached behind it, and made behind it, where they are used.
2. A *runner* scores one range after the other until it dies of one, overstays, or runs out of memory; then the next one
   is forked. Ranges that fail are cut into many parts: one that lives costs next to nothing, a death costs a runner.
3. A range *overstays* by processor time, which says the same on a machine that is busy with other things. A runner that
   says nothing for long and hasn't used its processor time either fails the unit: no row is known to be to blame.
4. A runner may use as much memory as the worker could, has no core dump and no output, and ends with its prober. The
   prober ends with its worker, whose end of the pipe closes.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import pickle
import select
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
import pyarrow as pa

from dataops.datasets.units import Unit
from dataops.engine.tasks import Failure, attempt
from dataops.models.package import StoredModel
from dataops.models.predictor import Predictor
from dataops.registry.versions import ModelVersion
from dataops.rescoring.probe import LENGTH_BYTES, Told
from dataops.rescoring.row_errors import NEVER_ROWS, failing_rows
from dataops.rescoring.score import ScoreContext, make_predictor, read_for_scoring, read_model, score_rows

WAYS = 16
ATTEMPT_SECONDS = 300.0  # of a processor, for all rows of a unit; a part has its share, and never less than the next
LEAST_SECONDS = 20.0
SILENT_SECONDS = 1800.0  # by the clock, whatever a runner does
WORKER = 0  # the descriptor at whose other end the worker is
_RANGE = struct.Struct("!qq")
_LIBRARIES = ("lightgbm", "xgboost")  # slow to import, and nothing starts a thread by that
_FINE, _READY, _NEVER = "fine", "ready", "never"
_LONGEST = 200
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class Orphaned(BaseException):
    """The worker that asked has died: nobody waits for an answer."""


class GivenUp(Exception):
    """What happens is no row's fault, and kills nobody: the worker may find out itself."""


class Died(Exception):
    """`what` happened to a runner `when` no row alone could be to blame."""

    def __init__(self, what: str, when: str) -> None:
        super().__init__(what)
        self.what, self.when = what, when


class Runners:
    """Processes that score ranges of `table`, one at a time; a new one whenever one has died. A context manager."""

    def __init__(self, told: Told, table: pa.Table) -> None:
        self._told, self._table = told, table
        self._process: int | None = None
        self._ask = self._answer = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def attempt(self, start: int, stop: int) -> str | None:
        """Why the rows from `start` to `stop` fail together; None: they don't.

        Raises
        ------
        Died : a runner did before it came to any row, or says nothing.
        GivenUp : a runner raised what no row can cause.
        Orphaned : nobody waits for an answer.
        """
        if self._process is None:
            self._fork()
            self._require(self._hear("while its models were loaded"), _READY, "while its models were loaded")
        os.write(self._ask, _RANGE.pack(start, stop))
        heard = self._hear("while its rows were scored")
        if start == stop:
            self._require(heard, _FINE, "while no row was scored")
        if heard == MemoryError.__name__:  # what it left behind may trouble the next range
            self.end()
        if heard == _NEVER:
            raise GivenUp
        return None if heard == _FINE else heard

    def end(self) -> str:
        """How the runner ended; it is killed if it hasn't. Empty: there was none."""
        if self._process is None:
            return ""
        os.close(self._ask)
        os.close(self._answer)
        os.kill(self._process, signal.SIGKILL)  # one that is dying keeps its own reason
        _, status = os.waitpid(self._process, 0)
        self._process = None
        return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"

    def _require(self, heard: str, expected: str, when: str) -> None:
        if heard == _NEVER:
            raise GivenUp
        if heard != expected:
            raise Died(heard, when)

    def _fork(self) -> None:
        asked, self._ask = os.pipe()
        self._answer, answers = os.pipe()
        prober, process = os.getpid(), os.fork()
        if process == 0:
            os.close(self._ask)
            os.close(self._answer)
            _run(self._told, self._table, asked, answers, prober)
        self._process = process
        os.close(asked)
        os.close(answers)

    def _hear(self, when: str) -> str:
        """What the runner says, or how it ended: TimeoutError if it overstayed."""
        waiting = select.poll()
        for descriptor in (self._answer, WORKER):
            waiting.register(descriptor, select.POLLIN)
        heard = [descriptor for descriptor, _ in waiting.poll(int(SILENT_SECONDS * 1000))]
        if self._answer in heard:
            said = os.read(self._answer, select.PIPE_BUF).decode() or self.end()
            return TimeoutError.__name__ if said == signal.SIGXCPU.name else said
        self.end()
        if heard:
            raise Orphaned
        raise Died(f"no answer for {SILENT_SECONDS:g} seconds", when)


def _run(told: Told, table: pa.Table, asked: int, answers: int, prober: int) -> NoReturn:
    """Never returns: the life of a runner, from the fork on."""
    try:
        _confine(prober)
        said, score = _loaded(told)
        os.write(answers, said.encode())
        while len(data := os.read(asked, _RANGE.size)) == _RANGE.size:
            start, stop = _RANGE.unpack(data)
            rows = table.slice(start, stop - start)
            _limit_processor(max(LEAST_SECONDS, ATTEMPT_SECONDS * len(rows) / max(1, len(table))))
            os.write(answers, _say(partial(score, rows), rows=len(rows)).encode())
    finally:
        os._exit(1)


def _loaded(told: Told) -> tuple[str, Callable[[pa.Table], Any]]:
    """What a runner says when it has loaded its models, and what it scores with."""
    loaded: list[Any] = []
    said = _say(lambda: loaded.append(_load_predictors(told.context)), rows=0)
    if said != _FINE:
        return said, _nothing
    _limit_memory(told.memory_bytes)
    return _READY, partial(score_rows, told.context.plan, loaded[0])


def _nothing(_: pa.Table) -> None:
    raise GivenUp


def _say(do: Callable[[], Any], *, rows: int) -> str:
    """What a runner says of `do`, which it does with that many rows."""
    try:
        do()
    except MemoryError:
        return MemoryError.__name__
    except NEVER_ROWS:
        return _NEVER
    except Exception as error:  # noqa: BLE001  # its class is all that is told of it
        return type(error).__name__[:_LONGEST] if rows else _NEVER
    return _FINE


def _confine(prober: int) -> None:
    """The runner ends with its prober, and leaves no image of its memory behind."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != prober:
        os._exit(1)


def _limit_processor(seconds: float) -> None:
    """From here on the runner gets no more than so many seconds of a processor."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


def _limit_memory(memory_bytes: int | None) -> None:
    """From here on the runner gets no more memory than a worker that has used as much may still use."""
    import resource

    if memory_bytes is None:
        return
    with suppress(OSError, ValueError):  # not on Linux: the machine's memory is the limit
        size, resident = (int(pages) for pages in Path("/proc/self/statm").read_text().split()[:2])
        page = resource.getpagesize()
        limit = size * page + max(0, memory_bytes - resident * page)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _probe(told: Told, unit: Unit) -> dict[str, Any]:
    """The answer to the worker."""
    context = told.context
    read = read_for_scoring(context, unit)
    _import_libraries(context)
    try:
        killers = _killers(told, read.table)
    except GivenUp:
        killers = {}
    except Died as died:
        return {"died": died.what, "when": died.when}
    return {"killers": killers}


def _killers(told: Told, table: pa.Table) -> dict[int, str]:
    """The rows that fail alone, if all others together don't, or more than matters."""
    most = told.context.most_failed
    with Runners(told, table) as runners:
        runners.attempt(0, 0)
        killers = failing_rows(runners.attempt, table.num_rows, ways=WAYS, most=most)
    if most is not None and len(killers) > most:
        return killers
    rest = table.take(pa.array(np.setdiff1d(np.arange(table.num_rows), list(killers))))
    with Runners(told, rest) as runners:
        reason = runners.attempt(0, rest.num_rows)
    if reason is not None:
        raise Died(reason, "while its rows were scored together")
    return killers


def _import_libraries(context: ScoreContext) -> None:
    """Import what the models need, so that not every runner has to."""
    for model in context.plan.models:
        library = _model(context.registry, model.version).model_format.partition("-")[0]
        if library in _LIBRARIES:
            import_module(library)


def _load_predictors(context: ScoreContext) -> dict[str, Predictor]:
    """The predictors of the plan's models, by their names in the job, of what was read before the fork."""
    return {
        model.name: make_predictor(_model(context.registry, model.version), context.kernels.get(model.name, "xgboost"))
        for model in context.plan.models
    }


@cache
def _model(registry: str, model: ModelVersion) -> StoredModel:
    """The model of a version, read once: behind a fork S3 can't be reached any more."""
    return read_model(registry, model)


def _told() -> Told:
    """What the worker has to tell; nothing of it is read ahead, since its end is waited for."""
    length = int.from_bytes(_read(LENGTH_BYTES), "big")
    told: Told = pickle.loads(_read(length))  # noqa: S301  # from the worker that started this process
    return told


def _read(size: int) -> bytes:
    found = b""
    while len(found) < size:
        data = os.read(WORKER, size - len(found))
        if not data:
            raise Orphaned
        found += data
    return found


def main() -> None:
    """Answer the worker at standard input on standard output; nothing else is printed anywhere."""
    answers, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    with suppress(Orphaned):
        told = _told()
        outcome = attempt(_probe, told, told.unit)
        failed = isinstance(outcome, Failure)
        answer = asdict(outcome) if failed else outcome
        os.write(answers, json.dumps(answer).encode())


if __name__ == "__main__":
    main()
