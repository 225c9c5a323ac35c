"""Monitoring on the worker: what each unit counts for drift.

Units count by what the model version fixed, so their counts add up to those of all rows, whoever counted them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from dataops.declarations.outputs import OWN
from dataops.features.columns import Floats32
from dataops.features.encoder import Encoded
from dataops.features.profile import ProfileSpec, count_profile, sparse_counts
from dataops.features.reference import Reference
from dataops.features.slices import slice_places


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitored:
    """How rows that one model scores are counted; `spec` has the job's slices, as far as the reference knows them."""

    reference: Reference
    spec: ProfileSpec

    @property
    def slices(self) -> tuple[str, ...]:
        """The columns that rows are counted by."""
        return tuple(name for name, _ in self.spec.slices)


def count_drift(monitored: Monitored, rows: Encoded, scores: Floats32, table: pa.Table) -> list[int]:
    """What a unit's record keeps of its rows for drift.

    Parameters
    ----------
    rows, scores : as the model took them, and what it gave.
    table : the same rows, with the columns of the slices.
    """
    places = [slice_places(table.column(name), values) for name, values in monitored.spec.slices]
    return sparse_counts(count_profile(monitored.spec, rows, scores, places))


def slices_of(models: Mapping[str, Monitored | None]) -> Mapping[str, tuple[str, ...]]:
    """Column -> the values by which drift and impact are told, as the job's own model was judged by."""
    own = models.get(OWN)
    return {} if own is None else dict(own.spec.slices)
