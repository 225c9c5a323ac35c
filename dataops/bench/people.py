"""The customers: who they are follows from their number and the seed alone. Pure.

1. A payment's part knows its customers without reading them: `traits` are hashes of (seed, trait, number), so that
   income and age of customer 17 are the same wherever they are asked for.
2. Every personal value holds a *canary*: text that stands in no other column, and a birthday in years (`BIRTH_YEARS`)
   that no payment was made in, and never a first of a month, which is what the mask leaves. Where one turns up after
   the masks, something leaked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

CANARY_WORD = "kanarienvogel"
CANARY_PATTERN = rf"(?i){CANARY_WORD}|kv-[0-9]{{9}}|9990-[0-9]{{4}}-[0-9]{{4}}-[0-9]{{4}}"
BIRTH_YEARS = (1940, 2005)
"""The first and the last."""
BIRTHDAY_PATTERN = r"\b(19[4-9][0-9]|200[0-5])-(0[1-9]|1[0-2])-(0[2-9]|1[0-9]|2[0-8])(\b|T)"
"""A birthday as ISO text, alone or in front of a time of day."""
SEGMENTS = ("basic", "plus", "premium", "business")
REGIONS = ("north", "east", "south", "west", "centre", "coast", "hills", "lakes", "islands", "abroad")
SCHEMA = pa.schema(
    [
        pa.field("customer", pa.int64(), nullable=False),
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("full_name", pa.string()),
        pa.field("email", pa.string()),
        pa.field("birth_date", pa.date32()),
        pa.field("card_number", pa.string()),
        pa.field("region", pa.string()),
        pa.field("segment", pa.string()),
        pa.field("income", pa.float64()),
        pa.field("newsletter", pa.bool_()),
    ]
)

_FIRST = ("Ada", "Bela", "Cleo", "Dora", "Emil", "Fini", "Gero", "Hedda", "Ivo", "Jana", "Kaja", "Lino", "Mia", "Nils")
_MIDDLE = ("von", "van", "de", "di", "zu", "af", "al", "la")
_SEGMENT_EDGES = np.array([0.55, 0.85, 0.96])
_REGION_EDGES = np.cumsum([0.22, 0.17, 0.14, 0.12, 0.10, 0.08, 0.07, 0.05, 0.03])
_NO_INCOME = 0.05  # share of the customers whose income nobody knows

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What is known of some customers, an array each: `segment` and `region` are places in the lists above."""

    birth_year: Whole
    income: Floats
    income_known: npt.NDArray[np.bool_]
    segment: Whole
    region: Whole


def chance(numbers: Whole, seed: int, trait: int) -> Floats:
    """A number in [0, 1) for each customer, the same whenever it is asked for (SplitMix64 of seed, trait, number)."""
    mixed = numbers.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + trait * 0xD1B54A32D192ED03) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def traits(numbers: Whole, seed: int) -> Traits:
    """The traits of the customers of these `numbers`."""
    normal = np.sqrt(-2 * np.log1p(-chance(numbers, seed, 1))) * np.cos(2 * np.pi * chance(numbers, seed, 2))
    first, last = BIRTH_YEARS
    return Traits(
        birth_year=(first + np.floor((last + 1 - first) * chance(numbers, seed, 3))).astype(np.int64),
        income=np.round(np.exp(10.3 + 0.55 * normal), 2),
        income_known=chance(numbers, seed, 4) >= _NO_INCOME,
        segment=np.searchsorted(_SEGMENT_EDGES, chance(numbers, seed, 5), side="right"),
        region=np.searchsorted(_REGION_EDGES, chance(numbers, seed, 6), side="right"),
    )


def customer_ids(numbers: Whole) -> pa.Array:
    """``KV-000000017``."""
    return pc.binary_join_element_wise("KV", _padded(numbers, 9), "-")


def card_numbers(numbers: Whole, seed: int) -> pa.Array:
    """``9990-1234-5678-9012``: the card of each customer."""
    digits = (chance(numbers, seed, 7) * 10**12).astype(np.int64)
    groups = [_padded(digits // 10**power % 10_000, 4) for power in (8, 4, 0)]
    return pc.binary_join_element_wise("9990", *groups, "-")


def customers(numbers: Whole, seed: int) -> pa.RecordBatch:
    """The rows of the customers of these `numbers`, of `SCHEMA`."""
    known = traits(numbers, seed)
    month = np.floor(12 * chance(numbers, seed, 8)).astype(np.int64)
    day = 2 + np.floor(27 * chance(numbers, seed, 9)).astype(np.int64)  # never a first: that is what the mask leaves
    months = ((known.birth_year - 1970) * 12 + month).astype("datetime64[M]")
    birth = months.astype("datetime64[D]").astype(np.int64) + day - 1
    first = _words(_FIRST, chance(numbers, seed, 10))
    names = pc.binary_join_element_wise(
        first, _words(_MIDDLE, chance(numbers, seed, 11)), CANARY_WORD.capitalize(), " "
    )
    mailbox = pc.binary_join_element_wise(pc.utf8_lower(first), numbers_as_text(numbers), ".")
    return pa.record_batch(
        [
            pa.array(numbers),
            customer_ids(numbers),
            names,
            pc.binary_join_element_wise(mailbox, f"{CANARY_WORD}.example", "@"),
            pa.array(birth.astype(np.int32)).cast(pa.date32()),
            card_numbers(numbers, seed),
            pa.array(REGIONS).take(pa.array(known.region)),
            pa.array(SEGMENTS).take(pa.array(known.segment)),
            pa.array(known.income, mask=~known.income_known),
            pa.array(chance(numbers, seed, 12) < 0.3),
        ],
        schema=SCHEMA,
    )


def numbers_as_text(numbers: Whole) -> pa.Array:
    """``17``."""
    return pa.array(numbers).cast(pa.string())


def _padded(numbers: Whole, width: int) -> pa.Array:
    return pc.utf8_lpad(numbers_as_text(numbers), width=width, padding="0")


def _words(words: tuple[str, ...], chances: Floats) -> pa.Array:
    return pa.array(words).take(pa.array((chances * len(words)).astype(np.int64)))
