"""What went wrong on the cluster, as errors of ours: by family, without what a task said, which could hold a value.

1. What Dask says of lost workers and of results that are gone, and what a worker's disk or network says, may go well
   when it is tried again (`errors.DataopsError.may_pass`). A search doesn't hold it against a trial: the run ends and
   can be resumed.
2. What rows and parameters come to on any cluster is `lasting`: a trial of a search has failed with it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from dataops.errors import Compute, DataopsError

E = TypeVar("E", bound=DataopsError)

_CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)
_OF_DASK = frozenset({"dask", "distributed", "tornado"})


def lasting(error: E) -> E:
    """`error`, of which doesn't pass what mostly does in its family: the same rows and parameters come to it again."""
    error.may_pass = False
    return error


def is_of_cluster(error: BaseException) -> bool:
    """Whether it is the cluster that failed: Dask's own errors, a disk, the network; nothing of ours."""
    if isinstance(error, DataopsError):
        return False
    return isinstance(error, (OSError, *_CANCELLED)) or type(error).__module__.partition(".")[0] in _OF_DASK


def told_failure(error: BaseException, *, what: str) -> DataopsError:
    """What is raised for `error`, which a task of `what` raised or Dask did: ours as it is, others by their type."""
    if isinstance(error, DataopsError):
        return error
    found = Compute(f"{what} failed on the cluster with {type(error).__name__}; the workers' logs say where")
    return found if is_of_cluster(error) else lasting(found)


@contextmanager
def cluster_failures(what: str) -> Iterator[None]:
    """Turns what the cluster raises inside, and nothing else, into errors of ours.

    Raises
    ------
    Compute : the cluster failed.
    """
    try:
        yield
    except BaseException as error:
        if is_of_cluster(error):
            raise told_failure(error, what=what) from None
        raise
