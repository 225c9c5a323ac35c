"""Trainer ``lightgbm``: LightGBM's own distributed training under the rounds of `boosting_rounds`.

1. As in `boosting`: parts are binned where they lie and released, rows are held out, fits go on after lost workers.
2. The objective for classes (``binary``) and method (histograms by row, data shared out by rows) are ours; the rest is
   a closed list, for each task its own.
3. With more than one worker LightGBM's ranks talk over sockets of their own, at ports that are free on each worker.
4. What a model's text says after its trees (machines and ports among it) is cut off: equal fits give equal bytes.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlparse

import numpy as np

from dataops.declarations.metrics import Task
from dataops.errors import Compute
from dataops.features.encoder import Encoder
from dataops.models.predictor import LIGHTGBM
from dataops.training.boosting_library import SHARED, Library, of_numbers, signs
from dataops.training.boosting_ranks import Advance, Batch, Order, Seat, batches
from dataops.training.boosting_room import Room, Table
from dataops.training.boosting_rounds import boost
from dataops.training.parts import EncodedPart, PartsOnCluster
from dataops.training.trainers import Parameter, number, whole

if TYPE_CHECKING:
    from distributed import Client

WAIT_MINUTES = 10  # for the other ranks to be there
SAMPLED_ROWS = 200_000  # LightGBM's own `bin_construct_sample_cnt`
_END = "\nend of trees\n"

# A default of None leaves LightGBM's own. Bounds: https://lightgbm.readthedocs.io/en/stable/Parameters.html
PARAMETERS = {
    **SHARED,
    "num_leaves": Parameter(default=None, parse=whole(2, 131_072)),
    "max_depth": Parameter(default=None, parse=whole(1, 64)),
    "learning_rate": Parameter(default=None, parse=number(0, 1, above=True)),
    "min_data_in_leaf": Parameter(default=None, parse=whole(0, 1_000_000_000)),
    "min_sum_hessian_in_leaf": Parameter(default=None, parse=number(0, 1e12)),
    "min_gain_to_split": Parameter(default=None, parse=number(0, 1e12)),
    "bagging_fraction": Parameter(default=None, parse=number(0, 1, above=True)),
    "feature_fraction": Parameter(default=None, parse=number(0, 1, above=True)),
    "feature_fraction_bynode": Parameter(default=None, parse=number(0, 1, above=True)),
    "lambda_l1": Parameter(default=None, parse=number(0, 1e12)),
    "lambda_l2": Parameter(default=None, parse=number(0, 1e12)),
    "max_delta_step": Parameter(default=None, parse=number(0, 1e6)),
    "max_bin": Parameter(default=255, parse=whole(2, 65_535)),
}


_OBJECTIVES = {
    None: "binary",
    "squared_error": "regression",
    "poisson": "poisson",
    "absolute_error": "regression_l1",
}


class LightGbmTrainer:
    """Trainer ``lightgbm``: what all boosting takes (`boosting_library.SHARED`) and LightGBM's own in `PARAMETERS`.

    Of a regression the parameter `objective`, and nothing about classes.
    """

    holds_out: ClassVar[bool] = True
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.REGRESSION})

    def __init__(self, task: Task = Task.BINARY) -> None:
        self._library = LIBRARIES[task]

    def for_task(self, task: Task) -> LightGbmTrainer:
        """The trainer of models of `task`."""
        return LightGbmTrainer(task)

    def require_params(self, params: Mapping[str, Any]) -> None:
        """Nothing, or InvalidInput with every finding; Compute where LightGBM isn't installed."""
        _require_installed()
        self._library.parse(params)

    def require_room(
        self,
        client: Client,
        rows: Sequence[int],
        encoder: Encoder,
        params: Mapping[str, Any],
        *,
        weighted: bool,
        shared: bool,
        copied: bool = False,
    ) -> str:
        """See `boosting_room.NeedsRoom`."""
        values = self._library.parse(params)
        how = {"weighted": weighted, "shared": shared, "copied": copied}
        return self._library.require_room(client, rows, encoder, values, **how)

    def fit(self, parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> tuple[str, bytes]:
        """The format ``lightgbm-text/1`` and the model's bytes."""
        return LIGHTGBM, fit_lightgbm(parts, params, seed)


def fit_lightgbm(parts: PartsOnCluster, params: Mapping[str, Any], seed: int) -> bytes:
    """The trained model in LightGBM's text, down to the end of its trees.

    Raises
    ------
    InvalidInput : wrong parameters, or rows that can't be trained on.
    Compute : it doesn't fit in memory, training failed, or workers were lost again and again.
    """
    _require_installed()
    return boost(LIBRARIES[parts.task], parts, params, seed)


def _require_installed() -> None:
    try:
        import lightgbm  # noqa: F401
    except ModuleNotFoundError:
        raise Compute(
            "trainer lightgbm: lightgbm isn't installed here: install dataops[lightgbm], on the workers too"
        ) from None


class LightGbmRank:
    """A share of the rows in LightGBM; see `boosting_ranks.Rank`."""

    library: ClassVar[str] = "lightgbm"

    def __init__(self, seat: Seat, order: Order, parts: Sequence[EncodedPart]) -> None:
        import lightgbm

        self._rank, self._saved = seat.rank, order.saved
        params = {**order.params, **seat.meeting, "metric": order.metric, "num_threads": seat.threads}
        sides = [list(batches(parts, order, held_out=False))]
        if order.held_out:
            sides.append(list(batches(parts, order, held_out=True)))
        self._weights = tuple(sum(batch.weights for batch in side) for side in sides)
        before = lightgbm.Booster(model_str=_whole(order.saved)) if order.saved else None
        if before is not None:
            params |= _drawn_after(params["seed"], before.num_trees())
        rows = _dataset(sides[0], params, before)
        self._booster = lightgbm.Booster(params, rows)  # meets the other ranks, and bins the rows
        self._held_out = bool(order.held_out)
        if self._held_out and sides[1]:
            self._booster.add_valid(_dataset(sides[1], params, before, reference=rows), "held_out")

    def advance(self, rounds: int, *, save: bool) -> Advance:
        """`rounds` more, or fewer where no tree gains anything any more."""
        held_out: list[float] = []
        done = 0
        for _ in range(rounds):
            trees = self._booster.num_trees()
            self._booster.update()
            if self._booster.num_trees() == trees:
                break
            done += 1
            if self._held_out:
                held_out.append(self._loss(self._booster.eval_valid()))
        return Advance(
            rounds=done,
            held_out=tuple(held_out),
            loss=None if self._held_out else self._loss(self._booster.eval_train()),
            weights=(self._weights[0], self._weights[-1]),
            model=self._model() if save and self._rank == 0 else None,
        )

    def _loss(self, told: Sequence[Any]) -> float:
        """The loss on this rank's rows alone; NaN where it has none, which then weighs nothing."""
        return float(told[0][2]) if told else math.nan

    def _model(self) -> bytes:
        text = self._booster.model_to_string(num_iteration=-1)
        mine = f"{text[: text.index(_END)]}{_END}".encode("ascii")
        return mine if self._saved is None else join_trees(self._saved, mine)

    def close(self) -> None:
        """Leave the other ranks, and let the rows go."""
        self._booster.free_network()
        del self._booster


def _drawn_after(seed: int, rounds: int) -> dict[str, int]:
    """Seeds of what is drawn after `rounds`: LightGBM counts from 0 again, and would take the first rounds' rows and
    columns once more. Bins stay those of `seed`.
    """
    drawn = np.random.SeedSequence([seed, rounds]).generate_state(2) % 2**31
    return dict(zip(("bagging_seed", "feature_fraction_seed"), drawn.tolist(), strict=True))


def _dataset(side: Sequence[Batch], params: Mapping[str, Any], before: Any, *, reference: Any = None) -> Any:
    """LightGBM's dataset of some batches, with the margins of the model that was trained `before` on it, if any."""
    import lightgbm

    weights = [batch.weight for batch in side if batch.weight is not None]
    margins = None if before is None else np.concatenate([before.predict(one.values, raw_score=True) for one in side])
    return lightgbm.Dataset(
        [batch.values for batch in side],
        label=np.concatenate([batch.target for batch in side]),
        weight=np.concatenate(weights) if weights else None,
        init_score=margins,
        reference=reference,
        params=dict(params),
    )


def _whole(model: bytes) -> str:
    return model.decode("ascii")


def join_trees(first: bytes, second: bytes) -> bytes:
    """A model of the trees of `first` and then those of `second`, of the same columns."""
    header, trees = _taken_apart(first)
    return _put_together(header, [*trees, *_taken_apart(second)[1]])


def cut_trees(model: bytes, rounds: int) -> bytes:
    """`model` with its first `rounds` trees alone."""
    header, trees = _taken_apart(model)
    return _put_together(header, trees[:rounds])


def _taken_apart(model: bytes) -> tuple[list[str], list[str]]:
    """The header's lines, and each tree's text without the line of its number."""
    head, *trees = model.decode("ascii").removesuffix(f"{_END}").split("\n\nTree=")
    return head.split("\n"), [tree.partition("\n")[2].rstrip("\n") for tree in trees]


def _put_together(header: Sequence[str], trees: Sequence[str]) -> bytes:
    blocks = [f"Tree={number}\n{tree}\n\n\n" for number, tree in enumerate(trees)]
    sizes = f"tree_sizes={' '.join(str(len(block)) for block in blocks)}"  # LightGBM jumps from tree to tree by them
    lines = [sizes if line.startswith("tree_sizes=") else line for line in header]
    return f"{chr(10).join(lines).rstrip()}\n\n{''.join(blocks)}{_END.lstrip()}".encode("ascii")


def _params(values: Mapping[str, Any], encoder: Encoder, seed: int) -> dict[str, Any]:
    """LightGBM's parameters."""
    given = {name: values[name] for name in PARAMETERS if name not in SHARED and values[name] is not None}
    if values["monotone_constraints"]:
        given["monotone_constraints"] = signs("lightgbm", values["monotone_constraints"], encoder)
    if "bagging_fraction" in given:
        given["bagging_freq"] = 1  # else no row is ever left out
    ours = {
        "objective": _OBJECTIVES[values.get("objective")],
        "tree_learner": "data",
        "pre_partition": True,
        "force_row_wise": True,
    }
    # what is never missing needs no side of its own; small leaves are a matter of the whole, not of one rank's rows
    plain = {"use_missing": False, "feature_pre_filter": False, "deterministic": True, "verbosity": -1}
    return {**given, **ours, **plain, "seed": seed % 2**31}


def _room(table: Table) -> Room:
    """What LightGBM keeps of dense rows: see ADR 0029."""
    bins = table.columns * table.bin_bytes
    held = bins + 12 + 4 * table.weighted  # bins, target and how it is read
    copied = table.encoded if table.held_out else 0  # the two sides of each part are copies
    # bins by row for histograms, score, gradients and their order, the row's place in the tree and room to part rows
    sampled = SAMPLED_ROWS * table.columns * 8
    return Room(making=held + copied, held=held, rounds=bins + 36, fixed=64 * 2**20 + sampled)


def _meet(client: Client, workers: Sequence[str]) -> list[dict[str, Any]]:
    """The machines and ports of all ranks; nothing where there is one."""
    if len(workers) == 1:
        return [{}]
    ports = client.run(_free_port, workers=list(workers))
    machines = ",".join(f"{urlparse(worker).hostname}:{ports[worker]}" for worker in workers)
    shared = {"machines": machines, "num_machines": len(workers), "time_out": WAIT_MINUTES}
    return [{**shared, "local_listen_port": ports[worker]} for worker in workers]


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


LIBRARY = Library(
    name="lightgbm",
    parameters=PARAMETERS,
    params=_params,
    rank=LightGbmRank,
    meet=_meet,
    metric={None: "binary_logloss"},
    cut=cut_trees,
    room=_room,
)
LIBRARIES = {
    Task.BINARY: LIBRARY,
    # means over rows, so that ranks' losses add up
    Task.REGRESSION: replace(
        LIBRARY,
        parameters=of_numbers(PARAMETERS),
        metric={"squared_error": "l2", "poisson": "poisson", "absolute_error": "l1"},
    ),
}
