"""The payments: who paid what, when and where, and whether it was a fraud. Pure.

1. A part's rows come of one Philox stream that is its own, so that no other part has a say in them.
2. There is something to learn: fraud depends on amount, hour, channel, distance, the device's age, and on the
   customer, partly by combinations that a linear model doesn't see.
3. Real trouble is in it: few customers pay most, months and hours differ, values are missing, some rows break the
   contract (`broken`), and some are of testers (`TEST`), whom a policy filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.bench.people import Floats, Traits, Whole, card_numbers, customer_ids, traits
from dataops.bench.sizes import PAST, TABLES, Part, Size

CATEGORIES = ("food", "fuel", "clothes", "travel", "rent", "games", "health", "garden", "music", "tools")
CHANNELS = ("card", "online", "transfer", "cash", "test")
COUNTRIES = ("AT", "DE", "EE", "FR", "IT", "PT", "SE", "US")
TEST = CHANNELS.index("test")
NO_CATEGORY = "?"
PERIODS = {True: ("2024-01-01", "2025-07-01"), False: ("2025-07-01", "2026-01-01")}
SCHEMA = pa.schema(
    [
        pa.field("payment_id", pa.int64(), nullable=False),
        pa.field("customer", pa.int64(), nullable=False),
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("card_number", pa.string()),
        pa.field("paid_at", pa.timestamp("us")),
        pa.field("amount", pa.float64()),
        pa.field("category", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("country", pa.string()),
        pa.field("distance_km", pa.float64()),
        pa.field("device_days", pa.int32()),
        pa.field("fraud", pa.bool_()),
    ]
)

_CATEGORY_EDGES = np.cumsum([0.30, 0.14, 0.12, 0.06, 0.05, 0.10, 0.08, 0.06, 0.05])
_CHANNEL_EDGES = np.cumsum([0.50, 0.34, 0.09, 0.06])  # what is left: test
_COUNTRY_EDGES = np.cumsum([0.08, 0.52, 0.05, 0.12, 0.10, 0.04, 0.05])
_USUAL = np.log(np.array([25.0, 55, 60, 400, 800, 30, 45, 40, 20, 70]))
_HOURS = np.array([2, 1, 1, 1, 1, 2, 5, 9, 12, 13, 13, 14, 16, 14, 12, 12, 13, 15, 17, 17, 14, 10, 7, 4], float)
_SKEW = 2.2  # customers are drawn by a power of chance: the first hundredth of them pays an eighth of the time
_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A part's rows, and which of them a policy filters (`tests`) or break the contract (`broken`, of the others)."""

    rows: pa.RecordBatch
    tests: npt.NDArray[np.bool_]
    broken: npt.NDArray[np.bool_]


def payments(part: Part, size: Size) -> Made:
    """The rows of `part`, of `SCHEMA`, ordered by time."""
    chances = np.random.Generator(np.random.Philox(np.random.SeedSequence([size.seed, *_stream(part)])))
    n = part.rows
    numbers = _spread(np.floor(size.rows["customers"] * chances.random(n) ** _SKEW).astype(np.int64), size)
    known = traits(numbers, size.seed)
    at = _times((part.number + np.sort(chances.random(n))) / part.of, chances, past=part.table == PAST)
    category = np.searchsorted(_CATEGORY_EDGES, chances.random(n), side="right")
    channel = np.searchsorted(_CHANNEL_EDGES, chances.random(n), side="right")
    country = np.searchsorted(_COUNTRY_EDGES, chances.random(n), side="right")
    over = 0.8 * chances.standard_normal(n)
    amount = np.round(np.exp(_USUAL[category] + over) * (1 + 0.15 * (known.segment >= 2)), 2) + 0.01
    distance = np.round(chances.gamma(1.1, 14.0, n) * np.where(country == 1, 1.0, 9.0), 1)
    device = np.floor(chances.exponential(220.0, n)).astype(np.int64)
    risk = _risk(known, over, at, channel, country, distance, device)
    fraud = chances.random(n) < 1 / (1 + np.exp(-risk))
    tests = channel == TEST
    negative, nameless, behind = (chances.random(n) < share for share in (0.002, 0.002, 0.001))
    missing_distance, missing_device = chances.random(n) < 0.04, chances.random(n) < 0.02
    named = np.where(nameless, len(CATEGORIES), category)
    rows = pa.record_batch(
        [
            pa.array(part.first_row + np.arange(n, dtype=np.int64)),
            pa.array(numbers),
            customer_ids(numbers),
            card_numbers(numbers, size.seed),
            pa.array(at).cast(pa.timestamp("us")),
            pa.array(np.where(negative, -amount, amount)),
            pa.array((*CATEGORIES, NO_CATEGORY)).take(pa.array(named)),
            pa.array(CHANNELS).take(pa.array(channel)),
            pa.array(COUNTRIES).take(pa.array(country)),
            pa.array(np.where(behind, -1 - distance, distance), mask=missing_distance),
            pa.array(device.astype(np.int32), mask=missing_device),
            pa.array(fraud),
        ],
        schema=SCHEMA,
    )
    return Made(rows=rows, tests=tests, broken=(negative | nameless | (behind & ~missing_distance)) & ~tests)


def _risk(
    known: Traits, over: Floats, at: Whole, channel: Whole, country: Whole, distance: Floats, device: Whole
) -> Floats:
    """Log odds that a payment is a fraud."""
    hour = at % _DAY // 3_600_000_000
    night, foreign, online, fresh = hour < 6, country != 1, channel == 1, device < 30
    young, rich = known.birth_year > 1998, np.log(known.income) - 10.3
    linear = -4.6 + 1.1 * over + 0.8 * night + 0.5 * foreign + 0.25 * np.log1p(distance) - 0.7 * rich + 0.4 * young
    together = 2.2 * (online & fresh) + 1.8 * (night & foreign) + 1.2 * (young & online & (over > 0.8))
    return np.asarray(1.0 + 1.5 * (linear + together - 0.9 * (known.segment == 3)))


def _times(shares: Floats, chances: np.random.Generator, *, past: bool) -> Whole:
    """Microseconds since 1970 at these `shares` of a period: fewer at weekends, more before Christmas, few at night."""
    first, edges = _days(past=past)
    day = np.searchsorted(edges, shares, side="right")
    hour = np.searchsorted(np.cumsum(_HOURS / _HOURS.sum())[:-1], chances.random(len(shares)), side="right")
    within = hour * 3_600_000_000 + chances.integers(0, 3_600_000_000, len(shares))
    return np.sort((first + day) * _DAY + within)


@cache
def _days(*, past: bool) -> tuple[int, Floats]:
    """The first day of a period since 1970, and at which share of the payments each but the last of its days ends."""
    first, stop = (int(np.datetime64(day, "D").astype(np.int64)) for day in PERIODS[past])
    days = np.arange(first, stop)
    weekday, of_year = (days + 3) % 7, (days - int(np.datetime64("2024-12-20", "D").astype(np.int64))) / 365.25
    weights = np.where(weekday >= 5, 0.8, 1.0) * (1 + 0.35 * np.cos(2 * np.pi * of_year))
    return first, np.cumsum(weights / weights.sum())[:-1]


def _spread(places: Whole, size: Size) -> Whole:
    """Customers' numbers for `places` from the busiest on: those who pay often aren't neighbours."""
    n = size.rows["customers"]
    step = next(step for step in range(int(n * 0.618) | 1, 2 * n, 2) if np.gcd(step, n) == 1)
    return np.asarray(places * step % n)


def _stream(part: Part) -> tuple[int, int]:
    return TABLES.index(part.table), part.number
