from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import Format, Integrity, InvalidInput
from dataops.models.package import MANIFEST, content_digest, files_of, manifest_of, parse_manifest, unpack
from dataops.records import canonical_bytes
from tests.features.profiles import refer
from tests.registry.examples import AT, make_package

PACKAGE = make_package()
FILES = files_of(PACKAGE)
MANIFEST_BYTES = manifest_of(PACKAGE, FILES, model="income", version=3, at=AT)


def parsed(data: bytes = MANIFEST_BYTES):
    return parse_manifest(data, model="income", version=3)


def edited(**changes) -> bytes:
    return canonical_bytes({**json.loads(MANIFEST_BYTES), **changes})


def test_a_package_comes_back_from_its_files():
    assert unpack(parsed(), FILES) == PACKAGE


def test_no_file_of_a_package_is_executable():
    assert sorted(FILES) == ["card.md", "metrics.json", "model.json", "program.json"]
    assert json.loads(FILES["program.json"])["format"] == "dataops/feature-program/1"


def test_the_manifest_binds_model_version_lineage_and_files():
    manifest = parsed()
    assert (manifest.model, manifest.version, manifest.registered_at) == ("income", 3, AT)
    assert manifest.lineage == PACKAGE.lineage
    assert manifest.classifications == ("pii.quasi",)
    assert {name: entry.size_bytes for name, entry in manifest.files.items()} == {n: len(d) for n, d in FILES.items()}


def test_equal_packages_have_equal_manifests_and_another_run_has_another_content():
    assert manifest_of(make_package(), files_of(make_package()), model="income", version=3, at=AT) == MANIFEST_BYTES
    other = make_package("run-2")
    assert content_digest(other, files_of(other)) != content_digest(PACKAGE, FILES)


@pytest.mark.parametrize(("model", "version"), [("income", 4), ("other", 3)])
def test_a_renamed_folder_is_refused(model, version):
    with pytest.raises(Integrity, match="the folder was moved"):
        parse_manifest(MANIFEST_BYTES, model=model, version=version)


@given(st.sampled_from(sorted(FILES)), st.data())
def test_a_changed_byte_anywhere_is_refused_before_anything_is_parsed(name, data):
    content = bytearray(FILES[name])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Integrity, match=f"{name} has another SHA-256"):
        unpack(parsed(), {**FILES, name: bytes(content)})


def test_all_findings_are_named_at_once():
    files = {**FILES, "card.md": FILES["card.md"] + b"!", "extra.pkl": b"x"}
    del files["metrics.json"]
    with pytest.raises(
        Integrity, match=r"metrics.json is missing; extra.pkl is not in the manifest; card.md has 22 bytes, not 21"
    ):
        unpack(parsed(), files)


def test_swapped_files_are_refused():
    with pytest.raises(Integrity):
        unpack(parsed(), {**FILES, "model.json": FILES["metrics.json"], "metrics.json": FILES["model.json"]})


@pytest.mark.parametrize(
    "data",
    [
        edited(files={}),
        edited(files={**json.loads(MANIFEST_BYTES)["files"], "../../escape": {"size_bytes": 1, "sha256": "sha256:0"}}),
        edited(files=["program.json"]),
        edited(version="three"),
        edited(registered_at="yesterday"),
        edited(lineage=None),
        json.dumps(json.loads(MANIFEST_BYTES), indent=1).encode(),
        MANIFEST_BYTES[:-1] + b',"version":3}',
        edited(padding="x" * (1 << 20)),
    ],
    ids=["no files", "path", "list", "version", "time", "lineage", "layout", "key twice", "huge"],
)
def test_a_manifest_that_nobody_here_wrote_is_refused(data):
    with pytest.raises(Integrity):
        parsed(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80\x04", b"[]", edited(format="dataops/model-version/2"), edited(model_format="pickle/1")],
    ids=["empty", "pickle", "list", "future", "model format"],
)
def test_a_format_that_is_not_read_here_is_refused(data):
    with pytest.raises(Format):
        parsed(data)


def test_deeply_nested_text_is_refused_not_recursed_into():
    nested = b'{"format":"dataops/model-version/1","lineage":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises((Integrity, Format)):
        parsed(nested)


def test_an_unknown_model_format_names_the_near_one():
    with pytest.raises(Format, match=r"Did you mean 'xgboost-ubj/1'"):
        files_of(dataclasses.replace(PACKAGE, model_format="xgboost-ubj/2"))


def test_an_undefined_figure_must_be_null():
    with pytest.raises(InvalidInput, match="canonical JSON"):
        files_of(make_package(metrics={"test": {"rows": 1, "overall": {"roc_auc": math.nan}}}))


def test_the_manifest_does_not_list_itself():
    assert MANIFEST not in FILES


class TestReference:
    """What a version was judged on, for versions that have it and for those of earlier releases."""

    REFERENCE = refer([(1.0, "a", 0.5, "east"), (2.0, "b", 0.2, "west")] * 20)

    def test_comes_back_from_its_file(self):
        package = dataclasses.replace(PACKAGE, reference=self.REFERENCE)
        files = files_of(package)
        manifest = parsed(manifest_of(package, files, model="income", version=3, at=AT))
        assert "reference.json" in manifest.files
        assert unpack(manifest, files).reference.record() == self.REFERENCE.record()
        with pytest.raises(Integrity, match=r"reference\.json is missing"):
            unpack(manifest, {name: data for name, data in files.items() if name != "reference.json"})

    def test_is_none_where_the_version_has_no_file(self):
        assert unpack(parsed(), FILES).reference is None
        with pytest.raises(Integrity, match=r"reference\.json is not in the manifest"):
            unpack(parsed(), {**FILES, "reference.json": b"{}"})

    def test_that_is_damaged_is_a_format_that_is_not_read(self):
        record = {"format": "dataops/reference/1", "rows": 3}
        package = dataclasses.replace(PACKAGE, reference=self.REFERENCE)
        files = {**files_of(package), "reference.json": canonical_bytes(record)}
        manifest = parsed(manifest_of(package, files, model="income", version=3, at=AT))
        with pytest.raises(Format, match="not the reference of a model"):
            unpack(manifest, files)
