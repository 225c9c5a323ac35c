"""Attempts to get past the policy: each is refused or shows nothing, and shows its canary where no policy is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.attacks import bypass_channels, bypass_detours, bypass_names  # noqa: F401  # register their attempts
from tests.attacks.bypass_training import LESSONS, Lesson, Town, own_temporary_folder
from tests.attacks.bypasses import BYPASSES, Bypass
from tests.attacks.clinic import Clinic
from tests.attacks.listener import Listener
from tests.docs.documents import ROOT
from tests.line.running import Line, standing_cluster

EACH = pytest.mark.parametrize("attack", BYPASSES, ids=[one.name for one in BYPASSES])


def clinic_of(attack: Bypass, folder: Path, *, opened: bool) -> Clinic:
    return Clinic(folder=folder, canary=attack.canary, number=attack.number, opened=opened)


def test_there_are_enough_of_them() -> None:
    """Each with a name and canaries of its own."""
    attacks = [*BYPASSES, *LESSONS]
    assert len(attacks) >= 60
    for names in ([one.name for one in attacks], [one.canary for one in attacks], [one.column for one in LESSONS]):
        assert len(set(names)) == len(names)
    numbers = [one.number for one in BYPASSES]
    assert len(set(numbers)) == len(numbers)


def test_the_documents_say_how_many_there_are() -> None:
    number = len(BYPASSES) + len(LESSONS)
    for page in ("README.md", "SECURITY.md"):
        told = re.findall(r"tries (\S+) ways around", (ROOT / page).read_text())
        assert told == [str(number)], page


@EACH
def test_under_the_policy_shows_nothing(attack: Bypass, tmp_path: Path) -> None:
    clinic = clinic_of(attack, tmp_path / "clinic", opened=False)
    if attack.refused is None:
        attack.attempt(clinic)
        assert clinic.published_since() or not clinic.output[0]
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


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Town]:
    """By whether everything is allowed there: the town under the policy, searched before the other one came to be."""
    folder = tmp_path_factory.mktemp("towns")
    listener = Listener()
    towns = {}
    with own_temporary_folder(folder / "temporary") as temporary, standing_cluster(1) as connection:
        connection.client.cluster.scheduler.add_plugin(listener)
        for opened in (False, True):
            clinic = Clinic(folder=folder / f"town-{opened}", canary="", number=0, opened=opened)
            line = Line(folder=clinic.folder, connection=connection, reports=True)
            towns[opened] = Town(line=line, clinic=clinic, listener=listener, temporary=temporary)
            towns[opened].live()
    return towns


@pytest.mark.parametrize("lesson", LESSONS, ids=[one.name for one in LESSONS])
class TestTraining:
    def test_under_the_policy_shows_nothing(self, lesson: Lesson, towns: dict[bool, Town]) -> None:
        town = towns[False]
        places = town.places.get(lesson.token, set())
        assert {one for one in places if not lesson.known or not re.search(lesson.known, one)} == set()
        assert (lesson.name in town.refusals) == (lesson.refused is not None)
        if lesson.refused is not None:
            family, words = lesson.refused
            assert isinstance(town.refusals[lesson.name], family)
            assert re.search(words, str(town.refusals[lesson.name]))

    def test_without_the_policy_shows_the_canary(self, lesson: Lesson, towns: dict[bool, Town]) -> None:
        places = towns[True].places.get(lesson.token, set())
        assert any(re.search(lesson.found, place) for place in places), sorted(places)
