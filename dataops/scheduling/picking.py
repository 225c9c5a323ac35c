"""Which of what waits is begun next: within the limits, and fair between users. Pure.

1. No more than `at_once` run in all, and no more than `per_user` of one user.
2. Of two users the one goes first of whom fewer run; then the one who was served longer ago, if ever; then the one
   whose oldest has waited longer. So who submits a hundred jobs keeps nobody waiting but for one of them.
3. Of one user's, the oldest goes first. All schedules together count as one user, `SCHEDULES`.
4. The same arguments give the same answer, whatever their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

SCHEDULES = "schedule"
"""The user that all slots of schedules count for."""

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Something that could be begun now: `key` names it, `user` is whose it is, `since` when it was ready (aware)."""

    key: str
    user: str
    since: datetime


def pick(
    ready: Iterable[Waiting],
    running: Collection[str],
    *,
    at_once: int,
    per_user: int,
    served: Mapping[str, datetime] | None = None,
) -> list[Waiting]:
    """What to begin now of `ready`, in this order.

    Parameters
    ----------
    running : the user of each that runs already, once for each.
    at_once, per_user : how many may run in all, and of one user; both at least 1.
    served : when something of a user was begun last, by user; users that are missing have waited longest.
    """
    waiting = _by_user(ready)
    counts = Counter(running)
    last = dict(served or {})
    picked: list[Waiting] = []
    room = at_once - counts.total()
    while len(picked) < room:
        users = [user for user in waiting if counts[user] < per_user]
        if not users:
            break
        user = min(users, key=lambda one: (counts[one], last.get(one, _NEVER), waiting[one][-1].since, one))
        picked.append(waiting[user].pop())
        counts[user] += 1
        if not waiting[user]:
            del waiting[user]
    return picked


def _by_user(ready: Iterable[Waiting]) -> dict[str, list[Waiting]]:
    """What waits of each user, the oldest last."""
    waiting: dict[str, list[Waiting]] = {}
    for one in sorted(ready, key=lambda one: (one.since, one.key), reverse=True):
        waiting.setdefault(one.user, []).append(one)
    return waiting
