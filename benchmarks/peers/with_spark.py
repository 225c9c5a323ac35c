"""Spark: ``mapInPandas`` on ``local[cores]``, the model loaded once per Python worker.

As Spark's guide to Arrow advises: batches of Arrow of more rows than the default where memory allows
(``maxRecordsPerBatch``, 100,000 instead of 10,000), only the columns that are needed, expensive state made before the
loop over batches.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pandas as pd
from spark_session import local_session
from telling import read_spec, tell, tell_phase, versions


def main() -> None:
    """Scores."""
    spec, output = read_spec()
    tell(versions=versions("pyspark", "pandas", "scikit-learn", "xgboost-cpu", "pyarrow"))
    spark = local_session(
        spec["cores"],
        execution__arrow__pyspark__enabled="true",
        execution__arrow__maxRecordsPerBatch=str(spec["spark_batch"]),
    )
    spec_path, keep = sys.argv[1], spec["keep"]

    def score_batches(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        from pipeline import load_pipeline, score

        pipeline = load_pipeline(spec_path, 1)
        for batch in batches:
            yield score(pipeline, batch, keep)

    def warm_up(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import pipeline  # noqa: F401 - what workers import is start-up, for everybody

        yield from batches

    spark.range(0, 100, numPartitions=spec["cores"]).mapInPandas(warm_up, "id long").count()
    tell_phase("work")
    frame = spark.read.parquet(spec["folder"]).select(*spec["columns"])
    kept = [f"`{field.name}` {field.dataType.simpleString()}" for field in frame.select(*keep).schema]
    scored = frame.mapInPandas(score_batches, ", ".join([*kept, "probability float"]))
    scored.write.parquet(str(output))
    tell_phase("end")
    spark.stop()


if __name__ == "__main__":
    main()
