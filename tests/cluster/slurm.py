"""A Slurm from Debian's packages, without systemd, everything it has in one folder: of one node on loopback, or of
nodes that are hosts on a network of their own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cluster.parts import Hosts, started, wait_until

CONFIG = """\
ClusterName=test
SlurmctldHost={name}({address})
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
MpiDefault=none
ReturnToService=2
SwitchType=switch/none
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""
NODE = "NodeName={name} NodeAddr={address} CPUs={cores} State=UNKNOWN\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slurm:
    """A Slurm that runs.

    Attributes
    ----------
    variables : of the environment, which its commands take.
    within : the beginning of a command that is typed where jobs are submitted.
    """

    variables: Mapping[str, str]
    within: Sequence[str] = ()

    def asked(self, *words: str) -> str:
        """What a command of Slurm's prints."""
        environ = {**os.environ, **self.variables}
        done = subprocess.run([*self.within, *words], env=environ, capture_output=True, text=True, check=False)
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """The node of each job that runs or waits, by its number."""
        return dict(line.split(":") for line in self.asked("squeue", "-h", "-o", "%i:%N").splitlines())


@contextmanager
def slurm(hosts: Hosts | None = None) -> Iterator[Slurm]:
    """A Slurm whose files are in a folder of its own.

    Parameters
    ----------
    hosts : the first is where jobs are submitted, each other one is a node. None: one node on loopback.
    """
    with TemporaryDirectory(prefix="dataops-slurm-") as folder:
        Path(folder).chmod(0o755)  # munged, of a user of its own, has to get in
        with _slurm(Path(folder), hosts) as found:
            yield found


@contextmanager
def _slurm(folder: Path, hosts: Hosts | None) -> Iterator[Slurm]:
    log, config = folder / "log", folder / "slurm.conf"
    here = socket.gethostname().partition(".")[0]
    nodes = {here: "127.0.0.1"} if hosts is None else {f"n{n}": one for n, one in enumerate(hosts.addresses) if n}
    control = (here, "127.0.0.1") if hosts is None else ("control", hosts.addresses[0])
    text = CONFIG.format(name=control[0], address=control[1], folder=folder)
    lines = [NODE.format(name=name, address=address, cores=os.cpu_count()) for name, address in nodes.items()]
    config.write_text(text.replace("PartitionName", f"{''.join(lines)}PartitionName"))
    found = Slurm(variables={"SLURM_CONF": str(config)}, within=() if hosts is None else hosts.within(0))
    (folder / "state").mkdir()
    with ExitStack() as stack:
        stack.enter_context(_munge(folder, log))
        for number, (name, daemon) in enumerate([(control[0], "slurmctld"), *((name, "slurmd") for name in nodes)]):
            (folder / f"spool-{name}").mkdir(exist_ok=True)
            within = [] if hosts is None else [*hosts.net(number), *_NAMED, name]
            command = [*within, f"/usr/sbin/{daemon}", "-D", "-f", str(config)]
            stack.enter_context(started(command, log, env={**os.environ, **found.variables}))
        idle = [f"{len(nodes)} idle"]
        wait_until(lambda: found.asked("sinfo", "-h", "-o", "%D %T").splitlines() == idle, "all nodes are idle")
        try:
            yield found
        finally:
            found.asked("scancel", "--name=dataops")


_NAMED = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"')
"""Begins a command that takes its machine to have the name which comes next."""


@contextmanager
def _munge(folder: Path, log: Path) -> Iterator[None]:
    (folder / "munge").mkdir()
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    for path in (folder / "munge", key):
        shutil.chown(path, "munge", "munge")
    files = [f"--{option}-file={folder}/munge/{option}" for option in ("key", "pid", "log", "seed")]
    words = ["runuser", "-u", "munge", "--", "/usr/sbin/munged", "--foreground", "--force", *files]
    with started([*words, f"--socket={folder}/munge/socket"], log):
        wait_until((folder / "munge" / "socket").exists, "munged listens")
        yield
