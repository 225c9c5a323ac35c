"""Every guide is true: its commands, typed in an empty folder, answer what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.documents import ROOT
from tests.docs.typed import retyped, typing_here

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_guide_is_true(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with typing_here():
        assert retyped(page) == page.read_text()


def test_there_are_guides() -> None:
    assert GUIDES
