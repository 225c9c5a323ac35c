from __future__ import annotations

from pathlib import Path

import pytest

from dataops.declarations.catalog import read_entry, read_principals
from dataops.errors import InvalidInput
from dataops.governance.grant import Zone

ENTRY = """\
name: census_1994
url: data/census/1994
zone: historical
contract: contracts/census.yaml
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.yaml"


def test_an_entry_is_read(path: Path) -> None:
    path.write_text(ENTRY)
    entry = read_entry(path)
    assert entry.name == "census_1994"
    assert entry.zone is Zone.HISTORICAL
    assert entry.description == ""


@pytest.mark.parametrize(
    "contract",
    ["../secret.yaml", "/etc/passwd", "a/../../b", "~/x.yaml", "c\\d.yaml", "file:///etc/passwd", "''", '"a\\0b"', "."],
)
def test_a_contract_can_not_leave_the_workspace(path: Path, contract: str) -> None:
    path.write_text(ENTRY.replace("contracts/census.yaml", contract))
    with pytest.raises(InvalidInput, match=r"file\.yaml:4: contract: "):
        read_entry(path)


@pytest.mark.parametrize("url", ["s3://key:hunter2@bucket/x", "https://hunter2@host/x", "http://[hunter2/x"])
def test_a_url_with_credentials_is_refused_and_not_repeated(path: Path, url: str) -> None:
    path.write_text(ENTRY.replace("data/census/1994", f"'{url}'"))
    with pytest.raises(InvalidInput, match=r"file\.yaml:2: url: ") as caught:
        read_entry(path)
    assert "hunter2" not in str(caught.value)


def test_an_unknown_zone_comes_with_its_near_match(path: Path) -> None:
    path.write_text(ENTRY.replace("historical", "historic"))
    with pytest.raises(InvalidInput, match=r"expected 'historical' or 'production', found 'historic'\. Did you mean"):
        read_entry(path)


def test_principals_give_roles_and_others_none(path: Path) -> None:
    path.write_text("principals:\n  ada: {roles: [data_science, steward]}\n  bob: {roles: []}\n")
    principals = read_principals(path)
    assert principals.roles_of("ada") == ("data_science", "steward")
    assert principals.roles_of("bob") == ()
    assert principals.roles_of("Ada") == ()
    assert principals.roles_of("mallory") == ()


def test_a_principal_listed_twice_is_refused_so_that_no_roles_are_added_unseen(path: Path) -> None:
    path.write_text("principals:\n  ada: {roles: []}\n  ada: {roles: [steward]}\n")
    with pytest.raises(InvalidInput, match=r"file\.yaml:3: principals\.ada: this key is already on line 2"):
        read_principals(path)


def test_mistakes_in_principals_are_found(path: Path) -> None:
    path.write_text("principals:\n  ada: {role: [a]}\n  bob: {roles: [Steward]}\n")
    with pytest.raises(InvalidInput) as caught:
        read_principals(path)
    lines = [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]
    assert "2: principals.ada.role: unknown key. Did you mean 'roles'?" in lines
    assert any(line.startswith("3: principals.bob.roles[0]: 'Steward' can't name a role") for line in lines)
