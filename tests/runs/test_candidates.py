"""Which version a bare name means when it is promoted: what nobody signed has no say in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataops.declarations.promotion import Promotion
from dataops.errors import Integrity
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
