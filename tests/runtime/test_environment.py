"""The example application in an environment of its own, made as its README says: no Dask and no pandas is there."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dataops.cli.main import main
from dataops.runtime import load
from tests.docs.typed import retyped, typing_here
from tests.runtime.examples import wait_until
from tests.runtime.traffic import APP, ROOT, Client, Traffic, running

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

TICKETS = [{"hours": 3.5, "desk": "web"}, {"hours": 40.0, "desk": "phone"}, {"hours": None, "desk": "chat"}]
ABSENT = ("bokeh", "click", "dask", "dask_ml", "distributed", "fsspec", "jinja2", "pandas", "rich", "sklearn", "skops")
_LOOK = f"""
import dataops
from importlib.util import find_spec
print(dataops.__file__)
print([name for name in {ABSENT} if find_spec(name)])
"""


class Tickets(Client):
    """Asks for the scores of `TICKETS`, and compares them with those that this environment gives."""

    def __init__(self, port: int, answers: dict[str, np.ndarray]) -> None:
        super().__init__(port)
        self._answers = answers

    def score(self) -> str:
        status, answer = self.ask("POST", "/score", TICKETS)
        assert status == 200, answer
        assert np.abs(np.array(answer["probabilities"]) - self._answers[answer["version"]]).max() <= 1e-6, answer
        return str(answer["version"])


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the environment that the README's commands make."""
    made = tmp_path_factory.mktemp("app") / "env"
    block = (APP.parent / "README.md").read_text().split("```")[1].splitlines()
    commands = [line for line in block if line.startswith(("python -m venv", "env/bin/pip"))]
    assert len(commands) == 3
    for command in commands:
        words = [
            str(made) + word.removeprefix("env") if word.startswith("env") else word for word in shlex.split(command)
        ]
        done = subprocess.run(words, cwd=APP.parent, env=bare(), capture_output=True, text=True, check=False)
        if "Failed to establish a new connection" in done.stderr:
            pytest.skip("packages can't be fetched")
        assert done.returncode == 0, done.stderr
    return made


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace of the guide for applications, its commands typed: signed versions 1 (linear) and 2 (trees)."""
    monkeypatch.chdir(tmp_path)
    with typing_here():
        retyped(ROOT / "docs/guides/applications.md")
    assert Path.cwd() == tmp_path / "tickets"
    return tmp_path / "tickets"


def bare() -> dict[str, str]:
    """The surroundings without what leads Python to other packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def promote() -> None:
    typed("promote", "escalation@2", "--reason", "trees")


def roll_back() -> None:
    typed("rollback", "escalation", "--reason", "calls are slower")


def typed(*words: str) -> None:
    result = CliRunner().invoke(main, ["model", *words])
    assert result.exit_code == 0, result.output


def answers_here(workspace: Path) -> tuple[str, np.ndarray]:
    with load(workspace / "registry", "escalation", trust=workspace / "signers.yaml", every=None) as model:
        return model.version.reference, model.predict(TICKETS)


def test_an_application_without_dask_and_pandas_follows_promotions_and_rollbacks(
    environment: Path, workspace: Path
) -> None:
    python = str(environment / "bin/python")
    looked = subprocess.run(
        [python, "-c", _LOOK], cwd=workspace, env=bare(), check=True, capture_output=True, text=True
    )
    place, present = looked.stdout.splitlines()
    assert Path(place).is_relative_to(environment)
    assert present == "[]"
    command = [
        python,
        str(APP),
        str(workspace / "registry"),
        "escalation",
        "--signers",
        str(workspace / "signers.yaml"),
    ]
    answers = dict([answers_here(workspace)])
    promote()
    answers |= [answers_here(workspace)]
    with (
        running([*command, "--state", str(workspace / "app state"), "--every", "1"]) as port,
        Traffic(Tickets(port, answers), threads=2) as traffic,
    ):
        wait_until(lambda: len(traffic.answers) > 20)
        for version, change in (("escalation@1", roll_back), ("escalation@2", promote), ("escalation@1", roll_back)):
            change()
            wait_until(lambda version=version: traffic.answers[-1][2] == version)  # type: ignore[misc]
    assert traffic.failures == []
    assert {version for _, _, version in traffic.answers} == set(answers)
