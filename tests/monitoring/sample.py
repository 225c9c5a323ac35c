"""Figures of runs as `dataops.runs.report` makes them: one of each kind, and ways to end badly."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from dataops.records import canonical_bytes

Make = Callable[[], dict[str, Any]]

DIGEST = "sha256:" + "ab12" * 16
AGES = [f"{low}..{low + 5}" for low in range(15, 90, 5)]


def given(name: str, dataset: str, purpose: str, zone: str, rows: int) -> dict[str, Any]:
    return {
        "name": name,
        "dataset": dataset,
        "snapshot": 1,
        "purpose": purpose,
        "zone": zone,
        "units": 16,
        "rows": rows,
        "masked": [
            {"column": "age", "mask": "generalise width 5"},
            {"column": "person_id", "mask": "pseudonym domain person"},
        ],
        "denied": ["race", "hispanic_origin", "country_of_birth_self", "country_of_birth_father"],
        "filters": ['"instance_weight" > 0 AND "age" >= 16'],
        "policy": DIGEST,
        "effect": DIGEST.replace("ab", "cd"),
    }


def read(passed: int, **others: int) -> dict[str, Any]:
    counts = {
        "filtered_by_policy": 0, "filtered_by_job": 0, "dropped": 0, "quarantined": 0,
        **{name.replace("broken_", "broken:"): rows for name, rows in others.items()},
    }  # fmt: skip
    total = passed + sum(rows for name, rows in counts.items() if not name.startswith("broken:"))
    return {"counts": {"read": total, "passed": passed, **counts}, "receipts_root": DIGEST.replace("12", "9f")}


def run(kind: str, **parts: Any) -> dict[str, Any]:
    figures = {
        "run": f"census_{kind}-20261122t101500-0a1b2c",
        "job": f"census_{kind}",
        "kind": kind,
        "state": "done",
        "principal": "ines",
        "created_at": "2026-11-22T10:15:00.123456Z",
        "code": {"version": "0.1.0", "digest": DIGEST.replace("ab", "ee")},
        "error": None,
        "phases": [],
        "inputs": [],
        "reads": {},
        "result": {},
        **parts,
    }
    figures["inputs"] = sorted(figures["inputs"], key=lambda one: one["name"])
    return dict(json.loads(canonical_bytes(figures)))  # as figures come out of records: sorted


def phase(name: str, seconds: float, outcome: str = "done") -> dict[str, Any]:
    return {"phase": name, "seconds": seconds, "outcome": outcome}


def prepare_figures() -> dict[str, Any]:
    reads = {
        "input": read(
            95130, filtered_by_policy=1203, filtered_by_job=48400, dropped=17, quarantined=212,
            broken_wage_not_negative=180, broken_weeks_within_a_year=41, broken_veteran_code_known=17,
        )
    }  # fmt: skip
    return run(
        "prepare",
        phases=[phase("prepare", 6.412), phase("publish", 0.231)],
        inputs=[given("input", "census_1994", "train", "historical", 144962)],
        reads=reads,
        result={"dataset": "census_training", "snapshot": 3, "reads": reads},
    )


def _report(rows: int, lift: float) -> dict[str, Any]:
    ages = {
        age: {"rows": 40 + (number * 977) % 4100, "roc_auc": 0.86 + lift + (number * 37 % 100) / 1200}
        for number, age in enumerate(AGES)
    }
    ages[AGES[-1]] = {"rows": 11, "too_small": "fewer than 20 rows"}
    sex = {"Female": {"rows": rows - 9000, "roc_auc": 0.93 + lift}, "Male": {"rows": 9000, "roc_auc": 0.912 + lift}}
    return {
        "rows": rows,
        "overall": {
            "roc_auc": 0.925 + lift,
            "roc_auc_error_bound": 3.1e-6,
            "average_precision": 0.61 + lift,
            "average_precision_error_bound": 0.0107,
            "log_loss": 0.142 - lift,
        },
        "slices": {"age_band": ages, "sex": sex},
    }


def train_figures() -> dict[str, Any]:
    reads = {
        "input": read(76104, filtered_by_job=19026),
        "evaluate:census_training": read(19026, filtered_by_job=76104),
        "evaluate:census_1995": read(149000, quarantined=323, broken_wage_not_negative=323),
    }
    versions = [
        {"version": 1, "digest": DIGEST, "candidate": "logistic", "format": "linear-json", "size_bytes": 18234,
         "metrics": {"holdout": _report(19026, 0.0), "census_1995": _report(149000, -0.012)}},
        {"version": 2, "digest": DIGEST, "candidate": "xgboost", "format": "xgboost-ubj", "size_bytes": 1382344,
         "metrics": {"holdout": _report(19026, 0.021), "census_1995": _report(149000, 0.011)}},
    ]  # fmt: skip
    return run(
        "train",
        phases=[
            phase("summarise", 3.2), phase("encode", 2.9), phase("fit logistic", 8.31), phase("fit xgboost", 12.07),
            phase("judge on holdout", 1.4), phase("judge on census_1995", 4.8), phase("register", 0.09),
        ],
        inputs=[
            given("input", "census_training", "train", "historical", 95130),
            given("evaluate:census_training", "census_training", "evaluate", "historical", 95130),
            given("evaluate:census_1995", "census_1995", "evaluate", "production", 149323),
        ],
        reads=reads,
        result={"model": "income", "versions": versions, "reads": reads},
    )  # fmt: skip


def rescore_figures() -> dict[str, Any]:
    reads = {"input": read(149000, quarantined=323, broken_wage_not_negative=300, broken_veteran_code_known=23)}
    scores = [103422, 14211, 7020, 4801, 3600, 2804, 2300, 1808, 1500, 1302]
    scores += [1100, 900, 800, 702, 604, 500, 440, 401, 407]
    scores.append(149000 - sum(scores))
    return run(
        "rescore",
        phases=[phase("score", 7.9), phase("publish", 0.31)],
        inputs=[given("input", "census_1995", "score", "production", 149323)],
        reads=reads,
        result={
            "dataset": "income_scores",
            "snapshot": 1,
            "reads": reads,
            "scores": scores,
            "unknown_categories": {"education": 0, "occupation": 14, "state_of_previous_residence": 1209},
            "model": {"model": "income", "version": 2, "digest": DIGEST},
            "drift": drift_of(scores),
        },
    )


def drift_of(scores: list[int]) -> dict[str, Any]:
    """Drift of a run: the score, a number, a category, one that moved, one of too few rows; by a slice as well."""
    chance = {"psi": 0.002, "js": 0.02, "ks": 0.01, "missing": 0.001, "unknown": 0.001}
    number = {"column": "age", "kind": "number", "psi": 0.012, "js": 0.03, "ks": 0.02, "ks_error_bound": 0.011,
              "missing": 0.0, "missing_shares": [0.0, None],
              "then": [0.0, 0.5, 0.5], "now": [0.0, 0.45, 0.55]}  # fmt: skip
    category = {"column": "education", "kind": "category", "psi": 0.31, "js": 0.2, "missing": 0.1, "unknown": 0.0,
                "missing_shares": [0.0, 0.1], "unknown_shares": [0.02, 0.02],
                "then": [0.0, 0.02, 0.48, 0.5], "now": [0.1, 0.02, 0.58, 0.3]}  # fmt: skip
    score = {"column": "scores", "kind": "score", "psi": 0.11, "js": 0.1, "ks": 0.05, "ks_error_bound": 0.0,
             "then": [0.1] * 10, "now": [0.05, 0.15, *[0.1] * 8]}  # fmt: skip
    columns = [{**one, "chance": chance} for one in (score, number, category)]
    columns.append({"column": "occupation", "kind": "category", "too_few": True})
    few = [{"column": one["column"], "kind": one["kind"], "too_few": True} for one in columns]
    raised = {"metric": "psi", "column": "education", "figure": 0.31, "limit": 0.25, "level": "warn"}
    return {
        "reference": "holdout",
        "rows_then": 21311,
        "rows": sum(scores),
        "histogram_then": [round(rows / 7) for rows in scores],
        "columns": columns,
        "slices": {
            "sex": {
                "Female": {"rows_then": 11000, "rows": sum(scores) - 40, "columns": columns},
                "Male": {"rows_then": None, "rows": 40, "columns": few},
            }
        },
        "raised": [raised, {**raised, "slice": "sex", "value": "Female", "figure": 0.33}],
    }


def failed_figures() -> dict[str, Any]:
    figures = copy.deepcopy(rescore_figures())
    return {
        **figures,
        "state": "failed",
        "error": "ContractViolation: 323 of 149323 rows of 'census_1995' were quarantined, 0.216%; errors.max_rate "
        "allows 0.100%. Nothing was published: mend the data, or raise errors.max_rate",
        "phases": [phase("score", 7.9), phase("publish", 0.02, "failed")],
        "reads": {},
        "result": {},
    }


def interrupted_figures() -> dict[str, Any]:
    return {**failed_figures(), "state": "running", "error": None, "phases": []}


ALL = {
    "prepare": prepare_figures,
    "train": train_figures,
    "rescore": rescore_figures,
    "failed": failed_figures,
    "interrupted": interrupted_figures,
}

MARKUP = (
    "\"'><script>document.documentElement.dataset.evil=1</script>"
    "<img src=https://evil.example/x onerror=document.documentElement.dataset.evil=2>"
)
FORMULA = "$$x$$ \\(y\\) \\[z\\] @rows $index {{ 7 * 7 }} $$\\href{https://evil.example}{x}$$"
HIDDEN = "a\u202eb\u0000c\nd\u2028e"

# what a person may choose, anywhere in the figures above; beside them, what could carry such a name
CHOSEN = (
    "census_train", "census_rescore", "ines", "census_1994", "census_1995", "census_training", "historical", "score",
    "age", "generalise width 5", "person_id", "race", "hispanic_origin", "wage_not_negative", "veteran_code_known",
    "logistic", "xgboost", "fit logistic", "income", "income_scores", "age_band", "sex", "Female", "Male", "15..20",
    "occupation", "state_of_previous_residence", "\"instance_weight\" > 0 AND \"age\" >= 16",
    "census_train-20261122t101500-0a1b2c",
)  # fmt: skip


def hostile(figures: Any, name: str) -> Any:
    """`figures` with `name` (and a number, so that all differ) in place of every name that a person may choose."""
    if isinstance(figures, dict):
        return {hostile(key, name): hostile(value, name) if key != "kind" else value for key, value in figures.items()}
    if isinstance(figures, list):
        return [hostile(value, name) for value in figures]
    if isinstance(figures, str):
        prefix, colon, rest = figures.rpartition(":")
        return f"{prefix}{colon}{name}{CHOSEN.index(rest)}" if rest in CHOSEN else figures
    return figures
