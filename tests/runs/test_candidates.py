"""Which version a bare name means when it is promoted: what nobody signed has no say in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataops.declarations.promotion import Promotion
from dataops.errors import Integrity
from dataops.governance.signing import SigningKey
from dataops.models.package import SUBMITTED_BY
from dataops.registry.trust import Trust
from dataops.registry.versions import Registry
from dataops.runs.candidates import best_candidate
from dataops.storage.objects import MemoryStore
from tests.registry.examples import AT, make_key, make_metrics, make_package

RULES = {"model": "income", "rules": [{"metric": "roc_auc", "minimum": 0.5}]}
PROMOTION = Promotion.model_validate(RULES, strict=False)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Two runs: the first with versions 1 and 2, the second with version 3."""
    key, signer = make_key(tmp_path)
    made = Registry(MemoryStore(), Trust(signers=(signer,)))
    for run, area in (("spring", 0.8), ("spring", 0.9), ("summer", 0.7)):
        made.register("income", make_package(run, make_metrics(area)), at=AT, key=key)
    return made


@pytest.mark.parametrize("run", ["spring", "autumn"])
def test_an_unsigned_version_leads_to_no_other_run(registry: Registry, run: str) -> None:
    assert best_candidate(registry, "income", PROMOTION) == 3
    Registry(registry.store).register("income", make_package(run, make_metrics(0.99)), at=AT)
    with pytest.raises(Integrity, match="income@4 is not to be trusted: it is not signed"):
        best_candidate(registry, "income", PROMOTION)


def test_an_unsigned_version_of_the_newest_run_is_passed_over(registry: Registry) -> None:
    Registry(registry.store).register("income", make_package("summer", make_metrics(0.99)), at=AT)
    notes: list[object] = []
    assert best_candidate(registry, "income", PROMOTION, note=notes.append) == 3
    assert len(notes) == 1
    assert "income@4 is not to be trusted" in str(notes[0])


def submit(registry: Registry, run: str = "autumn", key: SigningKey | None = None) -> int:
    """The number of a version that somebody had trained who submitted that."""
    package = make_package(run, make_metrics(0.99))
    lineage = {**package.lineage, SUBMITTED_BY: "mallory"}
    return registry.register("income", replace(package, lineage=lineage), at=AT, key=key).version


def test_what_somebody_submitted_and_nobody_signed_is_passed_over_and_hides_no_newest_run(registry: Registry) -> None:
    assert submit(registry) == 4
    notes: list[object] = []
    assert best_candidate(registry, "income", PROMOTION, note=notes.append) == 3
    assert len(notes) == 1
    assert str(notes[0]).startswith("passed over: income@4 was submitted by 'mallory', and nobody signed it")
    assert best_candidate(registry, "income", Promotion(model="income", rules=())) == 3


def test_what_somebody_submitted_counts_as_soon_as_a_key_vouches_for_it(registry: Registry, tmp_path: Path) -> None:
    submit(registry)
    registry.sign("income", 4, make_key(tmp_path / "again")[0], at=AT)
    assert best_candidate(registry, "income", PROMOTION) == 4


def test_where_nothing_needs_to_be_signed_what_somebody_submitted_is_passed_over_as_well(tmp_path: Path) -> None:
    registry = Registry(MemoryStore())
    submit(registry)
    with pytest.raises(Integrity, match="income@1 was submitted by 'mallory', and nobody signed it"):
        best_candidate(registry, "income", PROMOTION)
    registry.register("income", make_package("spring", make_metrics(0.8)), at=AT)
    submit(registry, "winter")
    assert best_candidate(registry, "income", PROMOTION) == 2
    submit(registry, "spring again", make_key(tmp_path)[0])
    assert best_candidate(registry, "income", PROMOTION) == 4
