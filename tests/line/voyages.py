"""A small made-up port: voyages to join with the weather as of their hour, and with ships."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataops.runs.init import init_workspace
from tests.line.people import give_roles

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
TIME = pa.timestamp("us", "UTC")
ROWS_PER_FILE = 240

_COLUMNS = {
    "voyages": """\
      - {name: voyage_id, logicalType: integer, physicalType: int64, required: true, classification: travel}
      - {name: port, logicalType: string, physicalType: string, classification: travel}
      - {name: ship, logicalType: string, physicalType: string, classification: pii.quasi}
      - {name: sails_at, logicalType: timestamp, physicalType: "timestamp[us, tz=UTC]", classification: travel}
      - {name: crew, logicalType: integer, physicalType: int32, classification: work,
         logicalTypeOptions: {minimum: 1}}
      - {name: captain, logicalType: string, physicalType: string, classification: pii.direct}
""",
    "weather": """\
      - {name: port, logicalType: string, physicalType: string, classification: public}
      - {name: hour, logicalType: timestamp, physicalType: "timestamp[us, tz=UTC]", classification: public}
      - {name: seen_at, logicalType: timestamp, physicalType: "timestamp[us, tz=UTC]", classification: public}
      - {name: wind, logicalType: number, physicalType: float64, classification: public}
      - {name: notes, logicalType: string, physicalType: string, classification: public}
""",
    "ships": """\
      - {name: name, logicalType: string, physicalType: string, required: true, classification: pii.quasi}
      - {name: built, logicalType: integer, physicalType: int16, classification: public}
      - {name: owner, logicalType: string, physicalType: string, classification: pii.direct}
""",
}

POLICY = """\
format: dataops/policy/1
name: port
rules:
  - id: use
    effect: allow
    roles: [data_science]
    purposes: [train, evaluate, score]
    zones: [historical]
    datasets: ["*"]
    columns: {classifications: [travel, work, public, pii.quasi]}
  - {id: no-names, effect: deny, columns: {classifications: [pii.direct]}, reason: people are nobody's business}
  - {id: open-ports, effect: filter, roles: [data_science], purposes: [train, evaluate, score], zones: [historical],
     datasets: [voyages], where: "port <> 'closed'"}
"""

JOBS = """\
name: sailings
job: join
input: voyages
joins:
  - dataset: weather
    on: [port]
    asof: {at: sails_at, of: hour, tolerance: 3h, as_known: seen_at}
    columns: [wind, hour, notes]
    rename: {hour: weather_hour}
  - dataset: ships
    on: [ship]
    to: [name]
    columns: [built]
  - dataset: voyages
    on: [ship]
    aggregate: {voyages_of_ship: count, mean_crew: mean(crew)}
output: sailings
---
name: loud
job: join
input: voyages
columns: [voyage_id, port]
joins:
  - {dataset: weather, on: [port], columns: [wind], how: inner, expect: many}
output: loud
---
name: newest
job: join
input: voyages
deduplicate: {by: [ship], order: sails_at}
columns: [voyage_id, ship]
output: newest
---
name: by_port
job: join
input: voyages
group_by: [port, ship]
aggregate: {voyages: count, crew: sum(crew), last_ship: "last(voyage_id, sails_at)"}
output: by_port
"""


def make_voyages(rng: np.random.Generator, first: int, rows: int, secret: str) -> pa.Table:
    """`rows` voyages: some have no ship or no time, some no crew (which breaks the contract)."""
    hours = rng.integers(0, 500, rows)
    return pa.table(
        {
            "voyage_id": pa.array(np.arange(first, first + rows)),
            "port": rng.choice(["Kiel", "Oslo", "Riga", "closed"], rows),
            "ship": pa.array([None if i % 13 == 0 else f"ship-{i % 37}" for i in rng.integers(0, 400, rows)]),
            "sails_at": pa.array([None if h % 29 == 0 else START + h * HOUR / 2 for h in hours.tolist()], TIME),
            "crew": pa.array(rng.integers(0, 40, rows), pa.int32()),
            "captain": [f"{secret}-captain-{i}" for i in range(rows)],
        }
    )


def make_weather(rng: np.random.Generator, rows: int) -> pa.Table:
    """Weather of each port by the hour, in any order; some is seen hours later, and of some nobody knows when."""
    hours = np.arange(rows) // 3
    late = rng.integers(0, 5, rows)
    seen = [
        None if i % 31 == 0 else START + (int(h) + int(lag)) * HOUR
        for i, (h, lag) in enumerate(zip(hours, late, strict=True))
    ]
    table = pa.table(
        {
            "port": [("Kiel", "Oslo", "Riga")[i % 3] for i in range(rows)],
            "hour": pa.array([START + int(h) * HOUR for h in hours], TIME),
            "seen_at": pa.array(seen, TIME),
            "wind": rng.normal(8, 3, rows).round(2),
            "notes": [None if i % 4 else f"note {i}" * (i % 3) for i in range(rows)],
        }
    )
    return table.take(pa.array(rng.permutation(rows)))


def make_ships(secret: str) -> pa.Table:
    """A row for most of the ships."""
    return pa.table(
        {
            "name": [f"ship-{i}" for i in range(33)],
            "built": pa.array([1950 + i for i in range(33)], pa.int16()),
            "owner": [f"{secret}-owner-{i}" for i in range(33)],
        }
    )


def make_port(folder: Path, *, files: int = 3, secret: str = "secret", policy: str = POLICY) -> Path:
    """A workspace with voyages, weather and ships in its catalog."""
    init_workspace(folder)
    (folder / "policies" / "port.yaml").write_text(policy)
    (folder / "jobs" / "port.yaml").write_text(JOBS)
    give_roles(folder, "data_science")
    rng = np.random.default_rng(7)
    write_dataset(
        folder,
        "voyages",
        {f"part-{n}": make_voyages(rng, n * ROWS_PER_FILE, ROWS_PER_FILE, secret) for n in range(files)},
    )
    weather = make_weather(rng, 750)
    write_dataset(folder, "weather", {f"part-{n}": weather.slice(n * 250, 250) for n in range(3)})
    write_dataset(folder, "ships", {"part-0": make_ships(secret)})
    return folder


def write_dataset(folder: Path, name: str, tables: Mapping[str, pa.Table]) -> None:
    """The files of a dataset, with its contract and its entry in the catalog."""
    place = folder / "data" / name
    place.mkdir(parents=True, exist_ok=True)
    for file, table in tables.items():
        pq.write_table(table, place / f"{file}.parquet", row_group_size=100)
    (folder / "contracts" / f"{name}.yaml").write_text(
        f"apiVersion: v3.1.0\nkind: DataContract\nid: {name}\nname: {name}\nversion: 1.0.0\nstatus: active\n"
        f"schema:\n  - name: {name}\n    properties:\n{_COLUMNS[name]}"
    )
    entry = f"name: {name}\nurl: data/{name}\nzone: historical\ncontract: contracts/{name}.yaml\n"
    (folder / "catalog" / f"{name}.yaml").write_text(entry)
