"""MLflow's way in: ``mlflow.pyfunc.load_model(<folder of a version>)``, without a server.

The folder may be a copy. It is checked as an application's is: signature, sizes, digests, golden rows, by the trust
that the environment variable ``DATAOPS_TRUST`` names: the path of a file of signers, or ``unsigned``. MLflow itself
imports the module that ``MLmodel`` names before anything is checked: load only folders that nobody else can write.

MLflow's times have no zone, and it lets through no others. Where the model was trained on times with a zone, they are
taken as those of UTC.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from dataops.errors import Integrity, InvalidInput
from dataops.models.package import MANIFEST, MAX_MANIFEST_BYTES
from dataops.models.scoring import score_table
from dataops.records import decode_record
from dataops.registry.trust import UNSIGNED, Trust, read_trust
from dataops.registry.versions import LoadedVersion, Registry
from dataops.runtime.rows import table_of
from dataops.runtime.serving import Predictions, ready_predictor
from dataops.storage.objects import MemoryStore, open_store

TRUST = "DATAOPS_TRUST"


class PythonFunction:
    """What MLflow calls a python function: `predict` over a DataFrame."""

    def __init__(self, loaded: LoadedVersion) -> None:
        self._program = loaded.package.program
        self._predictor = ready_predictor(loaded.package)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Predictions:  # noqa: ARG002
        """The probability of each row, the number that a regression predicts, or that of its cluster, ``(n_rows,)``
        float32.
        """
        schema = self._program.schema()
        return score_table(self._program, self._predictor, _in_utc(table_of(model_input, schema), schema))


def _in_utc(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the zone UTC for times that have none and that `schema` has one for."""
    for place, column in enumerate(table.schema):
        wanted = schema.field(column.name).type if column.name in schema.names else None
        if wanted is not None and pt.is_timestamp(wanted) and wanted.tz and pt.is_timestamp(column.type):
            zoned = pa.timestamp(column.type.unit, column.type.tz or "UTC")
            table = table.set_column(place, column.name, table.column(place).cast(zoned))
    return table


def _load_pyfunc(path: str) -> PythonFunction:
    """What MLflow calls with the folder of a version."""
    return PythonFunction(read_folder(Path(path), _trust()))


def read_folder(folder: Path, trust: Trust) -> LoadedVersion:
    """The version in `folder`, which may be a copy under another name.

    Raises
    ------
    NotFound, Integrity, Format : as `Registry.read`.
    """
    source, copied = open_store(str(folder), read_only=True), MemoryStore()
    record = decode_record(source.get_at_most(MANIFEST, MAX_MANIFEST_BYTES), "model-version", 1)
    model, version = str(record.get("model")), record.get("version")
    if not isinstance(version, int):
        raise Integrity(f"the manifest in {folder} names no version")
    left = trust.max_model_bytes + MAX_MANIFEST_BYTES
    try:
        for key in source.list(""):
            data = source.get_at_most(key, left)
            left -= len(data)
            copied.put_if_absent(f"{model}/versions/{version}/{key}", data)
        return Registry(copied, trust).read(model, version)
    finally:
        for key in copied.list(""):  # the process would keep them as long as it lives
            copied.delete(key)


def _trust() -> Trust:
    said = os.environ.get(TRUST)
    if not said:
        raise InvalidInput(f"say whom to trust: {TRUST}=<path of a signers.yaml>, or {TRUST}=unsigned")
    return UNSIGNED if said == "unsigned" else read_trust(said)
