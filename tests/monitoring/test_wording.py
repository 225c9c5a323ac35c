from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.monitoring import wording

FORMULA_STARTS = ("$$", "\\[", "\\(")


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (999, "999"), (1234567, "1,234,567"), (1499.6, "1,500")])
def test_counts_have_thousands_separators(number: float, text: str) -> None:
    assert wording.count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (0.042, "0.04 s"),
        (12.34, "12.3 s"),
        (185, "3 min 5 s"),
        (7830, "2 h 10 min"),
        (3599.9, "1 h 0 min"),
    ],
)
def test_durations_name_the_units_that_tell_something(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 0, "0%"), (0, 9, "0%"), (9, 9, "100%"), (1, 3, "33.3%"), (2, 1000, "0.20%"), (998, 1000, "99.80%")],
)
def test_percentages(part: int, whole: int, text: str) -> None:
    assert wording.percent(part, whole) == text


@given(st.integers(1, 10**12), st.integers(0, 10**12))
def test_only_nothing_reads_as_nothing_and_only_all_as_all(whole: int, part: int) -> None:
    part = min(part, whole)
    text = wording.percent(part, whole)
    assert (float(text.strip("<> %")) == 0) == (part == 0)
    assert (text in ("100%", "100.0%", "100.00%")) == (part == whole)


@given(st.floats(1e-12, 1.0))
def test_a_rounded_bound_still_is_one(value: float) -> None:
    shown = Fraction(wording.bound(value))
    assert Fraction(value) <= shown <= Fraction(value) * 2 or shown == Fraction(1, 100)


@pytest.mark.parametrize(("size_bytes", "text"), [(999, "999 bytes"), (18234, "18.2 kB"), (1382344000, "1.4 GB")])
def test_sizes(size_bytes: int, text: str) -> None:
    assert wording.size(size_bytes) == text


def test_counts_above_bars_stay_short() -> None:
    assert [wording.short_count(n) for n in (999_999, 12_345_678, 3_400_000_000)] == ["999,999", "12.3M", "3.4G"]


def test_a_moment_is_shown_to_the_second_in_utc_and_other_text_as_it_is() -> None:
    assert wording.moment("2026-01-31T12:00:00.123456Z") == "2026-01-31 12:00:00 UTC"
    assert wording.moment("yesterday") == "yesterday"


@given(st.text(st.sampled_from(" $\\[]()ab\n\u2028\u202e\0é…"), max_size=80))
def test_a_label_is_one_short_line_without_a_formula(name: str) -> None:
    label = wording.plain(name)
    assert not [start for start in FORMULA_STARTS if start in label]
    assert label.replace("\u2060", "").isprintable()
    assert 0 < len(label.replace("\u2060", "")) <= wording.LONGEST_LABEL


def test_what_steers_the_reading_direction_or_hides_is_made_visible() -> None:
    assert wording.visible("a\u202eb\0c\u2028\ud800") == "a\ufffdb\ufffdc\ufffd\ufffd"
    assert wording.visible("first\nsecond\u00a0third") == "first\nsecond\u00a0third"


def test_an_ordinary_name_is_its_own_label() -> None:
    assert wording.plain("état civil ($)") == "état civil ($)"
