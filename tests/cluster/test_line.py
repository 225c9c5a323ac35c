"""The whole line on clusters of every kind: given one model version, the same bytes as on the embedded one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from dataops.declarations.clusters import AddressFile, SshFile
from dataops.engine.certs import new_certificates, write_certificates
from dataops.engine.connect import connect
from dataops.errors import Compute, InvalidInput
from dataops.records import now_utc
from dataops.runs.ledger import State
from tests.cluster.conftest import MADE, Done, Town
from tests.cluster.parts import SshServers, dask_cluster, wait_until

pytestmark = pytest.mark.cluster

Copied = Callable[[], Town]


def require_same_bytes(town: Town, keys: Mapping[str, object], done: Done) -> None:
    """What `town` makes on the cluster with `keys` is what the embedded one made; it trains there as well."""
    cluster = town.cluster(keys)
    for name in MADE:
        made = town.run(name, cluster)
        assert made.state.state is State.DONE
        assert town.parts(name, made.state.run.id) == done.parts[name]
    assert town.run("wealth", cluster).state.result["versions"]


def test_a_plain_cluster_by_address(done: Done, copied: Copied, tmp_path: Path) -> None:
    with dask_cluster(tmp_path) as file:
        require_same_bytes(copied(), {"kind": "address", "scheduler_file": str(file)}, done)


def test_a_plain_cluster_by_address_with_tls(done: Done, copied: Copied, tmp_path: Path) -> None:
    certs = tmp_path / "certs"
    write_certificates(certs, new_certificates(at=now_utc(), days=1))
    with dask_cluster(tmp_path, certs=certs) as file:
        keys = {"kind": "address", "scheduler_file": str(file)}
        require_same_bytes(copied(), {**keys, "certs": str(certs)}, done)
        town = Town(folder=tmp_path / "town")
        with pytest.raises(InvalidInput, match="takes certificates"):
            town.run("people_scores", town.cluster(keys))
        write_certificates(tmp_path / "others", new_certificates(at=now_utc(), days=1))
        stranger = town.cluster({**keys, "certs": str(tmp_path / "others")})
        assert isinstance(stranger, AddressFile)
        with pytest.raises(Compute, match="are 'certs' those of this cluster"):
            town.run("people_scores", stranger.model_copy(update={"start_seconds": 3.0}))


def answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=30) as page:  # noqa: S310  # an address of ours
            return bool(page.status == 200)
    except URLError:
        return False


def test_the_dashboard_of_a_host_is_seen_from_here(ssh: SshServers) -> None:
    cluster = SshFile.model_validate_json(json.dumps(ssh.cluster(score={"workers": 1, "threads": 1})))
    with connect(cluster, cluster.score) as connection:
        assert connection.dashboard.startswith("http://127.0.0.1:")
        wait_until(lambda: answers(connection.dashboard), "the dashboard answers")
    assert not answers(connection.dashboard)


def test_hosts_by_ssh_with_tls(done: Done, copied: Copied, ssh: SshServers) -> None:
    require_same_bytes(copied(), ssh.cluster(score={"workers": 2, "threads": 1}), done)
