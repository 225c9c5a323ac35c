"""Lineage: what a run read and made, as OpenLineage events that any catalogue understands. Pure.

1. An event is plain OpenLineage 2-0-2: a run of a job with its input and output datasets, each fact in a facet that
   says who produced it and by which schema. What OpenLineage has no facet for stands in one whose name begins with
   ``dataops_``.
2. It names columns, types, classifications, rules, digests and counts. It never holds a value, an expression, a mask's
   parameter, a path of a file, or the text of an error.
3. A transformation says ``masking: true`` where this very run read the column under a mask. What an earlier run masked
   stands in that run's event, and in the masks that the column carries.
4. A run has one id in all its events, made of its time and its name: a resumed run starts and ends again under it.
5. Models are datasets of the registry: their fields are the features and the prediction.

Spec: https://openlineage.io/spec/2-0-2/OpenLineage.json and ``/spec/facets/``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from dataops.governance.column_types import spell_type
from dataops.governance.contract import Action, Column, Rule
from dataops.records import Record, format_time
from dataops.version import VERSION

SPEC = "https://openlineage.io/spec"
CORE = f"{SPEC}/2-0-2/OpenLineage.json#/$defs"
PRODUCER = f"urn:dataops:{VERSION}"
FACETS: Mapping[str, str] = {
    "nominalTime": "1-0-1/NominalTimeRunFacet",
    "parent": "1-2-0/ParentRunFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet",
    "jobType": "2-0-4/JobTypeJobFacet",
    "schema": "1-2-0/SchemaDatasetFacet",
    "version": "1-0-1/DatasetVersionDatasetFacet",
    "datasetType": "1-0-1/DatasetTypeDatasetFacet",
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet",
    "inputStatistics": "1-0-0/InputStatisticsInputDatasetFacet",
    "dataQualityAssertions": "1-1-0/DataQualityAssertionsDatasetFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet",
}
"""Facets of OpenLineage that we write: name to version and definition of its schema."""

PREDICTION_FIELD = "prediction"


class EventType(StrEnum):
    """What became of the run."""

    START = "START"
    COMPLETE = "COMPLETE"
    FAIL = "FAIL"


class Subtype(StrEnum):
    """How an output depends on an input column; all but FILTER are direct."""

    IDENTITY = "IDENTITY"
    TRANSFORMATION = "TRANSFORMATION"
    AGGREGATION = "AGGREGATION"
    FILTER = "FILTER"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetId:
    """How OpenLineage names a dataset: the URL of the storage (of a model: of the registry), and the name there."""

    namespace: str
    name: str

    def record(self) -> Record:
        """As JSON."""
        return {"namespace": self.namespace, "name": self.name}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnUse:
    """That something depends on `column` of `dataset`; `why` is a word or two, never an expression."""

    dataset: DatasetId
    column: str
    subtype: Subtype
    masking: bool = False
    why: str = ""

    def record(self) -> Record:
        """An ``InputField`` of OpenLineage."""
        kind = "INDIRECT" if self.subtype is Subtype.FILTER else "DIRECT"
        how = {"type": kind, "subtype": str(self.subtype), "description": self.why, "masking": self.masking}
        return {**self.dataset.record(), "field": self.column, "transformations": [how]}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLineage:
    """Where the columns of an output come from, by name, and which columns decided what rows there are."""

    fields: Mapping[str, Sequence[ColumnUse]]
    rows: Sequence[ColumnUse] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOutcome:
    """A rule of the contract with the rows that broke it; `broken` is None as long as nothing was read."""

    rule: Rule
    broken: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """A dataset as a run found or left it.

    Attributes
    ----------
    columns : as the dataset holds them.
    version, snapshot : content digest and number; None before an output is published.
    origin : ``catalog`` or ``job``.
    runs : the runs whose parts make it up; of a source the looks at its files.
    rows, size_bytes, files : read or written; None as long as nothing was.
    tested : of an input, the rules of its contract.
    made_of : of an output.
    """

    id: DatasetId
    columns: tuple[Column, ...]
    zone: str
    origin: str
    version: str | None = None
    snapshot: int | None = None
    runs: tuple[str, ...] = ()
    rows: int | None = None
    size_bytes: int | None = None
    files: int | None = None
    tested: tuple[RuleOutcome, ...] = ()
    made_of: ColumnLineage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """A model version as a run found or made it; `version` and `digest` are None before it is registered, `features`
    are names with ``number`` or ``category``; `predicts` says what it gives.
    """

    id: DatasetId
    features: tuple[tuple[str, str], ...] = ()
    predicts: str = "probability"
    version: int | None = None
    digest: str | None = None
    model_format: str | None = None
    metrics: tuple[str, ...] = ()
    size_bytes: int | None = None
    made_of: ColumnLineage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One input of a run as its reader got it; `masked` is column to kind of mask."""

    input: str
    dataset: str
    purpose: str
    roles: tuple[str, ...]
    zone: str
    policy: str
    effect: str
    masked: Mapping[str, str]

    def record(self) -> Record:
        """As JSON."""
        body = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**body, "roles": sorted(self.roles), "masked": dict(self.masked)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """The run that the events are about.

    Attributes
    ----------
    id, created_at : as in the ledger; both make the run's id of OpenLineage.
    nominal_time : the time that the run is for; that of its making where no schedule says another.
    code : version of dataops, and digest of its files.
    engine : name and version of what does the work.
    parent : the run that this one replays, or that asked for it: its id, its job, when it was made.
    """

    id: str
    job: str
    kind: str
    created_at: datetime
    namespace: str
    code: Mapping[str, str]
    engine: tuple[str, str]
    readings: tuple[Reading, ...]
    nominal_time: datetime | None = None
    parent: tuple[str, str, datetime] | None = None


def run_uuid(run: str, created_at: datetime) -> str:
    """The id that OpenLineage needs, a UUID of version 7: time first, so that ids sort; the rest from the run's name.

    Source: RFC 9562, section 5.7.
    """
    milliseconds = int(created_at.timestamp() * 1000)
    chance = int.from_bytes(hashlib.sha256(run.encode()).digest()[:10])
    high, low = chance >> 68, chance & (2**62 - 1)
    number = (milliseconds << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def run_event(
    kind: EventType,
    run: RunFacts,
    *,
    at: datetime,
    inputs: Sequence[DatasetFacts | ModelFacts] = (),
    outputs: Sequence[DatasetFacts | ModelFacts] = (),
    error: str | None = None,
) -> Record:
    """The event of `run` at time `at`, as JSON.

    Parameters
    ----------
    error : of a failure, the family of the error. Its text isn't given: it is for the person who ran the job.
    """
    return {
        "eventType": str(kind),
        "eventTime": format_time(at),
        "producer": PRODUCER,
        "schemaURL": f"{CORE}/RunEvent",
        "run": {"runId": run_uuid(run.id, run.created_at), "facets": _run_facets(run, error)},
        "job": {"namespace": run.namespace, "name": run.job, "facets": _job_facets(run)},
        "inputs": [_input(one) for one in inputs],
        "outputs": [_output(one) for one in outputs],
    }


def completed_event(
    start: Mapping[str, Any],
    *,
    at: datetime,
    source: str,
    read: Mapping[str, int],
    made: str,
    facts: Mapping[str, Any],
    version: str,
    written: Mapping[str, int],
) -> Record:
    """The word that a run is done, of its own word that it began: for one that died in between, whose plan nobody has
    any more. It says of no rule how many rows broke it.

    Parameters
    ----------
    source, read : the dataset that it read; rows, bytes and files, by the keys of OpenLineage's statistics.
    made, facts, version, written : the dataset that it made, what ``dataops_dataset`` says of it now, and the same.
    """
    inputs, outputs = ([dict(one) for one in start[side]] for side in ("inputs", "outputs"))
    for one in inputs:
        if one["name"] == source and "dataops_dataset" in one["facets"]:
            one["inputFacets"] = {"inputStatistics": _facet("inputStatistics", **read)}
    for one in outputs:
        if one["name"] == made:
            known = {**one["facets"]["dataops_dataset"], **facts}
            now = {"dataops_dataset": known, "version": _facet("version", datasetVersion=version)}
            one["facets"] = {**one["facets"], **now}
            one["outputFacets"] = {"outputStatistics": _facet("outputStatistics", **written)}
    said = {"eventType": str(EventType.COMPLETE), "eventTime": format_time(at), "producer": PRODUCER}
    return {**start, **said, "inputs": inputs, "outputs": outputs}


def _facet(facet: str, /, **fields: Any) -> Record:
    return {"_producer": PRODUCER, "_schemaURL": _schema_url(facet), **fields}


def _schema_url(name: str) -> str:
    version, _, definition = FACETS[name].partition("/")
    return f"{SPEC}/facets/{version}/{definition}.json#/$defs/{definition}"


def _own_facet(base: str, /, **fields: Any) -> Record:
    """A facet of ours: nothing but the base facet of its kind vouches for its shape."""
    return {"_producer": PRODUCER, "_schemaURL": f"{CORE}/{base}", **fields}


def _run_facets(run: RunFacts, error: str | None) -> Record:
    name, version = run.engine
    facets = {
        "nominalTime": _facet("nominalTime", nominalStartTime=format_time(run.nominal_time or run.created_at)),
        "processing_engine": _facet("processing_engine", name=name, version=version, openlineageAdapterVersion=VERSION),
        "dataops_run": _own_facet("RunFacet", run=run.id, kind=run.kind),
        "dataops_policy": _own_facet("RunFacet", readings=[reading.record() for reading in run.readings]),
    }
    if run.parent is not None:
        parent, job, made_at = run.parent
        ids = {"run": {"runId": run_uuid(parent, made_at)}, "job": {"namespace": run.namespace, "name": job}}
        facets["parent"] = _facet("parent", **ids)
    if error is not None:
        facets["errorMessage"] = _facet("errorMessage", message=error, programmingLanguage="PYTHON")
    return facets


def _job_facets(run: RunFacts) -> Record:
    return {
        "jobType": _facet("jobType", processingType="BATCH", integration="DATAOPS", jobType=run.kind.upper()),
        "dataops_code": _own_facet("JobFacet", **run.code),
    }


def _input(one: DatasetFacts | ModelFacts) -> Record:
    if isinstance(one, ModelFacts):
        return {**one.id.record(), "facets": _model_facets(one), "inputFacets": {}}
    facets: Record = {}
    if one.rows is not None:
        facets["inputStatistics"] = _facet("inputStatistics", **_statistics(one))
    if any(tested.broken is not None for tested in one.tested):
        facets["dataQualityAssertions"] = _facet(
            "dataQualityAssertions", assertions=[_assertion(tested) for tested in one.tested]
        )
    return {**one.id.record(), "facets": _dataset_facets(one), "inputFacets": facets}


def _output(one: DatasetFacts | ModelFacts) -> Record:
    facets = _model_facets(one) if isinstance(one, ModelFacts) else _dataset_facets(one)
    if one.made_of is not None:
        fields = {name: {"inputFields": [use.record() for use in uses]} for name, uses in one.made_of.fields.items()}
        rows = [use.record() for use in one.made_of.rows]
        facets["columnLineage"] = _facet("columnLineage", fields=fields, dataset=rows)
    statistics = _statistics(one)
    written = {"outputStatistics": _facet("outputStatistics", **statistics)} if statistics else {}
    return {**one.id.record(), "facets": facets, "outputFacets": written}


def _statistics(one: DatasetFacts | ModelFacts) -> Record:
    known = {"size": one.size_bytes}
    if isinstance(one, DatasetFacts):
        known |= {"rowCount": one.rows, "fileCount": one.files}
    return {name: value for name, value in known.items() if value is not None}


def _dataset_facets(one: DatasetFacts) -> Record:
    columns = [
        {"name": column.name, "classification": column.classification, "masks": list(column.masks)}
        for column in one.columns
    ]
    own = _own_facet(
        "DatasetFacet", snapshot=one.snapshot, zone=one.zone, origin=one.origin, runs=list(one.runs), columns=columns
    )
    fields = {column.name: spell_type(column.type) for column in one.columns}
    return {**_described(fields, "FILE", one.version), "dataops_dataset": own}


def _model_facets(one: ModelFacts) -> Record:
    own = _own_facet(
        "DatasetFacet", version=one.version, digest=one.digest, modelFormat=one.model_format, metrics=list(one.metrics)
    )
    fields = dict(one.features) | {PREDICTION_FIELD: one.predicts}
    return {**_described(fields, "MODEL", one.digest), "dataops_model": own}


def _described(fields: Mapping[str, str], kind: str, version: str | None) -> Record:
    """The facets that a dataset and a model have both: names and types, what it is, and its digest."""
    facets = {
        "schema": _facet("schema", fields=[{"name": name, "type": type_} for name, type_ in fields.items()]),
        "datasetType": _facet("datasetType", datasetType=kind),
    }
    return facets if version is None else {**facets, "version": _facet("version", datasetVersion=version)}


def _assertion(tested: RuleOutcome) -> Record:
    rule, broken = tested.rule, tested.broken or 0
    about = {"column": rule.column} if rule.column else {}
    return {
        "assertion": str(rule.kind),
        "name": rule.id,
        "success": broken == 0,
        "severity": "warn" if rule.action is Action.WARN else "error",
        "actual": str(broken),
        "params": {"action": str(rule.action), "rows": broken},
        **about,
    }
