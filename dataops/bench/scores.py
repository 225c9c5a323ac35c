"""What must hold of the scores: each arrival has one in each rescore, they tell frauds from others, and all are alike.

1. Each rescore is judged by what its own run published, the first try too: snapshots stay.
2. Who is a fraud, the generator knows and wrote into the made-up files; no rescore reads it (`fraud` is an outcome).
3. What is held doesn't depend on how many rescores there are: a byte and a bit for each arrival, counts by bins of the
   score, and one sum for all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataops.bench.making import Data
from dataops.bench.people import Floats, Whole
from dataops.bench.quality import MANY_ROWS
from dataops.bench.results import Check
from dataops.bench.sizes import NEW
from dataops.datasets.snapshot import DATASETS_FOLDER, read_manifest, was_published
from dataops.runs.workspace import Workspace
from dataops.storage.files import open_files

LEAST_AUC, LEAST_AUC_OF_MANY = 0.75, 0.85
"""Of the boosted trees' scores: what their test rows must reach as well, of few rows and from `MANY_ROWS` on."""
_SHIFT = 12  # bits of a float32 that no bin looks at: bins are less than a two-thousandth of their scores wide
_BINS = (int(np.float32(1).view(np.uint32)) >> _SHIFT) + 1
_BLOCK = 1 << 20  # arrivals that are looked through at a time
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # SplitMix64, as `people.chance`


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A rescore that was done: its `name` for people, and what its `run` published of `dataset`."""

    name: str
    dataset: str
    run: str


@dataclass(slots=True)
class Tally:
    """What is known of one rescore's rows.

    Attributes
    ----------
    seen : how often each arrival was scored, at most 255 times.
    rows : all that have a score.
    bins : of frauds and of the others, how many have a score of each bin.
    mixed : a sum over ids and scores: equal for equal rows, in whatever order.
    """

    seen: npt.NDArray[np.uint8]
    rows: int = 0
    bins: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, _BINS), np.int64))
    mixed: int = 0

    def add(self, ids: Whole, scores: Floats, frauds: npt.NDArray[np.bool_]) -> None:
        """Counts these rows; a score that is no probability is none."""
        known = (scores >= 0) & (scores <= 1)
        ids, scores = ids[known], np.abs(scores[known])
        self.rows += len(ids)
        self.mixed = (self.mixed + row_sum(ids, scores)) % 2**64
        there = (ids >= 0) & (ids < len(self.seen))
        ids, scores = ids[there], scores[there]
        numbers, often = np.unique(ids, return_counts=True)
        self.seen[numbers] = np.minimum(self.seen[numbers] + often, 255)
        places = scores.astype(np.float32).view(np.uint32) >> _SHIFT
        for kind in (0, 1):
            self.bins[kind] += np.bincount(places[frauds[ids] == kind], minlength=_BINS)

    def once(self) -> tuple[int, int]:
        """How many arrivals were scored exactly once, and the sum of their ids."""
        found = of_ids = 0
        for start in range(0, len(self.seen), _BLOCK):
            ids = np.flatnonzero(self.seen[start : start + _BLOCK] == 1)
            found, of_ids = found + len(ids), of_ids + start * len(ids) + int(ids.sum())
        return found, of_ids

    @property
    def roc_auc(self) -> float:
        """How often a fraud has the higher score of a fraud and another payment; a tie is half. NaN without any."""
        others, frauds = self.bins
        below = np.cumsum(others) - others
        pairs = float(frauds.sum()) * float(others.sum())
        return float(np.dot(frauds.astype(float), below + others / 2)) / pairs if pairs else float("nan")


def row_sum(ids: Whole, scores: Floats) -> int:
    """A sum over rows that differs, but for a chance of 2**-64, where a row or its score does."""
    mixed = _mixed(ids.astype(np.uint64)) + np.ascontiguousarray(scores, np.float64).view(np.uint64)
    return int(_mixed(mixed).sum(dtype=np.uint64))


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in _MIX:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def check_scores(
    workspace: Workspace, scored: Sequence[Scored], data: Data, *, data_url: str, learnt: int
) -> Iterator[Check]:
    """Each good arrival has exactly one score in each rescore, the scores are worth something, and equal everywhere.

    Parameters
    ----------
    data_url : where the made-up files lie.
    learnt : rows that the model has learnt from.
    """
    parts = data.of(NEW)
    wanted = data.good_rows(NEW)
    sum_of_ids = sum(part.good_ids for part in parts) % 2**64
    frauds, sums = _frauds(data, data_url), dict[str, int]()
    least = LEAST_AUC if learnt < MANY_ROWS else LEAST_AUC_OF_MANY
    for one in scored:
        tally = Tally(np.zeros(data.rows(NEW), np.uint8))
        for ids, scores in _published(workspace, one):
            tally.add(ids, scores, frauds)
        once, of_ids = tally.once()
        holds = tally.rows == once == wanted and of_ids % 2**64 == sum_of_ids
        told = f"{once:,} of {wanted:,} arrivals, in {tally.rows:,} rows"
        yield Check(name=f"scored once, {one.name}", found=told, asked=f"{wanted:,} arrivals, each once", holds=holds)
        value = tally.roc_auc
        yield Check(
            name=f"ROC AUC, {one.name}", found=f"{value:.4f}", asked=f"at least {least:g}", holds=value >= least
        )
        sums[one.name] = tally.mixed
    yield _alike(sums)


def _alike(sums: dict[str, int]) -> Check:
    """Whether all rescores gave the same scores."""
    first = next(iter(sums), "")
    others = [name for name, found in sums.items() if found != sums[first]]
    told = f"{', '.join(others)} unlike {first}" if others else f"the same in {len(sums)}"
    return Check(name="equal scores", found=told, asked=f"the same in {len(sums)}", holds=bool(sums) and not others)


def _frauds(data: Data, url: str) -> npt.NDArray[np.bool_]:
    """Which arrivals are frauds, by their ids."""
    files, found = open_files(url), np.zeros(data.rows(NEW), np.bool_)
    for part in data.of(NEW):
        with files.open(part.path) as opened:
            table = pq.read_table(opened, columns=["payment_id", "fraud"])
        found[table["payment_id"].to_numpy()] = table["fraud"].to_numpy()
    return found


def _published(workspace: Workspace, scored: Scored) -> Iterator[tuple[Whole, Floats]]:
    """Ids and scores of each file that a rescore published; a score that is missing is NaN."""
    if not was_published(workspace.store, scored.dataset, scored.run):
        return
    files = open_files(f"{workspace.settings.storage}/{DATASETS_FOLDER}/{scored.dataset}")
    for fragment in read_manifest(workspace.store, scored.dataset, scored.run).fragments:
        with files.open(fragment.path) as opened:
            table = pq.read_table(opened, columns=["payment_id", "probability"])
        ids = table["payment_id"].cast(pa.int64()).fill_null(-1)
        yield ids.to_numpy(), table["probability"].cast(pa.float64()).to_numpy()
