"""The bare work: the same kernels in plain processes, one per core; no Dask, no contract, no records, no receipts.

Arrow reads row groups with text as dictionaries, look-up tables turn values of a dictionary into codes, a float32
matrix is filled in place, dataops' own predictor gives probabilities, Arrow writes a part. All but the predictor is
written out here, so that what our kernels waste shows too.
"""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from telling import read_spec, tell, tell_phase, versions

from dataops.features.encoder import Encoded
from dataops.models.boosted import BoostedModel
from dataops.models.onedal import with_kernel
from dataops.models.predictor import FORMATS, Predictor, load_predictor

ROWS_PER_GROUP = 131_072
_PARTS = {"hour": pc.hour, "day": lambda values: pc.day_of_week(values, count_from_zero=True, week_start=7)}


def main() -> None:
    """Scores."""
    spec, output = read_spec()
    output.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    units, ready, said = context.SimpleQueue(), context.SimpleQueue(), context.SimpleQueue()
    args = (spec, str(output), units, ready, said)
    workers = [context.Process(target=_work, args=args) for _ in range(spec["cores"])]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.get()  # it has imported all that it needs
    tell_phase("work")
    for number, path in enumerate(spec["files"]):
        for first, stop in _ranges(pq.read_metadata(path), spec["columns"], spec["unit_bytes"]):
            units.put((number, path, first, stop))
    for _ in workers:
        units.put(None)
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        sys.exit("a worker failed")
    tell_phase("end")
    predictors = {said.get() for _ in workers}
    tell(versions=versions("numpy", "pyarrow", "xgboost-cpu"), predictor=" and ".join(sorted(predictors)))


def _ranges(footer: pq.FileMetaData, columns: list[str], unit_bytes: int) -> list[tuple[int, int]]:
    """Ranges of row groups of about `unit_bytes` bytes, as they lie uncompressed."""
    ranges, start, size = [], 0, 0
    for group in range(footer.num_row_groups):
        chunks = [footer.row_group(group).column(place) for place in range(footer.num_columns)]
        bytes_ = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in columns)
        if group > start and size + bytes_ > unit_bytes:
            ranges.append((start, group))
            start, size = group, 0
        size += bytes_
    return [*ranges, (start, footer.num_row_groups)]


def _work(spec: dict[str, Any], output: str, units: Any, ready: Any, said: Any) -> None:
    pa.set_cpu_count(1)
    importlib.import_module(FORMATS[spec["model"]["format"]].module)
    for name in ("xgboost", *(["daal4py.mb"] if spec["kernel"] == "onedal" else [])):
        importlib.import_module(name)
    ready.put(None)
    predictor = load_predictor(spec["model"]["format"], Path(spec["model"]["path"]).read_bytes(), 1)
    if isinstance(predictor, BoostedModel):
        predictor = with_kernel(predictor, spec["kernel"], 1)
    said.put(type(predictor).__name__)
    while (unit := units.get()) is not None:
        number, path, first, stop = unit
        _score(spec, Path(output) / f"part-{number:04d}-{first:04d}.parquet", path, range(first, stop), predictor)


def _score(spec: dict[str, Any], output: Path, path: str, groups: range, predictor: Predictor) -> None:
    texts = [one["name"] for one in spec["categorical"]]
    keys = [name for name in spec["keep"] if name in spec["dictionaries"]]
    file = pq.ParquetFile(path, read_dictionary=sorted({*texts, *keys}))
    table = file.read_row_groups(list(groups), columns=spec["columns"], use_threads=False)
    matrix = np.empty((table.num_rows, len(spec["numeric"]) + len(texts)), np.float32)
    for place, one in enumerate(spec["numeric"]):
        _fill_numbers(_numbers(table, one["name"], spec["times"]), one, matrix[:, place])
    for place, one in enumerate(spec["categorical"], len(spec["numeric"])):
        _fill_codes(table.column(one["name"]), one["categories"], matrix[:, place])
    rows = Encoded(values=matrix, n_numeric=len(spec["numeric"]), unknown={})
    kept = {name: _plain(table.column(name)) for name in spec["keep"]}
    pq.write_table(
        pa.table({**kept, "probability": pa.array(predictor.predict(rows), pa.float32())}),
        output,
        compression="zstd",
        row_group_size=ROWS_PER_GROUP,
        store_schema=False,
        version="2.6",
        write_page_checksum=True,
    )


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _numbers(table: pa.Table, name: str, times: dict[str, Any]) -> pa.ChunkedArray:
    if name not in times:
        return table.column(name)
    column, part = times[name]
    return _PARTS[part](table.column(column))


def _fill_numbers(column: pa.ChunkedArray, one: dict[str, Any], out: np.ndarray) -> None:
    start = 0
    for chunk in column.chunks:
        values = chunk.cast(pa.float64()) if chunk.type != pa.float64() else chunk
        numbers = (values.fill_null(np.nan) if values.null_count else values).to_numpy(zero_copy_only=False)
        usable = np.isfinite(numbers)
        if not usable.all():
            numbers = np.where(usable, numbers, one["fill"])
        if (one["mean"], one["scale"]) != (0.0, 1.0):
            numbers = (numbers - one["mean"]) / one["scale"]
        out[start : start + len(chunk)] = numbers
        start += len(chunk)


def _fill_codes(column: pa.ChunkedArray, categories: list[str], out: np.ndarray) -> None:
    start, known = 0, pa.array(categories, pa.string())
    for chunk in column.chunks:
        encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        table = np.zeros(len(encoded.dictionary) + 1, np.float32)  # the last is null's
        found = pc.index_in(encoded.dictionary, value_set=known, skip_nulls=True)
        table[:-1] = pc.add(pc.fill_null(found, -1), 1).to_numpy()
        out[start : start + len(chunk)] = table[pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy()]
        start += len(chunk)


if __name__ == "__main__":
    main()
