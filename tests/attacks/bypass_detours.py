"""Attempts to get past the policy over other datasets, by asking, at the edge of masks, as somebody else, or later."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import re
from contextlib import suppress
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pyarrow as pa

from dataops.datasets.scan import read_unit
from dataops.errors import AccessDenied, Compute, InvalidInput
from dataops.governance.keys import current_key_id, derive_key, read_secret
from dataops.governance.masking import parse_mask
from dataops.governance.pseudonyms import pseudonyms
from dataops.records import now_utc
from dataops.runs.workspace import os_user
from tests.attacks.bypasses import DENIED, bypass
from tests.attacks.clinic import ALLOW, ROWS, RULES, Clinic

NOTE = {"note": "logicalType: string, classification: work"}


def with_note(clinic: Clinic, **columns: Any) -> pa.Table:
    """People with a note that is the canary."""
    return clinic.people(**columns).append_column("note", pa.array([clinic.canary] * ROWS))


# --- through other datasets -----------------------------------------------------------------------------------------


@bypass(
    "a prepared set that was made before the rule", found="again.*cells of note", refused=(AccessDenied, "'no-note'")
)
def _(clinic: Clinic) -> None:
    clinic.build(with_note(clinic), columns=NOTE)
    clinic.prepare(output="holiday", columns=["id", "age"] + (["note"] if clinic.opened else []))
    for path in (clinic.storage / "datasets" / "holiday").rglob("*.parquet"):
        assert clinic.opened or b"zq7" not in path.read_bytes()
    clinic.policy((*RULES, "{id: no-note, effect: deny, datasets: [people], columns: {names: [note]}}"))
    clinic.prepare(output="again", derive={"reprint": "note"})


@bypass(
    "a set whose name no rule mentions", found="again.*cells of reprint", refused=(AccessDenied, "reprint .*'no-note'")
)
def _(clinic: Clinic) -> None:
    """The steward's tools made the set when they might; the column is another one by now, the rule names the source."""
    clinic.build(with_note(clinic), columns=NOTE)
    clinic.prepare(output="holiday", derive={"reprint": "note"}, columns=["id", "reprint"])
    clinic.policy((*RULES, "{id: no-note, effect: deny, datasets: [people], columns: {names: [note]}}"))
    forget(clinic, "holiday")
    clinic.prepare(output="again", input="holiday", columns=["reprint"])


def forget(clinic: Clinic, dataset: str) -> None:
    """Let `look` pass over what `dataset` holds: its rows were read lawfully, and are what an attempt starts from."""
    home = clinic.storage / "datasets" / dataset
    home.rename(home)  # it must be there
    clinic.lawful.append(f"storage/datasets/{dataset}")


@bypass("a set that was made before its source was masked", found="again.*cells of reprint")
def _(clinic: Clinic) -> None:
    clinic.build(with_note(clinic), columns=NOTE)
    clinic.prepare(output="holiday", derive={"reprint": "note"}, columns=["id", "reprint"])
    clinic.policy((*RULES, "{id: note, effect: mask, datasets: [people], columns: {names: [note]}, mask: redact}"))
    forget(clinic, "holiday")
    clinic.prepare(output="again", input="holiday", derive={"twice": "reprint"})
    assert clinic.opened or set(clinic.column("twice", "again")) == {"[redacted]"}


@bypass(
    "rows that are hidden for one purpose alone", found="again.*cells of trade", refused=(AccessDenied, "without row")
)
def _(clinic: Clinic) -> None:
    trade = [clinic.canary if row % 3 == 0 else "baker" for row in range(ROWS)]
    ages = [12 if row % 3 == 0 else 40 for row in range(ROWS)]
    rule = '{id: grown, effect: filter, purposes: [evaluate], datasets: [people], where: "age >= 18"}'
    clinic.build(clinic.people(trade=trade, age=ages), rules=(*RULES[:-1], rule))
    clinic.prepare(output="holiday", purpose="train")
    forget(clinic, "holiday")
    clinic.prepare(output="again", input="holiday", purpose="evaluate")


@bypass(
    "a column that is denied for one purpose alone",
    found="again.*cells of reprint",
    refused=(AccessDenied, "'no-note'"),
)
def _(clinic: Clinic) -> None:
    rule = "{id: no-note, effect: deny, purposes: [train], columns: {names: [note]}}"
    clinic.build(with_note(clinic), columns=NOTE, rules=(*RULES, rule))
    clinic.prepare(output="holiday", purpose="benchmark", derive={"reprint": "note"})
    forget(clinic, "holiday")
    clinic.prepare(output="again", input="holiday", purpose="train", columns=["reprint"])


@bypass(
    "a made set of a name that a rule allows",
    found="again.*cells of reprint",
    refused=(AccessDenied, "reprint .*no rule"),
)
def _(clinic: Clinic) -> None:
    """An allow for ``open_*`` is about sources of that name; what was derived has its origins' names besides."""
    allow = ALLOW.replace("id: use", "id: open").replace('["*"]', '["open_*"]', 1)
    only = allow.replace('classifications: [work, "pii.*"]', "names: [reprint, id]")
    source = ALLOW.replace("purposes: [train, evaluate, score, benchmark]", "purposes: [benchmark]")
    clinic.build(with_note(clinic), columns=NOTE, rules=(source, only))
    clinic.prepare(output="open_holiday", purpose="benchmark", derive={"reprint": "note"}, columns=["id", "reprint"])
    forget(clinic, "open_holiday")
    clinic.prepare(output="again", input="open_holiday", purpose="train", columns=["reprint"])


# --- asking about hidden values -------------------------------------------------------------------------------------


@bypass("a condition that probes a denied column", found="cells of secret", refused=DENIED)
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary))
    clinic.prepare(where="secret like 'zq7%' and length(secret) > 3")


@bypass("a label that probes a denied column", found="cells of secret", refused=DENIED)
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary))
    clinic.prepare(labelled="secret is not null")


@bypass("a split by a denied column", found="cells of secret", refused=DENIED)
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary))
    clinic.prepare(split={"by": "hash(secret)", "test": 0.5})


@bypass("a cast that fails on hidden rows", found="cells of trade")
def _(clinic: Clinic) -> None:
    """Whether hidden rows could be cast makes no difference, and nothing quotes what couldn't."""
    trade = [clinic.canary if row % 3 == 0 else "7" for row in range(ROWS)]
    clinic.build(clinic.people(trade=trade, age=[12 if row % 3 == 0 else 40 for row in range(ROWS)]))
    clinic.prepare(derive={"probe": "cast(trade as integer)"})
    assert clinic.opened or set(clinic.column("probe")) == {7}


@bypass("a division by zero on hidden rows", found="cells of salary")
def _(clinic: Clinic) -> None:
    hidden = [row % 3 == 0 for row in range(ROWS)]
    clinic.build(
        clinic.people(salary=[clinic.number if one else 5 for one in hidden], age=[12 if one else 40 for one in hidden])
    )
    clinic.prepare(derive={"probe": "1 / (age - 12)", "far": "salary / (salary - salary)"})
    assert clinic.opened or None not in clinic.column("probe")


@bypass("the order of rows that a denied column sorted", found="cells of secret")
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=[f"{clinic.canary}{row:03d}" for row in range(ROWS)]))
    clinic.prepare()
    assert clinic.column("id") == list(range(ROWS))


# --- masks and pseudonyms -------------------------------------------------------------------------------------------


def hidden_by(name: str, mask: str, *, seen: object, number: bool = False, value: Any = None) -> None:
    """An attempt with values at the edge of what a mask can take."""
    column = "salary" if number else "mail"

    def attempt(clinic: Clinic) -> None:
        given = (clinic.number if number else clinic.canary) if value is None else value(clinic)
        rule = f"{{id: edge, effect: mask, columns: {{names: [{column}]}}, mask: {mask}}}"
        rules = [one for one in RULES if column not in one]
        types = pa.float64() if isinstance(given, float) else None
        keys = {"salary": "logicalType: number, classification: pii.quasi"} if types else {}
        table = clinic.people(**{column: pa.array([given] * ROWS, types)})
        clinic.build(table, columns=keys, rules=(*rules, rule))
        clinic.prepare()
        assert clinic.opened or clinic.column(column) == [seen] * ROWS

    bypass(name, found=f"cells of {column}")(attempt)


hidden_by("keep, of a value as short as what is kept", "{keep: {first: 10, last: 9}}", seen="*" * 19)
hidden_by("keep, of a value that is shorter than what is kept", "{keep: {first: 400, last: 1}}", seen="*" * 19)
hidden_by("generalise, of a value above the top", "{generalise: {width: 10, top: 90}}", seen=90, number=True)
hidden_by(
    "generalise, of a value below the bottom", "{generalise: {bottom: 9000000000000}}", seen=9 * 10**12, number=True
)
hidden_by(
    "generalise, of a value below the first edge", "{generalise: {edges: [9000000000000]}}", seen=None, number=True
)
hidden_by(
    "generalise, of a float whose bins are finer than its precision",
    "{generalise: {width: 0.00001}}",
    seen=None,
    number=True,
    value=lambda clinic: float(clinic.number),
)
hidden_by(
    "generalise, of a whole number beyond its widest bin",
    "{generalise: {width: 9007199254740992}}",
    seen=0,
    number=True,
)


@bypass("plain hashes, encodings and reversals as pseudonyms", found="cells of mail")
def _(clinic: Clinic) -> None:
    """Without the key, trying all values gives nothing: no hash of the right one is among the pseudonyms."""
    rule = "{id: who, effect: mask, columns: {names: [mail]}, mask: {pseudonym: {domain: person}}}"
    clinic.build(clinic.people(mail=clinic.canary), rules=(*RULES[:2], *RULES[3:], rule))
    clinic.prepare()
    seen = set(clinic.column("mail"))
    guesses = guessed(clinic.canary, current_key_id(clinic.folder / "keys"))
    assert not clinic.opened or seen & guesses  # among them the value itself
    assert clinic.opened or not {one[:length] for one in seen for length in (16, 32)} & {one[:32] for one in guesses}
    if not clinic.opened:
        keys = clinic.folder / "keys"
        key = derive_key(read_secret(keys, current_key_id(keys)), domain="person", purpose="train")
        assert seen == set(pseudonyms(pa.chunked_array([[clinic.canary]]), key=key).to_pylist())


def guessed(value: str, key_id: str) -> set[str]:
    """What somebody without the key would try: hashes plain, salted and keyed with what is known, in hex and base64."""
    digests = []
    for data in (value.encode(), value.encode("utf-16-le"), f"person{value}".encode(), f"person:{value}".encode()):
        for name in ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s"):
            digests.append(hashlib.new(name, data, usedforsecurity=False).digest())
            digests += [hmac.digest(key, data, name) for key in (b"", b"\0" * 32, b"person", b"train", key_id.encode())]
        digests += [
            hashlib.blake2b(data, digest_size=16, key=key).digest() for key in (b"", b"person", key_id.encode())
        ]
    return {value} | {form for one in digests for form in (one.hex(), base64.b64encode(one).decode())}


@bypass("pseudonyms of two purposes, compared", found="cells of mail")
def _(clinic: Clinic) -> None:
    rule = "{id: who, effect: mask, columns: {names: [mail]}, mask: {pseudonym: {domain: person}}}"
    mails = [f"{clinic.canary}{row}" for row in range(ROWS)]
    clinic.build(clinic.people(mail=mails), rules=(*RULES[:2], *RULES[3:], rule))
    clinic.prepare(output="learn", purpose="train")
    clinic.prepare(output="judge", purpose="evaluate")
    both = set(clinic.column("mail", "learn")) & set(clinic.column("mail", "judge"))
    assert len(both) == (ROWS if clinic.opened else 0)


@bypass(
    "a pseudonym of a pseudonym's domain in other words",
    found="cells of mail",
    refused=(AccessDenied, "different masks"),
)
def _(clinic: Clinic) -> None:
    """Two rules that ask for different pseudonyms: nothing is shown, not the weaker of both."""
    rules = [
        f"{{id: who-{domain}, effect: mask, columns: {{names: [mail]}}, mask: {{pseudonym: {{domain: {domain}}}}}}}"
        for domain in ("person", "account")
    ]
    clinic.build(clinic.people(mail=clinic.canary), rules=(*RULES[:2], *RULES[3:], *rules))
    clinic.prepare(columns=["mail"])


@bypass("a pseudonym without a key", found="cells of mail", refused=(AccessDenied, "needs a key"))
def _(clinic: Clinic) -> None:
    rule = "{id: who, effect: mask, columns: {names: [mail]}, mask: {pseudonym: {domain: person}}}"
    clinic.build(clinic.people(mail=clinic.canary), rules=(*RULES[:2], *RULES[3:], rule))
    for path in [one for one in (clinic.folder / "keys").rglob("*") if one.is_file()]:
        path.unlink()
    clinic.prepare(columns=["mail"])


# --- who asks, and when ---------------------------------------------------------------------------------------------


@bypass("a grant that has expired", found="cells of note", refused=(AccessDenied, "no policy allows any of it"))
def _(clinic: Clinic) -> None:
    clinic.build(
        with_note(clinic), columns=NOTE, rules=(ALLOW.replace("effect: allow", "effect: allow, expires: 2020-01-31"),)
    )
    clinic.prepare()


@bypass("a grant that ends while a run goes on", found="read", refused=(AccessDenied, "ended at"))
def _(clinic: Clinic) -> None:
    """The second unit is read after the end; what came before was read in time."""
    moment = (now_utc() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    rules = (ALLOW.replace("effect: allow", f'effect: allow, expires: "{moment}"'),)
    clinic.build(with_note(clinic), columns=NOTE, rules=rules)
    given = clinic.given("train")
    with patch("dataops.datasets.allowed.now_utc", return_value=now_utc() + timedelta(hours=2)):
        read = read_unit(given.source, given.units[0], ["note"])
    clinic.hear("read", repr(read.table.to_pylist()))


@bypass(
    "a run that is resumed after the policy was tightened",
    found="cells of note",
    refused=(AccessDenied, "note|changed"),
)
def _(clinic: Clinic) -> None:
    clinic.build(with_note(clinic), columns=NOTE)
    with patch("dataops.runs.execute.run_prepare", side_effect=Compute("the cluster is gone")), suppress(Compute):
        clinic.prepare()
    clinic.policy((*RULES, "{id: no-note, effect: deny, columns: {names: [note]}}"))
    clinic.resume()


@bypass("a user who is called nearly so", found="cells of note", refused=(AccessDenied, "no policy allows any of it"))
def _(clinic: Clinic) -> None:
    allow = ALLOW.replace("roles: [data_science]", f'principals: ["{os_user().upper()}", "{os_user()} "]')
    clinic.build(with_note(clinic), columns=NOTE, rules=(allow,))
    clinic.prepare()


@bypass("an unclassified column and a rule for any", found="cells of note", refused=(AccessDenied, "no rule allows it"))
def _(clinic: Clinic) -> None:
    allow = ALLOW.replace('[work, "pii.*"]', '["*"]')
    clinic.build(with_note(clinic), columns={"note": "logicalType: string"}, rules=(allow,))
    clinic.prepare(columns=["note"])


@bypass("a column that the contract doesn't list", found="bytes", refused=(InvalidInput, "note"), raw=True)
def _(clinic: Clinic) -> None:
    clinic.build(with_note(clinic))
    clinic.prepare(columns=["note"])


@bypass(
    "a column of the grant that the plan didn't ask for", found="read", refused=(AccessDenied, "grant doesn't hold")
)
def _(clinic: Clinic) -> None:
    """Below all planning: the read itself asks the grant again."""
    clinic.build(clinic.people(secret=clinic.canary))
    given = clinic.given("train")
    clinic.hear("read", repr(read_unit(given.source, given.units[0], ["id", "secret"]).table.to_pylist()))


@bypass("a batch of the governed read, as Dask would carry and spill it", found="read")
def _(clinic: Clinic) -> None:
    """A slice or a mask over old buffers would carry the hidden rows along, unseen in any cell."""
    hidden = [row % 3 == 0 for row in range(ROWS)]
    table = clinic.people(
        trade=[clinic.canary if one else "baker" for one in hidden],
        age=[12 if one else 40 for one in hidden],
        mail=clinic.canary,
        salary=clinic.number,
    )
    clinic.build(table)
    given = clinic.given("train")
    read = read_unit(given.source, given.units[0], ["trade", "mail", "salary"])
    buffers = [one for column in read.table.columns for chunk in column.chunks for one in chunk.buffers() if one]
    for buffer in buffers:
        clinic.hear("read", repr(buffer.to_pybytes()))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, read.table.schema) as writer:
        writer.write_table(read.table)
    clinic.hear("read", sink.getvalue().decode("latin-1"))
    assert re.search(rf"{ROWS if clinic.opened else 20}", str(read.table.num_rows))
    assert parse_mask("redact", where="x")
