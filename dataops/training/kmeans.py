"""Trainer ``kmeans``: centres from which rows lie as near as can be, by Lloyd's steps over all rows.

1. A step is a pass over the parts where they lie; sums are exact (`kmeans_passes`). So the same rows, parameters and
   seed give the same bytes for any number of workers, any order, any cut of the rows, and after a worker was lost.
2. It starts from what scikit-learn finds on a sample (`kmeans_start`).
3. A centre without rows is moved to the row that lies farthest from its own; where no row lies apart from the centres,
   there are fewer different rows than clusters, and that is said.
4. What is published are means only: of a step's rows, never a row that a centre was moved to, nor a start. Neither the
   rows that a centre is the mean of nor those that are nearest to it are fewer than the policies show figures about.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from dataops.declarations.metrics import Task
from dataops.errors import Compute, InvalidInput
from dataops.models.centres import MOST_CENTRES, CentresModel
from dataops.models.predictor import CENTRES
from dataops.training.failures import lasting
from dataops.training.fitting import Rounds
from dataops.training.kmeans_passes import Adding, Centres, Grid, Ints, Sums, add_up, farthest, points
from dataops.training.kmeans_start import Start, find_start, sample_rows
from dataops.training.linear_layout import Layout
from dataops.training.linear_look import look_at, merge_looks
from dataops.training.parts import Group, PartsOnCluster, map_parts, plan_groups
from dataops.training.trainable import merge_facts, raise_untrainable
from dataops.training.trainers import Parameter, number, one_of, parse_params, whole

NAME = "kmeans"
CLUSTERS = "clusters"
_MOST_COORDINATES = 4_000_000  # of all centres: 32 MB of each task's sums


def _seed(value: Any) -> int | None:
    return None if value is None else whole(0, 2**32 - 1)(value)


PARAMETERS = {
    CLUSTERS: Parameter(default=8, parse=whole(2, MOST_CENTRES)),
    "init": Parameter(default="k-means++", parse=one_of("k-means++", "random")),
    "starts": Parameter(default=10, parse=whole(1, 1000)),
    "max_iterations": Parameter(default=100, parse=whole(1, 10_000)),
    "tolerance": Parameter(default=1e-6, parse=number(0, 1)),
    "seed": Parameter(default=None, parse=_seed),
}


class KMeansTrainer:
    """Trainer ``kmeans``.

    Parameters: `clusters`, how many; `init` (``k-means++`` or ``random``) and `starts`, how a start is looked for on a
    sample, and how many are compared; `max_iterations`; `tolerance`, below what share of the mean squared distance the
    squared moves of all centres together end it; `seed`, where the job's own isn't to be taken.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({Task.CLUSTERS})
    streams: ClassVar[bool] = True
    samples: ClassVar[bool] = True

    def require_params(self, params: Mapping[str, Any]) -> None:
        """Nothing, or InvalidInput with every finding."""
        parse_params(NAME, params, PARAMETERS)

    def fit(self, parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> tuple[str, bytes]:
        """The format ``clusters-json/1`` and the model's bytes."""
        return CENTRES, fit_centres(parts, params, seed).to_bytes()


def fit_centres(parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> CentresModel:
    """The centres; what was found out goes to `parts.fitting`.

    Raises
    ------
    InvalidInput : wrong parameters, rows that can't be learnt from, fewer different rows than clusters, a centre of
        fewer rows than the policies show figures about.
    Compute : too many coordinates, a task failed, or when `max_iterations` were done a centre had no row, or had just
        been moved to one.
    """
    values = parse_params(NAME, params, PARAMETERS)
    layout = Layout.of(parts.encoder)
    _require_small(values[CLUSTERS], layout)
    grid = _look(parts, layout)
    wanted = Start(
        clusters=values[CLUSTERS],
        init=values["init"],
        tries=values["starts"],
        seed=seed if values["seed"] is None else values["seed"],
        layout=layout,
    )
    lloyd = Lloyd(parts=parts, layout=layout, grid=grid, groups=plan_groups(parts))
    return lloyd.run(find_start(parts, wanted), values["max_iterations"], values["tolerance"])


def _require_small(clusters: int, layout: Layout) -> None:
    """Nothing, if centres and a sample to start from fit; Compute where they don't."""
    columns = layout.length - 1
    sample_rows(clusters, layout.n_columns)
    if clusters * columns > _MOST_COORDINATES:
        told = f"kmeans: {clusters} centres of {columns:,} numbers and codes are {clusters * columns:,} coordinates"
        raise lasting(Compute(f"{told}, and at most {_MOST_COORDINATES:,} are taken; take fewer of either"))


def _look(parts: PartsOnCluster, layout: Layout) -> Grid:
    """The grid for these rows, if they can be learnt from."""
    looks = map_parts(parts, look_at)
    facts = merge_facts([look.facts for look in looks])
    raise_untrainable(facts, parts.encoder, parts.task)
    look = merge_looks(looks)
    weight = look.weight
    if not weight > 0:
        raise InvalidInput(f"can't train: the weight is 0 in all {facts.rows} rows")
    return Grid.of(look.bounds(layout)[layout.numeric], weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lloyd:
    """A fit on its way (S. Lloyd, "Least squares quantization in PCM", 1982)."""

    parts: PartsOnCluster
    layout: Layout
    grid: Grid
    groups: Sequence[Group]
    started: float = field(default_factory=time.monotonic)

    def run(self, centres: Centres, most: int, tolerance: float) -> CentresModel:
        """The model, of centres that as many steps as `most` led to, or fewer; see `fit_centres`."""
        found, converged, done = self._add_up(centres), False, 0
        of = np.zeros_like(found.rows)  # the rows that each of `centres` is the mean of
        while not converged and done < most:
            moved = True
            if (found.rows == 0).any():
                centres, of = self._refilled(centres, found), np.where(found.rows == 0, 0, of)
            else:
                means, loss = found.means(self.grid, centres), found.loss(self.grid)
                way = means.moved(centres)
                converged, moved = way <= tolerance * loss, way > 0
                centres, of = means, found.rows
            done += 1
            found = self._add_up(centres) if moved else found
            converged = converged and bool(found.rows.all())
            self._tell(found, done, most)
        self._require_rows(found.rows, of, done)
        self.parts.fitting.facts.update(
            {"iterations": done, "converged": converged, "rows": found.rows.tolist(), "inertia": found.loss(self.grid)}
        )
        return centres.model(self.layout)

    def _add_up(self, centres: Centres) -> Sums:
        return add_up(self.parts, self.groups, self._adding(centres))

    def _adding(self, centres: Centres) -> Adding:
        return Adding(layout=self.layout, grid=self.grid, centres=centres)

    def _refilled(self, centres: Centres, found: Sums) -> Centres:
        """`centres` with those that have no row at the rows that lie farthest from their own."""
        empty = np.flatnonzero(found.rows == 0)
        far = points(farthest(self.parts, self.groups, self._adding(centres), len(empty)).values, self.layout)
        n_rows = far.numeric.shape[1]
        if not n_rows:
            raise InvalidInput(
                f"can't train: {len(found.rows)} clusters take as many different rows, and as the model takes them "
                f"there are {len(found.rows) - len(empty)}; take fewer `clusters`, or more features"
            )
        numeric, shares = centres.numeric.copy(), centres.shares.copy()
        numeric[:, empty[:n_rows]], shares[:, empty[:n_rows]] = far.numeric, far.shares
        return Centres(numeric=numeric, shares=shares)

    def _tell(self, found: Sums, done: int, most: int) -> None:
        few = int(found.rows.sum()) < self.parts.fitting.least
        seconds = time.monotonic() - self.started
        loss = None if few else found.loss(self.grid)
        self.parts.fitting.rounds(Rounds(done=done, of=most, loss=loss, held_out=False, seconds=seconds))

    def _require_rows(self, rows: Ints, of: Ints, done: int) -> None:
        """Nothing, if each centre is the mean of as many rows as it needs (`of`), and as many are nearest to it."""
        empty = np.count_nonzero(rows == 0)
        if empty or not of.all():
            few = f"{empty} of {len(rows)} clusters have no row"
            if not empty:
                few = f"{np.count_nonzero(of == 0)} of {len(rows)} centres aren't the mean of their rows yet"
            told = f"kmeans: after {done} iterations {few}; raise `max_iterations`, or take fewer `clusters`"
            raise lasting(Compute(told))
        least = self.parts.fitting.least
        fewest = np.minimum(rows, of)
        if fewest.min() < least:
            raise InvalidInput(
                f"can't train: of {len(rows)} clusters {np.count_nonzero(fewest < least)} would be the mean "
                f"of fewer than {least} rows, and the policies show no figures about so few; take fewer `clusters`"
            )
