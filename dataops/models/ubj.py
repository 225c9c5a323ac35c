"""XGBoost's UBJ, looked through before XGBoost is given it: its compiled code follows the places that a model names.

1. Whoever can sign a model could else make it read or write anywhere in the process, or take all of its memory.
2. What is checked: every byte belongs to a value, arrays are as long as the file, trees are trees (each node has one
   parent, and asks for a column that there is), and all arrays of a tree have a value for each node.
3. Only what XGBoost writes for gradient-boosted trees of numbers is taken; sets of categories and other boosters
   aren't: XGBoost trains a linear booster, and can't score it in place.
4. It is quick, and lets other threads go on: an application answers while its next model is looked through.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dataops.declarations.metrics import Task
from dataops.errors import Format

OBJECTIVES: Final[Mapping[str, Task]] = {
    "binary:logistic": Task.BINARY,
    "reg:squarederror": Task.REGRESSION,
    "reg:absoluteerror": Task.REGRESSION,
    "count:poisson": Task.REGRESSION,
}
"""The objectives of models that are read, and what these predict."""
_BOOSTER: Final = "gbtree"
_START = b"{L"  # an object whose first key has a 64-bit length; XGBoost aborts the process for no bytes at all
_DEPTH = 32
_KINDS: Final[Mapping[str, str]] = {"i": "b", "U": "B", "I": "h", "l": "i", "L": "q", "d": "f", "D": "d"}
_NUMBERS: Final = {ord(mark): struct.Struct(">" + kind) for mark, kind in _KINDS.items()}
_ARRAYS: Final = {ord(mark): np.dtype(kind).newbyteorder(">") for mark, kind in _KINDS.items()}
_CONSTANTS: Final[Mapping[int, Any]] = {ord("T"): True, ord("F"): False, ord("Z"): None}
_OBJECT, _END, _LIST, _TEXT, _COUNT, _TYPE, _SIZE = b"{}[SL$#"
_LENGTH: Final = struct.Struct(">Bq")  # a text's, and how many values a list has
_ARRAY: Final = struct.Struct(">BBBBq")
_TREES, _BYTES = 32, 1 << 16
_PAUSE = 50e-6
"""Seconds after so many trees or bytes: a thread that waits for Python's lock gets it then, not only after the 5 ms
that Python gives each. No less: who comes back at once has the lock again before another is awake."""
_NO_PARENT = 2**31 - 1
_INTEGERS = ("left_children", "right_children", "parents", "split_indices")
_OTHERS = ("base_weights", "default_left", "loss_changes", "split_conditions", "split_type", "sum_hessian")
_OF_NODES = (*_INTEGERS, *_OTHERS)
_CATEGORIES = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_NO_TREES = frozenset({"enc", "feature_segments", "sorted_idx"})


def require_sound(data: bytes) -> Task:
    """What the model in `data` predicts, if it is one that XGBoost can be given.

    Raises
    ------
    Format : it isn't, or its objective isn't one of `OBJECTIVES`, or its booster is another than trees.
    """
    what = f"not an XGBoost model in UBJ that this release reads ({len(data)} bytes)"
    if not data.startswith(_START):
        raise Format(what)
    try:
        learner = _whole(data)["learner"]
        objective, booster = str(learner["objective"]["name"]), str(learner["gradient_booster"]["name"])
        if objective in OBJECTIVES and booster == _BOOSTER:
            _require_learner(learner)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, struct.error, RecursionError) as error:
        raise Format(f"{what}: {type(error).__name__} in its structure") from None
    if objective not in OBJECTIVES:
        raise Format(f"the XGBoost model has objective {objective[:40]!r}; expected one of {', '.join(OBJECTIVES)}")
    if booster != _BOOSTER:
        raise Format(f"the XGBoost model has booster {booster[:40]!r}; expected {_BOOSTER!r}: train it with that")
    return OBJECTIVES[objective]


def _whole(data: bytes) -> Any:
    model, end = _Reader(data).value(0, 0)
    if end != len(data):
        raise ValueError("bytes at the end")
    return model


class _Reader:
    """The values of a UBJ file; arrays of numbers are NumPy's, in the file's own memory."""

    def __init__(self, data: bytes) -> None:
        self._data, self._paused = data, 0

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        """The value whose mark stands at `at`, and where the next one begins."""
        mark = self._data[at]
        if depth > _DEPTH:
            raise ValueError("depth")
        if mark == _LIST:
            return self._list(at + 1, depth)
        if mark == _TEXT:
            return self._text(at + 1)
        if mark == _OBJECT:
            return self._object(at + 1, depth)
        if mark in _CONSTANTS:
            return _CONSTANTS[mark], at + 1
        kind = _NUMBERS[mark]
        return kind.unpack_from(self._data, at + 1)[0], at + 1 + kind.size

    def _text(self, at: int) -> tuple[str, int]:
        mark, count = _LENGTH.unpack_from(self._data, at)
        start = at + _LENGTH.size
        if mark != _COUNT or not 0 <= count <= len(self._data) - start:
            raise ValueError("text")
        return self._data[start : start + count].decode("utf-8"), start + count

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        while self._data[at] != _END:
            name, at = self._text(at)
            if name in found:
                raise ValueError("twice")
            found[name], at = self.value(at, depth + 1)
        return found, at + 1

    def _list(self, at: int, depth: int) -> tuple[Any, int]:
        if self._data[at] == _TYPE:
            _, kind, size, count_mark, count = _ARRAY.unpack_from(self._data, at)
            dtype, start = _ARRAYS[kind], at + _ARRAY.size
            if size != _SIZE or count_mark != _COUNT or not 0 <= count <= len(self._data) - start:
                raise ValueError("array")
            return np.frombuffer(self._data, dtype, count, start), start + count * dtype.itemsize
        count_mark, count = _LENGTH.unpack_from(self._data, at + 1)
        if self._data[at] != _SIZE or count_mark != _COUNT or not 0 <= count <= len(self._data) - at:
            raise ValueError("list")
        values, at = [], at + 1 + _LENGTH.size
        for _ in range(count):
            one, at = self.value(at, depth + 1)
            values.append(one)
            if at - self._paused > _BYTES:
                self._paused = at
                time.sleep(_PAUSE)
        return values, at


def _require_learner(learner: Mapping[str, Any]) -> None:
    param = learner["learner_model_param"]
    columns = _number(param["num_feature"])
    if _number(param["num_class"]) not in (0, 1) or _number(param["num_target"]) != 1 or columns < 1:
        raise ValueError("outputs")
    model = learner["gradient_booster"]["model"]
    trees, param = model["trees"], model["gbtree_model_param"]
    if _number(param["num_trees"]) != len(trees) or any(len(model.get("cats", {}).get(name, ())) for name in _NO_TREES):
        raise ValueError("trees")
    steps = np.asarray(model["iteration_indptr"], np.int64)
    if steps[0] != 0 or steps[-1] != len(trees) or (np.diff(steps) < 0).any():
        raise ValueError("rounds")
    groups = np.asarray(model["tree_info"], np.int64)
    if len(groups) != len(trees) or groups.any() or _number(param["num_parallel_tree"]) < 1:
        raise ValueError("groups")
    for start in range(0, len(trees), _TREES):
        _require_trees(trees[start : start + _TREES], start, columns)
        time.sleep(_PAUSE)


def _require_trees(trees: Sequence[Mapping[str, Any]], first: int, columns: int) -> None:
    """Nothing, if the trees that come after the `first` ones are trees: their arrays are looked at together."""
    sizes = np.array([_size(tree, first + place) for place, tree in enumerate(trees)], np.int64)
    left, right, parents, split = (_together(trees, name) for name in _INTEGERS)
    _require_links(left, right, parents, sizes)
    inner = left != -1
    if (split[inner] < 0).any() or (split[inner] >= columns).any() or _together(trees, "split_type").any():
        raise ValueError("columns")


def _size(tree: Mapping[str, Any], place: int) -> int:
    """How many nodes the tree has, each array a value for each."""
    param = tree["tree_param"]
    nodes = _number(param["num_nodes"])
    if (
        tree["id"] != place
        or nodes < 1
        or _number(param["size_leaf_vector"]) not in (0, 1)
        or _number(param["num_deleted"]) not in range(nodes)
    ):
        raise ValueError("nodes")
    if any(len(tree[name]) != nodes for name in _OF_NODES) or any(len(tree[name]) for name in _CATEGORIES):
        raise ValueError("arrays")
    return nodes


def _together(trees: Sequence[Mapping[str, Any]], name: str) -> npt.NDArray[np.int64]:
    """``(n_nodes of all trees,)``"""
    found = np.concatenate([tree[name] for tree in trees], dtype=np.int64, casting="unsafe")
    if found.ndim != 1:
        raise ValueError("array")
    return found


def _require_links(
    left: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    parents: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
) -> None:
    """Nothing, if from each root on each node is reached from its one parent: no way leads round, nor out of its tree.

    Parameters
    ----------
    left, right, parents : ``(n_nodes,)``: of one tree after the other, counted from its own root.
    sizes : ``(n_trees,)``: how many nodes each tree has.
    """
    inner, roots = left != -1, np.cumsum(sizes) - sizes
    if ((right != -1) != inner).any() or not np.isin(parents[roots], (_NO_PARENT, -1)).all():
        raise ValueError("links")
    root, size = np.repeat(roots, sizes)[inner], np.repeat(sizes, sizes)[inner]
    places = np.flatnonzero(inner) - root
    for children in (left[inner], right[inner]):
        if ((children < 1) | (children >= size)).any() or (parents[root + children] != places).any():
            raise ValueError("links")
    if (left[inner] == right[inner]).any():
        raise ValueError("links")


def _number(text: str) -> int:
    """A whole number that is written as text, as XGBoost writes its parameters."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError("number")
    return int(text)
