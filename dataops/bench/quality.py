"""What must hold of a run's outcomes; one check that misses makes the run invalid.

1. Models must be as good as the data allows, with room for chance: data that is made up can be asked for that.
2. Rows are counted against what the generator knows, not against what a run says of itself: rows in are rows out,
   set aside and filtered, in every output on the way (scores have a module of their own, `scores`).
3. No file of any outcome holds a canary of a personal value, nor a birthday: every text, date and time of every Parquet
   file, every record, model and page is looked through, on the cluster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataops.bench.making import Data
from dataops.bench.people import BIRTH_YEARS, BIRTHDAY_PATTERN, CANARY_PATTERN
from dataops.bench.results import Check
from dataops.bench.sizes import NEW, PAST
from dataops.datasets.snapshot import DATASETS_FOLDER, read_manifest, was_published
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
OUTPUTS: Mapping[str, str] = {"payments": PAST, "payments_joined": PAST, "training": PAST, "arrivals": NEW}
"""Each dataset that is made on the way, and the payments whose good rows it must hold, no fewer and no more."""
_PERSONAL = tuple(re.compile(pattern.encode()) for pattern in (CANARY_PATTERN, BIRTHDAY_PATTERN))
_LEAKS_NAMED = 3


def check_models(trained: RunState) -> Iterator[Check]:
    """The ROC AUC of each candidate on test rows."""
    versions: Sequence[Mapping[str, Any]] = trained.result["versions"]
    learnt = rows_learnt(trained)
    for trainer, least in (LEAST_AUC if learnt < MANY_ROWS else LEAST_AUC_OF_MANY).items():
        found = [one for one in versions if trainer in one["candidate"]]
        value = found[0]["metrics"]["holdout"]["overall"]["roc_auc"] if found else None
        told = "none" if value is None else f"{value:.4f}"
        yield Check(name=f"ROC AUC, {trainer}", found=told, asked=f"at least {least:g}", holds=(value or 0) >= least)


def rows_learnt(trained: RunState) -> int:
    """Rows that the models have learnt from."""
    return int(trained.result["reads"]["input"]["counts"]["passed"])


def check_rows(outcomes: Mapping[str, RunState], data: Data, workspace: Workspace) -> Iterator[Check]:
    """What became of the rows of both sets of payments, against what was made, in each output on their way."""
    for job, table in (("payments", PAST), ("arrivals", NEW)):
        counts = outcomes[job].result["reads"]["input"]["counts"]
        filtered = counts["filtered_by_policy"] + counts["filtered_by_job"]
        found = (counts["read"], counts["passed"], filtered, counts["quarantined"])
        parts = data.of(table)
        tests, broken = sum(part.tests for part in parts), sum(part.broken for part in parts)
        wanted = (data.rows(table), data.good_rows(table), tests, broken)
        yield Check(name=f"rows of {table}", found=_spelled(found), asked=_spelled(wanted), holds=found == wanted)
    for job, table in OUTPUTS.items():
        rows, asked = _rows_written(workspace, outcomes[job]), data.good_rows(table)
        yield Check(name=f"rows in {job}", found=f"{rows:,}", asked=f"{asked:,}", holds=rows == asked)
    used = {role: read["counts"]["passed"] for role, read in outcomes["fraud"].result["reads"].items()}
    learnt, asked = used.pop("input"), data.good_rows(PAST)  # what is left was for tests
    tested = sum(used.values())
    told = f"{learnt:,} learnt from + {tested:,} of tests"
    yield Check(name="rows of the models", found=told, asked=f"{asked:,}", holds=learnt + tested == asked)


def _spelled(rows: tuple[int, int, int, int]) -> str:
    read, passed, filtered, aside = rows
    return f"{read:,} read = {passed:,} passed + {filtered:,} filtered + {aside:,} set aside"


def _rows_written(workspace: Workspace, state: RunState) -> int:
    """Rows in the files that a run published, by their own footers."""
    dataset, run = state.run.job, state.run.id
    if not was_published(workspace.store, dataset, run):
        return 0
    files, rows = open_files(f"{workspace.settings.storage}/{DATASETS_FOLDER}/{dataset}"), 0
    for fragment in read_manifest(workspace.store, dataset, run).fragments:
        with files.open(fragment.path) as opened:
            rows += pq.read_metadata(opened).num_rows
    return rows


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
            else:
                text = opened.read()
                leaks += [_short(path)] if any(pattern.search(text) for pattern in _PERSONAL) else []
    return len(paths), leaks


def _short(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder.split('/')[1] if folder.count('/') else folder}/{name}"


def _leaking_columns(file: pq.ParquetFile) -> Iterator[str]:
    """Columns with a canary, or with a birthday that no mask took, whatever the column is called."""
    schema = file.schema_arrow
    looked = [one.name for one in schema if _is_text(one.type) or _is_day(one.type)]
    for batch in file.iter_batches(batch_size=2**17, columns=looked) if looked else ():
        for name in looked:
            column = batch.column(name)
            if (_text_leaks if _is_text(column.type) else _day_leaks)(column):
                yield name
                looked = [one for one in looked if one != name]


def _text_leaks(column: pa.Array) -> bool:
    distinct = pc.unique(column.cast(pa.string()))
    patterns = (CANARY_PATTERN, BIRTHDAY_PATTERN)
    return any(pc.any(pc.match_substring_regex(distinct, pattern)).as_py() for pattern in patterns)


def _day_leaks(column: pa.Array) -> bool:
    """Whether a day is in the years of birth and no first of January, which is what the mask leaves."""
    days, (first, last) = pc.unique(column), BIRTH_YEARS
    years = pc.year(days)
    then = pc.and_(pc.greater_equal(years, first), pc.less_equal(years, last))
    return bool(pc.any(pc.and_(then, pc.greater(pc.day_of_year(days), 1))).as_py())


def _is_day(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain))
