import json
import pickle
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

skops = pytest.importorskip("skops.io", reason="the extra skops isn't installed")

from sklearn.base import clone  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, SGDClassifier  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer, StandardScaler  # noqa: E402
from sklearn.svm import SVC  # noqa: E402
from sklearn.tree import DecisionTreeClassifier  # noqa: E402

from dataops.errors import Format, InvalidInput  # noqa: E402
from dataops.features.encoder import Encoded  # noqa: E402
from dataops.models import sklearn as module  # noqa: E402
from dataops.models.predictor import SKLEARN, load_predictor  # noqa: E402
from dataops.models.skops_writing import _for_scoring as _slim  # noqa: E402
from dataops.models.skops_writing import to_bytes  # noqa: E402

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(800, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] ** 2 > 1).astype(int)

MODELS = {
    "logistic": LogisticRegression(),
    "scaled": make_pipeline(StandardScaler(), LogisticRegression()),
    "tree": DecisionTreeClassifier(max_depth=4, random_state=0),
    "forest": RandomForestClassifier(8, max_depth=5, random_state=0, n_jobs=2),
    "extra trees": ExtraTreesClassifier(8, max_depth=5, random_state=0),
    "gradient descent": SGDClassifier(loss="log_loss", average=True, random_state=0),
    "network": make_pipeline(StandardScaler(), MLPClassifier((5,), max_iter=3, tol=1.0, random_state=0)),
    "histograms": HistGradientBoostingClassifier(max_iter=4, random_state=0),
}


def rows_of(matrix: np.ndarray) -> Encoded:
    return Encoded.of(matrix, np.empty((len(matrix), 0), np.int32))


def bytes_of(model: Any) -> bytes:
    return bytes(skops.dumps(model))


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(params=MODELS)
def fitted(request: pytest.FixtureRequest) -> Any:
    return clone(MODELS[request.param]).fit(X, Y)


def test_scores_are_the_librarys_own(fitted: Any) -> None:
    model = load_predictor(SKLEARN, to_bytes(fitted))
    assert model.format == SKLEARN
    expected = fitted.predict_proba(X)[:, 1]
    np.testing.assert_allclose(model.predict(rows_of(X)), expected, atol=1e-6)
    margins = model.margins(rows_of(X))
    assert np.isfinite(margins).all()
    inside = (expected > 1e-4) & (expected < 1 - 1e-4)
    odds = expected[inside] / (1 - expected[inside])
    np.testing.assert_allclose(margins[inside], np.log(odds), rtol=1e-5, atol=1e-6)


def test_it_travels_and_takes_its_own_columns_only(fitted: Any) -> None:
    model = pickle.loads(pickle.dumps(load_predictor(SKLEARN, to_bytes(fitted))))
    assert model.predict(rows_of(X[:0])).shape == (0,)
    with pytest.raises(InvalidInput, match="the model takes 4 columns, the encoder gives 3"):
        model.predict(rows_of(X[:, :3]))


def test_a_model_that_is_fitted_or_copied_again_gives_the_same_file(fitted: Any) -> None:
    written = to_bytes(fitted)
    assert to_bytes(pickle.loads(pickle.dumps(fitted))) == written
    assert to_bytes(clone(fitted).fit(X, Y)) == written
    skops.loads(written, trusted=skops.get_untrusted_types(data=written)).predict_proba(X)


def test_a_written_model_is_made_of_what_scoring_needs(fitted: Any) -> None:
    kept = set(vars(fitted))
    with zipfile.ZipFile(BytesIO(to_bytes(fitted))) as archive:
        schema = json.loads(archive.read("schema.json"))
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert set(module._made(schema)) <= module.TRUSTED
    numbers = [node["__id__"] for node in nodes(schema) if "__id__" in node]
    assert numbers == list(range(len(numbers)))
    assert set(vars(fitted)) == kept


def test_a_model_that_could_not_be_read_again_is_not_written() -> None:
    with pytest.raises(Format, match="classes that aren't trusted"):
        to_bytes(SVC().fit(X, Y))
    with pytest.raises(Format):
        to_bytes(SGDClassifier(loss="hinge").fit(X, Y))


def test_a_model_does_not_say_how_many_threads_it_takes() -> None:
    model = load_predictor(SKLEARN, bytes_of(MODELS["forest"].fit(X, Y)), threads=1)
    assert model._model.n_jobs == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "model",
    [
        SVC().fit(X, Y),
        GradientBoostingClassifier(n_estimators=2).fit(X, Y),
        RandomForestRegressor(2).fit(X, Y),
        make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(abs(X), Y),
        StandardScaler().fit(X),
        LogisticRegression().fit(X, Y + (X[:, 2] > 0)),
        LogisticRegression(),
        {"a": 1},
    ],
    ids=["another kind", "boosting", "regressor", "a function", "scaler", "three classes", "not fitted", "no model"],
)
def test_what_is_no_trusted_classifier_of_two_classes_is_refused(model: Any) -> None:
    with pytest.raises(Format):
        load_predictor(SKLEARN, bytes_of(model))


def rewritten(data: bytes, change: Callable[[dict[str, Any]], None], *, more: dict[str, bytes] | None = None) -> bytes:
    """The skops file with another schema, and other members."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        schema = json.loads(old.read("schema.json"))
        change(schema)
        members = {name: old.read(name) for name in old.namelist()} | (more or {})
        members["schema.json"] = json.dumps(schema).encode()
        for name, content in members.items():
            new.writestr(name, content)
    return out.getvalue()


def nodes(node: Any) -> Any:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def as_call(schema: dict[str, Any], **changes: Any) -> None:
    """Turns the first value of the model into another node."""
    first = next(iter(schema["content"]["content"].values()))
    first.clear()
    first.update({"__class__": "system", "__module__": "posix", "__id__": 1, "content": "touch CANARY", **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"__loader__": "FunctionNode"},
        {"__loader__": "TypeNode"},
        {"__loader__": "ObjectNode", "__class__": "Popen", "__module__": "subprocess"},
        {"__loader__": "MethodNode", "__class__": "LogisticRegression", "__module__": "sklearn.linear_model._logistic"},
        {"__loader__": "ReduceNode", "__class__": "CANARY", "__module__": "builtins"},
        {"__loader__": "OperatorFuncNode", "__class__": "methodcaller", "__module__": "operator"},
        {"__loader__": "NdArrayNode", "__class__": "ndarray", "__module__": "CANARY"},
        {"__loader__": "CachedNode"},
        {"__loader__": None},
        {"__loader__": ["ObjectNode"]},
    ],
)
def test_a_file_that_would_do_more_than_hold_a_model_is_refused_and_does_nothing(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = rewritten(bytes_of(MODELS["logistic"].fit(X, Y)), lambda schema: as_call(schema, **changes))
    with pytest.raises(Format) as refused:
        load_predictor(SKLEARN, data)
    assert "CANARY" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_arrays_that_are_pickles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (open, ("CANARY", "w"))

    monkeypatch.chdir(tmp_path)
    trap = BytesIO()
    np.save(trap, np.array([Trap()], object), allow_pickle=True)
    data = bytes_of(MODELS["logistic"].fit(X, Y))
    with zipfile.ZipFile(BytesIO(data)) as archive:
        arrays = {name: trap.getvalue() for name in archive.namelist() if name.endswith(".npy")}
    with pytest.raises(Format):
        load_predictor(SKLEARN, rewritten(data, lambda _: None, more=arrays))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_unpacks_to_too_much_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes_of(MODELS["tree"].fit(X, Y))
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    with pytest.raises(Format, match="unpacks to more than"):
        load_predictor(SKLEARN, data)


def test_a_schema_that_unpacks_to_too_much_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b'{"content": "%s"}' % (b"x" * (module.MOST_SCHEMA_BYTES + 1)))
    assert len(out.getvalue()) < 1 << 20
    monkeypatch.setattr(module.json, "loads", lambda _: pytest.fail("it was parsed"))
    with pytest.raises(Format, match=r"whose schema\.json unpacks to more than"):
        load_predictor(SKLEARN, out.getvalue())


def test_skops_looks_through_a_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    look = skops.get_untrusted_types
    monkeypatch.setattr(skops, "get_untrusted_types", lambda data: asked.append(data) or look(data=data))
    load_predictor(SKLEARN, bytes_of(MODELS["forest"].fit(X, Y)))
    assert len(asked) == 1


def tree_with(change: Callable[[dict[str, Any]], None]) -> bytes:
    """A decision tree whose state is changed before it is written."""
    tree = DecisionTreeClassifier(max_depth=4, random_state=0).fit(X, Y)
    state = tree.tree_.__getstate__()
    state["nodes"] = state["nodes"].copy()
    change(state)
    made = type(tree.tree_)(4, np.array([2], np.intp), 1)
    made.__setstate__({**state, "node_count": len(state["nodes"])})
    tree.tree_ = made
    return bytes_of(tree)


def set_node(field: str, value: int) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        state["nodes"][field][0] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_node("left_child", 0),
        set_node("right_child", 1_000_000),
        set_node("left_child", -2),
        set_node("feature", 4),
        set_node("feature", 2**40),
        set_node("feature", -7),
    ],
)
def test_trees_that_lead_out_of_their_arrays_are_refused(change: Callable[[dict[str, Any]], None]) -> None:
    assert load_predictor(SKLEARN, tree_with(lambda _: None)).predict(rows_of(X)).shape == (len(X),)
    with pytest.raises(Format):
        load_predictor(SKLEARN, tree_with(change))


def boosted_with(change: Callable[[Any], None]) -> bytes:
    """Boosting by histograms, changed before it is written."""
    model = HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(X, Y)
    change(model)
    return bytes_of(_slim(model))


def set_boosted(field: str, value: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model._predictors[1][0].nodes[field][0] = value

    return change


def without_nodes(model: Any) -> None:
    model._predictors[1][0].nodes = model._predictors[1][0].nodes[:0]


def of_other_nodes(model: Any) -> None:
    tree = model._predictors[1][0]
    tree.nodes = tree.nodes.view(np.uint8)


def of_three_columns(model: Any) -> None:
    model._n_features = 3


def of_many_trees_a_round(model: Any) -> None:
    model.n_trees_per_iteration_ = 10**8


def of_categories(model: Any) -> None:
    model._bin_mapper.is_categorical_[0] = 1


@pytest.mark.parametrize(
    "change",
    [
        set_boosted("left", 0),
        set_boosted("right", 1_000_000),
        set_boosted("feature_idx", 4),
        set_boosted("feature_idx", -1),
        set_boosted("is_categorical", 1),
        without_nodes,
        of_other_nodes,
        of_three_columns,
        of_many_trees_a_round,
        of_categories,
    ],
)
def test_boosting_that_leads_out_of_its_arrays_is_refused(change: Callable[[Any], None]) -> None:
    assert load_predictor(SKLEARN, boosted_with(lambda _: None)).predict(rows_of(X)).shape == (len(X),)
    with pytest.raises(Format):
        load_predictor(SKLEARN, boosted_with(change))


def test_a_tree_that_says_it_has_more_nodes_than_it_has_is_refused_or_not_believed() -> None:
    def change(schema: dict[str, Any]) -> None:
        for node in nodes(schema):
            if "node_count" in node:
                node["node_count"] |= {"content": "50000000", "__id__": 1}

    whole = bytes_of(MODELS["tree"].fit(X, Y))
    try:
        model = load_predictor(SKLEARN, rewritten(whole, change))
    except Format:
        return
    assert model.predict(rows_of(X)).tobytes() == load_predictor(SKLEARN, whole).predict(rows_of(X)).tobytes()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x04.", b"{}", pickle.dumps({"a": 1})])
def test_bytes_that_are_no_skops_file_are_refused(data: bytes) -> None:
    with pytest.raises(Format):
        load_predictor(SKLEARN, data)


def test_a_file_cut_short_or_changed_is_refused_or_whole(fitted: Any) -> None:
    data = bytes_of(fitted)
    for cut in (1, len(data) // 3, len(data) - 1):
        with pytest.raises(Format):
            load_predictor(SKLEARN, data[:cut])
    for place in np.random.default_rng(8).integers(0, len(data), 40):
        try:
            model = load_predictor(SKLEARN, data[:place] + bytes([data[place] ^ 0x15]) + data[place + 1 :])
        except Format:
            continue
        assert model.predict(rows_of(X)).shape == (len(X),)
