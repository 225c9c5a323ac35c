"""What must hold of a run's outcomes; one check that misses makes the run invalid.

1. Models must be as good as the data allows, with room for chance: data that is made up can be asked for that.
2. Rows are counted against what the generator knows, not against what a run says of itself: rows in are rows out,
   set aside and filtered, and each arrival has one score, by its id.
3. No file of any outcome holds a canary of a personal value, nor a birthday: every text of every Parquet file, every
   record, model and page is looked through, on the cluster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataops.bench.making import Data
from dataops.bench.people import CANARY_PATTERN
from dataops.bench.results import Check
from dataops.bench.sizes import NEW, PAST, Size
from dataops.datasets.snapshot import DATASETS_FOLDER, read_snapshot
from dataops.runs.ledger import RunState
from dataops.runs.workspace import Workspace
from dataops.storage.files import open_files

if TYPE_CHECKING:
    from distributed import Client

LEAST_AUC: Mapping[str, float] = {"logistic": 0.75, "xgboost": 0.75}
"""By trainer, where few rows were learnt from."""
LEAST_AUC_OF_MANY: Mapping[str, float] = {"logistic": 0.82, "xgboost": 0.85}
"""From `MANY_ROWS` in the training set on; who knew the true odds of each payment would come to 0.90."""
MANY_ROWS = 100_000
BIRTHDAYS = ("birth_date", "born")
"""What birthdays are called, by the contract and by the jobs."""
_CANARY = re.compile(CANARY_PATTERN.encode())
_LEAKS_NAMED = 3


def check_models(trained: RunState) -> Iterator[Check]:
    """The ROC AUC of each candidate on test rows."""
    versions: Sequence[Mapping[str, Any]] = trained.result["versions"]
    learnt = trained.result["reads"]["input"]["counts"]["passed"]
    for trainer, least in (LEAST_AUC if learnt < MANY_ROWS else LEAST_AUC_OF_MANY).items():
        found = [one for one in versions if trainer in one["candidate"]]
        value = found[0]["metrics"]["holdout"]["overall"]["roc_auc"] if found else None
        told = "none" if value is None else f"{value:.4f}"
        yield Check(name=f"ROC AUC, {trainer}", found=told, asked=f"at least {least:g}", holds=(value or 0) >= least)


def check_rows(outcomes: Mapping[str, RunState], data: Data) -> Iterator[Check]:
    """What became of the rows of both sets of payments, against what was made."""
    for job, table in (("payments", PAST), ("arrivals", NEW)):
        counts = outcomes[job].result["reads"]["input"]["counts"]
        filtered = counts["filtered_by_policy"] + counts["filtered_by_job"]
        found = (counts["read"], counts["passed"], filtered, counts["quarantined"])
        parts = data.of(table)
        tests, broken = sum(part.tests for part in parts), sum(part.broken for part in parts)
        rows = sum(part.rows for part in parts)
        wanted = (rows, rows - tests - broken, tests, broken)
        yield Check(name=f"rows of {table}", found=_spelled(found), asked=_spelled(wanted), holds=found == wanted)


def _spelled(rows: tuple[int, int, int, int]) -> str:
    read, passed, filtered, aside = rows
    return f"{read:,} read = {passed:,} passed + {filtered:,} filtered + {aside:,} set aside"


def check_scores(workspace: Workspace, names: Sequence[str], data: Data, size: Size) -> Iterator[Check]:
    """Each good arrival has exactly one score in each dataset of `names`."""
    parts = data.of(NEW)
    wanted = sum(part.rows - part.tests - part.broken for part in parts)
    sum_of_ids = sum(part.good_ids for part in parts) % 2**64
    for name in names:
        seen, scored = np.zeros(size.rows[NEW], np.uint8), 0
        for ids, strange in _scored_ids(workspace, name, len(seen)):
            np.add.at(seen, ids, 1)
            scored += len(ids) + strange
        once = int((seen == 1).sum())
        ids_of_once = int(np.flatnonzero(seen == 1).astype(np.uint64).sum(dtype=np.uint64))
        holds = scored == once == wanted and ids_of_once == sum_of_ids
        told = f"{once:,} of {wanted:,} arrivals, in {scored:,} rows"
        yield Check(name=f"scored once, {name}", found=told, asked=f"{wanted:,} arrivals, each once", holds=holds)


def _scored_ids(workspace: Workspace, name: str, most: int) -> Iterator[tuple[npt.NDArray[np.int64], int]]:
    """The ids that were scored, and how many rows have one that there isn't, file by file."""
    files = open_files(f"{workspace.settings.storage}/{DATASETS_FOLDER}/{name}")
    snapshot = read_snapshot(workspace.store, name)
    for fragment in snapshot.fragments if snapshot else ():
        with files.open(fragment.path) as opened:
            column = pq.read_table(opened, columns=["payment_id", "probability"])
        column = column.filter(pc.is_finite(column["probability"]))
        ids = column["payment_id"].to_numpy().astype(np.int64)
        known = (ids >= 0) & (ids < most)
        yield ids[known], int((~known).sum())


def check_canaries(client: Client, urls: Sequence[str]) -> Check:
    """Nothing personal lies in any file below `urls`."""
    from distributed import as_completed

    tasks = []
    for url in urls:
        paths = [found.path for found in open_files(url).list("", "")]
        batches = [paths[start : start + 200] for start in range(0, len(paths), 200)]
        large = [path for path in paths if path.endswith(".parquet")]
        tasks += [client.submit(leaks_in, url, (path,), pure=False) for path in large]
        tasks += [
            client.submit(leaks_in, url, tuple(one for one in batch if not one.endswith(".parquet")), pure=False)
            for batch in batches
        ]
    files, leaks = 0, list[str]()
    for _, (looked, found) in as_completed(tasks, loop=client.loop, with_results=True):
        files, leaks = files + looked, [*leaks, *found]
    named = ", ".join(sorted(leaks)[:_LEAKS_NAMED])
    told = f"in {len(leaks):,} places ({named})" if leaks else f"none in {files:,} files"
    return Check(name="personal values in outcomes", found=told, asked="none", holds=not leaks and files > 0)


def leaks_in(url: str, paths: Sequence[str]) -> tuple[int, list[str]]:
    """How many of the files were looked through, and where a personal value stands."""
    files, leaks = open_files(url), []
    for path in paths:
        with files.open(path) as opened:
            if path.endswith(".parquet"):
                leaks += [f"{column} of {_short(path)}" for column in _leaking_columns(pq.ParquetFile(opened))]
            elif _CANARY.search(opened.read()):
                leaks.append(_short(path))
    return len(paths), leaks


def _short(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder.split('/')[1] if folder.count('/') else folder}/{name}"


def _leaking_columns(file: pq.ParquetFile) -> Iterator[str]:
    """Columns with a canary, or with a birthday that no mask took."""
    schema = file.schema_arrow
    looked = [one.name for one in schema if _is_text(one.type) or pa.types.is_date(one.type)]
    for batch in file.iter_batches(batch_size=2**17, columns=looked) if looked else ():
        for name in looked:
            column = batch.column(name)
            if _is_text(column.type):
                distinct = pc.unique(column.cast(pa.string()))
                found = pc.any(pc.match_substring_regex(distinct, CANARY_PATTERN)).as_py()
            else:
                days = pc.unique(column)
                found = name in BIRTHDAYS and pc.any(pc.greater(pc.day_of_year(days), 1)).as_py()
            if found:
                yield name
                looked = [one for one in looked if one != name]


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain))
