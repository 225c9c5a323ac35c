"""From a person and a purpose to a dataset: what follows data into what is made from it, and when a grant ends."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dataops.datasets.access import GovernedInput, govern, origins_of, require_same
from dataops.datasets.catalog import open_dataset
from dataops.datasets.scan import read_unit
from dataops.datasets.snapshot import append_snapshot, manifest_key
from dataops.errors import AccessDenied, Format, NotFound
from dataops.governance.contract import Column
from dataops.governance.rules import MadeFrom
from dataops.records import format_time, now_utc
from dataops.runs.workspace import Workspace, open_workspace
from tests.datasets.examples import make_manifest, open_one
from tests.line.people import CONTRACT, POLICY, make_workspace

WEEK = timedelta(days=7)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    make_workspace(tmp_path / "town", files=1)
    return open_workspace(str(tmp_path / "town"), {})


def keep(workspace: Workspace, given: GovernedInput, name: str = "people_made", **lineage: Any) -> None:
    """A dataset `name` made from what `given` gives, one manifest after another."""
    _record(workspace, name, given.masked_columns(), {"kind": "prepare", **given.lineage(), **lineage})


def _record(workspace: Workspace, name: str, columns: tuple[Column, ...], lineage: Mapping[str, Any]) -> None:
    run = f"run-{len(workspace.store.list(f'datasets/{name}'))}"
    manifest = replace(make_manifest(run, dataset=name), columns=columns, lineage=lineage)
    workspace.store.put_if_absent(manifest_key(name, run), manifest.to_bytes())
    append_snapshot(workspace.store, manifest, replace=False)


def write_policy(workspace: Workspace, text: str) -> None:
    (workspace.settings.workspace / "policies/people.yaml").write_text(text)


def add_rule(workspace: Workspace, rule: str) -> None:
    write_policy(workspace, POLICY + f"  - {rule}\n")


def adults_only_to(purposes: str) -> str:
    rule = POLICY.index("{id: adults")
    return POLICY[:rule] + POLICY[rule:].replace("[train, evaluate, score]", purposes)


class TestMadeFrom:
    def test_what_is_made_says_all_that_it_was_made_from_and_how_that_was_filtered(self, workspace: Workspace) -> None:
        raw = open_one(workspace, "people_old", "train")
        keep(workspace, raw)
        made = open_one(workspace, "people_made", "train")
        keep(workspace, made, "people_further")
        further = origins_of(open_dataset(workspace.settings, workspace.store, "people_further"))
        assert [(one.dataset, one.zone, len(one.filters)) for one in further] == [
            ("people_made", "historical", 0),
            ("people_old", "historical", 1),
        ]
        assert origins_of(raw.dataset) == ()

    def test_masks_and_filters_of_the_origin_hold_already(self, workspace: Workspace) -> None:
        keep(workspace, open_one(workspace, "people_old", "train"))
        made = open_one(workspace, "people_made", "train")
        assert made.grant.effect.filters == ()
        assert {made.grant.effect.columns[name] for name in ("age", "person_id")} == {None}

    def test_a_rule_about_the_origin_reaches_what_was_made_before_it_was_written(self, workspace: Workspace) -> None:
        keep(workspace, open_one(workspace, "people_old", "train"))
        add_rule(workspace, "{id: later, effect: deny, datasets: [people_old], columns: {names: [trade]}}")
        assert "trade" not in open_one(workspace, "people_made", "train").source.effect.columns

    def test_a_column_that_is_tagged_anew_at_its_source_is_bound_in_what_was_made_before(
        self, workspace: Workspace
    ) -> None:
        keep(workspace, open_one(workspace, "people_old", "train"))
        keep(workspace, open_one(workspace, "people_made", "train"), "people_further")
        before = open_one(workspace, "people_further", "train")
        pinned = before.pinned()
        path = workspace.settings.workspace / "contracts/people.yaml"
        trade = "{name: trade, logicalType: string, physicalType: string, classification: "
        assert f"{trade}work}}" in path.read_text()
        path.write_text(path.read_text().replace(f"{trade}work}}", f"{trade}sensitive.union}}"))
        for name in ("people_old", "people_made", "people_further"):
            assert "trade" not in open_one(workspace, name, "train").source.effect.columns
        after = open_one(workspace, "people_further", "train")
        assert after.dataset.contract.column("trade").classification == "sensitive.union+work"
        with pytest.raises(AccessDenied, match="changed since the run was planned"):
            require_same(after, pinned, before.units)
        (workspace.settings.workspace / "catalog/people_old.yaml").unlink()  # then what was stored with it counts
        assert "trade" in open_one(workspace, "people_further", "train").source.effect.columns

    def test_a_source_whose_contract_can_not_be_read_gives_nothing(self, workspace: Workspace) -> None:
        keep(workspace, open_one(workspace, "people_old", "train"))
        (workspace.settings.workspace / "contracts/people.yaml").unlink()
        with pytest.raises(NotFound, match=r"people\.yaml"):
            open_one(workspace, "people_made", "train")

    def test_rows_filtered_for_one_purpose_only_do_not_reach_another_one(self, workspace: Workspace) -> None:
        write_policy(workspace, adults_only_to("[evaluate, score]"))
        keep(workspace, open_one(workspace, "people_old", "train"))
        assert open_one(workspace, "people_made", "train")
        with pytest.raises(AccessDenied, match=r"made from 'people_old' \(historical\) without row filter age >= 18"):
            open_one(workspace, "people_made", "evaluate")
        write_policy(workspace, POLICY)
        keep(workspace, open_one(workspace, "people_old", "train"))  # beside the first part, which is there still
        with pytest.raises(AccessDenied, match="without row filter"):
            open_one(workspace, "people_made", "evaluate")

    def test_what_was_made_before_sources_were_kept_has_no_filters_to_show(self, workspace: Workspace) -> None:
        raw = open_one(workspace, "people_old", "train")
        _record(workspace, "people_made", raw.masked_columns(), {"kind": "prepare", "input": "people_old"})
        with pytest.raises(AccessDenied, match="without row filter"):
            open_one(workspace, "people_made", "train")

    def test_lineage_that_holds_something_else_is_refused(self, workspace: Workspace) -> None:
        keep(workspace, open_one(workspace, "people_old", "train"), sources=[{"dataset": "people_old"}])
        with pytest.raises(Format, match="made from"):
            open_one(workspace, "people_made", "train")

    def test_records_of_origins_round_trip(self) -> None:
        origin = MadeFrom(dataset="raw", zone="production", filters=("sha256:1", "sha256:2"))
        assert MadeFrom.from_record(origin.record()) == origin


class TestTravelling:
    def test_a_worker_reads_under_filters_and_rules_without_a_parser(self, workspace: Workspace) -> None:
        rule = "{id: busy, type: sql, query: 'hours < 40 or age > 40', mustBeLessThan: 100, unit: percent}"
        contract = CONTRACT.replace("    properties:", f"    quality:\n      - {rule}\n    properties:")
        (workspace.settings.workspace / "contracts/people.yaml").write_text(contract)
        given = open_one(workspace, "people_old", "train")
        asked = (given.source, given.units[0], tuple(given.source.effect.columns))
        program = (
            "import pickle, sys; from dataops.datasets.scan import read_unit; "
            "read = read_unit(*pickle.loads(sys.stdin.buffer.read())); "
            "print(read.receipt, 'sqlglot' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], input=pickle.dumps(asked), stdout=subprocess.PIPE, check=True
        )
        receipt = read_unit(*asked).receipt
        assert receipt.filtered_by_policy > 0
        assert receipt.broken["busy"] > 0
        assert done.stdout.decode() == f"{receipt} False\n"


class TestEnd:
    def test_a_source_knows_when_its_grant_ends(self, workspace: Workspace) -> None:
        assert open_one(workspace, "people_old", "train").source.expires_at is None
        end = now_utc().replace(microsecond=0) + WEEK
        write_policy(workspace, _expiring(end.strftime("%Y-%m-%dT%H:%M:%SZ")))
        assert open_one(workspace, "people_old", "train").source.expires_at == format_time(end)

    def test_what_was_planned_is_not_taken_up_after_its_end(self, workspace: Workspace) -> None:
        end = now_utc().replace(microsecond=0) + WEEK
        write_policy(workspace, _expiring(end.strftime("%Y-%m-%dT%H:%M:%SZ")))
        given, reader = open_one(workspace, "people_old", "train"), workspace.reader()
        again = govern(workspace.settings, reader, given.dataset, "train")
        assert require_same(again, given.pinned(), given.units) == again
        later = replace(reader, asked_at=reader.asked_at + 2 * WEEK)
        with pytest.raises(AccessDenied, match="no policy allows any of it"):
            govern(workspace.settings, later, given.dataset, "train")

    def test_a_rule_that_takes_over_changes_the_end_and_not_the_effect(self, workspace: Workspace) -> None:
        write_policy(workspace, _expiring("2999-01-01"))
        before = open_one(workspace, "people_old", "train")
        write_policy(workspace, POLICY)
        after = open_one(workspace, "people_old", "train")
        assert before.source.expires_at != after.source.expires_at
        assert require_same(after, before.pinned(), before.units) == after


def _expiring(written: str) -> str:
    return POLICY.replace("    effect: allow\n", f'    effect: allow\n    expires: "{written}"\n')
