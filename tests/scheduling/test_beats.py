"""Beats: who is alive is told by numbers that move, by the watcher's own clock; what is forgotten, and what stays."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dataops.errors import Format
from dataops.records import now_utc
from dataops.scheduling.beats import (
    FOLDER,
    FORGOTTEN,
    Beat,
    Heart,
    Watch,
    forget,
    is_gone,
    last_polled,
    looks_alive,
    process_born,
    read_beats,
    this_machine,
)
from dataops.storage.objects import MemoryStore

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ELSEWHERE = Beat(
    script="0123456789ab",
    number=1,
    host="there",
    machine="another machine",
    pid=1,
    born="77",
    account="ops",
    version="1",
    at=AT,
    every=5.0,
    since=AT,
    polled_at=AT,
    holds=0,
    ended=False,
)


def put(store: MemoryStore, beat: Beat) -> None:
    store.put_if_absent(beat.key, beat.to_bytes())


class Ticks:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TestABeat:
    @pytest.mark.parametrize("beat", [ELSEWHERE, replace(ELSEWHERE, polled_at=None, ended=True)])
    def test_is_read_as_it_was_written(self, beat: Beat) -> None:
        assert Beat.from_bytes(beat.to_bytes()) == beat

    def test_with_other_keys_is_refused(self) -> None:
        with pytest.raises(Format, match="not the beat of a scheduler script"):
            Beat.from_bytes(ELSEWHERE.to_bytes().replace(b'"holds"', b'"folds"'))

    def test_counts_only_where_it_lies(self) -> None:
        store = MemoryStore()
        store.put_if_absent(f"{FOLDER}/ffffffffffff-0000000001.json", ELSEWHERE.to_bytes())
        store.put_if_absent(f"{FOLDER}/anything.json", b"{}")
        store.put_if_absent(f"{FOLDER}/eeeeeeeeeeee-0000000001.json", b"x" * 9000)
        assert read_beats(store) == []

    def test_with_the_highest_number_holds(self) -> None:
        store = MemoryStore()
        for number in (1, 9, 10):
            put(store, replace(ELSEWHERE, number=number))
        assert [beat.number for beat in read_beats(store)] == [10]

    def test_that_is_known_is_not_read_again(self) -> None:
        store = MemoryStore()
        put(store, ELSEWHERE)
        known = replace(ELSEWHERE, host="remembered")
        assert read_beats(store, [known]) == [known]
        put(store, replace(ELSEWHERE, number=2))
        assert [beat.host for beat in read_beats(store, [known])] == ["there"]


class TestWatching:
    @pytest.fixture
    def ticks(self) -> Ticks:
        return Ticks()

    def test_a_script_is_dead_once_its_number_has_not_moved_for_long(self, ticks: Ticks) -> None:
        store, watch = MemoryStore(), Watch(dead_after_seconds=20, monotonic=ticks)
        put(store, ELSEWHERE)
        for number in range(2, 10):
            watch.look(store)
            ticks.now += 19
            watch.look(store)
            assert not watch.is_dead(ELSEWHERE.script)
            put(store, replace(ELSEWHERE, number=number))
        watch.look(store)
        ticks.now += 20
        watch.look(store)
        assert watch.is_dead(ELSEWHERE.script)

    def test_what_its_clock_says_counts_for_nothing(self, ticks: Ticks) -> None:
        store, watch = MemoryStore(), Watch(dead_after_seconds=20, monotonic=ticks)
        put(store, replace(ELSEWHERE, at=AT - timedelta(days=400)))
        watch.look(store)
        assert not watch.is_dead(ELSEWHERE.script)

    def test_scripts_that_are_gone_are_forgotten_but_for_those_that_somebody_asks_about(self, ticks: Ticks) -> None:
        store, watch = MemoryStore(), Watch(dead_after_seconds=20, monotonic=ticks)
        for place in range(50):
            beat = replace(ELSEWHERE, script=f"{place:012x}")
            put(store, beat)
            watch.look(store)
            store.delete(beat.key)
        for _ in range(5):
            ticks.now += 10
            watch.look(store)
            assert watch.is_dead("0" * 12) == (ticks.now - 10 >= 20)
        assert set(watch._seen) == {"0" * 12}
        assert watch._moved <= set(watch._seen)

    def test_one_that_was_never_seen_is_watched_from_now_on(self, ticks: Ticks) -> None:
        store, watch = MemoryStore(), Watch(dead_after_seconds=20, monotonic=ticks)
        assert not watch.is_dead("ffffffffffff")
        ticks.now += 20
        assert not watch.is_dead("ffffffffffff")  # nobody looked since
        watch.look(store)
        assert watch.is_dead("ffffffffffff")

    def test_one_that_stood_still_with_its_watcher_is_not_dead_for_that(self, ticks: Ticks) -> None:
        """A machine that was suspended: neither looked, neither beat."""
        store, watch = MemoryStore(), Watch(dead_after_seconds=20, monotonic=ticks)
        put(store, ELSEWHERE)
        watch.look(store)
        ticks.now += 3600
        assert not watch.is_dead(ELSEWHERE.script)
        watch.look(store)
        assert not watch.is_dead(ELSEWHERE.script)
        ticks.now += 20
        watch.look(store)
        assert watch.is_dead(ELSEWHERE.script)

    def test_one_that_ended_in_order_is_dead_at_once(self, ticks: Ticks) -> None:
        store, watch = MemoryStore(), Watch(monotonic=ticks)
        put(store, replace(ELSEWHERE, ended=True))
        watch.look(store)
        assert watch.is_dead(ELSEWHERE.script)

    def test_one_that_comes_back_is_alive(self, ticks: Ticks) -> None:
        store, watch = MemoryStore(), Watch(dead_after_seconds=20, monotonic=ticks)
        put(store, ELSEWHERE)
        watch.look(store)
        ticks.now += 60
        watch.look(store)
        assert watch.is_dead(ELSEWHERE.script)
        put(store, replace(ELSEWHERE, number=2))
        watch.look(store)
        assert not watch.is_dead(ELSEWHERE.script)

    def test_one_is_known_when_it_moved_or_is_dead(self, ticks: Ticks) -> None:
        store, watch = MemoryStore(), Watch(dead_after_seconds=20, monotonic=ticks)
        put(store, ELSEWHERE)
        watch.look(store)
        assert not watch.is_known(ELSEWHERE.script)
        put(store, replace(ELSEWHERE, number=2))
        watch.look(store)
        assert watch.is_known(ELSEWHERE.script)


class TestAProcessOfThisMachine:
    def test_that_ended_is_gone_at_once(self) -> None:
        process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
        born = process_born(process.pid)
        beat = replace(ELSEWHERE, machine=this_machine(), pid=process.pid, born=born)
        assert born
        assert not is_gone(beat)
        process.kill()
        process.communicate()
        assert is_gone(beat)

    def test_whose_id_another_one_got_is_gone(self) -> None:
        assert is_gone(replace(ELSEWHERE, machine=this_machine(), pid=os.getpid(), born="1"))

    def test_that_may_not_be_looked_at_is_not_gone_for_that(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As under hidepid, or ProtectProc: the process of another account can't be seen, and is there."""
        process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
        beat = replace(ELSEWHERE, machine=this_machine(), pid=process.pid, born=process_born(process.pid))
        monkeypatch.setattr("dataops.scheduling.beats.process_born", lambda _: "")
        assert not is_gone(beat)

        def may_not(*_: int) -> None:
            raise PermissionError

        with monkeypatch.context() as also:
            also.setattr(os, "kill", may_not)
            assert not is_gone(beat)
        process.kill()
        process.communicate()
        assert is_gone(beat)

    def test_of_another_machine_is_not_looked_for(self) -> None:
        assert not is_gone(ELSEWHERE)


class TestAHeart:
    def test_beats_on_and_keeps_one_beat(self) -> None:
        store, numbers = MemoryStore(), []
        with Heart(store, account="ops", version="1", every=0.01) as heart:
            enough = threading.Event()
            while len(numbers) < 3:
                for beat in read_beats(store):  # none, if it is replaced while it is read
                    numbers += [beat.number] if beat.number not in numbers else []
                enough.wait(0.005)
            assert beat.script == heart.script
            assert looks_alive(beat, now_utc())
            assert last_polled([beat]) is None
            heart.came_round(
                polled_at=AT, holds=2, troubles={"\x00" * 300: "\x00" * 900, **dict.fromkeys("abcdef", "x")}
            )
        (last,) = read_beats(store)
        assert (last.ended, last.holds, last.polled_at) == (True, 2, AT)
        assert [len(text) for text in last.troubles.values()] == [200, 1, 1, 1]
        assert len(store.list(FOLDER)) == 1
        assert numbers == sorted(numbers)
        assert not looks_alive(last, now_utc())

    def test_stops_where_its_loop_is_stuck(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dataops.scheduling.beats.STUCK_SECONDS", -1.0)
        store = MemoryStore()
        with Heart(store, account="ops", version="1", every=0.001) as heart:
            heart._stop.wait(0.05)
            (beat,) = read_beats(store)
            assert beat.number == 1


def test_beats_of_scripts_that_ended_are_forgotten_but_for_the_last_that_looked() -> None:
    store, now = MemoryStore(), now_utc()
    beats = {
        "ended": replace(ELSEWHERE, script="a" * 12, at=now, ended=True, polled_at=AT),
        "ended with a slot": replace(ELSEWHERE, script="b" * 12, at=now, ended=True, holds=1),
        "silent": replace(ELSEWHERE, script="c" * 12, at=now - FORGOTTEN - timedelta(seconds=1)),
        "killed": replace(ELSEWHERE, script="d" * 12, at=now, machine=this_machine(), pid=0, born="1"),
        "last": replace(ELSEWHERE, script="e" * 12, at=now, ended=True, polled_at=AT + timedelta(hours=1)),
    }
    for beat in beats.values():
        put(store, beat)
    put(store, replace(beats["killed"], number=2))
    forget(store)
    kept = {beat.script[0] for beat in read_beats(store)}
    assert kept == {"b", "d", "e"}
    assert len(store.list(FOLDER)) == 3
