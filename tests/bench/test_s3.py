"""A benchmark whose data and outcomes lie on S3: made, loaded, catalogued and looked through there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from dataops.bench.making import load_data, make_data
from dataops.bench.place import make_workspace, take_place
from dataops.bench.quality import check_canaries
from dataops.bench.sizes import size_of
from dataops.storage.files import open_files
from tests.storage.s3_server import S3Server

SIZE = size_of(0.001, 0)


@pytest.fixture
def client() -> Iterator[Client]:
    cluster = LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0")
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


def test_data_lies_below_the_storage_and_outcomes_are_looked_through_there(
    s3: S3Server, tmp_path: Path, client: Client
) -> None:
    bucket = s3.make_bucket()
    place = take_place(tmp_path / "bench", SIZE, f"s3://{bucket}/runs/one")
    data, made = make_data(client, place.data_url, SIZE, place.journal, landed=lambda _: None)
    assert made == sum(SIZE.rows.values())
    paths = [part.path for part in data.parts]
    assert load_data(client, place.data_url, paths, landed=lambda _: None)[0] == data.rows()
    assert {found.path for found in open_files(f"s3://{bucket}/runs/one/data").list("")} == set(paths)
    assert make_data(client, place.data_url, SIZE, place.journal, landed=lambda _: None) == (data, 0)

    workspace = make_workspace(place)
    assert workspace.settings.storage == f"s3://{bucket}/runs/one/storage"
    assert not check_canaries(client, (place.data_url,)).holds
    files = open_files(workspace.settings.storage)
    files.write("runs/one.json", lambda to: to.write(b"{}"))
    assert check_canaries(client, (workspace.settings.storage,)).holds
    files.write("runs/two.json", lambda to: to.write(json.dumps({"who": "KV-000000017"}).encode()))
    assert not check_canaries(client, (workspace.settings.storage,)).holds
