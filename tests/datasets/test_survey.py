"""What a survey asks and says, rules of the whole dataset, and the files that workers hand to one another."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.dataset_rules import broken_by_age, broken_by_rows
from dataops.datasets.partitioned import read_parts, write_partitioned
from dataops.datasets.survey import Asked, Survey, SurveyFile, survey_folder
from dataops.engine.survey_tasks import newest_time
from dataops.errors import Format
from dataops.governance.contract import Action, Contract, Rule, RuleKind
from dataops.records import encode_record
from dataops.storage.files import open_files
from tests.datasets.examples import make_contract

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ASKED = Asked(filters=("age > 1",), keys=(("a",), ("a", "b")), rare=(("c", 20),), newest=("d",))
FILE = SurveyFile(path="x", digest="sha256:0", rows=3)


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _contract(kind: RuleKind, **arguments: Any) -> Contract:
    return make_contract(rules=[Rule(id="whole", kind=kind, arguments=arguments, action=Action.FAIL)])


class TestRecord:
    def test_of_a_survey_is_read_back(self) -> None:
        survey = Survey(
            dataset="people",
            asked=ASKED,
            content_digest="sha256:1",
            key_id="key",
            rows=9,
            duplicates=(1, 0),
            repeated={"f": FILE},
            frequent=(FILE,),
            newest=(None,),
        )
        assert Survey.from_bytes(survey.to_bytes()) == survey

    @pytest.mark.parametrize("data", [b"", b"{}", encode_record("survey", 1, {"dataset": "people"})])
    def test_of_something_else_is_refused(self, data: bytes) -> None:
        with pytest.raises(Format):
            Survey.from_bytes(data)

    def test_lies_where_its_question_says(self) -> None:
        here = survey_folder("people", ASKED, content_digest="sha256:1", key_id="key")
        assert here.startswith("surveys/people/")
        others = [
            survey_folder("people", Asked(keys=ASKED.keys), content_digest="sha256:1", key_id="key"),
            survey_folder("people", ASKED, content_digest="sha256:2", key_id="key"),
            survey_folder("people", ASKED, content_digest="sha256:1", key_id=None),
        ]
        assert len({here, *others}) == 4


class TestNumberOfRows:
    @pytest.mark.parametrize(
        ("least", "most", "finding"),
        [
            (5, None, None),
            (6, None, "it has 5 rows, at least 6 are expected"),
            (None, 5, None),
            (None, 0, "it has 5 rows, at most 0 are allowed"),
            (7, 7, "it has 5 rows, 7 are expected"),
            (7, 9, "it has 5 rows, 7 to 9 are expected"),
        ],
    )
    def test_is_judged_by_both_bounds(self, least: int | None, most: int | None, finding: str | None) -> None:
        broken = broken_by_rows(_contract(RuleKind.ROW_COUNT, minimum=least, maximum=most), 5)
        assert [one.finding for one in broken] == ([] if finding is None else [finding])


class TestAge:
    @pytest.mark.parametrize(("late", "broken"), [(timedelta(0), 0), (timedelta(microseconds=1), 1)])
    def test_may_be_exactly_what_is_allowed(self, late: timedelta, broken: int) -> None:
        then = AT - timedelta(days=2) - late
        by_column = _contract(RuleKind.FRESHNESS, column="d", max_age_seconds=2 * 86_400)
        found = broken_by_age(by_column, at=AT, newest_file=None, newest={"d": _microseconds(then)})
        assert [one.finding for one in found] == [
            "the newest value of column 'd' is older than 2 days, which is the most that is allowed"
        ] * broken
        by_file = _contract(RuleKind.FRESHNESS, column=None, max_age_seconds=2 * 86_400)
        assert len(broken_by_age(by_file, at=AT, newest_file=then, newest={})) == broken

    @pytest.mark.parametrize("column", ["d", None])
    def test_that_nobody_knows_is_too_old(self, column: str | None) -> None:
        rule = _contract(RuleKind.FRESHNESS, column=column, max_age_seconds=90)
        (broken,) = broken_by_age(rule, at=AT, newest_file=None, newest={"d": None})
        assert broken.finding.endswith("may be 90 seconds old at most, and there is none")

    @pytest.mark.parametrize(
        ("values", "type_", "newest"),
        [
            ([date(2026, 1, 1), None, date(2025, 1, 1)], pa.date32(), datetime(2026, 1, 2, tzinfo=UTC)),
            ([date(2026, 1, 1)], pa.date64(), datetime(2026, 1, 2, tzinfo=UTC)),
            *[
                ([datetime(2026, 1, 1), datetime(2025, 1, 1)], pa.timestamp(unit), datetime(2026, 1, 1, tzinfo=UTC))  # noqa: DTZ001
                for unit in ("s", "ms", "us", "ns")
            ],
            ([datetime(2026, 1, 1, tzinfo=UTC)], pa.timestamp("us", "Asia/Tokyo"), datetime(2026, 1, 1, tzinfo=UTC)),
        ],
    )
    def test_is_measured_to_the_end_of_a_date_and_in_utc(
        self, values: list[Any], type_: pa.DataType, newest: datetime
    ) -> None:
        assert newest_time(pa.chunked_array([pa.array(values, type_)])) == _microseconds(newest)

    def test_of_times_far_beyond_the_calendar_is_no_error(self) -> None:
        column = pa.chunked_array([pa.array([2**62], pa.timestamp("s"))])
        assert newest_time(column) == 2**62 * 10**6
        assert newest_time(column.slice(0, 0)) is None


@given(parts=st.lists(st.integers(0, 4), max_size=30))
def test_a_part_of_a_partitioned_file_is_read_alone(tmp_path_factory: pytest.TempPathFactory, parts: list[int]) -> None:
    folder: Path = tmp_path_factory.mktemp("parts")
    files, dtype = open_files(str(folder)), np.dtype([("number", "<i4"), ("hash", "<u8")])
    records = np.zeros(len(parts), dtype)
    records["number"] = np.arange(len(parts))
    for name in ("one.bin", "two.bin"):
        write_partitioned(files, name, records, np.array(parts, np.int64), 5)
    for part in range(5):
        mine = [number for number, its in enumerate(parts) if its == part]
        read = read_parts(files, ["one.bin", "two.bin"], part, dtype=dtype, parts=5)
        assert read["number"].tolist() == [*mine, *mine]
    assert len(read_parts(files, [], 0, dtype=dtype, parts=5)) == 0
