from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.errors import Format
from dataops.features.cells import NumberCells, folded
from dataops.features.columns import Ints
from dataops.features.encoder import Encoded, Encoder, encode
from dataops.features.profile import (
    SCORE_BINS,
    ProfileSpec,
    count_profile,
    dense_counts,
    score_histogram,
    sparse_counts,
)
from dataops.features.slices import MISSING_VALUE, slice_places
from tests.features.profiles import VALUES, Row, by_hand, fit, spec_of, table_of

NUMBERS = st.one_of(st.none(), st.floats(), st.integers(-20, 20).map(float), st.just(0.0))
SCORES = st.floats(0, 1, width=32)
ROWS = st.lists(
    st.tuples(NUMBERS, st.sampled_from(["a", "b", "c", "rare", None]), SCORES, st.sampled_from(["east", "west", "up"])),
    min_size=1,
    max_size=80,
)


def count(spec: ProfileSpec, encoder: Encoder, rows: list[Row]) -> Ints:
    table = table_of(rows)
    places = [slice_places(table.column(name), values) for name, values in spec.slices]
    return count_profile(spec, encode(encoder, table), table.column("score").to_numpy(), places)


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS, st.lists(st.integers(0, 80), max_size=4), st.sampled_from(["standard", "none"]))
def test_counts_merged_over_any_split_are_those_of_the_whole_table(
    learnt: Any, rows: Any, cuts: list[int], scale: str
) -> None:
    encoder, cells = fit(table_of(learnt), scale=scale)
    spec = spec_of(cells)
    bounds = [0, *sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]
    parts = [count(spec, encoder, rows[start:stop]) for start, stop in itertools.pairwise(bounds)]
    assert np.array_equal(np.sum(parts, axis=0), count(spec, encoder, rows))


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS, st.sampled_from(["standard", "none"]))
def test_each_row_is_counted_in_the_cell_that_it_falls_into_by_hand(learnt: Any, rows: Any, scale: str) -> None:
    encoder, cells = fit(table_of(learnt), scale=scale)
    spec = spec_of(cells, sliced=False)
    _, number, category = np.split(count(spec, encoder, rows), spec.starts[1:-1])
    expected = by_hand(encoder, cells, rows)
    assert {cell: n for cell, n in enumerate(number) if n} == expected["x"]
    assert {cell: n for cell, n in enumerate(category) if n} == expected["c"]


@settings(max_examples=40, deadline=None)
@given(ROWS, ROWS)
def test_a_slices_counts_are_those_of_its_rows_alone_and_all_rows_are_counted_as_without_slices(
    learnt: Any, rows: Any
) -> None:
    encoder, cells = fit(table_of(learnt))
    sliced, whole = spec_of(cells), spec_of(cells, sliced=False)
    counts = count(sliced, encoder, rows)
    assert np.array_equal(counts[: whole.size], count(whole, encoder, rows))
    for place, value in enumerate((*VALUES, None)):
        some = [row for row in rows if row[3] == value or (value is None and row[3] not in VALUES)]
        alone = count(whole, encoder, some) if some else np.zeros(whole.size, np.int64)
        assert np.array_equal(sliced.of_slice(counts, 0)[place], folded(alone, whole.coarse))


@given(
    st.one_of(
        st.lists(st.integers(0, 30), min_size=1, max_size=80),
        st.lists(st.sampled_from([0, -0.0, 1, 4094, 4095, 4096, -1, 0.5, 3e9]), min_size=1, max_size=80),
    ),
    st.lists(st.floats(-10, 5000, width=32), max_size=9, unique_by=lambda edge: edge + 0.0).map(sorted),
    st.integers(1, 3),
)
def test_whole_numbers_are_counted_as_numbers_are(values: list[float], edges: list[float], n_values: int) -> None:
    numbers = np.array(values, np.float32)
    cells = NumberCells(
        name="x", edges=np.array(edges, np.float32), fill=0, points=(), coarse=np.arange(len(edges) + 2)
    )
    spec = ProfileSpec(scores=cells, columns=(cells,), slices=(("s", tuple("abc"[: n_values - 1])),))
    places = np.arange(len(numbers)) % n_values
    encoded = Encoded(values=numbers[:, np.newaxis], n_numeric=1, unknown={}, missing={})
    counts = count_profile(spec, encoded, numbers, [places])
    expected = [
        np.bincount(np.searchsorted(cells.edges, numbers[places == place], side="right") + 1, minlength=cells.n_cells)
        for place in range(n_values)
    ]
    assert np.array_equal(counts[: 2 * cells.n_cells], np.tile(np.sum(expected, axis=0), 2))
    assert np.array_equal(spec.of_slice(counts, 0), np.tile(expected, 2))


def test_more_rows_than_a_block_are_counted_once_each() -> None:
    random = np.random.default_rng(3)
    n_rows = 150_000
    table = pa.table(
        {
            "x": pa.array(random.standard_normal(n_rows), mask=random.random(n_rows) < 0.1),
            "c": random.choice(["a", "b", "c"], n_rows),
        }
    )
    encoder, cells = fit(table)
    spec = spec_of(cells)
    encoded, scores = encode(encoder, table), random.random(n_rows).astype(np.float32)
    places = random.integers(0, 3, n_rows)
    counts = count_profile(spec, encoded, scores, [places])
    one_by_one = sum(
        count_profile(
            spec,
            encoded.of_rows(slice(start, start + 7000)),
            scores[start : start + 7000],
            [places[start : start + 7000]],
        )
        for start in range(0, n_rows, 7000)
    )
    assert np.array_equal(counts, one_by_one)
    for start, stop in itertools.pairwise(spec.starts):
        assert counts[start:stop].sum() == n_rows
    assert spec.of_slice(counts, 0)[:, : spec.coarse_starts[1]].sum(axis=1).tolist() == np.bincount(places).tolist()


@given(st.lists(st.one_of(st.just(0), st.integers(0, 2**40)), max_size=60))
def test_sparse_counts_are_read_as_they_were_written(counts: list[int]) -> None:
    written = json.loads(json.dumps(sparse_counts(np.array(counts, np.int64))))
    assert dense_counts(written, len(counts)).tolist() == counts


@pytest.mark.parametrize("damaged", [[1], [5, 1], [-2, 1], [0, 1, 9, 1]])
def test_sparse_counts_of_another_size_are_refused(damaged: list[int]) -> None:
    with pytest.raises(Format):
        dense_counts(damaged, 5)


def test_a_spec_is_read_as_it_was_written() -> None:
    _, cells = fit(table_of([(1.5, "a", 0.5, "east"), (None, "a", 0.1, "west"), (0.1, None, 0.1, "west")]))
    record = spec_of(cells).record()
    assert ProfileSpec.from_record(json.loads(json.dumps(record))).record() == record


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("scores"),
        lambda record: record["columns"][0].update(edges=[2.0, 1.0]),
        lambda record: record["columns"][0].update(fill=99),
        lambda record: record["columns"][0].update(coarse=[0]),
        lambda record: record["columns"][1].update(of_code=[0]),
        lambda record: record["columns"][1].update(coarse=[0, 0, -1]),
        lambda record: record.update(slices=[{"column": "side"}]),
    ],
)
def test_what_is_no_spec_is_refused(damage: Any) -> None:
    _, cells = fit(table_of([(1.5, "a", 0.5, "east"), (0.1, "a", 0.1, "west")]))
    record = json.loads(json.dumps(spec_of(cells).record()))
    damage(record)
    with pytest.raises(Format):
        ProfileSpec.from_record(record)


class TestCells:
    def test_a_frequent_value_has_a_cell_of_its_own_that_its_neighbours_do_not_fall_into(self) -> None:
        values = [0.0] * 950 + [float(n) for n in range(1, 51)]
        for scale in ("standard", "none"):
            encoder, cells = fit(pa.table({"x": values, "c": ["a"] * 1000}), scale=scale)
            number = cells[0]
            assert isinstance(number, NumberCells)
            rows: list[Row] = [(value, "a", 0.5, "east") for value in (0.0, -1e-30, 1e-3, -1e-3)]
            counts = [by_hand(encoder, cells, [row])["x"] for row in rows]
            (point,) = counts[0]
            assert point in number.points
            assert all(point not in found for found in counts[2:])

    def test_hold_about_equally_many_rows_and_tell_whole_numbers_apart(self) -> None:
        values = np.arange(5000) % 1000
        encoder, cells = fit(pa.table({"x": values, "c": ["a"] * 5000}))
        rows: list[Row] = [(float(value), "a", 0.5, "east") for value in values]
        counts = by_hand(encoder, cells, rows)["x"]
        assert len(counts) == 50
        assert set(counts.values()) == {100}

    def test_of_a_column_without_a_number_or_a_category_count_what_comes_later(self) -> None:
        encoder, cells = fit(table_of([(None, None, 0.5, "east")] * 3))
        rows: list[Row] = [(7.0, "new", 0.5, "east"), (None, None, 0.5, "east")]
        assert sum(by_hand(encoder, cells, rows)["x"].values()) == 2
        spec = spec_of(cells)
        assert count(spec, encoder, rows)[spec.starts[2] : spec.starts[3]].tolist() == [1, 1]

    def test_of_numbers_that_float32_can_not_tell_apart_are_one(self) -> None:
        _, cells = fit(pa.table({"x": [1e12, 1e12 + 1, 1e12 + 2] * 5, "c": ["a"] * 15}), scale="none")
        number = cells[0]
        assert isinstance(number, NumberCells)
        assert (np.diff(number.edges) > 0).all()

    def test_of_rare_categories_are_one_beyond_sixty_four(self) -> None:
        texts = [f"t{n:03d}" for n in range(100) for _ in range(2 + n)]
        _, cells = fit(pa.table({"x": np.zeros(len(texts)), "c": texts}))
        category = cells[1]
        assert not isinstance(category, NumberCells)
        assert category.n_cells == 2 + 64 + 1
        assert np.count_nonzero(category.of_code == 66) == 36
        assert len(set(category.of_code[36:].tolist())) == 64


def test_a_slices_value_is_text_whatever_its_type_and_null_is_one() -> None:
    column = pa.chunked_array([pa.array([1, None], pa.int8()), pa.array([7], pa.int8())])
    assert slice_places(column, ["1", MISSING_VALUE]).tolist() == [0, 1, 2]
    coded = pa.array(["b", None, "a"]).dictionary_encode()
    assert slice_places(coded, ["a", "b"]).tolist() == [1, 2, 0]


def test_the_histogram_of_scores_has_twenty_equal_bins() -> None:
    counts = score_histogram(np.array([0.0, 0.049, 0.05, 0.999, 1.0], np.float32))
    assert (counts[0], counts[1], counts[-1], sum(counts)) == (2, 1, 2, 5)
    edges = np.linspace(0, 1, SCORE_BINS + 1).astype(np.float32)
    beside = np.clip([np.nextafter(edges, np.float32(-1)), np.nextafter(edges, np.float32(2))], 0, 1)
    scores = np.concatenate([edges, *beside, np.random.default_rng(1).random(100_000, np.float32)], dtype=np.float32)
    assert score_histogram(scores) == np.histogram(scores.astype(np.float64), SCORE_BINS, (0, 1))[0].tolist()
