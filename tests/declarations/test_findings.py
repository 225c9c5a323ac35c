from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from dataops.declarations.declaration import Declaration
from dataops.declarations.loader import parse_yaml, validate
from dataops.errors import InvalidInput


class Allow(Declaration):
    effect: Literal["allow"]
    roles: tuple[str, ...]


class Mask(Declaration):
    effect: Literal["mask"]
    roles: tuple[str, ...]
    mask: dict[str, int]


class Inner(Declaration):
    numeric: tuple[str, ...] = ()
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5


class Outer(Declaration):
    name: str = "x"
    flag: bool = False
    count: int = 1
    inner: Inner | None = None
    rules: tuple[Annotated[Allow | Mask, Field(discriminator="effect")], ...] = ()
    fill: Literal["median", "mean"] | float = "median"
    either: Inner | tuple[Inner, ...] | str = "x"
    by_name: dict[Annotated[str, Field(max_length=5)], Inner] = Field(default_factory=dict)
    anything: JsonValue = None
    renamed: Inner = Field(default=Inner(), alias="camelCase")


def messages(text: str) -> list[str]:
    (document,) = parse_yaml(text, "f.yaml")
    with pytest.raises(InvalidInput) as caught:
        validate(document, Outer)
    return str(caught.value).splitlines()


def test_an_unknown_key_comes_with_line_path_and_near_match() -> None:
    assert messages("name: a\ninner:\n  numerik: [a]\n") == [
        "f.yaml:3: inner.numerik: unknown key. Did you mean 'numeric'?"
    ]


def test_an_unknown_key_without_a_near_match_lists_what_is_known_there() -> None:
    assert messages("inner: {zzz: 1}\n") == ["f.yaml:1: inner.zzz: unknown key. Known: numeric, share."]


def test_an_unknown_key_at_the_top_is_matched_with_aliases_too() -> None:
    assert messages("camelcase: {}\n") == ["f.yaml:1: camelcase: unknown key. Did you mean 'camelCase'?"]
    assert messages("camelCase: {shar: 1}\n") == ["f.yaml:1: camelCase.shar: unknown key. Did you mean 'share'?"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules:\n- {effect: allow, rolls: [a], roles: []}", "rules[0].rolls: unknown key. Did you mean 'roles'?"),
        ("rules:\n- {effect: mask, mask: {a: 1}}", "rules[0].roles: a required key is missing"),
        ("rules:\n- {effect: mask, roles: [a], mask: {a: x}}", "rules[0].mask.a: expected a whole number, found 'x'"),
        ("rules:\n- {effect: mask, roles: [a], mask: {}, msk: 1}", "rules[0].msk: unknown key. Did you mean 'mask'?"),
        (
            "rules:\n- {effect: alow}",
            "rules[0].effect: expected 'allow' or 'mask', found 'alow'. Did you mean 'allow'?",
        ),
        ("rules:\n- {roles: [a]}", "rules[0].effect: a required key is missing"),
        ("rules:\n- 3", "rules[0]: expected a mapping (key: value), found the number 3"),
    ],
)
def test_discriminated_unions_point_into_the_chosen_member(text: str, message: str) -> None:
    assert messages(text) == [f"f.yaml:2: {message}"]


def test_a_value_that_fits_no_member_of_a_union_is_one_finding() -> None:
    assert messages("fill: medium\n") == [
        "f.yaml:1: fill: expected 'median' or 'mean' or a number, found 'medium'. Did you mean 'median'?"
    ]


def test_findings_inside_one_member_hide_that_the_others_did_not_fit() -> None:
    assert messages("either: {numerik: [a]}\n") == ["f.yaml:1: either.numerik: unknown key. Did you mean 'numeric'?"]
    assert messages("either:\n- {share: 2}\n") == [
        "f.yaml:2: either[0].share: expected a number below 1, found the number 2"
    ]
    assert messages("either:\n- {}\n- {numerik: [a]}\n") == [
        "f.yaml:3: either[1].numerik: unknown key. Did you mean 'numeric'?"
    ]


@pytest.mark.parametrize("word", ["yes", "no", "on", "'true'", "1"])
def test_words_are_not_booleans(word: str) -> None:
    (message,) = messages(f"flag: {word}\n")
    assert message.startswith("f.yaml:1: flag: expected true or false, found ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count: '1'", "count: expected a whole number, found '1'"),
        ("count: 1.5", "count: expected a whole number, found the number 1.5"),
        ("count: true", "count: expected a whole number, found true"),
        ("name: 5", "name: expected text, found the number 5. Put it in quotes if it is text"),
        ("name: null", "name: expected text, found null. Put it in quotes if it is text"),
        ("name: [a]", "name: expected text, found a list of 1"),
        ("inner: []", "inner: expected a mapping (key: value), found an empty list"),
        ("inner: {numeric: a}", "inner.numeric: expected a list, found 'a'"),
        ("inner: {numeric: [a, 2]}", "inner.numeric[1]: expected text, found the number 2. Put it in quotes"),
        ("inner: {share: 1}", "inner.share: expected a number below 1, found the number 1"),
        ("inner: {share: 0}", "inner.share: expected a number above 0, found the number 0"),
        ("by_name: {abcdefg: {}}", "by_name.abcdefg: expected a text of at most 5 characters, found 'abcdefg'"),
        ("by_name: {abc: {shar: 1}}", "by_name.abc.shar: unknown key. Did you mean 'share'?"),
    ],
)
def test_findings_say_what_was_expected_and_what_was_found(text: str, message: str) -> None:
    (found,) = messages(text)
    assert found.startswith(f"f.yaml:1: {message}")


def test_a_document_that_is_no_mapping_is_one_finding() -> None:
    assert messages("- a\n") == ["f.yaml:1: expected a mapping (key: value), found a list of 1"]


def test_all_findings_come_at_once_in_the_order_of_the_file() -> None:
    text = "nam: a\nflag: yes\ninner:\n  share: 7\n  numerik: []\ncount: x\n"
    assert [line.split(": ")[0] for line in messages(text)] == [f"f.yaml:{n}" for n in (1, 2, 4, 5, 6)]


def test_a_long_text_is_not_repeated() -> None:
    (message,) = messages(f"count: {'x' * 500}\n")
    assert message == "f.yaml:1: count: expected a whole number, found a text of 500 characters"


def test_keys_of_free_mappings_keep_their_order_and_values() -> None:
    (document,) = parse_yaml("anything: {z: [1, 2.5, NO, null], a: true}\n", "f.yaml")
    outer = validate(document, Outer)
    assert list(outer.anything.items()) == [("z", [1, 2.5, "NO", None]), ("a", True)]  # type: ignore[union-attr]


def test_plain_pydantic_models_are_validated_as_strictly() -> None:
    class Plain(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)
        a: int
        b: dict[str, int] | None = None

    (document,) = parse_yaml("b: {x: 1}\naa: 1\n", "f.yaml")
    with pytest.raises(InvalidInput) as caught:
        validate(document, Plain)
    assert set(str(caught.value).splitlines()) == {
        "f.yaml:1: a: a required key is missing",
        "f.yaml:2: aa: unknown key. Did you mean 'a'?",
    }


def test_terminal_escapes_and_endless_keys_do_not_reach_a_message() -> None:
    lines = messages('"\\e[31mname": a\ncount: "\\e]0;title\\a"\n"' + "k" * 900 + '": 1\n')
    assert len(lines) == 3
    assert all(line.isprintable() and len(line) < 250 for line in lines)
    assert "x1b[31mname: unknown key" in lines[0]


def test_terminal_escapes_in_a_duplicate_key_do_not_reach_a_message() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_yaml('"\\e[31m": 1\n"\\e[31m": 2\n', "f.yaml")
    assert str(caught.value).isprintable()
