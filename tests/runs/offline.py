"""A line whose jobs run in this process: what a cluster would do is done unit by unit, in any order."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dataops.datasets.verify import verify_dataset
from dataops.declarations.jobs import find_job
from dataops.engine.progress import Progress
from dataops.runs.execute import Options, Outcome, resume, run_job
from dataops.runs.workspace import Workspace, open_workspace
from dataops.storage.objects import PosixStore
from tests.engine.inline import InlineWork
from tests.line.people import make_workspace
from tests.line.running import CLUSTER, Line, no_reports
from tests.rescoring.examples import register
from tests.storage.faulty import Crash

SCORES = "people_scores"
JOBS = "jobs/people.yaml"
UNRECORDED = CLUSTER.model_copy(update={"record": False})


@dataclass(slots=True, kw_only=True)
class RunWork(InlineWork):
    """Work of a run, whose events go to its journal."""

    tell: Callable[..., None]

    def emit(self, event: str, /, **fields: Any) -> None:
        InlineWork.emit(self, event, **fields)
        self.tell(event, **fields)

    def phase(self, name: str, total: int = 0, rows: int = 0) -> AbstractContextManager[None]:
        self.phases.append(name)
        return nullcontext()


@dataclass(slots=True, kw_only=True)
class Offline:
    """A workspace with a model that was trained elsewhere, whose scores are made without a cluster.

    Attributes
    ----------
    seed, twice : the order of units, and whether each is done twice.
    reports : whether runs draw their pages.
    """

    folder: Path
    reports: bool = False
    seed: int = 0
    twice: bool = False
    said: io.StringIO = field(default_factory=io.StringIO)

    @classmethod
    def make(cls, folder: Path, *, files: int) -> Offline:
        """A new one; nothing was scored yet."""
        made = cls(folder=make_workspace(folder, files=files))
        register(made.workspace)
        made.change(JOBS, "wealth@champion", "wealth@1")
        return made

    def copied(self, folder: Path) -> Offline:
        """A copy of it in `folder`: times of files stay as they were."""
        shutil.copytree(self.folder, folder / "town")
        return Offline(folder=folder / "town")

    @property
    def workspace(self) -> Workspace:
        """The workspace, read anew from its files."""
        return open_workspace(str(self.folder), {})

    @property
    def storage(self) -> Path:
        """The folder of its storage."""
        return self.folder / "storage"

    @property
    def line(self) -> Line:
        """The same place, for what needs no cluster there."""
        return Line(folder=self.folder, connection=None)  # type: ignore[arg-type]

    def change(self, file: str, old: str, new: str) -> None:
        """Rewrite a file of the workspace."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def run(self, job: str = SCORES, *, again: bool = False) -> Outcome:
        """The outcome of a job of the workspace."""
        declared = find_job(self.folder / JOBS, job)
        with self.working() as given:
            return run_job(self.workspace, declared.job, source=declared.document.source, **given(again=again))

    def resume(self, run: str) -> Outcome:
        """The outcome of a run that is taken up again."""
        with self.working() as given:
            return resume(self.workspace, run, **given())

    def rows(self, dataset: str = SCORES) -> list[dict[str, Any]]:
        """All rows of the newest snapshot of a made dataset, in the order of its units."""
        return self.line.rows(dataset)

    def findings(self) -> tuple[str, ...]:
        """What verifying the scores finds wrong."""
        return verify_dataset(self.workspace.settings, self.workspace.store, SCORES).findings

    def runs(self) -> list[str]:
        """The ids of all runs, the first one first: several may begin in one second, which is all that an id says."""
        ledger = self.workspace.ledger
        return sorted(ledger.ids(), key=lambda run: ledger.read(run).created_at)

    @contextmanager
    def working(self) -> Iterator[Callable[..., Mapping[str, Any]]]:
        """While it holds, jobs run in this process; gives what they need of `options` and `progress`."""

        @contextmanager
        def inline(
            _job: object, run: str, _options: object, _progress: object, emit: Any, **_: object
        ) -> Iterator[tuple[Any, str]]:
            work = RunWork(run=run, tell=emit, said=self.said, seed=self.seed, twice=self.twice)
            yield work, "http://127.0.0.1"

        pages = nullcontext() if self.reports else no_reports()
        with patch("dataops.runs.execute.working", inline), pages, Progress(self.said) as progress:
            yield lambda again=False: {"options": Options(cluster=UNRECORDED, again=again), "progress": progress}


@contextmanager
def dying(*, at: int, after: bool = False) -> Iterator[None]:
    """The process dies at the `at`-th put below the output's folder, before or after it is done."""
    numbers, dead, create = count(1), [False], PosixStore._create

    def put(store: PosixStore, key: str, data: bytes) -> bool:
        if dead[0]:
            raise Crash
        if not key.startswith(f"datasets/{SCORES}/") or next(numbers) != at:
            return create(store, key, data)
        dead[0] = True
        if after:
            create(store, key, data)
        raise Crash

    with patch.object(PosixStore, "_create", put):
        yield
