"""Surveys: what must be known of the whole dataset before a unit of it can be read.

Which rows repeat the key of an earlier row, which values of a rare-masked column are frequent, how new the newest value
of a column is. `engine.survey` finds out; this module says what is asked, and reads the answer.

1. A survey looks at the rows that the policy's row filters let through, of the whole snapshot. Its answer depends on
   them alone: not on the number of workers, on their order, or on the cut into units.
2. What it asks names its folder, ``surveys/<dataset>/<digest>/``: whoever asks the same of the same content takes the
   answer that is there. ``survey.json`` (``dataops/survey/1``) is put last, once, and names every other file.
3. A key is repeated by rows whose canonical values (the form of `pseudonyms`) are equal in all its columns. Null equals
   nothing. In the order of fragments and rows the first row keeps its key, every later one is a duplicate.
4. Answers hold counts, positions, keyed hashes and newest times: no value of a text, and nothing for a reader's eyes.
5. A file that isn't the one that ``survey.json`` names is refused, never taken for "no duplicates".
6. ``survey.json`` tells the content that it is of: one of content that is no more is garbage (`survey_garbage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataops.datasets.reading import Source
from dataops.datasets.snapshot import Fragment
from dataops.errors import Format, Integrity, NotFound
from dataops.governance.contract import Contract, Rule, RuleKind
from dataops.governance.keys import derive_key, read_secret
from dataops.governance.masking import MaskKind
from dataops.records import Record, decode_record, digest, digest_bytes, encode_record
from dataops.storage.files import open_files
from dataops.storage.objects import Store, open_store

SURVEYS_FOLDER = "surveys"
SURVEY_FILE = "survey.json"
WORK_PREFIX = "work-"  # of the folder, beside the answer, that a run keeps its files in between in


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a survey is to find out; each tuple sorted, without repeats.

    Attributes
    ----------
    filters : the row filters under which it looks.
    keys : columns (sorted) whose values together no two rows may share.
    rare : columns, each with the number of rows from which on a value of it is shown.
    newest : columns of times.
    """

    filters: tuple[str, ...] = ()
    keys: tuple[tuple[str, ...], ...] = ()
    rare: tuple[tuple[str, int], ...] = ()
    newest: tuple[str, ...] = ()

    @property
    def anything(self) -> bool:
        """Whether there is anything to find out."""
        return bool(self.keys or self.rare or self.newest)

    @property
    def needs_key(self) -> bool:
        """Whether values are hashed for it."""
        return bool(self.keys or self.rare)

    @property
    def columns(self) -> frozenset[str]:
        """The columns that are read for it, without those of the filters."""
        keyed = {name for key in self.keys for name in key}
        return frozenset(keyed | {name for name, _ in self.rare} | set(self.newest))

    def record(self) -> Record:
        """JSON types; `from_record` reads them."""
        return {
            "filters": list(self.filters),
            "keys": [list(key) for key in self.keys],
            "rare": [list(pair) for pair in self.rare],
            "newest": list(self.newest),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Asked:
        """What `record` was made from."""
        return cls(
            filters=tuple(record["filters"]),
            keys=tuple(tuple(key) for key in record["keys"]),
            rare=tuple((name, count) for name, count in record["rare"]),
            newest=tuple(record["newest"]),
        )


def asked_of(source: Source) -> Asked:
    """What must be known of the whole dataset to read `source`."""
    masks = source.effect.columns.items()
    rare = {(name, mask.min_count or 0) for name, mask in masks if mask is not None and mask.kind is MaskKind.RARE}
    return Asked(
        filters=tuple(sorted(source.effect.filters)),
        keys=tuple(sorted(set(keys_of(source.contract).values()))),
        rare=tuple(sorted(rare)),
        newest=tuple(sorted({name for name in map(_time_column, source.contract.dataset_rules) if name is not None})),
    )


def keys_of(contract: Contract) -> dict[int, tuple[str, ...]]:
    """The columns of each rule that asks for unique rows, by the rule's place in the contract."""
    return {
        place: tuple(sorted(set(rule.arguments["columns"])))
        for place, rule in enumerate(contract.rules)
        if rule.kind is RuleKind.UNIQUE
    }


def _time_column(rule: Rule) -> str | None:
    return rule.arguments.get("column") if rule.kind is RuleKind.FRESHNESS else None


def survey_folder(dataset: str, asked: Asked, *, content_digest: str, key_id: str | None) -> str:
    """Where the answer lies, relative to the storage: named by all that it depends on."""
    named = digest({"asked": asked.record(), "content": content_digest, "key": key_id})
    return f"{SURVEYS_FOLDER}/{dataset}/{named.removeprefix('sha256:')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyFile:
    """A file of a survey: its path in the survey's folder, the digest of its bytes, and how many rows it has."""

    path: str
    digest: str
    rows: int

    def record(self) -> Record:
        """JSON types."""
        return {"path": self.path, "digest": self.digest, "rows": self.rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found out.

    Attributes
    ----------
    content_digest, key_id : what was looked at, and the key that values were hashed with (None: none were).
    rows : let through by the filters.
    duplicates : for each of ``asked.keys``, how many rows repeat the key of an earlier one.
    repeated : by `fragment_id`, where there are any: a Parquet file of their ``row`` in the fragment (int64, rising)
        and ``key`` (int16, a place in ``asked.keys``).
    frequent : for each of ``asked.rare``, a Parquet file of the ``hash`` (uint64, rising) of the values that are shown.
    newest : for each of ``asked.newest``, the newest time, in microseconds since 1970 UTC; None where there is none.
    """

    dataset: str
    asked: Asked
    content_digest: str
    key_id: str | None
    rows: int
    duplicates: tuple[int, ...] = ()
    repeated: Mapping[str, SurveyFile] = field(default_factory=dict)
    frequent: tuple[SurveyFile, ...] = ()
    newest: tuple[int | None, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The files of its answer, in its folder."""
        return tuple(file.path for file in (*self.repeated.values(), *self.frequent))

    def to_bytes(self) -> bytes:
        """The stored record."""
        body = {
            "dataset": self.dataset,
            "asked": self.asked.record(),
            "content_digest": self.content_digest,
            "key_id": self.key_id,
            "rows": self.rows,
            "duplicates": list(self.duplicates),
            "repeated": {name: file.record() for name, file in self.repeated.items()},
            "frequent": [file.record() for file in self.frequent],
            "newest": list(self.newest),
        }
        return encode_record("survey", 1, body)

    @classmethod
    def from_bytes(cls, data: bytes) -> Survey:
        """The survey stored in `data`.

        Raises
        ------
        Format : not a survey of a version that we read.
        """
        body = decode_record(data, "survey", 1)
        try:
            return cls(
                dataset=body["dataset"],
                asked=Asked.from_record(body["asked"]),
                content_digest=body["content_digest"],
                key_id=body["key_id"],
                rows=body["rows"],
                duplicates=tuple(body["duplicates"]),
                repeated={name: SurveyFile(**file) for name, file in body["repeated"].items()},
                frequent=tuple(SurveyFile(**file) for file in body["frequent"]),
                newest=tuple(body["newest"]),
            )
        except (KeyError, TypeError, ValueError):
            raise Format("expected the record of a survey, found something else") from None


def find_survey(store: Store, folder: str) -> Survey | None:
    """The survey that lies in `folder`; None where none does.

    Raises
    ------
    Format : something else does.
    """
    try:
        return Survey.from_bytes(store.get(f"{folder}/{SURVEY_FILE}"))
    except NotFound:
        return None


def fragment_id(fragment: Fragment) -> str:
    """A name for `fragment` that says nothing: its path may hold values of partition columns."""
    return digest(fragment.identity).removeprefix("sha256:")[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """A survey with the folder that its files lie in: what a worker asks while it reads."""

    url: str
    survey: Survey
    keys_folder: str

    @property
    def key(self) -> bytes:
        """The key that its hashes were made with, read from its file here."""
        return survey_key(self.keys_folder, str(self.survey.key_id))

    def repeats(self, fragment: Fragment, columns: tuple[str, ...]) -> np.ndarray:
        """Rows (int64, rising) of `fragment` that repeat the values that an earlier row has in `columns`."""
        file = self.survey.repeated.get(fragment_id(fragment))
        if file is None:
            return np.empty(0, np.int64)
        rows, keys = _columns_of(self.url, file.path, file.digest)
        mine: np.ndarray = rows[keys == self.survey.asked.keys.index(columns)]
        return mine

    def frequent(self, column: str, min_count: int) -> np.ndarray:
        """Hashes (uint64, rising) of the values of `column` that at least `min_count` rows have."""
        file = self.survey.frequent[self.survey.asked.rare.index((column, min_count))]
        return _columns_of(self.url, file.path, file.digest)[0]


def require_survey(source: Source) -> Surveyed | None:
    """The survey that `source` is to be read with; None where it needs none.

    Raises
    ------
    Integrity : it needs one and has none, or one that looked for something else.
    """
    asked = asked_of(source)
    if not asked.anything:
        return None
    if source.survey is None:
        raise Integrity(f"dataset '{source.dataset}' must be surveyed as a whole before it is read; nothing was read")
    survey = read_survey(source.survey)
    if survey.asked != asked:
        raise Integrity(
            f"dataset '{source.dataset}': its survey was made under other row filters, masks or rules; nothing was read"
        )
    return Surveyed(url=source.survey, survey=survey, keys_folder=source.keys_folder)


@lru_cache(maxsize=16)
def read_survey(url: str) -> Survey:
    """The survey in the folder at `url`.

    Raises
    ------
    Integrity : there is none.
    """
    try:
        return Survey.from_bytes(open_store(url, read_only=True).get(SURVEY_FILE))
    except NotFound:
        raise Integrity(f"the survey at {url} is gone; start a new run") from None


@lru_cache(maxsize=32)
def survey_key(keys_folder: str, key_id: str) -> bytes:
    """The key of the hashes of a survey: of all purposes, since what they are read for doesn't change the rows."""
    return derive_key(read_secret(Path(keys_folder), key_id), domain="survey", purpose="survey")


@lru_cache(maxsize=8)
def _columns_of(url: str, path: str, expected: str) -> tuple[np.ndarray, ...]:
    try:
        with open_files(url).open(path) as opened:
            data = opened.read()
    except NotFound:
        raise Integrity(f"{path} of the survey at {url} is gone; start a new run") from None
    if digest_bytes(data) != expected:
        raise Integrity(f"{path} of the survey at {url} isn't the file that the survey names")
    table = pq.read_table(pa.BufferReader(data))
    return tuple(column.to_numpy() for column in table.columns)
