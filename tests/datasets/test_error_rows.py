"""Error rows: place, reason and key of every row that came to no score, and nothing else of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataops.datasets.commit import UnitRecord, commit_unit, committed_units
from dataops.datasets.error_rows import failed_rows, joined, key_columns, quarantined_rows, rows_by_reason
from dataops.datasets.places import Places
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.errors import AccessDenied, Integrity
from dataops.governance.masking import Mask, MaskKind
from dataops.storage.files import open_files
from dataops.storage.objects import open_store
from tests.datasets.examples import TABLE, make_contract, make_receipt, make_rule, make_source, units_of, write

KEYS = pa.table({"person": ["ann", "bob", "cid", "dan"]})
PLACES = Places(first=10, rows=8).take(np.array([0, 2, 3, 7]))
ASIDE = pa.table(
    {"quarantine_rule": ["age-limit"], "quarantine_row": pa.array([11], pa.int64()), "age": pa.array([150], pa.int32())}
)
FAILED = failed_rows("u000000", KEYS, PLACES, {2: "TypeError", 0: "SIGSEGV"})


def _errors() -> pa.Table:
    errors = joined([quarantined_rows("u000000", pa.table({"person": ["eve"]}), ASIDE), FAILED])
    assert errors is not None
    return errors


class TestRows:
    def test_say_where_they_lie_why_and_by_which_key(self) -> None:
        assert _errors().to_pydict() == {
            "row": [10, 11, 13],
            "unit": ["u000000"] * 3,
            "reason": ["SIGSEGV", "rule:age-limit", "TypeError"],
            "person": ["ann", "eve", "cid"],
        }
        assert rows_by_reason(_errors()) == {"SIGSEGV": 1, "TypeError": 1, "rule:age-limit": 1}

    def test_that_a_replay_carried_over_have_no_key(self) -> None:
        carried = pa.concat_tables([ASIDE, ASIDE.set_column(1, "quarantine_row", pa.array([None], pa.int64()))])
        rows = quarantined_rows("u000000", pa.table({"person": ["eve"]}), carried)
        assert rows is not None
        assert rows.column("row").to_pylist() == [11, None]
        assert rows.column("person").to_pylist() == ["eve", None]

    def test_need_no_key_at_all(self) -> None:
        none = pa.table({})
        rows = joined([quarantined_rows("u", none, ASIDE), failed_rows("u", none, PLACES, {1: "ValueError"})])
        assert rows is not None
        assert rows.column_names == ["row", "unit", "reason"]
        assert rows.column("row").to_pylist() == [11, 12]

    def test_are_none_where_nothing_failed(self) -> None:
        assert joined([quarantined_rows("u", KEYS, None), failed_rows("u", KEYS, PLACES, {})]) is None
        assert rows_by_reason(None) == {}


@pytest.mark.parametrize(
    ("primary_key", "keep", "keys"),
    [
        (("person",), ["age", "person"], ("person",)),
        (("person", "trade"), ["trade", "age"], ("trade",)),
        (("person",), ["age"], ()),
        ((), ["age", "person"], ("age", "person")),
        ((), ["row", "person", "reason"], ("person",)),
    ],
)
def test_a_key_is_what_is_kept_of_the_primary_key(
    primary_key: tuple[str, ...], keep: list[str], keys: tuple[str, ...]
) -> None:
    assert key_columns(replace(make_contract(), primary_key=primary_key), keep) == keys


class TestKeysOfRowsSetAside:
    CONTRACT = make_contract(rules=[make_rule()])

    def _read(self, folder: Path, keys: tuple[str, ...], **masks: Mask | None) -> GovernedRead:
        write(folder / "a.parquet", pa.concat_tables([TABLE, TABLE]))
        columns = {"person": None, "age": None, "trade": None} | masks
        source = make_source(folder, contract=self.CONTRACT, columns=columns)
        return read_unit(source, units_of(folder)[0], ["person", "age"], keys=keys)

    def test_are_masked_as_those_of_rows_that_pass(self, tmp_path: Path) -> None:
        read = self._read(tmp_path, ("person",), person=Mask(kind=MaskKind.REDACT))
        masked = read.table.column("person").to_pylist()[0]
        assert masked not in ("bob", None)
        assert read.keys_aside.to_pydict() == {"person": [masked, masked]}
        assert read.quarantined is not None
        assert read.quarantined.column("quarantine_row").to_pylist() == [1, 5]

    def test_are_none_where_none_are_asked_for(self, tmp_path: Path) -> None:
        assert self._read(tmp_path, ()).keys_aside.num_columns == 0

    def test_that_were_not_granted_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(AccessDenied, match="doesn't hold secret"):
            self._read(tmp_path, ("secret",))


class TestCommit:
    def _commit(self, folder: Path, **changes: Any) -> UnitRecord:
        given: dict[str, Any] = {
            "dataset": "made",
            "run": "run-1",
            "input_dataset": "people",
            "table": TABLE.slice(0, 2),
            "quarantined": ASIDE,
            "receipt": make_receipt(passed=4, quarantined=1).with_failed(2),
            "errors": _errors(),
        }
        return commit_unit(open_store(str(folder)), open_files(str(folder)), **given | changes)

    def test_names_the_error_file_in_the_record(self, tmp_path: Path) -> None:
        record = self._commit(tmp_path)
        assert record.errors is not None
        assert pq.read_table(tmp_path / "datasets/made" / record.errors.path).equals(_errors())
        assert record.reasons() == {"rule:age-limit": 1, "SIGSEGV": 1, "TypeError": 1}
        assert committed_units(open_store(str(tmp_path)), "made", "run-1") == {"u000000": record}
        assert UnitRecord.from_bytes(record.to_bytes()) == record

    def test_that_came_second_leaves_no_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = self._commit(tmp_path)
        files = sorted(tmp_path.rglob("*.parquet"))
        monkeypatch.setattr("dataops.datasets.commit._earlier", lambda *_: None)
        assert self._commit(tmp_path) == first
        assert sorted(tmp_path.rglob("*.parquet")) == files

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"errors": None}, "0 rows to tell of as failed, its receipt says 2 failed"),
            ({"errors": FAILED}, "2 error rows, its receipt says 1 quarantined and 2 failed"),
            ({"errors": _errors().slice(0, 2)}, "1 rows to tell of as failed"),
        ],
    )
    def test_of_rows_that_are_not_those_of_the_receipt_leaves_nothing(
        self, tmp_path: Path, changes: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(Integrity, match=says):
            self._commit(tmp_path, **changes)
        assert list(tmp_path.rglob("*")) == []

    def test_without_errors_writes_the_record_that_was_always_written(self, tmp_path: Path) -> None:
        record = self._commit(tmp_path, table=TABLE, quarantined=None, receipt=make_receipt(passed=4), errors=None)
        assert not {b"errors", b"failed", b"linked"} & set(record.to_bytes().split(b'"'))
        linked = replace(record, linked="run-0")
        assert UnitRecord.from_bytes(linked.to_bytes()) == linked
