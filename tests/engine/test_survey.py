"""The survey: what holds of the whole dataset, found without a shuffle of rows, the same however it is cut."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.access import GovernedInput
from dataops.datasets.catalog import Dataset
from dataops.datasets.garbage import find_garbage
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.datasets.snapshot import Manifest, Snapshot
from dataops.datasets.source import read_fragments
from dataops.datasets.survey import asked_of, read_survey
from dataops.datasets.tombstones import Reason, mark
from dataops.datasets.units import plan_units
from dataops.engine import survey as engine
from dataops.engine import survey_tasks
from dataops.engine.progress import Progress
from dataops.engine.survey import surveyed
from dataops.engine.work import Work
from dataops.errors import AccessDenied, Conflict, ContractViolation, Integrity, NotFound
from dataops.governance.contract import Action, Column, Rule, RuleKind
from dataops.governance.hashing import keyed_hashes
from dataops.governance.keys import create_key
from dataops.governance.masking import Mask, MaskKind
from dataops.records import format_time, now_utc
from dataops.storage.files import open_files
from dataops.storage.objects import open_store
from tests.datasets.examples import make_contract, make_source, write
from tests.engine.inline import InlineWork

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = (
    Column(name="id", type=pa.int64()),
    Column(name="name", type=pa.string()),
    Column(name="seen", type=pa.timestamp("us")),
    Column(name="keep", type=pa.bool_()),
)
UNIQUE = Rule(id="one-id", kind=RuleKind.UNIQUE, arguments={"columns": ["id"]})
PAIR = Rule(id="one-pair", kind=RuleKind.UNIQUE, arguments={"columns": ["name", "id"]}, action=Action.DROP)
RARE = {"name": Mask(kind=MaskKind.RARE, min_count=2)}
Row = tuple[int | None, str | None, bool]


def make_table(rows: Sequence[Row]) -> pa.Table:
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []]
    seen = [datetime(2026, 1, 1) + timedelta(hours=n) for n in range(len(rows))]  # noqa: DTZ001
    schema = pa.schema([(column.name, column.type) for column in COLUMNS])
    return pa.table({"id": columns[0], "name": columns[1], "seen": seen, "keep": columns[2]}, schema=schema)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secret") / "keys"
    create_key(folder, at=now_utc(), secret=b"s" * 32)
    return folder


def make_input(
    folder: Path,
    keys: Path,
    *,
    rules: Sequence[Rule] = (),
    masks: Mapping[str, Mask] | None = None,
    filters: Sequence[str] = (),
    columns: Sequence[Column] = COLUMNS,
) -> GovernedInput:
    contract = make_contract(columns=columns, rules=rules)
    granted = {column.name: (masks or {}).get(column.name) for column in contract.columns}
    source = make_source(folder, contract=contract, columns=granted, filters=filters, keys=keys)
    manifest = Manifest(
        dataset="people",
        run="source",
        zone="historical",
        columns=contract.columns,
        fragments=read_fragments(open_files(str(folder))),
        counts={},
        receipts_root=None,
        lineage={},
        created_at=format_time(AT),
    )
    snapshot = Snapshot(dataset="people", number=1, manifests=(manifest,), created_at=format_time(AT))
    dataset = Dataset(
        name="people", url=str(folder), zone="historical", contract=contract, snapshot=snapshot, declared=True
    )
    return GovernedInput(dataset=dataset, grant=cast("Any", None), source=source, units=plan_units(snapshot.fragments))


def write_files(folder: Path, files: Sequence[Sequence[Row]], group: int = 2) -> Path:
    for number, rows in enumerate(files):
        write(folder / f"part-{number}.parquet", make_table(rows), row_group_size=group)
    return folder


def read_all(given: GovernedInput, target_bytes: int = 1 << 30) -> list[GovernedRead]:
    units = plan_units(given.dataset.snapshot.fragments, target_bytes)
    return [read_unit(given.source, unit, [column.name for column in COLUMNS]) for unit in units]


def ids(reads: Sequence[GovernedRead]) -> list[int | None]:
    return [value for read in reads for value in read.table.column("id").to_pylist()]


FILES = (((1, "a", True), (2, "b", True), (1, "a", True)), ((None, "c", True), (2, "d", True), (None, "c", True)))


class TestDuplicates:
    def test_are_the_later_rows_of_the_whole_dataset_and_are_set_aside_with_their_place(
        self, tmp_path: Path, keys: Path
    ) -> None:
        given = make_input(write_files(tmp_path / "data", FILES), keys, rules=[UNIQUE])
        given = surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=AT)
        reads = read_all(given)
        assert ids(reads) == [1, 2, None, None]
        assert [read.receipt.broken for read in reads] == [{"one-id": 1}, {"one-id": 1}]
        aside = [row for read in reads if read.quarantined for row in read.quarantined.to_pylist()]
        places = [(row["quarantine_fragment"], row["quarantine_row"], row["id"]) for row in aside]
        assert places == [("part-0.parquet", 2, 1), ("part-1.parquet", 1, 2)]

    def test_of_rows_that_the_policy_filters_out_are_none(self, tmp_path: Path, keys: Path) -> None:
        files = (((1, "a", False), (1, "b", True)), ((1, "c", True),))
        given = make_input(write_files(tmp_path / "data", files), keys, rules=[UNIQUE], filters=["keep"])
        given = surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=AT)
        reads = read_all(given)
        assert [row for read in reads for row in read.table.column("name").to_pylist()] == ["b"]
        assert [read.receipt.filtered_by_policy for read in reads] == [1, 0]

    def test_of_text_are_found_in_every_unicode_form(self, tmp_path: Path, keys: Path) -> None:
        files = (((1, "\u00e9", True), (2, "e\u0301", True)),)
        rule = Rule(id="name", kind=RuleKind.UNIQUE, arguments={"columns": ["name"]})
        given = make_input(write_files(tmp_path / "data", files), keys, rules=[rule])
        given = surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=AT)
        assert ids(read_all(given)) == [1]

    @given(
        files=st.lists(
            st.lists(
                st.tuples(st.one_of(st.none(), st.integers(0, 3)), st.sampled_from(["a", "b", None]), st.booleans()),
                min_size=1,
                max_size=7,
            ),
            min_size=1,
            max_size=4,
        ),
        group=st.integers(1, 4),
        cut=st.sampled_from([1, 200, 1 << 30]),
        bucket=st.sampled_from([1, 3, 1 << 20]),
        seed=st.integers(0, 9),
        twice=st.booleans(),
        hashes=st.sampled_from([1, 2, 1 << 63]),
    )
    def test_are_exact_for_any_cut_order_repetition_and_collision_of_hashes(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        keys: Path,
        files: list[list[Row]],
        group: int,
        cut: int,
        bucket: int,
        seed: int,
        twice: bool,
        hashes: int,
    ) -> None:
        folder = tmp_path_factory.mktemp("cut")
        given = make_input(write_files(folder / "data", files, group), keys, rules=[UNIQUE, PAIR], filters=["keep"])

        def colliding(columns: Any, *, key: bytes) -> Any:
            spread = keyed_hashes(columns, key=key) % np.uint64(hashes)
            return spread << np.uint64(62) if hashes == 2 else spread

        with (
            patch("os.fsync"),  # what would last through a power cut isn't looked at here
            patch.object(engine, "HASHES_PER_BUCKET", bucket),
            patch.object(survey_tasks, "keyed_hashes", colliding),
            patch.object(engine, "plan_units", lambda fragments: plan_units(fragments, cut)),
        ):
            work = InlineWork(seed=seed, twice=twice)
            given = surveyed(given, work.work, storage=str(folder / "storage"), at=AT)
        reads = read_all(given, target_bytes=1)
        kept, repeated = _expected(files)
        assert ids(reads) == [row[0] for row in kept]
        broken = Counter[str]()
        for read in reads:
            broken.update(read.receipt.broken)
        assert {"one-id": broken["one-id"], "one-pair": broken["one-pair"]} == repeated
        survey = read_survey(str(given.source.survey))
        assert dict(zip([("id",), ("id", "name")], survey.duplicates, strict=True)) == {
            ("id",): repeated["one-id"],
            ("id", "name"): repeated["one-pair"],
        }
        assert not list((folder / "storage").rglob("*.bin"))


def _expected(files: Sequence[Sequence[Row]]) -> tuple[list[Row], dict[str, int]]:
    kept, seen, repeated = [], set[Any](), {"one-id": 0, "one-pair": 0}
    for number, name, keep in (row for rows in files for row in rows):
        if not keep:
            continue
        same_id, same_pair = number in seen, (number, name) in seen
        repeated["one-id"] += same_id
        repeated["one-pair"] += same_pair
        if not (same_id or same_pair):
            kept.append((number, name, keep))
        if number is not None:
            seen.add(number)
            if name is not None:
                seen.add((number, name))
    return kept, repeated


class TestKeysOfEveryType:
    @pytest.mark.parametrize(
        ("values", "type_", "repeated"),
        [
            ([0.0, -0.0, float("nan"), float("nan"), 1.5, None, None], pa.float64(), 2),
            ([1.5, 1.5, 2.5], pa.float32(), 1),
            ([Decimal("1.50"), Decimal("1.5"), Decimal("-1.5")], pa.decimal128(10, 2), 1),
            ([time(1, 2, 3), time(1, 2, 3), time(1, 2)], pa.time64("us"), 1),
            ([time(1, 2, 3), time(1, 2, 3), time(1, 2)], pa.time32("ms"), 1),
            ([b"ab", b"ab", b"a"], pa.binary(), 1),
            ([b"ab", b"ab", b"ba"], pa.binary(2), 1),
            ([True, False, True], pa.bool_(), 1),
            ([date(2026, 1, 1), date(2026, 1, 1)], pa.date32(), 1),
            ([0, 2**64 - 1, 2**64 - 1], pa.uint64(), 1),
        ],
        ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
    )
    def test_are_compared_by_value(
        self, tmp_path: Path, keys: Path, values: list[Any], type_: pa.DataType, repeated: int
    ) -> None:
        folder = tmp_path / "data"
        for number, value in enumerate(values):  # each row in a file of its own
            write(folder / f"{number:02d}.parquet", pa.table({"id": pa.array([value], type_)}))
        given = make_input(folder, keys, rules=[UNIQUE], columns=[Column(name="id", type=type_)])
        given = surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=AT)
        assert read_survey(str(given.source.survey)).duplicates == (repeated,)


class TestRareValues:
    def test_are_those_of_few_rows_of_the_whole_dataset_under_the_filters(self, tmp_path: Path, keys: Path) -> None:
        files = (((1, "a", True), (2, "b", True), (3, None, True)), ((4, "a", True), (5, "b", False), (6, "c", True)))
        given = make_input(write_files(tmp_path / "data", files), keys, masks=RARE, filters=["keep"])
        given = surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=AT)
        shown = [value for read in read_all(given) for value in read.table.column("name").to_pylist()]
        assert shown == ["a", "[rare]", None, "a", "[rare]"]

    @given(
        names=st.lists(st.lists(st.sampled_from("abcdé"), max_size=6), min_size=1, max_size=4),
        least=st.integers(2, 4),
        cut=st.sampled_from([1, 1 << 30]),
        bucket=st.sampled_from([1, 1 << 20]),
    )
    def test_are_counted_exactly_however_the_rows_are_cut(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        keys: Path,
        names: list[list[str]],
        least: int,
        cut: int,
        bucket: int,
    ) -> None:
        folder = tmp_path_factory.mktemp("rare")
        files = [[(n, name, True) for n, name in enumerate(some)] for some in names]
        masks = {"name": Mask(kind=MaskKind.RARE, min_count=least)}
        given = make_input(write_files(folder / "data", files), keys, masks=masks)
        with (
            patch("os.fsync"),  # what would last through a power cut isn't looked at here
            patch.object(engine, "HASHES_PER_BUCKET", bucket),
            patch.object(engine, "plan_units", lambda fragments: plan_units(fragments, cut)),
        ):
            given = surveyed(given, InlineWork().work, storage=str(folder / "storage"), at=AT)
        shown = [value for read in read_all(given, 1) for value in read.table.column("name").to_pylist()]
        every = [name for some in names for name in some]
        assert shown == [name if Counter(every)[name] >= least else "[rare]" for name in every]


class TestResult:
    def test_is_taken_over_by_whoever_asks_the_same_of_the_same_content(self, tmp_path: Path, keys: Path) -> None:
        given = make_input(write_files(tmp_path / "data", FILES), keys, rules=[UNIQUE], masks=RARE)
        storage = str(tmp_path / "storage")
        first, second = InlineWork(), InlineWork(run="run-2")
        one = surveyed(given, first.work, storage=storage, at=AT)
        two = surveyed(given, second.work, storage=storage, at=AT)
        assert one.source == two.source
        assert first.phases[0] == "survey"
        assert second.phases == []

    @pytest.mark.parametrize("change", ["filter", "rule", "mask", "content", "key"])
    def test_is_not_taken_over_where_anything_differs(self, tmp_path: Path, change: str) -> None:
        keys = tmp_path / "keys"
        create_key(keys, at=now_utc(), secret=b"s" * 32)
        data, storage = write_files(tmp_path / "data", FILES), str(tmp_path / "storage")
        options: dict[str, Any] = {"rules": [UNIQUE], "masks": RARE}
        first = surveyed(make_input(data, keys, **options), InlineWork().work, storage=storage, at=AT)
        match change:
            case "filter":
                options["filters"] = ["id < 9"]
            case "rule":
                options["rules"] = [UNIQUE, PAIR]
            case "mask":
                options["masks"] = {"name": Mask(kind=MaskKind.RARE, min_count=3)}
            case "content":
                write(data / "part-9.parquet", make_table([(1, "z", True)]))
            case "key":
                create_key(keys, at=now_utc(), secret=b"t" * 32)
        second = surveyed(make_input(data, keys, **options), InlineWork().work, storage=storage, at=AT)
        assert first.source.survey != second.source.survey

    def test_of_two_who_make_it_at_once_is_that_of_the_first(self, tmp_path: Path, keys: Path) -> None:
        given, storage = make_input(write_files(tmp_path / "data", FILES), keys, rules=[UNIQUE]), str(tmp_path / "s")

        class Overtaken(InlineWork):
            def map_units(self, phase: str, *args: Any, **options: Any) -> list[Any]:
                if phase == "survey":
                    surveyed(given, InlineWork(run="run-2").work, storage=storage, at=AT)
                return super(Overtaken, self).map_units(phase, *args, **options)

        one = surveyed(given, Overtaken().work, storage=storage, at=AT)
        assert ids(read_all(one)) == [1, 2, None, None]
        survey = read_survey(str(one.source.survey))
        there = {path.name for path in (tmp_path / "s").rglob("*.parquet")}
        assert there == {file.path.split("/")[1] for file in survey.repeated.values()}

    def test_holds_no_value_of_a_row_and_leaves_nothing_in_between(self, tmp_path: Path, keys: Path) -> None:
        files = (((7, "CANARY", True), (7, "CANARY", True)), ((7, "CANARY", True),))
        given = make_input(write_files(tmp_path / "data", files), keys, rules=[UNIQUE, PAIR], masks=RARE)
        surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=AT)
        stored = [path for path in (tmp_path / "storage").rglob("*") if path.is_file()]
        assert {path.suffix for path in stored} == {".json", ".parquet"}
        assert not any(b"CANARY" in path.read_bytes() for path in stored)

    def test_that_died_is_made_anew_and_what_it_left_is_removed(self, tmp_path: Path, keys: Path) -> None:
        given = make_input(write_files(tmp_path / "data", FILES), keys, rules=[UNIQUE])
        storage = tmp_path / "storage"
        with (
            patch.object(engine, "settle_bucket", side_effect=KeyboardInterrupt),
            patch.object(engine, "_remove_work"),
            pytest.raises(KeyboardInterrupt),
        ):
            surveyed(given, InlineWork().work, storage=str(storage), at=AT)
        assert list(storage.rglob("*.bin"))
        assert not list(storage.rglob("survey.json"))
        again = surveyed(given, InlineWork().work, storage=str(storage), at=AT)
        assert ids(read_all(again)) == [1, 2, None, None]
        assert not list(storage.rglob("*.bin"))

    def test_whose_files_were_taken_for_garbage_while_it_was_made_is_given_to_nobody(
        self, tmp_path: Path, keys: Path
    ) -> None:
        given = make_input(write_files(tmp_path / "data", FILES), keys, rules=[UNIQUE])
        storage, make = str(tmp_path / "storage"), engine._Making.survey

        def collected_meanwhile(making: Any, content: str) -> Any:
            made = make(making, content)
            store, at = open_store(storage), now_utc() + timedelta(days=2)
            found = find_garbage(
                store, open_files(storage), sign=lambda _: None, grace=timedelta(), at=at, dataset="people"
            )
            assert {mark(store, one, at=at).reason for one in found} == {Reason.SURVEY}
            return made

        with patch.object(engine._Making, "survey", collected_meanwhile), pytest.raises(Conflict, match="garbage"):
            surveyed(given, InlineWork().work, storage=storage, at=AT)
        assert not list((tmp_path / "storage").rglob("survey.json"))
        assert ids(read_all(surveyed(given, InlineWork().work, storage=storage, at=AT))) == [1, 2, None, None]

    def test_that_was_tampered_with_is_refused(self, tmp_path: Path, keys: Path) -> None:
        given = make_input(write_files(tmp_path / "data", FILES), keys, rules=[UNIQUE])
        given = surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=AT)
        for path in (tmp_path / "storage").rglob("*.parquet"):
            path.chmod(0o600)
            path.write_bytes(path.read_bytes().replace(b"PAR1", b"PAR2"))
        with pytest.raises(Integrity, match="isn't the file that the survey names"):
            read_all(given)
        for path in (tmp_path / "storage").rglob("*.parquet"):
            path.unlink()
        with pytest.raises(Integrity, match="is gone"):
            read_all(given)

    def test_needs_a_key(self, tmp_path: Path) -> None:
        given = make_input(write_files(tmp_path / "data", FILES), tmp_path / "none", rules=[UNIQUE])
        with pytest.raises(NotFound, match="keys init"):
            surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=AT)

    def test_of_nothing_is_none(self, tmp_path: Path, keys: Path) -> None:
        given, work = make_input(write_files(tmp_path / "data", FILES), keys), InlineWork()
        assert not asked_of(given.source).anything
        assert surveyed(given, work.work, storage=str(tmp_path / "storage"), at=AT) is given
        assert work.phases == []
        assert not (tmp_path / "storage").exists()

    def test_is_the_same_on_a_cluster(self, tmp_path: Path, keys: Path, cluster: Client) -> None:
        rng = np.random.default_rng(0)
        files = [[(int(n), f"n{n % 7}", True) for n in rng.integers(0, 150, 100)] for _ in range(2)]
        data = write_files(tmp_path / "data", files, group=100)
        given = make_input(data, keys, rules=[UNIQUE], masks=RARE)
        told: list[str] = []
        work = Work(
            client=cluster,
            run=f"run-{tmp_path.name}",
            emit=lambda event, **_: told.append(event),
            progress=Progress(io.StringIO()),
        )
        here = surveyed(given, InlineWork().work, storage=str(tmp_path / "here"), at=AT)
        there = surveyed(given, work, storage=str(tmp_path / "there"), at=AT)
        one, two = read_survey(str(here.source.survey)), read_survey(str(there.source.survey))
        assert one.duplicates == two.duplicates
        digests = [{name: file.digest for name, file in survey.repeated.items()} for survey in (one, two)]
        assert digests[0] == digests[1]
        assert [file.digest for file in one.frequent] == [file.digest for file in two.frequent]
        numbers = [row[0] for rows in files for row in rows]
        assert ids(read_all(there)) == list(dict.fromkeys(numbers))


class TestReading:
    def test_without_the_survey_that_is_needed_is_refused_before_anything_is_read(
        self, tmp_path: Path, keys: Path
    ) -> None:
        given = make_input(write_files(tmp_path / "data", FILES), keys, rules=[UNIQUE])
        with (
            patch("dataops.datasets.scan.read_allowed", side_effect=AssertionError),
            pytest.raises(Integrity, match="must be surveyed"),
        ):
            read_all(given)

    def test_with_a_survey_of_something_else_is_refused(self, tmp_path: Path, keys: Path) -> None:
        data, storage = write_files(tmp_path / "data", FILES), str(tmp_path / "storage")
        first = surveyed(make_input(data, keys, rules=[UNIQUE]), InlineWork().work, storage=storage, at=AT)
        other = make_input(data, keys, rules=[UNIQUE], filters=["keep"])
        mixed = replace(other, source=replace(other.source, survey=first.source.survey))
        with pytest.raises(Integrity, match="other row filters"):
            read_all(mixed)

    def test_ends_with_the_grant(self, tmp_path: Path, keys: Path) -> None:
        given = make_input(write_files(tmp_path / "data", FILES), keys)
        ended = replace(given, source=replace(given.source, expires_at=format_time(now_utc() - timedelta(seconds=1))))
        with (
            patch("dataops.datasets.allowed.take_rows", side_effect=AssertionError),
            pytest.raises(AccessDenied, match="'people': what was granted ended at 20"),
        ):
            read_all(ended)
        lasting = replace(given, source=replace(given.source, expires_at=format_time(now_utc() + timedelta(days=1))))
        assert len(ids(read_all(lasting))) == 6

    def test_is_not_made_beyond_the_grant(self, tmp_path: Path, keys: Path) -> None:
        rule = Rule(id="one-id", kind=RuleKind.UNIQUE, arguments={"columns": ["id"]})
        given = make_input(write_files(tmp_path / "data", FILES), keys, rules=[rule])
        ended = replace(given, source=replace(given.source, expires_at=format_time(now_utc() - timedelta(seconds=1))))
        with (
            patch("dataops.datasets.allowed.take_rows", side_effect=AssertionError),
            pytest.raises(AccessDenied, match="what was granted ended"),
        ):
            surveyed(ended, InlineWork().work, storage=str(tmp_path / "storage"), at=AT)

    @pytest.mark.parametrize(
        ("action", "counts"),
        [
            (Action.WARN, (6, 0, 0)),
            (Action.DROP, (4, 2, 0)),
            (Action.QUARANTINE, (4, 0, 2)),
            (Action.FAIL, (4, 0, 2)),
        ],
    )
    def test_treats_duplicates_as_their_rule_says(
        self, tmp_path: Path, keys: Path, action: Action, counts: tuple[int, int, int]
    ) -> None:
        rule = Rule(id="one-id", kind=RuleKind.UNIQUE, arguments={"columns": ["id"]}, action=action)
        given = make_input(write_files(tmp_path / "data", FILES), keys, rules=[rule])
        given = surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=AT)
        receipts = [read.receipt for read in read_all(given)]
        assert counts == tuple(
            sum(getattr(one, name) for one in receipts) for name in ("passed", "dropped", "quarantined")
        )
        assert sum(one.broken["one-id"] for one in receipts) == 2


class TestRulesOfTheWhole:
    def _rule(self, kind: RuleKind, action: Action = Action.FAIL, **arguments: Any) -> Rule:
        return Rule(id="whole", kind=kind, arguments=arguments, action=action)

    def test_that_fail_end_the_run_before_a_row_is_read(self, tmp_path: Path, keys: Path) -> None:
        rule = self._rule(RuleKind.ROW_COUNT, minimum=7, maximum=None)
        given, work = make_input(write_files(tmp_path / "data", FILES), keys, rules=[rule, UNIQUE]), InlineWork()
        with pytest.raises(ContractViolation, match="rule 'whole': it has 6 rows, at least 7 are expected"):
            surveyed(given, work.work, storage=str(tmp_path / "storage"), at=AT)
        assert work.phases == []
        assert not (tmp_path / "storage").exists()

    def test_that_warn_are_told_and_recorded(self, tmp_path: Path, keys: Path) -> None:
        rule = self._rule(RuleKind.ROW_COUNT, Action.WARN, minimum=None, maximum=5)
        given, work = make_input(write_files(tmp_path / "data", FILES), keys, rules=[rule]), InlineWork()
        assert surveyed(given, work.work, storage=str(tmp_path / "storage"), at=AT) is given
        (event,) = work.events
        assert (event["event"], event["rule"]) == ("dataset_rule_broken", "whole")
        assert "it has 6 rows, at most 5 are allowed" in work.said.getvalue()

    @pytest.mark.parametrize(("hours", "fresh"), [(2, True), (1, False)])
    def test_about_age_look_at_the_newest_value_that_the_filters_let_through(
        self, tmp_path: Path, keys: Path, hours: int, fresh: bool
    ) -> None:
        # the rows' times are one hour apart from 2026-01-01 on in each file
        files = (((1, "a", True), (2, "b", True), (3, "c", False)),)
        rule = self._rule(RuleKind.FRESHNESS, column="seen", max_age_seconds=hours * 3600)
        given = make_input(write_files(tmp_path / "data", files), keys, rules=[rule], filters=["keep"])
        at = datetime(2026, 1, 1, 3, tzinfo=UTC)
        if fresh:
            given = surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=at)
            assert asked_of(given.source).newest == ("seen",)
            assert len(ids(read_all(given))) == 2
        else:
            with pytest.raises(ContractViolation, match="newest value of column 'seen'") as caught:
                surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=at)
            assert "2026" not in str(caught.value)

    def test_about_age_without_a_column_look_at_the_newest_file(self, tmp_path: Path, keys: Path) -> None:
        rule = self._rule(RuleKind.FRESHNESS, column=None, max_age_seconds=3600)
        given = make_input(write_files(tmp_path / "data", FILES), keys, rules=[rule])
        assert surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=now_utc()) is given
        with pytest.raises(ContractViolation, match="its newest file is older than 60 minutes"):
            surveyed(given, InlineWork().work, storage=str(tmp_path / "storage"), at=now_utc() + timedelta(hours=2))
