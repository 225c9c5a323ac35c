"""Attempts to get past the policy by what is said and left behind: footers, errors, names, quarantine, surveys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from dataops.errors import AccessDenied, Compute, ContractViolation, DataopsError, Integrity
from dataops.runs.workspace import os_user
from tests.attacks.bypasses import bypass
from tests.attacks.clinic import CLOSED, COLUMNS, ROWS, RULES, Clinic

NOTE = {"note": "logicalType: string, classification: work"}


def with_note(clinic: Clinic, **columns: Any) -> pa.Table:
    """People with a note that is the canary."""
    return clinic.people(**columns).append_column("note", pa.array([clinic.canary] * ROWS))


# --- what is left in files and said of them -------------------------------------------------------------------------


@bypass("bounds in the footers of made parts", found="statistics")
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(salary=[clinic.number] + [5] * (ROWS - 1)))
    clinic.prepare()
    clinic.tour("people", "made")


@bypass(
    "bounds in the footers of the source",
    found="printed",
    control=lambda clinic: clinic.hear("printed", bounds(clinic)),
)
def _(clinic: Clinic) -> None:
    """Footers are what explaining and checking read: they hold the least and the greatest value."""
    clinic.build(clinic.people(secret=clinic.canary, mail=clinic.canary, salary=clinic.number))
    clinic.prepare()
    clinic.tour("people", "made")


def bounds(clinic: Clinic) -> str:
    """The bounds of all columns, as a tool that reads footers would print them."""
    clinic.build(clinic.people(secret=clinic.canary))
    (path,) = (clinic.folder / "data" / "people").glob("*.parquet")
    group = pq.read_metadata(path).row_group(0)
    return "\n".join(str(group.column(place).statistics.to_dict()) for place in range(group.num_columns))


@bypass("a drafted contract", found="printed", control=lambda clinic: clinic.hear("printed", bounds(clinic)))
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary))
    assert (
        clinic.verb("dataset", "add", "copy", str(clinic.folder / "data" / "people"), "--draft-contract").exit_code == 0
    )
    clinic.hear("printed", (clinic.folder / "contracts" / "copy.yaml").read_text())


@bypass("values in a contract's rules", found="printed")
def _(clinic: Clinic) -> None:
    """A contract is no secret, so `contract check --json` says its rules: that is the control. What runs leave and
    what explains a job or a policy names rules alone.
    """
    enum = f"logicalType: string, classification: sensitive.health, enum: [{{value: none}}, {{value: {clinic.canary}}}]"
    note = f'{{id: seen, type: sql, query: "secret <> \'{clinic.canary}\'", description: "not {clinic.canary}"}}'
    clinic.build(clinic.people(), columns={"secret": enum}, quality=f"    quality:\n      - {note}\n")
    clinic.prepare()
    clinic.tour("people", "made")
    if clinic.opened:
        clinic.verb("contract", "check", "people", "--json")


@bypass("the difference of two contracts", found="printed", control=lambda clinic: diff(clinic, "check", "--json"))
def _(clinic: Clinic) -> None:
    diff(clinic, "diff")


def diff(clinic: Clinic, *words: str) -> None:
    """Two contracts of people whose rules have the canary, and what a verb says of them."""
    clinic.build(clinic.people())
    old = clinic.folder / "contracts" / "people.yaml"
    new = clinic.folder / "contracts" / "new.yaml"
    text = old.read_text()
    ruled = f"logicalType: string, classification: sensitive.health, enum: [{{value: {clinic.canary}}}]"
    new.write_text(text.replace(COLUMNS["secret"], ruled))
    files = [str(old), str(new)] if words[0] == "diff" else [str(new)]
    result = clinic.runner(["contract", *words[:1], *files, *words[1:]])
    assert "secret" in result
    clinic.hear("printed", result)


@bypass("policy tests that fail", found="printed", control=lambda clinic: clinic.hear("printed", bounds(clinic)))
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary, mail=clinic.canary))
    tests = (
        "format: dataops/policy-test/1\ntests:\n"
        "  - {as: [data_science], purpose: train, dataset: people, columns: [secret, mail], expect: visible}\n"
    )
    (clinic.folder / "policies" / "tests" / "people.yaml").write_text(tests)
    assert clinic.verb("policy", "check").exit_code == 2
    assert clinic.verb("policy", "check", "--json").exit_code == 2


# --- errors ---------------------------------------------------------------------------------------------------------


def broken_type(name: str, values: Callable[[Clinic], Any], raw: Callable[[pa.ChunkedArray], object]) -> None:
    """An attempt with a file whose ages aren't what the contract says; the error of other tools quotes the value."""

    def attempt(clinic: Clinic) -> None:
        table = clinic.people()
        place = table.column_names.index("age")
        ages = {"age": "logicalType: integer, physicalType: int32, classification: work"}
        clinic.build(table.set_column(place, "age", values(clinic)), columns=ages)
        clinic.prepare(derive={"probe": "age + 1"})

    def control(clinic: Clinic) -> None:
        with suppress(DataopsError):
            attempt(clinic)
        table = pq.read_table(clinic.folder / "data" / "people" / "part-0.parquet", partitioning=None)
        try:
            raw(table.column("age"))
        except (pa.ArrowException, UnicodeError) as error:
            clinic.hear("message", error)

    refused = (DataopsError, "age|part-0")
    bypass(f"the error over {name}", found="message", refused=refused, control=control)(attempt)


broken_type(
    "words where numbers should be",
    lambda clinic: pa.array([clinic.canary] * ROWS),
    lambda ages: ages.cast(pa.int32()),
)
broken_type(
    "numbers that are too large",
    lambda clinic: pa.array([clinic.number] * ROWS),
    lambda ages: ages.cast(pa.int32()),
)
broken_type(
    "bytes that are no text",
    lambda clinic: pa.array([clinic.canary.encode() + b"\xff\xfe"] * ROWS, pa.binary()),
    lambda ages: [one.decode() for one in ages.to_pylist()],
)


def damage(clinic: Clinic) -> bytes:
    """People with a damaged page of mails; the page, as it is."""
    clinic.build()
    path = clinic.folder / "data" / "people" / "part-0.parquet"
    pq.write_table(clinic.people(mail=clinic.canary), path, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(2)
    first = column.data_page_offset
    data[first : first + 20] = b"\xff" * 20
    path.write_bytes(data)
    return bytes(data[first : first + column.total_compressed_size])


def quoted(clinic: Clinic) -> None:
    """The control: a message that quotes the page it choked on."""
    clinic.hear("message", ValueError(f"can't decode {damage(clinic)!r}"))


@bypass("the error over a damaged page", found="message", refused=(Integrity, "part-0"), control=quoted)
def _(clinic: Clinic) -> None:
    damage(clinic)
    clinic.prepare()


@bypass("the error over a contract's rule", found="quarantine|printed", refused=(ContractViolation, "short"))
def _(clinic: Clinic) -> None:
    """Rows that break a rule of action fail are told by number; their values lie in the steward's place."""
    rule = '{id: short, type: sql, query: "length(secret) < 5", customProperties: [{property: action, value: ACTION}]}'
    action = "quarantine" if clinic.opened else "fail"
    quality = f"    quality:\n      - {rule.replace('ACTION', action)}\n"
    clinic.build(clinic.people(secret=clinic.canary), quality=quality)
    clinic.closed = () if clinic.opened else CLOSED
    clinic.prepare()


@bypass("an error that nobody thought of", found="message", refused=(Compute, "u000000"))
def _(clinic: Clinic) -> None:
    """It quotes the value, as Python's own errors do; under an open policy too, so the control is the error itself."""
    clinic.build(clinic.people(mail=clinic.canary))
    unexpected = ValueError(f"invalid literal for int(): {clinic.canary!r}")
    if clinic.opened:
        clinic.hear("message", unexpected)
    with patch("dataops.preparation.split.assign_split", side_effect=unexpected):
        try:
            clinic.prepare(split={"by": "hash(id)", "test": 0.5})
        except Compute:
            if not clinic.opened:
                raise


@bypass("parts of a run that failed", found="storage/datasets/made/.*cells")
def _(clinic: Clinic) -> None:
    """The first file was written when the second one failed: what lies there is as governed as what is published."""
    hidden = [12 if row % 3 == 0 else 40 for row in range(ROWS)]
    trade = [clinic.canary if row % 3 == 0 else "baker" for row in range(ROWS)]
    broken = clinic.people().set_column(4, "age", pa.array(["old"] * ROWS))
    fine = clinic.people(secret=clinic.canary, mail=clinic.canary, trade=trade, age=hidden)
    clinic.build(fine, broken)
    try:
        clinic.prepare()
    except DataopsError as error:
        clinic.hear("message", error)
    else:
        raise AssertionError("the second file can't be read")
    (part,) = (clinic.storage / "datasets" / "made").rglob("*.parquet")
    assert pq.read_metadata(part).num_rows > 0
    clinic.output = ("", 0)  # nothing is published, and nothing was meant to be


# --- names that carry values: what a script could read, it could write into names ----------------------------------


def carried(name: str, found: str) -> None:
    """An attempt to carry a value that a script finds into the name of the next job, and so to places that hold no
    values but names.
    """

    def attempt(clinic: Clinic) -> None:
        clinic.build(clinic.people(mail=clinic.canary, secret=clinic.canary))
        clinic.prepare()
        words = {str(value).strip("[]") for row in clinic.rows() for value in row.values()}
        (word,) = {one for one in words if one.startswith("zq7") or one == "redacted"}
        clinic.prepare(output=word)
        clinic.verb("audit", "show")
        assert word in clinic.verb("lineage", "show", word).output

    bypass(f"a value as a name, {name}", found=found)(attempt)


carried("in the audit", "storage/audit/")
carried("in checkpoints and anchors beside it, as digests only, and in what the audit prints", "printed")
carried("in lineage events", "storage/lineage/")
carried("in events of runs", "storage/runs/")
carried("in the progress of a job", "progress")
carried("in names of folders", r"storage/datasets/.*\(name\)")
carried("in what was done before", r"storage/done/")


# --- quarantine and replay ------------------------------------------------------------------------------------------

SHORT = '    quality:\n      - {id: short, type: sql, query: "length(secret) < 5 and length(mail) < 50"}\n'


@bypass("rows in quarantine", found="quarantine/.*cells of secret")
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary), quality=SHORT)
    clinic.prepare()
    clinic.tour("people", "made")
    clinic.verb("quarantine", "list", "--all", "--json")
    assert list((clinic.storage / "quarantine").rglob("*.parquet"))
    clinic.closed = () if clinic.opened else CLOSED


@bypass("rows in quarantine, shown to whoever is no steward", found="printed")
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary), quality=SHORT)
    clinic.prepare()
    if clinic.opened:
        (clinic.folder / "principals.yaml").write_text(
            f"principals:\n  {os_user()}: {{roles: [data_science, steward]}}\n"
        )
    for words in ((), ("--json",), ("--rule", "short"), ("--run", clinic.workspace.ledger.ids()[-1])):
        assert clinic.verb("quarantine", "show", "people", *words).exit_code == (0 if clinic.opened else 7)


@bypass("a replay of rows that were set aside", found="datasets/made/.*cells of (mail|secret)")
def _(clinic: Clinic) -> None:
    """They come out of the steward's files by way of the governed read, masked like all others."""
    clinic.build(clinic.people(secret=clinic.canary, mail=clinic.canary), quality=SHORT)
    clinic.prepare()
    assert clinic.rows() == []
    clinic.contract(COLUMNS)
    assert clinic.replay() is not None
    assert len(clinic.rows()) == ROWS


@bypass(
    "a replay after the policy was tightened",
    found="datasets/made/.*cells of note",
    refused=(AccessDenied, "'no-note'"),
)
def _(clinic: Clinic) -> None:
    clinic.build(with_note(clinic), columns=NOTE, quality=SHORT.replace("5", "1"))
    clinic.prepare(columns=["id", "note"])
    clinic.contract({**COLUMNS, **NOTE})
    clinic.policy((*RULES, "{id: no-note, effect: deny, columns: {names: [note]}}"))
    clinic.replay()


# --- surveys --------------------------------------------------------------------------------------------------------


def hashed(clinic: Clinic) -> None:
    """The control: a survey that hashes as everybody would."""
    clinic.closed = ()
    home = clinic.storage / "surveys" / "people"
    home.mkdir(parents=True)
    (home / "hashes.bin").write_bytes(hashlib.md5(clinic.canary.encode(), usedforsecurity=False).digest())


@bypass("a survey of unique keys", found="storage/surveys/", control=hashed)
def _(clinic: Clinic) -> None:
    """Not even the steward's folder of surveys holds a value, or a hash that anybody could make of one."""
    keys = "logicalType: string, classification: sensitive.health, unique: true"
    secret = [clinic.canary if row < 3 else f"{row}" for row in range(ROWS)]
    clinic.build(clinic.people(secret=secret), columns={"secret": keys})
    clinic.closed = (*(one for one in CLOSED if "surveys" not in one),)
    clinic.prepare()
    assert len(clinic.rows()) == ROWS - 2
    assert list((clinic.storage / "surveys").rglob("*.parquet"))


@bypass("values that are rare", found="cells of trade")
def _(clinic: Clinic) -> None:
    trade = [clinic.canary if row < 3 else "baker" for row in range(ROWS)]
    rule = "{id: rare, effect: mask, columns: {names: [trade]}, mask: {rare: {min_count: 20}}}"
    clinic.build(clinic.people(10, trade=trade[:10]), clinic.people(trade=trade), rules=(*RULES, rule))
    clinic.closed = (*(one for one in CLOSED if "surveys" not in one),)
    clinic.prepare()
    assert clinic.opened or set(clinic.column("trade")) == {"[rare]", "baker"}
