"""XGBoost's own training on Spark, `SparkXGBClassifier` of `xgboost.spark` on ``local[cores]``: told are the seconds of
each step and the AUC.

Called with the folder of the Parquet files that are learnt from, that of all files, the rounds and the threads. Texts
become numbers by `StringIndexer`; all features are numbers of four bytes in columns of their own, which the estimator
takes as they are (a vector it would unpack row by row). They are cached, as MLlib's guide asks, and counted.

Each core is a worker with a task of its own, as the guides of XGBoost and Databricks have it (``num_workers``: the
tasks that run at once), and the rows are cached in as many partitions. The other shape, one worker whose task has all
cores (``spark.task.cpus``), reads on one of them and gets its rows through one pipe: it is slower here. Rows reach
Python in batches of 100,000, which Spark's guide to Arrow leaves to the memory that there is. A fit of one round on a
few rows is part of the start: loading classes, compiling them and starting Python isn't timed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from fit_xgboost_dask import CATEGORIES, PARTS, features_of
from pyspark import StorageLevel
from pyspark.ml.feature import StringIndexer, StringIndexerModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from sklearn.metrics import roc_auc_score
from spark_session import local_session
from telling import Steps, tell, tell_phase, versions
from xgboost.spark import SparkXGBClassifier, SparkXGBClassifierModel

WARM_UP_ROWS = 20_000
BATCH_ROWS = 100_000


def main() -> None:
    """Trains."""
    learnt, whole, rounds, threads = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:5])
    tell(versions=versions("pyspark", "pandas", "numpy", "pyarrow", "xgboost-cpu"))
    spark = local_session(
        threads, execution__arrow__pyspark__enabled="true", execution__arrow__maxRecordsPerBatch=str(BATCH_ROWS)
    )
    fit(spark.read.parquet(learnt).limit(WARM_UP_ROWS).repartition(threads), 1, threads, lambda _: None)
    spark.catalog.clearCache()
    tell_phase("work")
    steps = Steps()
    indexer, model = fit(spark.read.parquet(learnt), rounds, threads, steps.took)
    tell_phase("end")
    known = {name: list(labels) for name, labels in zip(CATEGORIES, indexer.labelsArray, strict=True)}
    spark.stop()
    frames = [pd.read_parquet(path) for path in sorted(whole.glob("*.parquet"))]
    held = pd.concat([one[(np.arange(len(one)) % 5 == 4) & one["delay"].notna()] for one in frames])
    scores = model.get_booster().inplace_predict(features_of(held, known).to_numpy())
    auc = roc_auc_score((held["delay"] > 15).to_numpy(np.float32), scores)
    tell(seconds=steps.seconds, metrics={"rows": len(held), "roc_auc": float(auc)})


def fit(
    flights: DataFrame, rounds: int, workers: int, took: Callable[[str], None]
) -> tuple[StringIndexerModel, SparkXGBClassifierModel]:
    """The values of the texts, and the model."""
    parts = {
        "month": F.month("date"),
        "day": F.day("date"),
        "weekday": F.weekday("date"),
        "hour": F.hour("date"),
        "minute": F.minute("date"),
    }
    codes = [f"{name}_code" for name in CATEGORIES]
    indexer = StringIndexer(inputCols=CATEGORIES, outputCols=codes, stringOrderType="alphabetAsc").fit(flights)
    features = ["distance", *PARTS, *codes]
    late = (F.col("delay") > 15).cast("float").alias("late")
    frame = indexer.transform(flights.withColumns(parts))
    numbers = frame.select(*(F.col(name).cast("float") for name in features), late)
    if numbers.rdd.getNumPartitions() != workers:  # or the estimator shuffles them, once for each time it looks
        numbers = numbers.repartition(workers)
    ready = numbers.persist(StorageLevel.MEMORY_AND_DISK)
    ready.count()
    took("read")
    shape = {"num_workers": workers, "features_col": features, "label_col": "late"}
    trainer = SparkXGBClassifier(n_estimators=rounds, tree_method="hist", max_depth=6, max_bin=256, **shape)
    model = trainer.fit(ready)
    took("fit")
    return indexer, model


if __name__ == "__main__":
    main()
