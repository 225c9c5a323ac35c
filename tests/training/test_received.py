"""Parts that another process sent lie wherever the message put them: what takes them needs whole numbers in place."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dataops.features.encoder import Encoded
from dataops.models.boosted import BoostedModel
from dataops.training.parts import EncodedPart

ROWS = 5_000


def sent(part: EncodedPart, shift: int) -> EncodedPart:
    """`part` as it comes out of a message in which each of its buffers begins at any byte."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(part, protocol=5, buffer_callback=buffers.append)
    assert len(buffers) >= 4, "arrays travel in the pickle, not beside it: there is nothing to be seen here"
    return pickle.loads(data, buffers=[shifted(bytes(one.raw()), shift) for one in buffers])


def shifted(data: bytes, shift: int) -> memoryview:
    room = bytearray(len(data) + 64)
    start = -np.frombuffer(room, np.uint8).ctypes.data % 64 + shift
    room[start : start + len(data)] = data
    return memoryview(room)[start : start + len(data)]


@pytest.fixture(scope="module")
def part() -> EncodedPart:
    random = np.random.default_rng(5)
    codes = random.integers(0, 9, (ROWS, 2))
    encoded = Encoded.of(random.normal(size=(ROWS, 3)), codes, unknown={"c": 2}, missing={0: codes[:, 0] == 1})
    return EncodedPart(
        encoded=encoded,
        target=(encoded.values[:, 0] > 0).astype(np.float32),
        weight=random.random(ROWS).astype(np.float32),
        slices={"s": np.array(["a", "b"])[codes[:, 0] % 2]},
        groups=codes[:, 0].astype(np.uint8),
        ranks=codes[:, 1].astype(np.uint32),
    )


@pytest.mark.parametrize("shift", [0, 1, 2, 4])
def test_are_the_same_and_whole_numbers_lie_in_place(part: EncodedPart, shift: int) -> None:
    found = sent(part, shift)
    for name in ("target", "weight", "groups", "ranks"):
        there = getattr(found, name)
        assert there.flags.aligned, name
        assert there.dtype == getattr(part, name).dtype
        np.testing.assert_array_equal(there, getattr(part, name))
    assert found.encoded.values.flags.aligned
    np.testing.assert_array_equal(found.encoded.values, part.encoded.values)
    assert (found.encoded.n_numeric, found.encoded.unknown) == (3, {"c": 2})
    np.testing.assert_array_equal(found.encoded.missing[0], part.encoded.missing[0])
    np.testing.assert_array_equal(found.slices["s"], part.slices["s"])


def test_are_scored_by_machine_code(part: EncodedPart) -> None:
    import xgboost

    params = {"objective": "binary:logistic", "nthread": 1, "max_depth": 3}
    booster = xgboost.train(params, xgboost.DMatrix(part.encoded.values, label=part.target), 5)
    model = BoostedModel.from_bytes(bytes(booster.save_raw("ubj")))
    expected = model.predict(part.encoded)
    assert model.predict(sent(part, 2).encoded).tobytes() == expected.tobytes()
    odd = shifted(part.encoded.values.tobytes(), 2)
    rows = Encoded(values=np.ndarray(part.encoded.values.shape, np.float32, odd), n_numeric=3, unknown={})
    assert not rows.values.flags.aligned
    assert model.predict(rows).tobytes() == expected.tobytes()
