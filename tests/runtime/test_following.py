"""Looks for the next version: what was refused isn't read at each of them, and one that hangs is seen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dataops.declarations.signers import add_signer
from dataops.errors import Integrity, Storage
from dataops.registry.moves import AliasMove
from dataops.registry.versions import Registry
from dataops.runtime import Handle
from dataops.runtime.beating import Beating
from dataops.runtime.serving import Serving, load_serving
from tests.runtime.examples import AT, ROWS, expected, make_key, make_registry, opened, promote, register, wait_until


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A registry with three versions, the first of them champion."""
    registry = make_registry(tmp_path / "models")
    for number in (1, 2, 3):
        register(registry, float(number))
    promote(registry, 1)
    return tmp_path / "models"


def counted_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions that were read since."""
    reads: list[int] = []

    def counted(registry: Registry, move: AliasMove, **arguments: Any) -> Serving:
        reads.append(move.version)
        return load_serving(registry, move, **arguments)

    monkeypatch.setattr("dataops.runtime.following.load_serving", counted)
    return reads


def looks_that_read(model: Handle, reads: list[int], looks: int) -> list[int]:
    """The numbers of those of so many `looks` of the watcher's in which a version was read; each fails."""
    found = []
    for look in range(1, looks + 1):
        before = len(reads)
        with pytest.raises(Integrity):
            model._look(patient=True)
        assert isinstance(model.last_error, Integrity)
        if len(reads) > before:
            found.append(look)
    return found


def test_a_refused_version_is_read_less_and_less_often_until_the_alias_moves_on(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = make_registry(models)
    (models / "income/versions/3/model.json").unlink()
    with opened(models) as model:
        promote(registry, 3)
        reads = counted_reads(monkeypatch)
        assert looks_that_read(model, reads, 100) == [1, 3, 7, 15, 31, 63, 95]
        with pytest.raises(Integrity):
            model.refresh()  # who asks by hand doesn't wait
        assert len(reads) == 8
        promote(registry, 2)
        assert model._look(patient=True)
        assert (model.version.version, model.last_error) == (2, None)
        promote(registry, 3)
        assert looks_that_read(model, reads, 7) == [1, 3, 7]


def test_a_refused_version_is_read_at_once_when_other_keys_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, signer = make_key(tmp_path / "keys")
    new, added = make_key(tmp_path / "keys", at=AT + timedelta(minutes=1), number=2)
    models, at = tmp_path / "models", AT + timedelta(hours=1)
    registry = make_registry(models)
    register(registry, 1.0, key=old, at=at)
    register(registry, 2.0, key=new, at=at)
    promote(registry, 1, key=old)
    add_signer(tmp_path, signer)
    with opened(models, trust=tmp_path / "signers.yaml") as model:
        promote(registry, 2, key=old)
        assert looks_that_read(model, counted_reads(monkeypatch), 12) == [1, 3, 7]
        add_signer(tmp_path, added)
        assert model._look(patient=True)
        assert model.version.version == 2


def test_a_storage_that_fails_is_asked_again_at_the_next_look(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Serving:
        raise Storage("the disk is gone")

    with opened(models) as model:
        promote(make_registry(models), 2)
        with monkeypatch.context() as patch:
            patch.setattr("dataops.runtime.following.load_serving", fail)
            for _ in range(3):
                with pytest.raises(Storage):
                    model._look(patient=True)
        assert model._look(patient=True)
        assert model.version.version == 2


def test_when_it_last_looked_is_said_and_stands_still_while_the_registry_hangs(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        asked.set()
        answers.wait(60)
        raise Storage("it took too long")

    with opened(models, every=0.01) as model:
        begun = model.looked_at
        wait_until(lambda: model.looked_at > begun)
        monkeypatch.setattr("dataops.runtime.following.current", hang)
        assert asked.wait(60)
        before = model.looked_at
        assert model.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)
        assert (model.looked_at, model.last_error) == (before, None)
        answers.set()
        wait_until(lambda: model.looked_at > before)  # a look that failed has ended as well
        assert isinstance(model.last_error, Storage)


def test_closing_waits_for_no_registry_that_hangs_and_its_heartbeat_goes_with_the_look(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        asked.set()
        answers.wait(60)
        raise Storage("it took too long")

    monkeypatch.setattr("dataops.runtime.handle._CLOSING", 0.01)
    monkeypatch.setattr("dataops.runtime.beating.Beating.end", only_while(answers, Beating.end))
    with opened(models, every=0.01, app="shop"):
        monkeypatch.setattr("dataops.runtime.following.current", hang)
        assert asked.wait(60)
    assert list((models / "income/heartbeats").rglob("*.json"))
    answers.set()
    wait_until(lambda: not list((models / "income/heartbeats").rglob("*.json")))


def only_while(event: threading.Event, end: Callable[[Beating], None]) -> Callable[[Beating], None]:
    def checked(beating: Beating) -> None:
        assert event.is_set(), "it would hang"
        end(beating)

    return checked
