"""A version's folder is an MLflow model: it is read without a server, checked, and answers as the handle does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from dataops.errors import Integrity, InvalidInput
from dataops.registry.trust import UNSIGNED, Trust
from dataops.runtime.mlflow import TRUST, _in_utc, _load_pyfunc, read_folder
from dataops.storage import objects
from tests.runtime.examples import ROWS, expected, make_registry, register


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a version's folder, as MLflow downloads one."""
    register(make_registry(tmp_path / "models"), 1.0)
    return Path(shutil.copytree(tmp_path / "models/income/versions/1", tmp_path / "downloaded"))


def test_the_loader_answers_as_the_version_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    monkeypatch.setenv(TRUST, "unsigned")
    assert _load_pyfunc(str(folder)).predict(pandas.DataFrame(ROWS)) == pytest.approx(expected(1.0), abs=1e-6)


def test_times_without_a_zone_are_those_of_utc_where_training_had_one() -> None:
    given = {"at": pa.timestamp("ns"), "local": pa.timestamp("ns"), "extra": pa.timestamp("ns")}
    wanted = pa.schema({"at": pa.timestamp("us", "Europe/Paris"), "local": pa.timestamp("us")})
    found = _in_utc(pa.table({name: pa.array([0], kind) for name, kind in given.items()}), wanted)
    assert found.schema.field("at").type == pa.timestamp("ns", "UTC")
    assert found.column("at").cast(pa.int64()).to_pylist() == [0]
    assert found.select(["local", "extra"]).schema.types == [pa.timestamp("ns")] * 2


def test_the_folder_says_how_it_is_loaded(folder: Path) -> None:
    said = yaml.safe_load((folder / "MLmodel").read_text())
    assert said["flavors"]["python_function"]["loader_module"] == "dataops.runtime.mlflow"
    inputs = json.loads(said["signature"]["inputs"])
    assert [(one["name"], one["type"]) for one in inputs] == [("age", "double"), ("job", "string")]
    example = json.loads((folder / "input_example.json").read_text())
    assert example["columns"] == ["age", "job"]


def test_trust_is_the_readers_and_must_be_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRUST, raising=False)
    with pytest.raises(InvalidInput, match="say whom to trust"):
        _load_pyfunc(str(folder))
    with pytest.raises(Integrity, match="not signed"):
        read_folder(folder, Trust(signers=()))


def test_no_bytes_of_a_version_stay_in_memory_once_it_is_read(folder: Path) -> None:
    before = sum(map(len, objects._memory.values()))
    read_folder(folder, UNSIGNED)
    assert sum(map(len, objects._memory.values())) == before


def test_a_changed_file_is_refused(folder: Path) -> None:
    (folder / "MLmodel").write_text("{}")
    with pytest.raises(Integrity, match="MLmodel"):
        read_folder(folder, UNSIGNED)


def test_mlflow_itself_loads_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyfunc = pytest.importorskip("mlflow.pyfunc", reason="MLflow isn't installed")
    pandas = pytest.importorskip("pandas")
    monkeypatch.setenv(TRUST, "unsigned")
    model = pyfunc.load_model(str(folder), suppress_warnings=True)
    assert model.predict(pandas.DataFrame(ROWS)) == pytest.approx(expected(1.0), abs=1e-6)
