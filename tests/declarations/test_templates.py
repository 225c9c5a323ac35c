from __future__ import annotations

from pathlib import Path

import pytest

from dataops.declarations.jobs import read_jobs
from dataops.declarations.promotion import read_promotion
from dataops.declarations.templates import template_folder
from dataops.errors import NotFound


def test_a_checkout_uses_its_own_folders() -> None:
    assert (template_folder() / "cluster" / "local.yaml").is_file()


def test_the_demos_jobs_and_gate_load() -> None:
    jobs = template_folder() / "jobs"
    assert [declared.job.job for declared in read_jobs(jobs / "census.yaml")] == ["prepare", "train", "rescore"]
    assert read_promotion(jobs / "promotion.yaml").rules


def test_an_installation_uses_the_folders_in_the_package(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "dataops"
    for folder in (package / "templates", package.parent):  # a stranger's folders beside the package do not count
        (folder / "jobs").mkdir(parents=True)
        (folder / "cluster").mkdir()
    assert template_folder(package) == package / "templates"


def test_a_broken_installation_is_reported(tmp_path: Path) -> None:
    (tmp_path / "dataops" / "templates" / "jobs").mkdir(parents=True)
    with pytest.raises(NotFound, match="install dataops again"):
        template_folder(tmp_path / "dataops")
