"""How much memory boosting takes, from rows, columns and bins: told before anything starts, refused where it can't fit.

1. Bytes a row were derived from what the libraries keep (XGBoost 3.2, LightGBM 4.7) and measured: see ADR 0029.
2. A worker takes no more than the share of its limit at which Dask pauses it (``distributed.worker.memory.pause``).
3. It is counted for the worker with the most rows, since all of them go in step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from dataops.engine.memory import in_use
from dataops.engine.workers import known_workers
from dataops.errors import Compute
from dataops.features.encoder import Encoder
from dataops.training.failures import lasting
from dataops.training.parts import place_units

if TYPE_CHECKING:
    from distributed import Client

PROCESS_BYTES = 300 * 2**20
"""What a worker's process takes before it holds a row: interpreter, Arrow, Dask, the library."""
MEGABYTE = 10**6
_FLOAT, _PAUSE = 4, "distributed.worker.memory.pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What is to be trained on.

    Attributes
    ----------
    columns : of the matrix.
    bins : the most that a column is cut into.
    weighted, held_out : whether rows have weights, and whether some are held out.
    """

    columns: int
    bins: int
    weighted: bool
    held_out: bool

    @property
    def bin_bytes(self) -> int:
        """Bytes of a bin's number."""
        return 1 if self.bins <= 256 else 2 if self.bins <= 65_536 else 4

    @property
    def encoded(self) -> int:
        """Bytes a row of an encoded part: float32 features and target, a weight, a group."""
        return _FLOAT * (self.columns + 1 + self.weighted) + self.held_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a library takes for a `Table`, beside the encoded parts.

    Attributes
    ----------
    making : bytes a row while bins are made of the parts.
    held : bytes a row of what is made of them.
    rounds : further bytes a row while rounds are trained.
    fixed : bytes, however many rows there are.
    """

    making: float
    held: float
    rounds: float
    fixed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a fit takes of the worker with the most rows.

    Attributes
    ----------
    rows, most_rows : all of them, and those of that worker.
    row_bytes : bytes a row at the peak, all told.
    fixed_bytes : bytes beside: the process, and what the library takes however many rows there are.
    """

    rows: int
    most_rows: int
    row_bytes: float
    fixed_bytes: int

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.fixed_bytes + math.ceil(self.most_rows * self.row_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRoom:
    """Memory of one worker in bytes: its limit (0: none), and what is in use that isn't a part."""

    limit: int
    used: int


@runtime_checkable
class NeedsRoom(Protocol):
    """A trainer whose fit can be known not to fit before a row is read."""

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
        """What the fit will need, in words.

        Parameters
        ----------
        rows : of each unit.
        shared : whether the encoded parts have to stay for others.
        copied : whether all rows lie there once more, as where a calibration has its own.

        Raises
        ------
        Compute : the workers don't have as much.
        """


def need_of(
    rows: Sequence[int], workers: int, table: Table, room: Room, *, process: int, shared: bool, copied: bool = False
) -> Need:
    """What the worker with the most rows needs.

    Parameters
    ----------
    rows : of each unit.
    process : bytes of a worker's process, without parts.
    shared : whether the encoded parts stay while rounds are trained.
    copied : whether all rows lie there encoded once more, from before the fit on.
    """
    shares = dict.fromkeys(range(max(workers, 1)), 0)
    for unit, worker in place_units(rows, [str(number) for number in shares]).items():
        shares[int(worker)] += rows[unit]
    training = room.held + room.rounds + (table.encoded if shared else 0)
    return Need(
        rows=sum(rows),
        most_rows=max(shares.values()),
        row_bytes=max(table.encoded + room.making, training) + (table.encoded if copied else 0),
        fixed_bytes=max(process, PROCESS_BYTES) + room.fixed,
    )


def told_need(trainer: str, need: Need, table: Table) -> str:
    """`need` in words."""
    return (
        f"{trainer} needs {need.row_bytes:.0f} bytes a row for {table.columns} columns: {in_mb(need.bytes)} on the "
        f"worker with the most of {need.rows:,} rows ({need.most_rows:,}), {in_mb(need.fixed_bytes)} of it however few"
    )


def require_fits(trainer: str, need: Need, table: Table, workers: Sequence[WorkerRoom], share: float) -> None:
    """Nothing, if every worker has as much.

    Parameters
    ----------
    share : of a worker's limit that may be used, above 0 to 1.

    Raises
    ------
    Compute : with the numbers, and what would help.
    """
    limits = [worker.limit for worker in workers if worker.limit]
    if not limits or need.bytes <= share * min(limits):
        return
    for_rows = share * min(limits) - need.fixed_bytes
    ways = [f"give each worker {in_mb(need.bytes / share)} (`memory_limit` of the cluster file)"]
    if for_rows > need.row_bytes:
        ways.append(f"take {math.ceil(need.rows * need.row_bytes / for_rows)} workers of this size (`train.workers`)")
    ways.append("train on fewer rows or columns")
    if table.bin_bytes > 1:
        ways.append("lower `max_bin` to 256")
    why = (
        f"{told_need(trainer, need, table)}. The smallest of {len(workers)} workers has {in_mb(min(limits))}, of which "
        f"{share:.0%} may be used, so it doesn't fit, and nothing was started. Either {', or '.join(ways)}"
    )
    raise lasting(Compute(why))


def usable_share() -> float:
    """The share of a worker's limit at which Dask pauses it; 1 where it never does."""
    import dask

    share = dask.config.get(_PAUSE, default=0.8)
    return float(share) if share else 1.0


def worker_rooms(client: Client) -> list[WorkerRoom]:
    """The memory of each worker."""
    used = in_use(client)
    return [
        WorkerRoom(limit=int(worker.get("memory_limit") or 0), used=used.get(address, 0))
        for address, worker in known_workers(client).items()
    ]


def in_mb(size: float) -> str:
    """`size`, in bytes, as text."""
    return f"{size / MEGABYTE:,.0f} MB"
