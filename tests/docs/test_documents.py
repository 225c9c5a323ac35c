"""What holds for every document: links lead somewhere, commands exist, nothing of one machine, one style of dash."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from dataops.cli.main import main as command_line
from dataops.declarations.clusters import read_cluster
from dataops.declarations.jobs import KINDS, read_jobs
from dataops.declarations.loader import read_document, read_yaml
from dataops.declarations.promotion import read_promotion
from dataops.errors import DataopsError
from dataops.governance.grant import Purpose, Zone
from dataops.governance.odcs import parse_contract
from dataops.governance.policy_file import parse_policy
from docs.generate import families, verbs
from tests.docs.documents import DOCUMENTS, REFERENCE, ROOT, commands, rows, section, spans, without_blocks

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_documents_are_found() -> None:
    found = {name(path) for path in DOCUMENTS}
    assert {"README.md", "SECURITY.md", "docs/README.md", "docs/reference/policies.md"} <= found


@pytest.mark.parametrize("page", DOCUMENTS, ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(without_blocks(page)):
        if "://" in link or link.startswith("mailto:"):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{link} leads nowhere"
        assert path.is_relative_to(ROOT), f"{link} leaves the project"
        if anchor:
            assert anchor in anchors(path), f"{link}: no such heading"


@pytest.mark.parametrize("page", DOCUMENTS, ids=name)
def test_a_document_is_about_no_machine_and_has_no_em_dash(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"/(work|tmp|root|home|Users|mnt|var)/", text)
    assert "\N{EM DASH}" not in text


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that `words` (without the program) name, and the words behind it."""
    command: click.Command = command_line
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.commands.get(words[0])
        assert found is not None, f"no verb {words[0]!r} in {command.name}"
        command, words = found, words[1:]
    return command, words


@pytest.mark.parametrize("page", DOCUMENTS, ids=name)
def test_every_dataops_command_in_a_document_exists(page: Path) -> None:
    for typed in commands(page, "dataops"):
        words = [word for word in shlex.split(typed)[1:] if word != "..."]
        command, rest = command_of(words)
        known = {option for one in command.params for option in one.opts} | {"-h", "--help"}
        unknown = [word for word in rest if word.startswith("-") and word.partition("=")[0] not in known]
        assert not unknown, f"{typed}: {unknown}"


@pytest.mark.parametrize("page", DOCUMENTS, ids=name)
def test_every_make_target_in_a_document_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for typed in commands(page, "make"):
        asked = [word for word in shlex.split(typed, comments=True)[1:] if "=" not in word and not word.startswith("-")]
        assert set(asked) <= targets, typed


@pytest.mark.parametrize("page", DOCUMENTS, ids=name)
def test_every_test_or_page_that_a_document_names_is_there(page: Path) -> None:
    named = [span for span in spans(without_blocks(page)) if re.fullmatch(r"(tests|docs)/[\w./-]+", span)]
    named += [word for typed in commands(page, "pytest") for word in shlex.split(typed)[1:] if "/" in word]
    missing = [path for path in named if "NNNN" not in path and not (ROOT / path).exists()]
    assert not missing


def test_the_readme_has_every_verb_and_no_other() -> None:
    """A row of its table begins with ``dataops NOUN VERB``; what follows is a verb of that noun, or a command."""
    listed = set()
    for cells in rows(section(ROOT / "README.md", "The verbs")):
        first, *others = (shlex.split(re.sub(r"\[.*|[A-Z]+\b.*", "", span)) for span in spans(cells[0]))
        listed.add(" ".join(first))
        listed |= {
            " ".join(["dataops", *first[1:-1], *words] if len(words) == 1 else ["dataops", *words]) for words in others
        }
    assert listed == {" ".join(path) for path, _ in verbs(command_line)}


def test_every_error_family_is_documented_with_its_exit_code() -> None:
    documented = {cells[0].strip("`"): int(cells[1]) for cells in rows((REFERENCE / "errors.md").read_text())}
    assert documented == {family: code for family, code, _ in families()}
    exits = rows(section(REFERENCE / "command-line.md", "Exit codes"))
    assert {int(cells[0]) for cells in exits} == {0, 1, 130, *documented.values()}


def test_the_help_names_every_exit_code() -> None:
    epilog = command_line.epilog or ""
    assert {int(code) for code in re.findall(r"\b\d+\b", epilog)} == {0, 1, 130, *(code for _, code, _ in families())}


def test_every_benchmark_has_a_row_in_its_page() -> None:
    told = " ".join(cells[1] for cells in rows((ROOT / "benchmarks" / "README.md").read_text()))
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()}
    assert scripts == {name for name in scripts if re.search(rf"benchmarks[/.]{name}\b", told)}
    assert {"`make bench`", "`make bench-full`"} <= {f"`{span}`" for span in spans(told)}


def glossary() -> dict[str, str]:
    entries = rows((ROOT / "docs" / "concepts.md").read_text())
    return {word: cells[1] for cells in entries for word in re.findall(r"\*\*([^*]+)\*\*", " ".join(cells))}


def test_every_word_of_the_glossary_is_used_outside_it() -> None:
    elsewhere = " ".join(
        without_blocks(page) for page in DOCUMENTS if page.name != "concepts.md" and "adr" not in page.parts
    ).lower()
    unused = [entry for entry in glossary() for word in entry.split(", ") if word not in elsewhere]
    assert len(glossary()) > 20
    assert not unused


def test_the_glossary_has_every_purpose_zone_and_kind_of_job() -> None:
    meanings = glossary()
    assert all(f"`{purpose}`" in meanings["purpose"] for purpose in Purpose)
    assert all(zone.value in meanings["zone"] for zone in Zone)
    assert all(f"`{kind}`" in meanings["job"] for kind in KINDS)


def load(path: Path) -> object:
    """What the file declares; by the keys that its kind of document has."""
    (first, *_) = read_yaml(path)
    if "job" in first.value:
        return read_jobs(path)
    if "rules" in first.value and "model" in first.value:
        return read_promotion(path)
    if "rules" in first.value:
        return parse_policy(first.value, source=str(path), lines=first.lines)
    if "apiVersion" in first.value:
        document = read_document(path)
        return parse_contract(document.value, source=str(path), lines=document.lines)
    return read_cluster(path)


@pytest.mark.parametrize("path", sorted([*ROOT.glob("jobs/**/*.yaml"), *ROOT.glob("cluster/**/*.yaml")]), ids=name)
def test_every_file_that_comes_with_the_project_loads(path: Path) -> None:
    assert load(path)


def test_a_file_with_a_mistyped_key_would_not(tmp_path: Path) -> None:
    text = (ROOT / "cluster" / "local.yaml").read_text().replace("memory_limit:", "memory_limits:")
    (tmp_path / "local.yaml").write_text(text)
    with pytest.raises(DataopsError, match="memory_limit"):
        load(tmp_path / "local.yaml")
