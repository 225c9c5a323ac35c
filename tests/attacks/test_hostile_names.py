"""Names that would leave their folder, hide, look like another name or stop a tool: refused wherever a name comes in,
with the name in the message and nothing on disk.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dataops.cli.main import main
from dataops.declarations.loader import parse_yaml
from dataops.errors import DataopsError, InvalidInput
from dataops.governance.policy_file import parse_policy
from dataops.records import require_name
from dataops.runs.workspace import open_workspace
from dataops.storage.objects import PosixStore, check_key
from tests.attacks.canaries import make_workspace

NAMES = {
    "empty": "",
    "blank": " ",
    "dot": ".",
    "two dots": "..",
    "parent": "../people_old",
    "parents": "../../../../etc/passwd",
    "parent in the middle": "a/../../b",
    "inner folder": "a/b",
    "trailing slash": "people/",
    "absolute": "/etc/passwd",
    "double slash": "//server/share",
    "home": "~",
    "home of root": "~root",
    "variable": "$HOME",
    "braces": "${HOME}",
    "command": "$(touch canary)",
    "backquotes": "`touch canary`",
    "percent": "%2e%2e",
    "percent slash": "..%2fpeople_old",
    "double percent": "%252e%252e",
    "backslash": "..\\people_old",
    "drive": "C:\\people",
    "share": "\\\\server\\share",
    "file URL": "file:///etc/passwd",
    "bucket": "s3://bucket/key",
    "memory": "memory://x",
    "colon": "a:b",
    "reserved by Windows": "CON",
    "reserved with suffix": "con.txt",
    "stream": "people::$DATA",
    "NUL": "people\x00old",
    "newline": "people\nold",
    "carriage return": "people\rold",
    "tab": "people\told",
    "escape": "\x1b[2Jpeople",
    "bell": "people\x07",
    "delete": "people\x7f",
    "line separator": "people\u2028old",
    "zero width": "people\u200bold",
    "zero width joiner": "people\u200dold",
    "byte order mark": "\ufeffpeople_old",
    "right to left": "\u202epeople_old",
    "isolate": "\u2066people\u2069",
    "soft hyphen": "people\u00adold",
    "full width": "\uff50\uff45\uff4f\uff50\uff4c\uff45",
    "Cyrillic look-alike": "p\u0435ople_old",
    "Greek look-alike": "pe\u03bfple_old",
    "combining": "pe\u0301ople",
    "dotless i": "b\u0131nary",
    "long s": "per\u017fon",
    "upper case": "People_Old",
    "option": "-rf",
    "long option": "--help",
    "underscore first": "_people",
    "hidden": ".people",
    "dotted": "people.old",
    "star": "people_*",
    "question mark": "people_?",
    "quote": "people'old",
    "double quote": 'people"old',
    "HTML": "<script>alert(1)</script>",
    "formula": "=cmd|'/c calc'!A0",
    "comma": "people,old",
    "semicolon": "people;drop table",
    "64 characters": "p" * 64,
    "300 characters": "p" * 300,
    "lone surrogate": "people\ud800",
    "emoji": "people\U0001f600",
}
NAME = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_workspace(tmp_path_factory.mktemp("names") / "people")
    open_workspace(str(folder), {})  # makes the folders of storage and registry
    return folder


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.parent.rglob("*")}


def test_there_are_enough_of_them() -> None:
    assert len(set(NAMES.values())) >= 60


@NAME
def test_is_no_name(name: str) -> None:
    with pytest.raises(InvalidInput, match="can't name a dataset"):
        require_name(name, "dataset")


@NAME
def test_is_no_key_outside_the_store(name: str, tmp_path: Path) -> None:
    """A key may be dotted or in capitals, but stays in its store; whatever is put is found under that very key."""
    store = PosixStore(tmp_path / "store")
    try:
        key = check_key(f"records/{name}")
    except InvalidInput:
        assert not (tmp_path / "store" / "records").exists()
        return
    store.put_if_absent(key, b"{}")
    assert [one.name for one in tmp_path.iterdir()] == ["store"]
    assert store.list("records") == [key]


def spelled(text: str) -> str:
    """`text` as YAML, every character written by its number."""
    letters = (f"\\U{ord(one):08x}" for one in text)
    return f'"{"".join(letters)}"'


def job(name: str, output: str) -> str:
    return f"name: {spelled(name)}\njob: prepare\ninput: people_old\noutput: {spelled(output)}\n"


# a lone surrogate can't stand in YAML at all, nor NUL in an argument
SPOKEN = {name: text for name, text in NAMES.items() if text and "\ud800" not in text and "\x00" not in text}


@pytest.mark.parametrize("name", SPOKEN.values(), ids=SPOKEN)
def test_names_nothing_on_the_command_line(name: str, workspace: Path) -> None:
    before = tree(workspace)
    data = str(workspace / "data" / "people_old")
    for verb in (
        ["dataset", "add", "--draft-contract", "--", name, data],
        ["dataset", "show", "--", name],
        ["dataset", "verify", "--", name],
        ["model", "show", "--", name],
        ["model", "show", "--", f"{name}@champion"],
        ["job", "show", "--", name],
    ):
        result = CliRunner().invoke(main, [verb[0], verb[1], "-w", str(workspace), *verb[2:]])
        assert result.exit_code in (2, 3), (verb, result.output)
        assert "\x1b" not in result.output
        assert "a bug in dataops" not in result.output
    assert tree(workspace) == before


@pytest.mark.parametrize("name", SPOKEN.values(), ids=SPOKEN)
@pytest.mark.parametrize("where", ["name", "output"])
def test_names_no_job_and_no_output(name: str, where: str, workspace: Path) -> None:
    path = workspace / "hostile.yaml"
    path.write_text(job(name, "fine") if where == "name" else job("fine", name))
    before = tree(workspace)
    result = CliRunner().invoke(main, ["job", "explain", str(path), "-w", str(workspace)])
    assert result.exit_code == 2, result.output
    assert f"hostile.yaml:{1 if where == 'name' else 4}: {where}: " in result.output
    assert tree(workspace) == before


@pytest.mark.parametrize("name", SPOKEN.values(), ids=SPOKEN)
def test_names_no_policy_and_no_rule(name: str) -> None:
    text = f"format: dataops/policy/1\nname: {spelled(name)}\nrules:\n  - {{id: {spelled(name)}, effect: deny}}\n"
    (document,) = parse_yaml(text, "p.yaml")
    with pytest.raises(DataopsError) as raised:
        parse_policy(document.value, source="p.yaml", lines=document.lines)
    assert "p.yaml:2: name: " in str(raised.value)
    assert "p.yaml:4: rules[0].id: " in str(raised.value)
