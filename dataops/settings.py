"""Settings of a workspace: where things lie. Read once at the edge, then passed on.

1. Defaults < ``dataops.yaml`` < environment (``DATAOPS_STORAGE`` ...) < overrides (flags).
2. An unknown key is refused with its near match, wherever it comes from; an empty text is a value, not an absence.
3. Relative paths are relative to the workspace, never to the present folder; ``~/`` is the user's home. A file that a
   command names is looked for in the present folder first (`find_file`).
4. Keys and cluster files are local: the worker reads its keys itself, and neither holds a URL.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dataops.declarations.loader import read_yaml
from dataops.errors import InvalidInput, NotFound, near_match

SETTINGS_FILE = "dataops.yaml"
VARIABLE_PREFIX = "DATAOPS_"
WORKSPACE_VARIABLE = "DATAOPS_WORKSPACE"
CACHE_VARIABLE = "DATAOPS_CACHE"
SIGNING_KEY_VARIABLE = "DATAOPS_SIGNING_KEY"
SUBMITTING_VARIABLE = "DATAOPS_SUBMITTING_KEYS"
DEFAULTS: Mapping[str, str] = {
    "storage": "storage",
    "registry": "registry",
    "keys": "keys",
    "anchors": "anchors",
    "cluster": "cluster/local.yaml",
}
WHOLE_NUMBERS: Mapping[str, int] = {"runs_at_once": 1, "runs_per_user": 1}
"""Settings that are whole numbers, and their defaults."""
MOST = 1024
"""The most that such a setting may say; the least is 1."""
_KNOWN = (*DEFAULTS, *WHOLE_NUMBERS)
_LOCAL = frozenset({"keys", "cluster"})
_NOT_SETTINGS = frozenset({WORKSPACE_VARIABLE, CACHE_VARIABLE, SIGNING_KEY_VARIABLE, SUBMITTING_VARIABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where a workspace keeps what.

    Attributes
    ----------
    workspace : absolute path of the folder with ``dataops.yaml``.
    storage : path or URL of datasets, runs and audit, as ``s3://bucket/prefix``. Default: ``storage`` in the workspace.
    registry : path or URL of the model registry, shared with applications. Default: ``registry`` in the workspace.
    keys : folder of the key files, readable by the workers' user only. Default: ``keys`` in the workspace.
    anchors : path or URL of the copies of the audit's signed checkpoints: better on another disk, and this workspace's
        alone. Default: ``anchors`` in the workspace.
    cluster : the cluster file of jobs that name none. Default: ``cluster/local.yaml`` in the workspace.
    runs_at_once : how many runs a scheduler script has at work at once, 1 to 1024, each on a cluster of its own. Each
        script counts its own: two on one directory have twice as many. Default: 1.
    runs_per_user : how many of these may be of one user, 1 to 1024; all schedules together count as one. Each script
        counts its own. Default: 1.
    """

    workspace: Path
    storage: str
    registry: str
    keys: str
    anchors: str
    cluster: str
    runs_at_once: int = WHOLE_NUMBERS["runs_at_once"]
    runs_per_user: int = WHOLE_NUMBERS["runs_per_user"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """One value with the place that it comes from, for messages."""

    key: str
    value: object
    origin: str


def find_workspace(start: Path) -> Path:
    """The folder named by ``DATAOPS_WORKSPACE``, else the nearest one around `start` that holds a ``dataops.yaml``.

    Raises
    ------
    NotFound : there is none.
    """
    named = os.environ.get(WORKSPACE_VARIABLE)
    if named is not None:
        if named and (Path(named) / SETTINGS_FILE).is_file():
            return Path(named).resolve()
        raise NotFound(
            f"{WORKSPACE_VARIABLE}: no {SETTINGS_FILE} in {named!r}; make a workspace with `dataops init DIR`"
        )
    here = start.resolve()
    for folder in (here, *here.parents):
        if (folder / SETTINGS_FILE).is_file():
            return folder
    raise NotFound(f"no {SETTINGS_FILE} in {here} or above; make a workspace with `dataops init DIR`, or go to one")


def read_settings(workspace: Path, environ: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> Settings:
    """The settings of the workspace, paths made absolute.

    Parameters
    ----------
    workspace : the folder that `find_workspace` gave.
    environ : environment variables; of those that start with ``DATAOPS_`` each must be a setting
        (or name the workspace, the download cache or the folder of submitting keys, or hold a signing key).
    overrides : setting to value, from flags.

    Raises
    ------
    InvalidInput : all findings at once: unknown keys, values that are no text, empty, or hold credentials, numbers out
        of their range.
    """
    workspace = workspace.resolve()
    given = [*_from_file(workspace / SETTINGS_FILE), *_from_environment(environ)]
    given += [_Setting(key=key, value=value, origin=f"--{key}") for key, value in (overrides or {}).items()]
    if findings := [finding for setting in given for finding in _findings(setting)]:
        raise InvalidInput("\n".join(findings))
    chosen = {**DEFAULTS, **{setting.key: str(setting.value) for setting in given}}
    places = {key: _absolute(chosen[key], workspace, environ) for key in DEFAULTS}
    numbers = {key: int(chosen.get(key, default)) for key, default in WHOLE_NUMBERS.items()}
    values: dict[str, Any] = {**places, **numbers}
    return Settings(workspace=workspace, **values)


def resolve_url(workspace: Path, url: str) -> str:
    """`url` as it stands, or the absolute path if it is one; relative paths are relative to `workspace`.

    Symbolic links stay as they are, so a dataset keeps its address when a link is moved on.
    """
    return url if "://" in url else os.path.normpath(workspace / url)


def find_file(workspace: Path, file: str) -> Path:
    """`file` as given, from the present folder, else in the workspace: a job, cluster or promotion file that a command
    names. One that is in neither place is named as it would be in the workspace.
    """
    path = Path(file)
    there = os.path.exists(path)  # noqa: PTH110  # of a name that no file can have it only says no
    return path if there or path.is_absolute() else workspace / path


def _from_file(path: Path) -> Iterator[_Setting]:
    documents = read_yaml(path)
    if len(documents) > 1:
        raise InvalidInput(f"{path}: holds {len(documents)} documents; expected one")
    for document in documents:
        if not isinstance(document.value, dict):
            raise InvalidInput(
                f"{document.where()}: expected settings as 'key: value' lines. Known: {', '.join(_KNOWN)}."
            )
        for key, value in document.value.items():
            yield _Setting(key=key, value=value, origin=f"{document.where((key,))}: {key}")


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Setting]:
    for variable in sorted(environ):
        if variable.startswith(VARIABLE_PREFIX) and variable not in _NOT_SETTINGS:
            yield _Setting(key=variable.removeprefix(VARIABLE_PREFIX).lower(), value=environ[variable], origin=variable)


def _findings(setting: _Setting) -> Iterator[str]:
    """What is wrong with one setting; its value is never shown, since it may hold a secret."""
    value = setting.value
    if setting.key in WHOLE_NUMBERS:
        if not _is_count(value):
            yield f"{setting.origin}: expected a whole number from 1 to {MOST:,}"
    elif setting.key not in DEFAULTS:
        yield f"{setting.origin}: unknown setting.{near_match(setting.key, _KNOWN)}"
    elif not isinstance(value, str) or not value.strip():
        yield f"{setting.origin}: expected a path{'' if setting.key in _LOCAL else ' or URL'} as text, not empty"
    elif "\x00" in value:
        yield f"{setting.origin}: holds a NUL character"
    elif "://" in value and setting.key in _LOCAL:
        yield f"{setting.origin}: expected a path on this machine, not a URL"
    elif "://" in value and _has_credentials(value):
        yield f"{setting.origin}: holds credentials; leave them out and set them in the environment of the workers"


def _is_count(value: object) -> bool:
    """Whether `value` is a whole number in range: in the file as a number, in a variable or flag as its text."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdecimal() and len(value) <= len(str(MOST)) else 0
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST


def _has_credentials(url: str) -> bool:
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        return True


def _absolute(value: str, workspace: Path, environ: Mapping[str, str]) -> str:
    """`value` with the home of the user put in for ``~``, else as `resolve_url` has it."""
    if value == "~" or value.startswith("~/"):
        value = str(Path(environ.get("HOME") or Path.home()) / value[2:])
    return resolve_url(workspace, value)
