"""Running jobs in a test: a workspace whose jobs share one standing cluster, so that its start is paid once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq

from dataops.datasets.commit import UnitRecord, committed_units
from dataops.datasets.snapshot import read_snapshot
from dataops.declarations.clusters import LocalFile
from dataops.declarations.jobs import find_job
from dataops.engine.connect import Connection, connect
from dataops.engine.progress import Progress
from dataops.runs.execute import Options, Outcome, resume, run_job
from dataops.runs.promotion import promote_version
from dataops.runs.report import report_path
from dataops.runs.workspace import Workspace, open_workspace

CLUSTER = LocalFile.model_validate({"kind": "local"})


@contextmanager
def standing_cluster(workers: int) -> Iterator[Connection]:
    """A real cluster of `workers` processes, made as jobs make theirs."""
    with connect(CLUSTER, CLUSTER.score, workers=workers) as connection:
        yield connection


@dataclass(slots=True, kw_only=True)
class Line:
    """A workspace and the cluster that its jobs run on.

    Attributes
    ----------
    said : what went to stderr.
    reports : whether runs draw their pages, which takes longer than a small job; pages have tests of their own.
    """

    folder: Path
    connection: Connection
    reports: bool = False
    said: io.StringIO = field(default_factory=io.StringIO)

    @property
    def workspace(self) -> Workspace:
        """The workspace, read anew from its files."""
        return open_workspace(str(self.folder), {})

    @property
    def storage(self) -> Path:
        """The folder of its storage."""
        return self.folder / "storage"

    def run(self, job: str, *, again: bool = False, file: str = "jobs/people.yaml") -> Outcome:
        """The outcome of a job of the workspace."""
        declared = find_job(self.folder / file, job)
        with self._standing(), Progress(self.said) as progress:
            return run_job(
                self.workspace,
                declared.job,
                source=declared.document.source,
                options=Options(cluster=CLUSTER, again=again),
                progress=progress,
            )

    def resume(self, run: str) -> Outcome:
        """The outcome of a run that is taken up again."""
        with self._standing(), Progress(self.said) as progress:
            return resume(self.workspace, run, options=Options(cluster=CLUSTER), progress=progress)

    def run_all(self, version: int = 1) -> dict[str, Outcome]:
        """Outcomes by job: prepared, trained, `version` promoted, rescored."""
        outcomes = {job: self.run(job) for job in ("people_ready", "wealth")}
        promote_version(self.workspace, "wealth", version, reason="test")
        return {**outcomes, "people_scores": self.run("people_scores")}

    def records(self, dataset: str, run: str) -> dict[str, UnitRecord]:
        """The records of a run's units."""
        return committed_units(self.workspace.store, dataset, run)

    def parts(self, dataset: str, run: str) -> dict[str, bytes]:
        """The bytes of a run's parts, by unit."""
        home = self.storage / "datasets" / dataset
        records = self.records(dataset, run).values()
        return {one.unit: (home / one.part.path).read_bytes() for one in records if one.part is not None}

    def rows(self, dataset: str) -> list[dict[str, Any]]:
        """All rows of the newest snapshot of a made dataset, in the order of its units."""
        snapshot = read_snapshot(self.workspace.store, dataset)
        assert snapshot is not None
        home = self.storage / "datasets" / dataset
        return [row for part in snapshot.fragments for row in pq.read_table(home / part.path).to_pylist()]

    @contextmanager
    def _standing(self) -> Iterator[None]:
        @contextmanager
        def joined(*_: object, **__: object) -> Iterator[Connection]:
            yield self.connection

        with patch("dataops.runs.execute.connect", joined), nullcontext() if self.reports else no_reports():
            yield


def no_reports() -> AbstractContextManager[object]:
    """While it holds, no page is drawn at the end of a run."""
    return patch("dataops.runs.execute.write_run_report", report_path)
