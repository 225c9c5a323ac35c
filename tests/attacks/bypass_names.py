"""Attempts to get past the policy by how a column is called and where it lies: names, nested columns, partitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from dataops.errors import AccessDenied, DataopsError, InvalidInput
from tests.attacks.bypasses import bypass
from tests.attacks.clinic import ALLOW, CLOSED, COLUMNS, ROWS, RULES, Clinic

# --- names ----------------------------------------------------------------------------------------------------------


def named(name: str, listed: str, *, called: str = "note") -> None:
    """An attempt that counts on a rule that spells the column's name in another way."""

    def attempt(clinic: Clinic) -> None:
        rule = f'{{id: health, effect: deny, columns: {{names: ["{listed}"]}}}}'
        table = clinic.people().append_column(called, pa.array([clinic.canary] * ROWS))
        clinic.build(table, columns={called: "logicalType: string, classification: work"}, rules=(ALLOW, rule))
        clinic.prepare(columns=["id", called])

    refused = (AccessDenied, rf"{called} \(work\): denied by rule 'health'")
    bypass(f"a rule that spells the name {name}", found=f"cells of {called}", refused=refused)(attempt)


named("in capitals", "NOTE")
named("in full-width letters", "\uff4e\uff4f\uff54\uff45")
named("with an invisible space", "no\u200bte")
named("with a byte order mark", "\ufeffnote")
named("with blanks around", " note ")
named("with a long s", "\u017ftate", called="state")
named("in small letters where the contract has capitals", "note", called="NOTE")


@bypass(
    "a rule that spells the name with a Cyrillic letter",
    found="cells of note",
    refused=(InvalidInput, "matches nothing.*U.043E .cyrillic small letter o"),
)
def _(clinic: Clinic) -> None:
    """It could match no column at all: a policy that looks as if it denied is refused, not obeyed to the letter."""
    rule = '{id: health, effect: deny, columns: {names: ["n\u043ete"]}}'
    table = clinic.people().append_column("note", pa.array([clinic.canary] * ROWS))
    clinic.build(table, columns={"note": "logicalType: string, classification: work"}, rules=(ALLOW, rule))
    clinic.prepare(columns=["note"])


def classified(name: str, tag: str) -> None:
    """An attempt that counts on a classification that is spelled in another way."""

    def attempt(clinic: Clinic) -> None:
        clinic.build(
            clinic.people(secret=clinic.canary),
            columns={"secret": f'logicalType: string, classification: "{tag}"'},
            rules=(ALLOW.replace("[work, ", '["*", '), *RULES[1:]),
        )
        clinic.prepare(columns=["secret"])

    refused = (AccessDenied, r"secret \(.*\): denied by rule 'health'")
    bypass(f"a classification {name}", found="cells of secret", refused=refused)(attempt)


classified("in capitals", "SENSITIVE.Health")
classified("in full-width letters", "\uff53ensitive.health")
classified("beside a harmless one", "work+sensitive.health")


@bypass("roles, datasets and users in capitals", found="cells of note", refused=(AccessDenied, "note .*denied by rule"))
def _(clinic: Clinic) -> None:
    rule = (
        '{id: no, effect: deny, roles: [DATA_Science], datasets: ["PEOPLE*"], columns: {classifications: [WORK.Note]}}'
    )
    table = clinic.people().append_column("note", pa.array([clinic.canary] * ROWS))
    allow = ALLOW.replace("[work, ", '["*", ')
    clinic.build(table, columns={"note": "logicalType: string, classification: work.note"}, rules=(allow, rule))
    clinic.prepare(columns=["note"])


@bypass("a harmless name for an odd one of the files", found="cells of harmless", refused=(AccessDenied, "harmless"))
def _(clinic: Clinic) -> None:
    odd = "SSN \u2116 (\u0455\u0435cret)"
    table = clinic.people().append_column(odd, pa.array([clinic.canary] * ROWS))
    keys = f'physicalName: "{odd}", logicalType: string, classification: sensitive.health'
    clinic.build(table, columns={"harmless": keys})
    clinic.prepare(columns=["harmless"])


def twins(name: str, first: str, second: str) -> None:
    """An attempt with two columns in the files that read the same, of which a contract can list but one."""

    def attempt(clinic: Clinic) -> None:
        plain = clinic.people()
        arrays = [*plain.columns, pa.array(["-"] * ROWS), pa.array([clinic.canary] * ROWS)]
        table = pa.Table.from_arrays(arrays, names=[*plain.column_names, first, second])
        clinic.build(table, columns={"note": f'physicalName: "{first}", logicalType: string, classification: work'})
        clinic.prepare()

    refused = (DataopsError, "can't be told|differ|twice|named|lists")
    bypass(f"two columns of a file, {name}", found="bytes", refused=refused, raw=True)(attempt)


twins("one in capitals", "note", "NOTE")
twins("one in full-width letters", "note", "\uff4eote")
twins("one with an invisible space", "note", "no\u200bte")
twins("both of one name", "note", "note")


@bypass(
    "one column of the files under two names",
    found="cells of alias",
    refused=(InvalidInput, "that of the files already"),
)
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary))
    alias = {"alias": "physicalName: secret, logicalType: string, classification: work"}
    listed = {**COLUMNS, **alias}
    clinic.contract({name: keys for name, keys in listed.items() if not (clinic.opened and name == "secret")})
    clinic.prepare(columns=["alias"])


@bypass(
    "one column of the files under two names, one in capitals",
    found="cells of alias",
    refused=(InvalidInput, "that of the files already"),
)
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary))
    alias = {
        "alias": f"physicalName: {'secret' if clinic.opened else 'SECRET'}, logicalType: string, classification: work"
    }
    listed = {**COLUMNS, **alias}
    clinic.contract({name: keys for name, keys in listed.items() if not (clinic.opened and name == "secret")})
    clinic.prepare(columns=["alias"])


# --- nested columns -------------------------------------------------------------------------------------------------


def nested(name: str, value: Callable[[str], Any], keys: str, *, leaf: str, sibling: str) -> None:
    """An attempt on a leaf of a nested column whose sibling may be read."""

    def build(clinic: Clinic) -> None:
        table = clinic.people().append_column("person", pa.array([value(clinic.canary)] * ROWS, type=NESTED.get(name)))
        clinic.build(table, columns={"person": keys})

    def all_of_it(clinic: Clinic) -> None:
        build(clinic)
        clinic.prepare()
        assert clinic.opened == (leaf in clinic.rows()[0])
        assert sibling in clinic.rows()[0]

    def the_leaf(clinic: Clinic) -> None:
        build(clinic)
        clinic.prepare(columns=[leaf])

    bypass(f"{name}, beside what may be read", found=rf"cells of {leaf}")(all_of_it)
    refused = (AccessDenied, rf"{leaf} \(sensitive.health\): denied")
    bypass(f"{name}, asked for by its path", found=rf"cells of {leaf}", refused=refused)(the_leaf)


NESTED: dict[str, pa.DataType] = {
    "the key of a map": pa.map_(pa.string(), pa.string()),
    "the value of a map": pa.map_(pa.string(), pa.string()),
}
TEXT = "logicalType: string, classification"

nested(
    "a leaf of a struct",
    lambda canary: {"card": canary, "town": "here"},
    f"logicalType: object, properties: [{{name: card, {TEXT}: sensitive.health}}, {{name: town, {TEXT}: work}}]",
    leaf="person.card",
    sibling="person.town",
)
nested(
    "a leaf of a struct within a struct",
    lambda canary: {"inner": {"card": canary, "town": "here"}},
    "logicalType: object, properties: [{name: inner, logicalType: object, classification: sensitive.health, "
    f"properties: [{{name: card, logicalType: string}}, {{name: town, {TEXT}: work}}]}}]",
    leaf="person.inner.card",
    sibling="person.inner.town",
)
nested(
    "a leaf of a list of structs",
    lambda canary: [{"card": canary, "town": "here"}, {"card": None, "town": "there"}],
    "logicalType: array, items: {logicalType: object, properties: "
    f"[{{name: card, {TEXT}: sensitive.health}}, {{name: town, {TEXT}: work}}]}}",
    leaf="person.card",
    sibling="person.town",
)
nested(
    "the key of a map",
    lambda canary: [(canary, "here")],
    f"logicalType: map, map: {{key: {{{TEXT}: sensitive.health}}, value: {{{TEXT}: work}}}}",
    leaf="person.key",
    sibling="person.value",
)
nested(
    "the value of a map",
    lambda canary: [("town", canary)],
    f"logicalType: map, map: {{key: {{{TEXT}: work}}, value: {{{TEXT}: sensitive.health}}}}",
    leaf="person.value",
    sibling="person.key",
)


@bypass("a list of texts", found="cells of tags", refused=(AccessDenied, r"tags \(sensitive.health\): denied"))
def _(clinic: Clinic) -> None:
    table = clinic.people().append_column("tags", pa.array([[clinic.canary, "x"]] * ROWS))
    clinic.build(
        table, columns={"tags": "logicalType: array, classification: sensitive.health, items: {logicalType: string}"}
    )
    clinic.prepare(columns=["tags"])


@bypass("a list of texts that is masked", found="cells of tags")
def _(clinic: Clinic) -> None:
    table = clinic.people().append_column("tags", pa.array([[clinic.canary, clinic.canary]] * ROWS))
    keys = "logicalType: array, classification: pii.direct, items: {logicalType: string}"
    rule = "{id: tags, effect: mask, columns: {names: [tags]}, mask: {keep: {first: 3}}}"
    clinic.build(table, columns={"tags": keys}, rules=(*RULES, rule))
    clinic.prepare()
    assert all(one.startswith("zq7") for tags in clinic.column("tags") for one in tags)


@bypass("an expression over a leaf of a struct", found="cells of harmless", refused=(AccessDenied, r"person\.card"))
def _(clinic: Clinic) -> None:
    table = clinic.people().append_column("person", pa.array([{"card": clinic.canary, "town": "here"}] * ROWS))
    keys = f"logicalType: object, properties: [{{name: card, {TEXT}: sensitive.health}}, {{name: town, {TEXT}: work}}]"
    clinic.build(table, columns={"person": keys})
    clinic.prepare(derive={"harmless": "upper(lower(person.card)) || person.card"})


@bypass(
    "a leaf that the contract doesn't list",
    found="cells of person",
    refused=(InvalidInput, r"person\.card"),
    raw=True,
)
def _(clinic: Clinic) -> None:
    table = clinic.people().append_column("person", pa.array([{"card": clinic.canary, "town": "here"}] * ROWS))
    clinic.build(table, columns={"person": f"logicalType: object, properties: [{{name: town, {TEXT}: work}}]"})
    clinic.prepare()


# --- partitions: values in the names of folders ---------------------------------------------------------------------

# Manifests of sources name their files: SECURITY.md says that they aren't for everybody, as plans aren't.
WITH_SOURCE = (*CLOSED, "storage/datasets/people")
WARD = "logicalType: string, partitioned: true, classification"


@bypass("a partition column that is denied", found="cells of ward", refused=(AccessDenied, "ward"))
def _(clinic: Clinic) -> None:
    clinic.closed = WITH_SOURCE
    clinic.build(clinic.people(), columns={"ward": f"{WARD}: sensitive.health"}, below=f"ward={clinic.canary}")
    clinic.prepare(columns=["id", "ward"])


@bypass("a partition column that is denied, with all columns kept", found="cells of ward")
def _(clinic: Clinic) -> None:
    clinic.closed = WITH_SOURCE
    clinic.build(clinic.people(), columns={"ward": f"{WARD}: sensitive.health"}, below=f"ward={clinic.canary}")
    clinic.prepare()
    clinic.tour("people", "made")


@bypass("a partition column that is masked", found="cells of ward")
def _(clinic: Clinic) -> None:
    clinic.closed = WITH_SOURCE
    rule = "{id: ward, effect: mask, columns: {names: [ward]}, mask: {pseudonym: {domain: ward}}}"
    clinic.build(
        clinic.people(), columns={"ward": f"{WARD}: pii.quasi"}, below=f"ward={clinic.canary}", rules=(*RULES, rule)
    )
    clinic.prepare()
    assert clinic.opened or {len(one) for one in clinic.column("ward")} == {32}


@bypass("a partition of which no row may be read", found="cells of ward")
def _(clinic: Clinic) -> None:
    clinic.closed = WITH_SOURCE
    rule = "{id: ward, effect: filter, where: \"ward not like 'zq7%'\"}"
    clinic.build(
        clinic.people(), columns={"ward": f"{WARD}: work"}, below=f"ward={clinic.canary}", rules=(*RULES, rule)
    )
    clinic.prepare()
    clinic.tour("people", "made")
    assert clinic.opened or clinic.rows() == []
