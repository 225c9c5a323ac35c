"""XGBoost's models, looked through first: what XGBoost writes is taken, and what would lead it astray isn't."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
import xgboost

from dataops.errors import Format
from dataops.models.boosted import BoostedModel
from dataops.models.ubj import require_sound
from tests.compat.writing import HERE

DATA = (HERE / "xgboost-ubj-1.ubj").read_bytes()
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(400, 6))
Y = (X[:, 0] + X[:, 1] ** 2 > 1).astype(int)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"tree_method": "exact", "gamma": 2.0},
        {"grow_policy": "lossguide", "max_leaves": 15, "max_depth": 0},
        {"num_parallel_tree": 3, "subsample": 0.5},
        {"gamma": 1e9},
    ],
)
def test_what_xgboost_writes_is_taken(params: dict[str, Any]) -> None:
    params = {"objective": "binary:logistic", "nthread": 1, **params}
    for names in (None, [f"column {n}" for n in range(6)]):
        booster = xgboost.train(params, xgboost.DMatrix(X, Y, feature_names=names), 5)
        require_sound(bytes(booster.save_raw("ubj")))


@pytest.mark.parametrize("name", ["gblinear", "dart"])
def test_boosters_other_than_trees_are_refused_by_name(name: str) -> None:
    params = {"objective": "binary:logistic", "nthread": 1, "booster": name}
    data = bytes(xgboost.train(params, xgboost.DMatrix(X, Y), 5).save_raw("ubj"))
    with pytest.raises(Format, match=f"has booster '{name}'; expected 'gbtree'"):
        BoostedModel.from_bytes(data)


def patched(name: str, value: int, place: int = 0) -> bytes:
    """`DATA` with another value in the first tree's array `name`."""
    start = DATA.index(f"{name}[$l#L".encode()) + len(name) + 5 + 8 + 4 * place
    return DATA[:start] + struct.pack(">i", value) + DATA[start + 4 :]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("left_children", 0),
        ("left_children", 2),
        ("left_children", 15),
        ("left_children", 2**30),
        ("left_children", -1),
        ("left_children", -7),
        ("right_children", 1),
        ("right_children", 2**31 - 1),
        ("parents", 1),
        ("split_indices", 4),
        ("split_indices", -1),
        ("split_indices", 2**30),
    ],
)
def test_trees_that_lead_astray_are_refused(name: str, value: int) -> None:
    with pytest.raises(Format, match="not an XGBoost model in UBJ"):
        BoostedModel.from_bytes(patched(name, value))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"num_nodesSL\0\0\0\0\0\0\0\x0215", b"num_nodesSL\0\0\0\0\0\0\0\x0299"),
        (b"num_treesSL\0\0\0\0\0\0\0\x0215", b"num_treesSL\0\0\0\0\0\0\0\x0299"),
        (b"num_nodesSL\0\0\0\0\0\0\0\x0215", b"num_nodesSL\0\0\0\0\0\0\0\x02-5"),
        (b"learner{L", b"learner{L" + b"\x7f" * 8),
        (b"learner{L", b"learner[#L" + b"\x7f" * 8),
        (b"gbtree", b"dart!!"),
        (b"parents", b"Parents"),
    ],
)
def test_files_that_say_more_than_they_have_are_refused(old: bytes, new: bytes) -> None:
    assert old in DATA
    with pytest.raises(Format, match="not an XGBoost model in UBJ"):
        BoostedModel.from_bytes(DATA.replace(old, new, 1))


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b"{L", DATA[:-1], DATA + b"}", b"[#L" * 3000, b"{" * 3000])
def test_bytes_that_are_no_whole_file_are_refused(data: bytes) -> None:
    with pytest.raises(Format):
        require_sound(data)


def test_other_threads_may_go_on_while_a_large_model_is_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(
        xgboost.train(
            {"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(RANDOM.normal(size=(400, 6)), Y), 200
        ).save_raw("ubj")
    )
    pauses: list[float] = []
    monkeypatch.setattr("dataops.models.ubj.time.sleep", pauses.append)
    require_sound(data)
    assert len(pauses) > 200 / 32 + len(data) / (1 << 17)
    assert sum(pauses) < 0.01
