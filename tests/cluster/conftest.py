"""A line that was run on the embedded cluster: what every other cluster has to come to."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataops.declarations.clusters import ClusterFile, LocalFile, read_cluster
from dataops.declarations.jobs import find_job
from dataops.engine.progress import Progress
from dataops.runs.execute import Options, Outcome, run_job
from dataops.runs.promotion import promote_version
from dataops.runs.workspace import open_workspace
from tests.cluster.parts import SshServers, missing, ssh_servers
from tests.line.people import make_workspace
from tests.line.running import Line, no_reports

FILES = 16
MADE = ("people_ready", "people_scores")


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """A workspace whose jobs run on whatever cluster is asked for."""

    folder: Path

    def cluster(self, keys: Mapping[str, object]) -> ClusterFile:
        """The cluster file with `keys`, read as any other."""
        path = self.folder / "cluster" / "test.yaml"
        path.write_text(json.dumps(keys))
        return read_cluster(path, workspace=self.folder)

    def run(self, job: str, cluster: ClusterFile) -> Outcome:
        """The outcome of `job` on `cluster`, done anew."""
        workspace = open_workspace(str(self.folder), {})
        declared = find_job(self.folder / "jobs" / "people.yaml", job)
        with no_reports(), Progress(io.StringIO()) as progress:
            return run_job(
                workspace,
                declared.job,
                source=declared.document.source,
                options=Options(cluster=cluster, again=True),
                progress=progress,
            )

    def parts(self, dataset: str, run: str) -> dict[str, bytes]:
        """The bytes of a run's parts, by unit."""
        line = Line(folder=self.folder, connection=None)  # type: ignore[arg-type]  # runs nothing here
        return line.parts(dataset, run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A town whose line was run on the embedded cluster, with the parts of what it made."""

    town: Town
    parts: Mapping[str, Mapping[str, bytes]]


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    town = Town(folder=make_workspace(tmp_path_factory.mktemp("embedded") / "town", files=FILES))
    ready = town.run("people_ready", LocalFile())
    town.run("wealth", LocalFile())
    promote_version(open_workspace(str(town.folder), {}), "wealth", 1, reason="test")
    scores = town.run("people_scores", LocalFile())
    runs = dict(zip(MADE, (ready.state.run.id, scores.state.run.id), strict=True))
    return Done(town=town, parts={name: town.parts(name, run) for name, run in runs.items()})


@pytest.fixture
def copied(done: Done, tmp_path: Path) -> Callable[[], Town]:
    """Makes a copy of that town, to go on with."""

    def copy() -> Town:
        shutil.copytree(done.town.folder, tmp_path / "town")
        return Town(folder=tmp_path / "town")

    return copy


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServers]:
    """An SSH server on loopback."""
    if reason := missing("sshd", "ssh", "ssh-keygen"):
        pytest.skip(reason)
    with ssh_servers(tmp_path_factory.mktemp("ssh") / "server") as servers:
        yield servers
