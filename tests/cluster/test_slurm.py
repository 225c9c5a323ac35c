"""A cluster in jobs of Slurm: the same bytes; a job that somebody cancels is submitted again; no job is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cluster.conftest import Done, Town
from tests.cluster.parts import Hosts, missing, no_namespaces, wait_until
from tests.cluster.slurm import Slurm, slurm
from tests.cluster.test_losses import running

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

KEYS = {"kind": "slurm", "host": "127.0.0.1", "cores": 1, "score": {"workers": 1, "threads": 1}}
ABANDONED_SECONDS = 20.0


@pytest.fixture(scope="module")
def _parts() -> None:
    if reason := missing("munged", "slurmctld", "slurmd", "srun", "runuser", root=True):
        pytest.skip(reason)


@pytest.fixture(scope="module")
def single(_parts: None) -> Iterator[Slurm]:
    with slurm() as found:
        yield found


def use(found: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in found.variables.items():
        monkeypatch.setenv(name, value)


def test_a_rescore_in_jobs_of_slurm_of_which_one_is_cancelled(
    done: Done, copied: Callable[[], Town], single: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(single, monkeypatch)
    with running(copied(), {**KEYS, "jobs": 2}, seconds=2.0) as rescore:
        rescore.wait_for(2)
        before = set(single.jobs())
        single.asked("scancel", min(before))
        wait_until(lambda: bool(set(single.jobs()) - before), "it is submitted again")
        assert rescore.require_same_bytes(done)["cluster_ready"] == 1
    wait_until(lambda: not single.jobs(), "no job is left")


def test_more_jobs_come_with_work_that_waits(
    done: Done, copied: Callable[[], Town], single: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(single, monkeypatch)
    with running(copied(), {**KEYS, "jobs": 2, "adapt": {"minimum": 1}}, seconds=4.0) as rescore:
        rescore.wait_for(1)
        wait_until(lambda: len(single.jobs()) == 2, "it has grown")
        assert rescore.require_same_bytes(done)["cluster_ready"] == 1
    wait_until(lambda: not single.jobs(), "no job is left")


def test_a_driver_that_is_killed_leaves_no_job(
    copied: Callable[[], Town], single: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(single, monkeypatch)
    with running(copied(), {**KEYS, "jobs": 1}) as rescore:
        rescore.wait_for(1)
        assert single.jobs()
        rescore.process.kill()
        wait_until(lambda: not single.jobs(), "no job is left")


@pytest.mark.usefixtures("_parts")
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "one cut off for good"])
def test_a_rescore_on_two_nodes(
    done: Done, copied: Callable[[], Town], monkeypatch: pytest.MonkeyPatch, *, cut: bool
) -> None:
    if reason := no_namespaces() or missing("nsenter", "unshare"):
        pytest.skip(reason)
    with Hosts(3) as hosts, slurm(hosts) as two:
        use(two, monkeypatch)
        keys = {**KEYS, "jobs": 2, "cores": 2, "host": hosts.addresses[0], "abandoned_seconds": ABANDONED_SECONDS}
        with running(copied(), keys, within=hosts.within(0)) as rescore:
            rescore.wait_for(3)
            assert sorted(two.jobs().values()) == ["n1", "n2"]
            if cut:
                hosts.cut(2)
            rescore.require_same_bytes(done)
