"""How a process holds a cluster that stands: what ends it and what doesn't, what it is encrypted with, whom it ends."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest
from click.testing import CliRunner
from distributed import Client, LocalCluster

from dataops.cli.main import main
from dataops.declarations.clusters import LocalFile, SlurmFile, SshFile, StartedFile
from dataops.engine.certs import MAX_DAYS, Certificates, expiry, new_certificates, write_certificates
from dataops.engine.connect import Held
from dataops.engine.idle import Activity, Idle
from dataops.errors import AlreadyExists, Compute, Conflict
from dataops.records import now_utc
from dataops.runs import standing
from dataops.runs.standing import AWAY_LOOKS, hold, look, stand, start_limit, stop
from dataops.runs.stood import FOLDER, Stood, certs_until, find, holder, locked, on_record
from tests.cluster.parts import wait_until
from tests.faults.driver import COMMAND, environment

NOW = datetime(2026, 1, 31, tzinfo=UTC)


class Looks:
    """A Dask scheduler as it is found, one look after the other; then somebody wants an end."""

    def __init__(self, *answers: Activity | None, status: str = "running") -> None:
        self.answers = list(answers)
        self.client = cast("Client", SimpleNamespace(status=status))

    def stopped(self, seconds: float) -> bool:
        return not self.answers

    def activity(self, client: Client) -> Activity:
        answer = self.answers.pop(0)
        if answer is None:
            raise Compute("the Dask scheduler doesn't answer (TimeoutError)")
        return answer


def doing(busy: int = 0) -> Activity:
    return Activity(changes=0, busy=busy, workers=1, threads=1)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def watch(looks: Looks, *, idle: float = 3600.0, certs_end: datetime | None = None) -> str:
        monkeypatch.setattr(standing, "activity", looks.activity)
        since = Idle(limit_seconds=idle, since=time.monotonic())
        return stand(looks.client, "mine", idle=since, certs_end=certs_end, stopped=looks.stopped)

    return watch


def test_a_question_without_an_answer_ends_nothing(watched: Callable[..., str]) -> None:
    assert watched(Looks(None, doing(busy=1), None, None, doing(busy=1))) == "stopped"


def test_what_does_not_answer_is_busy_and_not_idle(watched: Callable[..., str]) -> None:
    assert watched(Looks(None, None), idle=1e-9) == "stopped"
    assert watched(Looks(doing(), doing()), idle=1e-9) == "idle"


def test_a_client_without_a_connection_for_some_looks_has_lost_its_cluster(watched: Callable[..., str]) -> None:
    asked = Looks(*[doing()] * (AWAY_LOOKS + 1), status="connecting")
    with pytest.raises(Compute, match="cluster 'mine' was lost"):
        watched(asked)
    assert len(asked.answers) == AWAY_LOOKS + 1  # who is not connected is not asked


def test_an_end_of_certificates_ends_a_cluster_that_has_nothing_in_hand(watched: Callable[..., str]) -> None:
    past = now_utc() - timedelta(seconds=1)
    with pytest.raises(Compute, match="the certificates of cluster 'mine' ended on"):
        watched(Looks(doing(busy=2), doing()), certs_end=past)
    assert watched(Looks(doing(busy=2)), certs_end=past) == "stopped"
    assert watched(Looks(doing()), certs_end=past + timedelta(days=1)) == "stopped"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Certificates]:
    """The certificates of the clusters that were to be held; none is."""
    found: list[Certificates] = []

    @contextmanager
    def no_cluster(*_: object, certs: Certificates, **__: object) -> Iterator[Held]:
        found.append(certs)
        raise Compute("no cluster here")
        yield

    monkeypatch.setattr(standing, "held", no_cluster)
    return found


def try_to_hold(folder: Path, cluster: StartedFile) -> None:
    words: dict[str, Any] = {"training": False, "workers": None, "stopped": lambda _: True, "told": lambda _: None}
    with pytest.raises(Compute, match="no cluster here"):
        hold(folder, cluster, name="mine", **words)


@pytest.mark.parametrize(("kind", "keys"), [(SshFile, {"hosts": ("n",)}), (SlurmFile, {"host": "n"})])
def test_certificates_of_the_file_are_those_that_a_standing_cluster_has(
    tmp_path: Path, taken: list[Certificates], kind: type[StartedFile], keys: dict[str, Any]
) -> None:
    certs = new_certificates(at=now_utc())
    write_certificates(tmp_path / "certs", certs)
    name = "ssh" if kind is SshFile else "slurm"
    try_to_hold(tmp_path, kind.model_validate({"kind": name, "certs": str(tmp_path / "certs"), **keys}))
    assert taken == [certs]


@pytest.mark.parametrize("cluster", [LocalFile(), SshFile(kind="ssh", hosts=("n",))], ids=["local", "ssh"])
def test_its_own_certificates_last_as_long_as_any(
    tmp_path: Path, taken: list[Certificates], cluster: StartedFile
) -> None:
    try_to_hold(tmp_path, cluster)
    end = expiry(taken[0]["ca.pem"])
    assert end is not None
    assert end > now_utc() + timedelta(days=MAX_DAYS - 1)


def held_at(address: str, certs: Certificates) -> Held:
    return Held(client=cast("Client", None), address=address, dashboard="nowhere", certs=certs)


def test_a_cluster_without_workers_answers(tmp_path: Path) -> None:
    """As one in Slurm between two walltimes."""
    words: dict[str, Any] = {"protocol": "tcp://", "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    (tmp_path / FOLDER).mkdir()
    with (
        LocalCluster(n_workers=0, processes=False, **words) as started,
        on_record(tmp_path, "mine", LocalFile(), held_at(started.scheduler_address, {})) as stood,
    ):
        assert look(tmp_path, "mine") == (stood, Activity(changes=0, busy=0, workers=0, threads=0))
    with on_record(tmp_path, "mine", LocalFile(), held_at(started.scheduler_address, {})) as gone:
        assert look(tmp_path, "mine") == (gone, None)


def test_when_its_certificates_end_is_told(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    certs = new_certificates(at=NOW, days=3)
    with on_record(tmp_path, "mine", LocalFile(), held_at("tls://127.0.0.1:1", certs)) as stood:
        assert certs_until(tmp_path, stood) == NOW + timedelta(days=3)
    assert certs_until(tmp_path, stood) is None


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any cluster."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


def left_behind(folder: Path, process: int) -> Stood:
    """The record of a cluster whose `process` was killed."""
    (folder / FOLDER).mkdir(exist_ok=True)
    path = folder / FOLDER / "mine.json"
    with on_record(folder, "mine", LocalFile(), held_at("tls://127.0.0.1:1", {})):
        text = path.read_text().replace(f'"process": {os.getpid()}', f'"process": {process}')
    path.write_text(text)
    found = find(folder, "mine")
    assert found is not None
    assert (found.process, found.host) == (process, socket.gethostname())
    return found


def test_only_the_process_that_holds_a_cluster_is_ended(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    stale = left_behind(tmp_path, stranger.pid)
    with locked(tmp_path, "mine"):  # another start has the lock, and no record yet
        assert holder(tmp_path, "mine") == os.getpid()
        with pytest.raises(Conflict, match=f"is being started by process {os.getpid()}"):
            stop(tmp_path, "mine")
        with pytest.raises(AlreadyExists), locked(tmp_path, "mine"):
            pass
        assert find(tmp_path, "mine") == stale
    assert stop(tmp_path, "mine") == stale  # nobody holds it: what is left is taken away
    assert find(tmp_path, "mine") is None
    assert stranger.poll() is None


def test_a_start_is_waited_for_as_long_as_its_file_says() -> None:
    assert start_limit(SlurmFile(kind="slurm", host="n", start_seconds=600)) > 600
    few, many = (SshFile(kind="ssh", hosts=hosts, start_seconds=60) for hosts in (("a",), ("a", "b", "c")))
    assert start_limit(many) >= start_limit(few) + 2 * 60 > 3 * 60
    assert start_limit(LocalFile()) >= 60


FAKE_SRUN = """\
#!/bin/sh
read line
touch {asked}
exec cat > /dev/null
"""


@pytest.fixture
def waiting(tmp_path: Path) -> tuple[Path, Path, dict[str, str]]:
    """A workspace with a cluster whose jobs never start; a file that is there once they are waited for; variables."""
    (tmp_path / "dataops.yaml").write_text("{}\n")
    (tmp_path / "mine.yaml").write_text("{kind: slurm, host: 127.0.0.1, start_seconds: 3600}\n")
    srun, asked = tmp_path / "bin" / "srun", tmp_path / "asked"
    srun.parent.mkdir()
    srun.write_text(FAKE_SRUN.format(asked=asked))
    srun.chmod(srun.stat().st_mode | stat.S_IXUSR)
    variables = {**environment(tmp_path), "PATH": f"{srun.parent}:{os.environ['PATH']}"}
    return tmp_path, asked, variables


def test_a_start_that_is_detached_is_given_that_time(
    waiting: tuple[Path, Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []

    def wait_for_start(folder: Path, name: str, process: object, log: Path, seconds: float) -> Stood:
        given.append(seconds)
        raise Compute("enough")

    monkeypatch.setattr(standing, "wait_for_start", wait_for_start)
    monkeypatch.setattr("dataops.cli.cluster_standing.subprocess.Popen", lambda *_, **__: None)
    done = CliRunner().invoke(main, ["cluster", "start", "mine.yaml", "--detach", "-w", str(waiting[0])])
    assert (done.exit_code, "enough" in done.output) == (11, True)
    assert given[0] > 3600


@pytest.mark.cluster
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_ends_when_it_is_told_to(waiting: tuple[Path, Path, dict[str, str]], number: signal.Signals) -> None:
    folder, asked, variables = waiting
    words = [*COMMAND, "cluster", "start", "mine.yaml", "-w", str(folder)]
    with subprocess.Popen(words, env=variables, stderr=subprocess.PIPE) as process:
        try:
            wait_until(asked.exists, "jobs are waited for")
            started = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
            assert process.wait(60) == 130
        finally:
            process.kill()
    assert len(started) >= 2  # the Dask scheduler's agent, and the job
    assert not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert [path.name for path in (folder / FOLDER).iterdir()] == ["mine.lock"]
