from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import AccessDenied, Format, Integrity, NotFound
from dataops.governance.grant import ColumnDecision, Effect, Grant, Verdict
from dataops.governance.masking import Mask, MaskKind

CONTRACT = "sha256:" + "c" * 64
BANDS = Mask(kind=MaskKind.GENERALISE, width=5.0)
DROP = Mask(kind=MaskKind.DROP)
PSEUDONYM = Mask(kind=MaskKind.PSEUDONYM, domain="person", key_id="key-1", purpose="train")

DECISIONS = (
    ColumnDecision(column="education", verdict=Verdict.VISIBLE, rules=("privacy/analysts",), classification="public"),
    ColumnDecision(
        column="age", verdict=Verdict.MASKED, mask=BANDS, rules=("privacy/bands",), classification="pii.quasi"
    ),
    ColumnDecision(
        column="ssn",
        verdict=Verdict.DENIED,
        rules=("privacy/no-direct",),
        classification="pii.direct",
        reason="denied by rule 'no-direct' of policy 'privacy' (people are not named)",
    ),
    ColumnDecision(column="wage", verdict=Verdict.DENIED, classification="", reason="no rule allows it"),
    ColumnDecision(
        column="phone",
        verdict=Verdict.MASKED,
        mask=DROP,
        rules=("privacy/no-phone",),
        classification="pii.direct",
        reason="masked (drop) by rule 'no-phone' of policy 'privacy'",
    ),
)


def grant(principal: str = "ana", *roles: str) -> Grant:
    return Grant(
        principal=principal,
        roles=roles or ("analyst",),
        purpose="train",
        dataset="census",
        zone="historical",
        decisions=DECISIONS,
        effect=Effect(columns={"education": None, "age": BANDS}, filters=("age >= 18",), contract_digest=CONTRACT),
        policy_digest="sha256:" + "d" * 64,
    )


def test_columns_that_are_granted_are_no_reason_to_stop() -> None:
    grant().require_columns(["age", "education", "age"], what="job 'income'")


def test_the_refusal_says_what_a_data_scientist_needs_to_know() -> None:
    with pytest.raises(AccessDenied) as caught:
        grant().require_columns(["age", "ssn", "wage", "phone", "educaton"], what="job 'income', features")
    first, *rest = str(caught.value).splitlines()
    assert first.startswith("job 'income', features asks for 4 columns of dataset 'census' (historical)")
    assert first.endswith("that 'ana' (roles: analyst) may not read for purpose 'train':")
    assert rest == [
        "  ssn (pii.direct): denied by rule 'no-direct' of policy 'privacy' (people are not named)",
        "  wage (no classification): no rule allows it",
        "  phone (pii.direct): masked (drop) by rule 'no-phone' of policy 'privacy'",
        "  educaton: not a column of the contract. Did you mean 'education'?",
        "Leave them out (you may read education, age), or ask whoever keeps the policies for a rule that allows them.",
        "`dataops job explain` shows every column with its rule.",
    ]


def test_one_column_is_one_column() -> None:
    with pytest.raises(AccessDenied, match="asks for 1 column of"):
        grant().require_columns(["ssn", "ssn"], what="job 'income'")


def test_a_decision_is_found_by_its_column() -> None:
    assert grant().decision("age").mask == BANDS
    with pytest.raises(NotFound, match="Did you mean 'age'"):
        grant().decision("agee")


def test_the_effect_knows_no_person() -> None:
    first, second = grant("ana"), grant("bo", "steward", "operations")
    assert first.effect.digest == second.effect.digest
    assert not {"ana", "analyst"} & set(json.dumps(first.effect.record()).split('"'))


def effects() -> st.SearchStrategy[Effect]:
    masks = st.sampled_from([None, BANDS, PSEUDONYM, Mask(kind=MaskKind.NULL)])
    columns = st.dictionaries(st.text(max_size=5), masks, max_size=4)
    filters = st.lists(st.text(max_size=5), max_size=2).map(tuple)
    return st.builds(Effect, columns=columns, filters=filters, contract_digest=st.sampled_from([CONTRACT, "other"]))


@given(effects())
@settings(max_examples=50)
def test_an_effect_round_trips_in_its_order(effect: Effect) -> None:
    read = Effect.from_record(json.loads(json.dumps(effect.record())))
    assert read == effect
    assert list(read.columns) == list(effect.columns)
    assert pickle.loads(pickle.dumps(effect)) == effect


@given(effects(), effects())
@settings(max_examples=50)
def test_effects_have_one_digest_only_when_they_are_equal(first: Effect, second: Effect) -> None:
    same = first == second and list(first.columns) == list(second.columns)
    assert (first.digest == second.digest) == same


def test_an_altered_effect_is_refused() -> None:
    record = grant().effect.record()
    record["columns"] = [*record["columns"], ["ssn", None]]
    with pytest.raises(Integrity, match="altered"):
        Effect.from_record(record)


@pytest.mark.parametrize("record", [{}, {"columns": 5}, {"columns": [["a", {"kind": "shuffle"}]], "filters": []}])
def test_what_is_no_effect_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(Format):
        Effect.from_record(record)


def test_the_record_has_every_decision_and_the_digest_of_the_effect() -> None:
    record = json.loads(json.dumps(grant().record()))
    assert [decision["column"] for decision in record["decisions"]] == ["education", "age", "ssn", "wage", "phone"]
    assert record["effect"]["digest"] == grant().effect.digest
    assert record["decisions"][1]["mask"] == {"kind": "generalise", "width": 5.0}
