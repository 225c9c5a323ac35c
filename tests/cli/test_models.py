"""``dataops model``: versions, which of them a bare name means when promoting, verdicts, history."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataops.records import now_utc
from dataops.runs.workspace import open_workspace
from tests.registry.examples import make_metrics, make_package

RULES = "model: wealth\nrules: [{metric: roc_auc, minimum: 0.8}, {metric: log_loss, maximum: 0.5}]\n"


@pytest.fixture
def registered(workspace: Path) -> Path:
    """Two train runs: three candidates of the first, the last of which is the best of all, two of the second."""
    opened = open_workspace(str(workspace), {})
    figures = [("a", 0.7, 0.1), ("a", 0.8, 0.3), ("a", 0.99, 0.1), ("b", 0.9, 0.4), ("b", 0.85, 0.2)]
    for number, (run, roc_auc, log_loss) in enumerate(figures):
        package = make_package(run, make_metrics(roc_auc + number * 1e-9, log_loss))
        opened.registry.register("wealth", package, at=now_utc(), key=opened.signing_key())
    (workspace / "jobs" / "promotion.yaml").write_text(RULES)
    return workspace


def test_a_bare_name_promotes_the_best_candidate_of_the_newest_run(registered, dataops):
    promoted = dataops("model", "promote", "wealth", "--reason", "spring", "--json")
    assert promoted.code == 0, promoted.err
    assert promoted.json["version"] == "wealth@4"
    assert promoted.json["moved"] is True
    assert Path(promoted.json["verdict"]).is_file()
    again = dataops("model", "promote", "wealth", "--reason", "spring", "--json")
    assert again.json["moved"] is False
    assert again.json["generation"] == 1


def test_a_candidate_that_cannot_be_read_is_passed_over_with_a_note_while_another_is_left(registered, dataops):
    folder = registered / "registry" / "wealth" / "versions"
    (folder / "1" / "manifest.json").write_text("{")
    (folder / "4" / "model.json").unlink()
    promoted = dataops("model", "promote", "wealth", "--reason", "spring", "--json")
    assert promoted.code == 0, promoted.err
    assert promoted.json["version"] == "wealth@5"
    assert "note: passed over: model.json of wealth version 4 is missing" in promoted.err
    assert promoted.err.count("note: passed over") == 2
    (folder / "5" / "model.json").unlink()
    refused = dataops("model", "promote", "wealth", "--reason", "spring")
    assert refused.code == 8
    assert "is missing" in refused.err


def test_the_first_rule_says_what_is_best_in_its_own_direction(registered, dataops):
    (registered / "jobs" / "promotion.yaml").write_text("model: wealth\nrules: [{metric: log_loss, maximum: 0.5}]\n")
    assert dataops("model", "promote", "wealth", "--reason", "x", "--json").json["version"] == "wealth@5"


def test_what_was_not_measured_is_worst_and_does_not_pass(registered, dataops):
    (registered / "jobs" / "promotion.yaml").write_text("model: wealth\nrules: [{metric: brier, maximum: 0.5}]\n")
    refused = dataops("model", "promote", "wealth", "--reason", "x")
    assert refused.code == 5
    assert "wealth@4" in refused.err


def test_a_file_of_rules_is_found_in_the_workspace_from_elsewhere(registered, dataops, tmp_path, monkeypatch):
    (registered / "jobs" / "strict.yaml").write_text("model: wealth\nrules: [{metric: roc_auc, minimum: 0.999}]\n")
    monkeypatch.chdir(tmp_path)
    asked = ("model", "promote", "wealth@2", "--reason", "x", "-w", str(registered))
    assert dataops(*asked, "--rules", "jobs/strict.yaml").code == 5
    missing = dataops(*asked, "--rules", "jobs/other.yaml")
    assert missing.code == 3
    assert str(registered / "jobs" / "other.yaml") in missing.err
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "strict.yaml").write_text(RULES)
    assert dataops(*asked, "--rules", "jobs/strict.yaml").code == 0  # the present folder goes first


def test_names_are_words_for_people_and_keys_for_programs(registered, dataops):
    promoted = dataops("model", "promote", "wealth@2", "--reason", "x")
    assert "signed by   signer-" in promoted.out
    assert "signed_by" not in promoted.out + dataops("model", "champion", "wealth").out
    assert dataops("model", "champion", "wealth", "--json").json["signed_by"].startswith("signer-")
    aliased = dataops("model", "alias", "wealth@1", "second", "--reason", "x")
    assert "signed_by" not in aliased.out
    assert "ALIAS" in dataops("model", "alias", "-h").out.splitlines()[0]


def test_without_rules_nothing_is_promoted(registered, dataops):
    (registered / "jobs" / "promotion.yaml").write_text("model: wealth\nrules: []\n")
    assert dataops("model", "promote", "wealth", "--reason", "x").code == 5
    assert dataops("model", "champion", "wealth").code == 3


def test_a_version_is_promoted_by_number_and_refused_by_its_gates(registered, dataops):
    refused = dataops("model", "promote", "wealth@1", "--reason", "x", "--json")
    assert refused.code == 5
    assert "roc_auc on holdout: 0.7, at least 0.8" in refused.json["error"]["message"]
    assert list((registered / "registry" / "wealth" / "verdicts").glob("*.md"))
    assert not (registered / "registry" / "wealth" / "aliases").exists()
    assert dataops("model", "promote", "wealth@2", "--reason", "x").code == 0


def test_rules_of_another_model_are_not_these(registered, dataops):
    (registered / "jobs" / "promotion.yaml").write_text(RULES.replace("wealth", "welath"))
    called = dataops("model", "promote", "wealth", "--reason", "x")
    assert called.code == 3
    assert "no promotion rules for model 'wealth'. Did you mean 'welath'?" in called.err


def test_a_missing_promotion_file_is_named(registered, dataops):
    (registered / "jobs" / "promotion.yaml").unlink()
    called = dataops("model", "promote", "wealth", "--reason", "x")
    assert called.code == 3
    assert "promotion.yaml: no such file" in called.err


def test_without_a_champion_it_says_so(registered, dataops):
    for verb in ("champion", "history", "show"):
        called = dataops("model", verb, "wealth")
        assert called.code == 3
        assert called.err == "error: model 'wealth' has no champion. It has no aliases yet: promote a version.\n"


def test_an_alias_that_is_not_set_is_called_one(registered, dataops):
    called = dataops("model", "show", "wealth@champon")
    assert called.err == "error: model 'wealth' has no alias 'champon'. It has no aliases yet: promote a version.\n"


def test_lists_and_history_say_the_same_as_text_and_as_json(registered, dataops):
    for version in ("wealth@4", "wealth@5", "wealth@4"):
        assert dataops("model", "promote", version, "--reason", f"to {version}").code == 0
    listed = dataops("model", "list", "--json").json
    assert [one["version"] for one in listed] == [f"wealth@{number}" for number in range(1, 6)]
    assert [one["aliases"] for one in listed] == [[], [], [], ["champion"], []]
    moves = dataops("model", "history", "wealth", "--json").json
    assert [(one["generation"], one["version"]) for one in moves] == [(1, "wealth@4"), (2, "wealth@5"), (3, "wealth@4")]
    assert dataops("model", "champion", "wealth", "--json").json == moves[-1]
    lines = dataops("model", "history", "wealth").out.splitlines()
    assert len({line.index("wealth@") for line in lines[1:]}) == 1
    unknown = dataops("model", "history", "wealth", "--alias", "chmapion")
    assert unknown.code == 3
    assert "Did you mean 'champion'?" in unknown.err


def test_a_card_is_shown_and_the_program_as_json(registered, dataops):
    assert dataops("model", "show", "wealth@1").out.startswith("# Model card")
    assert set(dataops("model", "show", "wealth@1", "--json").json) >= {"metrics", "program", "lineage", "digest"}
    assert "its newest is 5" in dataops("model", "show", "wealth@9").err
