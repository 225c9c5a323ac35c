"""The page on the audit has every kind of finding, every key of ``signers.yaml``, and examples that load."""

from __future__ import annotations

from pathlib import Path

from dataops.declarations.signers import SIGNERS_FILE, TrustedKey, read_signers
from dataops.governance.audit_chain import WARNINGS, Kind
from tests.docs.documents import REFERENCE, examples, rows, section

PAGE = REFERENCE / "audit.md"


def test_every_kind_of_finding_is_told_and_which_are_warnings() -> None:
    told = {cells[0].strip("`"): cells[1] for cells in rows(section(PAGE, "What verify tells"))}
    assert set(told) == set(Kind)
    assert {kind for kind, meaning in told.items() if meaning.startswith("warning:")} == WARNINGS


def test_every_key_of_a_signer_is_told() -> None:
    told = {cells[0].strip("`"): cells[1] for cells in rows(section(PAGE, "signers.yaml"))}
    fields = {field.alias or name: field for name, field in TrustedKey.model_fields.items()}
    assert set(told) == set(fields)
    assert {name for name, meaning in told.items() if "required" in meaning} == {
        name for name, field in fields.items() if field.is_required()
    }


def test_the_example_is_a_list_of_signers(tmp_path: Path) -> None:
    (text,) = examples(PAGE)
    (tmp_path / SIGNERS_FILE).write_text(text)
    (signer,) = read_signers(tmp_path)
    assert (signer.owner, signer.revoked) == ("ana", None)
