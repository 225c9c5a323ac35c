"""Following, declared: a dataset whose files are scored as they arrive, each once."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from dataops.declarations.declaration import ColumnName, DatasetName, Declaration
from dataops.declarations.loader import Finding


class Repeated(StrEnum):
    """What becomes of a file that was taken under another name."""

    SKIP = "skip"
    SCORE = "score"


class Late(StrEnum):
    """What becomes of a file below the watermark."""

    SCORE = "score"
    SKIP = "skip"
    STOP = "stop"


class FollowedInput(Declaration):
    """A dataset whose files are scored as they arrive, each once."""

    dataset: DatasetName
    """The dataset of the catalog to score; its files may arrive at any time."""
    follow: Literal[True]
    """`true`: each run takes the files that no run before it took, and adds their scores to the output. To score the
    whole dataset at every run, write `input: DATASET`."""
    settle_seconds: Annotated[float, Field(ge=0, le=31_536_000)] = 60.0
    """Age from which on a file is taken, by the storage's clock; younger ones may still be written. A year
    (31,536,000) at most. Default: 60."""
    repeated: Repeated = Repeated.SKIP
    """What becomes of a file that was taken under another name: `skip` or `score`. Default: `skip`."""
    watermark: ColumnName | None = None
    """A partition column of dates or timestamps, by which a file is late. Default: no file is."""
    lateness_seconds: Annotated[float, Field(ge=0)] = 0.0
    """How far below the newest time that runs before took a file may lie and not be late. Default: 0."""
    late: Late = Late.SCORE
    """What becomes of late files: `score` them like others, `skip` them, or `stop`: the job is refused. Default:
    `score`."""

    def check(self) -> Iterator[Finding]:
        """A rule for late files without a watermark."""
        if self.watermark is not None:
            return
        message = "no file is late without a watermark: name a partition column of times"
        if self.late is not Late.SCORE:
            yield Finding(place=("late",), message=message)
        if self.lateness_seconds:
            yield Finding(place=("lateness_seconds",), message=message)
