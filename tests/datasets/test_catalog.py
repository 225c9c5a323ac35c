"""The catalog: what `dataset add` writes and refuses, and what opening a dataset finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest

from dataops.datasets.access import govern, open_inputs, require_same
from dataops.datasets.catalog import Added, add_dataset, dataset_names, open_dataset
from dataops.datasets.commit import commit_unit
from dataops.datasets.publish import publish
from dataops.datasets.snapshot import read_snapshot
from dataops.datasets.verify import verify_dataset
from dataops.errors import AccessDenied, AlreadyExists, DataopsError, Integrity, InvalidInput, NotFound
from dataops.runs.workspace import Workspace, open_workspace
from dataops.storage.files import open_files
from tests.datasets.examples import ASIDE, COLUMNS, TABLE, make_receipt, make_unit, open_one, write
from tests.line.people import POLICY, make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    make_workspace(tmp_path / "town", files=2)
    return open_workspace(str(tmp_path / "town"), {})


def _add(workspace: Workspace, **changes: Any) -> Added:
    given: dict[str, Any] = {"name": "own", "url": "data/own", "zone": "historical", "contract": None, "draft": True}
    return add_dataset(workspace.settings, **given | changes)


def _tree(workspace: Workspace) -> set[Path]:
    return set(workspace.settings.workspace.parent.rglob("*"))


class TestAdding:
    def test_drafts_a_contract_that_allows_nobody_anything(self, workspace: Workspace) -> None:
        write(workspace.settings.workspace / "data/own/year=1994/ü 1.parquet")
        added = _add(workspace)
        assert (added.files, added.rows, added.drafted) == (1, 4, True)
        recorded = read_snapshot(workspace.store, "own")
        assert recorded is not None
        assert (recorded.number, recorded.rows) == (1, 4)
        dataset = open_dataset(workspace.settings, workspace.store, "own")
        assert [column.name for column in dataset.contract.columns] == [*TABLE.column_names, "year"]
        with pytest.raises(AccessDenied):
            open_one(workspace, "own", "train")

    @pytest.mark.parametrize(
        ("changes", "family"),
        [
            ({"name": "../own"}, InvalidInput),
            ({"zone": "elsewhere"}, InvalidInput),
            ({"contract": "../outside.yaml"}, InvalidInput),
            ({"contract": "/outside.yaml"}, InvalidInput),
            ({"url": "file://user:password@host/data"}, InvalidInput),
            ({"url": "gs://bucket/data"}, InvalidInput),
            ({"url": "data/nowhere"}, NotFound),
            ({"url": "data/broken"}, Integrity),
            ({"url": "data/mixed"}, InvalidInput),
            ({"url": "data/twice"}, InvalidInput),
            ({"draft": False}, NotFound),
            ({"draft": False, "contract": "contracts/people.yaml"}, InvalidInput),
            ({"contract": "contracts/people.yaml"}, AlreadyExists),
            ({"name": "people_old", "contract": "contracts/x.yaml"}, AlreadyExists),
        ],
        ids=str,
    )
    def test_that_is_refused_writes_nothing(
        self, workspace: Workspace, changes: dict[str, Any], family: type[DataopsError]
    ) -> None:
        data = workspace.settings.workspace / "data"
        write(data / "own/a.parquet")
        write(data / "broken/a.parquet").write_bytes(b"no parquet")
        write(data / "mixed/a.parquet")
        write(data / "mixed/b.parquet", TABLE.set_column(1, "age", pa.array(["1"] * 4)))
        write(data / "twice/age=3/a.parquet")  # the column is in the file and in the folder's name
        before = _tree(workspace)
        with pytest.raises(family) as caught:
            _add(workspace, **changes)
        assert _tree(workspace) == before
        assert "password" not in str(caught.value)


class TestOpening:
    def test_an_unknown_name_gives_the_near_match(self, workspace: Workspace) -> None:
        with pytest.raises(NotFound, match="Did you mean 'people_old'"):
            open_dataset(workspace.settings, workspace.store, "people_odl")

    def test_a_name_can_not_leave_its_folder(self, workspace: Workspace) -> None:
        with pytest.raises(InvalidInput):
            open_dataset(workspace.settings, workspace.store, "../people_old")

    def test_an_entry_under_another_name_is_refused(self, workspace: Workspace) -> None:
        catalog = workspace.settings.workspace / "catalog"
        (catalog / "alias.yaml").write_text((catalog / "people_old.yaml").read_text())
        with pytest.raises(InvalidInput, match="its file says 'alias'"):
            open_dataset(workspace.settings, workspace.store, "alias")

    def test_files_that_do_not_fit_the_contract_are_refused(self, workspace: Workspace) -> None:
        write(workspace.settings.workspace / "data/people_old/a.parquet")
        with pytest.raises(InvalidInput, match="don't fit together"):
            open_dataset(workspace.settings, workspace.store, "people_old")

    def test_a_dataset_without_rows_opens_with_nothing_to_do(self, workspace: Workspace) -> None:
        _publish_made(workspace, rows=False)
        dataset = open_dataset(workspace.settings, workspace.store, "made")
        assert (dataset.snapshot.rows, dataset.declared, dataset.zone) == (0, False, "historical")
        assert dataset_names(workspace.settings, workspace.store)[1] == ["made"]

    def test_the_same_columns_published_again_change_no_effect(self, workspace: Workspace) -> None:
        effects = set()
        for run in ("r1", "r2"):
            _publish_made(workspace, run=run)
            dataset = open_dataset(workspace.settings, workspace.store, "made")
            effects.add(dataset.contract.digest)
        assert (dataset.snapshot.number, len(effects)) == (2, 1)

    def test_what_was_pinned_must_still_be_there_and_still_be_allowed(self, workspace: Workspace) -> None:
        given = open_one(workspace, "people_old", "train")
        pinned = given.pinned()
        assert require_same(open_one(workspace, "people_old", "train"), pinned, given.units) == given
        policy = workspace.settings.workspace / "policies/people.yaml"
        policy.write_text(POLICY.replace("width: 5", "width: 10"))
        with pytest.raises(AccessDenied, match="changed since the run was planned"):
            require_same(open_one(workspace, "people_old", "train"), pinned, given.units)
        policy.write_text(POLICY)
        (workspace.settings.workspace / "data/people_old/part-000.parquet").unlink()
        with pytest.raises(Integrity, match="changed since the run was planned"):
            require_same(open_one(workspace, "people_old", "train"), pinned, given.units)

    def test_what_is_read_for_two_purposes_is_of_one_snapshot(self, workspace: Workspace) -> None:
        wanted = {"input": ("people_old", "train"), "evaluate:people_old": ("people_old", "evaluate")}
        with patch("dataops.datasets.access.open_dataset", side_effect=open_dataset) as opened:
            inputs = open_inputs(workspace.settings, workspace.store, workspace.reader(), wanted)
        assert opened.call_count == 1  # a file that arrives meanwhile would be judged on and not learned from
        assert [given.grant.purpose for given in inputs.values()] == ["train", "evaluate"]

    def test_only_granted_columns_come_with_an_input(self, workspace: Workspace) -> None:
        given = open_one(workspace, "people_old", "train")
        assert "diagnosis" not in {column.name for column in given.granted_columns()}
        assert "diagnosis" not in given.source.effect.columns
        with pytest.raises(AccessDenied):
            govern(workspace.settings, workspace.reader(), given.dataset, "benchmark")


class TestVerifying:
    def test_a_source_as_it_was_recorded_finds_nothing(self, workspace: Workspace) -> None:
        for _ in range(2):
            verified = verify_dataset(workspace.settings, workspace.store, "people_old")
            assert verified.findings == ()
        assert verified.checks["files"] == 2

    def test_a_source_names_what_changed_came_and_went_every_time(self, workspace: Workspace) -> None:
        open_dataset(workspace.settings, workspace.store, "people_old")
        data = workspace.settings.workspace / "data/people_old"
        (data / "part-000.parquet").rename(data / "part-009.parquet")
        (data / "part-001.parquet").write_bytes((data / "part-009.parquet").read_bytes())
        for _ in range(2):
            findings = verify_dataset(workspace.settings, workspace.store, "people_old").findings
            assert [finding.split(" since")[0] for finding in findings] == [
                "part-000.parquet: gone", "part-001.parquet: changed", "part-009.parquet: new",
            ]  # fmt: skip

    def test_a_made_dataset_counts_every_row(self, workspace: Workspace) -> None:
        _publish_made(workspace)
        verified = verify_dataset(workspace.settings, workspace.store, "made")
        assert verified.findings == ()
        assert str(verified.checks["accounted for"]).startswith("10 read = 8 passed + 0 filtered + 2 quarantined")

    def test_one_without_rows_is_whole_too(self, workspace: Workspace) -> None:
        _publish_made(workspace, rows=False)
        assert verify_dataset(workspace.settings, workspace.store, "made").findings == ()

    @pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
    @pytest.mark.parametrize("kind", ["datasets/made/runs/run-1/data", "quarantine/people/run-1"])
    def test_damage_to_a_part_or_a_quarantine_file_is_found(self, workspace: Workspace, damage: str, kind: str) -> None:
        _publish_made(workspace)
        path = min((Path(workspace.settings.storage) / kind).glob("*.parquet"))
        data = path.read_bytes()
        if damage == "remove":
            path.unlink()
        else:
            path.write_bytes(data[:-1] if damage == "cut" else bytes([data[0], data[1] ^ 1, *data[2:]]))
        findings = verify_dataset(workspace.settings, workspace.store, "made").findings
        assert any(path.name in finding for finding in findings)

    def test_a_receipt_that_was_exchanged_is_found(self, workspace: Workspace) -> None:
        _publish_made(workspace)
        path = Path(workspace.settings.storage) / "datasets/made/runs/run-1/units/u000000.json"
        path.write_bytes(
            path.read_bytes().replace(b'"passed":4', b'"passed":3').replace(b'"dropped":0', b'"dropped":1')
        )
        findings = verify_dataset(workspace.settings, workspace.store, "made").findings
        assert any("root" in finding for finding in findings)


def _publish_made(workspace: Workspace, *, rows: bool = True, run: str = "run-1") -> None:
    files = open_files(workspace.settings.storage)
    units = [make_unit(number, 5) for number in range(2)] if rows else []
    records = {
        unit.id: commit_unit(
            workspace.store,
            files,
            dataset="made",
            run=run,
            input_dataset="people",
            table=TABLE,
            quarantined=ASIDE,
            receipt=make_receipt(unit.id, passed=4, quarantined=1),
        )
        for unit in units
    }
    publish(
        workspace.store,
        dataset="made",
        run=run,
        zone="historical",
        columns=COLUMNS,
        units=units,
        records=records,
        lineage={"kind": "prepare"},
    )
