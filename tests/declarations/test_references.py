from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.references import ModelReference, parse_model_reference
from dataops.errors import InvalidInput

names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)


def test_an_alias_a_version_or_neither() -> None:
    assert parse_model_reference("income@champion") == ModelReference(model="income", alias="champion")
    assert parse_model_reference("income@3") == ModelReference(model="income", version=3)
    assert parse_model_reference("income") == ModelReference(model="income", alias="champion")


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "income@", "@3", "income@@3", "income@3@4", "income@0", "income@03", "income@-1", "income@1.0"),
        *("income@Champion", "../x@1", "income@../1", "income @3", "income@٣", "income@9999999999", "a\n@1"),
    ],
)
def test_what_names_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_model_reference(text)


@settings(max_examples=50)
@given(model=names, which=names.filter(lambda name: not name.isdigit()) | st.integers(1, 10**9 - 1).map(str))
def test_references_read_back_as_they_are_spelled(model: str, which: str) -> None:
    reference = parse_model_reference(f"{model}@{which}")
    assert str(reference) == f"{model}@{which}"
    assert pickle.loads(pickle.dumps(reference)) == reference


def test_a_reference_names_exactly_one_of_alias_and_version() -> None:
    with pytest.raises(InvalidInput, match="not both"):
        ModelReference(model="income", alias="champion", version=3)
    with pytest.raises(InvalidInput, match="needs an alias or a version"):
        ModelReference(model="income")
