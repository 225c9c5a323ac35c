"""XGBoost's UBJ, looked through before XGBoost is given it: its compiled code follows the places that a model names.

1. Whoever can sign a model could else make it read or write anywhere in the process, or take all of its memory.
2. What is checked: every byte belongs to a value, arrays are as long as the file, trees are trees (each node has one
   parent, and asks for a column that there is), and all arrays of a tree have a value for each node.
3. Only what XGBoost writes for gradient-boosted trees or a linear booster of numbers is taken; sets of categories and
   other boosters aren't.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dataops.errors import Format

OBJECTIVE = "binary:logistic"
_DEPTH = 32
_NUMBERS: Final[Mapping[str, str]] = {"i": "b", "U": "B", "I": "h", "l": "i", "L": "q", "d": "f", "D": "d"}
_CONSTANTS: Final[Mapping[str, Any]] = {"T": True, "F": False, "Z": None}
_NO_PARENT = 2**31 - 1
_INTEGERS = ("left_children", "right_children", "parents", "split_indices")
_OTHERS = ("base_weights", "default_left", "loss_changes", "split_conditions", "split_type", "sum_hessian")
_CATEGORIES = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_NO_TREES = frozenset({"enc", "feature_segments", "sorted_idx"})


def require_sound(data: bytes) -> None:
    """Nothing, if `data` is a model that XGBoost can be given.

    Raises
    ------
    Format : it isn't, or its objective isn't `OBJECTIVE`.
    """
    try:
        learner = _whole(data)["learner"]
        objective = str(learner["objective"]["name"])
        if objective == OBJECTIVE:
            _require_learner(learner)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, struct.error, RecursionError) as error:
        what = f"not an XGBoost model in UBJ that this release reads ({len(data)} bytes)"
        raise Format(f"{what}: {type(error).__name__} in its structure") from None
    if objective != OBJECTIVE:
        raise Format(
            f"the XGBoost model has objective {objective[:40]!r}; {OBJECTIVE} gives a probability and is expected"
        )


def _whole(data: bytes) -> Any:
    model, end = _Reader(data).value(0, 0)
    if end != len(data):
        raise ValueError("bytes at the end")
    return model


class _Reader:
    """The values of a UBJ file; arrays of numbers are NumPy's, in the file's own memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        """The value whose mark stands at `at`, and where the next one begins."""
        mark = chr(self._data[at])
        if depth > _DEPTH:
            raise ValueError("depth")
        if mark == "{":
            return self._object(at + 1, depth)
        if mark == "[":
            return self._array(at + 1, depth)
        if mark == "S":
            return self._text(at + 1)
        if mark in _CONSTANTS:
            return _CONSTANTS[mark], at + 1
        kind = ">" + _NUMBERS[mark]
        return struct.unpack_from(kind, self._data, at + 1)[0], at + 1 + struct.calcsize(kind)

    def _count(self, at: int) -> tuple[int, int]:
        if self._data[at] != ord("L"):
            raise ValueError("count")
        (count,) = struct.unpack_from(">q", self._data, at + 1)
        if not 0 <= count <= len(self._data) - at:
            raise ValueError("count")
        return count, at + 9

    def _text(self, at: int) -> tuple[str, int]:
        count, start = self._count(at)
        if start + count > len(self._data):
            raise ValueError("text")
        return self._data[start : start + count].decode("utf-8"), start + count

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        while self._data[at] != ord("}"):
            name, at = self._text(at)
            if name in found:
                raise ValueError("twice")
            found[name], at = self.value(at, depth + 1)
        return found, at + 1

    def _array(self, at: int, depth: int) -> tuple[Any, int]:
        if self._data[at] == ord("$"):
            kind = np.dtype(_NUMBERS[chr(self._data[at + 1])]).newbyteorder(">")
            if self._data[at + 2] != ord("#"):
                raise ValueError("array")
            count, start = self._count(at + 3)
            return np.frombuffer(self._data, kind, count, start), start + count * kind.itemsize
        if self._data[at] != ord("#"):
            raise ValueError("array")
        count, at = self._count(at + 1)
        values = []
        for _ in range(count):
            one, at = self.value(at, depth + 1)
            values.append(one)
        return values, at


def _require_learner(learner: Mapping[str, Any]) -> None:
    param = learner["learner_model_param"]
    columns = _number(param["num_feature"])
    if _number(param["num_class"]) not in (0, 1) or _number(param["num_target"]) != 1 or columns < 1:
        raise ValueError("outputs")
    booster = learner["gradient_booster"]
    if booster["name"] == "gblinear":
        if len(booster["model"]["weights"]) != columns + 1:
            raise ValueError("weights")
        return
    if booster["name"] != "gbtree":
        raise ValueError("booster")
    model = booster["model"]
    trees, param = model["trees"], model["gbtree_model_param"]
    if _number(param["num_trees"]) != len(trees) or any(len(model.get("cats", {}).get(name, ())) for name in _NO_TREES):
        raise ValueError("trees")
    steps = np.asarray(model["iteration_indptr"], np.int64)
    if steps[0] != 0 or steps[-1] != len(trees) or (np.diff(steps) < 0).any():
        raise ValueError("rounds")
    groups = np.asarray(model["tree_info"], np.int64)
    if len(groups) != len(trees) or groups.any() or _number(param["num_parallel_tree"]) < 1:
        raise ValueError("groups")
    for place, tree in enumerate(trees):
        if tree["id"] != place:
            raise ValueError("place")
        _require_tree(tree, columns)


def _require_tree(tree: Mapping[str, Any], columns: int) -> None:
    param = tree["tree_param"]
    nodes = _number(param["num_nodes"])
    if (
        nodes < 1
        or _number(param["size_leaf_vector"]) not in (0, 1)
        or _number(param["num_deleted"]) not in range(nodes)
    ):
        raise ValueError("nodes")
    if any(len(tree[name]) != nodes for name in (*_INTEGERS, *_OTHERS)) or any(len(tree[name]) for name in _CATEGORIES):
        raise ValueError("arrays")
    left, right, parents, split = (np.asarray(tree[name], np.int64) for name in _INTEGERS)
    _require_links(left, right, parents)
    inner = left != -1
    if (split[inner] < 0).any() or (split[inner] >= columns).any() or np.asarray(tree["split_type"]).any():
        raise ValueError("columns")


def _require_links(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], parents: npt.NDArray[np.int64]) -> None:
    """Nothing, if from the root on each node is reached from its one parent: then no way leads round, nor out."""
    inner = left != -1
    if ((right != -1) != inner).any() or parents[0] not in (_NO_PARENT, -1):
        raise ValueError("links")
    places = np.flatnonzero(inner)
    for children in (left[inner], right[inner]):
        if ((children < 1) | (children >= len(left))).any() or (parents[children] != places).any():
            raise ValueError("links")
    if (left[inner] == right[inner]).any():
        raise ValueError("links")


def _number(text: str) -> int:
    """A whole number that is written as text, as XGBoost writes its parameters."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError("number")
    return int(text)
