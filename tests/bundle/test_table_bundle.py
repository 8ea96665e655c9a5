"""A classifier of a table becomes a bundle whose answers are scikit-learn's, row by row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from estampa.bundle import export_table, table_graph
from estampa.bundle.audit import audit_model
from estampa.bundle.contract_table import TableContract, out_of_range_rows, places
from estampa.bundle.export_table import bundle_from_table, check_parity, graph_of
from estampa.bundle.store import Bundle
from estampa.errors import BundleError, ContractError
from estampa.train.fitted_table import LEAST_PROBABILITY, finished
from made_bundles import make as make_of_pictures
from made_tables import COLUMNS, dataset, fitted, galaxies, make


def boosting(**more: Any) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=12, random_state=0, **more)


def forest(trees: int = 12, **more: Any) -> RandomForestClassifier:
    return RandomForestClassifier(trees, random_state=0, **more)


ESTIMATORS = {
    "logistic": lambda: LogisticRegression(class_weight="balanced", max_iter=300),
    "tree": lambda: DecisionTreeClassifier(max_depth=6, class_weight="balanced", random_state=0),
    "neighbours": lambda: KNeighborsClassifier(9),
    "neighbours by distance": lambda: KNeighborsClassifier(9, weights="distance"),
    "neighbours by Manhattan's": lambda: KNeighborsClassifier(5, weights="distance", p=1),
    "one neighbour": lambda: KNeighborsClassifier(1),
    "forest": lambda: forest(class_weight="balanced_subsample"),
    "extra trees": lambda: ExtraTreesClassifier(12, random_state=0),
    "boosting": lambda: boosting(class_weight="balanced"),
    "vote": lambda: VotingClassifier([("a", ExtraTreesClassifier(8)), ("b", boosting())], voting="soft"),
    "weighted vote": lambda: VotingClassifier(
        [("a", LogisticRegression()), ("b", forest())], voting="soft", weights=[1, 3]
    ),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    folder = tmp_path_factory.mktemp("tables")
    return {k: dataset(folder / f"{k}.h5", *galaxies(900, k)) for k in (2, 3)}


def parts(data: Any) -> dict[str, np.ndarray]:
    return {part: data.rows(part) for part in ("train", "validation", "test")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("bundle") / "model")


# ------------------------------------------------------------------------------------------------ the same answers


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_answers_are_the_estimators(tables: dict[int, Any], tmp_path: Path, name: str, classes: int) -> None:
    data = tables[classes]
    model = fitted(data, ESTIMATORS[name]())
    bundle = bundle_from_table(model, data, parts(data), {}, tmp_path / "model")
    raw, _ = galaxies(2000, classes, seed=7)
    raw[:200] = data.table_rows(data.rows("train")[:200])  # a neighbour at no distance
    theirs = model.estimator.predict_proba(model.preparation.transform(raw))
    for threads in (1, 3):
        scores = bundle.score(raw, threads=threads)
        np.testing.assert_allclose(scores.output, theirs, atol=1e-5)
    expected = np.log(np.maximum(theirs, LEAST_PROBABILITY))
    assert scores.logits is not None
    np.testing.assert_allclose(np.exp(scores.logits), np.exp(expected), atol=1e-5)
    parity = bundle.manifest.parity
    assert parity is not None
    assert parity.rows == len(data.rows("test"))
    assert parity.output <= parity.tolerance == 1e-5


@pytest.mark.parametrize("kind", [forest, boosting])
def test_thresholds_between_two_floats_send_rows_the_same_way(kind: Any, tmp_path: Path) -> None:
    """Values one float32 step apart: a threshold between them, rounded to the nearest, would move half of them."""
    step = np.spacing(np.float32(1.5))
    grid = (np.float32(1.5) + step * np.arange(40)).astype(np.float64)
    x = np.repeat(grid, 30)[:, None].astype(np.float32)
    y = (np.arange(1200) // 30) % 2
    more = {"min_samples_leaf": 1, "max_bins": 255} if kind is boosting else {"max_features": None, "bootstrap": False}
    estimator = kind(**more).fit(x, y)
    graph = table_graph.Graph("table", 1, 64)
    name = table_graph.probabilities(graph, estimator)
    found = run(graph, name, x, 2)
    np.testing.assert_allclose(found, estimator.predict_proba(x), atol=1e-5)


def run(graph: table_graph.Graph, name: str, x: np.ndarray, classes: int) -> np.ndarray:
    import onnxruntime as ort
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", classes])]
    begin = [helper.make_tensor_value_info("table", TensorProto.FLOAT, ["n", x.shape[1]])]
    made = helper.make_graph(graph.nodes, "g", begin, ends, graph.constants)
    sets = [helper.make_opsetid("", table_graph.OPSET), helper.make_opsetid(table_graph.ML, table_graph.ML_OPSET)]
    model = helper.make_model(made, opset_imports=sets, ir_version=table_graph.IR)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([name], {"table": x})[0])


def test_below_is_the_last_float_that_does_not_pass() -> None:
    draw = np.random.default_rng(0)
    limits = np.concatenate([draw.normal(size=2000) * 10.0 ** draw.integers(-30, 30, 2000), [0.0, 1e300, -1e-300]])
    found = table_graph.below(limits)
    assert (found.astype(np.float64) <= limits).all()
    with np.errstate(over="ignore"):
        after = np.nextafter(found, np.float32(np.inf))
    assert (after.astype(np.float64) > limits).all()


def test_many_trees_are_several_operators(monkeypatch: pytest.MonkeyPatch, tables: dict[int, Any]) -> None:
    data = tables[3]
    model = fitted(data, forest(30))
    x = model.preparation.transform(data.table_rows(data.rows("test")))
    for most, operators in ((10, 30), (1 << 30, 1)):
        monkeypatch.setattr(table_graph, "GROUP_NODES", most)
        graph = graph_of(model)
        assert sum(node.op_type == "TreeEnsembleRegressor" for node in graph.nodes) == operators
        np.testing.assert_allclose(run(graph, "output", x, 3), model.estimator.predict_proba(x), atol=1e-5)


def test_the_temperature_is_in_the_graph(tables: dict[int, Any], tmp_path: Path) -> None:
    data = tables[2]
    rows = data.table_rows(data.rows("test"))
    exact = fitted(data, forest())
    cold = bundle_from_table(exact, data, parts(data), {}, tmp_path / "one").score(rows)
    assert cold.logits is not None
    zeros = cold.output == 0
    assert zeros.any()  # a forest that is sure says 0, and stays at it
    np.testing.assert_allclose(cold.logits[zeros], np.log(LEAST_PROBABILITY), rtol=1e-6)
    warm_model = fitted(data, forest(), temperature=2.5)
    warm = bundle_from_table(warm_model, data, parts(data), {}, tmp_path / "warm").score(rows)
    np.testing.assert_allclose(warm.logits, cold.logits / 2.5, rtol=1e-5)
    np.testing.assert_allclose(warm.output, finished(cold.logits, 2.5), atol=1e-6)
    assert (warm.output > 0).all()
    np.testing.assert_allclose(warm.output.sum(axis=1), 1, atol=1e-6)


def test_a_class_without_training_objects_has_no_probability(tmp_path: Path) -> None:
    values, labels = galaxies(300, 3)
    data = dataset(tmp_path / "d.h5", values, labels)
    few = np.flatnonzero(data.labels != 1)
    train = np.intersect1d(few, data.rows("train"))
    model = fitted(data, forest())
    model.estimator.fit(model.preparation.transform(data.table_rows(train)), data.labels[train])
    bundle = bundle_from_table(model, data, parts(data), {}, tmp_path / "model")
    output = bundle.score(values).output
    assert (output[:, 1] == 0).all()
    np.testing.assert_allclose(output.sum(axis=1), 1, atol=1e-6)


def test_a_graph_that_answers_otherwise_is_no_bundle(tables: dict[int, Any], tmp_path: Path) -> None:
    data = tables[2]
    model, other = fitted(data, forest()), fitted(data, forest(max_depth=2))
    bundle = bundle_from_table(other, data, parts(data), {}, tmp_path / "model")
    with pytest.raises(BundleError, match=r"differs from scikit-learn's.*1e-05 in probability"):
        check_parity(model, bundle.session, data, data.rows("test"))


def test_neighbours_as_far_as_each_other_are_counted_not_refused(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    values = draw.integers(0, 3, (600, 6)).astype(np.float64) + 15  # many rows alike, of either class
    data = dataset(tmp_path / "d.h5", values, draw.integers(0, 2, 600))
    model = fitted(data, KNeighborsClassifier(3))
    bundle = bundle_from_table(model, data, parts(data), {}, tmp_path / "model")
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.ties is not None


def test_too_many_kept_rows_are_refused(monkeypatch: pytest.MonkeyPatch, tables: dict[int, Any]) -> None:
    monkeypatch.setattr(table_graph, "MOST_ROWS", 100)
    with pytest.raises(BundleError, match=r"keep every row.*100 rows.*540"):
        graph_of(fitted(tables[2], KNeighborsClassifier(3)))


# ------------------------------------------------------------------------------------------------ what it holds


def test_the_folder_holds_no_weights_and_no_pictures(whole: Bundle) -> None:
    files = {str(p.relative_to(whole.folder)) for p in whole.folder.rglob("*") if p.is_file()}
    assert files == {
        "model.onnx", "prepare.safetensors", "reference.safetensors", "held.safetensors", "README.md", "bundle.json",
        "presets.safetensors", "examples/request.json",
    }  # fmt: skip
    assert Bundle.open(whole.folder.parent).hash == whole.hash
    again = Bundle.open(whole.folder)
    assert again.of_table
    assert again.session.outputs == {"output": 2, "logits": 2}
    assert "6 columns (mag_u, mag_g" in repr(again)
    assert "forest" in (whole.folder / "README.md").read_text()
    assert "| mag_u | mag |" in (whole.folder / "README.md").read_text()


def test_the_same_training_gives_the_same_hash(whole: Bundle, tmp_path: Path) -> None:
    shutil.copytree(whole.folder, tmp_path / "copy")
    assert make(tmp_path / "model").manifest.files == whole.manifest.files


def test_the_contract_holds_the_valid_ranges(whole: Bundle) -> None:
    contract = whole.table
    assert contract.column_names == COLUMNS
    raw = galaxies(600)[0]
    for column, values in zip(contract.columns, raw.T, strict=True):
        assert column.minimum is not None
        assert column.minimum > -100  # sentinels are no values
        assert column.minimum >= np.nanmin(np.where(values < -100, np.nan, values))
    assert [c.unit for c in contract.columns] == ["mag", "mag", "mag", "arcsec", "arcsec", ""]
    assert contract.read_record.source == "table"
    assert contract.shape == (len(whole.preparation.names),)


def test_the_reference_is_of_the_validation_part(whole: Bundle) -> None:
    kept = whole.tensors("reference")
    assert kept["describe"].shape == (120, len(whole.table.names))
    assert kept["components"].shape == (120, 8)
    np.testing.assert_allclose(kept["output"].sum(axis=1), 1, atol=1e-6)
    assert len(whole.held("test")[0]) == 120


def test_a_model_of_a_table_is_none_of_pictures(whole: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="a model of a table, not of pictures"):
        _ = whole.pictures
    of_pictures = make_of_pictures(tmp_path / "model")
    assert not of_pictures.of_table
    with pytest.raises(ContractError, match="a model of pictures, not of a table"):
        _ = of_pictures.table


def test_rows_of_another_width_are_refused(whole: Bundle) -> None:
    with pytest.raises(ContractError, match=r"another shape.*\(n, 6\).*\(4, 5\)"):
        whole.score(np.zeros((4, 5)))
    with pytest.raises(ContractError, match="these prepared rows"):
        whole.session.score(np.zeros((4, 5), np.float32))


def test_a_model_that_leaves_rows_out_answers_them_with_nan(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model", invalid="drop")
    raw, _ = galaxies(50, seed=3, failed=0)
    raw[7, 0], raw[9, 3] = -9999, np.nan
    found = bundle.score(raw)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found.output).any(axis=1)), [7, 9])
    assert found.logits is not None
    assert np.isnan(found.logits[7]).all()


def test_a_preparation_of_other_columns_is_refused(whole: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole.folder, tmp_path / "model"))
    tree = json.loads((folder / "bundle.json").read_text())
    columns = tree["contract"]["columns"]
    columns[0], columns[1] = columns[1], columns[0]
    (folder / "bundle.json").write_text(json.dumps(tree))
    with pytest.raises(BundleError, match="of other columns than the contract"):
        Bundle.open(folder).score(np.zeros((1, 6)))


def test_operators_are_of_onnx_alone_and_passed_over_fast(whole: Bundle) -> None:
    data = (whole.folder / "model.onnx").read_bytes()
    facts = audit_model(data, "m")
    assert set(facts.opsets) == {"", "ai.onnx.ml"}
    assert facts.opsets["ai.onnx.ml"] <= 3
    with pytest.raises(BundleError):
        audit_model(data[: len(data) // 2], "m")


def test_a_damaged_attribute_is_found_behind_a_run_of_numbers() -> None:
    """The walk passes over runs of plain numbers; what follows them is looked at all the same."""
    from onnx import TensorProto, helper

    node = helper.make_node("TreeEnsembleRegressor", ["table"], ["output"], domain="ai.onnx.ml")
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])
    tensor.data_location = TensorProto.EXTERNAL
    attribute = helper.make_attribute("mixed", list(range(1000)))
    attribute.t.CopyFrom(tensor)
    node.attribute.append(attribute)
    graph = helper.make_graph([node], "g", [], [])
    with pytest.raises(BundleError, match="in other files"):
        audit_model(helper.make_model(graph).SerializeToString(), "m")


# ------------------------------------------------------------------------------------------------ columns by name


def test_places_by_name(whole: Bundle) -> None:
    names = ["ra", *reversed(COLUMNS), "z"]
    np.testing.assert_array_equal(places(whole.table, names, (), "t"), [6, 5, 4, 3, 2, 1])


def test_a_missing_column_is_named_with_the_nearest(whole: Bundle) -> None:
    names = ["mag_uu", *COLUMNS[1:]]
    with pytest.raises(ContractError, match=r"'mag_u' that the model was fed is missing.*Did you mean 'mag_u"):
        places(whole.table, names, (), "t")
    with pytest.raises(ContractError, match=r"is missing, and 5 others"):
        places(whole.table, ["x"], (), "t")


def test_another_unit_is_named_on_both_sides(whole: Bundle) -> None:
    units = ["mag", "mag", "mag", "deg", "arcsec", ""]
    with pytest.raises(ContractError, match=r"'petroR50' is in another unit.*arcsec.*Got: deg"):
        places(whole.table, COLUMNS, units, "t")
    places(whole.table, COLUMNS, ["[mag]", " MAG ", "", "", "", "pixel"], "t")


def test_out_of_range_is_beyond_training(whole: Bundle) -> None:
    raw, _ = galaxies(40, failed=0)
    invalid = np.zeros(raw.shape, bool)
    assert not out_of_range_rows(whole.table, raw, invalid).any()
    raw[3, 2], raw[5, 3] = 30, 1e4
    np.testing.assert_array_equal(np.flatnonzero(out_of_range_rows(whole.table, raw, invalid)), [3, 5])
    invalid[5, 3] = True
    assert not out_of_range_rows(whole.table, raw, invalid)[5]


def test_a_contract_is_what_it_says(whole: Bundle) -> None:
    tree = whole.table.model_dump(mode="json")
    assert TableContract.model_validate(tree) == whole.table
    tree["columns"].append(tree["columns"][0])
    with pytest.raises(ValueError, match="two columns have the same name"):
        TableContract.model_validate(tree)


def test_ten_thousand_columns(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(40, 10_000))
    labels = (values[:, 5] > 0).astype(np.int64)
    names = tuple(f"c{i}" for i in range(10_000))
    data = dataset(tmp_path / "d.h5", values, labels, columns=names, column_units=())
    bundle = bundle_from_table(fitted(data, forest(3)), data, parts(data), {}, tmp_path / "model")
    assert len(bundle.table.columns) == 10_000
    assert "and 9,900 more" in (bundle.folder / "README.md").read_text()
    assert np.isfinite(bundle.score(values).output).all()


def test_tolerance_is_what_is_promised() -> None:
    assert export_table.TOLERANCE == 1e-5


def test_a_fit_of_neighbours_keeps_so_many_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tables: dict[int, Any], tmp_path: Path
) -> None:
    from estampa.recipe import Recipe
    from estampa.train import classical

    monkeypatch.setattr(classical, "MOST_NEIGHBOURS", 200)
    data = tables[2]
    recipe = Recipe().with_values({"name": "few", "model.name": "knn", "model.neighbours": 5})
    model = classical.fit_table(data, recipe, train_rows=data.rows("train"), validation_rows=data.rows("validation"))
    assert model.estimator.n_samples_fit_ == 180
    assert any("keep their objects in the model: 180 of 540" in line for line in model.decisions)
    bundle = bundle_from_table(model, data, parts(data), {}, tmp_path / "model")
    assert "180 rows of the training part, kept in the model" in (bundle.folder / "README.md").read_text()
