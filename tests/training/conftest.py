"""Clusters whose workers may be killed, and parts to put on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster, Scheduler

from dataops.engine.loosening import loosen
from dataops.features.encoder import CategoricalColumn, Encoded, Encoder, NumericColumn
from dataops.training.parts import EncodedPart, PartsOnCluster

SIZES = (3, 40)

MakePart = Callable[..., EncodedPart]
Place = Callable[..., PartsOnCluster]


@pytest.fixture(scope="session")
def second_cluster() -> Iterator[Client]:
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}),  # as in `engine.connect`, rule 5
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as started,
        Client(started, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def mortal_cluster(second_cluster: Client) -> Client:
    """A cluster whose workers a test may kill: they are started again."""
    loosen(second_cluster)
    second_cluster.wait_for_workers(2, timeout=120)
    return second_cluster


@pytest.fixture
def impatient_cluster(mortal_cluster: Client) -> Iterator[Client]:
    """A mortal cluster that gives a task up with the first worker that it kills."""

    def allow(failures: int, dask_scheduler: Scheduler) -> int:
        before, dask_scheduler.allowed_failures = dask_scheduler.allowed_failures, failures
        return before

    before = mortal_cluster.run_on_scheduler(allow, 0)
    yield mortal_cluster
    mortal_cluster.run_on_scheduler(allow, before)


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder(
        numeric=tuple(NumericColumn(name=name, fill=0.0, mean=0.0, scale=1.0) for name in ("age", "wage", "hours")),
        categorical=tuple(
            CategoricalColumn(name=f"c{size}", categories=tuple(f"v{i:03d}" for i in range(size - 1))) for size in SIZES
        ),
    )


@pytest.fixture(scope="session")
def make_part() -> MakePart:
    """A part of `rows` rows whose target follows numbers and categories; unscaled numbers, skewed codes."""

    def make(seed: int, rows: int, *, weighted: bool = False) -> EncodedPart:
        random = np.random.default_rng(seed)
        numeric = (random.standard_normal((rows, 3)) * [10, 300, 1] + [40, 900, 0]).astype(np.float32)
        codes = np.stack([(random.random(rows) ** 2 * size).astype(np.int32) for size in SIZES], axis=1)
        margin = (numeric[:, 0] - 45) / 10 + (codes[:, 0] == 1) - (codes[:, 1] % 5 == 2) * 1.5
        target = (random.random(rows) < 1 / (1 + np.exp(-margin))).astype(np.float32)
        return EncodedPart(
            encoded=Encoded.of(numeric=numeric, codes=codes),
            target=target,
            weight=random.integers(0, 4, rows).astype(np.float32) if weighted else None,
            slices={"third": np.array(["low", "middle", "high"])[codes[:, 0]]},
        )

    return make


@pytest.fixture(scope="session")
def place(encoder: Encoder) -> Place:
    """Puts parts on a cluster: each on the worker whose number `workers` gives, else wherever Dask likes."""

    def put(client: Client, parts: Sequence[EncodedPart], workers: Sequence[int] | None = None) -> PartsOnCluster:
        addresses = sorted(client.nthreads())
        chosen = [None] * len(parts) if workers is None else [[addresses[number]] for number in workers]
        futures = tuple(
            client.submit(lambda given: given, part, workers=where, allow_other_workers=where is not None, pure=False)
            for part, where in zip(parts, chosen, strict=True)
        )
        return PartsOnCluster(client=client, futures=futures, rows=tuple(part.rows for part in parts), encoder=encoder)

    return put
