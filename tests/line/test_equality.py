"""Four ways to a candidate's predictions on the census, and one answer: an application's handle, a nightly rescore, the
version's folder as MLflow loads it, and a pipeline of scikit-learn.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client

from dataops.datasets.snapshot import read_snapshot
from dataops.engine.connect import Connection
from dataops.models.package import Package
from dataops.registry.aliases import move
from dataops.registry.versions import Registry
from dataops.runtime import UNSIGNED, load
from dataops.runtime.mlflow import TRUST, _load_pyfunc
from dataops.storage.objects import open_store
from tests.line.conftest import CensusDemo
from tests.line.running import Line
from tests.line.test_parity import adults

# the fixture runs the whole demo
pytestmark = pytest.mark.timeout(1500)

CLOSE = 1e-6
VERSIONS = {1: "linear-json/1", 2: "xgboost-ubj/1"}
JOBS = "\n---\n".join(
    f"name: scores_{version}\njob: rescore\nmodel: income@{version}\ninput: census_1995\nkeep: [sex]\n"
    f"errors: {{max_rate: 0.02}}\nmonitor: {{drift: false}}\noutput: scores_{version}\n"
    for version in VERSIONS
)


@pytest.fixture(scope="module")
def copied(census_demo: CensusDemo, cluster: Client, tmp_path_factory: pytest.TempPathFactory) -> Line:
    """The demo's workspace again, in which anything may be done; each candidate has an alias."""
    folder = Path(shutil.copytree(census_demo.folder, tmp_path_factory.mktemp("equality") / "demo"))
    (folder / "jobs" / "equality.yaml").write_text(JOBS)
    registry = Registry(open_store(str(folder / "registry")))
    for version in VERSIONS:
        move(registry, "income", f"candidate-{version}", version, actor="ana", reason="to compare it")
    return Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))


@pytest.fixture(scope="module")
def people(census_demo: CensusDemo) -> pd.DataFrame:
    return adults(census_demo, "production")


@pytest.fixture(params=VERSIONS, ids=VERSIONS.values())
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def answers(copied: Line, people: pd.DataFrame, version: int) -> npt.NDArray[np.float32]:
    """What the handle says, which the other ways are held against."""
    with load(copied.folder / "registry", "income", f"candidate-{version}", trust=UNSIGNED, every=None) as model:
        assert model.version.model_format == VERSIONS[version]
        found = model.predict(people)
    assert len(found) > 50_000
    assert np.ptp(found) > 0.9
    return found


def package_of(line: Line, version: int) -> Package:
    return Registry(open_store(str(line.folder / "registry"))).read("income", version).package


def assert_equal(found: npt.NDArray[np.floating], answers: npt.NDArray[np.float32]) -> None:
    np.testing.assert_allclose(found, answers, rtol=0, atol=CLOSE)


def test_rescoring_gives_the_handles_answers(copied: Line, people: pd.DataFrame, version: int, answers) -> None:
    copied.run(f"scores_{version}", file="jobs/equality.yaml")
    snapshot = read_snapshot(copied.workspace.store, f"scores_{version}")
    assert snapshot is not None
    home = copied.storage / "datasets" / f"scores_{version}"
    scores = pd.concat([pq.read_table(home / part.path).to_pandas() for part in snapshot.fragments], ignore_index=True)
    assert scores["sex"].tolist() == people["sex"].tolist()  # row by row: both are in the order of the files
    assert_equal(scores["probability"].to_numpy(), answers)


def test_the_loader_that_mlflow_calls_gives_the_handles_answers(
    copied: Line, people: pd.DataFrame, version: int, answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRUST, "unsigned")
    assert_equal(_load_pyfunc(str(copied.folder / f"registry/income/versions/{version}")).predict(people), answers)


def test_mlflow_itself_gives_the_handles_answers(
    copied: Line, people: pd.DataFrame, version: int, answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyfunc = pytest.importorskip("mlflow.pyfunc", reason="MLflow isn't installed")
    monkeypatch.setenv(TRUST, "unsigned")
    model = pyfunc.load_model(str(copied.folder / f"registry/income/versions/{version}"), suppress_warnings=True)
    assert_equal(model.predict(people), answers)


def test_a_pipeline_of_scikit_learn_gives_the_handles_answers(
    copied: Line, people: pd.DataFrame, version: int, answers
) -> None:
    assert_equal(package_of(copied, version).to_sklearn().predict_proba(people)[:, 1], answers)


def test_the_programs_transformer_gives_the_programs_matrix(copied: Line, people: pd.DataFrame, version: int) -> None:
    program = package_of(copied, version).program
    expected = program.run(pa.Table.from_pandas(people, preserve_index=False))[1].values
    assert program.to_sklearn().transform(people).tobytes() == expected.tobytes()
