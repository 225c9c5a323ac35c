"""What was made is bound by what its origins are classified as today, beside what they were."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import AccessDenied
from dataops.governance.contract import Column, Contract, derived_contract, inherited_classification
from dataops.governance.marks import derived_marks, derived_origins, mark
from dataops.governance.retagging import retagged
from dataops.governance.rules import classifications_of
from tests.governance.policies import BANDS, allow, ask, deny, masks, seen

MARK = mark(BANDS)


def source(name: str, classification: str, *marks: str) -> Column:
    return Column(name=name, type=pa.int64(), classification=classification, masks=marks)


def mixed(*sources: Column) -> Contract:
    one = Column(
        name="mix",
        type=pa.int64(),
        classification=inherited_classification(sources),
        masks=derived_marks(sources),
        origins=derived_origins(sources),
    )
    return derived_contract("made", [one])


def catalog(*columns: Column) -> Contract:
    return Contract(name="raw", version="2", columns=columns)


AGE, HOURS = source("age", "pii.quasi", MARK), source("hours", "work")
MADE = derived_contract("made", [AGE, HOURS])


def test_a_tag_that_was_added_at_the_source_restricts_what_was_made_before() -> None:
    today = catalog(source("age", "pii.quasi"), source("hours", "sensitive.union"))
    contract = retagged(MADE, [today])
    assert [one.classification for one in contract.columns] == ["pii.quasi", "sensitive.union+work"]
    assert list(seen(ask(allow(), deny("no", classifications=("sensitive.*",)), contract=contract))) == ["age"]


def test_an_allow_needs_the_tags_of_then_and_of_today() -> None:
    contract = retagged(MADE, [catalog(source("hours", "public"))])
    for tags, given_to in (
        (("work",), []),
        (("public",), []),
        (("work", "public"), ["hours"]),
    ):
        allowed = allow(classifications=("pii.quasi", *tags))
        assert [name for name in seen(ask(allowed, contract=contract)) if name != "age"] == given_to


def test_a_tag_that_was_taken_away_at_the_source_stays_with_what_was_made() -> None:
    assert retagged(MADE, [catalog(source("age", "public"))]).column("age").classification == "pii.quasi+public"


def test_nothing_changes_where_the_source_says_the_same_or_is_gone() -> None:
    assert retagged(MADE, []) == MADE
    assert retagged(MADE, [catalog(source("Age", "PII.quasi"), source("else", "sensitive.x"))]) == MADE
    both = mixed(AGE, HOURS)
    assert retagged(both, [catalog(source("age", "pii.quasi"), HOURS)]) == both


def test_what_nobody_classifies_any_more_is_unclassified_too() -> None:
    contract = retagged(MADE, [catalog(source("hours", ""))])
    assert classifications_of(contract.column("hours")) == {"work", "unclassified"}
    assert "hours" not in seen(ask(allow(), contract=contract))


def test_a_derived_column_is_bound_by_its_origins_and_not_by_its_own_name() -> None:
    made = derived_contract("made", [replace(AGE, name="band", origins=("age",))])
    today = catalog(source("age", "sensitive.age"), source("band", "finance"))
    assert retagged(made, [today]).column("band").classification == "pii.quasi+sensitive.age"


def test_all_contracts_on_the_way_count() -> None:
    ancestors = [catalog(source("hours", "a")), catalog(source("HOURS", "b"))]
    assert retagged(MADE, ancestors).column("hours").classification == "a+b+work"


def test_a_class_that_an_unmasked_origin_joined_is_carried_no_longer() -> None:
    made = mixed(AGE, HOURS)
    rule = masks("bands", BANDS, classifications=("pii.quasi",))
    assert seen(ask(allow(), rule, contract=made)) == {"mix": None}
    joined = retagged(made, [catalog(source("age", "pii.quasi"), source("hours", "pii.quasi"))])
    assert seen(ask(allow(), rule, contract=joined)) == {"mix": BANDS}
    both = mixed(AGE, replace(HOURS, masks=(MARK,)))
    joined = retagged(both, [catalog(source("age", "pii.quasi"), source("hours", "pii.quasi"))])
    assert seen(ask(allow(), rule, contract=joined)) == {"mix": None}


def test_a_class_is_carried_where_all_that_have_it_today_were_masked() -> None:
    made = mixed(AGE, HOURS)
    contract = retagged(made, [catalog(source("age", "pii.new"), HOURS)])
    assert seen(ask(allow(), masks("bands", BANDS, classifications=("pii.new",)), contract=contract)) == {"mix": None}
    assert seen(ask(allow(), masks("bands", BANDS, classifications=("work",)), contract=contract)) == {"mix": BANDS}


tags = st.sampled_from(["pii.quasi", "work", "sensitive.x", ""])
columns = st.builds(lambda name, tag, masked: source(name, tag, *((MARK,) if masked else ())),
                    st.sampled_from("abc"), tags, st.booleans())  # fmt: skip


@given(
    st.lists(columns, min_size=1, max_size=3, unique_by=lambda one: one.name),
    st.lists(st.builds(source, st.sampled_from("abc"), tags), max_size=3),
    tags,
)
def test_retagging_never_gives(sources: list[Column], today: list[Column], tag: str) -> None:
    made = mixed(*sources)
    after = retagged(made, [catalog(*today)])
    assert classifications_of(made.columns[0]) <= classifications_of(after.columns[0])
    rules = [allow(classifications=("*", "unclassified"))]
    rules.append(masks("m", BANDS, classifications=(tag or "unclassified",)))
    try:
        before = seen(ask(*rules, contract=made))
    except AccessDenied:
        before = {}
    now = seen(ask(*rules, contract=after)) if before else {}
    assert now.keys() <= before.keys()
    assert not [name for name, mask in now.items() if mask is None and before[name] is not None]


@pytest.mark.parametrize("tag", ["pii.quasi", "work"])
def test_retagging_twice_is_retagging_once(tag: str) -> None:
    today = catalog(source("age", tag), source("hours", "x"))
    once = retagged(mixed(AGE, HOURS), [today])
    assert retagged(once, [today]) == once
