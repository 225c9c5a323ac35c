"""What the steps of a join know and share: a row on its way has the number of its unit, and its own there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.datasets.reading import Source
from dataops.datasets.units import Unit
from dataops.declarations.join import Deduplicate
from dataops.preparation.exchange import Exchange, Tally
from dataops.preparation.join_plan import Joined, JoinPlan
from dataops.preparation.join_side import ROW, UNIT

MAIN = "main"
_PLACE = [(ROW, pa.int64()), (UNIT, pa.int32())]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinContext:
    """What a worker needs for a step of a join.

    Attributes
    ----------
    units : how many the main input has.
    place : of the join that a step is about; None: of the main input.
    paths : files of the steps before, in the order of their units, by phase.
    tallies : what was written there, by phase.
    """

    plan: JoinPlan
    exchange: Exchange
    units: int
    place: int | None = None
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tallies: Mapping[str, Tally] = field(default_factory=dict)

    @property
    def joined(self) -> Joined:
        """The join that this step is about."""
        assert self.place is not None  # noqa: S101  # the step is one of a join
        return self.plan.joins[self.place]

    @property
    def source(self) -> Source:
        """The reading of the dataset that this step is about."""
        return self.plan.source if self.place is None else self.joined.source

    @property
    def named(self) -> Deduplicate:
        """How rows are named where they are deduplicated."""
        found = self.plan.job.deduplicate if self.place is None else self.joined.join.deduplicate
        assert found is not None  # noqa: S101  # the step is there for it
        return found

    def phase(self, what: str) -> str:
        """The name of the step `what` of this join, or of the main input."""
        return f"{what}-{MAIN if self.place is None else self.place + 1}"


def number_of(unit: Unit) -> int:
    """The number of a unit, or bucket, among those of its kind."""
    return int(unit.id[1:])


def with_places(table: pa.Table, unit: Unit) -> pa.Table:
    """`table` with the number of the unit, and of the row among those that were read of it."""
    places = {ROW: np.arange(table.num_rows, dtype=np.int64), UNIT: np.full(table.num_rows, number_of(unit), np.int32)}
    for name, type_ in _PLACE:
        table = table.append_column(name, pa.array(places[name], type_))
    return table


def numbers(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """`column`, which has no nulls, as int64 (n_rows,)."""
    found: npt.NDArray[np.int64] = column.to_numpy().astype(np.int64)
    return found


def places_of(exchange: Exchange, units: pa.ChunkedArray, rows: pa.ChunkedArray) -> Tally:
    """The tally of rows by unit and number."""
    return exchange.tally([units, rows])


def gone_of(context: JoinContext, unit: Unit, n_rows: int) -> npt.NDArray[np.bool_] | None:
    """Which rows of `unit` `settle_bucket` found to go, bool (n_rows,); None where it wasn't asked."""
    phase = context.phase("settle")
    if phase not in context.paths:
        return None
    rows = context.exchange.read(context.paths[phase], number_of(unit)).column(ROW).to_numpy()
    gone = np.zeros(n_rows, np.bool_)
    gone[rows] = True
    return gone


def arrived_at(context: JoinContext, unit: Unit, rows: npt.NDArray[np.int64]) -> Tally:
    """The tally of the `rows` of `unit` that something was found for."""
    units = pa.chunked_array([pa.array(np.full(len(rows), number_of(unit), np.int32))])
    return places_of(context.exchange, units, pa.chunked_array([pa.array(rows)]))
