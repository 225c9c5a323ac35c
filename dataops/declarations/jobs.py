"""Job files: what to join, prepare, train, rescore and evaluate. Each kind of job is declared in a module of its own.

1. A file holds one or more jobs, parted by ``---``; each has a ``name`` of its own and says its kind in ``job``.
2. A declaration names datasets, columns and models; it never says who may read what: that is the policies' part.
3. ``where`` is the population and holds wherever the declaration runs, also in front of rescoring; ``labelled`` says
   which rows have a known outcome, and holds for training and evaluation only.
4. SQL expressions are text here; they are parsed where the columns' types are known.
5. ``derive`` runs in the order of the file, and so do the columns of ``aggregate``: a job's record keeps that order
   (`job_record`).
6. ``${date}`` and other names of a schedule's slot are filled in before anything else is looked at (`slot_names`). Of
   a file that is only looked at they are those of an example; what runs has none of them left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dataops.declarations.evaluate import EvaluateJob
from dataops.declarations.join import JoinJob
from dataops.declarations.loader import Document, parse_yaml, read_text, validate
from dataops.declarations.metrics import HOLDOUT, Metric
from dataops.declarations.prepare import PrepareJob
from dataops.declarations.rescore import RescoreJob
from dataops.declarations.slot_names import EXAMPLE, SlotTimes, fill, require_no_names
from dataops.declarations.train import TrainJob
from dataops.errors import Format, InvalidInput, NotFound, near_match
from dataops.records import Record

__all__ = [
    "HOLDOUT",  # this and Metric are declared in `metrics`: the gates of promotion still look for them here
    "KINDS",
    "DeclaredJob",
    "Job",
    "Metric",
    "WritingJob",
    "find_job",
    "input_of",
    "job_from_record",
    "job_in",
    "job_record",
    "parse_job",
    "read_jobs",
]

WritingJob = PrepareJob | JoinJob | RescoreJob
"""A job whose outcome is a dataset."""

Job = WritingJob | TrainJob | EvaluateJob

KINDS: Mapping[str, type[Job]] = {
    "prepare": PrepareJob,
    "join": JoinJob,
    "train": TrainJob,
    "rescore": RescoreJob,
    "evaluate": EvaluateJob,
}


def input_of(job: PrepareJob | JoinJob | TrainJob | RescoreJob) -> str:
    """The name of the dataset that `job` reads as its input."""
    return job.input_dataset if isinstance(job, RescoreJob) else job.input


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredJob:
    """A job with the document that declares it: as it was filled in for a slot, and as it was `written`."""

    job: Job
    document: Document
    written: Document


def parse_job(document: Document, slot: SlotTimes | None = None) -> DeclaredJob:
    """The job that `document` declares.

    Parameters
    ----------
    slot : fills in what the document says of a slot; by default an example does, to look at and not to run.

    Raises
    ------
    InvalidInput : all findings, each with file, line and path.
    """
    written, document = document, fill(document, slot or EXAMPLE)
    if not isinstance(document.value, dict):
        raise InvalidInput(f"{document.where()}: expected a job: a mapping with the keys 'name' and 'job'")
    kind = document.value.get("job")
    if kind is None:
        raise InvalidInput(f"{document.where(('job',))}: job: the kind of job is missing: {' or '.join(KINDS)}")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise InvalidInput(f"{document.where(('job',))}: job: unknown kind of job.{near_match(str(kind), KINDS)}")
    return DeclaredJob(job=validate(document, model), document=document, written=written)


def read_jobs(path: Path) -> list[DeclaredJob]:
    """The jobs in the file at `path`, in its order; what they say of a slot is that of an example.

    Raises
    ------
    InvalidInput : findings of all the file's jobs; a name that two of them have; no job at all.
    """
    return _jobs_in(read_text(path), str(path))


def _jobs_in(text: str, source: str) -> list[DeclaredJob]:
    jobs: list[DeclaredJob] = []
    findings: list[str] = []
    lines: dict[str, int] = {}
    for document in parse_yaml(text, source):
        try:
            declared = parse_job(document)
        except InvalidInput as error:
            findings.append(str(error))
            continue
        name, line = declared.job.name, document.line(("name",))
        if name in lines:
            findings.append(f"{source}:{line}: name: a job '{name}' is already declared on line {lines[name]}")
        lines.setdefault(name, line)
        jobs.append(declared)
    if findings or not jobs:
        raise InvalidInput("\n".join(findings) or f"{source}: declares no job")
    return jobs


def find_job(path: Path, name: str | None = None, slot: SlotTimes | None = None) -> DeclaredJob:
    """The job called `name` in the file at `path`, or its only one, filled in for `slot`.

    Raises
    ------
    NotFound : no job of that name.
    InvalidInput : no name was given, and the file declares several jobs; or the job names what only a slot fills in,
        and `slot` is None or has no such time.
    """
    return job_in(read_text(path), str(path), name, slot)


def job_in(text: str, source: str, name: str | None = None, slot: SlotTimes | None = None) -> DeclaredJob:
    """The job called `name` in the `text` of the file `source`, or its only one; as `find_job`."""
    jobs = {declared.job.name: declared for declared in _jobs_in(text, source)}
    if name is None and len(jobs) > 1:
        raise InvalidInput(f"{source}: declares {len(jobs)} jobs; name one of them: {', '.join(jobs)}")
    chosen = next(iter(jobs)) if name is None else name
    if chosen not in jobs:
        raise NotFound(f"{source}: declares no job '{chosen}'.{near_match(chosen, jobs)}")
    found = jobs[chosen]
    if slot is not None:
        return parse_job(found.written, slot)
    require_no_names(found.written)
    return found


def job_record(job: Job) -> Record:
    """`job` as JSON values for a record; ``derive`` and ``aggregate`` as a list of pairs, since canonical JSON sorts
    mappings.
    """
    record: Record = job.model_dump(mode="json")
    for declared in _ordered(record):
        declared.update({key: [list(pair) for pair in declared[key].items()] for key in _ORDERED if key in declared})
    return record


_ORDERED = ("derive", "aggregate")  # keys whose names have an order


def _ordered(record: Mapping[str, Any]) -> list[Any]:
    """The parts of a job's record that may have such keys."""
    return [record, *record.get("joins", ())]


def job_from_record(record: Mapping[str, Any]) -> Job:
    """The job that `job_record` made `record` of.

    Raises
    ------
    Format : not such a record.
    """
    model = KINDS.get(str(record.get("job")))
    if model is None:
        raise Format(f"expected the record of a job, one of {', '.join(KINDS)}; found {record.get('job')!r}")
    body = json.loads(json.dumps(record))
    try:
        for declared in _ordered(body):
            declared.update({key: dict(declared[key]) for key in _ORDERED if key in declared})
        return model.model_validate_json(json.dumps(body), strict=True)
    except (ValidationError, TypeError, ValueError):
        raise Format(
            f"the record of a {record['job']} job holds keys or values that this release does not know"
        ) from None
