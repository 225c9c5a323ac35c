"""Real parts that clusters are made of, each on loopback or on a network of its own: an SSH server, hosts as network
namespaces, a Dask scheduler with workers. Each ends with its context.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SSHD = "/usr/sbin/sshd"
NETWORK = "10.77.0"
DEADLINE_SECONDS = 60.0
ROOT = Path(__file__).parents[2]

SSHD_CONFIG = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
"""


def missing(*programs: str, root: bool = False) -> str | None:
    """Why tests that need `programs` can't run here; None where they can."""
    absent = [name for name in programs if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if absent:
        return f"{', '.join(absent)}: not installed (make test-cluster installs what it can)"
    return "only root can do this" if root and os.getuid() != 0 else None


def wait_until(true: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Return as soon as `true()`; fail where that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.05)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def started(command: Sequence[str], log: Path, **words: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a group of its own; the group is killed at the end."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **words)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class SshServers:
    """SSH servers with throw-away keys."""

    folder: Path
    addresses: tuple[str, ...]
    port: int

    def cluster(self, **keys: object) -> dict[str, object]:
        """A cluster file of these hosts."""
        files = {"key": f"{self.folder}/id", "known_hosts": f"{self.folder}/known_hosts"}
        return {"kind": "ssh", "hosts": list(self.addresses), "user": "root", "port": self.port, **files, **keys}


@contextmanager
def ssh_servers(
    folder: Path, addresses: Sequence[str] = ("127.0.0.1",), within: Callable[[int], Sequence[str]] = lambda _: ()
) -> Iterator[SshServers]:
    """A server on each of `addresses`, started by the words of `within` (an address's number)."""
    Path("/run/sshd").mkdir(exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in ("host_key", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "id.pub", folder / "authorized_keys")
    key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    port = free_port()
    (folder / "known_hosts").write_text("".join(f"[{address}]:{port} {key}\n" for address in addresses))
    with ExitStack() as stack:
        for number, address in enumerate(addresses):
            config = folder / f"sshd_config_{number}"
            config.write_text(SSHD_CONFIG.format(port=port, address=address, folder=folder))
            log = folder / f"sshd_{number}.log"
            stack.enter_context(started([*within(number), SSHD, "-D", "-e", "-f", str(config)], log))
            wait_until(lambda log=log: "Server listening" in log.read_text(), "sshd listens")  # type: ignore[misc]
        yield SshServers(folder=folder, addresses=tuple(addresses), port=port)


def no_namespaces() -> str | None:
    """Why no network namespaces can be made here; None where they can."""
    if reason := missing("ip", root=True):
        return reason
    name = f"dataops-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "network namespaces can't be made here"
    _ip("netns", "del", name)
    return None


class Hosts:
    """Network namespaces on one bridge, which lies in a namespace of its own: nothing of them is on the machine's."""

    def __init__(self, count: int) -> None:
        self._prefix = f"dataops-test-{os.getpid()}"
        self.addresses = tuple(f"{NETWORK}.{number + 1}" for number in range(count))

    def __enter__(self) -> Self:
        switch = f"{self._prefix}-sw"
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        for number, address in enumerate(self.addresses):
            name = self._name(number)
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", f"p{number}", "netns", switch)
            _ip("-n", switch, "link", "set", f"p{number}", "master", "br0", "up")
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def within(self, number: int) -> list[str]:
        """The beginning of a command that runs on a host."""
        return ["ip", "netns", "exec", self._name(number)]

    def net(self, number: int) -> list[str]:
        """The beginning of a command on the network of a host, which sees all else as this machine does."""
        return ["nsenter", f"--net=/run/netns/{self._name(number)}"]

    def cut(self, number: int) -> None:
        """Cut a host off from all others."""
        _ip("-n", f"{self._prefix}-sw", "link", "set", f"p{number}", "down")

    def mend(self, number: int) -> None:
        """Connect it again."""
        _ip("-n", f"{self._prefix}-sw", "link", "set", f"p{number}", "up")

    def processes(self, number: int) -> list[int]:
        """The processes that run on a host."""
        return [int(pid) for pid in _ip("netns", "pids", self._name(number)).split()]

    def _name(self, number: int) -> str:
        return f"{self._prefix}-h{number + 1}"

    def _end(self) -> None:
        known = [line.split()[0] for line in _ip("netns", "list").splitlines()]
        for name in [one for one in known if one.startswith(f"{self._prefix}-")]:
            for pid in _ip("netns", "pids", name).split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _ip("netns", "del", name)


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@contextmanager
def dask_cluster(folder: Path, *, workers: int = 2, certs: Path | None = None) -> Iterator[Path]:
    """A plain `dask scheduler` and `dask worker` on loopback; the path of the scheduler file."""
    file = folder / "scheduler.json"

    def tls(role: str) -> list[str]:
        words = {"--tls-ca-file": "ca.pem", "--tls-cert": f"{role}.pem", "--tls-key": f"{role}.key"}
        return [word for option, name in words.items() for word in (option, f"{certs}/{name}")] if certs else []

    listen = ["--host", "127.0.0.1", "--protocol", "tls" if certs else "tcp"]
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", *listen, "--port", "0", *tls("scheduler")]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", *listen, "--nworkers", str(workers)]
    with started([*scheduler, "--no-dashboard", "--scheduler-file", str(file)], folder / "scheduler.log", cwd=ROOT):
        wait_until(lambda: file.exists() and "address" in json.loads(file.read_text() or "{}"), "it listens")
        options = ["--nthreads", "1", "--no-dashboard", "--scheduler-file", str(file), *tls("worker")]
        with started([*worker, *options], folder / "worker.log", cwd=folder):
            yield file
