from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations import loader
from dataops.declarations.loader import (
    MAX_DEPTH,
    MAX_FINDINGS,
    MAX_SIZE_BYTES,
    parse_yaml,
    read_document,
    read_yaml,
    spell,
)
from dataops.errors import InvalidInput, NotFound

PARSERS = [pytest.param(yaml.SafeLoader, id="python")]
if yaml.__with_libyaml__:
    PARSERS.append(pytest.param(yaml.CSafeLoader, id="libyaml"))


@pytest.fixture(params=PARSERS, autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_PARSER", request.param)


def refusal(text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_yaml(text, "jobs/a.yaml")
    return str(caught.value)


def outcome(text: str) -> tuple[list[object], str]:
    """The values that were read and no message, or no values and the message."""
    try:
        return [document.value for document in parse_yaml(text, "x.yaml")], ""
    except InvalidInput as error:
        return [], str(error)


def only_value(text: str) -> object:
    (document,) = parse_yaml(text, "a.yaml")
    return document.value


def alias_bomb(levels: int) -> str:
    rows = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(rows) + "\n"


HOSTILE = {
    "alias bomb": (alias_bomb(9), "aliases"),
    "recursive alias": ("a: &a [*a]\n", "aliases"),
    "anchor alone": ("a: &x 1\n", "anchors"),
    "anchor on a key": ("&x a: 1\n", "anchors"),
    "alias as a key": ("*a : 1\n", "key must be text"),
    "merge of an alias": ("a: 1\n<<: *a\n", "aliases"),
    "5,000 brackets": ("a: " + "[" * 5000, f"deeper than {MAX_DEPTH}"),
    "5,000 balanced brackets": ("a: " + "[" * 5000 + "]" * 5000, f"deeper than {MAX_DEPTH}"),
    "5,000 braces": ("{a: " * 5000, f"deeper than {MAX_DEPTH}"),
    "5,000 dashes": ("- " * 5000 + "a", f"deeper than {MAX_DEPTH}"),
    "as many brackets as fit": ("[" * (MAX_SIZE_BYTES - 1), f"deeper than {MAX_DEPTH}"),
    "python object": ("a: !!python/object/apply:os.system ['touch canary']\n", "tags"),
    "python name": ("a: !!python/name:os.system\n", "tags"),
    "own tag": ("a: !vault abc\n", "tags"),
    "standard tag": ("a: !!str 1\n", "tags"),
    "tag on a key": ("!!str a: 1\n", "tags"),
    "tag on the document": ("!!map\na: 1\n", "tags"),
    "binary": ("a: !!binary aGVsbG8=\n", "tags"),
    "verbatim tag": ("a: !<tag:yaml.org,2002:int> 1\n", "tags"),
    "list as a key": ("? [a, b]\n: 1\n", "key must be text"),
    "mapping as a key": ("{{a: b}: 1}\n", "key must be text"),
    "300 kB": ("a: " + "x" * 300_000, "256 kB"),
    "300 kB of two-byte letters": ("a: " + "é" * 150_000, "256 kB"),
    "200 kB integer": ("a: " + "9" * 200_000, "64-bit"),
    "200 kB fraction": ("a: 0." + "9" * 200_000, "64-bit"),
    "65-bit integer": ("a: 18446744073709551616\n", "64-bit"),
    "infinite number": ("a: 1e999\n", "64-bit"),
    "huge exponent": ("a: 1e-999999999\n", "quotes"),
    "NUL": ("a: \x00\n", "does not allow"),
    "terminal escape": ("a: \x1b[31mred\n", "does not allow"),
    "half surrogate": ("a: \ud800\n", "UTF-8"),
    "escaped half surrogate": ('a: "\\ud800"\n', "jobs/a.yaml:1"),
    "tab as indent": ("a:\n\t- b\n", "spaces, not tabs"),
    "unclosed bracket": ("a: [1,\n", "jobs/a.yaml:"),
    "two colons": ("a: b: c\n", "needs quotes"),
    "a line indented too far": ("a: b\n c: d\n", "the line is indented too far"),
    "no value": ("a:\nb: 1\n", "no value"),
    "no value in braces": ("{a, b}\n", "no value"),
    "empty document": ("a: 1\n---\n", "no value"),
}


@pytest.mark.parametrize(("text", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_refused_as_invalid_input(text: str, expected: str) -> None:
    assert expected in refusal(text)


@pytest.mark.parametrize("name", ["alias bomb", "5,000 balanced brackets", "5,000 dashes", "as many brackets as fit"])
def test_bombs_are_refused_before_most_of_them_is_parsed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def count(text: str, Loader: type) -> Iterator[object]:  # noqa: N803 - PyYAML's name
        for event in parse(text, Loader):
            seen.append(event)
            yield event

    parse = yaml.parse
    monkeypatch.setattr(yaml, "parse", count)
    refusal(HOSTILE[name][0])
    assert 1 < len(seen) < 4 * MAX_DEPTH


def test_a_python_tag_runs_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    refusal(f"a: !!python/object/apply:os.system ['touch {canary}']\n")
    assert not canary.exists()


GUESSED = """
NO no yes on off y True TRUE Null NULL ~ 0777 0o17 0x1F 1_000 +1 .5 1. .inf -.inf .nan NaN 1e = ٣ <<x age>15 hash(a)
12:30 12:30:00 2024-01-01 2024-01-01T00:00:00Z 127.0.0.1:0
"""


@pytest.mark.parametrize("text", GUESSED.split())
def test_words_that_yaml_1_1_would_guess_at_stay_text(text: str) -> None:
    assert only_value(f"a: {text}\n") == {"a": text}
    assert only_value(f"- {text}\n") == [text]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-7", -7),
        ("9223372036854775807", 2**63 - 1),
        ("0.2", 0.2),
        ("-0.5", -0.5),
        ("1.0", 1.0),
        ("0.00001", 1e-5),
        ("1e-3", 0.001),
        ("2.5E+2", 250.0),
    ],
)
def test_json_scalars_are_what_json_says(text: str, value: object) -> None:
    read = only_value(f"a: {text}\n")
    assert read == {"a": value}
    assert type(read["a"]) is type(value)  # type: ignore[index]
    assert read == {"a": json.loads(text)}


@pytest.mark.parametrize("text", ["1.10", "3.140", "-0", "0.1234567890123456789", "1.00", "12345678901234567890.5"])
def test_a_number_whose_text_would_be_lost_is_refused_and_may_be_quoted(text: str) -> None:
    message = refusal(f"version: {text}\n")
    assert message.startswith("jobs/a.yaml:1: version: ")
    assert "quotes" in message
    assert only_value(f"version: '{text}'\n") == {"version": text}


def test_quoted_and_block_text_is_never_a_number() -> None:
    text = "a: '1'\nb: \"true\"\nc: |\n  null\nd: >-\n  12\ne: ''\n"
    assert only_value(text) == {"a": "1", "b": "true", "c": "null\n", "d": "12", "e": ""}


def test_keys_are_text_whatever_they_look_like() -> None:
    assert only_value("1: a\ntrue: b\nnull: c\n1.10: d\n<<: e\n") == {
        "1": "a",
        "true": "b",
        "null": "c",
        "1.10": "d",
        "<<": "e",
    }


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    message = refusal("rule:\n  mask: true\n  roles: [a]\n  mask: false\n")
    assert message == "jobs/a.yaml:4: rule.mask: this key is already on line 2; keep one of the two"


def test_a_duplicate_key_in_braces_or_in_other_quotes_is_refused() -> None:
    assert "already on line 1" in refusal("{a: 1, 'a': 2}\n")
    assert "already on line 1" in refusal('"\\x61": 1\na: 2\n')


def test_all_findings_of_all_documents_come_at_once() -> None:
    lines = refusal("a: 1.10\nb: &x 2\n---\nc: !t 3\nc: 4\n").splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"jobs/a.yaml:{n}" for n in (1, 2, 4, 5)]


def test_findings_stop_at_twenty() -> None:
    lines = refusal("\n".join(f"k{i}: *a" for i in range(10_000))).splitlines()
    assert len(lines) == MAX_FINDINGS + 1
    assert "stopped here" in lines[-1]


def test_findings_before_a_syntax_error_are_not_lost() -> None:
    lines = refusal("a: 1.10\nb: [1,\n").splitlines()
    assert lines[0].startswith("jobs/a.yaml:1: a: ")
    assert len(lines) == 2


def test_depth_of_exactly_the_limit_is_read() -> None:
    assert only_value("[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH) is not None
    assert "deeper" in refusal("[" * (MAX_DEPTH + 1) + "1" + "]" * (MAX_DEPTH + 1))


def test_size_of_exactly_the_limit_is_read() -> None:
    assert only_value("'" + "x" * (MAX_SIZE_BYTES - 2) + "'") == "x" * (MAX_SIZE_BYTES - 2)
    assert "256 kB" in refusal("'" + "x" * (MAX_SIZE_BYTES - 1) + "'")


def test_lines_are_those_of_the_file_in_every_document() -> None:
    first, second = parse_yaml(
        "# jobs\nname: a\nkeep:\n  - x\n  - y\n---\nname: b\nsplit: {by: k,\n  test: 0.2}\n", "j.yaml"
    )
    assert first.lines == {(): 2, ("name",): 2, ("keep",): 3, ("keep", 0): 4, ("keep", 1): 5}
    assert second.line(("split", "test")) == 9
    assert second.where(("split", "absent")) == "j.yaml:8"
    assert second.where(("absent",)) == "j.yaml:7"


def test_comments_alone_are_no_document() -> None:
    assert parse_yaml("# nothing yet\n", "a.yaml") == []
    assert parse_yaml("", "a.yaml") == []


def test_a_byte_order_mark_is_skipped() -> None:
    assert only_value("\ufeffa: 1\n") == {"a": 1}


def test_the_digest_ignores_layout_and_keeps_the_order_of_keys() -> None:
    digests = [
        parse_yaml(text, "x")[0].digest for text in ("a: 1\nb: [x]\n", "# note\n{'a': 1, b: ['x']}\n", "b: [x]\na: 1\n")
    ]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
# PyYAML writes the text '1e5' without quotes, since YAML 1.1 sees no number in it; JSON does.
EXPONENT = re.compile(r"-?\d+[eE][+-]?\d+")
texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), max_size=8).filter(
    lambda text: not EXPONENT.fullmatch(text)
)
words = st.sampled_from(["NO", "1.10", "~", "null", "012", "- a", "a: b", "#", "", " x ", "&a", "*a", "!t", "<<"])
values = st.recursive(
    scalars | texts | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | words, inner, max_size=4),
    max_leaves=12,
)


def loses_nothing(text: str, value: object) -> bool:
    """Read back the same, or refused since a float is spelled in a way that rule 5 refuses."""
    read, message = outcome(text)
    return read == [value] or "would be read as" in message


@settings(max_examples=50)
@given(value=values)
def test_values_written_as_json_read_back_the_same(value: object) -> None:
    assert loses_nothing(json.dumps(value, ensure_ascii=False, indent=1), value)


class PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


@settings(max_examples=50)
@given(value=values)
def test_values_written_by_pyyaml_read_back_the_same(value: object) -> None:
    assert loses_nothing(yaml.dump(value, Dumper=PlainDumper, allow_unicode=True, sort_keys=False), value)


@settings(max_examples=50)
@given(text=st.text(st.sampled_from("ab:-[]{},&*!|>'\"#\n\t ?%@`~01.e\\\x00\ud800é"), max_size=60))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    read, message = outcome(text)
    assert all(outcome(json.dumps(value)) == ([value], "") for value in read)
    assert not message or message.startswith("x.yaml")


def test_a_missing_file_names_its_near_match(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("a: 1\n")
    with pytest.raises(NotFound, match=r"trian\.yaml: no such file\. Did you mean 'train\.yaml'\?"):
        read_yaml(tmp_path / "trian.yaml")
    with pytest.raises(NotFound, match="no such file"):
        read_yaml(tmp_path / "absent" / "a.yaml")


def test_a_folder_binary_file_or_endless_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a file"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(InvalidInput, match=r"latin\.yaml:2: not UTF-8"):
        read_yaml(tmp_path / "latin.yaml")
    (tmp_path / "utf16.yaml").write_bytes("a: 1\n".encode("utf-16"))
    with pytest.raises(InvalidInput, match="not UTF-8"):
        read_yaml(tmp_path / "utf16.yaml")
    with pytest.raises(InvalidInput, match="256 kB"):
        read_yaml(Path("/dev/zero"))


def test_a_file_with_several_documents_is_not_one_document(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text("a: 1\n---\nb: 2\n")
    with pytest.raises(InvalidInput, match="holds 2 documents"):
        read_document(path)
    path.write_text("# empty\n")
    with pytest.raises(InvalidInput, match="holds 0 documents"):
        read_document(path)


def test_places_are_spelled_as_people_write_them() -> None:
    assert spell(("features", "numeric", "columns", 2)) == "features.numeric.columns[2]"
    assert spell(()) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n  - b: 1\n   - c: 2\n", "jobs/a.yaml:3: indented otherwise than the items of this list"),
        ("a:\n    b: 1\n  c: 1\n", "jobs/a.yaml:3: indented otherwise than the keys beside it"),
        ("roles: *\n", 'jobs/a.yaml:1: write "*" in quotes'),
        ("a: @x\n", "jobs/a.yaml:1: indent with spaces, not tabs; text that begins with @"),
    ],
)
def test_the_commonest_slips_of_syntax_are_told_in_plain_words(text: str, message: str) -> None:
    assert refusal(text).startswith(message)
