from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataops.declarations.metrics import Task
from dataops.errors import Format, Integrity
from dataops.features.encoder import Encoded
from dataops.models.calibration import MOST_KNOTS, CalibratedModel, Calibration, calibrated
from dataops.models.linear import LinearModel
from dataops.models.package import CALIBRATION, files_of, manifest_of, parse_manifest, unpack
from dataops.records import canonical_bytes, now_utc
from tests.registry.examples import make_package

numbers = st.floats(-50, 50, allow_nan=False)
lines = st.builds(
    lambda slope, intercept: Calibration(method="sigmoid", slope=slope, intercept=intercept),
    st.floats(1e-3, 100),
    numbers,
)
rising = st.lists(st.integers(-10_000, 10_000), min_size=5, max_size=5, unique=True).map(
    lambda some: tuple(one / 200 for one in sorted(some))
)
curves = st.builds(lambda given, made: Calibration(method="isotonic", given=given, made=made), rising, rising)
LINE = Calibration(method="sigmoid", slope=0.5, intercept=-1.0)
CURVE = Calibration(method="isotonic", given=(-9.0, 0.0, 9.0), made=(-4.0, -1.0, 5.0))


@given(lines | curves)
@settings(max_examples=50)
def test_a_record_keeps_every_bit(calibration):
    assert Calibration.from_record(json.loads(canonical_bytes(calibration.record()))) == calibration


@given(lines | curves, st.lists(st.floats(-200, 200, width=32), min_size=2))
@settings(max_examples=50)
def test_a_calibration_never_turns_two_rows_round(calibration, margins):
    made = calibration.of(np.sort(np.array(margins, np.float32)))
    assert (np.diff(made) >= -1e-9).all()  # but for rounding at a knot


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"method": "sigmoid", "slope": 0, "intercept": 1},
        {"method": "sigmoid", "slope": -1.5, "intercept": 1},
        {"method": "sigmoid", "slope": True, "intercept": 1},
        {"method": "sigmoid", "slope": "1", "intercept": 1},
        {"method": "sigmoid", "slope": math.inf, "intercept": 1},
        {"method": "beta", "slope": 1, "intercept": 1},
        {"method": "isotonic", "given": [0], "made": [0]},
        {"method": "isotonic", "given": [0, 1], "made": [1, 1]},
        {"method": "isotonic", "given": [1, 0], "made": [0, 1]},
        {"method": "isotonic", "given": [0, 1, 2], "made": [0, 1]},
        {"method": "isotonic", "given": [0, math.nan], "made": [0, 1]},
        {"method": "isotonic", "given": "01", "made": [0, 1]},
        {"method": "isotonic", "given": list(range(MOST_KNOTS + 1)), "made": list(range(MOST_KNOTS + 1))},
        {"method": "isotonic", "given": [0, 10**400], "made": [0, 1]},
    ],
)
def test_what_is_no_calibration_is_refused(record):
    with pytest.raises(Format, match="not a calibration"):
        Calibration.from_record(record)


def encoded(values) -> Encoded:
    return Encoded(values=np.array(values, np.float32).reshape(-1, 1), n_numeric=1, unknown={})


def test_probabilities_and_margins_go_through_it_row_by_row():
    model = LinearModel(intercept=0.0, numeric=(1.0,), categorical=())
    through = calibrated(model, LINE)
    assert isinstance(through, CalibratedModel)
    rows = encoded([-2.0, 0.0, 4.0])
    assert through.margins(rows).tolist() == [-2.0, -1.0, 1.0]
    np.testing.assert_array_equal(through.predict(rows), (1 / (1 + np.exp([2.0, 1.0, -1.0]))).astype(np.float32))
    assert through.predict(rows)[1:2].tobytes() == through.predict(encoded([0.0])).tobytes()
    assert (through.format, through.task) == (model.format, Task.BINARY)
    assert calibrated(model, CURVE).margins(rows).tolist() == pytest.approx([-1 - 2 / 3, -1.0, -1 + 4 * 6 / 9])
    assert calibrated(model, None) is model


def test_a_regression_has_no_calibration():
    model = LinearModel(intercept=0.0, numeric=(1.0,), categorical=(), link="identity")
    with pytest.raises(Format, match="only probabilities"):
        calibrated(model, LINE)


@pytest.mark.parametrize("calibration", [LINE, CURVE], ids=lambda one: one.method)
def test_a_version_keeps_its_calibration_in_a_file_that_its_manifest_vouches_for(calibration):
    package = replace(make_package(), calibration=calibration)
    files = files_of(package)
    assert json.loads(files[CALIBRATION])["format"] == "dataops/calibration/1"
    assert CALIBRATION not in files_of(make_package())
    data = manifest_of(package, files, model="wealth", version=1, at=now_utc())
    manifest = parse_manifest(data, model="wealth", version=1)
    assert unpack(manifest, files).calibration == calibration
    left = {name: data for name, data in files.items() if name != CALIBRATION}
    with pytest.raises(Integrity, match=r"calibration.json is missing"):
        unpack(manifest, left)
    with pytest.raises(Integrity, match=r"calibration.json has another SHA-256"):
        unpack(manifest, {**files, CALIBRATION: files[CALIBRATION].replace(b"1", b"2", 1)})
