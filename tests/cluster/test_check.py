"""``dataops cluster check`` of hosts by SSH: TLS that turns strangers away, and what is wrong on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest

from tests.cluster.conftest import Town
from tests.cluster.parts import SshServers
from tests.faults.driver import command

pytestmark = pytest.mark.cluster


def test_hosts_by_ssh_are_checked(copied: Callable[[], Town], ssh: SshServers) -> None:
    town = copied()
    town.cluster(ssh.cluster(score={"workers": 2, "threads": 1}))
    done = command(town.folder, "cluster", "check", "cluster/test.yaml", "--json")
    assert done.returncode == 0, done.stderr
    checked: Mapping[str, object] = json.loads(done.stdout)
    assert checked["ok"]
    assert checked["encrypted"]
    workers = list(json.loads(done.stdout)["workers"].values())
    assert sorted(worker["storage"]["found"] for worker in workers) == [False, True]  # of two, one is the first


def test_a_host_without_dataops_says_so(copied: Callable[[], Town], ssh: SshServers) -> None:
    town = copied()
    town.cluster(ssh.cluster(python="/usr/bin/python3"))
    done = command(town.folder, "cluster", "check", "cluster/test.yaml")
    assert done.returncode == 11
    assert "127.0.0.1: " in done.stderr
    assert "No module named 'dataops'" in done.stderr
