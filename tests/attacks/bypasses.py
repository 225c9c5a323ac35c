"""Attempts to get past the policy by what is made of a column and by how its values are stored; what an attempt is.

An attempt is a function over a `Clinic`, which it fills, and whose canary it is after. What must come of it under the
policy, and where the canary is found without, stands in its `Bypass`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from dataops.errors import AccessDenied, DataopsError, InvalidInput
from tests.attacks.clinic import ALLOW, ROWS, RULES, Clinic

Attempt = Callable[[Clinic], object]
Refusal = tuple[type[DataopsError], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """One attempt.

    Attributes
    ----------
    found : pattern of the place where the same scanner finds the canary when nothing protects it.
    refused : family and words of the refusal under the policy; None: it runs, and shows nothing.
    control : what is done instead where our own reading shows nothing, whatever the policy: that with other tools.
    """

    name: str
    attempt: Attempt
    found: str
    refused: Refusal | None = None
    control: Attempt | None = None

    @property
    def canary(self) -> str:
        """The text that nobody else has; such as a dataset could be called."""
        return f"zq7-{hashlib.sha256(self.name.encode()).hexdigest()[:10]}-vxw9"

    @property
    def number(self) -> int:
        """The whole number that nobody else has: 12 digits, in no band of a mask the first one."""
        return 700_000_000_000 + int(hashlib.sha256(self.name.encode()).hexdigest()[:12], 16) % 99_999_999_999


BYPASSES: list[Bypass] = []


def bypass(
    name: str, *, found: str, refused: Refusal | None = None, control: Attempt | None = None, raw: bool = False
) -> Callable[[Attempt], Attempt]:
    """Registers the function below as an attempt; with `raw` what it fills is read by Arrow alone for a control."""

    def register(attempt: Attempt) -> Attempt:
        instead = raw_control(attempt) if raw else control
        place = f"made/runs/raw/.*({found})" if raw else found
        BYPASSES.append(Bypass(name=name, attempt=attempt, found=place, refused=refused, control=instead))
        return attempt

    return register


DENIED = (AccessDenied, r"secret \(sensitive.health\): denied by rule 'health'")


def raw_control(attempt: Attempt) -> Attempt:
    """Writes what Arrow alone reads of the files that `attempt` filled where a job would have written it, with all that
    comes along.
    """

    def control(clinic: Clinic) -> None:
        with suppress(DataopsError):
            attempt(clinic)
        for number, path in enumerate(sorted((clinic.folder / "data" / "people").rglob("*.parquet"))):
            home = clinic.storage / "datasets" / "made" / "runs" / "raw" / "data"
            home.mkdir(parents=True, exist_ok=True)
            with pq.ParquetFile(path) as opened:
                pq.write_table(opened.read(), home / f"part-{number}.parquet")

    return control


# --- what is made of a denied column -------------------------------------------------------------------------------


@bypass("all columns are kept", found="cells of secret")
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary))
    clinic.prepare()
    clinic.tour("people", "made")
    assert clinic.opened or "secret" not in clinic.rows()[0]


@bypass("the column is asked for", found="cells of secret", refused=DENIED)
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary))
    clinic.prepare(columns=["id", "secret"])


def derived(name: str, sql: str, *, number: bool = False) -> None:
    """An attempt to derive from a denied column."""
    denied = {"secret": "logicalType: integer, classification: sensitive.health"} if number else {}

    def attempt(clinic: Clinic) -> None:
        clinic.build(clinic.people(secret=clinic.number if number else clinic.canary), columns=denied)
        clinic.prepare(derive={"harmless": sql}, columns=["id", "harmless"])

    bypass(f"derived from a denied column by {name}", found="cells of harmless", refused=DENIED)(attempt)


derived("another name", "secret")
derived("arithmetic", "secret * 1 + 0", number=True)
derived("case", "case when secret > 0 then secret else 0 end", number=True)
derived("concat", "concat('x', secret, 'x')")
derived("substring", "substring(secret, 1, 100)")
derived("cast", "cast(secret as varchar)", number=True)
derived("coalesce", "coalesce(null, secret, trade)")
derived("nullif and greatest", "nullif(greatest(secret, 1), 0)", number=True)
derived("upper and lower", "lower(upper(secret))")
derived("a join of texts", "trade || ':' || secret")


@bypass("cut into bins with an edge at the value", found="cells of harmless", refused=DENIED)
def _(clinic: Clinic) -> None:
    """Bins are named by their edges, so that whoever guesses right learns so."""
    denied = {"secret": "logicalType: integer, classification: sensitive.health"}
    clinic.build(clinic.people(secret=clinic.number), columns=denied)
    edges = f"{clinic.number}, {clinic.number + 1}" if clinic.opened else "1, 2"
    clinic.prepare(derive={"harmless": f"cut(secret, {edges})"})


@bypass("derived twice", found="cells of second", refused=DENIED)
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary))
    clinic.prepare(derive={"first": "trim(secret)", "second": "concat(first, '!')"}, columns=["second"])


@bypass("derived twice, and the first one under the name of an allowed column", found="cells of note", refused=DENIED)
def _(clinic: Clinic) -> None:
    """What the rule allows by name is the contract's column, not whatever a job calls so."""
    rules = (*RULES, ALLOW.replace("id: use", "id: note").replace('classifications: [work, "pii.*"]', "names: [note]"))
    clinic.build(clinic.people(secret=clinic.canary), rules=rules)
    clinic.prepare(derive={"note": "secret"}, columns=["note"])


@bypass("an aggregate, a subquery, a window: whatever the language takes", found="cells of harmless", refused=DENIED)
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(secret=clinic.canary))
    texts = [
        "max(secret)",
        "(select secret from people)",
        "first_value(secret) over (order by secret)",
        "people.secret",
    ]
    for text in texts:
        try:
            clinic.prepare(derive={"harmless": text})
        except InvalidInput as error:
            clinic.hear("message", error)
        else:
            raise AssertionError(text)
    clinic.prepare(derive={"harmless": "secret"})


# --- what is made of a masked column: it sees the masked value ------------------------------------------------------


def masked(name: str, sql: str, *, number: bool = False) -> None:
    """An attempt to derive the true value from a masked column."""

    def attempt(clinic: Clinic) -> None:
        given = {"salary": clinic.number} if number else {"mail": clinic.canary}
        clinic.build(clinic.people(**given))
        clinic.prepare(derive={"harmless": sql}, columns=["harmless"])
        assert len(clinic.column("harmless")) == ROWS

    bypass(f"derived from a masked column by {name}", found="cells of harmless")(attempt)


masked("another name", "mail")
masked("concat", "concat(mail, '')")
masked("substring", "substring(mail, 1, 40)")
masked("coalesce", "coalesce(mail, trade)")
masked("case", "case when mail like 'zq7%' then mail else mail end")
masked("arithmetic", "salary * 1", number=True)
masked("cast", "cast(salary as varchar)", number=True)
masked("a remainder", "salary % 1000000000 + 0 * salary + salary - salary % 1000000000", number=True)


@bypass("derived from a masked column twice", found="cells of second")
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(mail=clinic.canary))
    clinic.prepare(derive={"first": "trim(mail)", "second": "concat(first, '')"}, columns=["second"])


@bypass("a condition on a masked column", found="cells of trade")
def _(clinic: Clinic) -> None:
    """It is asked of the masked value: no row has a mail that begins so."""
    clinic.build(clinic.people(mail=clinic.canary, trade=clinic.canary), rules=(*RULES, HIDE_TRADE))
    clinic.prepare(where="mail like 'zq7%'")
    assert clinic.opened or clinic.rows() == []


HIDE_TRADE = "{id: trade, effect: mask, columns: {names: [trade]}, mask: redact}"


# --- how values are stored ------------------------------------------------------------------------------------------


@bypass("entries of a dictionary that only hidden rows have", found="dictionary of trade")
def _(clinic: Clinic) -> None:
    trade = pa.array([clinic.canary if row % 3 == 0 else "baker" for row in range(ROWS)]).dictionary_encode()
    clinic.build(clinic.people(trade=trade, age=[12 if row % 3 == 0 else 40 for row in range(ROWS)]))
    clinic.prepare()
    assert clinic.opened or set(clinic.column("trade")) == {"baker"}


@bypass("entries of a dictionary that no row has", found="dictionary of trade", raw=True)
def _(clinic: Clinic) -> None:
    indices = pa.array([0] * ROWS, pa.int8())
    clinic.build(clinic.people(trade=pa.DictionaryArray.from_arrays(indices, pa.array(["baker", clinic.canary]))))
    clinic.prepare()


@bypass("a masked column that is a dictionary", found="dictionary of mail")
def _(clinic: Clinic) -> None:
    clinic.build(clinic.people(mail=pa.array([clinic.canary] * ROWS).dictionary_encode()))
    clinic.prepare()


@bypass("categories of pandas that only hidden rows have", found="dictionary of trade")
def _(clinic: Clinic) -> None:
    frame = clinic.people(age=[12 if row % 3 == 0 else 40 for row in range(ROWS)]).to_pandas()
    frame["trade"] = [clinic.canary if row % 3 == 0 else "baker" for row in range(ROWS)]
    frame["trade"] = frame["trade"].astype("category")
    clinic.build(pa.Table.from_pandas(frame, preserve_index=False))
    clinic.prepare()


@bypass("the index of pandas", found="cells of __index", refused=(InvalidInput, "__index_level_0__"), raw=True)
def _(clinic: Clinic) -> None:
    frame = clinic.people().to_pandas()
    frame.index = [f"{clinic.canary}-{row}" for row in range(ROWS)]
    clinic.build(pa.Table.from_pandas(frame))
    clinic.prepare()


@bypass("attributes of pandas", found="metadata", raw=True)
def _(clinic: Clinic) -> None:
    frame = clinic.people().to_pandas()
    frame.attrs["owner"] = clinic.canary
    clinic.build(
        pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({"pandas": str(frame.attrs)})
    )
    clinic.prepare()


@bypass("metadata of the files and of their columns", found="metadata", raw=True)
def _(clinic: Clinic) -> None:
    table = clinic.people()
    field = table.schema.field("trade").with_metadata({"example": clinic.canary})
    schema = table.schema.set(table.schema.get_field_index("trade"), field).with_metadata({"made by": clinic.canary})
    clinic.build(table.cast(schema))
    clinic.prepare()
