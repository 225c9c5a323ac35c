"""What is begun next: within the limits, fair between users, the same for any order."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dataops.scheduling.picking import SCHEDULES, Waiting, pick

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
USERS = ("ana", "bo", "cleo", SCHEDULES)


def at(minutes: int) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


def waits(key: str, user: str, minutes: int) -> Waiting:
    return Waiting(key=key, user=user, since=at(minutes))


def keys(picked: list[Waiting]) -> list[str]:
    return [one.key for one in picked]


waiting = st.lists(
    st.builds(waits, st.uuids().map(str), st.sampled_from(USERS), st.integers(0, 5)),
    max_size=12,
    unique_by=lambda one: one.key,
)
busy = st.lists(st.sampled_from(USERS), max_size=6)
limit = st.integers(1, 5)
served = st.dictionaries(st.sampled_from(USERS), st.integers(-5, 5).map(at))


@given(waiting, busy, limit, limit, served)
def test_no_limit_is_passed_and_no_room_is_left_that_somebody_could_use(ready, running, at_once, per_user, last):
    picked = pick(ready, running, at_once=at_once, per_user=per_user, served=last)
    after = Counter(running) + Counter(one.user for one in picked)
    assert len(picked) <= max(0, at_once - len(running))
    assert all(after[one.user] <= per_user for one in picked)
    assert len(set(keys(picked))) == len(picked)
    left = [one for one in ready if one not in picked and after[one.user] < per_user]
    assert not left or after.total() >= at_once


@given(waiting, busy, limit, limit, served, st.randoms())
def test_the_order_in_which_it_is_asked_changes_nothing(ready, running, at_once, per_user, last, random):
    shuffled = list(ready)
    random.shuffle(shuffled)
    asked = {"at_once": at_once, "per_user": per_user, "served": last}
    assert pick(shuffled, running, **asked) == pick(ready, running, **asked)


@given(waiting, busy, limit, limit, served)
def test_of_one_user_s_the_oldest_goes_first(ready, running, at_once, per_user, last):
    picked = pick(ready, running, at_once=at_once, per_user=per_user, served=last)
    for user in USERS:
        of_user = sorted((one for one in ready if one.user == user), key=lambda one: (one.since, one.key))
        mine = [one for one in picked if one.user == user]
        assert mine == of_user[: len(mine)]


@given(waiting, busy, st.integers(2, 8), served)
def test_nobody_gets_a_second_one_while_another_waits_for_a_first(ready, running, at_once, last):
    picked = pick(ready, running, at_once=at_once, per_user=at_once, served=last)
    counts = Counter(running)
    left = list(ready)
    for one in picked:
        assert counts[one.user] == min(counts[other.user] for other in left)
        counts[one.user] += 1
        left.remove(one)


def test_who_submits_a_hundred_jobs_keeps_another_waiting_for_one_of_them() -> None:
    ready = [waits(f"a{n:03d}", "ana", 0) for n in range(100)] + [waits("b", "bo", 5)]
    (first,) = pick(ready, [], at_once=1, per_user=1)
    assert first.key == "a000"
    ready.remove(first)
    (second,) = pick(ready, [], at_once=1, per_user=1, served={"ana": at(6)})
    assert second.key == "b"


def test_who_was_served_longer_ago_goes_first_and_who_never_was_before_that() -> None:
    ready = [waits("a", "ana", 0), waits("b", "bo", 1), waits("c", "cleo", 2)]
    last = {"ana": at(9), "bo": at(8)}
    assert keys(pick(ready, [], at_once=3, per_user=1, served=last)) == ["c", "b", "a"]


def test_what_runs_of_a_user_counts_against_that_user_alone() -> None:
    ready = [waits("a", "ana", 0), waits("s", SCHEDULES, 9)]
    assert keys(pick(ready, ["ana"], at_once=2, per_user=1)) == ["s"]
    assert keys(pick(ready, ["ana"], at_once=2, per_user=2)) == ["s"]
    assert keys(pick(ready, ["ana"], at_once=3, per_user=2)) == ["s", "a"]
    assert pick(ready, ["ana", "bo"], at_once=2, per_user=2) == []
    assert pick(ready, ["ana", "bo", "bo"], at_once=2, per_user=2) == []
