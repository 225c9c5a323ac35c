"""Quarantine: what a row that is set aside says, and that a replay reads exactly the rows that were."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.commit import UnitRecord, commit_unit
from dataops.datasets.quarantine import (
    PLACE,
    QUARANTINE_FOLDER,
    aside_columns,
    key_mark,
    key_rule,
    reason_of,
    rows_by_rule,
)
from dataops.datasets.reading import Source
from dataops.datasets.replayed import TakenRows, take_rows, with_carried
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.datasets.source import read_fragments
from dataops.datasets.units import Unit, plan_from_record, plan_record
from dataops.errors import Conflict, Integrity
from dataops.governance.contract import Contract, Rule, RuleKind
from dataops.storage.files import open_files
from dataops.storage.objects import open_store
from tests.datasets.examples import AGE_LIMIT, COLUMNS, make_contract, make_rule, make_source, units_of, write

READ = ("person", "age")
KEY = Rule(id="primary-key", kind=RuleKind.UNIQUE, arguments={"columns": ["person"]})


def _people(ages: list[int | None]) -> pa.Table:
    return pa.table(
        {
            "person": [f"person-{number}" for number in range(len(ages))],
            "age": pa.array(ages, pa.int32()),
            "trade": ["smith"] * len(ages),
            "secret": [f"CANARY-{number}" for number in range(len(ages))],
        }
    )


def _limit(value: int | None) -> Contract:
    return make_contract(rules=[] if value is None else [make_rule(arguments={"value": value})])


def _keyed(*key: str) -> Contract:
    """A contract in which `key` names a person; its rule has the same id for every key."""
    rule = Rule(id="row.primary_key", kind=RuleKind.UNIQUE, arguments={"columns": list(key)})
    return replace(make_contract(rules=[AGE_LIMIT, rule]), primary_key=key)


def _read_keyed(source: Source, unit: Unit) -> GovernedRead:
    """`read_unit`, of a dataset in which a survey found no key twice."""
    survey = Mock(repeats=Mock(return_value=np.empty(0, np.int64)))
    with patch("dataops.datasets.scan.require_survey", return_value=survey):
        return read_unit(source, unit, READ)


def _commit(folder: Path, read: GovernedRead, run: str) -> UnitRecord:
    return commit_unit(
        open_store(str(folder)),
        open_files(str(folder)),
        dataset="made",
        run=run,
        input_dataset="people",
        table=read.table,
        quarantined=read.quarantined,
        receipt=read.receipt,
    )


def _replay(folder: Path, source: Source, unit: Unit, **changes: Any) -> GovernedRead:
    return read_unit(replace(source, quarantine=f"{folder}/{QUARANTINE_FOLDER}"), replace(unit, **changes), READ)


class TestRow:
    def test_says_why_and_where_and_shows_what_rules_look_at(self, tmp_path: Path) -> None:
        path = write(tmp_path / "data/part.parquet", _people([1, 2, 150, 4, 5, 160]), row_group_size=2)
        contract = replace(_limit(120), version="1.4.0")
        (unit,) = units_of(path.parent)
        read = read_unit(make_source(path.parent, contract=contract), unit, READ)
        assert read.quarantined is not None
        assert read.quarantined.schema.names == [*PLACE.names, "age"]
        assert read.quarantined.schema.types[: len(PLACE)] == PLACE.types
        first, second = read.quarantined.to_pylist()
        assert first == {
            "quarantine_rule": "age-limit",
            "quarantine_reason": "age <= 120",
            "quarantine_contract_version": "1.4.0",
            "quarantine_contract": contract.digest,
            "quarantine_fragment": "part.parquet",
            "quarantine_row_group": 1,
            "quarantine_row": 2,
            "quarantine_key": None,
            "age": 150,
        }
        assert (second["quarantine_row_group"], second["quarantine_row"]) == (2, 5)
        assert rows_by_rule(read.quarantined) == {"age-limit": 2}

    def test_holds_the_primary_key_by_which_it_is_found_again(self) -> None:
        contract = replace(make_contract(rules=[AGE_LIMIT, KEY]), primary_key=("person",))
        assert aside_columns(contract) == {"person", "age"}
        assert key_rule(contract) == KEY
        assert key_rule(replace(contract, rules=(AGE_LIMIT,))) is None

    def test_names_its_key_by_the_rule_and_by_the_columns_and_where_they_lie(self) -> None:
        contracts = [_keyed("person"), _keyed("person", "age"), _keyed("age"), _keyed("age", "person"), make_contract()]
        moved = tuple(replace(column, stored=("old", column.name)) for column in contracts[0].columns)
        marks = [key_mark(one) for one in (*contracts, replace(contracts[0], columns=moved))]
        assert marks[1] == marks[3]  # in another order it is the same key
        assert marks[4] is None
        assert len(set(marks)) == 5
        assert all(mark.startswith("row.primary_key sha256:") for mark in marks if mark)

    def test_read_again_by_its_place_keeps_its_key_only_if_that_is_still_the_contracts(self, tmp_path: Path) -> None:
        path = write(tmp_path / "data/part.parquet", _people([150, 1]))
        (unit,) = units_of(path.parent)
        record = _commit(
            tmp_path, _read_keyed(make_source(path.parent, contract=_keyed("person", "age")), unit), "run-1"
        )
        source = make_source(path.parent, contract=_keyed("person"))
        unit = replace(unit, aside=record.quarantine)
        for today, mark in ((_keyed("person", "age"), key_mark(_keyed("person", "age"))), (_keyed("person"), None)):
            source = replace(source, contract=today, quarantine=f"{tmp_path}/{QUARANTINE_FOLDER}")
            again = _read_keyed(source, unit).quarantined
            assert again is not None
            assert again.column("quarantine_key").to_pylist() == [mark]

    def test_gives_the_contracts_words_as_its_reason_and_never_a_value_of_its_own(self) -> None:
        assert reason_of(make_rule(description="nobody gets that old")) == "nobody gets that old"
        sql = Rule(id="sane", kind=RuleKind.EXPRESSION, arguments={"sql": "age < 120"})
        assert reason_of(sql) == "age < 120"
        long = Rule(id="known", kind=RuleKind.VALID_VALUES, column="age", arguments={"values": list(range(1000))})
        assert reason_of(long) == "age is one of 1,000 values"


class TestReplayedUnit:
    @given(
        ages=st.lists(st.one_of(st.none(), st.integers(0, 200)), min_size=1, max_size=40),
        group=st.integers(1, 9),
        target=st.sampled_from([1, 200, 1 << 30]),
        limit=st.integers(90, 210),
    )
    def test_reads_exactly_the_rows_that_were_set_aside_and_what_became_of_them_adds_up(
        self, ages: list[int | None], group: int, target: int, limit: int
    ) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            path = write(folder / "data/part.parquet", _people(ages), row_group_size=group)
            strict, lax = (make_source(path.parent, contract=_limit(value)) for value in (90, limit))
            before, now, left = [], [], []
            for unit in units_of(path.parent, target):
                record = _commit(folder, read_unit(strict, unit, READ), "run-1")
                before += [] if record.part is None else [record.part]
                if record.quarantine is None:
                    continue
                again = _replay(folder, lax, unit, aside=record.quarantine)
                assert again.receipt.read == record.receipt.quarantined
                now += again.table.to_pylist()
                left += [] if again.quarantined is None else again.quarantined.column("age").to_pylist()
            assert [row["age"] for row in now] == [age for age in ages if age is not None and 90 < age <= limit]
            assert left == [age for age in ages if age is not None and age > limit]
            passed = [row for part in before for row in pq.read_table(folder / "datasets/made" / part.path).to_pylist()]
            assert sorted(row["person"] for row in passed + now) == sorted(
                f"person-{number}" for number, age in enumerate(ages) if age is None or age <= max(90, limit)
            )

    def test_takes_part_in_filters_of_today(self, tmp_path: Path) -> None:
        path = write(tmp_path / "data/part.parquet", _people([150, 1, 180]))
        (unit,) = units_of(path.parent)
        record = _commit(tmp_path, read_unit(make_source(path.parent, contract=_limit(120)), unit, READ), "run-1")
        today = make_source(path.parent, contract=_limit(None), filters=["age < 170"])
        again = _replay(tmp_path, today, unit, aside=record.quarantine)
        assert again.table.column("age").to_pylist() == [150]
        assert (again.receipt.read, again.receipt.filtered_by_policy) == (2, 1)
        assert again.places.in_file().tolist() == [0]

    def test_comes_back_from_its_plan(self, tmp_path: Path) -> None:
        path = write(tmp_path / "data/part.parquet", _people([150, 1]))
        (unit,) = units_of(path.parent)
        record = _commit(tmp_path, read_unit(make_source(path.parent, contract=_limit(120)), unit, READ), "run-1")
        units = (replace(unit, aside=record.quarantine, aside_key=("person",)), replace(unit, id="u000001"))
        assert plan_from_record(plan_record(units)) == units
        assert [one.rows for one in units] == [1, 2]

    @pytest.mark.parametrize("fault", ["altered", "of another file"])
    def test_of_a_quarantine_file_that_is_not_the_recorded_one_reads_nothing(self, tmp_path: Path, fault: str) -> None:
        path = write(tmp_path / "data/part.parquet", _people([150, 1, 150, 1]))
        (unit,) = units_of(path.parent)
        source = make_source(path.parent, contract=_limit(120))
        record = _commit(tmp_path, read_unit(source, unit, READ), "run-1")
        assert record.quarantine is not None
        aside = tmp_path / QUARANTINE_FOLDER / record.quarantine.path
        if fault == "altered":
            aside.write_bytes(aside.read_bytes()[:-1] + b"2")
            with pytest.raises(Integrity, match="not the recorded ones"):
                _replay(tmp_path, source, unit, aside=record.quarantine)
        else:
            write(tmp_path / "data/part.parquet", _people([150]))
            (shorter,) = units_of(path.parent)
            with pytest.raises(Integrity, match=r"names rows that part\.parquet doesn't have there"):
                _replay(tmp_path, source, shorter, aside=record.quarantine)


class TestFoundByKey:
    """A file that changed: rows are found by their key alone."""

    contract = replace(make_contract(rules=[AGE_LIMIT, KEY]), primary_key=("person",))

    def _again(
        self, folder: Path, table: pa.Table, *, aside: pa.Table, key: str | None = key_mark(contract)
    ) -> tuple[TakenRows, pa.Table]:
        """What a unit over `table` gives whose rows `aside` lie in quarantine, and what stays there."""
        path = write(folder / "data/part.parquet", table, row_group_size=2)
        (file,) = read_fragments(open_files(str(path.parent)))
        n_rows = aside.num_rows
        place = {
            field.name: pa.array([{"quarantine_rule": "age-limit", "quarantine_key": key}.get(field.name)] * n_rows)
            for field in PLACE
        }
        place = {name: values.cast(PLACE.field(name).type) for name, values in place.items()}
        asides = pa.table({**place, **{name: aside.column(name) for name in ("person", "age")}})
        lies = write(folder / "quarantine/people/run-1/part.parquet", asides)
        (fragment,) = read_fragments(open_files(str(lies.parent)))
        digest = open_files(str(lies.parent)).sha256("part.parquet")
        named = replace(fragment, path="people/run-1/part.parquet", digest=digest, modified_ns=None)
        key_type = table.schema.field("person").type if table.num_rows else pa.string()
        columns = tuple(replace(one, type=key_type if one.name == "person" else one.type) for one in COLUMNS)
        source = make_source(path.parent, contract=replace(self.contract, columns=columns))
        whole = Unit(id="u000000", fragment=file, start_group=0, stop_group=len(file.row_groups), first_row=0)
        source = replace(source, quarantine=str(folder / "quarantine"))
        taken = take_rows(source, replace(whole, aside=named, aside_key=("person",)), READ)
        assert taken.rows == aside.num_rows
        return taken, with_carried(None, taken.carried, source)

    def test_in_any_order_and_any_row_group(self, tmp_path: Path) -> None:
        before = _people([150, 1, 150, 1, 150])
        mended = _people([30, 1, 31, 1, 150]).take(pa.array([4, 2, 3, 0, 1]))
        taken, stays = self._again(tmp_path, mended, aside=before.take(pa.array([0, 2, 4])))
        assert taken.table.select(["person", "age"]).to_pylist() == [
            {"person": "person-4", "age": 150},
            {"person": "person-2", "age": 31},
            {"person": "person-0", "age": 30},
        ]
        assert taken.places.in_file().tolist() == [0, 1, 3]
        assert stays is None

    def test_a_row_that_is_not_there_exactly_once_stays_as_it_was_without_a_place(self, tmp_path: Path) -> None:
        mended = pa.concat_tables([_people([30, 31]), _people([32])])  # person-0 twice, person-2 gone
        taken, stays = self._again(tmp_path, mended, aside=_people([150, 160, 170]))
        assert taken.table.column("age").to_pylist() == [31]
        kept = stays.select(["quarantine_rule", "person", "age", "quarantine_row"]).to_pylist()
        assert kept == [
            {"quarantine_rule": "age-limit", "person": "person-0", "age": 150, "quarantine_row": None},
            {"quarantine_rule": "age-limit", "person": "person-2", "age": 170, "quarantine_row": None},
        ]

    def test_a_key_that_stands_in_quarantine_twice_or_is_null_names_no_row(self, tmp_path: Path) -> None:
        people = _people([150, 160, 170])
        unclear = people.set_column(0, "person", pa.array(["person-0", "person-0", None]))
        taken, stays = self._again(tmp_path, _people([30]), aside=unclear)
        assert (taken.table.num_rows, stays.num_rows) == (0, 3)

    def test_of_a_file_that_has_no_rows_any_more_all_stay(self, tmp_path: Path) -> None:
        taken, stays = self._again(tmp_path, _people([]), aside=_people([150]))
        assert (taken.table.num_rows, stays.num_rows) == (0, 1)

    @given(data=st.data())
    def test_values_of_another_type_today_are_found_if_they_are_the_same_and_stay_if_not(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        texts = data.draw(
            st.lists(st.sampled_from(["7", "8", "07", "8.5", "CANARY", "", None]), min_size=1, max_size=9)
        )
        people = _people([150] * len(texts)).set_column(0, "person", pa.array(texts, pa.string()))
        mended = _people([30, 31]).set_column(0, "person", pa.array([7, 8], pa.int64()))
        taken, stays = self._again(tmp_path_factory.mktemp("typed"), mended, aside=people)
        found = [number for number in (7, 8) if texts.count(str(number)) == 1]
        assert taken.table.column("person").to_pylist() == found
        assert (0 if stays is None else stays.num_rows) == len(texts) - len(found)

    @pytest.mark.parametrize("key", [None, "another-key", key_mark(replace(contract, primary_key=("person", "age")))])
    def test_rows_that_were_set_aside_under_another_key_are_refused(self, tmp_path: Path, key: str | None) -> None:
        with pytest.raises(Conflict, match="another primary key held, or none"):
            self._again(tmp_path, _people([30]), aside=_people([150]), key=key)
