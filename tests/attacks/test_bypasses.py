"""Attempts to get past the policy: each is refused or shows nothing, and shows its canary where no policy is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.attacks import bypass_channels  # noqa: F401  # registers its attempts
from tests.attacks.bypasses import BYPASSES, Bypass
from tests.attacks.clinic import Clinic

EACH = pytest.mark.parametrize("attack", BYPASSES, ids=[one.name for one in BYPASSES])


def clinic_of(attack: Bypass, folder: Path, *, opened: bool) -> Clinic:
    return Clinic(folder=folder, canary=attack.canary, number=attack.number, opened=opened)


def test_there_are_enough_of_them() -> None:
    """Each with a name and canaries of its own."""
    assert len(BYPASSES) >= 60
    for names in ([one.name for one in BYPASSES], [one.canary for one in BYPASSES], [one.number for one in BYPASSES]):
        assert len(set(names)) == len(BYPASSES)


@EACH
def test_under_the_policy_shows_nothing(attack: Bypass, tmp_path: Path) -> None:
    clinic = clinic_of(attack, tmp_path / "clinic", opened=False)
    if attack.refused is None:
        attack.attempt(clinic)
    else:
        family, words = attack.refused
        with pytest.raises(family, match=words) as raised:
            attack.attempt(clinic)
        clinic.hear("message", raised.value)
        assert not clinic.published_since()
    assert clinic.look() == set()


@EACH
def test_without_the_policy_shows_the_canary(attack: Bypass, tmp_path: Path) -> None:
    """The positive control: the same scanner, the same place."""
    clinic = clinic_of(attack, tmp_path / "clinic", opened=True)
    (attack.control or attack.attempt)(clinic)
    places = {hit.place for hit in clinic.look()}
    assert any(re.search(attack.found, place) for place in places), sorted(places)
