"""Spark ML's scaler and indexer on ``local[cores]``, fitted on the same rows and columns, then what they make of all
rows; told are the seconds of both, what was found and what came out.

Called with the folder of the Parquet files and the threads. Written as `summary_dask_ml` is: rows that are gone over
again are cached, as MLlib's guide asks, and that is part of the summary's work. Medians are Spark SQL's, exact: on
numbers of few values they take a third of what Spark ML's `Imputer` does, which finds them by `approxQuantile`. Encoded
are the cached rows, to one vector each of numbers scaled and places of categories, cached and counted. All of it once
on a few rows belongs to the start, as loading classes and compiling them do.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

from pyspark import StorageLevel
from pyspark.ml.feature import StandardScaler, StringIndexer, VectorAssembler
from pyspark.ml.stat import Summarizer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from spark_session import local_session
from telling import Steps, tell, tell_phase, versions

TEXTS = ["origin", "destination"]
WARM_UP_ROWS = 20_000


def main() -> None:
    """Fits and encodes."""
    folder, threads = sys.argv[1], int(sys.argv[2])
    tell(versions=versions("pyspark"))
    spark = local_session(threads)
    fit_and_encode(spark.read.parquet(folder).limit(WARM_UP_ROWS), lambda _: None)
    spark.catalog.clearCache()
    tell_phase("work")
    steps = Steps()
    found, encoded = fit_and_encode(spark.read.parquet(folder), steps.took)
    tell_phase("end")
    told = encoded.select(
        Summarizer.metrics("count", "mean", "normL2").summary(encoded["features"]).alias("of")
    ).first()
    rows = told["of"]["count"]
    found["scales"] = [one * math.sqrt((rows - 1) / rows) for one in found["scales"]]  # Spark's are of a sample
    squares = [float(one) ** 2 / rows for one in told["of"]["normL2"]]
    tell(
        seconds=steps.seconds, **found, encoded={"rows": rows, "means": told["of"]["mean"].tolist(), "squares": squares}
    )
    spark.stop()


def fit_and_encode(flights: DataFrame, took: Callable[[str], None]) -> tuple[dict[str, Any], DataFrame]:
    """What was found, and the encoded rows as ``features``."""
    parts = {
        "month": F.month("date"),
        "day": F.day("date"),
        "weekday": F.weekday("date") + 1,  # Monday is 1 to us
        "hour": F.hour("date"),
        "minute": F.minute("date"),
    }
    numbers, codes = ["distance", *parts], [f"{name}_code" for name in TEXTS]
    known = flights.filter(F.col("delay").isNotNull()).withColumns(parts)
    frame = known.select(*numbers, *TEXTS).persist(StorageLevel.MEMORY_AND_DISK)
    assembler = VectorAssembler(inputCols=numbers, outputCol="numbers")
    scaler = StandardScaler(inputCol="numbers", outputCol="scaled", withMean=True).fit(assembler.transform(frame))
    medians = frame.select(*(F.median(name).alias(name) for name in numbers)).first()  # that missing numbers become
    indexer = StringIndexer(inputCols=TEXTS, outputCols=codes, stringOrderType="alphabetAsc").fit(frame)
    took("summary")
    rows = indexer.transform(scaler.transform(assembler.transform(frame)))
    assembled = VectorAssembler(inputCols=["scaled", *codes], outputCol="features").transform(rows)
    encoded = assembled.select("features").persist(StorageLevel.MEMORY_AND_DISK)
    encoded.count()
    took("encode")
    found = {
        "means": scaler.mean.tolist(),
        "scales": scaler.std.tolist(),
        "medians": [float(medians[name]) for name in numbers],
        "categories": dict(zip(TEXTS, map(list, indexer.labelsArray), strict=True)),
    }
    return found, encoded


if __name__ == "__main__":
    main()
