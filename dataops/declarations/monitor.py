"""Monitoring, declared: what is counted of rows while they are scored, and from where on it warns or stops."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from dataops.declarations.declaration import ColumnName, Declaration, find_repeats
from dataops.declarations.loader import Finding


class DriftMetric(StrEnum):
    """How far rows are from those that a model was judged on."""

    PSI = "psi"
    JS = "js"
    KS = "ks"
    MISSING = "missing"
    UNKNOWN = "unknown"


class DriftLimit(Declaration):
    """A limit on how far rows may be from those that the model was judged on."""

    metric: DriftMetric
    """`psi` (population stability index), `js` (Jensen-Shannon distance, 0 to 1), `ks` (Kolmogorov-Smirnov, 0 to 1),
    `missing` or `unknown` (how much the share of values changed that are missing, or that the model doesn't know)."""
    of: tuple[ColumnName, ...] = ()
    """The features that it holds for; `scores` are the model's scores. Default: all features and the scores."""
    warn: Annotated[float, Field(ge=0)] | None = None
    """From this value on the run warns, and publishes. Default: it doesn't."""
    stop: Annotated[float, Field(ge=0)] | None = None
    """From this value on the run fails, and nothing is published. Default: it doesn't."""

    def check(self) -> Iterator[Finding]:
        """Repeated features, a limit that does nothing, a stop below the warning."""
        yield from find_repeats(self.of, ("of",))
        if self.warn is None and self.stop is None:
            yield Finding(place=(), message="does nothing: give warn, stop, or both")
        if self.warn is not None and self.stop is not None and self.stop < self.warn:
            yield Finding(place=("stop",), message="stops before it warns: give a stop that is not below warn")


class Monitor(Declaration):
    """What is counted of the rows while they are scored."""

    drift: bool = True
    """Whether features and scores are counted and compared with those that the model was judged on. Default: true."""
    slices: tuple[ColumnName, ...] = ()
    """Columns by whose values drift is told as well, of those that the model was judged by (`evaluate.slices`).
    Default: none."""
    limits: tuple[DriftLimit, ...] | None = None
    """What warns and what stops a run. Default: warnings from `psi` 0.25, `missing` 0.05 and `unknown` 0.05 on."""

    def check(self) -> Iterator[Finding]:
        """Repeated columns, slices or limits of nothing."""
        yield from find_repeats(self.slices, ("slices",))
        for key in ("slices", "limits"):
            if getattr(self, key) and not self.drift:
                yield Finding(place=(key,), message="nothing is counted where drift is false")
