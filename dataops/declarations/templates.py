"""The declarations that come with dataops: the demo's jobs and the cluster files.

The wheel carries the repository's ``jobs/`` and ``cluster/`` as ``dataops/templates/``; in a checkout they are read
where they stand, so there is one copy of each.
"""

from __future__ import annotations

from pathlib import Path

from dataops.errors import NotFound

FOLDERS = ("jobs", "cluster")


def template_folder(package: Path | None = None) -> Path:
    """The folder that holds ``jobs/`` and ``cluster/``.

    Parameters
    ----------
    package : the folder of the dataops package; by default the one that runs.

    Raises
    ------
    NotFound : the installation is not whole.
    """
    package = package or Path(__file__).resolve().parent.parent
    for folder in (package / "templates", package.parent):
        if all((folder / name).is_dir() for name in FOLDERS):
            return folder
    raise NotFound(f"{package}: the templates of jobs and clusters are missing; install dataops again")
