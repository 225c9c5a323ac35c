"""One turn of boosting's benchmark: dataops and each of its peers on the same rows, and what that comes to.

Programs are watched one after another (`measuring.watch`). A figure counts once those who boost judged the same rows to
about the same AUC, and the others found and made what they should (`summaries`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from measuring import require, watch
from pace import cores
from peers.environments import SPARK, CannotBuild, build, variables
from summaries import check_encoded, check_medians, check_summary

Program: TypeAlias = tuple[str, Mapping[str, str]]  # an interpreter, and the environment of its processes

PEERS = Path(__file__).parent / "peers"
ALONE, SUMMARY = "dataops/xgboost, XGBoost alone plus our read", "dask-ml/dataops, summary"
CLOSE = 0.003  # AUCs of boosters whose bins differ a little
RATIOS = {
    "fit": "dataops/XGBoost, fit",
    "alone": ALONE,
    "all": "dataops/pandas and XGBoost, from the files to the model",
    "by_hand": "xgboost.dask/dataops, from the files to the model",
    "through_spark": "xgboost.spark/dataops, from the files to the model",
    "summary": SUMMARY,
    "encode": "dask-ml/dataops, encode",
    "spark_summary": "spark/dataops, summary",
    "spark_encode": "spark/dataops, encode",
}
"""What a turn finds -> as it is told."""
CONTESTANTS = {
    "dataops": "dataops",
    "pandas": "pandas and XGBoost",
    "xgboost_dask": "xgboost.dask",
    "xgboost_spark": "xgboost.spark",
    "dask_ml": "dask-ml, summary and encoder",
    "spark": "spark, summary and encoder",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """What each turn runs on.

    Attributes
    ----------
    folder : the workspace, with the rows that are learnt from as ``learnt`` in it.
    copies : of the flights.
    spark : the interpreter that has Spark, and its environment; None leaves Spark's peers out.
    scaled : what the job with standard scaling found.
    rows : what peers encode of one copy, of `learnt_rows`.
    """

    folder: Path
    copies: int
    rounds: int
    spark: Program | None
    scaled: Mapping[str, Any]
    rows: np.ndarray


def find_spark() -> tuple[Program | None, dict[str, str]]:
    """What starts Spark's peers, and why they are missing."""
    try:
        python = build(SPARK)
        return (str(python), variables(SPARK, python)), {}
    except CannotBuild as error:
        print(f"  Spark's peers are left out: {error}", flush=True)
        return None, {"spark": str(error)}


def measure(race: Race) -> dict[str, Any]:
    """One turn: dataops and its peers, and what it comes to."""
    ours, boosters = measure_boosting(race)
    summaries = measure_summaries(race)
    mine, yours = ours["seconds"], boosters["pandas"]["seconds"]
    read, fit = mine["summarise"] + mine["encode"], mine["fit xgboost"]
    own = yours["quantise"] + yours["rounds"]
    aucs = [one["metrics"]["roc_auc"] for one in (ours, *boosters.values())]
    found = {
        "fit": fit / own,
        "alone": (read + fit) / (own + read),
        "all": ours["whole"] / sum(yours.values()),
        "by_hand": sum(boosters["xgboost_dask"]["seconds"].values()) / ours["whole"],
        "auc": max(aucs) - min(aucs),
    }
    if "xgboost_spark" in boosters:
        found["through_spark"] = sum(boosters["xgboost_spark"]["seconds"].values()) / ours["whole"]
    for peer, prefix in (("dask_ml", ""), ("spark", "spark_")):
        if peer in summaries:
            took = summaries[peer]["seconds"]
            found[f"{prefix}summary"] = took["summary"] / mine["summarise"]
            found[f"{prefix}encode"] = took["encode"] / mine["encode"]
    print(f"  AUC {', '.join(f'{one:.6f}' for one in aucs)}; {ours['needs']}")
    print(f"  ratios: {', '.join(f'{name} {value:.4g}' for name, value in found.items())}", flush=True)
    return {**found, "dataops": ours, **boosters, **summaries}


def measure_boosting(race: Race) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What we told, and what each peer did, once all judged the same rows about alike."""
    flights, learnt, threads = race.folder / "data" / "flights", race.folder / "learnt", cores()
    ours = told_by("fit_dataops.py", race.folder, "late", "1", threads, "auto")
    print(
        f"  dataops: {split(ours['seconds'])}, all {ours['whole']:.1f} s; "
        f"of the fit {ours['quantised']:.1f} s until all rows are quantised",
        flush=True,
    )
    theirs = {"pandas": told_by("fit_pandas.py", flights, race.rounds, threads)}
    theirs["xgboost_dask"] = told_by("fit_xgboost_dask.py", learnt, flights, race.rounds, "1", threads)
    if race.spark:
        given = (learnt, flights, race.rounds, threads)
        theirs["xgboost_spark"] = told_by("fit_xgboost_spark.py", *given, program=race.spark)
    for name, other in theirs.items():
        took = other["seconds"]
        print(f"  {CONTESTANTS[name]}: {split(took)}, all {sum(took.values()):.1f} s", flush=True)
    check_judged({CONTESTANTS[name]: one["metrics"] for name, one in {"dataops": ours, **theirs}.items()})
    return ours, theirs


def measure_summaries(race: Race) -> dict[str, dict[str, Any]]:
    """What each peer told of its summary and encoder, once both are right."""
    learnt, threads = race.folder / "learnt", cores()
    theirs = {"dask_ml": told_by("summary_dask_ml.py", learnt, "1", threads)}
    if race.spark:
        theirs["spark"] = told_by("summary_spark.py", learnt, threads, program=race.spark)
        check_medians("spark", theirs["spark"]["medians"], race.rows)
    for name, told in theirs.items():
        print(f"  {CONTESTANTS[name]}: {split(told['seconds'])}", flush=True)
        check_summary(name, told, race.scaled)
        check_encoded(name, told["encoded"], race.scaled, race.rows, race.copies)
    return theirs


def check_judged(metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """All judged as many rows as we did, and found about the same AUC.

    Raises
    ------
    AssertionError : one didn't.
    """
    rows = {name: one["rows"] for name, one in metrics.items()}
    require(len(set(rows.values())) == 1, f"rows that were judged differ: {rows}")
    aucs = {name: one["roc_auc"] for name, one in metrics.items()}
    require(max(aucs.values()) - min(aucs.values()) <= CLOSE, f"AUCs of the same rows and rounds are {aucs}")


def told_by(peer: str, *given: object, program: Program = (sys.executable, {})) -> dict[str, Any]:
    """What it told, and as ``watched`` what it took."""
    interpreter, environment = program
    watched = watch([interpreter, str(PEERS / peer), *map(str, given)], env=environment)
    return {**watched.told, "watched": watched}


def split(seconds: Mapping[str, float]) -> str:
    """The seconds of each step, in words."""
    return ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
