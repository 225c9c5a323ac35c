"""Governed data outside of jobs, for exploring and for what isn't row-wise: Arrow in this process, or a Dask frame.

1. What a job would be given is given here, and in the same way: columns, filters, rules and masks as the policies
   say when it is asked for, under a grant that may end; nothing of a dataset that breaks a rule of the whole. No row
   is written.
2. The audit knows of each reading before its first row, and of a survey of the whole dataset. What Arrow readers took
   is counted and told when they are done; a Dask frame reads when it is computed, as often as it is, so of it the
   audit says that it was handed out.
3. Columns have one type, in every part and with or without missing values: a frame whose parts disagree fails late.
4. Where the policies show figures about groups of a least size only, no rows are handed out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from dataops.datasets.access import GovernedInput
from dataops.datasets.access import open_inputs as open_governed
from dataops.datasets.publish import require_within_thresholds
from dataops.datasets.reading import Source
from dataops.datasets.receipt import Receipt, merge_receipts
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.datasets.survey import asked_of, find_survey, survey_folder
from dataops.datasets.units import Unit
from dataops.declarations.clusters import shape_of
from dataops.declarations.inputs import INPUT
from dataops.engine.connect import connect
from dataops.engine.progress import Progress
from dataops.engine.survey import surveyed
from dataops.engine.tasks import Failure, attempt
from dataops.engine.work import Work
from dataops.errors import AccessDenied, DataopsError, InvalidInput
from dataops.governance.audit import record_result
from dataops.governance.contract import schema_of
from dataops.governance.grant import Grant, Purpose
from dataops.governance.keys import current_key_id
from dataops.records import merkle_root, now_utc
from dataops.runs.audit import announce, sign_audit
from dataops.runs.ledger import new_run_id
from dataops.runs.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd
    from distributed import Client

HANDED_OUT = "handed_out"


def open_reading(
    name: str,
    *,
    purpose: str,
    columns: Sequence[str] | None = None,
    workspace: str | None = None,
    client: Client | None = None,
) -> Reading:
    """See `dataops.read`."""
    purposes = [one.value for one in Purpose]
    if purpose not in purposes:
        raise InvalidInput(f"purpose: expected {', '.join(purposes)}; found {purpose!r}")
    opened = open_workspace(workspace)
    given = open_governed(opened.settings, opened.store, opened.reader(), {INPUT: (name, purpose)})[INPUT]
    what = f"reading dataset '{name}'"
    least = given.grant.effect.min_group_size
    if least > 1:
        raise AccessDenied(
            f"{what}: the policies show figures about {least} rows or more, and a reading shows rows; a job "
            "that trains or evaluates on it may use them"
        )
    readable = tuple(column.name for column in given.masked_columns())
    chosen = readable if columns is None else tuple(columns)
    given.require_columns(chosen, where=what)
    if not chosen or len(set(chosen)) < len(chosen):
        raise InvalidInput(f"{what}: columns: expected one or more names, each once")
    given = _as_a_whole(opened, given, client)
    return Reading(given=given, columns=chosen, id=new_run_id(f"read-{name}", now_utc()), _workspace=opened)


def _as_a_whole(workspace: Workspace, given: GovernedInput, client: Client | None) -> GovernedInput:
    """`given`, whose dataset keeps the rules of the whole, with what a look at all of it tells: the one that was taken
    before, or one on `client` or on a cluster that ends with it, which the audit is told of.
    """
    identifier = new_run_id(f"survey-{given.dataset.name}", now_utc())
    if not _must_be_surveyed(workspace, given):
        return _surveyed(workspace, given, identifier, cast("Client", client))  # nothing is asked of it
    with _told(workspace, given, identifier, ()), _client(workspace, client) as connected:
        return _surveyed(workspace, given, identifier, connected)


def _must_be_surveyed(workspace: Workspace, given: GovernedInput) -> bool:
    asked = asked_of(given.source)
    if not asked.anything:
        return False
    key_id = current_key_id(Path(workspace.settings.keys)) if asked.needs_key else None
    content = given.dataset.snapshot.content_digest
    folder = survey_folder(given.dataset.name, asked, content_digest=content, key_id=key_id)
    return find_survey(workspace.store, folder) is None


def _surveyed(workspace: Workspace, given: GovernedInput, identifier: str, client: Client) -> GovernedInput:
    work = Work(client=client, run=identifier, emit=_to_nobody, progress=Progress(sys.stderr, quiet=True))
    return surveyed(given, work, storage=workspace.settings.storage, at=now_utc())


def _client(workspace: Workspace, client: Client | None) -> AbstractContextManager[Client]:
    return nullcontext(client) if client is not None else _own_client(workspace)


@contextmanager
def _own_client(workspace: Workspace) -> Iterator[Client]:
    file = workspace.cluster(None)
    with connect(file, shape_of(file, training=False)) as connection:
        yield connection.client


def _to_nobody(name: str, /, **fields: Any) -> None:
    """Events of a run go to its ledger; a reading has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A dataset as its reader may read it for one purpose. No row is read before one of the methods is called.

    Attributes
    ----------
    columns : what is read, in this order.
    id : what the audit calls it.
    """

    given: GovernedInput
    columns: tuple[str, ...]
    id: str
    _workspace: Workspace

    @property
    def grant(self) -> Grant:
        """What the policies let its reader read, and why."""
        return self.given.grant

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns as they are handed out: after masks."""
        known = {column.name: column for column in self.given.masked_columns()}
        return schema_of(known[name] for name in self.columns)

    @property
    def rows(self) -> int:
        """The rows of the snapshot, before filters and rules."""
        return sum(unit.rows for unit in self.given.units)

    def to_tables(self) -> Iterator[pa.Table]:
        """The rows, a table for each unit, in the dataset's order; the next one is read while this one is used.

        Raises
        ------
        ContractViolation : at the end, when more rows broke a rule than the contract allows.
        """
        receipts: list[Receipt] = []
        with _told(self._workspace, self.given, self.id, receipts):
            for read in self._reads():
                receipts.append(read.receipt)
                yield read.table.cast(self.schema)
            require_within_thresholds(self.given, receipts)

    def to_table(self) -> pa.Table:
        """All rows as one table, in this process's memory.

        Raises
        ------
        ContractViolation : more rows break a rule than the contract allows.
        """
        return pa.concat_tables([self.schema.empty_table(), *self.to_tables()])

    def head(self, rows: int = 5) -> pa.Table:
        """The first `rows` rows; no more units are read than it takes."""
        if rows < 1:
            raise InvalidInput(f"rows: expected 1 or more, found {rows}")
        receipts: list[Receipt] = []
        found = self.schema.empty_table()
        with _told(self._workspace, self.given, self.id, receipts):
            for read in self._reads(ahead=False):
                receipts.append(read.receipt)
                found = pa.concat_tables([found, read.table.cast(self.schema)])
                if found.num_rows >= rows:
                    break
        return found.slice(0, rows)

    def to_dask(self) -> dd.DataFrame:
        """The rows as a Dask frame, a partition for each unit.

        It is read when it is computed, on the default client's cluster or in this process, whose workers must reach the
        storage and the folder of the keys. Whole numbers and booleans are pandas' nullable types, dates and nested
        types Arrow's, text is pandas' string, all else NumPy's. Columns that aren't used aren't read.
        """
        import dask.dataframe

        announce(self._workspace, self.id, self.given.pinned())
        _tell(self._workspace, self.given, self.id, HANDED_OUT, ())
        return dask.dataframe.from_map(
            _read_frame,
            list(self.given.units),
            source=self.given.source,
            schema=self.schema,
            columns=list(self.columns),
            meta=frame_of(self.schema.empty_table()),
            label=f"read-{self.given.dataset.name}",
        )

    def _reads(self, *, ahead: bool = True) -> Iterator[GovernedRead]:
        source, units = self.given.source, self.given.units
        if not ahead:
            yield from (read_unit(source, unit, self.columns) for unit in units)
            return
        with ThreadPoolExecutor(1) as reader:
            coming = [reader.submit(read_unit, source, unit, self.columns) for unit in units[:1]]
            for unit in [*units[1:], None]:
                if not coming:
                    return
                read = coming.pop().result()
                if unit is not None:
                    coming.append(reader.submit(read_unit, source, unit, self.columns))
                yield read


@contextmanager
def _told(workspace: Workspace, given: GovernedInput, identifier: str, receipts: Sequence[Receipt]) -> Iterator[None]:
    """The audit knows what is read inside before and after."""
    announce(workspace, identifier, given.pinned())
    try:
        yield
    except GeneratorExit:  # whoever asked has seen enough
        _tell(workspace, given, identifier, "done", receipts)
        raise
    except BaseException:
        with suppress(DataopsError):  # a second error would hide the first
            _tell(workspace, given, identifier, "failed", receipts)
        raise
    _tell(workspace, given, identifier, "done", receipts)


def _tell(
    workspace: Workspace, given: GovernedInput, identifier: str, outcome: str, receipts: Sequence[Receipt]
) -> None:
    record_result(
        workspace.audit,
        run=identifier,
        dataset=given.dataset.name,
        purpose=given.grant.purpose,
        outcome=outcome,
        counts=merge_receipts(receipts) if receipts else {},
        receipts_root=merkle_root(receipt.digest for receipt in receipts) if receipts else None,
    )
    sign_audit(workspace)  # what keeps it from being signed, `dataops audit verify` says


def _read_frame(unit: Unit, *, source: Source, schema: pa.Schema, columns: list[str]) -> pd.DataFrame:
    """`columns` of `unit` as a frame; raises our own errors alone, which hold no value."""
    outcome = attempt(_read_columns, (source, schema, columns), unit)
    if isinstance(outcome, Failure):
        raise outcome.error() from None
    frame: pd.DataFrame = outcome
    return frame


def _read_columns(context: tuple[Source, pa.Schema, list[str]], unit: Unit) -> pd.DataFrame:
    source, schema, columns = context
    names = columns or schema.names[:1]  # without a column nobody would know how many rows there are
    read = read_unit(source, unit, names)
    frame = frame_of(read.table.cast(pa.schema([schema.field(name) for name in names])))
    return frame if columns else frame[[]]


def frame_of(table: pa.Table) -> pd.DataFrame:
    """`table` as a pandas frame whose types depend on the types of the columns alone, not on their values."""
    import pandas as pd

    def pandas_type(kind: pa.DataType) -> Any:
        if pa.types.is_boolean(kind):
            return pd.BooleanDtype()
        if pa.types.is_integer(kind):
            return pd.api.types.pandas_dtype(str(kind).replace("uint", "UInt").replace("int", "Int"))
        if pa.types.is_string(kind):
            return pd.StringDtype("pyarrow")  # what Dask makes of text
        if pa.types.is_floating(kind) or pa.types.is_timestamp(kind):
            return None
        return pd.ArrowDtype(kind)

    frame: pd.DataFrame = table.to_pandas(types_mapper=pandas_type)
    return frame
