"""Governed data, parallel training, batch rescoring and promotion as one line, on Dask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataops.version import VERSION

if TYPE_CHECKING:
    from distributed import Client

    from dataops.runs.exploring import Reading

__version__ = VERSION


def read(
    name: str,
    *,
    purpose: str,
    columns: Sequence[str] | None = None,
    workspace: str | None = None,
    client: Client | None = None,
) -> Reading:
    """Dataset `name` of the catalog, as you may read it for `purpose`: ``to_table()``, ``to_tables()``, ``head()`` give
    Arrow, ``to_dask()`` a Dask frame.

    The policies decide as they do for a job: denied columns are missing, rows are filtered and checked, values masked.
    No row is read before one of the methods is called.

        census = dataops.read("census_training", purpose="train")
        census.to_dask().groupby("education").age.mean().compute()

    Parameters
    ----------
    purpose : ``train``, ``evaluate``, ``score`` or ``benchmark``.
    columns : what to read, in this order; None: all that the policies give.
    workspace : its folder; None: the one that the present folder lies in.
    client : of a Dask cluster, for datasets that must be looked at as a whole first (unique keys, rare values); None:
        one is started where that has yet to be done.

    Raises
    ------
    AccessDenied : the policies deny the dataset or one of `columns`, or show figures about groups only.
    NotFound : no such dataset, or no workspace.
    InvalidInput : an unknown purpose or column.
    """
    from dataops.runs.exploring import open_reading  # an application imports none of what this needs

    return open_reading(name, purpose=purpose, columns=columns, workspace=workspace, client=client)
