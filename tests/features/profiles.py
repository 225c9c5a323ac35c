"""Tables whose features are profiled, and what a profile of them is by hand: row by row, in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dataops.declarations.features import FeatureSpec
from dataops.features.binning import fit_cells
from dataops.features.cells import MISSING, UNKNOWN, Cells, NumberCells
from dataops.features.encoder import Encoder, encode
from dataops.features.fitting import fit_encoder
from dataops.features.profile import ProfileSpec, count_profile, score_histogram
from dataops.features.reference import Reference, make_reference, score_cells
from dataops.features.slices import OTHERS
from dataops.features.summary import summarise

Row = tuple[float | None, str | None, float, str]
"""A number, a category, a score, a slice's value."""
VALUES = ("east", "west")


def table_of(rows: list[Row]) -> pa.Table:
    numbers, texts, scores, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    columns = {"x": pa.array(numbers, pa.float64()), "c": pa.array(texts, pa.string())}
    return pa.table({**columns, "score": pa.array(scores, pa.float32()), "side": pa.array(values, pa.string())})


def fit(
    table: pa.Table, *, scale: str = "standard", min_count: int = 2, **least: int
) -> tuple[Encoder, tuple[Cells, ...]]:
    summary = summarise(table, ["x"], ["c"])
    asked = FeatureSpec.model_validate(
        {
            "numeric": {"columns": ["x"], "impute": 0.0, "scale": scale},
            "categorical": {"columns": ["c"], "min_count": min_count},
        }
    )
    encoder = fit_encoder(summary, asked, **least)
    return encoder, fit_cells(summary, encoder)


def spec_of(cells: tuple[Cells, ...], *, sliced: bool = True) -> ProfileSpec:
    slices = (("side", VALUES),) if sliced else ()
    return ProfileSpec(scores=score_cells("scores", np.linspace(0, 1, 11)[1:-1].tolist()), columns=cells, slices=slices)


def cell_of_number(cells: NumberCells, encoder: Encoder, value: float | None) -> int:
    if value is None or not np.isfinite(value):
        return MISSING
    encoded = encode(encoder, pa.table({"x": [value], "c": pa.array([None], pa.string())})).values[0, 0]
    return 1 + sum(bool(encoded >= edge) for edge in cells.edges)


def by_hand(encoder: Encoder, cells: tuple[Cells, ...], rows: list[Row]) -> dict[str, Counter[int]]:
    """Rows by cell of each column."""
    number, category = cells
    assert isinstance(number, NumberCells)
    assert not isinstance(category, NumberCells)
    known = encoder.categorical[0].categories  # type: ignore[union-attr]
    codes = {text: int(cell) for text, cell in zip(known, category.of_code, strict=True)}
    return {
        "x": Counter(cell_of_number(number, encoder, row[0]) for row in rows),
        "c": Counter(MISSING if row[1] is None else codes.get(row[1], UNKNOWN) for row in rows),
    }


def refer(rows: Sequence[Row], least: int = 1) -> Reference:
    """The reference of `rows`, counted with cells that were made of them; a value of few rows is with the others."""
    table = table_of(list(rows))
    encoder, cells = fit(table)
    spec = spec_of(cells, sliced=False)

    def count(some: Sequence[Row]) -> Any:
        part = table_of(list(some))
        return count_profile(spec, encode(encoder, part), part.column("score").to_numpy())

    values: dict[str, list[Row]] = {}
    for row in rows:
        values.setdefault(row[3], []).append(row)
    small = min(len(some) for some in values.values()) < least
    grouped: Mapping[str, Sequence[Row]] = {OTHERS: rows} if small else values
    return make_reference(
        spec,
        count(rows),
        {"side": {value: count(some) for value, some in grouped.items()}},
        dataset="holdout",
        histogram=score_histogram(table.column("score").to_numpy()),
        decile_edges=[number / 10 for number in range(1, 10)],
        least=least,
    )
