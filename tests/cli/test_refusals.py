"""What people get wrong ends in a message with the name, the near match and the line, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest

JOBS, POLICY, CONTRACT, CATALOG = "jobs/people.yaml", "policies/people.yaml", "contracts/people.yaml", "catalog"
TRAIN_RAW = {"input: people_ready\ntarget": "input: people_old\ntarget", ", long_hours]": "]"}


def edit(path: str, *changes: tuple[str, str]) -> None:
    text = Path(path).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    Path(path).write_text(text)


COLUMNS = [
    ("people_ready", "hours > 40", "huors > 40", "people.yaml:5: derive.long_hours: no column 'huors'", "'hours'"),
    ("people_ready", "rich is not", "rihc is not", "people.yaml:6: labelled: no column 'rihc'", "'rich'"),
    ("people_ready", "hash(person_id)", "hash(persn_id)", "people.yaml:7: no column 'persn_id'", "'person_id'"),
    ("wealth", "[age, hours]", "[aeg, hours]", "people.yaml:15: no column 'aeg'", "'age'"),
    ("wealth", "columns: [trade]", "columns: [trda]", "people.yaml:16: no column 'trda'", "'trade'"),
    ("wealth", "target: rich", "target: rihc", "people.yaml:13: no column 'rihc'", "'rich'"),
    ("wealth", "slices: [region]", "slices: [regoin]", "people.yaml:20: evaluate:", "'region'"),
]


@pytest.mark.parametrize(("job", "old", "new", "message", "near"), COLUMNS)
def test_a_mistyped_column(job, old, new, message, near, workspace, dataops, left_behind):
    edit(JOBS, *TRAIN_RAW.items(), (old, new))
    called = dataops("job", "run", JOBS, job)
    assert called.code == 2
    assert message in called.err
    assert f"Did you mean {near}?" in called.err
    assert left_behind(workspace) == []
    # the same without running anything
    explained = dataops("job", "explain", JOBS, job, "--json")
    assert message in explained.json["refused"]


def test_all_mistyped_features_are_said_at_once(workspace, dataops):
    edit(JOBS, *TRAIN_RAW.items(), ("[age, hours]", "[aeg, huors]"))
    called = dataops("job", "run", JOBS, "wealth")
    assert called.code == 2
    assert "'aeg'" in called.err
    assert "'huors'" in called.err


NAMES = [
    ("people_ready", JOBS, "input: people_old", "input: poeple_old", 3, "people.yaml:3: no dataset 'poeple_old'"),
    ("people_ready", JOBS, "derive:", "dervie:", 2, "people.yaml:4: dervie: unknown key. Did you mean 'derive'?"),
    ("people_ready", JOBS, "derive:\n", "derive: [\n", 2, "people.yaml:6: while parsing"),
    ("people_ready", JOBS, "job: prepare", "job: prepaer", 2, "Did you mean 'prepare'?"),
    ("people_raedy", JOBS, "", "", 3, "declares no job 'people_raedy'. Did you mean 'people_ready'?"),
    ("people_scores", JOBS, "", "", 3, "people.yaml:24: the registry has no model 'wealth'"),
    ("people_ready", POLICY, "roles: [data_science]\n", "role: [data_science]\n", 2, "rules[0].role: unknown key. Did"),
    ("people_ready", POLICY, "effect: allow", "effect: alow", 2, "people.yaml:5: rules[0].effect:"),
    ("people_ready", POLICY, "age >= 18", "aeg >= 18", 7, "no column 'aeg'. Did you mean 'age'?"),
    ("people_ready", POLICY, "generalise", "generalize", 2, "people.yaml:14: rules[2].mask"),
    ("people_ready", CONTRACT, "float64", "flaot64", 2, "no column type 'flaot64'. Did you mean 'float64'?"),
    ("people_ready", CONTRACT, "required: true", "requierd: true", 2, "people.yaml:10: schema[0].properties[0]"),
    ("people_ready", CONTRACT, "name: hours", "name: huors", 2, "'huors' is missing from the files. Did you mean"),
    (
        "people_ready",
        "dataops.yaml",
        "storage:",
        "stroage:",
        2,
        "dataops.yaml:2: stroage: unknown setting. Did you mean",
    ),
    ("people_ready", "cluster/local.yaml", "score:", "scoer:", 2, "unknown key. Did you mean 'score'?"),
    ("people_ready", "cluster/local.yaml", "kind: local", "kind: [", 2, "local.yaml:"),
    (
        "people_ready",
        "principals.yaml",
        "data_science",
        "data_sceince",
        7,
        "No rule speaks of role 'data_sceince'. Did",
    ),
    ("people_ready", "principals.yaml", "roles:", "rolse:", 2, "principals.yaml:2:"),
    ("people_ready", "catalog/people_old.yaml", "zone: historical", "zone: histroical", 2, "people_old.yaml:3: zone"),
    ("people_ready", JOBS, "hours > 40", "diagnosis = 'x'", 7, "people.yaml:5: derive.long_hours asks for 1 column"),
    ("wealth", JOBS, "trainer: xgboost", "trainer: xgbost", 2, "people.yaml:19: candidates[1]: there is no trainer"),
    ("wealth", JOBS, "max_depth", "maxdepth", 2, "unknown parameter 'maxdepth'. Did you mean 'max_depth'?"),
    ("wealth", JOBS, "log_loss]", "logloss]", 2, "people.yaml:20: evaluate.metrics[1]"),
    ("wealth", JOBS, "datasets: [people_new]", "datasets: [people_nwe]", 3, "Did you mean 'people_new'?"),
]


@pytest.mark.parametrize(("job", "file", "old", "new", "code", "message"), NAMES)
def test_a_mistyped_name(job, file, old, new, code, message, workspace, dataops, left_behind):
    edit(file, (old, new))
    if job == "wealth":
        edit(JOBS, *TRAIN_RAW.items())
    called = dataops("job", "run", JOBS, job, "--json")
    assert called.code == code
    assert message in called.json["error"]["message"]
    assert message in called.err
    assert left_behind(workspace) == []


MISSING = [
    ("jobs/poeple.yaml", "", 3, "no such file. Did you mean 'people.yaml'?"),
    (JOBS, "dataops.yaml", 3, "no dataops.yaml in"),
    (JOBS, POLICY, 7, "there is no policy yet"),
    (JOBS, CONTRACT, 3, "contracts/people.yaml: no such file"),
    (JOBS, "principals.yaml", 3, "principals.yaml: no such file"),
    (JOBS, "cluster/local.yaml", 3, "cluster/local.yaml: no such file"),
    (JOBS, "catalog/people_old.yaml", 3, "no dataset 'people_old'"),
    (JOBS, "data/people_old", 3, "dataset 'people_old' (catalog/people_old.yaml): there is no folder"),
]


@pytest.mark.parametrize(("file", "gone", "code", "message"), MISSING)
def test_a_missing_file(file, gone, code, message, workspace, dataops, left_behind):
    if gone:
        shutil.rmtree(gone) if Path(gone).is_dir() else Path(gone).unlink()
    called = dataops("job", "run", file, "people_ready")
    assert called.code == code
    assert message in called.err
    if gone != "catalog/people_old.yaml":
        assert left_behind(workspace) == []


@pytest.mark.parametrize("garbled", [b"x", b"PAR1 not at all, but long enough PAR1", "cut", "footer"])
def test_a_broken_parquet_file(garbled, workspace, dataops, left_behind):
    part = Path("data/people_old/part-000.parquet")
    whole = part.read_bytes()
    part.write_bytes(
        {"cut": whole[: len(whole) // 2], "footer": whole[:-200] + bytes(192) + whole[-8:]}.get(garbled, garbled)
    )
    called = dataops("job", "run", JOBS, "people_ready")
    assert called.code == 8
    assert "part-000.parquet: " in called.err
    added = dataops("dataset", "add", "mine", "data/people_old", "--draft-contract")
    assert added.code == 8
    assert not Path("contracts/mine.yaml").exists()
    assert left_behind(workspace) == []


def test_a_user_without_a_role(workspace, dataops, left_behind):
    Path("principals.yaml").write_text("principals:\n  somebody: {roles: [data_science]}\n")
    called = dataops("job", "run", JOBS, "people_ready")
    assert called.code == 7
    assert "has no role: add " in called.err
    assert left_behind(workspace) == []


def test_no_workspace_here(tmp_path, monkeypatch, dataops):
    monkeypatch.chdir(tmp_path)
    for verb in ("job list", "dataset list", "model list", "audit verify", "keys init"):
        called = dataops(*verb.split(), "--json")
        assert called.code == 3
        assert "`dataops init DIR`" in called.json["error"]["message"]
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_workspace_names_itself(tmp_path, dataops):
    called = dataops("job", "list", "-w", str(tmp_path / "nowhere"))
    assert called.code == 3  # as without -w
    assert "nowhere is no workspace" in called.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("mine data/nothing --draft-contract", 3, "there is no folder"),
        ("mine data/people_old", 3, "let --draft-contract write a draft"),
        ("people_old data/people_old", 4, "the catalog has a dataset 'people_old' already"),
        ("people_two data/people_old --contract contracts/people.yaml --draft-contract", 4, "exists already"),
        ("Mine data/people_old --draft-contract", 2, "can't name a dataset"),
        ("mine data/nothere", 3, "there is no folder"),
        ("mine data/people_old --contract ../mine.yaml --draft-contract", 2, "inside the workspace"),
        ("mine s3://user:secret@bucket/x --draft-contract", 2, "credentials"),
    ],
)
def test_a_dataset_that_cannot_be_added(arguments, code, message, workspace, dataops, left_behind):
    called = dataops("dataset", "add", *arguments.split())
    assert called.code == code
    assert message in called.err
    assert "secret" not in called.err
    assert not Path("contracts/mine.yaml").exists()
    assert left_behind(workspace) == []


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("job show people_ready-1", "no run 'people_ready-1'"),
        ("job resume people_ready-1", "no run 'people_ready-1'"),
        ("job report people_ready-1", "no run 'people_ready-1'"),
        ("dataset show people_odl", "Did you mean 'people_old'?"),
        ("dataset verify people_odl", "Did you mean 'people_old'?"),
        ("model show wealth", "no model 'wealth'. It has no models yet: run a train job."),
        ("model champion wealth", "no model 'wealth'. It has no models yet"),
        ("model history wealth", "no model 'wealth'. It has no models yet"),
        ("model promote wealth --reason x", "no model 'wealth'. It has no models yet"),
        ("model promote waelth@1 --reason x", "no model 'waelth'"),
    ],
)
def test_what_is_not_there_is_not_found(verb, message, workspace, dataops, left_behind):
    called = dataops(*verb.split(), "--json")
    assert called.code == 3
    assert message in called.json["error"]["message"]
    assert left_behind(workspace) == []


@pytest.mark.parametrize("reference", ["wealth@", "a@@b", "wealth@0", "../x@1"])
def test_what_names_no_version_is_refused(reference, workspace, dataops):
    assert dataops("model", "show", reference).code == 2


def test_an_init_where_one_is_already(workspace, dataops):
    before = sorted((workspace / "keys").iterdir())
    called = dataops("init", ".")
    assert called.code == 4
    assert "is a workspace already" in called.err
    assert sorted((workspace / "keys").iterdir()) == before


def test_a_storage_folder_that_is_a_file(workspace, dataops):
    shutil.rmtree("storage", ignore_errors=True)
    Path("storage").write_text("")
    called = dataops("job", "list")
    assert called.code == 10
    assert "storage" in called.err


@pytest.mark.skipif(sys.platform != "linux", reason="/proc takes no folders, whoever asks")
def test_a_storage_folder_that_cannot_be_made(workspace, dataops):
    edit("dataops.yaml", ("storage: storage", "storage: /proc/dataops"))
    called = dataops("job", "run", JOBS, "people_ready")
    assert called.code == 10
    assert "/proc/dataops" in called.err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_storage_folder_that_cannot_be_read(workspace, dataops, left_behind):
    assert dataops("job", "list").code == 0
    Path("storage").chmod(0)
    try:
        called = dataops("job", "run", JOBS, "people_ready")
    finally:
        Path("storage").chmod(0o700)
    assert called.code == 10
    assert "Permission denied" in called.err
    assert left_behind(workspace) == []


def test_a_full_disk(workspace, dataops, left_behind, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert dataops("job", "list").code == 0  # the storage was probed
    monkeypatch.setattr(os, "link", full)
    called = dataops("job", "run", JOBS, "people_ready")
    assert called.code == 10
    assert "No space left on device" in called.err
    assert left_behind(workspace) == []


def test_an_init_on_a_full_disk_leaves_no_workspace(tmp_path, dataops, monkeypatch):
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "principals.yaml")

    monkeypatch.setattr(Path, "write_text", full)
    called = dataops("init", str(tmp_path / "new"))
    assert called.code == 10
    assert "principals.yaml: No space left on device" in called.err
    assert not (tmp_path / "new" / "dataops.yaml").exists()


def test_a_report_to_a_folder_that_is_not_there(workspace, dataops):
    assert dataops("job", "report", "x", "--standalone", "nowhere/x.html").code == 3
