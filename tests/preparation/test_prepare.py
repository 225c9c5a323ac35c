"""Prepare jobs: what is checked before a row is read, and what one unit becomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord, committed_units, parquet_bytes
from dataops.datasets.publish import require_within_thresholds
from dataops.datasets.receipt import Receipt, merge_receipts
from dataops.declarations.prepare import PrepareJob
from dataops.errors import AccessDenied, ContractViolation, DataopsError, InvalidInput
from dataops.governance.contract import Action, Column, Contract, inherited_classification
from dataops.governance.marks import mark
from dataops.governance.mask import Mask, MaskKind
from dataops.preparation.prepare import plan_prepare, prepare_lineage
from dataops.preparation.prepare_unit import PrepareContext, as_declared, prepare_unit
from dataops.records import digest
from dataops.runs.workspace import Workspace, open_workspace
from dataops.storage.objects import open_store
from tests.datasets.examples import open_one
from tests.engine.first_task import first_task
from tests.line.people import ROWS_PER_FILE, make_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = make_workspace(tmp_path_factory.mktemp("prepare") / "town", files=2, secret="CANARY")
    return open_workspace(str(folder), {})


@pytest.fixture(scope="module")
def given(workspace: Workspace) -> GovernedInput:
    return open_one(workspace, "people_old", "train")


def _job(**changes: Any) -> PrepareJob:
    declared: dict[str, Any] = {"name": "ready", "job": "prepare", "input": "people_old", "output": "ready"}
    return PrepareJob.model_validate(declared | changes)


def _context(given: GovernedInput, storage: Path, **changes: Any) -> PrepareContext:
    return PrepareContext(
        source=given.source,
        plan=plan_prepare(_job(**changes), given, where="jobs.yaml:1").of_units,
        storage=str(storage),
        run="run-1",
    )


def _prepare(given: GovernedInput, storage: Path, **changes: Any) -> list[UnitRecord]:
    context = _context(given, storage, **changes)
    return [prepare_unit(context, unit) for unit in given.units]


def _receipts(records: list[UnitRecord]) -> list[Receipt]:
    return [record.receipt for record in records]


def _rows(storage: Path, records: list[UnitRecord]) -> pa.Table:
    parts = [record.part for record in records if record.part is not None]
    return pa.concat_tables(pq.read_table(storage / "datasets/ready" / part.path) for part in parts)


class TestPlan:
    @pytest.mark.parametrize(
        ("changes", "family", "says"),
        [
            ({"columns": ["diagnosis"]}, AccessDenied, "diagnosis"),
            ({"derive": {"ill": "diagnosis = 'flu'"}}, AccessDenied, "diagnosis"),
            ({"where": "diagnosis is not null"}, AccessDenied, "diagnosis"),
            ({"labelled": "diagnosis is not null"}, AccessDenied, "diagnosis"),
            ({"split": {"by": "hash(diagnosis)", "test": 0.5}}, AccessDenied, "diagnosis"),
            ({"columns": ["hour"]}, InvalidInput, "Did you mean 'hours'"),
            ({"derive": {"late": "hour > 1"}}, InvalidInput, "Did you mean 'hours'"),
            ({"derive": {"hours": "1 + 1"}}, InvalidInput, "would hide columns"),
            ({"derive": {"a": "b", "b": "hours"}}, InvalidInput, "before it is made"),
            ({"derive": {"a": "hours + trade"}}, InvalidInput, "derive.a"),
            ({"derive": {"split": "hours"}, "split": {"by": "hash(trade)", "test": 0.5}}, InvalidInput, "split"),
            ({"split": {"time": "hours", "test_from": "2026-01-01"}}, InvalidInput, "split.test_from"),
            ({"split": {"time": "diagnosis", "test_from": "2026-01-01"}}, AccessDenied, "diagnosis"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_that_is_wrong_is_refused_with_its_place(
        self, given: GovernedInput, changes: dict[str, Any], family: type[DataopsError], says: str
    ) -> None:
        with pytest.raises(family) as caught:
            plan_prepare(_job(**changes), given, where="jobs.yaml:7")
        assert says in str(caught.value)
        assert family is AccessDenied or "jobs.yaml:7" in str(caught.value) or "steps" in str(caught.value)

    def test_condition_that_is_none_is_refused(self, given: GovernedInput) -> None:
        for place in ("where", "labelled"):
            with pytest.raises(InvalidInput):
                plan_prepare(_job(**{place: "hours + 1"}), given, where="jobs.yaml:7")

    def test_reads_only_what_it_needs(self, given: GovernedInput) -> None:
        plan = plan_prepare(_job(columns=["long"], derive={"long": "hours > 40"}), given, where="j")
        assert plan.read == ("hours",)

    def test_of_constants_alone_still_knows_how_many_rows_there_are(self, given: GovernedInput, tmp_path: Path) -> None:
        records = _prepare(given, tmp_path, derive={"one": "1"}, columns=["one"])
        passed = sum(record.receipt.passed for record in records)
        assert passed > 0
        assert _rows(tmp_path, records).column("one").to_pylist() == [1] * passed

    def test_gives_derived_columns_all_they_were_made_of(self, given: GovernedInput) -> None:
        job = _job(derive={"x": "age + hours", "y": "x * 2", "z": "1"}, split={"by": "hash(person_id)", "test": 0.5})
        columns = {column.name: column for column in plan_prepare(job, given, where="j").columns}
        assert columns["y"].classification == "pii.quasi+work"
        (bands,) = columns["age"].masks
        assert columns["y"].masks == (f"{bands}#pii.quasi", f"{bands}@age")
        assert columns["y"].origins == ("age", "hours")
        bound, of_any_key = columns["split"].masks
        assert (bound,) == columns["person_id"].masks
        assert of_any_key == mark(Mask(kind=MaskKind.PSEUDONYM, domain="person"))
        assert columns["split"].origins == ("person_id",)
        assert columns["z"].classification == "public"
        assert columns["split"].classification == "pii.direct"
        assert columns["person_id"].masks
        assert "diagnosis" not in columns

    def test_a_split_takes_the_place_of_a_column_of_its_name_that_is_left_out(
        self, given: GovernedInput, tmp_path: Path
    ) -> None:
        derived = {"split": "hours > 40"}
        split = {"by": "hash(person_id)", "test": 0.5}
        records = _prepare(given, tmp_path, derive=derived, where="split", columns=["hours"], split=split)
        assert set(_rows(tmp_path, records).column("split").to_pylist()) == {"train", "test"}

    def test_inherited_classifications_are_a_set(self, given: GovernedInput) -> None:
        columns = given.granted_columns()
        once, twice = inherited_classification(columns), inherited_classification([*columns, *reversed(columns)])
        assert once == twice == "outcome+pii.direct+pii.quasi+work"

    def test_names_the_preparation_by_what_it_does(self, given: GovernedInput) -> None:
        plans = [
            plan_prepare(_job(derive={"long": text}), given, where=where)
            for text, where in (("hours > 40", "a:1"), ("hours > 40", "b:2"), ("hours > 41", "a:1"))
        ]
        digests = [digest(plan.declaration()) for plan in plans]
        assert digests[0] == digests[1] != digests[2]
        assert prepare_lineage(plans[0], given)["preparation_digest"] == digests[0]


class TestUnit:
    def test_accounts_for_every_row(self, given: GovernedInput, tmp_path: Path) -> None:
        records = _prepare(given, tmp_path, where="hours > 30", labelled="rich is not null")
        counts = merge_receipts([record.receipt for record in records])
        assert counts["read"] == 2 * ROWS_PER_FILE
        assert min(counts[name] for name in ("passed", "filtered_by_policy", "filtered_by_job", "quarantined")) > 0
        assert _rows(tmp_path, records).num_rows == counts["passed"]

    def test_holds_nothing_that_was_denied_or_is_masked(self, given: GovernedInput, tmp_path: Path) -> None:
        _prepare(given, tmp_path)
        readable = [path for path in (tmp_path / "datasets").rglob("*") if path.is_file()]
        assert len(readable) >= 2
        assert not [path for path in readable if b"CANARY" in path.read_bytes()]
        for path in readable:
            if path.suffix == ".parquet":
                table = pq.read_table(path)
                assert "CANARY" not in str(table.to_pydict())
                assert "diagnosis" not in table.column_names
                assert all(age is None or age % 5 == 0 for age in table.column("age").to_pylist())

    def test_whose_rows_are_all_left_out_has_a_record_and_no_part(self, given: GovernedInput, tmp_path: Path) -> None:
        records = _prepare(given, tmp_path, where="hours > 10000", split={"by": "hash(person_id)", "test": 0.5})
        assert all(record.part is None for record in records)
        assert merge_receipts([record.receipt for record in records])["passed"] == 0
        assert list((tmp_path / "datasets").rglob("*.parquet")) == []

    @pytest.mark.parametrize(
        "split", [{"by": "hash(person_id)", "test": 0.2}, {"time": "seen", "test_from": "2024-01-01"}]
    )
    def test_is_the_first_task_of_a_worker_that_needs_nothing_that_reads_declarations(
        self, given: GovernedInput, tmp_path: Path, split: dict[str, Any]
    ) -> None:
        derive = {"young": "age < 30", "seen": "cast('2024-06-01' as date)"}
        context = _context(given, tmp_path, derive=derive, where="hours > 25", labelled="age is not null", split=split)
        assert given.source.effect.filters
        assert first_task(prepare_unit, context, given.units[0]) == "UnitRecord\n"

    def test_gives_the_same_bytes_again(self, given: GovernedInput, tmp_path: Path) -> None:
        options: dict[str, Any] = {
            "derive": {"long": "hours > 40"}, "split": {"by": "hash(person_id)", "test": 0.25},
        }  # fmt: skip
        one, other = (_prepare(given, tmp_path / name, **options) for name in ("a", "b"))
        assert [record.part and record.part.digest for record in one] == [r.part and r.part.digest for r in other]
        assert [record.receipt for record in one] == [record.receipt for record in other]

    def test_done_before_is_taken_as_it_is(self, given: GovernedInput, tmp_path: Path) -> None:
        first = _prepare(given, tmp_path)
        assert _prepare(given, tmp_path) == first
        assert len(list((tmp_path / "datasets").rglob("*.parquet"))) == len(first)
        assert committed_units(open_store(str(tmp_path)), "ready", "run-1") == {one.unit: one for one in first}

    def test_has_the_columns_that_the_plan_says_in_their_order(self, given: GovernedInput, tmp_path: Path) -> None:
        records = _prepare(given, tmp_path, columns=["rich", "twice", "age"], derive={"twice": "hours * 2"})
        assert _rows(tmp_path, records).column_names == ["rich", "twice", "age"]


class TestThresholds:
    def _given(self, given: GovernedInput, **limits: Any) -> GovernedInput:
        rules = tuple(replace(rule, **limits) for rule in given.dataset.contract.rules)
        contract = Contract(name="people", version="1", columns=given.dataset.contract.columns, rules=rules)
        return replace(given, dataset=replace(given.dataset, contract=contract))

    def test_within_them_nothing_happens(self, given: GovernedInput, tmp_path: Path) -> None:
        require_within_thresholds(self._given(given, max_percent=6.0), _receipts(_prepare(given, tmp_path)))
        require_within_thresholds(self._given(given, max_rows=0), [])

    @pytest.mark.parametrize("limits", [{"max_rows": 5}, {"max_percent": 1.0}, {"action": Action.FAIL}], ids=str)
    def test_beyond_them_the_run_fails_by_counts(
        self, given: GovernedInput, tmp_path: Path, limits: dict[str, Any]
    ) -> None:
        records = _prepare(given, tmp_path)
        with pytest.raises(ContractViolation, match=r"of \d+ rows break it") as caught:
            require_within_thresholds(self._given(given, **limits), _receipts(records))
        assert "150" not in str(caught.value)


def test_a_part_holds_no_text_of_rows_that_a_step_left_out() -> None:
    rows = pa.table({"who": pa.array(["kept", "CANARY", "kept"]).dictionary_encode(), "n": [1, 2, 3]})
    columns = [Column(name="who", type=pa.string(), required=False, classification="public")]
    part = parquet_bytes(as_declared(rows.filter(pa.array([True, False, True])), columns))
    encoded = pq.read_table(pa.BufferReader(part), read_dictionary=["who"])["who"]
    assert encoded.chunk(0).dictionary.to_pylist() == ["kept"]
    assert pq.read_table(pa.BufferReader(part)).to_pydict() == {"who": ["kept", "kept"]}
