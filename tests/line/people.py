"""A small made-up town: people for every step of the line, with secrets in the columns that the policy denies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataops.runs.init import init_workspace
from dataops.runs.workspace import os_user

ROWS_PER_FILE = 400

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: people
name: people
version: 1.0.0
status: active
schema:
  - name: people
    properties:
      - {name: person_id, logicalType: string, physicalType: string, required: true, classification: pii.direct}
      - {name: diagnosis, logicalType: string, physicalType: string, classification: sensitive.health}
      - {name: age, logicalType: integer, physicalType: int32, required: true, classification: pii.quasi,
         logicalTypeOptions: {minimum: 0, maximum: 120}}
      - {name: hours, logicalType: number, physicalType: float64, classification: work}
      - {name: trade, logicalType: string, physicalType: string, classification: work}
      - {name: region, logicalType: string, physicalType: string, classification: work}
      - {name: rich, logicalType: boolean, physicalType: bool, classification: outcome}
"""

POLICY = """\
format: dataops/policy/1
name: people
rules:
  - id: use
    effect: allow
    roles: [data_science]
    purposes: [train, evaluate, score]
    zones: [historical, production]
    datasets: ["people*"]
    columns: {classifications: [pii.direct, pii.quasi, work, outcome]}
  - {id: no-health, effect: deny, columns: {classifications: ["sensitive.*"]},
     reason: health is nobody's business}
  - {id: bands, effect: mask, roles: [data_science], purposes: [train, evaluate, score],
     zones: [historical, production], datasets: ["people*"], columns: {names: [age]}, mask: {generalise: {width: 5}}}
  - {id: who, effect: mask, roles: [data_science], purposes: [train, evaluate, score], zones: [historical, production],
     datasets: ["people*"], columns: {names: [person_id]}, mask: {pseudonym: {domain: person}}}
  - {id: adults, effect: filter, roles: [data_science], purposes: [train, evaluate, score],
     zones: [historical, production], datasets: [people_old, people_new], where: "age >= 18"}
"""

JOBS = """\
name: people_ready
job: prepare
input: people_old
derive:
  long_hours: "hours > 40"
labelled: "rich is not null"
split: {by: hash(person_id), test: 0.25}
output: people_ready
---
name: wealth
job: train
input: people_ready
target: rich
features:
  numeric: {columns: [age, hours]}
  categorical: {columns: [trade, long_hours], min_count: 2}
candidates:
  - {trainer: logistic}
  - {trainer: xgboost, params: {rounds: 15, max_depth: 3}}
evaluate: {metrics: [roc_auc, log_loss], slices: [region], datasets: [people_new]}
---
name: people_scores
job: rescore
model: wealth@champion
input: people_new
keep: [person_id]
errors: {max_rate: 0.1}
output: people_scores
"""

PROMOTION = """\
model: wealth
rules:
  - {metric: roc_auc, minimum: 0.6}
"""


def make_people(rng: np.random.Generator, first: int, rows: int, secret: str) -> pa.Table:
    """`rows` people; every twentieth has an impossible age, and every denied cell holds `secret`."""
    age = rng.integers(10, 80, rows)
    hours = rng.normal(38, 8, rows).round(1)
    trade = rng.choice(["baker", "smith", "clerk", "miller"], rows)
    chance = 1 / (1 + np.exp(-(0.06 * (age - 45) + 0.1 * (hours - 38) + (trade == "smith"))))
    age[::20] = 150
    return pa.table(
        {
            "person_id": [f"{secret}-id-{first + i}" for i in range(rows)],
            "diagnosis": [f"{secret}-diagnosis-{first + i}" for i in range(rows)],
            "age": pa.array(age, pa.int32()),
            "hours": pa.array([None if i % 17 == 0 else float(h) for i, h in enumerate(hours)]),
            "trade": trade,
            "region": rng.choice(["north", "south"], rows),
            "rich": pa.array(rng.random(rows) < chance),
        }
    )


def write_people(folder: Path, *, files: int, seed: int, secret: str = "secret") -> Path:
    """Parquet files of people below `folder`, two row groups each."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(files):
        table = make_people(rng, number * ROWS_PER_FILE, ROWS_PER_FILE, secret)
        pq.write_table(table, folder / f"part-{number:03d}.parquet", row_group_size=ROWS_PER_FILE // 2)
    return folder


def give_roles(folder: Path, *roles: str) -> None:
    """The person who runs the tests has these roles in the workspace, and no others."""
    (folder / "principals.yaml").write_text(f"principals:\n  {os_user()}: {{roles: [{', '.join(roles)}]}}\n")


def make_workspace(folder: Path, *, files: int = 4, secret: str = "secret", policy: str = POLICY) -> Path:
    """A workspace with people_old (historical) and people_new (production) in its catalog."""
    init_workspace(folder)
    (folder / "contracts" / "people.yaml").write_text(CONTRACT)
    (folder / "policies" / "people.yaml").write_text(policy)
    (folder / "jobs" / "people.yaml").write_text(JOBS)
    (folder / "jobs" / "promotion.yaml").write_text(PROMOTION)
    give_roles(folder, "data_science")
    for name, zone, seed in (("people_old", "historical", 1), ("people_new", "production", 2)):
        write_people(folder / "data" / name, files=files, seed=seed, secret=secret)
        entry = f"name: {name}\nurl: data/{name}\nzone: {zone}\ncontract: contracts/people.yaml\n"
        (folder / "catalog" / f"{name}.yaml").write_text(entry)
    return folder
