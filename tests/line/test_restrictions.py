"""Restrictions over the line as a whole: they follow data from job to job, end when they say, and hide small groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataops.declarations.jobs import find_job
from dataops.errors import AccessDenied, InvalidInput
from dataops.training.evaluate import OTHERS
from tests.datasets.examples import open_one
from tests.line.people import POLICY, make_workspace
from tests.line.running import Line


@pytest.fixture
def town(tmp_path: Path, line: Line) -> Line:
    return Line(folder=make_workspace(tmp_path / "town", files=2), connection=line.connection)


def add_rule(town: Line, rule: str) -> None:
    (town.folder / "policies" / "people.yaml").write_text(f"{POLICY}  - {rule}\n")


def registered(town: Line) -> list[Path]:
    return sorted((town.folder / "registry").rglob("*"))


def test_what_restricts_the_raw_data_binds_the_training_on_what_was_made_of_it(town: Line) -> None:
    town.run("people_ready")
    before = registered(town)
    add_rule(town, "{id: no-trade, effect: deny, datasets: [people_old], columns: {names: [trade]}}")
    with pytest.raises(AccessDenied, match=r"trade \(work\): denied by rule 'no-trade' of policy 'people'"):
        town.run("wealth")
    add_rule(town, '{id: full-time, effect: filter, datasets: [people_old], where: "hours >= 35"}')
    with pytest.raises(AccessDenied, match="without row filter hours >= 35 that holds for purpose 'train'"):
        town.run("wealth")
    assert registered(town) == before
    town.run("people_ready")  # anew, from rows that are filtered so
    assert all(row["hours"] >= 35 for row in town.rows("people_ready"))
    assert town.workspace.open_inputs(find_job(town.folder / "jobs" / "people.yaml", "wealth").job)


def test_a_deny_by_name_at_the_source_reaches_the_scores(town: Line) -> None:
    town.run_all()
    assert {"probability", "prediction", "age"} <= shown(town, "people_scores") | shown(town, "people_ready")
    add_rule(town, "{id: no-trade, effect: deny, datasets: [people_new], columns: {names: [trade]}}")
    assert shown(town, "people_scores") == {"person_id"}
    assert "trade" in shown(town, "people_ready")  # which was made from people_old
    add_rule(town, "{id: nobody, effect: deny, columns: {names: [person_id]}}")
    assert "split" not in shown(town, "people_ready")


def shown(town: Line, dataset: str) -> set[str]:
    return set(open_one(town.workspace, dataset, "train").grant.effect.columns)


def test_figures_about_fewer_people_than_the_policy_says_are_not_shown(town: Line) -> None:
    town.run("people_ready")
    add_rule(town, "{id: crowds, effect: group, datasets: [people_old], min_size: 130}")
    judged = town.run("wealth").state.result["versions"][0]["metrics"]
    by_region = {name: set(figures["slices"]["region"]) for name, figures in judged.items()}
    assert by_region["holdout"] == {OTHERS}  # a quarter of what is prepared is too few for two groups of 130
    assert by_region["people_new"] == {"north", "south"}  # which wasn't made from people_old


def test_an_allow_that_has_expired_runs_nothing(town: Line) -> None:
    over = POLICY.replace("    effect: allow\n", "    effect: allow\n    expires: 2020-12-31\n")
    (town.folder / "policies" / "people.yaml").write_text(over)
    with pytest.raises(AccessDenied, match="no policy allows any of it"):
        town.run("people_ready")
    assert not (town.storage / "datasets" / "people_ready").exists()


def test_pseudonyms_to_train_and_true_keys_beside_the_scores_if_the_policy_says_so(town: Line) -> None:
    """One person, one key: read under two purposes, it is two things; and no model may take it."""
    purposes = "{id: who, effect: mask, roles: [data_science], purposes: [train, evaluate, score]"
    assert purposes in POLICY
    policy = POLICY.replace(purposes, purposes.replace(", score]", "]"))
    (town.folder / "policies" / "people.yaml").write_text(policy)
    town.run_all()
    trained, scored = ({str(row["person_id"]) for row in town.rows(name)} for name in ("people_ready", "people_scores"))
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in trained)
    assert all(one.startswith("secret-id-") for one in scored)
    jobs = town.folder / "jobs" / "people.yaml"
    jobs.write_text(jobs.read_text().replace("columns: [trade, long_hours]", "columns: [trade, person_id]"))
    with pytest.raises(InvalidInput, match="'person_id' is a pseudonym"):
        town.run("wealth")
