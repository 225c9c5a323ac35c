"""Spark's MLlib: `StringIndexer`, `OneHotEncoder`, `VectorAssembler`, `LogisticRegression` on ``local[cores]``.

Called with the file that `logistic.py` wrote. The features are cached, as MLlib's guide asks for an algorithm that goes
over them again and again; the tolerance is its default. A fit on a few rows is part of the start: loading classes and
compiling them isn't timed, as our machine code is compiled ahead.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark import StorageLevel
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.feature import OneHotEncoder, StringIndexer, StringIndexerModel, VectorAssembler
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from spark_session import local_session
from telling import Steps, tell, tell_phase, versions

TEXTS = ("origin", "destination")
WARM_UP_ROWS = 20_000


def main() -> None:
    """Trains."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    tell(versions=versions("pyspark"))
    spark = local_session(spec["cores"])
    fit(spark.read.parquet(spec["folder"]).limit(WARM_UP_ROWS).persist(), spec, lambda _: None)
    spark.catalog.clearCache()
    tell_phase("work")
    steps = Steps()
    indexer, model = fit(spark.read.parquet(spec["folder"]), spec, steps.took)
    tell_phase("end")
    weights = [float(one) for one in model.coefficients.toArray()]
    categorical, first = {}, len(spec["numbers"])
    for name, labels in zip(TEXTS, indexer.labelsArray, strict=True):
        categorical[name] = dict(zip(labels, weights[first : first + len(labels)], strict=True))
        first += len(labels)
    numeric = dict(zip(spec["numbers"], weights, strict=False))
    told = {"intercept": float(model.intercept), "numeric": numeric, "categorical": categorical}
    tell(seconds=steps.seconds, passes=int(model.summary.totalIterations), model=told)
    spark.stop()


def fit(
    flights: DataFrame, spec: dict[str, Any], took: Callable[[str], None]
) -> tuple[StringIndexerModel, LogisticRegressionModel]:
    """The values of the texts, and the model."""
    numbers = {"distance": F.col("distance"), "hour": F.hour("date"), "weekday": F.weekday("date") + 1}
    scaled = [((numbers[name] - mean) / std).alias(name) for name, (mean, std) in spec["numbers"].items()]
    late = (F.col("delay") > 15).cast("double").alias("label")
    frame = flights.select(*scaled, *TEXTS, late)
    codes, hot = [f"{name}_code" for name in TEXTS], [f"{name}_hot" for name in TEXTS]
    indexer = StringIndexer(inputCols=list(TEXTS), outputCols=codes, stringOrderType="alphabetAsc").fit(frame)
    indexed = indexer.transform(frame)
    encoded = OneHotEncoder(inputCols=codes, outputCols=hot, dropLast=False).fit(indexed).transform(indexed)
    assembler = VectorAssembler(inputCols=[*spec["numbers"], *hot], outputCol="features")
    ready = assembler.transform(encoded).select("features", "label").persist(StorageLevel.MEMORY_AND_DISK)
    rows = ready.count()
    took("features")
    # Spark minimises the mean loss, and its penalty is on the coefficients of unscaled columns where that is asked for
    trainer = LogisticRegression(regParam=spec["l2"] / rows, standardization=False, maxIter=1000)
    model = trainer.fit(ready)
    took("fit")
    return indexer, model


if __name__ == "__main__":
    main()
