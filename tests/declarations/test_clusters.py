from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.clusters import AddressFile, ClusterFile, LocalFile, Shape, read_cluster, shape_of
from dataops.declarations.templates import template_folder
from dataops.errors import InvalidInput

FILES = sorted((template_folder() / "cluster").glob("*.yaml"))
counts = st.integers(1, 64) | st.just("auto")


def test_there_are_cluster_files() -> None:
    assert "local.yaml" in [path.name for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_cluster_file_loads(path: Path) -> None:
    assert isinstance(read_cluster(path), ClusterFile)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_dask_key_in_a_cluster_file_is_one_that_dask_knows(path: Path) -> None:
    import dask.config
    import distributed  # noqa: F401 - its defaults join Dask's when imported

    absent = object()
    unknown = [key for key in read_cluster(path).config if dask.config.get(key, absent) is absent]
    assert unknown == []


def test_the_local_file_says_what_the_defaults_do() -> None:
    local = read_cluster(template_folder() / "cluster" / "local.yaml")
    assert local.model_copy(update={"config": {}}) == LocalFile()


def test_scoring_takes_a_process_per_core_and_training_few_processes_with_more_threads() -> None:
    assert LocalFile().score.resolve(cores=16) == (16, 1)
    assert LocalFile().train.resolve(cores=16) == (2, 8)
    assert LocalFile().train.resolve(cores=2) == (1, 2)


@pytest.mark.parametrize(
    ("workers", "threads", "cores", "shape"),
    [
        ("auto", 4, 10, (2, 4)),
        ("auto", 4, 2, (1, 4)),
        (3, "auto", 10, (3, 3)),
        (16, "auto", 2, (16, 1)),
        (2, 5, 1, (2, 5)),
        ("auto", "auto", 1, (1, 1)),
        ("auto", "auto", 9, (2, 4)),
    ],
)
def test_shapes_are_resolved_against_the_cores(workers: Any, threads: Any, cores: int, shape: tuple[int, int]) -> None:
    assert Shape(workers=workers, threads=threads).resolve(cores) == shape


@settings(max_examples=50)
@given(workers=counts, threads=counts, cores=st.integers(1, 256))
def test_what_is_automatic_never_asks_for_more_than_the_cores(workers: Any, threads: Any, cores: int) -> None:
    processes, per_process = Shape(workers=workers, threads=threads).resolve(cores)
    assert processes >= 1
    assert per_process >= 1
    if "auto" in (workers, threads) and not any(isinstance(n, int) and n > cores for n in (workers, threads)):
        assert processes * per_process <= cores


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: lokal", "kind: unknown kind of cluster. Did you mean 'local'?"),
        ("score: {worker: 2}", "score.worker: unknown key. Did you mean 'workers'?"),
        ("score: {workers: 0}", "score.workers: expected a number of at least 1 or 'auto', found the number 0"),
        ("score: {workers: many}", "score.workers: expected a whole number or 'auto', found 'many'"),
        ("train: {threads: 1.5}", "train.threads: expected a whole number or 'auto', found the number 1.5"),
        ("memory_limit: plenty", "memory_limit: 'plenty' is no amount of memory"),
        ("memory_limit: 4", "memory_limit: expected text, found the number 4"),
        ("dashboard: 8787", "dashboard: expected text"),
        ("dashboard: '127.0.0.1:0/../x'", "dashboard: '127.0.0.1:0/../x' is no address"),
        ("dashboard: localhost:99999", "dashboard: 'localhost:99999' is no address"),
        ("local_directory: ''", "local_directory: is empty"),
        ("- a", "expected a mapping"),
        ("kind: [local]", "kind: unknown kind of cluster"),
        ("{kind: address}", "expected one of 'address' and 'scheduler_file'"),
        ("{kind: address, address: 'tls://h:1', certs: c, scheduler_file: f}", "expected one of 'address' and"),
        ("{kind: address, address: 'h:1'}", "address: 'h:1' is no address of a Dask scheduler"),
        ("{kind: address, address: 'tcp://10.0.0.1:8786'}", "address: data would leave this machine unencrypted"),
        ("{kind: address, address: 'tls://10.0.0.1:8786'}", "address: a cluster with TLS takes certificates"),
        ("{kind: address, address: 'tcp://10.0.0.1:1', certs: c}", "address: with 'certs' the address begins with tls"),
        ("{kind: address, adress: 'tcp://127.0.0.1:1'}", "adress: unknown key. Did you mean 'address'?"),
        ("{kind: address, address: 'tcp://127.0.0.1:1', score: {workers: 2}}", "score: unknown key"),
        ("{kind: ssh}", "hosts: a required key is missing"),
        ("{kind: ssh, hosts: []}", "hosts: expected a list of at least 1"),
        ("{kind: ssh, hosts: ['-oProxyCommand=x']}", "hosts[0]: '-oProxyCommand=x' is no host"),
        ("{kind: ssh, hosts: [a, b, a]}", "hosts[2]: 'a' is listed twice"),
        ("{kind: ssh, hosts: [a], user: '-l'}", "user: '-l': expected a word"),
        ("{kind: ssh, hosts: [a], environment: ['A=1']}", "environment[0]: 'A=1' is no name of a variable"),
        ("{kind: ssh, hosts: [a], abandoned_seconds: 1}", "abandoned_seconds: expected a number of at least 10"),
    ],
)
def test_mistakes_in_a_cluster_file_are_found(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text + "\n")
    with pytest.raises(InvalidInput) as caught:
        read_cluster(path)
    assert len(str(caught.value).splitlines()) == 1
    assert f"c.yaml:1: {message}" in str(caught.value)


@pytest.mark.parametrize("limit", ["auto", "4 GB", "4GiB", "512 MiB", "1.5 GB"])
def test_memory_limits_are_sizes(tmp_path: Path, limit: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"memory_limit: {limit}\n")
    assert read_cluster(path) == LocalFile(memory_limit=limit)


@pytest.mark.parametrize(
    "text",
    [
        "address: tcp://127.0.0.1:8786",
        "address: tcp://[::1]:8786",
        "address: tcp://localhost:8786",
        "address: tls://10.0.0.1:8786\ncerts: certs",
        "address: tcp://10.0.0.1:8786\ninsecure: true",
        "scheduler_file: clusters/mine.json",
    ],
)
def test_what_stays_on_the_machine_is_encrypted_or_was_asked_for_is_fine(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"kind: address\n{text}\n")
    assert isinstance(read_cluster(path), AddressFile)


def test_relative_paths_are_below_the_workspace(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("{kind: address, scheduler_file: /run/one.json, certs: certs}\n")
    read = read_cluster(path, workspace=tmp_path / "home")
    assert isinstance(read, AddressFile)
    assert (read.scheduler_file, read.certs) == ("/run/one.json", str(tmp_path / "home" / "certs"))


def test_a_cluster_that_stands_already_has_no_shape_to_start_in() -> None:
    assert shape_of(AddressFile(kind="address", address="tcp://127.0.0.1:1"), training=True) is None
    assert shape_of(LocalFile(), training=True) == LocalFile().train
    assert shape_of(LocalFile(), training=False) == LocalFile().score
