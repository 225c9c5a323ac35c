"""The ground holds: dependencies said thrice alike, rooms that keep to their places, ways in that are written down."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
# What conda-forge calls otherwise than the Python index.
CONDA_NAMES = {
    "prometheus-client": "prometheus_client",
    "tzdata": "python-tzdata",
    "xgboost": "py-xgboost-cpu",
    "xgboost-cpu": "py-xgboost-cpu",
}


def read_project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def read_requirements() -> list[Requirement]:
    project = read_project()["project"]
    return [Requirement(line) for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]]


def read_environment() -> list[Requirement]:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    from_pip = [line for entry in entries if isinstance(entry, dict) for line in entry["pip"]]
    return [Requirement(line) for line in [*(entry for entry in entries if isinstance(entry, str)), *from_pip]]


def read_lock() -> list[tuple[Requirement, list[str]]]:
    text = re.sub(r"^\s*#.*$", "", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line.strip()]
    parted = [
        (" ".join(word for word in words if not word.startswith("--")), [w for w in words if w.startswith("--")])
        for words in lines
    ]
    return [(Requirement(requirement), options) for requirement, options in parted]


def test_environment_yml_says_the_same_packages_and_bounds_as_pyproject() -> None:
    declared = {CONDA_NAMES.get(r.name, r.name): str(r.specifier) for r in read_requirements()}
    declared["python"] = read_project()["project"]["requires-python"]
    in_conda = {r.name: str(r.specifier) for r in read_environment() if r.name != "pip"}
    assert in_conda == declared


def test_every_locked_package_is_pinned_and_has_hashes() -> None:
    locked = read_lock()
    assert len(locked) > 50
    for requirement, options in locked:
        assert [s.operator for s in requirement.specifier] == ["=="], requirement.name
        assert options, requirement.name
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", option) for option in options), requirement.name


def test_the_lock_names_no_registry_host() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert not re.search(r"(index-url|find-links|trusted-host)", text)


@pytest.mark.parametrize("requirement", read_requirements(), ids=lambda r: r.name)
def test_the_lock_answers_every_declared_dependency(requirement: Requirement) -> None:
    pins = [
        locked for locked, _ in read_lock() if canonicalize_name(locked.name) == canonicalize_name(requirement.name)
    ]
    assert pins
    for pin in pins:
        version = str(next(iter(pin.specifier))).removeprefix("==")
        assert requirement.specifier.contains(version)


@pytest.mark.parametrize("requirement", read_requirements(), ids=lambda r: r.name)
def test_every_dependency_has_its_reason_in_the_decision_record(requirement: Requirement) -> None:
    record = (ROOT / "docs" / "adr" / "0002-dependencies.md").read_text()
    assert f"`{requirement.name}" in record or "stubs" in requirement.name or requirement.name.startswith("types-")


def test_all_of_governance_is_pure_but_for_what_keeps_keys_and_records() -> None:
    doing = {"audit", "checkpoints", "key_files", "keys", "signing"}
    modules = {path.stem for path in (ROOT / "dataops" / "governance").glob("*.py")} - {"__init__"}
    contracts = {one["id"]: one for one in read_project()["tool"]["importlinter"]["contracts"]}
    libraries, surroundings = (
        set(contracts[name]["source_modules"]) for name in ("pure-libraries", "pure-surroundings")
    )
    assert libraries == surroundings
    assert {name.split(".")[-1] for name in libraries if name.startswith("dataops.governance.")} == modules - doing


def test_every_import_contract_holds(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [program, "--no-logo", "--cache-dir", tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert f"{len(read_project()['tool']['importlinter']['contracts'])} kept, 0 broken" in done.stdout


def test_an_import_against_the_order_of_the_rooms_is_found(tmp_path: Path) -> None:
    package = tmp_path / "dataops"
    for room in read_project()["tool"]["importlinter"]["contracts"][0]["layers"]:
        for name in re.findall(r"[a-z]+", room):
            (package / name).mkdir(parents=True)
            (package / name / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "storage" / "__init__.py").write_text("import dataops.cli\n")
    settings = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(settings)
    program = Path(sys.executable).parent / "lint-imports"
    command = [str(program), "--no-logo", "--no-cache", "--contract", "rooms"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "dataops.storage is not allowed to import dataops.cli" in done.stdout


def read_phony_targets() -> list[str]:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert phony
    return [target for target in phony.group(1).split() if target != "compile"]


def test_make_alone_lists_every_target_with_what_it_does() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"^  make ([a-z-]+) +\S", listed, flags=re.MULTILINE) == read_phony_targets()


@pytest.mark.parametrize("target", read_phony_targets())
def test_every_make_target_is_explained_to_contributors(target: str) -> None:
    assert f"`make {target}`" in (ROOT / "CONTRIBUTING.md").read_text()


def test_continuous_integration_runs_what_contributors_run() -> None:
    script = ROOT / ".ci" / "run"
    lines = script.read_text().splitlines()
    assert "set -euo pipefail" in lines
    assert [line for line in lines if line.startswith("make ")] == ["make lint", "make test"]
    assert script.stat().st_mode & 0o111


def test_the_licence_is_the_one_that_the_package_states() -> None:
    assert read_project()["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
