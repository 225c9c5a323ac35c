"""Letting rows expire and files go, as a person types it: first what would go, then, with --yes, it goes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dataops.datasets.snapshot import append_snapshot, manifest_key, read_snapshot
from dataops.storage.objects import Store, open_store
from tests.cli.conftest import Call
from tests.datasets.examples import make_manifest
from tests.line.people import give_roles


@pytest.fixture
def store(workspace: Path) -> Store:
    """The storage of a steward's workspace with a dataset ``made``, whose first run another replaced; both are old."""
    give_roles(workspace, "steward")
    opened = open_store(str(workspace / "storage"))
    for run in ("job-a-1", "job-b-2"):
        manifest = make_manifest(run)
        part = workspace / "storage/datasets/made" / manifest.fragments[0].path
        part.parent.mkdir(parents=True)
        part.write_bytes(b"0123456789")
        assert opened.put_if_absent(manifest_key("made", run), manifest.to_bytes())
        append_snapshot(opened, manifest)
    return opened


def parts(workspace: Path) -> list[str]:
    return sorted(path.parts[-3] for path in (workspace / "storage").rglob("*.parquet"))


def audited(workspace: Path) -> int:
    return len(list((workspace / "storage/audit").glob("*.json")))


class TestExpire:
    def test_says_first_what_would_go(self, store: Store, workspace: Path, dataops: Call) -> None:
        shown = dataops("dataset", "expire", "made", "--older-than", "30d")
        assert shown.code == 0
        assert "job-b-2" in shown.out
        assert "Dry run: 4 rows would leave 'made', kept for 30 days (asked for). --yes does it." in shown.out
        assert read_snapshot(store, "made").number == 2  # type: ignore[union-attr]
        assert audited(workspace) == 0

    def test_does_it_when_told_to(self, store: Store, workspace: Path, dataops: Call) -> None:
        done = dataops("dataset", "expire", "made", "--older-than", "30d", "--yes", "--json").json
        assert (done["done"], done["snapshot"], [one["run"] for one in done["manifests"]]) == (True, 3, ["job-b-2"])
        assert read_snapshot(store, "made").rows == 0  # type: ignore[union-attr]
        assert audited(workspace) == 2, "before and after"
        assert parts(workspace) == ["job-a-1", "job-b-2"], "files go by gc alone"
        again = dataops("dataset", "expire", "made", "--older-than", "30d", "--yes")
        assert (again.code, again.out) == (0, "nothing of 'made' is older than 30 days (asked for)\n")
        assert dataops("dataset", "show", "made").code == 0
        assert dataops("dataset", "list").code == 0

    def test_is_for_stewards(self, store: Store, workspace: Path, dataops: Call) -> None:
        give_roles(workspace, "data_science")
        refused = dataops("dataset", "expire", "made", "--older-than", "30d", "--yes")
        assert (refused.code, refused.out) == (7, "")
        assert "for the role 'steward' alone" in refused.err
        assert (read_snapshot(store, "made").number, audited(workspace)) == (2, 0)  # type: ignore[union-attr]
        assert "Dry run" in dataops("dataset", "expire", "made", "--older-than", "30d").out

    def test_says_what_was_not_signed_and_keeps_stdout_clean(
        self, store: Store, workspace: Path, dataops: Call
    ) -> None:
        shutil.rmtree(workspace / "keys")
        done = dataops("dataset", "expire", "made", "--older-than", "30d", "--yes", "--json")
        assert done.json["done"] is True
        assert done.err.startswith("note: no checkpoint of the audit was signed")

    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            (("made",), 2, "no contract says how long"),
            (("made", "--older-than", "30"), 2, "'30' is no duration"),
            (("made", "--older-than", "-3d"), 2, "is no duration"),
            (("mad", "--older-than", "30d"), 3, "Did you mean 'made'"),
            (("people_old", "--older-than", "30d", "--yes"), 2, "nothing is ever deleted there"),
        ],
    )
    def test_refuses(
        self, store: Store, workspace: Path, dataops: Call, arguments: tuple[str, ...], code: int, says: str
    ) -> None:
        data = sorted(workspace.joinpath("data").rglob("*"))
        refused = dataops("dataset", "expire", *arguments)
        assert (refused.code, refused.out) == (code, "")
        assert says in refused.err
        assert (sorted(workspace.joinpath("data").rglob("*")), audited(workspace)) == (data, 0)


class TestGc:
    def test_of_nothing_says_so(self, workspace: Path, dataops: Call) -> None:
        assert dataops("dataset", "gc").out == "no garbage\n"
        assert dataops("dataset", "gc", "--json").json["totals"]["delete"]["files"] == 0

    def test_marks_first_and_says_what_it_would_do(self, store: Store, workspace: Path, dataops: Call) -> None:
        dry = dataops("dataset", "gc")
        assert "would be marked  1 files of 1 runs, 10 bytes" in dry.out
        assert "Dry run" in dry.out
        assert store.list("tombstones") == []
        done = dataops("dataset", "gc", "--yes")
        assert "replaced" in done.out
        assert len(store.list("tombstones")) == 1
        assert "marked before" in dataops("dataset", "gc", "--yes").out
        assert parts(workspace) == ["job-a-1", "job-b-2"]
        assert audited(workspace) == 0, "nothing was deleted"

    def test_without_grace_deletes_at_once(self, store: Store, workspace: Path, dataops: Call) -> None:
        done = dataops("dataset", "gc", "made", "--grace", "0d", "--yes", "--json").json
        assert [one["run"] for one in done["delete"]] == ["job-a-1"]
        assert parts(workspace) == ["job-b-2"]
        assert audited(workspace) == 2, "before and after"
        assert done["spare"] == []

    def test_is_for_stewards(self, store: Store, workspace: Path, dataops: Call) -> None:
        give_roles(workspace, "data_science")
        refused = dataops("dataset", "gc", "--grace", "0d", "--yes")
        assert (refused.code, refused.out) == (7, "")
        assert "for the role 'steward' alone" in refused.err
        assert (parts(workspace), store.list("tombstones")) == (["job-a-1", "job-b-2"], [])
        assert "would be marked" in dataops("dataset", "gc").out

    def test_says_what_was_not_signed(self, store: Store, workspace: Path, dataops: Call) -> None:
        shutil.rmtree(workspace / "keys")
        done = dataops("dataset", "gc", "--grace", "0d", "--yes")
        assert (done.code, parts(workspace)) == (0, ["job-b-2"])
        assert done.err.startswith("note: no checkpoint of the audit was signed")

    def test_of_an_unknown_dataset_is_refused(self, store: Store, dataops: Call) -> None:
        refused = dataops("dataset", "gc", "mad", "--yes")
        assert (refused.code, "Did you mean 'made'" in refused.err) == (3, True)
