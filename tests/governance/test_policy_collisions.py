"""What a check says of masks that meet: an error where none stands in for the other, nothing where each is carried."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from dataops.governance.contract import Column, derived_contract
from dataops.governance.marks import derived_marks, mark
from dataops.governance.mask import Mask, MaskKind
from dataops.governance.policy_check import check_policies
from dataops.governance.policy_world import FindingKind, KnownDataset, PolicyFinding, Severity, World
from dataops.governance.rules import Policy, Rule
from tests.governance.policies import BANDS, CONSTANT, KEY_ID, NULL, PSEUDONYM, allow, masks, only

PREFIX = Mask(kind=MaskKind.GENERALISE, prefix=2)
KEEP = Mask(kind=MaskKind.KEEP, first=1)
AGE = Column(name="age", type=pa.int64(), classification="pii.quasi", masks=(mark(BANDS),))
ZIP = Column(name="zip", type=pa.string(), classification="geo", masks=(mark(PREFIX),))


def found(*rules: Rule, columns: tuple[Column, ...]) -> list[PolicyFinding]:
    dataset = KnownDataset(name="made", zone="historical", contract=derived_contract("made", columns))
    policy = Policy(name="p", rules=(allow(names=("zip", "age")), *rules))
    here = World(
        policies=(policy,),
        principals={"ana": ("analyst",)},
        datasets={"made": dataset},
        key_id=KEY_ID,
        at=datetime(2026, 6, 1, tzinfo=UTC),
    )
    return [one for one in check_policies(here) if one.kind in (FindingKind.COLLISION, FindingKind.OVERRULED)]


@pytest.mark.parametrize("other", [PREFIX, PSEUDONYM, Mask(kind=MaskKind.RARE, min_count=5)])
def test_masks_of_two_kinds_that_both_show_something_are_an_error(other: Mask) -> None:
    zips = Column(name="zip", type=pa.string(), classification="geo")
    (finding,) = found(masks("a", KEEP, **only("zip")), masks("b", other, **only("zip")), columns=(zips,))
    assert (finding.severity, finding.kind) == (Severity.ERROR, FindingKind.COLLISION)
    assert "'made.zip' would be allowed, and can't be read" in finding.message


@pytest.mark.parametrize(("free", "other"), [(NULL, PREFIX), (NULL, CONSTANT), (CONSTANT, PSEUDONYM)])
def test_a_mask_in_whose_place_another_always_stands_is_overruled(free: Mask, other: Mask) -> None:
    free = Mask(kind=MaskKind.CONSTANT, value="x") if free == CONSTANT else free
    other = Mask(kind=MaskKind.CONSTANT, value="x") if other == CONSTANT else other
    zips = Column(name="zip", type=pa.string(), classification="geo")
    (finding,) = found(masks("a", free, **only("zip")), masks("b", other, **only("zip")), columns=(zips,))
    assert finding.kind == FindingKind.OVERRULED
    assert "rule 'b' of policy 'p' never decides" in finding.message


def test_masks_of_several_origins_that_are_all_carried_do_not_meet() -> None:
    mixed = Column(
        name="score",
        type=pa.float32(),
        classification="geo+pii.quasi",
        masks=derived_marks([AGE, ZIP]),
        origins=("age", "zip"),
    )
    rules = (masks("bands", BANDS, **only("age")), masks("zip", PREFIX, classifications=("geo",)))
    assert found(*rules, columns=(mixed,)) == []
    (finding,) = found(*rules, masks("keep", KEEP, **only("zip")), columns=(mixed,))
    assert finding.kind == FindingKind.COLLISION
