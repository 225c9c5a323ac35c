"""Signing models by name: what is exchanged between the look and the signature isn't signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataops.errors import Integrity
from dataops.records import now_utc
from dataops.registry.aliases import resolve
from dataops.registry.versions import ModelVersion, Registry
from dataops.runs import models
from dataops.storage.objects import MemoryStore
from tests.registry.examples import make_package
from tests.runs.offline import Offline


def test_who_signs_by_name_signs_nothing_that_was_put_there_since_the_name_was_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can write the registry exchanges the champion for a version of their own, right after it was trusted."""
    workspace = Offline.make(tmp_path / "town", files=1).workspace
    registry = workspace.registry
    models.set_alias(workspace, "wealth@1", "shadow", reason="to compare")
    forged = Registry(MemoryStore())
    forged.register("wealth", make_package("forged"), at=now_utc())
    signatures = registry.store.list("wealth/versions/1/signatures")

    def exchanged(*asked: str) -> ModelVersion:
        found = resolve(registry, *asked[1:])
        for key in registry.store.list("wealth/versions/1"):
            if key not in signatures:
                registry.store.delete(key)
        for key in forged.store.list("wealth/versions/1"):
            registry.store.put_if_absent(key, forged.store.get(key))
        for key in signatures:  # so that this key signs anew
            registry.store.delete(key)
        return found

    monkeypatch.setattr(models, "resolve", exchanged)
    with pytest.raises(Integrity, match="wealth@1 was exchanged since it was looked at"):
        models.sign_reference(workspace, "wealth@shadow")
    assert registry.store.list("wealth/versions/1/signatures") == []
    assert Registry(registry.store).read("wealth", 1).package.lineage["run"] == "forged"
