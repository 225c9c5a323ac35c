"""What was measured, kept: one record a question and run, and all of them in one file.

1. A record is one JSON object: its format, the question, when, on what machine, of which commit, with which versions
   and cluster, on which data; ``phases``, the seconds of each repeat of what dataops itself did, by name; ``ratios``;
   ``pace``, how fast the machine was before and after it; ``costs``, of each contestant; and whatever else its script
   tells. The commit, and what else the machine had to do, are of when the script began: both may change meanwhile.
2. The newest record of a question lies in a file of its own. Every record, without what its script alone knows, is
   also a line of ``history.jsonl`` in the same folder, appended in one write under a lock: two benchmarks may end at
   once. A line that was cut off is passed over, and the next begins after it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from measuring import Spread, plain_spreads
from pace import PIECES, cores, pace

from dataops.demo.fetch import cache_folder

FORMAT = "dataops/benchmark/1"
HISTORY = "history.jsonl"
PACKAGES = ("dask", "distributed", "pyarrow", "numpy", "scikit-learn", "xgboost", "pandas")
KEPT = (
    "format",
    "question",
    "quick",
    "size",
    "measured_at",
    "commit",
    "machine",
    "versions",
    "cluster",
    "data",
    "pace",
    "phases",
    "ratios",
    "limits",
    "figures",
    "costs",
    "missing",
    "noise",
)
_SHORTENED = 4  # digits of the seconds that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """How it was when a script began.

    Attributes
    ----------
    commit : as the files were.
    load : of the machine over one, five and fifteen minutes, without what is measured.
    pace : seconds of the fixed work.
    """

    commit: str
    load: Sequence[float]
    pace: Sequence[float]


_begun: list[Begun] = []  # at most one: a process is one benchmark


def begin() -> Begun:
    """How it is when the script begins; once asked, the same to its end."""
    if not _begun:
        load = [round(one, 2) for one in os.getloadavg()]  # the fixed work is load too
        _begun.append(Begun(commit=commit(), load=load, pace=pace(PIECES)))
    return _begun[0]


def record_folder() -> Path:
    """Where records lie, unless somebody says otherwise."""
    return cache_folder(os.environ) / "benchmarks"


def arguments(doc: str | None, question: str, *, quick: str) -> argparse.ArgumentParser:
    """A parser of what every benchmark can be told: ``--quick``, and where its record is written. With it the script
    begins.

    Parameters
    ----------
    doc : the benchmark's own words.
    question : as in its record; the file in the cache is called so.
    quick : what is less with ``--quick``.
    """
    begin()
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    default = record_folder() / f"{question}.json"
    parser.add_argument("--record", type=Path, default=default, help="where the record is written; beside it, its line")
    return parser


def write_record(
    path: Path,
    record: Mapping[str, Any],
    ratios: Mapping[str, Spread],
    *,
    phases: Mapping[str, Sequence[float]],
    data: Mapping[str, Any] | None = None,
    cluster: tuple[int, int] | None = None,
    figures: Mapping[str, Spread] | None = None,
    costs: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """The record lies at `path`, its line in the history beside it, and the last line of standard output says what came
    out.

    Parameters
    ----------
    record : ``question``, ``quick``, and what else the script tells.
    phases : seconds of each repeat, of what dataops itself did.
    data : of `data_of_files`.
    cluster : worker processes, and threads of each.
    figures : what isn't a ratio and isn't seconds, by its name with the unit.
    costs : of each contestant, of `measuring.costs_of`.
    """
    begun = begin()
    path.parent.mkdir(parents=True, exist_ok=True)
    full = {
        "format": FORMAT,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        **record,
        "ratios": plain_spreads(ratios),
        "phases": {name: [_shortened(one) for one in found] for name, found in phases.items()},
        "figures": plain_spreads(figures or {}),
        "data": data,
        "cluster": None if cluster is None else {"workers": cluster[0], "threads": cluster[1]},
        "costs": costs,
        "machine": {**machine(), "load_before": begun.load},
        "pace": [_shortened(one) for one in (*begun.pace, *pace(PIECES))],
        "commit": begun.commit,
        "versions": versions(),
        "size": size_of(sys.argv[1:]),
    }
    path.write_text(json.dumps(full, indent=1) + "\n")
    append_line(path.parent / HISTORY, {key: full[key] for key in KEPT if full.get(key) is not None})
    sys.stderr.flush()
    last = {"question": record["question"], "ratios": full["ratios"], "record": str(path)}
    print(json.dumps(last), flush=True)


def size_of(given: Sequence[str]) -> str:
    """The options that a script was given, but for where its record goes: records of other options aren't compared."""
    kept: list[str] = []
    options = iter(given)
    for option in options:
        if option == "--record":
            next(options, None)
        elif not option.startswith("--record=") and option != "--quick":
            kept.append(option)
    return " ".join(kept)


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """`record` is the last line of the file, whole, whoever else appends to it."""
    line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line  # somebody was cut off
        file.write(line)
        file.flush()


def read_history(path: Path) -> list[dict[str, Any]]:
    """All records of the file, the oldest first; lines that aren't whole records of this format are passed over."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("format") == FORMAT:
            found.append(record)
    return sorted(found, key=lambda one: str(one["measured_at"]))


def newest_of_each_size(records: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The newest record of each question with the same options, by both."""
    ranked = sorted(records, key=lambda one: str(one["measured_at"]))
    return {label(one): one for one in ranked}


def label(record: Mapping[str, Any]) -> str:
    """The question, and with which options."""
    return " ".join(filter(None, [record["question"], "--quick" if record["quick"] else "", record.get("size", "")]))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": [round(one, 2) for one in os.getloadavg()],
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that do the work; those that aren't there are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        for package in (name, f"{name}-cpu"):
            try:
                found[name] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def data_of_files(paths: Iterable[Path | str], rows: int) -> dict[str, Any]:
    """Rows and digest of the files, in the order of their names."""
    sums = hashlib.sha256()
    for path in sorted(map(Path, paths)):
        with path.open("rb") as file:
            sums.update(hashlib.file_digest(file, "sha256").digest())
    return {"rows": rows, "digest": f"sha256:{sums.hexdigest()}"}


def commit() -> str:
    """The commit that was measured, with ``+`` where files differ from it."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=False).stdout

    return git("rev-parse", "--short", "HEAD").strip() + ("+" if git("status", "--porcelain", "-uno").strip() else "")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _shortened(seconds: float) -> float:
    return float(f"{seconds:.{_SHORTENED}g}")
