"""How sure a gain is: the lower end of what a candidate gains on the champion, both judged on the same rows.

1. The rows that a version is judged on are parted into groups by a hash of their place (`dataops.training.replicates`),
   so two versions that were judged on the same rows have the same groups, whoever judged them and when. Each keeps, for
   every metric, by how much its figure changes without one group.
2. The difference of both, group by group, says how much the gain depends on which rows there happen to be; what is hard
   for both versions cancels out. It is the paired delete-a-group jackknife (Kott 2001, Journal of Official Statistics
   17; Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 11).
3. More confidence is never a higher end, and an end is never above the gain itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def lower_gain(
    gain: float, ours: Sequence[float], theirs: Sequence[float], *, confidence: float, error: float = 0.0
) -> float:
    """What the gain doesn't fall below, with that confidence, one-sided.

    ``gain - t * s - error``, with t of Student's distribution of one degree less than there are groups, and
    ``s**2 = (g - 1) / g * sum((ours - theirs)**2)`` over the g groups. Changes are squared as they are, not less their
    mean: s is never smaller for it.

    Parameters
    ----------
    ours, theirs : by how much the figure changes without each group, as many for both, at least two.
    confidence : 0.5 to below 1.
    error : how far the gain itself may be off, since metrics are counted in buckets.
    """
    from scipy.special import stdtrit

    groups = len(ours)
    squares = sum((one - other) ** 2 for one, other in zip(ours, theirs, strict=True))
    spread = math.sqrt((groups - 1) / groups * squares)
    return gain - float(stdtrit(groups - 1, confidence)) * spread - error
