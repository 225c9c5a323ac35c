"""Models of LightGBM in its text format, scored by LightGBM.

1. LightGBM trusts what it reads: a count or a child that is wrong kills the process. So a file is read here first, by
   an exact list of keys, and every count and index is checked before LightGBM sees it.
2. Objectives of `OBJECTIVES`, trees with constant leaves, splits of numbers: what else there is, is refused by name.
3. Rows that the trees can't tell apart are scored once (`cell_scores`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from dataops.declarations.metrics import Task
from dataops.errors import Format
from dataops.features.encoder import Encoded
from dataops.models.cell_scores import CellScores
from dataops.models.grid import find_grid
from dataops.models.predictor import LIGHTGBM, Margins, Predictions, require_columns

HEADER = frozenset(
    (
        *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective"),
        *("feature_names", "feature_infos", "tree_sizes", "monotone_constraints"),
    )
)
TREE = frozenset(
    (
        *("Tree", "num_leaves", "num_cat", "split_feature", "split_gain", "threshold", "decision_type"),
        *("left_child", "right_child", "leaf_value", "leaf_weight", "leaf_count", "internal_value"),
        *("internal_weight", "internal_count", "is_linear", "shrinkage"),
    )
)
OBJECTIVES: Mapping[str, Task] = {
    "binary sigmoid:1": Task.BINARY,
    "regression": Task.REGRESSION,
    "regression_l1": Task.REGRESSION,
    "poisson": Task.REGRESSION,
}
"""The objectives of models that are read, and what these predict."""
_VERSIONS = ("v3", "v4")
_END = "end of trees"
_CATEGORICAL, _MISSING, _ZERO = 1, 0b1100, 0b0100  # bits of a split's decision_type
_MOST_LEAVES = 1 << 20
_WHOLE = re.compile(r"-?[0-9]{1,10}")

Sections = list[dict[str, str]]


class LightGbmModel:
    """Gradient-boosted trees for two classes or a number, scored by LightGBM over `Encoded.values`."""

    __slots__ = ("_booster", "_cells", "_columns", "_data", "_task", "_threads")

    def __init__(self, data: bytes, threads: int) -> None:
        import lightgbm

        header, trees = read_text(data)
        self._columns, self._task = int(header["max_feature_idx"]) + 1, OBJECTIVES[header["objective"]]
        found = _thresholds(trees)
        grid = None if found is None else find_grid(found, trees=len(trees))
        self._cells = {} if grid is None else {raw: CellScores(grid) for raw in (False, True)}
        read = data[: data.index(f"\n{_END}\n".encode())].decode("ascii")  # what follows isn't checked, nor needed
        try:
            self._booster: Any = lightgbm.Booster(model_str=f"{read}\n{_END}\n")
        except lightgbm.basic.LightGBMError:
            raise Format(f"not a LightGBM model that this release reads ({len(data)} bytes)") from None
        self._data, self._threads = data, threads

    @property
    def format(self) -> str:
        """``lightgbm-text/1``."""
        return LIGHTGBM

    @property
    def task(self) -> Task:
        """By its objective."""
        return self._task

    @property
    def booster(self) -> Any:
        """LightGBM's own object."""
        return self._booster

    def predict(self, encoded: Encoded) -> Predictions:
        """``(n_rows,)`` float32, the probability of the positive class, or the number that is predicted."""
        return self._scores(encoded, raw=False)

    def margins(self, encoded: Encoded) -> Margins:
        """``(n_rows,)`` float32, the sum of the trees: log odds, of a regression before its link."""
        return self._scores(encoded, raw=True)

    def _scores(self, encoded: Encoded, *, raw: bool) -> npt.NDArray[np.float32]:
        matrix = require_columns(encoded, self._columns)
        if not len(matrix):
            return np.empty(0, np.float32)

        def of_rows(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            found = self._booster.predict(rows, raw_score=raw, num_threads=self._threads)
            return np.asarray(found, np.float32)

        cells = self._cells.get(raw)
        return of_rows(matrix) if cells is None else cells.predict(matrix, of_rows)

    def __reduce__(self) -> tuple[Callable[..., LightGbmModel], tuple[bytes, int]]:
        return load, (self._data, self._threads)


def load(data: bytes, threads: int) -> LightGbmModel:
    """The model in `data`."""
    return LightGbmModel(data, threads)


def read_text(data: bytes) -> tuple[Mapping[str, str], Sections]:
    """The header of a model in LightGBM's text format and its trees, by key, all of it checked.

    Raises
    ------
    Format : it isn't one, or holds what isn't read here.
    """
    try:
        first, *rest = _blocks(data.decode("ascii"))
        header, trees = _keys(first[1:], HEADER), [_keys(lines, TREE) for lines in rest]
        _require_header(header)
        for number, tree in enumerate(trees):
            _require_tree(tree, number, _whole(header["max_feature_idx"]) + 1)
        _require_sizes(data, header, len(trees))
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise Format(
            f"not a LightGBM model for two classes or a number, of trees with constant leaves that split numbers "
            f"({type(error).__name__} in its {len(data)} bytes)"
        ) from None
    return header, trees


def _blocks(text: str) -> list[list[str]]:
    """The lines between empty ones, down to the end of the trees."""
    lines = text[: text.index(f"\n{_END}\n")].split("\n")
    if lines[0] != "tree" or not all(line.isprintable() for line in lines):
        raise ValueError("start")
    return [list(group) for filled, group in groupby(lines, key=bool) if filled]


def _keys(lines: Sequence[str], known: frozenset[str]) -> dict[str, str]:
    pairs = [line.partition("=") for line in lines]
    found = {key: value for key, _, value in pairs}
    if len(found) != len(pairs) or not found.keys() <= known:
        raise ValueError("keys")
    return found


def _require_header(header: Mapping[str, str]) -> None:
    columns = _whole(header["max_feature_idx"]) + 1
    names, infos = header["feature_names"].split(" "), header["feature_infos"].split(" ")
    fits = (
        header["version"] in _VERSIONS
        and (header["num_class"], header["num_tree_per_iteration"]) == ("1", "1")
        and header["objective"] in OBJECTIVES
        and 0 < columns == len(names) == len(infos) == len(set(names))
        and header.get("monotone_constraints", "0").replace(" ", "").replace("-", "").isdigit()
        and 0 <= _whole(header.get("label_index", "0")) <= columns
    )
    if not fits:
        raise ValueError("header")


def _require_tree(tree: Mapping[str, str], number: int, columns: int) -> None:
    n_leaves = _whole(tree["num_leaves"])
    if _whole(tree["Tree"]) != number or not 1 <= n_leaves <= _MOST_LEAVES:
        raise ValueError("tree")
    if (tree["num_cat"], tree.get("is_linear", "0")) != ("0", "0") or not math.isfinite(float(tree["shrinkage"])):
        raise ValueError("kind")
    n_inner = n_leaves - 1
    for key, length in (("leaf_value", n_leaves), ("threshold", n_inner), ("split_gain", n_inner)):
        _floats(tree, key, length)
    for key, length in (("leaf_weight", n_leaves), ("internal_value", n_inner), ("internal_weight", n_inner)):
        if tree.get(key):
            _floats(tree, key, length)
    for key, length in (("leaf_count", n_leaves), ("internal_count", n_inner)):
        if tree.get(key):
            _integers(tree, key, length)
    if n_inner:
        _require_nodes(tree, n_leaves, columns)


def _require_nodes(tree: Mapping[str, str], n_leaves: int, columns: int) -> None:
    """Nothing, if each inner node asks for a column that there is, and each node but the first has one parent."""
    n_inner = n_leaves - 1
    features = _integers(tree, "split_feature", n_inner)
    kinds = _integers(tree, "decision_type", n_inner)
    children = _integers(tree, "left_child", n_inner) + _integers(tree, "right_child", n_inner)
    if not all(0 <= feature < columns for feature in features):
        raise ValueError("features")
    if not all(0 <= kind < 16 and not kind & _CATEGORICAL for kind in kinds):
        raise ValueError("kinds")
    # a leaf is written as the complement of its number
    if sorted(children) != [*range(-n_leaves, 0), *range(1, n_inner)]:
        raise ValueError("children")
    parents = [*range(n_inner)] * 2
    if any(0 <= child <= parent for child, parent in zip(children, parents, strict=True)):
        raise ValueError("order")


def _require_sizes(data: bytes, header: Mapping[str, str], trees: int) -> None:
    """Nothing, if the trees begin where the header says: LightGBM jumps there without looking."""
    expected = [_whole(size) for size in header["tree_sizes"].split(" ")] if trees else []
    start = data.index(b"\n\nTree=") + 2 if trees else 0
    if len(expected) != trees:
        raise ValueError("trees")
    for number, size in enumerate(expected):
        if size <= 0 or not data[start:].startswith(b"Tree=%d\n" % number):
            raise ValueError("sizes")
        start += size
    if trees and not data[start:].startswith(_END.encode()):
        raise ValueError("sizes")


def _floats(tree: Mapping[str, str], key: str, length: int) -> list[float]:
    values = [float(text) for text in _numbers(tree, key)]
    if len(values) != length or not all(map(math.isfinite, values)):
        raise ValueError(key)
    return values


def _integers(tree: Mapping[str, str], key: str, length: int) -> list[int]:
    values = [_whole(text) for text in _numbers(tree, key)]
    if len(values) != length or not all(abs(value) < 2**31 for value in values):
        raise ValueError(key)
    return values


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError("whole number")
    return int(text)


def _numbers(tree: Mapping[str, str], key: str) -> list[str]:
    """The numbers of `key` as text; Python reads digits parted by underscores as one number, LightGBM doesn't."""
    text = tree.get(key, "")
    if "_" in text or "  " in text:
        raise ValueError(key)
    return text.split(" ") if text else []


def _thresholds(trees: Sections) -> dict[int, list[float]] | None:
    """The float32 from which on a value goes to the right: LightGBM asks ``value <= threshold``, in float64.

    None where a tree takes zeros for missing: they go where the threshold doesn't say.
    """
    found: dict[int, list[float]] = {}
    for tree in trees:
        if any(int(kind) & _MISSING == _ZERO for kind in _numbers(tree, "decision_type")):
            return None
        above = first_above(np.array([float(text) for text in _numbers(tree, "threshold")]))
        for place, value in zip(_numbers(tree, "split_feature"), above, strict=True):
            if np.isfinite(value):  # else no float32 goes to the right
                found.setdefault(int(place), []).append(float(value))
    return found


def first_above(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """For each threshold the least float32 greater than it."""
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
    return np.where(near > thresholds, near, np.nextafter(near, np.float32(np.inf))).astype(np.float32)
