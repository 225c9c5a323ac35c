"""What is lost in the middle of a rescore: workers, hosts, the Dask scheduler. It ends right, with the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from dataops.runs.ledger import State
from dataops.runs.workspace import open_workspace
from tests.cluster.conftest import FILES, Done, Town
from tests.cluster.parts import Hosts, SshServers, missing, no_namespaces, ssh_servers, wait_until
from tests.faults.driver import COMMAND, environment

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

Copied = Callable[[], Town]
JOB = "people_scores"
SECONDS_PER_UNIT = 1.0
ABANDONED_SECONDS = 20.0

# Dask runs it in each worker: units take their time, so that something can happen meanwhile.
SLOW = """\
import time
from dataops.rescoring import score

begin = score.begin_unit

def slowly(*arguments, **words):
    time.sleep({seconds})
    return begin(*arguments, **words)

def dask_setup(worker):
    score.begin_unit = slowly
"""

# Dask runs it in its scheduler, which ends once a file is there: the first one that sees it, and no other.
MORTAL = """\
import pathlib
from tornado.ioloop import PeriodicCallback

END = pathlib.Path({end!r})

def dask_setup(scheduler):
    async def look():
        if END.exists():
            END.unlink()
            await scheduler.close()
    PeriodicCallback(look, 100).start()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A rescore in a process of its own."""

    town: Town
    process: subprocess.Popen[str]

    @property
    def run(self) -> str | None:
        """Its run, once it has one."""
        homes = sorted((self.town.folder / "storage" / "datasets" / JOB / "runs").glob("*"))
        earlier = (self.town.folder / "earlier").read_text().split()
        return next((home.name for home in homes if home.name not in earlier), None)

    def records(self) -> int:
        """How many units are done."""
        home = self.town.folder / "storage" / "datasets" / JOB / "runs" / (self.run or "-")
        return len(list(home.glob("units/u*.json")))

    def wait_for(self, records: int) -> None:
        wait_until(lambda: self.records() >= records or self.process.poll() is not None, f"{records} units", 120)
        assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
        assert self.records() < FILES, "it was done before anything could be lost"

    def require_same_bytes(self, done: Done) -> Mapping[str, int]:
        """How often each event happened in the run, which is done, and came to what the embedded cluster makes."""
        _, told = self.process.communicate(timeout=240)
        assert self.process.returncode == 0, told
        assert self.run is not None
        state = open_workspace(str(self.town.folder), {}).ledger.state(self.run)
        assert state.state is State.DONE
        assert self.town.parts(JOB, self.run) == done.parts[JOB]
        events = [event["event"] for event in state.events]
        return {event: events.count(event) for event in events}


@contextmanager
def running(
    town: Town, keys: Mapping[str, object], within: Sequence[str] = (), seconds: float = SECONDS_PER_UNIT
) -> Iterator[Running]:
    """A rescore of `town` on the cluster with `keys`, whose units take `seconds` each."""
    slow = town.folder / "slow.py"
    slow.write_text(SLOW.format(seconds=seconds))
    runs = town.folder / "storage" / "datasets" / JOB / "runs"
    (town.folder / "earlier").write_text("\n".join(home.name for home in runs.glob("*")))
    file = town.folder / "cluster" / "test.yaml"
    config = {"distributed.worker.preload": [str(slow)], **dict(keys.get("config", {}))}  # type: ignore[call-overload]
    file.write_text(json.dumps({**keys, "config": config}))
    arguments = ["job", "run", "jobs/people.yaml", JOB, "--again", "--json", "--cluster", str(file)]
    process = subprocess.Popen(
        [*within, *COMMAND, *arguments, "-w", str(town.folder)],
        env=environment(town.folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Running(town=town, process=process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def agents() -> list[psutil.Process]:
    """Agents behind the SSH servers of this process."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            words = one.cmdline()
            if len(words) > 2 and words[-1] == "dataops.engine.agent" and words[0] != "ssh":
                found.append(one)
    return found


def agents_of(role: str) -> list[psutil.Process]:
    """Those of a role, by the processes that they have."""
    workers = [one for one in agents() if one.children()]
    return workers if role == "worker" else [one for one in agents() if one not in workers]


def no_agent_is_left() -> bool:
    return not agents()


ONE_THREAD = {"score": {"workers": 2, "threads": 1}, "abandoned_seconds": ABANDONED_SECONDS}


def test_a_worker_that_is_killed_is_replaced(done: Done, copied: Copied, ssh: SshServers) -> None:
    with running(copied(), ssh.cluster(**ONE_THREAD)) as rescore:
        rescore.wait_for(2)
        (agent,) = agents_of("worker")
        next(child for child in agent.children() if "spawn_main" in " ".join(child.cmdline())).kill()
        assert rescore.require_same_bytes(done)["cluster_ready"] == 1
    wait_until(no_agent_is_left, "agents ended")


def test_a_lost_dask_scheduler_is_replaced_by_another_cluster(done: Done, copied: Copied, ssh: SshServers) -> None:
    with running(copied(), ssh.cluster(**ONE_THREAD)) as rescore:
        rescore.wait_for(2)
        (agent,) = agents_of("scheduler")
        agent.kill()
        events = rescore.require_same_bytes(done)
        assert (events["cluster_lost"], events["cluster_ready"]) == (1, 2)
    wait_until(no_agent_is_left, "agents ended")


def test_an_embedded_cluster_whose_scheduler_ends_is_replaced(done: Done, copied: Copied, tmp_path: Path) -> None:
    end, preload = tmp_path / "end", tmp_path / "mortal.py"
    preload.write_text(MORTAL.format(end=str(end)))
    config = {"distributed.scheduler.preload": [str(preload)]}
    with running(copied(), {"kind": "local", "score": {"workers": 2, "threads": 1}, "config": config}) as rescore:
        rescore.wait_for(2)
        end.touch()
        events = rescore.require_same_bytes(done)
        assert (events["cluster_lost"], events["cluster_ready"]) == (1, 2)


def test_a_killed_driver_leaves_nothing_behind(copied: Copied, ssh: SshServers) -> None:
    with running(copied(), ssh.cluster(**ONE_THREAD)) as rescore:
        rescore.wait_for(1)
        assert not no_agent_is_left()
        rescore.process.kill()
        wait_until(no_agent_is_left, "agents ended")


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Hosts, SshServers]]:
    """Three hosts: the driver's, and two with SSH servers."""
    if reason := missing("sshd", "ssh", "ssh-keygen") or no_namespaces():
        pytest.skip(reason)
    with Hosts(3) as made, ssh_servers(tmp_path / "ssh", made.addresses, made.within) as servers:
        yield made, servers


def two_hosts(servers: SshServers) -> dict[str, object]:
    """A cluster of the last two hosts; the Dask scheduler is on the first of them."""
    keys = {"score": {"workers": 1, "threads": 1}, "network": "unreliable", "abandoned_seconds": 80.0}
    return {**servers.cluster(**keys), "hosts": list(servers.addresses[1:])}


def test_a_cut_of_a_few_seconds_costs_nothing(done: Done, copied: Copied, hosts: tuple[Hosts, SshServers]) -> None:
    made, servers = hosts
    with running(copied(), two_hosts(servers), made.within(0)) as rescore:
        rescore.wait_for(2)
        workers = set(made.processes(2))
        made.cut(2)
        time.sleep(4.0)  # what is tested is a time
        made.mend(2)
        rescore.wait_for(6)
        assert workers <= set(made.processes(2))
        assert rescore.require_same_bytes(done)["cluster_ready"] == 1


def test_a_host_that_was_cut_off_for_a_minute_comes_back(
    done: Done, copied: Copied, hosts: tuple[Hosts, SshServers]
) -> None:
    made, servers = hosts
    with running(copied(), two_hosts(servers), made.within(0), seconds=6.0) as rescore:
        rescore.wait_for(2)
        before = set(made.processes(2))
        made.cut(2)
        time.sleep(60.0)  # what is tested is a time
        made.mend(2)
        wait_until(lambda: bool(set(made.processes(2)) - before), "its workers are started again")
        assert rescore.require_same_bytes(done)["cluster_ready"] == 1


def test_a_host_that_is_cut_off_for_good_is_done_without(
    done: Done, copied: Copied, hosts: tuple[Hosts, SshServers]
) -> None:
    made, servers = hosts
    keys = {**two_hosts(servers), "abandoned_seconds": ABANDONED_SECONDS}
    with running(copied(), keys, made.within(0)) as rescore:
        rescore.wait_for(2)
        made.cut(2)
        assert rescore.require_same_bytes(done)["cluster_ready"] == 1
        sshd = 1
        wait_until(lambda: len(made.processes(2)) <= sshd + 1, "what it had ended by itself")


def test_a_scheduler_that_is_cut_off_for_good_is_replaced_on_another_host(
    done: Done, copied: Copied, hosts: tuple[Hosts, SshServers]
) -> None:
    made, servers = hosts
    with running(copied(), two_hosts(servers), made.within(0)) as rescore:
        rescore.wait_for(2)
        made.cut(1)
        events = rescore.require_same_bytes(done)
        assert events["cluster_lost"] >= 1
