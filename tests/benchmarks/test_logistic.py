"""Who learns from which rows, that only the same rows are compared, and what is asked at which size."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.scripts import loaded

logistic = loaded("logistic")


def run(seconds: float, *, rows: int = 2_500_000, objective: float = 1e6) -> dict[str, Any]:
    took = {"seconds": {"fit": seconds}, "whole": 2 * seconds, "cpu_seconds": 1.0, "peak_bytes": 2**20}
    return {**took, "rows": rows, "objective": objective}


def runs_of_both_sizes() -> dict[str, list[dict[str, Any]]]:
    return {
        "dataops": [run(2.0)],
        "dataops null": [run(3.0)],
        "scikit-learn lbfgs": [run(20.0)],
        "scikit-learn newton-cholesky": [run(10.0)],
        "dataops, few rows": [run(0.5, rows=250_000, objective=1e5)],
        "dask-ml": [run(100.0, rows=250_000, objective=1e5)],
    }


def test_a_peer_on_fewer_rows_is_compared_with_dataops_on_these_rows() -> None:
    ratios = logistic.find_ratios(runs_of_both_sizes())
    assert ratios["scikit-learn/dataops, fit"].median == 5.0
    assert ratios["dask-ml/dataops, fit"].median == ratios["dask-ml/dataops, all"].median == 200.0
    assert ratios["dataops null/dataops, fit"].median == 1.5
    alone = {name: found for name, found in runs_of_both_sizes().items() if name != "dataops, few rows"}
    assert logistic.find_ratios(alone)["dask-ml/dataops, fit"].median == 50.0


def test_objectives_are_compared_among_those_of_the_same_rows() -> None:
    runs = runs_of_both_sizes()
    logistic.check(runs)
    runs["dask-ml"] = [run(1.0, rows=250_000, objective=1e5 * (1 + 2 * logistic.SAME))]
    with pytest.raises(AssertionError, match=r"dask-ml is 2\.0e-05 above"):
        logistic.check(runs)


@pytest.mark.parametrize("rows", [250_000, 2_500_000])
def test_limits_are_of_one_size(rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    runs = {"dataops": [run(2.0)], "dataops null": [run(2.0)], "scikit-learn lbfgs": [run(3.0)]}
    limits = logistic.limits_at(rows)
    logistic.show(runs, logistic.find_ratios(runs), limits)
    assert (limits == logistic.LIMITS) is (rows == 2_500_000) is ("MISSED" in capsys.readouterr().out)
    assert rows == 2_500_000 or not limits


def test_the_tables_say_how_many_rows_a_ratio_is_of(capsys: pytest.CaptureFixture[str]) -> None:
    runs = runs_of_both_sizes()
    logistic.show(runs, logistic.find_ratios(runs), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("dask-ml/dataops, fit (of 250,000 rows)")]
    assert [line for line in lines if line.startswith("dataops, few rows") and "250,000" in line]


def test_dataops_runs_beside_dask_ml_where_others_learn_from_more_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise logistic.CannotBuild("no index")

    monkeypatch.setattr(logistic, "build", refuse)
    all_rows, few = ({"workspace": name, "cores": 2, "rows": rows} for name, rows in (("all", 10), ("few", 1)))
    found, missing = logistic.find_contestants(all_rows, few, {"dask-ml", "spark"})
    assert missing == {"spark": "no index"}
    assert {name: one.spec["rows"] for name, one in found.items()} == {
        "dataops": 10,
        "dataops null": 10,
        "dataops, few rows": 1,
        "dask-ml": 1,
    }
    assert found["dask-ml"].command[2] == found["dataops, few rows"].command[2] == "few/spec.json"
    found, _ = logistic.find_contestants(all_rows, all_rows, {"dask-ml"})
    assert list(found) == ["dataops", "dataops null", "dask-ml"]
