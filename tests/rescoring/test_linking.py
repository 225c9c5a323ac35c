"""Linking, decided: equal rows under an equal basis are taken over, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.access import GovernedInput
from dataops.datasets.units import plan_units
from dataops.registry.versions import LoadedVersion
from dataops.rescoring.linking import (
    COMPONENTS,
    Basis,
    Earlier,
    Linkable,
    Match,
    Reason,
    Rows,
    basis_of,
    counted,
    decide_links,
    rows_of_units,
)
from tests.datasets.test_units import fragments
from tests.rescoring.examples import make_job, make_plan

BASIS = Basis(model="m", policy="p", columns="c", code="k")


def of(run: str, basis: Basis | None, **units: str) -> Earlier:
    """A run with `units` by their ids, each the rows that its text spells."""
    return Earlier.of(run, basis and basis.record(), units)


def wanted(basis: Basis = BASIS, **units: str) -> Linkable:
    return Linkable(basis=basis, rows={unit: Rows.parse(text) for unit, text in units.items()})


def test_equal_rows_under_an_equal_basis_match_the_newest_run_first() -> None:
    earlier = [of("b", BASIS, u7="x"), of("c", replace(BASIS, model="other"), u1="x"), of("a", BASIS, u3="x", u4="y")]
    decided = decide_links(wanted(u0="x", u1="y"), earlier)
    assert decided.matches == {
        "u0": (Match(run="b", unit="u7"), Match(run="a", unit="u3")),
        "u1": (Match(run="a", unit="u4"),),
    }
    assert decided.reasons == {}


@pytest.mark.parametrize(("name", "reason"), COMPONENTS.items())
def test_each_part_of_the_basis_is_a_reason_of_its_own(name: str, reason: Reason) -> None:
    decided = decide_links(wanted(u0="x", u1="new"), [of("a", replace(BASIS, **{name: "other"}), u0="x")])
    assert decided.matches == {}
    assert decided.reasons == {"u0": (reason,), "u1": (Reason.NEW_ROWS,)}


def test_reasons_compare_with_the_newest_run_of_the_same_rows() -> None:
    earlier = [
        of("b", replace(BASIS, code="other"), u0="elsewhere"),
        of("a", replace(BASIS, model="other", policy="other"), u0="x"),
    ]
    decided = decide_links(wanted(u0="x"), earlier)
    assert decided.reasons == {"u0": (Reason.NEW_MODEL, Reason.NEW_POLICY)}
    assert counted(decided.reasons) == {"new model, new policy": 1}


def test_other_rows_that_repeat_a_key_are_a_new_survey() -> None:
    decided = decide_links(wanted(u0="x+r2", u1="y"), [of("a", BASIS, u0="x+r1", u1="y+r1")])
    assert decided.matches == {}
    assert set(decided.reasons.values()) == {(Reason.NEW_SURVEY,)}


def test_a_run_of_a_release_that_kept_no_basis_is_other_code() -> None:
    assert decide_links(wanted(u0="x"), [of("a", None)]).reasons == {"u0": (Reason.NEW_CODE,)}
    assert decide_links(wanted(u0="x"), []).reasons == {"u0": (Reason.NEW_ROWS,)}


texts = st.sampled_from(["x", "y", "z", "x+r"])
bases = st.builds(Basis, **dict.fromkeys(COMPONENTS, st.sampled_from("ab")))


@given(
    st.dictionaries(st.sampled_from(["u0", "u1", "u2"]), texts),
    bases,
    st.lists(st.tuples(bases, st.lists(texts, unique=True)), max_size=4),
)
def test_every_unit_is_either_like_one_of_before_or_has_a_reason(
    units: dict[str, str], basis: Basis, runs: list[tuple[Basis, list[str]]]
) -> None:
    earlier = [
        of(f"run-{number}", one, **{f"v{place}": text for place, text in enumerate(rows)})
        for number, (one, rows) in enumerate(runs)
    ]
    decided = decide_links(wanted(basis, **units), earlier)
    assert decided.matches.keys() | decided.reasons.keys() == units.keys()
    assert not decided.matches.keys() & decided.reasons.keys()
    for unit, matches in decided.matches.items():
        for match in matches:
            one, rows = runs[int(match.run.removeprefix("run-"))]
            assert one == basis
            assert rows[int(match.unit.removeprefix("v"))] == units[unit]
    assert all(decided.reasons.values())


@given(bases, st.dictionaries(st.sampled_from(["u0", "u1"]), texts))
def test_what_a_manifest_keeps_comes_back(basis: Basis, units: dict[str, str]) -> None:
    assert Basis.from_record(json.loads(json.dumps(basis.record()))) == basis
    spelled = wanted(basis, **units).identities()
    assert spelled == units


@given(fragments(), st.integers(1, 1000))
def test_units_are_told_apart_by_file_and_range(planned: tuple[object, ...], target: int) -> None:
    units = plan_units(planned, target)  # type: ignore[arg-type]
    rows = rows_of_units(units, {})
    assert len(set(rows.values())) == len(units)
    again = rows_of_units([replace(unit, id=f"other-{unit.id}") for unit in units], {})
    assert list(again.values()) == list(rows.values())


def test_the_basis_holds_what_is_written_and_not_what_it_is_judged_by(
    given: GovernedInput, version: LoadedVersion
) -> None:
    def basis(**changes: object) -> Basis:
        return basis_of(make_plan(given, version, job=make_job(**changes)), given, kernels={}, code="k", survey=None)

    same = basis()
    for changes in ({"errors": {"max_rate": 0.5}}, {"timeouts": {"run_seconds": 5.0}}, {"name": "other"}):
        assert basis(**changes) == same
    for changes in ({"keep": []}, {"threshold": 0.25}, {"outputs": ["margin"]}, {"sort_by": ["person_id"]}):
        assert same.differing(basis(**changes)) == (Reason.NEW_COLUMNS,)
