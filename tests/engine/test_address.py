"""Finding a cluster that stands: by an address or a scheduler file, and never unencrypted off this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataops.declarations.clusters import AddressFile
from dataops.engine.address import find
from dataops.engine.certs import new_certificates, write_certificates
from dataops.errors import Compute, DataopsError, InvalidInput, NotFound
from dataops.records import now_utc


def in_file(folder: Path, address: object, **keys: object) -> AddressFile:
    path = folder / "scheduler.json"
    path.write_text(json.dumps({"type": "Scheduler", "address": address}))
    return AddressFile.model_validate({"kind": "address", "scheduler_file": str(path), **keys})


def test_a_scheduler_file_says_where_it_is(tmp_path: Path) -> None:
    with find(in_file(tmp_path, "tcp://127.0.0.1:8786", start_seconds=3)) as found:
        assert (found.scheduler, found.security, found.seconds) == ("tcp://127.0.0.1:8786", None, 3.0)
        assert found.workers is None  # they are counted once it is met


def test_with_certificates_a_client_s_own_are_taken(tmp_path: Path) -> None:
    certs = new_certificates(at=now_utc())
    write_certificates(tmp_path / "certs", {name: certs[name] for name in ("ca.pem", "client.pem", "client.key")})
    with find(in_file(tmp_path, "tls://10.0.0.1:8786", certs=str(tmp_path / "certs"))) as found:
        assert found.security is not None
        assert found.security.require_encryption


@pytest.mark.parametrize(
    ("address", "keys", "family", "told"),
    [
        ("tcp://10.0.0.1:8786", {}, InvalidInput, "data would leave this machine unencrypted"),
        ("tls://10.0.0.1:8786", {}, InvalidInput, "takes certificates"),
        ("tls://10.0.0.1:8786", {"certs": "/nowhere"}, NotFound, "dataops cluster certs"),
        ("inproc://x", {}, InvalidInput, "holds no address"),
        (7, {}, InvalidInput, "holds no address"),
    ],
)
def test_what_a_scheduler_file_says_is_held_to_the_same(
    tmp_path: Path, address: object, keys: dict[str, object], family: type[DataopsError], told: str
) -> None:
    with pytest.raises(family, match=told), find(in_file(tmp_path, address, **keys)):
        pass


def test_without_its_file_a_cluster_is_not_there(tmp_path: Path) -> None:
    gone = AddressFile(kind="address", scheduler_file=str(tmp_path / "gone.json"))
    with pytest.raises(Compute, match="the cluster doesn't run"), find(gone):
        pass
