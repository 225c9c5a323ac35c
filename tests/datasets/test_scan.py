"""The governed read: what comes out, what is counted, and what never leaves."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets import decode
from dataops.datasets.commit import parquet_bytes
from dataops.datasets.receipt import Receipt, merge_receipts
from dataops.datasets.scan import read_unit
from dataops.errors import AccessDenied, ContractViolation, DataopsError, Integrity, Storage
from dataops.governance.contract import Action, Column
from dataops.governance.keys import create_key
from dataops.governance.masking import Mask, MaskKind
from dataops.records import now_utc
from tests.datasets.examples import COLUMNS, TABLE, make_contract, make_rule, make_source, units_of, write

GRANTED = ("person", "age", "trade")


class TestRows:
    def test_of_a_file_come_as_they_are_where_nothing_is_masked(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet")
        read = read_unit(make_source(tmp_path), units_of(tmp_path)[0], GRANTED)
        assert read.table.equals(TABLE.select(GRANTED))
        assert read.receipt == Receipt(unit="u000000", read=4, passed=4)
        assert read.quarantined is None

    def test_that_break_a_rule_are_set_aside_with_their_place(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet")
        source = make_source(tmp_path, contract=make_contract(rules=[make_rule()]))
        read = read_unit(source, units_of(tmp_path)[0], ["person"])
        assert read.table.column("person").to_pylist() == ["ann", "cid", "dan"]
        assert read.places.in_file().tolist() == [0, 2, 3]
        assert read.quarantined is not None
        (row,) = read.quarantined.to_pylist()
        assert (row["quarantine_rule"], row["quarantine_row"], row["age"]) == ("age-limit", 1, 150)
        assert set(row) == {
            "quarantine_rule", "quarantine_reason", "quarantine_contract_version", "quarantine_contract",
            "quarantine_fragment", "quarantine_row_group", "quarantine_row", "quarantine_key", "age",
        }  # fmt: skip
        assert read.receipt.broken == {"age-limit": 1}

    @pytest.mark.parametrize(
        ("action", "expected"),
        [
            (Action.DROP, {"passed": 3, "dropped": 1}),
            (Action.WARN, {"passed": 4}),
            (Action.QUARANTINE, {"passed": 3, "quarantined": 1}),
            (Action.FAIL, {"passed": 3, "quarantined": 1}),
        ],
    )
    def test_are_counted_by_what_the_rule_does_with_them(
        self, tmp_path: Path, action: Action, expected: dict[str, int]
    ) -> None:
        write(tmp_path / "a.parquet")
        source = make_source(tmp_path, contract=make_contract(rules=[make_rule(action=action)]))
        read = read_unit(source, units_of(tmp_path)[0], ["age"])
        assert read.receipt == Receipt(unit="u000000", read=4, broken={"age-limit": 1}, **expected)
        assert read.table.num_rows == read.receipt.passed == len(read.places)

    def test_are_filtered_by_columns_that_the_reader_may_not_see_before_rules_look(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet")
        source = make_source(
            tmp_path, contract=make_contract(rules=[make_rule()]), filters=["secret <> 'CANARY-2'", "age > 17"]
        )
        read = read_unit(source, units_of(tmp_path)[0], ["person"])
        assert read.table.column("person").to_pylist() == ["ann", "dan"]
        assert read.table.column_names == ["person"]
        assert read.receipt == Receipt(unit="u000000", read=4, passed=2, filtered_by_policy=2)

    def test_may_be_none_after_a_filter(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet")
        source = make_source(
            tmp_path,
            contract=make_contract(rules=[make_rule()]),
            filters=["age > 999"],
            columns={"age": Mask(kind=MaskKind.GENERALISE, width=5.0)},
        )
        read = read_unit(source, units_of(tmp_path)[0], ["age"])
        assert (read.table.num_rows, len(read.places), read.quarantined) == (0, 0, None)
        assert read.receipt == Receipt(unit="u000000", read=4, passed=0, filtered_by_policy=4)

    def test_may_all_be_quarantined(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet")
        rule = make_rule(arguments={"value": 1})
        read = read_unit(make_source(tmp_path, contract=make_contract(rules=[rule])), units_of(tmp_path)[0], ["person"])
        assert read.table.schema == pa.schema({"person": pa.string()})
        assert read.receipt == Receipt(unit="u000000", read=4, passed=0, quarantined=4, broken={"age-limit": 4})
        assert read.quarantined is not None
        assert read.quarantined.num_rows == 4

    def test_may_be_a_single_one(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet", TABLE.slice(3, 1))
        read = read_unit(make_source(tmp_path), units_of(tmp_path)[0], GRANTED)
        assert read.table.to_pylist() == TABLE.select(GRANTED).slice(3, 1).to_pylist()

    def test_keep_their_place_in_the_file_across_units(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet", row_group_size=1)
        source = make_source(tmp_path, contract=make_contract(rules=[make_rule()]))
        units = units_of(tmp_path, target_bytes=1)
        assert len(units) == 4
        reads = [read_unit(source, unit, ["age"]) for unit in units]
        assert np.concatenate([read.places.in_file() for read in reads]).tolist() == [0, 2, 3]
        aside = [read.quarantined.column("quarantine_row").to_pylist() for read in reads if read.quarantined]
        assert aside == [[1]]

    @given(ages=st.lists(st.one_of(st.none(), st.integers(-10, 200)), min_size=1, max_size=30), size=st.integers(1, 7))
    def test_add_up_alike_however_they_are_cut_into_units(
        self, tmp_path_factory: pytest.TempPathFactory, ages: list[int | None], size: int
    ) -> None:
        folder = tmp_path_factory.mktemp("cut")
        n = len(ages)
        table = pa.table(
            {
                "person": [f"p{i}" for i in range(n)],
                "age": pa.array(ages, pa.int32()),
                "trade": ["smith"] * n,
                "secret": ["x"] * n,
            }
        )
        write(folder / "a.parquet", table, row_group_size=size)
        rules = [make_rule(), make_rule(id="drop", arguments={"value": 100}, action=Action.DROP)]
        source = make_source(folder, contract=make_contract(rules=rules), filters=["age >= 0"])
        whole, cut = units_of(folder), units_of(folder, target_bytes=1)
        reads = [[read_unit(source, unit, GRANTED) for unit in units] for units in (whole, cut)]
        counts = [merge_receipts([read.receipt for read in some]) for some in reads]
        assert counts[0] == counts[1]
        assert counts[0]["read"] == n
        tables = [pa.concat_tables([read.table for read in some]).combine_chunks() for some in reads]
        assert tables[0].equals(tables[1])


class TestDeniedColumn:
    def test_is_refused_before_anything_is_decoded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "a.parquet")
        decoded: list[Any] = []
        monkeypatch.setattr(decode.pq, "ParquetFile", lambda *_: decoded.append(1))
        with pytest.raises(AccessDenied, match="secret"):
            read_unit(make_source(tmp_path), units_of(tmp_path)[0], ["person", "secret"])
        assert decoded == []

    def test_is_not_among_the_columns_that_are_decoded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "a.parquet")
        asked: list[list[str]] = []

        class Watched:
            def __init__(self, reader: Any) -> None:
                self._reader = reader

            def __getattr__(self, name: str) -> Any:
                return getattr(self._reader, name)

            def read_row_groups(self, *args: Any, column_indices: list[int], **options: Any) -> pa.Table:
                asked.append([TABLE.column_names[index] for index in column_indices])
                return self._reader.read_row_groups(*args, column_indices=column_indices, **options)

        def opened(*args: Any, **options: Any) -> pq.ParquetFile:
            file = pq.ParquetFile(*args, **options)
            file.reader = Watched(file.reader)
            return file

        monkeypatch.setattr(decode, "pq", SimpleNamespace(ParquetFile=opened))
        source = make_source(tmp_path, contract=make_contract(rules=[make_rule()]))
        read_unit(source, units_of(tmp_path)[0], ["trade"])
        assert asked == [["age", "trade"]]

    def test_with_a_dotted_name_is_not_decoded_with_its_namesake(self, tmp_path: Path) -> None:
        columns = [Column(name="pay", type=pa.int64()), Column(name="pay.secret", type=pa.int64())]
        write(tmp_path / "a.parquet", pa.table({"pay.secret": [7], "pay": [1]}))
        source = make_source(tmp_path, contract=make_contract(columns=columns), columns={"pay": None})
        assert read_unit(source, units_of(tmp_path)[0], ["pay"]).table.to_pylist() == [{"pay": 1}]


class TestStoredForm:
    def test_dictionaries_are_decoded_so_that_no_value_of_another_row_comes_along(self, tmp_path: Path) -> None:
        stored = TABLE.set_column(0, "person", TABLE.column("person").dictionary_encode())
        write(tmp_path / "a.parquet", stored)
        source = make_source(tmp_path, filters=["age = 31"])
        table = read_unit(source, units_of(tmp_path)[0], ["person"]).table
        assert table.schema.field("person").type == pa.string()
        assert b"bob" not in _buffers(table)
        assert b"ann" in _buffers(table)

    @pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int8(), pa.large_string()), pa.string_view()])
    def test_every_kind_of_text_is_text(self, tmp_path: Path, kind: pa.DataType) -> None:
        write(tmp_path / "a.parquet", TABLE.set_column(2, "trade", TABLE.column("trade").cast(kind)))
        table = read_unit(make_source(tmp_path), units_of(tmp_path)[0], ["trade"]).table
        assert table.equals(TABLE.select(["trade"]))

    def test_metadata_of_schema_and_pandas_stays_behind(self, tmp_path: Path) -> None:
        fields = [field.with_metadata({"note": "CANARY-field"}) for field in TABLE.schema]
        schema = pa.schema(fields, metadata={"pandas": '{"index_columns": ["CANARY"]}', "x": "CANARY"})
        write(tmp_path / "a.parquet", TABLE.cast(schema))
        read = read_unit(make_source(tmp_path), units_of(tmp_path)[0], GRANTED)
        assert read.table.schema.metadata is None
        assert all(field.metadata is None for field in read.table.schema)

    def test_columns_are_found_by_name_in_whatever_order_each_file_has_them(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet")
        write(tmp_path / "b.parquet", TABLE.select(["secret", "trade", "person", "age"]))
        tables = [read_unit(make_source(tmp_path), unit, GRANTED).table for unit in units_of(tmp_path)]
        assert tables[0].equals(tables[1])

    def test_a_masked_column_is_rewritten(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet")
        keys = tmp_path / "keys"
        key_id = create_key(keys, at=now_utc(), secret=b"k" * 32)
        masks = {
            "person": Mask(kind=MaskKind.PSEUDONYM, domain="person", key_id=key_id, purpose="train"),
            "age": Mask(kind=MaskKind.GENERALISE, width=10.0),
            "secret": Mask(kind=MaskKind.REDACT),
        }
        source = make_source(tmp_path, columns=masks, keys=keys)
        table = read_unit(source, units_of(tmp_path)[0], ["person", "age", "secret"]).table
        assert table.column("age").to_pylist() == [30, 150, 10, 40]
        assert len(set(table.column("person").to_pylist())) == 4
        bytes_held = _buffers(table)
        assert not any(value in bytes_held for value in (b"ann", b"bob", b"CANARY"))

    def test_a_wider_type_than_the_contract_has_is_refused_also_where_the_values_would_fit(
        self, tmp_path: Path
    ) -> None:
        write(tmp_path / "a.parquet", TABLE.set_column(1, "age", pa.array([1, 2, 3, 4], pa.int64())))
        with pytest.raises(ContractViolation, match=r"'age' of a\.parquet is int64"):
            read_unit(make_source(tmp_path), units_of(tmp_path)[0], ["age"])

    def test_text_where_numbers_are_expected_is_refused_without_a_value(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet", TABLE.set_column(1, "age", pa.array(["31", "CANARY", "3", "4"])))
        with pytest.raises(ContractViolation) as caught:
            read_unit(make_source(tmp_path), units_of(tmp_path)[0], ["age"])
        assert "CANARY" not in str(caught.value)

    def test_a_lacking_column_is_named(self, tmp_path: Path) -> None:
        write(tmp_path / "a.parquet", TABLE.drop_columns(["trade"]))
        with pytest.raises(ContractViolation, match=r"a\.parquet lacks the column 'trade'"):
            read_unit(make_source(tmp_path), units_of(tmp_path)[0], ["trade"])


class TestPartitions:
    COLUMNS = (*COLUMNS[:2], Column(name="year of", type=pa.int32(), partitioned=True))

    def _read(self, folder: Path, names: list[str], **options: Any) -> list[dict[str, Any]]:
        source = make_source(folder, contract=make_contract(columns=self.COLUMNS), **options)
        return [row for unit in units_of(folder) for row in read_unit(source, unit, names).table.to_pylist()]

    def test_are_columns_typed_by_the_contract(self, tmp_path: Path) -> None:
        write(tmp_path / "year%20of=1994" / "ü b.parquet", TABLE.slice(0, 1))
        write(tmp_path / "year%20of=__HIVE_DEFAULT_PARTITION__" / "a.parquet", TABLE.slice(1, 1))
        rows = self._read(tmp_path, ["person", "year of"])
        assert rows == [{"person": "ann", "year of": 1994}, {"person": "bob", "year of": None}]

    def test_can_be_filtered_by(self, tmp_path: Path) -> None:
        for year in (1994, 1995):
            write(tmp_path / f"year of={year}" / "a.parquet", TABLE.slice(year - 1994, 1))
        assert self._read(tmp_path, ["person"], filters=['"year of" = 1995']) == [{"person": "bob"}]

    def test_that_are_not_of_their_type_are_refused_without_the_value(self, tmp_path: Path) -> None:
        write(tmp_path / "year of=CANARY" / "a.parquet", TABLE.slice(0, 1))
        with pytest.raises(ContractViolation) as caught:
            self._read(tmp_path, ["year of"])
        assert "no int32" in str(caught.value)


class TestFileThatIsNotThePlannedOne:
    @pytest.mark.parametrize("mtime", [0, 1_700_000_000_000_000_000])
    def test_with_another_time_is_refused_also_where_the_planned_time_was_zero(
        self, tmp_path: Path, mtime: int
    ) -> None:
        path = write(tmp_path / "a.parquet")
        os.utime(path, ns=(mtime, mtime))
        (unit,) = units_of(tmp_path)
        os.utime(path, ns=(5, 5))
        with pytest.raises(Integrity, match="changed or went away"):
            read_unit(make_source(tmp_path), unit, ["age"])

    def test_replaced_with_its_size_and_time_kept_is_refused_by_its_footer(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.parquet", compression="none", use_dictionary=False)
        (unit,) = units_of(tmp_path)
        before = path.stat()
        other = TABLE.set_column(1, "age", pa.array([31, 151, 17, 44], pa.int32()))
        write(path, other, compression="none", use_dictionary=False)
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
        with pytest.raises(Integrity, match="changed or went away"):
            read_unit(make_source(tmp_path), unit, ["age"])

    def test_that_is_gone_is_named(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.parquet")
        (unit,) = units_of(tmp_path)
        path.unlink()
        with pytest.raises(Integrity, match=r"a\.parquet changed or went away"):
            read_unit(make_source(tmp_path), unit, ["age"])

    def test_with_broken_pages_is_named_without_a_value(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.parquet", compression="zstd")
        before = path.stat()
        (unit,) = units_of(tmp_path)
        data = bytearray(path.read_bytes())
        data[8:200] = b"CANARY!!" * 24
        path.write_bytes(data)
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
        with pytest.raises(Integrity) as caught:
            read_unit(make_source(tmp_path), unit, GRANTED)
        assert "a.parquet can't be decoded" in str(caught.value)
        assert "CANARY" not in str(caught.value)

    @pytest.mark.parametrize("bit", [0x01, 0x80])
    def test_with_a_flipped_bit_is_never_taken_for_other_values(self, tmp_path: Path, bit: int) -> None:
        whole = parquet_bytes(TABLE)
        (tmp_path / "a.parquet").write_bytes(whole)
        (unit,) = units_of(tmp_path)
        ours = replace(unit, fragment=replace(unit.fragment, modified_ns=None))  # a part is known by its size alone
        damaged = 0
        for place in range(4, len(whole) - 200, 3):
            data = bytearray(whole)
            data[place] ^= bit
            (tmp_path / "a.parquet").write_bytes(data)
            try:
                assert read_unit(make_source(tmp_path), ours, GRANTED).table.equals(TABLE.select(GRANTED))
            except (Integrity, ContractViolation):
                damaged += 1
        assert damaged > 50

    @pytest.mark.parametrize(("failure", "family"), [(OSError(5, "EIO"), Storage), (OSError("corrupt"), Integrity)])
    def test_a_failing_disk_is_told_from_a_broken_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: OSError, family: type[DataopsError]
    ) -> None:
        write(tmp_path / "a.parquet")
        (unit,) = units_of(tmp_path)

        def fail(*_: object, **__: object) -> None:
            raise failure

        monkeypatch.setattr(decode.pq, "ParquetFile", fail)
        with pytest.raises(family, match=r"a\.parquet"):
            read_unit(make_source(tmp_path), unit, ["age"])


class TestReceipt:
    def test_that_does_not_add_up_can_not_be_made(self) -> None:
        with pytest.raises(Integrity, match="5 rows were read but 4"):
            Receipt(unit="u000000", read=5, passed=4)

    def test_that_was_edited_on_disk_does_not_load(self) -> None:
        record = Receipt(unit="u000000", read=5, passed=4, dropped=1).record()
        with pytest.raises(Integrity):
            Receipt.from_record(record | {"passed": 5})

    @given(st.lists(st.tuples(*[st.integers(0, 99)] * 5), max_size=5))
    def test_merged_counts_are_sums(self, rows: list[tuple[int, ...]]) -> None:
        receipts = [
            Receipt(
                unit=f"u{number}",
                read=sum(counts),
                passed=counts[0],
                filtered_by_policy=counts[1],
                filtered_by_job=counts[2],
                dropped=counts[3],
                quarantined=counts[4],
                broken={"r": counts[4]} if counts[4] else {},
            )
            for number, counts in enumerate(rows)
        ]
        merged = merge_receipts([Receipt.from_record(receipt.record()) for receipt in receipts])
        assert merged["read"] == sum(sum(counts) for counts in rows)
        assert merged.get("broken:r", 0) == merged["quarantined"]
        parts = ("passed", "filtered_by_policy", "filtered_by_job", "dropped", "quarantined")
        assert merged["read"] == sum(merged[name] for name in parts)


def test_a_source_holds_no_key_when_it_travels(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    create_key(keys, at=now_utc(), secret=b"TOP-SECRET-TOP-SECRET-TOP-SECRET-")
    assert b"TOP-SECRET" not in pickle.dumps(make_source(tmp_path, keys=keys))


def _buffers(table: pa.Table) -> bytes:
    arrays = [chunk for column in table.columns for chunk in column.chunks]
    return b"".join(bytes(buffer) for array in arrays for buffer in array.buffers() if buffer is not None)
