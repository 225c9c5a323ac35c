"""What a script reads of the inbox at each look, and what it says of it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataops.errors import Storage
from dataops.scheduling.intake import Intake, Looked
from dataops.storage.objects import MemoryStore
from tests.scheduling.stage import Stage, make_stage
from tests.scheduling.test_inbox_turn import found, inbox, submit


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(make_stage(tmp_path / "w"))


def test_what_ended_and_may_not_be_taken_out_is_read_by_a_script_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the script's account doesn't own the folder."""
    read, delete, reading = [], MemoryStore.delete, Intake._read

    def refuse(store: MemoryStore, key: str) -> None:
        if "/" not in key and key.endswith(".json"):
            raise Storage(f"{key}: not permitted")
        delete(store, key)

    def counted(intake: Intake, submission_id: str) -> Any:
        read.append(submission_id)
        return reading(intake, submission_id)

    monkeypatch.setattr(MemoryStore, "delete", refuse)
    names = [submit(stage) for _ in range(3)]
    stage.once()
    assert [found(stage, name).state.value for name in names] == ["done"] * 3
    assert len(inbox(stage)._requests.names()) == 3
    monkeypatch.setattr(Intake, "_read", counted)
    with stage.script() as script:
        for _ in range(3):
            script._come_round()
        assert sorted(read) == sorted(names)
        later = submit(stage)
        script.once()
        monkeypatch.setattr(MemoryStore, "delete", delete)
    assert found(stage, later).state.value == "done"
    read.clear()
    stage.once()
    assert sorted(set(read)) == sorted([*names, later])
    assert inbox(stage)._requests.names() == []


def test_what_is_told_of_a_user_is_told_once_however_many_there_are_and_again_where_it_comes_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Mapping[str, int]] = [{"ben": 1}, {"ben": 2}, {"ben": 3, "eva": 1}, {}, {"ben": 3}]
    look = Intake.look

    def seen(intake: Intake, **how: Any) -> Looked:
        return replace(look(intake, **how), blocked=looks.pop(0))

    monkeypatch.setattr(Intake, "look", seen)
    with stage.script() as script:
        for _ in range(5):
            script._come_round()
    assert not looks
    said = [line.split("  ")[-1] for line in stage.lines if "left waiting" in line]
    assert [line.split(":")[0] for line in said] == [
        "1 submission of ben",
        "1 submission of eva",
        "3 submissions of ben",
    ]
