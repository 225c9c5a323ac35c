"""Rules of the whole dataset in a run: what repeats a key is set aside, what breaks the dataset's rules isn't read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dataops.errors import ContractViolation
from tests.line.people import CONTRACT, POLICY, ROWS_PER_FILE
from tests.line.running import Line

UNIQUE = CONTRACT.replace("name: person_id,", "name: person_id, unique: true,")


def _repeat_a_file(town: Line, dataset: str) -> None:
    data = town.folder / "data" / dataset
    shutil.copy(data / "part-000.parquet", data / "part-900.parquet")


def _contract(town: Line, text: str) -> None:
    (town.folder / "contracts" / "people.yaml").write_text(text)


def _stored(town: Line, folder: str) -> list[Path]:
    return [path for path in (town.storage / folder).rglob("*") if path.is_file()]


def test_repeated_keys_are_set_aside_where_a_model_learns_and_where_it_is_judged(town: Line) -> None:
    _contract(town, UNIQUE)
    for dataset in ("people_old", "people_new"):
        _repeat_a_file(town, dataset)
    jobs = town.folder / "jobs" / "people.yaml"
    jobs.write_text(jobs.read_text().replace("  - {trainer: xgboost, params: {rounds: 15, max_depth: 3}}\n", ""))
    prepared, trained = town.run("people_ready"), town.run("wealth")
    records = town.records("people_ready", prepared.state.run.id).values()
    broken = [record.receipt.broken.get("person_id.unique", 0) for record in records]
    # of the repeated file, the people that the policy's filter lets through, and nobody else
    assert broken[:-1] == [0, 0]
    assert 0 < broken[-1] < ROWS_PER_FILE
    people = [row["person_id"] for row in town.rows("people_ready")]
    assert len(people) == len(set(people))
    judged = trained.state.result["reads"]["evaluate:people_new"]["counts"]
    assert judged["broken:person_id.unique"] > 0
    surveys = _stored(town, "surveys")
    assert {path.suffix for path in surveys} == {".json", ".parquet"}
    assert not [path for path in surveys if b"secret-id" in path.read_bytes()]


def test_the_same_content_is_surveyed_once(town: Line) -> None:
    _contract(town, UNIQUE)
    first, second = town.run("people_ready"), town.run("people_ready", again=True)
    assert "survey" in first.state.phase_seconds()
    assert "survey" not in second.state.phase_seconds()
    assert len([path for path in _stored(town, "surveys") if path.name == "survey.json"]) == 1


def test_more_repeats_than_allowed_publish_nothing(town: Line) -> None:
    quality = "\n    quality: [{metric: duplicateValues, arguments: {properties: [person_id]}, mustBeLessOrEqualTo: 9}]"
    _contract(town, CONTRACT.rstrip() + quality + "\n")
    _repeat_a_file(town, "people_old")
    with pytest.raises(ContractViolation, match=r"rows break it, at most 9 may"):
        town.run("people_ready")
    assert not (town.storage / "datasets" / "people_ready" / "snapshots").exists()


def test_too_few_rows_end_the_run_before_any_is_read(town: Line) -> None:
    quality = "\n    quality: [{metric: rowCount, mustBeGreaterThan: 5000, severity: error}]"
    _contract(town, CONTRACT.rstrip() + quality + "\n")
    with pytest.raises(ContractViolation, match=r"it has 800 rows, at least 5001 are expected"):
        town.run("people_ready")
    assert not _stored(town, "datasets/people_ready")
    assert not _stored(town, "quarantine")
    assert not _stored(town, "surveys")


def test_rare_values_are_hidden_on_their_way_into_a_training_set(town: Line) -> None:
    masked = POLICY + (
        "  - {id: few, effect: mask, roles: [data_science], purposes: [train, evaluate, score],\n"
        "     zones: [historical, production], datasets: [people_old], columns: {names: [trade]},\n"
        "     mask: {rare: {min_count: 100000}}}\n"
    )
    (town.folder / "policies" / "people.yaml").write_text(masked)
    town.run("people_ready")
    assert {row["trade"] for row in town.rows("people_ready")} == {"[rare]"}
