"""Models of scikit-learn as skops files, scored by their own ``predict_proba``.

1. A skops file names the classes that it is made of. They are read before skops is asked, and each must be in
   `TRUSTED`, with the very way of loading it: skops' own idea of what is safe is wider, and may grow.
2. Trees are walked by compiled code that trusts their indices, so these are checked first; of boosting by histograms
   also that no tree asks for categories, whose sets would be looked up unchecked too.
3. The matrix has the columns of `Encoded.values`, codes as numbers. Rows are scored by blocks of one size; products of
   matrices (of linear models) may round the last bit of a row by where it stands in its unit: the exception of rule 1
   of `predictor`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from dataops.declarations.metrics import Task
from dataops.errors import Format
from dataops.features.encoder import Encoded
from dataops.models.predictor import SKLEARN, Margins, Probabilities, require_columns

Floats = npt.NDArray[np.float64]

MODELS = (
    "sklearn.ensemble._forest.ExtraTreesClassifier",
    "sklearn.ensemble._forest.RandomForestClassifier",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
    "sklearn.linear_model._logistic.LogisticRegression",
    "sklearn.linear_model._stochastic_gradient.SGDClassifier",
    "sklearn.neural_network._multilayer_perceptron.MLPClassifier",
    "sklearn.pipeline.Pipeline",
    "sklearn.tree._classes.DecisionTreeClassifier",
)
"""What a model may be; a pipeline of scalers before one of the others too."""
TRUSTED = frozenset(
    {("ObjectNode", name) for name in MODELS}
    | {
        ("ObjectNode", "sklearn.preprocessing._data.StandardScaler"),
        ("ObjectNode", "sklearn.tree._classes.ExtraTreeClassifier"),
        ("LossNode", "sklearn._loss._loss.CyHalfBinomialLoss"),
        ("ObjectNode", "sklearn._loss.link.Interval"),
        ("ObjectNode", "sklearn._loss.link.LogitLink"),
        ("ObjectNode", "sklearn._loss.loss.HalfBinomialLoss"),
        ("ObjectNode", "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper"),
        ("ObjectNode", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"),
        ("TreeNode", "sklearn.tree._tree.Tree"),
        ("DictNode", "builtins.dict"),
        ("JsonNode", "builtins.str"),
        ("ListNode", "builtins.list"),
        ("TupleNode", "builtins.tuple"),
        ("TypeNode", "builtins.str"),
        ("NdArrayNode", "numpy.bool"),
        ("NdArrayNode", "numpy.float32"),
        ("NdArrayNode", "numpy.float64"),
        ("NdArrayNode", "numpy.int32"),
        ("NdArrayNode", "numpy.int64"),
        ("NdArrayNode", "numpy.ndarray"),
    }
)
"""Every pair of a node of a skops file and the class that it makes; a reference to a node met before makes none."""
MOST_BYTES = 1 << 30
"""Of all files in a skops file together, unpacked."""
MOST_FILES = 1 << 17
MOST_SCHEMA_BYTES = 32 << 20
"""Of the schema, unpacked: it is parsed whole, into some ten times as much memory. A tree takes 16 KB of it."""

_SCHEMA = "schema.json"
_REFERENCE = "CachedNode"
_BLOCK = 1 << 16  # rows: scikit-learn makes float64 copies of them
NEAREST = 2.0**-24  # to 0 and 1, of a probability whose margin is asked for: a forest gives these two themselves


class SklearnModel:
    """A classifier of two classes; the second is the positive one."""

    __slots__ = ("_columns", "_data", "_model", "_threads")

    def __init__(self, model: Any, data: bytes, threads: int) -> None:
        self._model, self._data, self._threads = model, data, threads
        self._columns = int(model.n_features_in_)

    @property
    def format(self) -> str:
        """``sklearn-skops/1``."""
        return SKLEARN

    @property
    def task(self) -> Task:
        """All models of this format are classifiers."""
        return Task.BINARY

    @property
    def estimator(self) -> Any:
        """scikit-learn's own object."""
        return self._model

    def predict(self, encoded: Encoded) -> Probabilities:
        """``(n_rows,)`` float32, the probability of the positive class."""
        return self._by_block(encoded, lambda probabilities: probabilities)

    def margins(self, encoded: Encoded) -> Margins:
        """``(n_rows,)`` float32, the log odds of the positive class; finite also where a forest is quite sure."""
        return self._by_block(encoded, _log_odds)

    def _by_block(self, encoded: Encoded, finish: Callable[[Floats], Floats]) -> npt.NDArray[np.float32]:
        matrix = require_columns(encoded, self._columns)
        result = np.empty(len(matrix), np.float32)
        for start in range(0, len(matrix), _BLOCK):
            rows = slice(start, start + _BLOCK)
            result[rows] = finish(self._model.predict_proba(matrix[rows])[:, 1])
        return result

    def __reduce__(self) -> tuple[Callable[..., SklearnModel], tuple[bytes, int]]:
        return load, (self._data, self._threads)


def load(data: bytes, threads: int) -> SklearnModel:
    """The model in `data`.

    Raises
    ------
    Format : not a skops file, a class that isn't trusted, or no whole classifier of two classes.
    """
    import skops.io

    schema = _schema(data)
    require_trusted(schema)
    unreadable = f"not a model of scikit-learn that this release reads ({len(data)} bytes)"
    # what isn't trusted by skops itself is asked for by name; all else was compared with our list
    ours = sorted(name for node, name in TRUSTED if node in {"ObjectNode", "TreeNode", "LossNode"})
    try:
        asked = set(skops.io.get_untrusted_types(data=data))
        model = skops.io.loads(data, trusted=[name for name in ours if name in asked])
        _require_whole(model)
    except Exception as error:  # noqa: BLE001  # skops raises whatever its nodes do; its text may quote the file
        raise Format(f"{unreadable}: {type(error).__name__}") from None
    _set_threads(model, threads)
    return SklearnModel(model, data, threads)


def _schema(data: bytes) -> Any:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            files = archive.infolist()
            if len(files) > MOST_FILES or sum(file.file_size for file in files) > MOST_BYTES:
                raise Format(f"a skops file that unpacks to more than {MOST_FILES} files or {MOST_BYTES} bytes")
            if archive.getinfo(_SCHEMA).file_size > MOST_SCHEMA_BYTES:
                raise Format(f"a skops file whose {_SCHEMA} unpacks to more than {MOST_SCHEMA_BYTES} bytes")
            return json.loads(archive.read(_SCHEMA))
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        RecursionError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
    ) as error:
        raise Format(f"not a skops file: {type(error).__name__} while reading its {len(data)} bytes") from None


def require_trusted(schema: Any) -> None:
    """Nothing, if all that a skops file makes is in `TRUSTED`.

    Raises
    ------
    Format : naming how many classes aren't; their names are the file's, and aren't repeated.
    """
    try:
        made = set(_made(schema))
    except (KeyError, TypeError, RecursionError) as error:
        raise Format(f"not a skops file: {type(error).__name__} in its schema") from None
    strange = made - TRUSTED
    if strange or not made:
        raise Format(
            f"a skops file with {len(strange)} classes that aren't trusted here; models are "
            f"{', '.join(name.rsplit('.', 1)[-1] for name in MODELS)}"
        )


def _made(node: Any) -> Iterator[tuple[str, str]]:
    """The pair of `TRUSTED` of each node."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if one.keys() & {"__loader__", "__class__", "__module__"} and one["__loader__"] != _REFERENCE:
                yield str(one["__loader__"]), f"{one['__module__']}.{one['__class__']}"
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _require_whole(model: Any) -> None:
    """Nothing, if `model` is a classifier of two classes whose trees are trees; else ValueError or AttributeError."""
    kind = f"{type(model).__module__}.{type(model).__name__}"
    if kind not in MODELS or len(model.classes_) != 2 or model.n_features_in_ < 1:
        raise ValueError(kind)
    for part in _parts(model):
        tree = getattr(part, "tree_", None)
        if tree is not None:
            _require_tree(tree, int(model.n_features_in_))
        if hasattr(part, "_predictors"):
            _require_boosted(part, int(model.n_features_in_))
    model.predict_proba(np.zeros((1, model.n_features_in_), np.float32))


def _parts(model: Any) -> Iterator[Any]:
    """`model`, and all that it is made of."""
    yield model
    for part in (*getattr(model, "estimators_", ()), *(step for _, step in getattr(model, "steps", ()))):
        yield from _parts(part)


def _require_tree(tree: Any, columns: int) -> None:
    """Nothing, if every node leads to later nodes and asks for a column that there is."""
    n_nodes = tree.node_count
    if not 0 < n_nodes <= tree.capacity:  # else its arrays would be read beyond their end
        raise ValueError("nodes")
    if (tree.n_outputs, tree.max_n_classes) != (1, 2) or tree.n_features != columns:
        raise ValueError("outputs")
    inner = tree.children_left != -1
    places = np.arange(n_nodes)[inner]
    for children in (tree.children_left, tree.children_right):
        found = children[inner]
        if not ((places < found) & (found < n_nodes)).all() or (children[~inner] != -1).any():
            raise ValueError("children")
    features = tree.feature[inner]
    if not ((features >= 0) & (features < columns)).all():
        raise ValueError("features")


def _require_boosted(model: Any, columns: int) -> None:
    """The same of the trees of boosting by histograms, which know no categories."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    if (model._n_features, model._preprocessor, model.n_trees_per_iteration_) != (columns, None, 1):  # noqa: SLF001 - there is no other way to ask
        raise ValueError("columns")
    if np.any(model._bin_mapper.is_categorical_):  # noqa: SLF001
        raise ValueError("categories")
    for trees in model._predictors:  # noqa: SLF001
        (tree,) = trees
        nodes = tree.nodes
        if nodes.dtype != PREDICTOR_RECORD_DTYPE or nodes.ndim != 1 or not len(nodes) or nodes["is_categorical"].any():
            raise ValueError("nodes")
        inner = nodes["is_leaf"] == 0
        places = np.arange(len(nodes))[inner]
        for children in (nodes["left"][inner], nodes["right"][inner]):
            if not ((places < children) & (children < len(nodes))).all():
                raise ValueError("children")
        if not ((nodes["feature_idx"][inner] >= 0) & (nodes["feature_idx"][inner] < columns)).all():
            raise ValueError("features")


def _set_threads(model: Any, threads: int) -> None:
    for part in _parts(model):
        if hasattr(part, "n_jobs"):
            part.n_jobs = threads


def _log_odds(probabilities: Floats) -> Floats:
    inside = np.clip(probabilities, NEAREST, 1 - NEAREST)
    odds: Floats = np.log(inside) - np.log1p(-inside)
    return odds
