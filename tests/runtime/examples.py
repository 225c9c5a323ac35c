"""A registry with small linear models, whose answers tell which version gave them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dataops.governance.signing import Signer, SigningKey, create_signing_key
from dataops.models.golden import make_golden
from dataops.models.linear import LinearModel
from dataops.registry.aliases import move
from dataops.registry.moves import AliasMove, MoveKind
from dataops.registry.trust import UNSIGNED, Trust
from dataops.registry.versions import ModelVersion, Registry
from dataops.runtime import Handle, load
from dataops.storage.objects import open_store
from tests.registry.examples import make_package

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [{"age": 41, "job": "clerk"}, {"age": None, "job": None}, {"age": 20, "job": "pilot"}]


def make_model(intercept: float = 0.0) -> LinearModel:
    return LinearModel(intercept=intercept, numeric=(0.5,), categorical=((0.0, 0.25, -0.25),))


def expected(intercept: float) -> list[float]:
    """What `make_model(intercept)` gives for `ROWS`."""
    margins = np.array([intercept + 0.25, intercept + 0.5 * (40 - 41) / 12, intercept + 0.5 * (20 - 41) / 12])
    return list(1 / (1 + np.exp(-margins)))


def make_registry(folder: Path | str, trust: Trust = UNSIGNED) -> Registry:
    return Registry(open_store(str(folder)), trust)


def register(
    registry: Registry, intercept: float, *, key: SigningKey | None = None, at: datetime = AT, golden: bool = True
) -> ModelVersion:
    """The next version of ``income``: each with another `intercept`."""
    model = make_model(intercept)
    package = replace(make_package(f"run {intercept}"), model=model.to_bytes())
    package = replace(package, golden=make_golden(package.program, model) if golden else None)
    return registry.register("income", package, at=at, key=key)


def promote(
    registry: Registry, version: int, *, key: SigningKey | None = None, kind: MoveKind = MoveKind.PROMOTED
) -> AliasMove:
    return move(registry, "income", "champion", version, actor="ana", reason="better", key=key, kind=kind)


def make_key(folder: Path, at: datetime = AT, number: int = 1) -> tuple[SigningKey, Signer]:
    signer = create_signing_key(folder, at=at, secret=bytes([number] * 32), owner="ana")
    return SigningKey(folder=folder, key_id=signer.id), signer


@contextmanager
def opened(folder: Path, **arguments: Any) -> Iterator[Handle]:
    """A handle that looks only when it is told to, unless the test says how often."""
    with load(folder, "income", **{"trust": UNSIGNED, "every": None, **arguments}) as handle:
        yield handle


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Returns as soon as `condition` holds; fails where it doesn't within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
