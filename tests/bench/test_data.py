"""The made-up data: the same whoever makes it, with something to learn, trouble, and canaries in what is personal."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

from dataops.bench.making import Data, PartMade, load_data, make_data, make_part, read_parts, rows_digest
from dataops.bench.payments import CATEGORIES, NO_CATEGORY, Made, payments
from dataops.bench.people import BIRTH_YEARS, BIRTHDAY_PATTERN, CANARY_PATTERN, customers
from dataops.bench.sizes import CUSTOMERS, NEW, PAST, Part, Size, size_of
from dataops.errors import InvalidInput

SIZE = size_of(0.005, 7)
PERSONAL = {"customer_id", "full_name", "email", "birth_date", "card_number"}


@pytest.fixture(scope="module")
def past() -> list[Made]:
    return [payments(part, SIZE) for part in SIZE.parts() if part.table == PAST]


@pytest.fixture(scope="module")
def rows(past: list[Made]) -> pa.Table:
    return pa.Table.from_batches([made.rows for made in past])


def test_parts_hold_each_row_once_and_none_is_large() -> None:
    for scale in (0.001, 0.05, 1, 10):
        size = size_of(scale, 0)
        for table, rows in size.rows.items():
            parts = [part for part in size.parts() if part.table == table]
            assert [part.first_row for part in parts] == [0, *np.cumsum([part.rows for part in parts])[:-1]]
            assert sum(part.rows for part in parts) == rows
            assert max(part.rows for part in parts) <= 250_000
    assert size_of(1, 0).rows == {CUSTOMERS: 500_000, PAST: 6_000_000, NEW: 4_000_000}


@pytest.mark.parametrize(("scale", "seed"), [(0, 0), (-1, 0), (float("nan"), 0), (2000, 0), (1, -1), (1, 2**32)])
def test_a_scale_or_seed_out_of_range_is_refused(scale: float, seed: int) -> None:
    with pytest.raises(InvalidInput, match=r"a (scale|seed) is a"):
        size_of(scale, seed)


def made_by(workers: int, folder: Path) -> Data:
    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, processes=False, dashboard_address=":0")
    with cluster, Client(cluster, set_as_default=False) as client:
        data, _ = make_data(client, str(folder), SIZE, folder / "parts.jsonl", landed=lambda _: None)
        assert load_data(client, str(folder), [part.path for part in data.parts], landed=lambda _: None)[0] == sum(
            SIZE.rows.values()
        )
    return data


def test_one_two_and_four_workers_make_the_same_bytes(tmp_path: Path) -> None:
    folders = {workers: tmp_path / str(workers) for workers in (1, 2, 4)}
    for folder in folders.values():
        folder.mkdir()
    data = {workers: made_by(workers, folder) for workers, folder in folders.items()}
    assert len({one.digest for one in data.values()}) == 1
    bytes_of = {
        workers: {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.parquet")}
        for workers, folder in folders.items()
    }
    assert bytes_of[1] == bytes_of[2] == bytes_of[4]
    assert len(bytes_of[1]) == len(SIZE.parts())


def test_another_seed_and_another_value_are_another_digest(past: list[Made]) -> None:
    part = next(part for part in SIZE.parts() if part.table == PAST)
    other = payments(part, Size(scale=SIZE.scale, seed=8)).rows
    mine = past[0].rows
    assert rows_digest(payments(part, SIZE).rows) == rows_digest(mine) != rows_digest(other)
    unknown = mine.set_column(4, "paid_at", pa.nulls(mine.num_rows, pa.timestamp("us")))
    flipped = mine.set_column(11, "fraud", pc.invert(mine["fraud"]))
    assert len({rows_digest(one) for one in (mine, flipped)}) == 2
    with pytest.raises(KeyError):  # a type whose nulls nobody thought of isn't hashed by chance
        rows_digest(unknown)


def test_what_was_cut_short_goes_on_with_the_parts_that_are_missing(tmp_path: Path) -> None:
    first, second, third, *_ = SIZE.parts()
    journal = tmp_path / "parts.jsonl"
    kept = make_part(str(tmp_path), first, SIZE)
    (tmp_path / second.path).write_bytes(b"half a file")
    line = {name: getattr(kept, name) for name in kept.__dataclass_fields__}
    lost = {**line, "path": third.path}  # its file is gone
    journal.write_text(json.dumps(lost) + "\n" + json.dumps(line) + '\n{"path": "customers/part-00001.par')
    before = (tmp_path / first.path).stat().st_mtime_ns
    data = made_by(2, tmp_path)
    assert (tmp_path / first.path).stat().st_mtime_ns == before
    assert pq.read_metadata(tmp_path / second.path).num_rows == second.rows
    assert set(read_parts(journal)) == {part.path for part in SIZE.parts()}
    assert pq.read_metadata(tmp_path / third.path).num_rows == third.rows
    assert data.rows() == sum(SIZE.rows.values())


def test_what_is_personal_holds_a_canary_and_nothing_else_does(rows: pa.Table) -> None:
    people = pa.Table.from_batches([customers(np.arange(5_000), 7)])
    for table in (people, rows):
        for name in table.schema.names:
            texts = table[name].cast(pa.string()).to_pylist() if name != "birth_date" else []
            found = {bool(re.search(CANARY_PATTERN, text)) for text in texts if text is not None}
            assert found <= {name in PERSONAL}, name
    assert pc.min(pc.day(people["birth_date"])).as_py() > 1  # so that no birthday looks like what its mask leaves
    assert all(re.fullmatch(BIRTHDAY_PATTERN, str(day)) for day in people["birth_date"].to_pylist())
    years = pc.min_max(pc.year(people["birth_date"])).as_py()
    assert (years["min"], years["max"]) == BIRTH_YEARS
    assert pc.min(pc.year(rows["paid_at"])).as_py() > BIRTH_YEARS[1]  # so that no payment looks like a birthday


def test_a_payment_knows_its_customer_as_the_customers_do(rows: pa.Table) -> None:
    people = pa.Table.from_batches([customers(np.arange(SIZE.rows[CUSTOMERS]), SIZE.seed)])
    cards = dict(zip(people["customer_id"].to_pylist(), people["card_number"].to_pylist(), strict=True))
    paid = zip(rows["customer_id"].to_pylist(), rows["card_number"].to_pylist(), strict=True)
    assert all(cards[customer] == card for customer, card in paid)


def test_the_generator_knows_which_rows_break_the_contract(past: list[Made], rows: pa.Table) -> None:
    frame = rows.to_pandas()
    wrong = (frame["amount"] <= 0) | (frame["category"] == NO_CATEGORY) | (frame["distance_km"] < 0)
    tests = frame["channel"] == "test"
    assert (np.concatenate([made.tests for made in past]) == tests).all()
    assert (np.concatenate([made.broken for made in past]) == (wrong & ~tests)).all()
    assert 0.002 < (wrong & ~tests).mean() < 0.01
    assert set(frame["category"]) == {*CATEGORIES, NO_CATEGORY}


def test_few_customers_pay_most_weekends_differ_and_values_are_missing(past: list[Made], rows: pa.Table) -> None:
    frame = rows.to_pandas()
    shares = frame["customer_id"].value_counts(normalize=True)
    assert shares.iloc[: SIZE.rows[CUSTOMERS] // 100].sum() > 0.1
    by_weekday = frame["paid_at"].dt.day_of_week.value_counts()
    assert by_weekday[[5, 6]].mean() < 0.9 * by_weekday[[0, 1, 2, 3, 4]].mean()
    assert 0.03 < frame["distance_km"].isna().mean() < 0.05
    assert all(made.rows["paid_at"].to_pandas().is_monotonic_increasing for made in past)
    assert frame["paid_at"].between("2024-01-01", "2025-07-01").all()
    assert 0.02 < frame["fraud"].mean() < 0.15


def test_counts_of_a_part_are_those_of_its_rows(tmp_path: Path) -> None:
    part = next(part for part in SIZE.parts() if part.table == NEW)
    told = make_part(str(tmp_path), part, SIZE)
    made = payments(part, SIZE)
    good = made.rows.to_pandas()[~(made.tests | made.broken)]
    assert (told.rows, told.tests, told.broken) == (part.rows, made.tests.sum(), made.broken.sum())
    assert told.good_ids == good["payment_id"].sum()
    assert pq.read_table(tmp_path / part.path).equals(pa.Table.from_batches([made.rows]))


def test_parts_are_counted_by_table() -> None:
    parts = tuple(PartMade(path=part.path, rows=part.rows, size_bytes=1, digest="sha256:0") for part in SIZE.parts())
    data = Data(parts=parts)
    assert {table: data.rows(table) for table in SIZE.rows} == SIZE.rows
    assert data.rows(PAST, NEW) == SIZE.rows[PAST] + SIZE.rows[NEW]
    assert data.size_bytes == len(parts)
    assert Part(table=PAST, number=3, of=9, first_row=0, rows=1).path == "payments_past/part-00003.parquet"
