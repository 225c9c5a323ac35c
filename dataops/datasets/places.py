"""Where rows stand in their file, without a number for each row until somebody asks: for most units nobody does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """The places of some rows of one file.

    Attributes
    ----------
    first : offset in the file of the row that they are counted from.
    rows : how many follow from there; of these `chosen` tells which ones.
    chosen : int64 (n_rows,) each: of the rows so far, those that are left; the last one tells of the fewest.
    """

    first: int
    rows: int
    chosen: tuple[npt.NDArray[np.int64], ...] = ()

    def take(self, rows: npt.NDArray[np.int64]) -> Places:
        """Of these rows those at `rows`."""
        return replace(self, chosen=(*self.chosen, rows))

    def in_file(self) -> npt.NDArray[np.int64]:
        """The offset of each row in its file: int64 (n_rows,)."""
        if not self.chosen:
            return np.arange(self.first, self.first + self.rows)
        *earlier, found = self.chosen
        for rows in reversed(earlier):
            found = rows.take(found)
        return found + self.first if self.first else found

    def __len__(self) -> int:
        return len(self.chosen[-1]) if self.chosen else self.rows
