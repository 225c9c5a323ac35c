"""A peer of `prepare.py`: reads, derives, filters and writes as its own documentation advises.

Called with the description, the folder for the output, and the peer's name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from telling import read_spec, tell, tell_phase, versions


def with_polars(spec: dict[str, Any], output: Path) -> None:
    """A lazy query, streamed into one file."""
    import polars as pl

    tell(versions=versions("polars"))
    tell_phase("work")
    date = pl.col("date")
    (
        pl.scan_parquet(f"{spec['folder']}/*.parquet")
        .filter(pl.col("distance") >= 150, pl.col("delay").is_not_null())
        .with_columns(
            hour=date.dt.hour().cast(pl.Int64),
            weekday=(date.dt.weekday() % 7).cast(pl.Int64),  # Monday is 1; Sunday is 0 here
            late=pl.col("delay") > 15,
        )
        .select(spec["columns"])
        .sink_parquet(output / "part.parquet", compression="zstd")
    )


def with_duckdb(spec: dict[str, Any], output: Path) -> None:
    """One COPY statement, a file for each thread."""
    import duckdb

    tell(versions=versions("duckdb"))
    connection = duckdb.connect(config={"threads": spec["cores"], "preserve_insertion_order": False})
    tell_phase("work")
    connection.execute(f"""
        COPY (
            SELECT date, delay, distance, origin, destination,
                   extract(hour FROM date) AS hour, extract(dow FROM date) AS weekday, delay > 15 AS late
            FROM read_parquet('{spec["folder"]}/*.parquet') WHERE distance >= 150 AND delay IS NOT NULL
        ) TO '{output}' (FORMAT parquet, COMPRESSION zstd, PER_THREAD_OUTPUT true, OVERWRITE_OR_IGNORE true)
    """)  # noqa: S608 - our own paths


def with_dask(spec: dict[str, Any], output: Path) -> None:
    """`dask.dataframe` on a local cluster of one process per core."""
    import dask.dataframe as dd
    from distributed import Client, LocalCluster

    tell(versions=versions("dask", "distributed", "pandas", "pyarrow"))
    cluster = LocalCluster(n_workers=spec["cores"], threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with cluster, Client(cluster) as client:
        client.run(_import_frames)
        tell_phase("work")
        frame = dd.read_parquet(spec["folder"], columns=spec["columns"][:5])
        frame = frame[(frame["distance"] >= 150) & frame["delay"].notnull()]
        frame = frame.assign(
            delay=frame["delay"].astype("int64"),
            hour=frame["date"].dt.hour.astype("int64"),
            weekday=((frame["date"].dt.dayofweek + 1) % 7).astype("int64"),
            late=frame["delay"] > 15,
        )
        frame[spec["columns"]].to_parquet(str(output), write_index=False, compression="zstd")
        tell_phase("end")


def with_spark(spec: dict[str, Any], output: Path) -> None:
    """Spark SQL on ``local[cores]``."""
    from pyspark.sql import functions as f
    from spark_session import local_session

    tell(versions=versions("pyspark"))
    spark = local_session(spec["cores"], parquet__compression__codec="zstd")
    spark.range(0, 100, numPartitions=spec["cores"]).count()
    tell_phase("work")
    frame = spark.read.parquet(spec["folder"]).where("distance >= 150 AND delay IS NOT NULL")
    frame = frame.withColumns(
        {
            "hour": f.hour("date").cast("long"),
            "weekday": (f.dayofweek("date") - 1).cast("long"),
            "late": f.col("delay") > 15,
        }
    )
    frame.select(*spec["columns"]).write.parquet(str(output))
    tell_phase("end")
    spark.stop()


def _import_frames() -> None:
    import pandas as pd  # noqa: F401 - what workers import is start-up, for everybody
    import pyarrow.parquet  # noqa: F401


PEERS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "polars": with_polars,
    "duckdb": with_duckdb,
    "dask": with_dask,
    "spark": with_spark,
}


def main() -> None:
    """Prepares."""
    spec, output = read_spec()
    name = sys.argv[3]
    if name != "spark":  # which makes its folder itself
        output.mkdir(parents=True)
    PEERS[name](spec, output)
    tell_phase("end")


if __name__ == "__main__":
    main()
