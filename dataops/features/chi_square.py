"""Quantiles of the chi-square distribution, without the half second that scipy takes to be imported.

For a whole number of degrees of freedom the upper tail is a finite sum (Abramowitz and Stegun 26.4.4 and 26.4.5).
"""

from __future__ import annotations

import math
from functools import lru_cache


def upper_tail(freedom: int, x: float) -> float:
    """How likely a chi-square variable of `freedom` degrees (at least 1) is to exceed `x` (at least 0)."""
    half, odd = x / 2, freedom % 2
    if half <= 0:
        return 1.0
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    for step in range(freedom // 2):
        power = step + odd / 2
        total += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
    return min(1.0, total)


@lru_cache(maxsize=4096)
def upper_quantile(freedom: int, chance: float) -> float:
    """What a chi-square variable of `freedom` degrees exceeds with `chance`, more than 0 and less than 1."""
    low, high = 0.0, float(freedom)
    while upper_tail(freedom, high) > chance:
        low, high = high, high * 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if upper_tail(freedom, middle) > chance else (low, middle)
    return high
