"""Spark on the cores of this machine, as all its peers start it."""

from __future__ import annotations

from pyspark.sql import SparkSession


def local_session(cores: int, **more: str) -> SparkSession:
    """A session on ``local[cores]``; `more` settings by their names behind ``spark.sql.``, dots as ``__``."""
    settings = {
        "spark.driver.memory": "6g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        **{f"spark.sql.{name.replace('__', '.')}": value for name, value in more.items()},
    }
    builder = SparkSession.builder.master(f"local[{cores}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()
