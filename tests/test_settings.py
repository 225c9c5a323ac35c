from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dataops.errors import InvalidInput, NotFound
from dataops.runs.workspace import open_workspace
from dataops.settings import DEFAULTS, find_file, find_workspace, read_settings, resolve_url


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    folder.mkdir()
    (folder / "dataops.yaml").write_text("# all defaults\n")
    return folder


def test_defaults_lie_in_the_workspace(workspace: Path) -> None:
    settings = read_settings(workspace, {})
    assert settings.workspace == workspace
    for key, value in DEFAULTS.items():
        assert getattr(settings, key) == str(workspace / value)


def test_a_file_is_looked_for_where_one_stands_then_in_the_workspace(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_file(workspace, "cluster/a.yaml") == workspace / "cluster/a.yaml"
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "a.yaml").touch()
    assert find_file(workspace, "cluster/a.yaml") == Path("cluster/a.yaml")
    assert find_file(workspace, "/b.yaml") == Path("/b.yaml")
    assert find_file(workspace, "x" * 5000) == workspace / ("x" * 5000)


def test_a_cluster_file_is_found_in_the_workspace_from_elsewhere(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "cluster").mkdir()
    (workspace / "cluster" / "small.yaml").write_text("kind: local\nscore: {workers: 3, threads: 1}\n")
    monkeypatch.chdir(tmp_path)
    opened = open_workspace(str(workspace), {})
    assert opened.cluster("cluster/small.yaml").score.workers == 3


def test_file_then_environment_then_overrides(workspace: Path) -> None:
    (workspace / "dataops.yaml").write_text("storage: a\nregistry: b\nkeys: c\n")
    settings = read_settings(
        workspace, {"DATAOPS_REGISTRY": "env", "DATAOPS_KEYS": "env", "HOME": "/h"}, {"keys": "flag"}
    )
    assert [Path(value).name for value in (settings.storage, settings.registry, settings.keys)] == ["a", "env", "flag"]


def test_numbers_come_from_the_same_places_as_paths(workspace: Path) -> None:
    assert (read_settings(workspace, {}).runs_at_once, read_settings(workspace, {}).runs_per_user) == (1, 1)
    (workspace / "dataops.yaml").write_text("runs_at_once: 4\nruns_per_user: 2\n")
    settings = read_settings(workspace, {"DATAOPS_RUNS_PER_USER": "3"})
    assert (settings.runs_at_once, settings.runs_per_user) == (4, 3)
    assert read_settings(workspace, {}, {"runs_at_once": "1024"}).runs_at_once == 1024


@pytest.mark.parametrize(
    "value", ["0", "-1", "1025", "1.5", "true", "null", "''", "many", "'1e3'", "99999999999999999999"]
)
def test_a_number_out_of_its_range_is_refused(workspace: Path, value: str) -> None:
    (workspace / "dataops.yaml").write_text(f"runs_at_once: {value}\n")
    with pytest.raises(InvalidInput, match=r"dataops\.yaml:1: runs_at_once: "):
        read_settings(workspace, {})
    (workspace / "dataops.yaml").write_text("# none\n")
    with pytest.raises(InvalidInput, match="DATAOPS_RUNS_AT_ONCE: expected a whole number from 1 to 1,024"):
        read_settings(workspace, {"DATAOPS_RUNS_AT_ONCE": value.strip("'")})


def test_urls_stay_and_paths_become_absolute(workspace: Path) -> None:
    overrides = {
        "storage": "s3://bucket/x",
        "registry": "../shared/registry",
        "keys": "~/keys",
        "cluster": "/etc/c.yaml",
    }
    settings = read_settings(workspace, {"HOME": "/home/ada"}, overrides)
    assert settings.storage == "s3://bucket/x"
    assert settings.registry == str(workspace.parent / "shared" / "registry")
    assert settings.keys == "/home/ada/keys"
    assert settings.cluster == "/etc/c.yaml"


def test_addresses_are_resolved_against_the_workspace(workspace: Path) -> None:
    assert resolve_url(workspace, "data/x") == str(workspace / "data" / "x")
    assert resolve_url(workspace, "../x/") == str(workspace.parent / "x")
    assert resolve_url(workspace, "/srv/x") == "/srv/x"
    assert resolve_url(workspace, "s3://bucket/../x") == "s3://bucket/../x"


def test_variables_that_are_no_settings_are_let_be(workspace: Path) -> None:
    environ = {"DATAOPS_WORKSPACE": "elsewhere", "DATAOPS_CACHE": "/srv/cache", "PATH": "/bin"}
    assert read_settings(workspace, environ) == read_settings(workspace, {})


def test_unknown_settings_of_all_origins_are_refused_at_once(workspace: Path) -> None:
    (workspace / "dataops.yaml").write_text("storage: a\nregistri: b\n")
    with pytest.raises(InvalidInput) as caught:
        read_settings(workspace, {"DATAOPS_KEY": "x", "OTHER": "y"}, {"clustr": "z"})
    assert str(caught.value).splitlines() == [
        f"{workspace}/dataops.yaml:2: registri: unknown setting. Did you mean 'registry'?",
        "DATAOPS_KEY: unknown setting. Did you mean 'keys'?",
        "--clustr: unknown setting. Did you mean 'cluster'?",
    ]


@pytest.mark.parametrize("value", ["''", "' '", "0", "false", "null", "[a]", "{a: b}"])
def test_what_is_no_path_is_refused_and_not_taken_for_absent(workspace: Path, value: str) -> None:
    (workspace / "dataops.yaml").write_text(f"storage: {value}\n")
    with pytest.raises(InvalidInput, match=r"dataops\.yaml:1: storage: expected a path or URL"):
        read_settings(workspace, {})


def test_an_empty_variable_is_a_value_and_refused(workspace: Path) -> None:
    with pytest.raises(InvalidInput, match="DATAOPS_STORAGE: expected a path or URL as text, not empty"):
        read_settings(workspace, {"DATAOPS_STORAGE": ""})


@pytest.mark.parametrize("url", ["s3://key:hunter2@bucket", "s3://[hunter2"])
def test_credentials_are_refused_and_not_repeated(workspace: Path, url: str) -> None:
    with pytest.raises(InvalidInput, match="DATAOPS_STORAGE: holds credentials") as caught:
        read_settings(workspace, {"DATAOPS_STORAGE": url})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["keys", "cluster"])
def test_keys_and_cluster_files_are_local(workspace: Path, key: str) -> None:
    with pytest.raises(InvalidInput, match="not a URL"):
        read_settings(workspace, {}, {key: "s3://bucket/x"})


@pytest.mark.parametrize(
    "text", ["- storage\n", "storage\n", "storage: a\n---\nstorage: b\n", "storage: a\nstorage: b\n"]
)
def test_a_file_that_is_no_mapping_of_settings_is_refused(workspace: Path, text: str) -> None:
    (workspace / "dataops.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=r"dataops\.yaml"):
        read_settings(workspace, {})


def test_the_workspace_is_found_from_inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAOPS_WORKSPACE", raising=False)
    inside = workspace / "jobs" / "deep"
    inside.mkdir(parents=True)
    assert find_workspace(inside) == workspace
    assert find_workspace(workspace) == workspace


def test_the_variable_wins_and_must_name_a_workspace(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAOPS_WORKSPACE", str(workspace))
    assert find_workspace(tmp_path) == workspace
    for wrong in (str(tmp_path), ""):
        monkeypatch.setenv("DATAOPS_WORKSPACE", wrong)
        with pytest.raises(NotFound, match="dataops init DIR"):
            find_workspace(workspace)


def test_no_workspace_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAOPS_WORKSPACE", raising=False)
    with pytest.raises(NotFound, match="dataops init DIR"):
        find_workspace(tmp_path)


def test_reading_settings_loads_nothing_heavy() -> None:
    code = "import sys, dataops.settings; print(sorted({'pydantic', 'dask', 'pyarrow', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
