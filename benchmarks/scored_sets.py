"""Data to rescore, each in a workspace with a registered model: flights, wide numbers, many texts.

1. ``narrow``: the three million flights of `flights`, four times as four files; two texts with 300 values each.
2. ``wide linear`` and ``wide boosted``: 200 numbers a row, one in fifty missing, of a seeded generator.
3. ``strings``: four texts with up to 200,000 values each and a key of its own for each row, of a seeded generator.
4. Data are generated once into the cache, by the generator's version and the number of rows; equal seeds give equal
   bytes. Models are trained by dataops itself: prepare, train, register.
5. Everybody may read every column and there are no rules: what governance costs is `governance.py`'s question.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from flights import fetch_flights

from dataops.demo.fetch import cache_folder
from dataops.errors import InvalidInput
from dataops.models.linear import LinearModel
from dataops.models.predictor import LINEAR
from dataops.runs.init import init_workspace
from dataops.runs.workspace import Workspace, open_workspace

GENERATOR = 1  # its version: other data, other folder
FILES, FIFTY = 4, 50
TINY_ROWS = 4  # of a file
GROUP_ROWS = 131_072
WIDE = 200
HISTORY_ROWS = 200_000
WIDE_GROUP_ROWS = 65_536  # about 100 MB
QUICK = 10  # a tenth of the rows

Maker = Callable[[Path, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSet:
    """Data, and the model that scores them.

    Attributes
    ----------
    rows : to score; with ``--quick`` a tenth of them.
    make : writes ``data`` and ``history`` below a folder.
    types : logical and physical type of the contract by column.
    times : derived feature -> column and its part.
    keep : columns written beside the probability.
    target : an expression over the history.
    """

    name: str
    rows: int
    make: Maker
    types: Mapping[str, tuple[str, str]]
    numeric: tuple[str, ...]
    keep: tuple[str, ...]
    target: str
    trainer: str
    categorical: tuple[str, ...] = ()
    times: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        features = {*self.numeric, *self.categorical} - set(self.times) | {column for column, _ in self.times.values()}
        return tuple(name for name in self.types if name in features or name in self.keep)


def _make_flights(folder: Path, rows: int) -> None:
    _cut_flights(folder, rows, FILES)


def _make_fifty(folder: Path, rows: int) -> None:
    _cut_flights(folder, rows, FIFTY)


def _make_tiny(folder: Path, rows: int) -> None:
    _cut_flights(folder, rows, rows // TINY_ROWS)


def _cut_flights(folder: Path, rows: int, files: int) -> None:
    """The flights, as often behind each other as `rows` needs, cut into `files` of equal length."""
    source = pq.ParquetFile(fetch_flights())
    flights = source.read().cast(source.schema_arrow.remove_metadata())
    table, each = pa.concat_tables([flights] * -(-rows // flights.num_rows)), rows // files
    for number in range(files):
        part = table.slice(number * each, each).combine_chunks()
        _write(part, folder / "data" / f"part-{number:06d}.parquet")
    _write(flights.slice(0, HISTORY_ROWS), folder / "history" / "history.parquet")


def _make_wide(folder: Path, rows: int) -> None:
    for number, size in enumerate([*[rows // FILES] * FILES, HISTORY_ROWS // 2]):
        place = folder / ("history" if number == FILES else "data") / f"part-{number}.parquet"
        generator = np.random.default_rng([GENERATOR, number])
        weights = np.random.default_rng(GENERATOR).normal(size=WIDE) / np.sqrt(WIDE)
        with _writer(place, _wide_schema()) as writer:
            for start in range(0, size, WIDE_GROUP_ROWS):
                rows_here = min(WIDE_GROUP_ROWS, size - start)
                writer.write_table(_wide_rows(generator, weights, start, rows_here, number))


def _wide_rows(generator: np.random.Generator, weights: np.ndarray, start: int, rows: int, number: int) -> pa.Table:
    # thousandths: numbers as they are measured, not 53 random bits
    values = np.round(generator.normal(size=(WIDE, rows)) * 1000) / 1000
    label = (weights @ values + generator.normal(size=rows)) > 0
    missing = generator.random((WIDE, rows)) < 0.02
    columns = [pa.array(one, mask=absent) for one, absent in zip(values, missing, strict=True)]
    ids = pa.array(np.arange(start, start + rows) + number * 100_000_000)
    return pa.table([ids, pa.array(label.astype(np.int64)), *columns], schema=_wide_schema())


def _wide_schema() -> pa.Schema:
    return pa.schema([("id", pa.int64()), ("label", pa.int64()), *[(name, pa.float64()) for name in _WIDE_NAMES]])


_WIDE_NAMES = tuple(f"x{place:03d}" for place in range(WIDE))
_TEXTS = {"city": 20_000, "product": 50_000, "page": 100_000, "device": 200_000}


def _make_strings(folder: Path, rows: int) -> None:
    for number, size in enumerate([*[rows // FILES] * FILES, HISTORY_ROWS]):
        place = folder / ("history" if number == FILES else "data") / f"part-{number}.parquet"
        generator = np.random.default_rng([GENERATOR, 1, number])
        with _writer(place, _strings_schema()) as writer:
            for start in range(0, size, GROUP_ROWS):
                writer.write_table(_string_rows(generator, start, min(GROUP_ROWS, size - start), number))


def _string_rows(generator: np.random.Generator, start: int, rows: int, number: int) -> pa.Table:
    """A few values are frequent, most are rare, as in life."""
    keys = pa.array([f"{number:02d}-{key:010d}" for key in range(start, start + rows)])
    texts, sums = [], np.zeros(rows)
    for name, distinct in _TEXTS.items():
        codes = (distinct * generator.random(rows) ** 3).astype(np.int64)
        texts.append(pa.array([f"{name}-{code:07d}" for code in range(distinct)]).take(pa.array(codes)))
        sums += np.sin(codes)
    amount = np.round(generator.exponential(100.0, rows), 2)
    label = (sums + amount / 100 + generator.normal(size=rows)) > 1
    return pa.table([keys, pa.array(label.astype(np.int64)), pa.array(amount), *texts], schema=_strings_schema())


def _strings_schema() -> pa.Schema:
    texts = [(name, pa.string()) for name in _TEXTS]
    return pa.schema([("key", pa.string()), ("label", pa.int64()), ("amount", pa.float64()), *texts])


NARROW = ScoredSet(
    name="narrow",
    rows=12_000_000,
    make=_make_flights,
    types={
        "date": ("timestamp", "timestamp[us]"),
        "delay": ("integer", "int64"),
        "distance": ("integer", "int64"),
        "origin": ("string", "string"),
        "destination": ("string", "string"),
    },
    numeric=("distance", "hour", "day"),
    categorical=("origin", "destination"),
    times={"hour": ("date", "hour"), "day": ("date", "day")},
    keep=("date", "origin", "destination"),
    target="delay > 15",
    trainer="xgboost",
)
_WIDE_TYPES = {"id": ("integer", "int64"), "label": ("integer", "int64")} | dict.fromkeys(
    _WIDE_NAMES, ("number", "double")
)
WIDE_BOOSTED = ScoredSet(
    name="wide boosted",
    rows=1_000_000,
    make=_make_wide,
    types=_WIDE_TYPES,
    numeric=_WIDE_NAMES,
    keep=("id",),
    target="label = 1",
    trainer="xgboost",
)
WIDE_LINEAR = replace(WIDE_BOOSTED, name="wide linear", trainer="logistic")
STRINGS = ScoredSet(
    name="strings",
    rows=4_000_000,
    make=_make_strings,
    types={"key": ("string", "string"), "label": ("integer", "int64"), "amount": ("number", "double")}
    | dict.fromkeys(_TEXTS, ("string", "string")),
    numeric=("amount",),
    categorical=tuple(_TEXTS),
    keep=("key",),
    target="label = 1",
    trainer="xgboost",
)
FIFTY_FILES = replace(NARROW, name="fifty files", make=_make_fifty)
TINY_FILES = replace(NARROW, name="tiny files", rows=400_000, make=_make_tiny)
SETS = {one.name: one for one in (NARROW, WIDE_LINEAR, WIDE_BOOSTED, STRINGS)}


def data_of(scored: ScoredSet, rows: int) -> Path:
    """The folder with ``data`` and ``history``, generated if it isn't in the cache."""
    base = cache_folder(os.environ) / "benchmarks" / "sets"
    folder = base / f"{scored.make.__name__.removeprefix('_make_')}-{GENERATOR}-{rows}"
    if not folder.is_dir():
        scratch = base / f".{folder.name}-{os.getpid()}"
        scored.make(scratch, rows)
        scratch.replace(folder)
    return folder


def make_workspace(folder: Path, scored: ScoredSet, data: Path) -> Workspace:
    """A workspace in `folder` over a copy of the set's files (linked, where the file system can)."""
    for name in ("data", "history"):
        shutil.copytree(data / name, folder / "data" / name, copy_function=_link)
    init_workspace(folder)
    (folder / "policies" / "rows.yaml").write_text(_POLICY)
    (folder / "jobs" / "jobs.yaml").write_text(_jobs(scored))
    for name, place, zone in (("rows", "data", "production"), ("rows_history", "history", "historical")):
        (folder / "contracts" / f"{name}.yaml").write_text(_contract(name, scored))
        entry = f"name: {name}\nurl: data/{place}\nzone: {zone}\ncontract: contracts/{name}.yaml\n"
        (folder / "catalog" / f"{name}.yaml").write_text(entry)
    return open_workspace(str(folder))


def describe(scored: ScoredSet, workspace: Workspace, model: str = "scorer", version: int = 1) -> dict[str, Any]:
    """The registered version in plain JSON, with its booster in a file beside: what a peer applies."""
    folder = workspace.settings.workspace
    package = workspace.registry.read(model, version).package
    encoder = package.program.encoder.record()
    path = folder / "model.ubj"  # XGBoost tells its formats by the name
    path.write_bytes(package.model)
    exported: dict[str, Any] = {"kind": "boosted"}
    if package.model_format == LINEAR:
        weights = LinearModel.from_bytes(package.model)
        if weights.categorical:
            raise InvalidInput(f"{scored.name}: peers apply linear models of numbers alone; take another trainer")
        exported = {"kind": "linear", "weights": list(weights.numeric), "intercept": weights.intercept}
    files = sorted(str(path) for path in (folder / "data" / "data").iterdir())
    return {
        "folder": str(folder / "data" / "data"),
        "files": files,
        "columns": list(scored.columns),
        "keep": list(scored.keep),
        "numeric": encoder["numeric"],
        "categorical": encoder["categorical"],
        "times": {name: list(part) for name, part in scored.times.items()},
        "dictionaries": _dictionaries(files[0]),
        "model": {**exported, "format": package.model_format, "path": str(path)},
        "rows": sum(pq.read_metadata(path).num_rows for path in files),
    }


def _dictionaries(path: str) -> list[str]:
    """The texts that are worth reading as dictionaries: whose dictionary is smaller than plain texts would be."""
    footer = pq.read_metadata(path)
    group = footer.row_group(0)
    chunks = [group.column(place) for place in range(footer.num_columns)]
    texts = [one for one in chunks if one.physical_type == "BYTE_ARRAY"]
    return [one.path_in_schema for one in texts if one.total_uncompressed_size < 4 * one.num_values]


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write(table: pa.Table, path: Path) -> None:
    with _writer(path, table.schema) as writer:
        writer.write_table(table, row_group_size=GROUP_ROWS * 2)


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    path.parent.mkdir(parents=True, exist_ok=True)
    return pq.ParquetWriter(path, schema, compression="zstd")


_POLICY = """\
format: dataops/policy/1
name: rows
rules:
  - {id: all, effect: allow, roles: [data_science], purposes: [train, evaluate, score, benchmark],
     zones: [historical, production], datasets: ["*"], columns: {classifications: ["*"]}}
"""


def _contract(name: str, scored: ScoredSet) -> str:
    head = f"apiVersion: v3.1.0\nkind: DataContract\nid: {name}\nname: {name}\nversion: 1.0.0\nstatus: active\n"
    lines = [
        f"      - {{name: {column}, logicalType: {logical}, physicalType: '{physical}', classification: open}}"
        for column, (logical, physical) in scored.types.items()
    ]
    return head + f"schema:\n  - name: {name}\n    properties:\n" + "\n".join(lines) + "\n"


def _jobs(scored: ScoredSet) -> str:
    derive = {name: f"extract({'dow' if part == 'day' else part} from {c})" for name, (c, part) in scored.times.items()}
    features = {"numeric": {"columns": list(scored.numeric)}}
    if scored.categorical:
        features["categorical"] = {"columns": list(scored.categorical), "min_count": 2}
    target = scored.target.split()[0]
    prepare = {
        "name": "ready",
        "job": "prepare",
        "input": "rows_history",
        "derive": {**derive, "positive": scored.target},
        "labelled": f"{target} is not null",
        "split": {"by": f"hash({scored.keep[0]})", "test": 0.2},
        "output": "ready",
    }
    params = {"rounds": 100, "max_depth": 6} if scored.trainer == "xgboost" else {}
    candidates = [{"trainer": scored.trainer, "params": params}]
    train = {"name": "scorer", "job": "train", "input": "ready", "target": "positive", "features": features}
    score = {"job": "rescore", "model": "scorer@1", "input": "rows", "keep": list(scored.keep)}
    score["outputs"] = ["probability"]
    without = {**score, "name": "scores", "monitor": {"drift": False}, "output": "scores"}
    drift = {**score, "name": "scores_drift", "output": "scores_drift"}
    documents = (prepare, {**train, "candidates": candidates}, without, drift)
    return "\n---\n".join(json.dumps(document) for document in documents) + "\n"
