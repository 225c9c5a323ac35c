"""A town where every value that somebody may not see occurs nowhere else: the canaries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataops.runs.init import init_workspace
from dataops.runs.workspace import os_user

ROWS = 200
FILES = 3
ADULT, IMPOSSIBLE = 18, 150
BAND = 10**9

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
      - name: diagnosis
        logicalType: string
        physicalType: string
        classification: sensitive.health
        logicalTypeOptions: {maxLength: 20}
      - {name: email, logicalType: string, physicalType: string, classification: pii.direct}
      - {name: phone, logicalType: string, physicalType: string, classification: pii.direct}
      - {name: address, logicalType: string, physicalType: string, classification: pii.quasi}
      - {name: salary, logicalType: integer, physicalType: int64, classification: pii.quasi}
      - {name: age, logicalType: integer, physicalType: int32, required: true, classification: pii.quasi,
         logicalTypeOptions: {minimum: 0, maximum: 120}}
      - {name: hours, logicalType: number, physicalType: float64, classification: work}
      - {name: trade, logicalType: string, physicalType: string, classification: work}
      - {name: region, logicalType: string, physicalType: string, classification: work}
      - {name: rich, logicalType: boolean, physicalType: bool, classification: outcome}
"""

EVERYBODY = "roles: [data_science], purposes: [train, evaluate, score], zones: [historical, production]"

OPEN_POLICY = f"""\
format: dataops/policy/1
name: people
rules:
  - {{id: all, effect: allow, {EVERYBODY}, datasets: ["people*"], columns: {{classifications: ["*"]}}}}
"""

POLICY = f"""\
format: dataops/policy/1
name: people
rules:
  - id: use
    effect: allow
    {EVERYBODY.replace(", purposes", chr(10) + "    purposes").replace(", zones", chr(10) + "    zones")}
    datasets: ["people*"]
    columns: {{classifications: ["pii.*", work, outcome]}}
  - {{id: health, effect: deny, {EVERYBODY}, datasets: ["*"], columns: {{classifications: ["sensitive.*"]}}}}
  - {{id: who, effect: mask, {EVERYBODY}, datasets: ["people*"], columns: {{names: [person_id]}},
     mask: {{pseudonym: {{domain: person}}}}}}
  - {{id: mail, effect: mask, {EVERYBODY}, datasets: ["people*"], columns: {{names: [email]}}, mask: "null"}}
  - {{id: call, effect: mask, {EVERYBODY}, datasets: ["people*"], columns: {{names: [phone]}}, mask: redact}}
  - {{id: town, effect: mask, {EVERYBODY}, datasets: ["people*"], columns: {{names: [address]}},
     mask: {{generalise: {{prefix: 2}}}}}}
  - {{id: bands, effect: mask, {EVERYBODY}, datasets: ["people*"], columns: {{names: [salary]}},
     mask: {{generalise: {{width: {BAND}}}}}}}
  - {{id: adults, effect: filter, {EVERYBODY}, datasets: ["people*"], where: "age >= {ADULT}"}}
"""

JOBS = """\
name: people_ready
job: prepare
input: people_old
derive: {long_hours: "hours > 40"}
split: {by: hash(person_id), test: 0.25}
output: people_ready
---
name: wealth
job: train
input: people_ready
target: rich
features:
  numeric: {columns: [salary, age, hours]}
  categorical: {columns: [address, trade, long_hours]}
candidates:
  - {trainer: logistic}
  - {trainer: xgboost, params: {rounds: 5, max_depth: 3}}
evaluate: {metrics: [roc_auc], slices: [region, address], datasets: [people_new]}
---
name: people_scores
job: rescore
model: wealth@champion
input: people_new
keep: [person_id, address, salary, email, phone]
errors: {max_rate: 0.5}
output: people_scores
"""

PROMOTION = "model: wealth\nrules:\n  - {metric: roc_auc, minimum: 0.1}\n"


def canary(kind: str, zone: str, row: int) -> str:
    """The value of one cell: 17 characters that occur nowhere else."""
    return f"zQ7{zone[:1]}{kind[:3]}-{row:04d}-vXw9"


def exact_salary(row: int) -> int:
    """A salary that no band begins with."""
    return 700 * BAND + (row % 7) * BAND + 918_273_645 + row


def make_people(zone: str, first: int) -> pa.Table:
    """`ROWS` people, canaries in every column that the policy denies or masks; in `trade` those of rows that no job
    may get: minors, which the policy filters, and people of an impossible age, which the contract sets aside.
    """
    rows = range(first, first + ROWS)
    rng = np.random.default_rng(first + len(zone))
    age = rng.integers(ADULT, 80, ROWS)
    age[::10], age[1::10] = 12, IMPOSSIBLE
    trade = [str(one) for one in rng.choice(["baker", "smith", "clerk"], ROWS)]
    hidden = [canary("trade", zone, row) if row % 10 < 2 else one for row, one in zip(rows, trade, strict=True)]
    # too long for the contract: set aside, with the value, for the steward
    diagnosis = [canary("diagnosis", zone, row) + ("-and more" if row % 10 == 2 else "") for row in rows]
    table = pa.table(
        {
            "person_id": [canary("person", zone, row) for row in rows],
            "diagnosis": pa.array(diagnosis).dictionary_encode(),
            "email": [canary("email", zone, row) for row in rows],
            "phone": [canary("phone", zone, row) for row in rows],
            "address": [("ab", "cd", "ef")[row % 3] + canary("address", zone, row) for row in rows],
            "salary": pa.array([exact_salary(row) for row in rows], pa.int64()),
            "age": pa.array(age, pa.int32()),
            "hours": rng.normal(38, 8, ROWS).round(1),
            "trade": pa.array(hidden).dictionary_encode(),
            "region": [str(one) for one in rng.choice(["north", "south"], ROWS)],
            "rich": rng.random(ROWS) < 0.5,
        }
    )
    return table.replace_schema_metadata({"pandas": canary("metadata", zone, first)})


def tokens(kind: str) -> list[str]:
    """The canaries of one kind, over both zones."""
    return [canary(kind, zone, row) for zone in ("old", "new") for row in range(FILES * ROWS)]


def all_tokens() -> list[str | int]:
    """All canaries."""
    kinds = ("diagnosis", "person", "email", "phone", "address", "trade", "metadata")
    return [*(token for kind in kinds for token in tokens(kind)), *map(exact_salary, range(FILES * ROWS))]


def make_workspace(folder: Path, *, policy: str = POLICY) -> Path:
    """A workspace with people_old (historical) and people_new (production)."""
    init_workspace(folder)
    (folder / "contracts" / "people.yaml").write_text(CONTRACT)
    (folder / "policies" / "people.yaml").write_text(policy)
    (folder / "jobs" / "people.yaml").write_text(JOBS)
    (folder / "jobs" / "promotion.yaml").write_text(PROMOTION)
    (folder / "principals.yaml").write_text(f"principals:\n  {os_user()}: {{roles: [data_science]}}\n")
    for zone, name in (("old", "historical"), ("new", "production")):
        add_people(folder, f"people_{zone}", name, [make_people(zone, file * ROWS) for file in range(FILES)])
    return folder


def add_people(folder: Path, name: str, zone: str, tables: list[pa.Table], below: str = "") -> None:
    """A dataset of the catalog made of `tables`, a file each, in the folder `below` its own."""
    home = folder / "data" / name / below
    home.mkdir(parents=True)
    for number, table in enumerate(tables):
        pq.write_table(table, home / f"part-{number:03d}.parquet", row_group_size=ROWS // 2)
    entry = f"name: {name}\nurl: data/{name}\nzone: {zone}\ncontract: contracts/people.yaml\n"
    (folder / "catalog" / f"{name}.yaml").write_text(entry)
