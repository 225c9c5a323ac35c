"""Checking rows: against an oracle, for any split of the rows, and up to the limits."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import InvalidInput
from dataops.governance.checking import Checked, check_rows, columns_of_rules, over_threshold, table_columns_match
from dataops.governance.contract import SEVERITY, Action, Column, Contract, Rule, RuleKind

SCHEMA = pa.schema({"age": pa.int16(), "wage": pa.float32(), "state": pa.string(), "born": pa.date32()})
COLUMNS = tuple(Column(name=field.name, type=field.type) for field in SCHEMA)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "age": st.none() | st.integers(-3, 12),
            "wage": st.none() | st.sampled_from([0.0, -1.5, 100.0, float("nan"), float("inf")]),
            "state": st.none() | st.sampled_from(["", "CA", "ca", "N/A", "NY", "NYC"]),
            "born": st.none(),
        }
    ),
    max_size=15,
)


def null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


ASKED = {
    RuleKind.NOT_NULL: ({}, lambda _arguments, value: not null(value)),
    RuleKind.MINIMUM: ({"value": 0}, lambda arguments, value: null(value) or value >= arguments["value"]),
    RuleKind.EXCLUSIVE_MAXIMUM: ({"value": 10.0}, lambda arguments, value: null(value) or value < arguments["value"]),
}
OF_TEXT = {
    RuleKind.NOT_MISSING: ({"values": ["", "N/A", None]}, lambda _arguments, value: value not in (None, "", "N/A")),
    RuleKind.VALID_VALUES: ({"values": ["CA", "NY"]}, lambda _arguments, value: value in (None, "CA", "NY")),
    RuleKind.PATTERN: ({"value": "[A-Z]{2}"}, lambda _a, value: value is None or bool(re.fullmatch("[A-Z]{2}", value))),
    RuleKind.MAX_LENGTH: ({"value": 2}, lambda _arguments, value: value is None or len(value) <= 2),
}
ORACLES = {**ASKED, **OF_TEXT}


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    kinds = draw(st.lists(st.sampled_from(sorted(ORACLES)), max_size=6))
    rules = tuple(
        Rule(
            id=f"r{number}",
            kind=kind,
            column="state" if kind in OF_TEXT else draw(st.sampled_from(["age", "wage"])),
            arguments=ORACLES[kind][0],
            action=draw(st.sampled_from(Action)),
        )
        for number, kind in enumerate(kinds)
    )
    return Contract(name="c", version="1", columns=COLUMNS, rules=rules)


@st.composite
def contracts_with_keys(draw: st.DrawFn) -> Contract:
    """Rules of rows and rules that ask for unique rows, in any order."""
    contract = draw(contracts())
    actions = draw(st.lists(st.sampled_from(Action), min_size=1, max_size=3))
    unique = [Rule(id=f"u{number}", kind=RuleKind.UNIQUE, action=action) for number, action in enumerate(actions)]
    return replace(contract, rules=tuple(draw(st.permutations([*contract.rules, *unique]))))


def breaks(rule: Rule, row: dict[str, Any]) -> bool:
    return not ORACLES[rule.kind][1](rule.arguments, row[str(rule.column)])


def set_aside_by(contract: Contract, row: dict[str, Any]) -> int:
    return worst(contract, [index for index, rule in enumerate(contract.rules) if breaks(rule, row)])


def worst(contract: Contract, broken: list[int]) -> int:
    for action in (Action.FAIL, Action.QUARANTINE, Action.DROP):
        for index in broken:
            if contract.rules[index].action == action:
                return index
    return -1


@settings(max_examples=100, deadline=None)
@given(contract=contracts(), rows=ROWS)
def test_agrees_with_a_row_by_row_oracle(contract: Contract, rows: list[dict[str, Any]]) -> None:
    checked = check_rows(contract, pa.Table.from_pylist(rows, SCHEMA))
    assert checked.rule_index.tolist() == [set_aside_by(contract, row) for row in rows]
    assert checked.keep.tolist() == [set_aside_by(contract, row) == -1 for row in rows]
    assert checked.broken == tuple(sum(breaks(rule, row) for row in rows) for rule in contract.rules)


@settings(max_examples=50, deadline=None)
@given(contract=contracts(), rows=ROWS, data=st.data())
def test_any_split_of_the_rows_adds_up_to_the_same(
    contract: Contract, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    table = pa.Table.from_pylist(rows, SCHEMA)
    whole = check_rows(contract, table)
    parts = [check_rows(contract, table.slice(0, cut)), check_rows(contract, table.slice(cut))]
    chunked = check_rows(contract, pa.concat_tables([table.slice(0, cut), table.slice(cut)]))
    split = np.concatenate([part.rule_index for part in parts]).tolist()
    assert split == whole.rule_index.tolist() == chunked.rule_index.tolist()
    assert tuple(np.add(parts[0].broken, parts[1].broken)) == whole.broken == chunked.broken


@settings(max_examples=100, deadline=None)
@given(contract=contracts_with_keys(), rows=ROWS, data=st.data())
def test_repeated_keys_are_set_aside_like_rows_that_break_a_rule_of_rows(
    contract: Contract, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    flags = st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)).map(lambda told: np.array(told, dtype=bool))
    repeats = {place: data.draw(flags) for place, rule in enumerate(contract.rules) if rule.kind is RuleKind.UNIQUE}
    cut = data.draw(st.integers(0, len(rows)))
    table = pa.Table.from_pylist(rows, SCHEMA)
    checked = check_rows(contract, pa.concat_tables([table.slice(0, cut), table.slice(cut)]), repeats=repeats)
    broken = [
        [i for i, rule in enumerate(contract.rules) if (repeats[i][n] if i in repeats else breaks(rule, row))]
        for n, row in enumerate(rows)
    ]
    assert checked.rule_index.tolist() == [worst(contract, one) for one in broken]
    assert checked.keep.tolist() == [worst(contract, one) == -1 for one in broken]
    assert checked.broken == tuple(sum(i in one for one in broken) for i in range(len(contract.rules)))


def test_repeated_keys_are_set_aside_where_no_rule_looks_at_a_row() -> None:
    rule = Rule(id="key", kind=RuleKind.UNIQUE, arguments={"columns": ["age"]})
    contract = Contract(name="c", version="1", columns=COLUMNS, rules=(rule,))
    checked = check_rows(contract, pa.table({"age": [1, 1, 2]}), repeats={0: np.array([False, True, False])})
    assert checked.rule_index.tolist() == [-1, 0, -1]
    assert checked.broken == (1,)


def test_the_severity_of_actions_holds_each_of_them_once() -> None:
    assert sorted(SEVERITY) == sorted(Action)


def check(rule: Rule, **columns: Any) -> Checked:
    table = pa.table(columns)
    declared = tuple(Column(name=name, type=table.schema.field(name).type) for name in columns)
    return check_rows(Contract(name="c", version="1", columns=declared, rules=(rule,)), table)


def test_unknown_passes_and_only_false_breaks() -> None:
    rule = Rule(id="r", kind=RuleKind.EXPRESSION, arguments={"sql": "10 / x > 1"})
    assert check(rule, x=[5, 20, 0, None]).rule_index.tolist() == [-1, 0, -1, -1]


def test_a_warning_counts_and_keeps() -> None:
    rule = Rule(id="r", kind=RuleKind.MAXIMUM, column="x", arguments={"value": 5}, action=Action.WARN)
    checked = check(rule, x=[1, 9])
    assert checked.keep.tolist() == [True, True]
    assert checked.broken == (1,)


def test_bytes_that_are_not_text_break_a_required_column() -> None:
    values = pa.array([b"ok", b"\xff"], pa.binary()).view(pa.string())
    assert check(Rule(id="r", kind=RuleKind.NOT_NULL, column="s"), s=values).keep.tolist() == [True, False]


def test_dates_are_compared_with_text_limits() -> None:
    rule = Rule(id="r", kind=RuleKind.MINIMUM, column="d", arguments={"value": "2024-01-01"})
    values = pa.array([19722, 19723, None], pa.date32())  # 2023-12-31, 2024-01-01
    assert check(rule, d=values).keep.tolist() == [False, True, True]


def test_a_pattern_must_match_the_whole_text() -> None:
    rule = Rule(id="r", kind=RuleKind.PATTERN, column="s", arguments={"value": "a|b"})
    assert check(rule, s=["a", "ab", "b\n"]).keep.tolist() == [True, False, False]


def test_multiples() -> None:
    rule = Rule(id="r", kind=RuleKind.MULTIPLE_OF, column="x", arguments={"value": 5})
    assert check(rule, x=[-10, 0, 3]).keep.tolist() == [True, True, False]


def test_without_rules_every_row_is_kept() -> None:
    contract = Contract(name="c", version="1", columns=COLUMNS)
    checked = check_rows(contract, pa.table({"age": [1, 2]}))
    assert checked.keep.tolist() == [True, True]
    assert checked.broken == ()
    assert columns_of_rules(contract) == frozenset()


OF_TEXTS = (
    "state <> city",
    "state = city or state is null",
    "length(state) <= length(city)",
    "coalesce(state, city) in ('CA', 'NY')",
    "city is not null",
)
TEXTS = st.none() | st.sampled_from(["", "CA", "ca", "NY", "é"])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_text_in_dictionaries_is_checked_as_plain_text_is(data: st.DataObject) -> None:
    few = data.draw(st.lists(st.tuples(TEXTS, TEXTS), max_size=6))
    rows = [*few, *data.draw(st.lists(st.sampled_from(few), max_size=40))] if few else []
    names = {"state": 0, "city": 1}
    plain = pa.table({name: pa.array([row[at] for row in rows], pa.string()) for name, at in names.items()})
    strays = pa.table(dict.fromkeys(names, pa.array(["XX", "CA"] * data.draw(st.integers(0, 1)), pa.string())))
    both = pa.concat_tables([strays, plain]).combine_chunks()  # dictionaries with values that no row below has
    narrow = pa.dictionary(pa.int8(), pa.string())
    encoded = pa.table({name: both.column(name).dictionary_encode().cast(narrow) for name in names})
    encoded = encoded.slice(strays.num_rows)
    rules = tuple(
        Rule(id=sql, kind=RuleKind.EXPRESSION, arguments={"sql": sql}, action=data.draw(st.sampled_from(Action)))
        for sql in data.draw(st.permutations(OF_TEXTS))
    )
    contract = Contract(
        name="c", version="1", columns=tuple(Column(name=name, type=pa.string()) for name in names), rules=rules
    )
    by_row, by_value = check_rows(contract, plain), check_rows(contract, encoded)
    assert by_value.rule_index.tolist() == by_row.rule_index.tolist()
    assert by_value.broken == by_row.broken


def test_more_combinations_than_a_narrow_index_can_count() -> None:
    values = [f"v{number}" for number in range(20)]
    plain = pa.table({"state": values * 50, "city": [one for one in values for _ in range(50)]})
    narrow = pa.dictionary(pa.int8(), pa.string())
    encoded = pa.table(
        {name: plain.column(name).combine_chunks().dictionary_encode().cast(narrow) for name in plain.column_names}
    )
    rule = Rule(id="r", kind=RuleKind.EXPRESSION, arguments={"sql": "state <> city"})
    contract = Contract(
        name="c",
        version="1",
        columns=tuple(Column(name=name, type=pa.string()) for name in plain.column_names),
        rules=(rule,),
    )
    by_row, by_value = check_rows(contract, plain), check_rows(contract, encoded)
    assert by_value.rule_index.tolist() == by_row.rule_index.tolist()
    assert by_value.broken == by_row.broken == (50,)


def test_the_columns_of_all_rules_are_needed_and_named_when_absent() -> None:
    rules = (
        Rule(id="a", kind=RuleKind.EXPRESSION, arguments={"sql": "age > wage"}),
        Rule(id="b", kind=RuleKind.NOT_NULL, column="state"),
    )
    contract = Contract(name="c", version="1", columns=COLUMNS, rules=rules)
    assert columns_of_rules(contract) == {"age", "wage", "state"}
    with pytest.raises(InvalidInput, match="without the columns state, wage"):
        check_rows(contract, pa.table({"age": [1]}))


def test_a_type_that_a_rule_cannot_take_is_refused_without_a_value() -> None:
    rule = Rule(id="r", kind=RuleKind.MINIMUM, column="s", arguments={"value": 1})
    with pytest.raises(InvalidInput) as refusal:
        check(rule, s=["CANARY"])
    assert "CANARY" not in str(refusal.value)


# --- limits


@pytest.mark.parametrize(
    ("limits", "broken", "rows", "fails"),
    [
        ({}, 99, 100, False),
        ({"max_rows": 3}, 3, 100, False),
        ({"max_rows": 3}, 4, 100, True),
        ({"max_rows": 0}, 1, 100, True),
        ({"max_percent": 1.0}, 1, 100, False),
        ({"max_percent": 1.0}, 2, 100, True),
        ({"max_percent": 0.0}, 0, 0, False),
        ({"action": Action.FAIL}, 1, 100, True),
        ({"action": Action.FAIL}, 0, 100, False),
        ({"action": Action.WARN, "max_rows": 0}, 1, 100, True),
    ],
)
def test_a_run_fails_beyond_a_rules_limit(limits: dict[str, Any], broken: int, rows: int, fails: bool) -> None:
    rule = Rule(id="r", kind=RuleKind.NOT_NULL, column="age", **limits)
    findings = over_threshold(Contract(name="c", version="1", columns=COLUMNS, rules=(rule,)), [broken], rows)
    assert bool(findings) is fails
    assert not fails or findings[0].startswith(f"rule 'r': {broken} of {rows} rows")


# --- files and contract


def test_files_that_fit() -> None:
    columns = (*COLUMNS, Column(name="year", type=pa.int16(), partitioned=True))
    contract = Contract(name="c", version="1", columns=columns)
    stored = pa.schema(
        {
            "age": pa.int8(),
            "wage": pa.float32(),
            "state": pa.dictionary(pa.int8(), pa.string()),
            "born": pa.date32(),
            "n": pa.list_(pa.binary()),
        }
    )
    assert table_columns_match(contract, stored) == []
    assert table_columns_match(contract, stored.append(pa.field("year", pa.string()))) == []


def test_files_that_do_not_fit_are_told_column_by_column() -> None:
    contract = Contract(name="c", version="1", columns=COLUMNS)
    stored = pa.schema(
        [
            ("age", pa.int64()),
            ("wages", pa.float32()),
            ("state", pa.string()),
            ("STATE", pa.string()),
            ("born", pa.date32()),
        ]
    )
    findings = "\n".join(table_columns_match(contract, stored))
    assert "column 'age' is int16 in the contract, and int64 in the files" in findings
    assert "column 'wage' is missing from the files. Did you mean 'wages'?" in findings
    assert "column 'wages' is not in the contract" in findings
    assert "column 'STATE' can't be told from column 'state'" in findings
