"""The folder of a benchmark: what it may be made in, what it holds, what is left of it.

1. A folder is taken if it is empty, or if an earlier benchmark made it (`MARK`). Anything else is somebody's.
2. Data of one scale and seed is used again; data of another, or of another generator, is never mixed with it, nor
   overwritten.
3. What goes at the end is what was made here, by name; results and the page stay. Where all that is large lies below a
   URL, nothing goes: the keys and records of the folder are those of what lies there.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dataops.bench.making import read_parts
from dataops.bench.sizes import GENERATOR, NEW, PAST, TABLES, Size
from dataops.datasets.catalog import add_dataset, is_declared
from dataops.errors import AlreadyExists, Conflict, Format, InvalidInput
from dataops.records import decode_record, encode_record
from dataops.runs.init import init_workspace
from dataops.runs.workspace import Workspace, open_workspace

MARK = "bench.json"
RESULTS = "results.jsonl"
PAGE = "bench.html"
JOBS = "jobs/bench.yaml"
RESCORES = "jobs/rescores.yaml"
OF_RUNS = ("storage", "registry", "anchors", "keys", "clusters")
OF_WORKSPACE = (
    *("catalog", "contracts", "policies", "jobs", "schedules", "cluster"),
    *("dataops.yaml", "principals.yaml", "signers.yaml", ".gitignore"),
)
_KEPT_TEXTS = Path(__file__).parent / "workspace"
_TEXTS = {
    "customers.contract.yaml": "contracts/customers.yaml",
    "payments.contract.yaml": "contracts/payments.yaml",
    "policy.yaml": "policies/bench.yaml",
    "jobs.yaml": JOBS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder that a benchmark may use; `storage` is a URL that everything large lies below, None: the folder."""

    folder: Path
    size: Size
    storage: str | None

    @property
    def data_url(self) -> str:
        """Where the made-up files lie."""
        return f"{self.storage}/data" if self.storage else str(self.folder / "data")

    @property
    def journal(self) -> Path:
        """The lines of the parts that were made."""
        return self.folder / "parts.jsonl"

    @property
    def results(self) -> Path:
        """The results of all runs in this folder."""
        return self.folder / RESULTS

    @property
    def page(self) -> Path:
        """The page of the newest run."""
        return self.folder / PAGE


def take_place(folder: Path, size: Size, storage: str | None) -> Place:
    """`folder`, made if need be, as the place of a benchmark of `size`.

    Raises
    ------
    AlreadyExists : something else lies there, or data of another scale, seed or storage.
    InvalidInput : it is a file. Format : what an earlier benchmark left can't be read.
    """
    folder = folder.expanduser().resolve()
    storage = storage.rstrip("/") if storage else None
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder} is a file; a benchmark takes a folder")
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder=folder, size=size, storage=storage)
    wanted: dict[str, Any] = {
        "scale": size.scale,
        "seed": size.seed,
        "storage": storage,
        "generator": GENERATOR,
        "numpy": version("numpy"),
    }
    mark = folder / MARK
    if mark.exists():
        _require_same(place, decode_record(mark.read_bytes(), "bench", 1), wanted)
    elif strangers := sorted(path.name for path in folder.iterdir()):
        raise AlreadyExists(
            f"{folder} holds {strangers[0]!r}{' and more' if len(strangers) > 1 else ''}, and no benchmark made it: "
            "name a folder that is empty or not there yet"
        )
    mark.write_bytes(encode_record("bench", 1, wanted))
    return place


def _require_same(place: Place, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    try:
        before = {name: found[name] for name in wanted}
    except KeyError:
        raise Format(f"{place.folder / MARK} lacks keys that this release knows; name another folder") from None
    if before == wanted or not read_parts(place.journal):
        return
    told = ", ".join(f"{name} {before[name]}" for name in wanted if before[name] != wanted[name])
    raise AlreadyExists(
        f"{place.folder} holds data of another benchmark ({told}): ask for the same, or name another folder. "
        f"Once it isn't needed any more, delete {place.journal.name} and data/ in it"
    )


@contextmanager
def at_work(place: Place) -> Iterator[None]:
    """The folder, for this process alone.

    Raises
    ------
    Conflict : another benchmark is at work in it.
    """
    with (place.folder / MARK).open("rb") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                f"another benchmark is at work in {place.folder}; wait for it, or name another folder"
            ) from None
        yield


def make_workspace(place: Place) -> Workspace:
    """The workspace in the folder, over its data."""
    folder = place.folder
    if not (folder / "dataops.yaml").exists():
        init_workspace(folder)
    for name, target in _TEXTS.items():
        shutil.copyfile(_KEPT_TEXTS / name, folder / target)
    if place.storage:
        settings = folder / "dataops.yaml"
        text = settings.read_text(encoding="utf-8")
        for key in ("storage", "registry", "anchors"):
            text = text.replace(f"{key}: {key} ", f"{key}: {json.dumps(f'{place.storage}/{key}')} ")
        settings.write_text(text, encoding="utf-8")
    workspace = open_workspace(str(folder))
    for table in TABLES:
        if not is_declared(workspace.settings, table):
            url = f"{place.data_url}/{table}" if place.storage else f"data/{table}"
            contract = "contracts/payments.yaml" if table in (PAST, NEW) else "contracts/customers.yaml"
            zone = "production" if table == NEW else "historical"
            add_dataset(workspace.settings, name=table, url=url, zone=zone, contract=contract, draft=False)
    return workspace


def rescore_jobs(names: tuple[str, ...], model: str) -> str:
    """The text of a job file that scores the arrivals with `model`, once for each of `names`."""
    text = (_KEPT_TEXTS / "rescore.yaml").read_text(encoding="utf-8")
    return "---\n".join(text.replace("{name}", name).replace("{model}", model) for name in names)


def clear(place: Place) -> None:
    """Of what a benchmark made nothing is left in the folder but results, the page and the mark."""
    for name in ("data", *OF_RUNS, *OF_WORKSPACE):
        path = place.folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    place.journal.unlink(missing_ok=True)
