"""Small packages and rules for the tests of registry and promotion."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dataops.features.encoder import CategoricalColumn, Encoder, NumericColumn
from dataops.features.program import FeatureProgram
from dataops.features.steps import RowSteps
from dataops.governance.signing import Signer, SigningKey, create_signing_key
from dataops.models.linear import LinearModel
from dataops.models.package import Package
from dataops.records import digest_bytes, encode_record
from dataops.registry.versions import Registry

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
MODEL = LinearModel(intercept=0.5, numeric=(0.25,), categorical=((0.0, 0.75, -0.75),)).to_bytes()


def make_program() -> FeatureProgram:
    return FeatureProgram(
        sources=(("age", "int64"), ("job", "string")),
        steps=RowSteps(generalise=(), derive=(), where=None),
        encoder=Encoder(
            numeric=(NumericColumn(name="age", fill=40.0, mean=41.0, scale=12.0),),
            categorical=(CategoricalColumn(name="job", categories=("clerk", "nurse")),),
        ),
    )


def make_metrics(roc_auc: float | None = 0.9, log_loss: float | None = 0.2, rows: int = 1000) -> dict[str, Any]:
    groups = {"Female": {"rows": 480, "roc_auc": roc_auc}, "Male": {"rows": 520, "roc_auc": roc_auc}}
    return {
        "holdout": {
            "selection": {"rows": "sha256:all", "slices": {"sex": "sha256:sex"}},
            "rows": rows,
            "overall": {"roc_auc": roc_auc, "log_loss": log_loss},
            "slices": {"sex": groups},
        }
    }


def make_package(run: str = "run-1", metrics: Mapping[str, Any] | None = None) -> Package:
    return Package(
        program=make_program(),
        model_format="linear-json/1",
        model=MODEL,
        metrics=make_metrics() if metrics is None else metrics,
        card="# Model card: income\n",
        lineage={"run": run, "snapshot": "census_training@1", "seed": 0, "trainer": "logistic", "params": {"l2": 1.0}},
        classifications=("pii.quasi",),
    )


def make_key(folder: Path, at: datetime = AT, number: int = 1) -> tuple[SigningKey, Signer]:
    """A new key, the `number`th of its folder, and its public side."""
    signer = create_signing_key(folder, at=at, secret=bytes([number] * 32), owner="ana")
    return SigningKey(folder=folder, key_id=signer.id), signer


def put_verdict(registry: Registry, version: int, **changes: Any) -> str:
    """The digest of a verdict on `version` of income, with as much in it as a move is held against."""
    body = {"model": "income", "version": version, "version_digest": registry.find("income", version).digest}
    data = encode_record("verdict", 1, {**body, "alias": "champion", "passed": True, "override": None, **changes})
    digest = digest_bytes(data)
    assert registry.store.put_if_absent(f"income/verdicts/{digest.removeprefix('sha256:')}.json", data)
    return digest
