"""Versions trained again: from the data that was pinned, compared bit for bit, and never registered."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import PropertyMock, patch

import pytest
from click.testing import CliRunner

from dataops.cli.main import main
from dataops.datasets.snapshot import read_snapshot
from dataops.engine.progress import Progress
from dataops.engine.work import Work
from dataops.errors import AccessDenied, NotFound, Storage
from dataops.records import now_utc
from dataops.runs.audit import announce, check_audit
from dataops.runs.execute import Options
from dataops.runs.reproduce import reproduce
from dataops.runs.reproduced import Reproduced, Verdict
from dataops.runs.retention import expire_dataset
from dataops.training.candidates import FittedModel, fit_candidates
from tests.line.people import POLICY, give_roles
from tests.line.running import CLUSTER, Line


@pytest.fixture
def town(line: Line, as_run: Path, tmp_path: Path) -> Line:
    """A copy of the line as it was right after it was run, of this test's own."""
    shutil.copytree(as_run, tmp_path / "town")
    return replace(line, folder=tmp_path / "town")


def again(line: Line, reference: str, **how: Any) -> Reproduced:
    with line._standing(), Progress(line.said) as progress:
        return reproduce(line.workspace, reference, options=Options(cluster=CLUSTER, **how), progress=progress)


def events(line: Line, reading: str) -> list[Mapping[str, Any]]:
    return [entry.body for entry in line.workspace.audit.entries() if entry.body.get("run") == reading]


def test_every_trainer_s_version_comes_out_bit_for_bit_and_is_not_registered(town):
    runs, versions = town.workspace.ledger.ids(), town.workspace.registry.numbers("wealth")
    for number in versions:
        found = again(town, f"wealth@{number}")
        assert (found.verdict, dict(found.not_as_it_was)) == (Verdict.BIT_EQUAL, {})
        assert found.figures["holdout"]["roc_auc"]["then"] == found.figures["holdout"]["roc_auc"]["now"]
        assert set(found.figures) == {"holdout", "people_new"}
    assert town.workspace.registry.numbers("wealth") == versions
    assert town.workspace.ledger.ids() == runs


def test_the_audit_knows_of_it_before_and_after(town):
    told = events(town, again(town, "wealth").reading)
    assert [one["event"] for one in told] == [
        *("model_reproduce", "intent", "intent", "intent"),
        *("result", "result", "result", "model_reproduce_result"),
    ]
    assert [one["outcome"] for one in told[4:]] == ["done"] * 4
    assert all(one["counts"]["passed"] for one in told[4:7])
    assert (told[-1]["verdict"], told[-1]["version"]) == ("bit-equal", 1)
    assert not check_audit(town.workspace).broken


def test_no_reading_stays_without_a_result_where_the_next_cannot_be_announced(town):
    said: list[str] = []

    def fail_second(workspace, reading, pinned):
        if said:
            raise Storage("the audit's disk is full")
        said.append(reading)
        announce(workspace, reading, pinned)

    with patch("dataops.runs.reproduce.announce", fail_second), pytest.raises(Storage, match="disk is full"):
        again(town, "wealth@1")
    told = [body["event"] for body in events(town, said[0])]
    assert told == ["model_reproduce", "intent", "result", "model_reproduce_result"]
    assert not check_audit(town.workspace).broken


def test_another_effect_of_the_policies_is_said_and_what_came_of_it(town):
    rule = "  - {id: few, effect: filter, purposes: [train], datasets: [people_ready], where: \"trade <> 'smith'\"}\n"
    (town.folder / "policies" / "people.yaml").write_text(POLICY + rule)
    found = again(town, "wealth@1")
    assert found.verdict is Verdict.DIFFERENT
    assert found.not_as_it_was == {
        "policy": "what the policies leave of dataset 'people_ready' to train: other row filters"
    }
    assert found.figures["holdout"]["roc_auc"]["then"] != found.figures["holdout"]["roc_auc"]["now"]


def test_who_may_not_read_it_today_reads_nothing(town):
    records = len(list(town.workspace.audit.entries()))
    give_roles(town.folder, "passer_by")
    with pytest.raises(AccessDenied):
        again(town, "wealth@1")
    assert len(list(town.workspace.audit.entries())) == records


def test_rows_that_expired_are_said_and_nothing_is_read(town):
    give_roles(town.folder, "data_science", "steward")
    at = now_utc() + timedelta(days=40)
    expire_dataset(town.workspace, "people_ready", older_than=timedelta(days=30), at=at, do=True)
    found = again(town, "wealth@1")
    assert (found.verdict, found.trained) == (Verdict.DIFFERENT, False)
    assert "inputs expired: dataset 'people_ready'" in found.not_as_it_was["data"]
    assert [one["event"] for one in events(town, found.reading)] == ["model_reproduce", "model_reproduce_result"]


def test_a_source_whose_files_changed_is_said_and_one_that_grew_is_read_as_it_was(town):
    folder = town.folder / "data" / "people_new"
    shutil.copy(folder / "part-000.parquet", folder / "part-900.parquet")
    assert again(town, "wealth@1").verdict is Verdict.BIT_EQUAL
    os.utime(folder / "part-001.parquet", ns=(1, 1))
    (folder / "part-002.parquet").unlink()
    found = again(town, "wealth@1")
    assert not found.trained
    assert found.not_as_it_was["data"] == (
        "dataset 'people_new': 2 of 4 files of snapshot 1 changed or are gone, part-001.parquet first"
    )


def test_a_dataset_that_was_made_anew_is_read_as_it_was_until_its_files_go(town):
    (town.folder / "jobs" / "people.yaml").write_text(
        (town.folder / "jobs" / "people.yaml").read_text().replace("hours > 40", "hours > 39")
    )
    town.run("people_ready")
    assert again(town, "wealth@1").verdict is Verdict.BIT_EQUAL
    first = town.workspace.registry.read("wealth", 1).package.lineage["snapshot"]
    snapshot = read_snapshot(town.workspace.store, "people_ready", first)
    assert snapshot is not None
    (town.storage / "datasets" / "people_ready" / snapshot.fragments[0].path).unlink()
    found = again(town, "wealth@1")
    assert (found.verdict, found.trained) == (Verdict.DIFFERENT, False)
    assert "dataset 'people_ready': 1 of" in found.not_as_it_was["data"]


def test_another_shape_of_the_cluster_and_other_libraries_are_said(town):
    libraries = {"numpy": "0.1", "pyarrow": "26"}
    with (
        patch.object(Work, "shape", PropertyMock(return_value={"workers": 3, "threads": 4})),
        patch("dataops.runs.reproduced.code_identity", return_value={"version": "9", "digest": "sha256:other"}),
        patch("dataops.runs.reproduced.library_versions", return_value=libraries),
    ):
        found = again(town, "wealth@1")
    assert found.verdict is Verdict.BIT_EQUAL
    assert "3 workers of 4 threads, then 2 workers of 1 threads" in found.not_as_it_was["cluster"]
    assert "0.1 now" in found.not_as_it_was["libraries"]
    assert "9 now" in found.not_as_it_was["code"]


def bent(by: float) -> Any:
    """`fit_candidates` whose logistic models come out a little otherwise."""

    def fit(*arguments: Any, **how: Any) -> list[FittedModel]:
        (one,) = fit_candidates(*arguments, **how)
        body = json.loads(one.model)
        body["intercept"] += by
        return [replace(one, model=json.dumps(body, sort_keys=True, separators=(",", ":")).encode())]

    return patch("dataops.training.train.fit_candidates", fit)


@pytest.mark.parametrize(("by", "verdict"), [(1e-6, Verdict.METRIC_EQUAL), (0.5, Verdict.DIFFERENT)])
def test_other_bytes_are_judged_by_their_metrics(town, by, verdict):
    with bent(by):
        found = again(town, "wealth@1")
    assert found.verdict is verdict
    assert found.digests["model"]["then"] != found.digests["model"]["now"]
    assert found.digests["program"]["then"] == found.digests["program"]["now"]
    figure = found.figures["holdout"]["log_loss"]
    assert figure["then"] != figure["now"]
    assert abs(figure["then"] - figure["now"]) < 1e-5 or verdict is Verdict.DIFFERENT


def test_a_version_whose_run_has_no_record_cannot_be_trained_again(town):
    shutil.rmtree(town.storage / "runs")
    with pytest.raises(NotFound, match="which has no record in this workspace"):
        again(town, "wealth@1")


def test_the_command_line_says_it_and_ends_with_what_it_came_to(town):
    def call(*more: str) -> Any:
        with town._standing():
            return CliRunner().invoke(main, ["model", "reproduce", "wealth@1", "-q", "-w", str(town.folder), *more])

    said = call("--json")
    assert (said.exit_code, json.loads(said.stdout)["verdict"]) == (0, "bit-equal")
    with bent(0.5):
        different = call()
    assert different.exit_code == 8
    assert "log_loss" in different.stdout
    shutil.rmtree(town.folder / "data" / "people_new")
    gone = call("--json")
    assert gone.exit_code == 3
    assert json.loads(gone.stdout)["figures"] == {}
