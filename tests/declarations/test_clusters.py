from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.clusters import ClusterFile, Shape, read_cluster
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
    assert local.model_copy(update={"config": {}}) == ClusterFile()


def test_scoring_takes_a_process_per_core_and_training_few_processes_with_more_threads() -> None:
    assert ClusterFile().score.resolve(cores=16) == (16, 1)
    assert ClusterFile().train.resolve(cores=16) == (2, 8)
    assert ClusterFile().train.resolve(cores=2) == (1, 2)


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
        ("kind: lokal", "kind: expected 'local', found 'lokal'. Did you mean 'local'?"),
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
    assert read_cluster(path).memory_limit == limit
