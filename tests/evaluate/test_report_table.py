"""What a report tells of a model of a table: true to what was measured, whole, and without pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from estampa import recipe as recipes
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.evaluate.baselines import baselines
from estampa.evaluate.evidence import Evidence
from estampa.evaluate.fusion import fusion
from estampa.evaluate.judge import judge
from estampa.evaluate.methods import methods
from estampa.evaluate.report import write_report
from estampa.evaluate.table_evidence import TableEvidence, column_facts, uncertain, witness_table
from estampa.page import Kept
from estampa.prepare.table import TablePreparation
from estampa.train.fitted_table import FittedTable

COLUMNS = ("ra", "mag_u", "mag_g", "mag_r", "petroR90_r", "petroR50_r", "p_el_debiased")
ROLES = ("ignore", *["feature"] * 5, "leak")
UNITS = ("deg", "mag", "mag", "mag", "arcsec", "arcsec", "")
CLASSES = ("elliptical", "spiral")
READ = COLUMNS[1:6]


def galaxies(n: int = 700, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Columns and labels of made-up galaxies: redder and more concentrated ones are elliptical, a sixth uncertain."""
    rng = np.random.default_rng(seed)
    spiral = (rng.random(n) < 0.75).astype(np.int64)
    r = rng.normal(17, 0.8, n)
    g = r + 0.85 - 0.35 * spiral + 0.08 * rng.normal(size=n)
    u = g + 1.75 - 0.4 * spiral + 0.2 * rng.normal(size=n)
    inner = rng.lognormal(1.0, 0.3, n)
    outer = inner * (3.0 - 0.6 * spiral + 0.2 * rng.normal(size=n))
    votes = np.clip(1 - spiral + 0.1 * rng.normal(size=n), 0, 1)
    values = np.stack([rng.uniform(0, 360, n), u, g, r, outer, inner, votes], axis=1)
    values[5:12, 4] = -9999
    values[20:24, 1] = 0
    values[30:33, 3] = np.nan
    labels = np.where(rng.random(n) < 1 / 6, -1, spiral)
    return values, labels


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The galaxies as a Dataset without pictures."""
    values, labels = galaxies()
    header = Header(
        len(values), None, "", "classification", CLASSES, columns=COLUMNS, roles=ROLES, column_units=UNITS,
        read=ReadRecord(source="table"),
    )  # fmt: skip
    split = np.repeat([1, 2, 3], [400, 100, 200]).astype(np.uint8)
    writer = DatasetWriter(
        tmp_path_factory.mktemp("table") / "galaxies.h5", header, ids=np.array([f"galaxy {i}" for i in range(700)]),
        labels=labels, groups=None, split=split, fingerprint="galaxies",
    )  # fmt: skip
    writer.put_table(values)
    return writer.finish()


def fitted_on(data: Dataset, method: str = "tree") -> FittedTable:
    """A model of the training part, not tuned."""
    from sklearn.tree import DecisionTreeClassifier

    known = np.flatnonzero((data.split == 1) & data.labelled())
    values = np.asarray(data.table)[known][:, 1:6]
    preparation = TablePreparation.fit(values, READ, units=UNITS[1:6])
    estimator = DecisionTreeClassifier(max_depth=5, min_samples_leaf=8, class_weight="balanced", random_state=0)
    estimator.fit(preparation.transform(values), data.labels[known])
    recipe = recipes.Recipe().with_values({"name": "tables", "model": {"name": method}})
    trials = [
        {"number": i, "method": m, "values": {"depth": i + 1}, "score": 0.9 - 0.01 * i, "spread": 0.02, "seconds": 0.1}
        for i, m in enumerate(["logistic", "tree", "tree", "forest"])
    ]
    trials.append({"number": 4, "method": "knn", "values": {}, "score": None, "error": "no neighbours"})
    choice = [
        {
            "method": "tree", "score": 0.89, "values": {"depth": 2},
            "difference": {"value": -0.01, "low": -0.02, "high": 0.005},
        },
        {"method": "forest", "score": 0.9, "difference": None, "values": {}},
    ]  # fmt: skip
    return FittedTable(
        estimator, preparation, recipe, ["tree was chosen"], 1.0, "all settings tried", 31, CLASSES, trials, choice
    )


@pytest.fixture(scope="module")
def evidence(catalogue: Dataset) -> Evidence:
    fitted = fitted_on(catalogue)
    known = catalogue.labelled()
    parts = {p: catalogue.rows(p)[known[catalogue.rows(p)]] for p in ("train", "validation", "test")}
    rows = parts["test"]
    output = fitted.predict(catalogue, rows)
    judgement = judge(catalogue.labels[rows], output, task="classification", classes=CLASSES, resamples=200)
    made = Evidence("tables", catalogue, rows, output, judgement, {k: len(v) for k, v in parts.items()})
    made.table = witness_table(fitted, catalogue, parts, (rows, output), resamples=200)
    made.recipe, made.trials, made.decisions = fitted.recipe.to_toml(), fitted.trials, fitted.decisions
    made.baselines = baselines(
        catalogue, parts["train"], rows, resamples=200,
        values=lambda wanted: fitted.preparation.transform(np.asarray(catalogue.table)[wanted][:, 1:6]),
    )  # fmt: skip
    return made


def test_columns_are_told_with_role_unit_range_and_what_failed_by_rule(evidence: Evidence) -> None:
    assert evidence.table is not None
    by = {c.name: c for c in evidence.table.columns}
    assert [by[n].role for n in ("ra", "mag_u", "p_el_debiased")] == ["kept aside", "learned from", "tells the answer"]
    assert by["petroR90_r"].unit == "arcsec"
    assert sum(by["petroR90_r"].invalid.values()) == 7
    assert any("9999" in rule for rule in by["petroR90_r"].invalid)
    assert sum(by["mag_u"].invalid.values()) == 4
    assert by["mag_r"].invalid == {"missing": 3}
    assert by["petroR90_r"].low > 0
    train = np.asarray(evidence.dataset.table)[evidence.dataset.split == 1]
    assert evidence.table.failed["train"][0] <= 14
    assert len(train) > evidence.table.failed["train"][1] > 300


def test_a_column_of_nothing_and_a_table_without_roles(catalogue: Dataset) -> None:
    facts = column_facts(catalogue, (), ())
    assert {c.role for c in facts if c.name != "p_el_debiased"} <= {"left out", "kept aside"}
    assert facts[4].low > 0  # what is not learned from has rules of its own
    assert facts[4].invalid == {"-9999": 7}


def test_importance_dependence_and_reasons_are_those_of_the_model(evidence: Evidence) -> None:
    found = evidence.table
    assert found is not None
    assert found.importance is not None
    assert set(found.importance.order) == set(READ)
    assert "p_el_debiased" not in found.importance.order
    assert any(lost.sure for lost in (*found.importance.columns, *found.importance.groups))
    assert len(found.dependence) == 5
    assert next(d.unit for d in found.dependence if d.column == "petroR90_r") == "arcsec"
    assert all(d.grid[0] > 0 for d in found.dependence)
    wrong = [r for r in found.reasons if r.truth != r.answer]
    assert list(found.reasons[: len(wrong)]) == wrong
    for one in found.reasons:
        assert sum(r.effect for r in one.reasons) == pytest.approx(one.p - one.usual, abs=1e-5)


def test_the_tree_is_in_the_units_of_the_columns(evidence: Evidence) -> None:
    assert evidence.table is not None
    tree = evidence.table.tree
    assert tree is not None
    table = np.asarray(evidence.dataset.table)[:, 1:6]
    node, row = 0, table[100]
    while tree.left[node] != -1:  # followed by hand, in magnitudes and arc seconds
        name = tree.names[tree.feature[node]]
        value = {**dict(zip(READ, row, strict=True)), "u-g": row[0] - row[1], "g-r": row[1] - row[2]}.get(name)
        if value is None:
            pytest.skip(f"asks for {name}, which this test does not derive")
        node = int(tree.left[node] if value <= tree.at[node] else tree.right[node])
    lines = tree.lines()
    assert len(lines) == len(tree.left)
    assert f"({int(tree.objects[0]):,})" in lines[0]
    assert sum("yes: " in line for line in lines) == tree.leaves - 1


def test_objects_without_a_label_are_a_group_of_their_own(evidence: Evidence) -> None:
    assert evidence.table is not None
    found = evidence.table.uncertain
    assert found is not None
    assert found.n == int((evidence.dataset.labels == -1).sum())
    assert found.of == 700
    assert len(found.output) == found.n
    record = found.to_json(CLASSES)
    assert sum(record["bins"]["spiral"]) == found.n
    assert sum(record["answered"].values()) == pytest.approx(1)
    assert not np.isin(evidence.rows, np.flatnonzero(evidence.dataset.labels == -1)).any()
    everyone = evidence.dataset.with_split(evidence.dataset.split, {})
    everyone.__dict__["labels"] = np.zeros(700, np.int64)
    assert uncertain(lambda v: np.ones((len(v), 2)), everyone, READ, found.beside) is None


def test_the_report_is_whole_and_holds_no_pictures(evidence: Evidence, tmp_path: Path) -> None:
    page = write_report(tmp_path, evidence).read_text(encoding="utf-8")
    for word in ("columns", "search", "importance", "dependence", "tree", "reasons", "unlabelled", "mistakes"):
        assert f'id="{word}"' in page, word
    for word in ("answers", "maps", "symmetry", "training", "fusion"):
        assert f'id="{word}"' not in page, word
    assert "<img" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert page.index("balanced accuracy") < page.index("macro F1") < page.index("log loss")
    assert "The classes are uneven" in page
    assert "no neighbours" in page
    assert "tree (chosen)" in page
    assert "Left out, since they tell the answer: p_el_debiased" in page
    for name in ("columns", "settings", "choice", "importance", "reasons", "mistakes"):
        assert (tmp_path / "tables" / f"{name}.csv").is_file(), name
    for name in ("importance", "dependence_1", "tree", "search", "unlabelled"):
        assert (tmp_path / "figures" / f"{name}.svg").is_file(), name
    record = json.loads((tmp_path / "metrics.json").read_text())["table"]
    assert record["uncertain"]["n"] == evidence.table.uncertain.n  # type: ignore[union-attr]
    assert record["importance"]["columns"][0]["columns"] == [evidence.table.importance.order[0]]  # type: ignore[union-attr]


def test_methods_cite_the_classical_models(evidence: Evidence) -> None:
    text, papers = methods(evidence)
    assert "decision tree" in text
    assert "permutation importance" in text
    for name in ("Breiman, L., Friedman", "Fisher", "Friedman, J. H. 2001", "Pedregosa"):
        assert any(p.startswith(name) for p in papers), name
    assert not any(p.startswith("Paszke") for p in papers)
    numbers = {int(n) for group in re.findall(r"\[([\d, ]+)\]", text) for n in group.split(",")}
    assert numbers == set(range(1, len(papers) + 1))


def test_baselines_of_a_table_read_its_columns(evidence: Evidence) -> None:
    found = {b.name: b for b in evidence.baselines}
    assert list(found) == ["majority", "logistic regression", "random forest"]
    assert found["random forest"].judgement.metrics["balanced_accuracy"].low > 0.6


def test_pictures_and_table_in_one_section(tmp_path: Path, evidence: Evidence) -> None:
    from estampa.evaluate import report_table

    truth = evidence.truth
    rng = np.random.default_rng(0)
    p = np.clip(0.25 + 0.5 * truth + 0.2 * rng.normal(size=len(truth)), 0.02, 0.98)
    net = np.stack([1 - p, p], axis=1)
    found = fusion((net, evidence.output, truth), (net, evidence.output, truth), CLASSES, resamples=100)
    kept = Kept()
    blocks = report_table.fusion(found, kept)
    assert len(blocks) == 4
    assert {"fusion", "fusion_differences"} <= set(kept.tables)
    assert "fusion_weight" in kept.figures
    made = Evidence("net", evidence.dataset, evidence.rows, net, evidence.judgement, evidence.counts)
    made.table = TableEvidence(fusion=found)
    page = write_report(tmp_path, made).read_text()
    assert 'id="fusion"' in page
    assert 'id="importance"' not in page
