"""Every question that there is a benchmark for: what is asked, and how it is run short, beside the peers, and in full.

Short is for two cores and ten minutes in all: sizes that take a second or less, and repeats enough for their medians to
be steady. Beside the peers are the questions whose ratios say whether it is worth leaving what people have. In full
everything is measured as its script does by itself.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A benchmark.

    Attributes
    ----------
    name : of its script and in its record.
    asked : what a reader wants to know.
    short : options of the short run; None: it isn't part of it.
    peers : options of the run beside the peers; None: it isn't part of it.
    module : whether it is started with ``-m benchmarks.<name>``.
    headline : which ratios and figures the table of results tells, by name or by its beginning; none: all ratios.
    """

    name: str
    asked: str
    short: tuple[str, ...] | None = None
    peers: tuple[str, ...] | None = None
    module: bool = False
    headline: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """As a person types it."""
        return f"python -m benchmarks.{self.name}" if self.module else f"python benchmarks/{self.name}.py"

    def started(self, *options: str) -> list[str]:
        """As a process is started, in the project's folder."""
        program = ["-m", f"benchmarks.{self.name}"] if self.module else [str(HERE / f"{self.name}.py")]
        return [sys.executable, *program, *options]


_NARROW = ("--sets", "narrow", "--only", "bare", "--no-onedal", "--rows", "1200000", "--rounds", "4")

QUESTIONS = (
    Question(
        name="rooms",
        asked="rows a second of each pure step, in one process",
        short=(),
        headline=("read", "check", "summarise", "encode"),
    ),
    Question(name="where", asked="where the time of each phase of the line goes, beside the bare work"),
    Question(
        name="features",
        asked="kinds of features, in summary and encoder, on one core",
        short=(),
        headline=("number:", "target:", "hash:", "cross:"),
    ),
    Question(name="startup", asked="every verb, from its start to its end", short=("--turns", "2", "--every", "8")),
    Question(
        name="governance",
        asked="a scan of flights under filter, two pseudonyms, bins and ten rules against Arrow's; a governed rescore "
        "against one without policy and contract",
        short=("--no-rescore",),
        peers=(),
        headline=("governed", "pseudonyms of unique"),
    ),
    Question(
        name="registry",
        asked="registering, promoting and loading a version on disk; an application's swap to it",
        short=(),
        headline=("register", "promote", "load", "swap"),
    ),
    Question(
        name="prepare",
        asked="flights read, derived, filtered and written against Polars, DuckDB, `dask.dataframe`, Spark",
        short=("--rows", "1200000", "--rounds", "4", "--only", "none"),
        peers=("--rows", "4000000", "--rounds", "3"),
    ),
    Question(
        name="resume",
        asked="a rescore that was killed after some of its units and resumed: what it took beyond an undisturbed one",
        short=("--rows", "1200000", "--rounds", "3", "--shares", "50"),
    ),
    Question(
        name="scheduler",
        asked="slots of schedules and submissions decided by one scheduler script, without their jobs",
        short=("--quick", "--turns", "4"),
        headline=("slots", "submit", "carry"),
    ),
    Question(
        name="rescoring",
        asked="flights rescored against pandas, `dask.dataframe`, Spark, Ray Data, and against the bare work",
        short=_NARROW,
        peers=("--sets", "narrow"),
        headline=(
            "pandas/dataops",
            "dask/dataops",
            "spark/dataops",
            "ray/dataops",
            "dataops/bare",
            "dataops with drift/bare",
            "dataops/bare without onedal",
            "dataops with drift/bare without onedal",
        ),
    ),
    Question(
        name="incremental",
        asked="flights rescored again after nothing, one row and one file of fifty changed, against scoring all; asked "
        "is 5 percent plus what one row takes",
        short=("--rows", "1200000", "--rounds", "3"),
        peers=(),
    ),
    Question(name="units", asked="what a unit costs besides its rows; a worker's memory at ten times the rows"),
    Question(
        name="logistic",
        asked="a logistic regression of flights against scikit-learn's and Spark's; of 250,000 flights "
        "against dask-ml's",
        short=("--rows", "250000", "--turns", "4", "--only", "scikit-learn"),
        peers=(),
    ),
    Question(
        name="boosting",
        asked="boosted trees of flights against XGBoost alone, pandas and XGBoost, XGBoost on Dask by hand and through "
        "Spark; the summaries and encoders of dask-ml and Spark ML",
        peers=(),
    ),
    Question(
        name="search",
        asked="a grid of eight boosted models searched and the best fitted against scikit-learn on Dask (joblib) "
        "and Ray Tune",
        peers=("--turns", "2"),
    ),
    Question(name="larger", asked="memory of a linear fit at ten times the rows"),
    Question(name="waiting", asked="threads that sleep while they wait against threads that spin"),
    Question(name="recorder", asked="CPU seconds of a cluster that is recorded, and of one whose page is shown"),
    Question(name="application", asked="an application that follows the champion", module=True),
    Question(name="equality", asked="predictions by handle, rescore, MLflow folder and scikit-learn pipeline"),
)
BY_NAME = {one.name: one for one in QUESTIONS}
