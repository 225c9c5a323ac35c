import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import Format, InvalidInput
from dataops.features.steps import RowSteps
from dataops.governance.expressions import parse_expression
from dataops.governance.masking import parse_mask
from dataops.records import canonical_bytes

BY_FIVE = parse_mask({"generalise": {"width": 5}}, where="test")
PSEUDONYM = parse_mask({"pseudonym": {"domain": "person"}}, where="test")


def steps_of(
    derive: dict[str, str] | None = None, where: str | None = None, generalise: dict[str, Any] | None = None
) -> RowSteps:
    return RowSteps(
        generalise=tuple((generalise or {}).items()),
        derive=tuple((name, parse_expression(text, where="test")) for name, text in (derive or {}).items()),
        where=parse_expression(where, where="test") if where else None,
    )


STEPS = steps_of(
    {"late": "delay > 15", "very": "late and delay > 60", "other": "age * 2"},
    "age >= 10",
    {"age": BY_FIVE, "zip": BY_FIVE},
)


def test_source_columns_are_generalised_then_derived_from_then_filtered() -> None:
    table, filtered = STEPS.apply(pa.table({"age": [9, 12, None, 64], "delay": [99, 20, 90, None]}))
    assert filtered == 2
    expected = {"age": [10, 60], "delay": [20, None], "late": [True, None], "very": [False, None], "other": [20, 120]}
    assert table.to_pydict() == expected


def test_no_step_leaves_the_table_alone() -> None:
    table = pa.table({"age": [1, 2]})
    assert RowSteps().apply(table) == (table, 0)
    assert RowSteps().source_columns() == ()


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(0, 99)), st.one_of(st.none(), st.integers(-9, 99))), max_size=20
    ),
    st.data(),
)
def test_any_split_of_the_rows_gives_the_same_rows(rows: Any, data: st.DataObject) -> None:
    ages, delays = [row[0] for row in rows], [row[1] for row in rows]
    table = pa.table({"age": pa.array(ages, pa.int64()), "delay": pa.array(delays, pa.int64())})
    cut = data.draw(st.integers(0, len(rows)))
    (whole, filtered), (first, f1), (second, f2) = (STEPS.apply(part) for part in (table, table[:cut], table[cut:]))
    assert pa.concat_tables([first, second]).to_pydict() == whole.to_pydict()
    assert f1 + f2 == filtered


def test_applying_to_data_that_was_generalised_already_changes_nothing() -> None:
    table = pa.table({"age": [12, 64], "delay": [1, 2]})
    masked = table.set_column(0, "age", pa.array([10, 60]))
    assert STEPS.apply(table)[0].to_pydict() == STEPS.apply(masked)[0].to_pydict()


def test_source_columns_are_those_that_derived_ones_and_where_look_at() -> None:
    assert STEPS.source_columns() == ("age", "delay")
    assert steps_of({"a": "b + 1", "c": "a + d"}, "e > a").source_columns() == ("b", "d", "e")


def test_only_what_columns_depend_on_is_kept_and_where_stays() -> None:
    assert [name for name, _ in STEPS.needed_for(["very"]).derive] == ["late", "very"]
    needed = STEPS.needed_for(["zip"])
    assert (needed.derive, [name for name, _ in needed.generalise], needed.where) == ((), ["age", "zip"], STEPS.where)
    assert [name for name, _ in steps_of({"a": "x", "b": "y"}, "b > 1").needed_for([]).derive] == ["b"]


def test_the_schema_says_what_apply_gives() -> None:
    table = pa.table({"age": [9, 12], "delay": [99, 20]})
    assert STEPS.output_schema(table.schema) == STEPS.apply(table)[0].schema


@pytest.mark.parametrize(
    ("derive", "where", "message"),
    [
        ({"a": "b + 1"}, None, "'b'"),
        ({"a": "delay + nope"}, None, "nope"),
        ({}, "delay + 1", "expected a condition"),
        ({"delay": "age + 1"}, None, "has a column of that name already"),
    ],
    ids=["unknown", "unknown_beside_known", "where_is_a_number", "hides_a_source"],
)
def test_what_does_not_fit_the_schema_is_refused(derive: dict[str, str], where: str | None, message: str) -> None:
    schema = pa.schema({"age": pa.int64(), "delay": pa.int64()})
    with pytest.raises(InvalidInput, match=message):
        steps_of(derive, where).output_schema(schema)


def test_apply_refuses_a_missing_source_and_a_hidden_column() -> None:
    with pytest.raises(InvalidInput, match="'delay'"):
        STEPS.apply(pa.table({"age": [1]}))
    with pytest.raises(InvalidInput, match=r"derive\.late"):
        STEPS.apply(pa.table({"age": [1], "delay": [1], "late": [True]}))


@pytest.mark.parametrize(
    ("derive", "generalise", "message"),
    [
        ({}, {"id": PSEUDONYM}, "a pseudonym can't be a step"),
        ({"a": "a + 1"}, {}, "'a' before it is made"),
        ({"a": "b", "b": "x"}, {}, "'b' before it is made"),
        ({"a": "x"}, {"a": BY_FIVE}, "is a derived column"),
    ],
    ids=["pseudonym", "itself", "order", "generalised_derived"],
)
def test_steps_that_contradict_themselves_are_refused(derive: Any, generalise: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        steps_of(derive, None, generalise)


def test_a_name_made_twice_is_refused() -> None:
    one = ("a", parse_expression("x", where="test"))
    with pytest.raises(InvalidInput, match=r"derive\.a: made twice"):
        RowSteps(derive=(one, one))
    with pytest.raises(InvalidInput, match=r"generalise\.x: named twice"):
        RowSteps(generalise=(("x", BY_FIVE), ("x", BY_FIVE)))


def test_steps_survive_json() -> None:
    for steps in (STEPS, RowSteps()):
        assert RowSteps.from_record(json.loads(canonical_bytes(steps.record()))) == steps


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"generalise": [], "derive": [["a", "import('os')"]], "where": None},
        {"generalise": [["x", {"kind": "shuffle"}]], "derive": [], "where": None},
        {"generalise": [["x", PSEUDONYM.record()]], "derive": [], "where": None},
        {"generalise": [], "derive": [["a"]], "where": None},
        {"generalise": [], "derive": [], "where": 3},
        {"generalise": [["x", 3]], "derive": [], "where": None},
    ],
    ids=[
        "empty",
        "unknown_function",
        "unknown_mask",
        "pseudonym",
        "no_expression",
        "where_is_a_number",
        "mask_is_a_number",
    ],
)
def test_a_record_that_is_no_steps_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(Format, match="not row steps"):
        RowSteps.from_record(record)
