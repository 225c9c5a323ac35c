"""A model version as files: what is in its folder, and the manifest that binds the files together.

1. A package is whole: the feature program, the model, its figures, its card and where it came from.
2. Nothing in it is executable: program and figures are JSON, and the model's format is one that its loader parses as
   data. No pickle.
3. The manifest names model, version and the size and SHA-256 of every file: a folder that was renamed, a file that was
   changed, added or taken away, no longer agrees with it.
4. No parser sees bytes that the manifest doesn't vouch for: sizes and digests first, then meaning, from the same bytes.
5. Equal packages have equal content digests, whatever version number they get.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from dataops.declarations.metrics import Task
from dataops.errors import Format, Integrity, InvalidInput, near_match
from dataops.features.program import FeatureProgram
from dataops.features.reference import Reference
from dataops.models.calibration import Calibration, calibrated
from dataops.models.golden import Golden
from dataops.models.mlflow_folder import MLFLOW_FILES, mlflow_files
from dataops.models.predictor import FORMATS, Predictor, load_predictor
from dataops.records import (
    Record,
    canonical_bytes,
    decode_record,
    digest,
    digest_bytes,
    encode_record,
    format_time,
    parse_time,
)

T = TypeVar("T")

MODEL_FILES: Mapping[str, str] = {name: known.file for name, known in FORMATS.items()}
MANIFEST, PROGRAM, METRICS, CARD = "manifest.json", "program.json", "metrics.json", "card.md"
REFERENCE, GOLDEN, CALIBRATION = "reference.json", "golden.json", "calibration.json"
OPTIONAL = frozenset({REFERENCE, GOLDEN, CALIBRATION}) | MLFLOW_FILES
"""Files that versions of older releases don't have, and that of a calibration, which few have."""
MAX_MANIFEST_BYTES = 1 << 20
"""A manifest lists a handful of files; anything larger isn't one, and is refused before it is parsed."""

SUBMITTED_BY = "submitted_by"
"""The key of a lineage that names who submitted the training, where that was somebody else than who carried it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """Everything that a model version is.

    Attributes
    ----------
    program
        What training ran and every use of the model runs again.
    model_format, model
        A key of `MODEL_FILES`, and the model in that format.
    metrics
        ``{dataset: {"rows": n, "overall": {metric: value}, "slices": {column: {value: {"rows": n, metric: value}}}}}``.
    card
        The model card, Markdown.
    lineage
        Where it came from: run, data snapshot, digests of grant, effect, policy and prepare declaration, code version,
        seed, trainer, params. JSON types.
    classifications
        The classes of all the columns that it learned from.
    reference
        What it was judged on, counted; None for a version of a release that didn't count it.
    golden
        Made-up rows with the predictions that the model gives for them; None for a version of a release without.
    calibration
        What the model's log odds go through; None where they are its own.
    """

    program: FeatureProgram
    model_format: str
    model: bytes
    metrics: Mapping[str, Any]
    card: str
    lineage: Mapping[str, Any]
    classifications: tuple[str, ...] = ()
    reference: Reference | None = None
    golden: Golden | None = None
    calibration: Calibration | None = None

    @property
    def task(self) -> Task:
        """What it predicts, as its lineage says.

        Raises
        ------
        Format : a task that isn't known here.
        """
        said = self.lineage.get("task", Task.BINARY)
        if said not in set(Task):
            raise Format(f"the version is of a task that isn't known here: {str(said)[:40]!r}")
        return Task(said)

    def predictor(self, threads: int = 1) -> Predictor:
        """The version's predictor: the model, through its calibration where it has one; raises as `load_predictor`."""
        stored = StoredModel(model_format=self.model_format, model=self.model, calibration=self.calibration)
        return stored.predictor(threads)

    def to_sklearn(self, *, filtered: bool = False, threads: int = 1) -> Any:
        """The version as a fitted ``Pipeline`` of scikit-learn: program, then classifier, regressor or ``KMeans``.

        ``predict_proba(frame)[:, 1]`` are the version's probabilities within 1e-6, for a DataFrame of one row at least;
        of a regression ``predict(frame)`` are its numbers, within 1e-6 of the largest of its golden rows; of a
        clustering its clusters, but for rows that lie equally near to two centres.
        What may differ and why: docs/reference/models.md.

        Parameters
        ----------
        filtered
            Where the program has a `where`, say that the rows given are those that it is true for.
        threads
            Of the classifier or regressor.

        Raises
        ------
        InvalidInput : the program leaves rows out, which scikit-learn can't, and `filtered` isn't said.
        Format : not a model of its format.
        Compute : scikit-learn, pandas or the model's library isn't installed here.
        Integrity : it answers the version's golden rows otherwise than the version.
        """
        from dataops.models.pipeline import pipeline_of

        return pipeline_of(self, filtered=filtered, threads=threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """What of a version turns encoded rows into predictions; the attributes are those of `Package`."""

    model_format: str
    model: bytes
    calibration: Calibration | None = None

    def predictor(self, threads: int = 1) -> Predictor:
        """The model, through its calibration where it has one; raises as `load_predictor`."""
        return calibrated(load_predictor(self.model_format, self.model, threads), self.calibration)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """What the manifest says of one file."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A version's manifest; `digest` is that of its bytes and names the version beyond doubt."""

    model: str
    version: int
    registered_at: datetime
    content: str
    model_format: str
    files: Mapping[str, FileEntry]
    lineage: Mapping[str, Any]
    classifications: tuple[str, ...]
    digest: str


def files_of(package: Package) -> dict[str, bytes]:
    """The files of `package` by name, in the order in which they are written.

    Raises
    ------
    InvalidInput : figures that JSON can't hold (NaN: write null where a metric is undefined).
    Format : a model format that no loader reads.
    """
    files = {
        PROGRAM: _program_bytes(package.program),
        model_file(package.model_format): package.model,
        METRICS: encode_record("metrics", 1, {"datasets": dict(package.metrics)}),
        CARD: package.card.encode("utf-8"),
    }
    if package.reference is not None:
        files[REFERENCE] = encode_record("reference", 1, package.reference.record())
    if package.calibration is not None:
        files[CALIBRATION] = encode_record("calibration", 1, package.calibration.record())
    if package.golden is not None:
        files[GOLDEN] = _golden_bytes(package.golden)
        files |= mlflow_files(package.program, package.model_format, package.golden)
    return files


def model_file(model_format: str) -> str:
    """The name of the file that holds a model of `model_format`."""
    if model_format not in MODEL_FILES:
        raise Format(f"model format {model_format!r} has no loader here.{near_match(model_format, MODEL_FILES)}")
    return MODEL_FILES[model_format]


def content_digest(package: Package, files: Mapping[str, bytes]) -> str:
    """The digest of all that `package` holds, apart from the version number and the time that it gets."""
    return digest({"files": {name: digest_bytes(data) for name, data in files.items()}, **_provenance(package)})


def manifest_of(package: Package, files: Mapping[str, bytes], *, model: str, version: int, at: datetime) -> bytes:
    """The manifest of `package` as version `version` of `model`: the same bytes for the same arguments."""
    entries = {name: {"size_bytes": len(data), "sha256": digest_bytes(data)} for name, data in files.items()}
    body = {
        "model": model,
        "version": version,
        "registered_at": format_time(at),
        "content": content_digest(package, files),
        "files": entries,
        **_provenance(package),
    }
    return encode_record("model-version", 1, body)


def _provenance(package: Package) -> Record:
    return {
        "model_format": package.model_format,
        "lineage": dict(package.lineage),
        "classifications": sorted(package.classifications),
    }


def parse_manifest(data: bytes, *, model: str, version: int) -> Manifest:
    """The manifest in `data`, which was found in the folder of `version` of `model`.

    Raises
    ------
    Format : a format or version of it that isn't read here.
    Integrity : bytes that nobody here wrote, or the manifest of another model or version (a renamed or copied folder).
    """
    where = f"the manifest of {model} version {version}"
    if len(data) > MAX_MANIFEST_BYTES:
        raise Integrity(f"{where} has {len(data)} bytes; at most {MAX_MANIFEST_BYTES} are read")
    manifest = _parse_manifest(_canonical_record(data, where), digest_bytes(data), where)
    if (manifest.model, manifest.version) != (model, version):
        raise Integrity(
            f"{where} says that it is version {manifest.version} of {manifest.model!r}: the folder was moved"
        )
    expected = {PROGRAM, METRICS, CARD, model_file(manifest.model_format)}
    if set(manifest.files) - OPTIONAL != expected:
        raise Integrity(f"{where} lists {sorted(manifest.files)}; expected {sorted(expected)}")
    return manifest


def _canonical_record(data: bytes, where: str) -> Record:
    """The record; bytes that aren't canonical could read differently elsewhere (a key that is there twice)."""
    try:
        record = decode_record(data, "model-version", 1)
        canonical = canonical_bytes(record)
    except (RecursionError, InvalidInput):
        canonical = b""
    if canonical != data:
        raise Integrity(f"{where} is not in canonical form: it was changed after it was written")
    return record


def _parse_manifest(record: Record, manifest_digest: str, where: str) -> Manifest:
    try:
        files = {
            str(name): FileEntry(size_bytes=int(entry["size_bytes"]), sha256=str(entry["sha256"]))
            for name, entry in record["files"].items()
        }
        return Manifest(
            model=str(record["model"]),
            version=int(record["version"]),
            registered_at=parse_time(record["registered_at"]),
            content=str(record["content"]),
            model_format=str(record["model_format"]),
            files=files,
            lineage=dict(record["lineage"]),
            classifications=tuple(str(name) for name in record["classifications"]),
            digest=manifest_digest,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Integrity(f"{where} lacks a field or holds one of another type") from None


def check_files(manifest: Manifest, files: Mapping[str, bytes]) -> list[str]:
    """What is wrong with `files`, those beside the manifest: missing, unknown, or of another size or digest."""
    findings = [f"{name} is missing" for name in sorted(manifest.files.keys() - files.keys())]
    findings += [f"{name} is not in the manifest" for name in sorted(files.keys() - manifest.files.keys())]
    for name in sorted(manifest.files.keys() & files.keys()):
        entry, data = manifest.files[name], files[name]
        if len(data) != entry.size_bytes:
            findings.append(f"{name} has {len(data)} bytes, not {entry.size_bytes}")
        elif digest_bytes(data) != entry.sha256:
            findings.append(f"{name} has another SHA-256 than the manifest says")
    return findings


def unpack(manifest: Manifest, files: Mapping[str, bytes]) -> Package:
    """The package in `files`, parsed only once every byte is accounted for.

    Raises
    ------
    Integrity : the files are not those of the manifest; the message lists all findings.
    Format : they are, and don't hold what files of these names hold.
    """
    return _checked(manifest, files, _unpacked)


def unpack_model(manifest: Manifest, files: Mapping[str, bytes]) -> StoredModel:
    """The model in `files`, for whoever was given the rest; they are checked, and it raises, as `unpack`."""
    return _checked(manifest, files, _model)


def _checked(manifest: Manifest, files: Mapping[str, bytes], parse: Callable[[Manifest, Mapping[str, bytes]], T]) -> T:
    """What `parse` makes of the files, once every byte of all of them is accounted for."""
    findings = check_files(manifest, files)
    if findings:
        raise Integrity(
            f"{manifest.model} version {manifest.version} is not what was registered: {'; '.join(findings)}"
        )
    try:
        return parse(manifest, files)
    except (KeyError, TypeError, UnicodeDecodeError, RecursionError) as error:
        where = f"{manifest.model} version {manifest.version}"
        raise Format(f"the files of {where} don't hold what they should: {type(error).__name__}") from None


def _unpacked(manifest: Manifest, files: Mapping[str, bytes]) -> Package:
    return Package(
        program=_program(files[PROGRAM]),
        model_format=manifest.model_format,
        model=files[model_file(manifest.model_format)],
        metrics=decode_record(files[METRICS], "metrics", 1)["datasets"],
        card=files[CARD].decode("utf-8"),
        lineage=manifest.lineage,
        classifications=manifest.classifications,
        reference=_reference(files.get(REFERENCE)),
        golden=_golden(files.get(GOLDEN)),
        calibration=_calibration(files.get(CALIBRATION)),
    )


def _model(manifest: Manifest, files: Mapping[str, bytes]) -> StoredModel:
    return StoredModel(
        model_format=manifest.model_format,
        model=files[model_file(manifest.model_format)],
        calibration=_calibration(files.get(CALIBRATION)),
    )


def _program_bytes(program: FeatureProgram) -> bytes:
    """In the oldest version that says all of it, so that older releases read what they can."""
    if program.encoder.version == 1:
        return encode_record("feature-program", 1, {"program": program.record()})
    return encode_record("feature-program", 2, {"program": program.record()})


def _program(data: bytes) -> FeatureProgram:
    version = 2 if data.startswith(b'{"format":"dataops/feature-program/2"') else 1  # canonical: the first key
    program = FeatureProgram.from_record(decode_record(data, "feature-program", version)["program"])
    if program.encoder.version > version:
        raise Format("a feature program of version 1 with features that only version 2 has")
    return program


def _reference(data: bytes | None) -> Reference | None:
    return None if data is None else Reference.from_record(decode_record(data, "reference", 1))


def _calibration(data: bytes | None) -> Calibration | None:
    return None if data is None else Calibration.from_record(decode_record(data, "calibration", 1))


def _golden_bytes(golden: Golden) -> bytes:
    match golden.task:  # a literal version at each place: a test looks for the formats that there are
        case Task.BINARY:
            return encode_record("golden", 1, golden.record())
        case Task.REGRESSION:
            return encode_record("golden", 2, golden.record())
        case _:
            return encode_record("golden", 3, golden.record())


_GOLDEN: Mapping[int, Task] = {1: Task.BINARY, 2: Task.REGRESSION, 3: Task.CLUSTERS}
"""What golden rows of each version of their format are of."""


def _golden(data: bytes | None) -> Golden | None:
    if data is None:
        return None
    version = next((number for number in _GOLDEN if b'"format":"dataops/golden/%d"' % number in data), 1)
    golden = Golden.from_record(decode_record(data, "golden", version))
    if golden.task is not _GOLDEN[version]:
        raise Format("golden rows of another version of their format")
    return golden
