"""Champion and challenger that know different classes: what each alone knows, and what it costs on the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from estampa.bundle.store import Bundle, write
from estampa.cli import main
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.errors import ContractError
from estampa.evaluate.judge import Judgement
from estampa.measure import Interval
from estampa.monitor.compare import compare
from estampa.monitor.compare_classes import Lone, Unshared
from estampa.monitor.compare_report import write_report
from estampa.monitor.comparison import EITHER, KEEP, LOOK, PROMOTE, recommend
from estampa.monitor.registry import Registry
from made_bundles import SHAPE, content_of, model_of, pictures
from made_pairs import model

HOW = (200, 0)
GREY, LIGHT = 0.2, 0.35  #: brightness from which a picture is grey, and light


def three(folder: Path, grey: float, light: float, names: tuple[str, str, str] = ("dark", "grey", "light")) -> Bundle:
    """A bundle of three classes that lie one after another in brightness."""
    graph = model_of(classes=names)
    weights = np.array([[-60, 0, 60], [0, 0, 0]], np.float32)
    for tensor in graph.graph.initializer:
        if tensor.name in ("w", "b"):
            value = weights if tensor.name == "w" else np.array([60 * grey, 0, -60 * light], np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return write(folder, content_of(model=graph, classes=names))


def dataset(path: Path, names: tuple[str, ...] = ("dark", "grey", "light"), n: int = 400) -> Dataset:
    """Pictures with their right class of three; of two names only those of the first and last class."""
    images = pictures(3 * n, seed=4)
    bright = images.mean(axis=(1, 2, 3)) / 255
    labels = (bright > GREY).astype(np.int64) + (bright > LIGHT)
    if len(names) == 2:
        images, labels = images[labels != 1], labels[labels != 1] // 2
    images, labels = images[:n], labels[:n]
    header = Header(len(images), SHAPE, "uint8", "classification", names, read=ReadRecord(source="arrays"))
    ids = [f"{path.stem}-{i}" for i in range(len(images))]
    writer = DatasetWriter(path, header, ids=ids, labels=labels, fingerprint=path.stem)
    writer.write(0, images, {})
    return writer.finish()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion of two classes, a challenger of three that is right, and data of three and of two classes."""
    folder = tmp_path_factory.mktemp("classes")
    model(folder / "two", (GREY + LIGHT) / 2)
    model(folder / "poor", 0.5)
    three(folder / "three", GREY, LIGHT)
    three(folder / "greedy", GREY, 0.6)  # takes much of what is light for grey
    dataset(folder / "all.h5")
    dataset(folder / "old.h5", ("dark", "light"))
    return folder


def test_a_challenger_with_a_new_class_is_held_against_the_champion(made: Path) -> None:
    found = compare(made / "two", made / "three", made / "all.h5", how=HOW)
    assert found.classes == ("dark", "light", "grey"), "the champion's, then the new one"
    assert found.recommendation.kind == PROMOTE
    assert found.challenger.judgement.metrics["accuracy"].value == 1.0
    lone = found.unshared
    assert lone is not None
    [grey] = lone.lone
    assert (grey.name, grey.known_by, grey.other) == ("grey", "challenger", "champion")
    assert grey.n == int((found.truth == 2).sum()) > 20
    assert sum(grey.taken_for.values()) == grey.n
    assert set(grey.taken_for) == {"dark", "light"}
    assert grey.recall is not None
    assert grey.recall.value == 1.0
    assert lone.n == found.n - grey.n
    assert lone.difference is not None
    assert lone.difference.value == 0.0
    assert "The challenger alone knows grey: recall 1.000" in found.recommendation.reasons[1]
    assert "which the champion takes for" in found.recommendation.reasons[1]
    assert found.difference["recall[grey]"].value == 1.0


def test_what_the_new_class_costs_on_the_others_is_told(made: Path) -> None:
    found = compare(made / "two", made / "greedy", made / "all.h5", how=HOW)
    assert found.unshared is not None
    assert found.unshared.difference is not None
    assert found.unshared.difference.high < 0
    assert found.recommendation.kind in (LOOK, KEEP)
    assert "a loss over 0.01 is not excluded" in " ".join(found.recommendation.reasons)
    assert any(s.name == "class light" for s in found.worse())


def test_without_an_object_of_the_new_class_a_person_looks(made: Path) -> None:
    found = compare(made / "poor", made / "three", made / "old.h5", how=HOW)
    assert found.unshared is not None
    assert [one.n for one in found.unshared.lone] == [0]
    assert found.recommendation.kind == LOOK
    assert "no object compared is one" in found.recommendation.reasons[1]
    assert "macro_f1" not in found.difference, "one grey answer would pull the mean down by a third"


def test_a_class_that_the_challenger_lost_is_named(made: Path) -> None:
    found = compare(made / "three", made / "two", made / "all.h5", how=HOW)
    assert found.recommendation.kind == KEEP
    assert found.recommendation.reasons[1].startswith("The champion alone knows grey")
    turned = compare(made / "two", made / "three", made / "all.h5", how=HOW)
    assert found.difference["accuracy"].value == pytest.approx(-turned.difference["accuracy"].value)


def test_one_class_under_two_names_is_suspected(made: Path, tmp_path: Path) -> None:
    three(tmp_path / "gray", GREY, LIGHT, ("dark", "gray", "light"))
    found = compare(made / "three", tmp_path / "gray", made / "all.h5", how=HOW)
    assert "one class under two names" in " ".join(found.recommendation.reasons)
    assert found.recommendation.kind == KEEP


def test_no_class_in_common_is_refused(made: Path, tmp_path: Path) -> None:
    model(tmp_path / "upper", LIGHT, classes=("Dark", "Light"), task="classification")
    with pytest.raises(ContractError, match=r"no class of the champion's name.*Did you mean 'dark'.*retrain"):
        compare(made / "two", tmp_path / "upper", made / "all.h5")


def test_a_class_that_neither_knows_is_refused(made: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "other.h5", ("dark", "blue", "light"))
    with pytest.raises(ContractError, match=r"does not know: blue.*Allowed: dark, light, grey"):
        compare(made / "two", made / "three", data)


def test_the_rules_of_classes() -> None:
    judged = Judgement(500, "classification", ("a", "b", "c"), {"accuracy": Interval(0.9, 0.88, 0.92)})
    better, same = {"accuracy": Interval(0.1, 0.08, 0.12)}, {"accuracy": Interval(0.0, -0.005, 0.005)}
    new = Lone("c", "challenger", 50, Interval(0.9, 0.8, 0.95), {"a": 30, "b": 20})
    old = Lone("d", "champion", 50, Interval(0.9, 0.8, 0.95), {"a": 50})

    def kind(difference: dict[str, Interval], lone: Unshared) -> str:
        return recommend(judged, difference, (), 0.01, lone).kind

    def known(low: float, *classes: Lone) -> Unshared:
        return Unshared(classes, 400, "accuracy", Interval(0.0, low, 0.01))

    assert kind(better, known(-0.005, new)) == PROMOTE
    assert kind(better, known(-0.02, new)) == LOOK
    assert kind(same, known(-0.005, new)) == EITHER
    assert kind(better, known(-0.005, Lone("c", "challenger", 0, None, {}))) == LOOK
    assert kind(better, known(-0.005, new, old)) == LOOK
    assert new.taken() == "a (30), b (20)"
    assert (
        Lone("c", "challenger", 9, None, dict(zip("abdef", (4, 2, 1, 1, 1), strict=True)))
        .taken()
        .endswith("others (2)")
    )


def test_other_figures_are_held_to_their_number() -> None:
    judged = Judgement(500, "classification", ("a", "b"), {"accuracy": Interval(0.9, 0.88, 0.92)})
    moved = {name: Interval(0.0, -0.01, 0.01) for name in ("macro_f1", "brier", "ece", "roc_auc", "pr_auc")}
    better = {"accuracy": Interval(0.03, 0.02, 0.04), **moved}
    just, far = Interval(0.011, 0.001, 0.021), Interval(0.03, 0.02, 0.04)
    assert recommend(judged, {**better, "log_loss": just}, (), 0.01).kind == PROMOTE
    assert recommend(judged, {**better, "log_loss": far}, (), 0.01).kind == LOOK


def test_the_page_and_the_command(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compare(made / "two", made / "three", made / "all.h5", how=HOW)
    text = write_report(tmp_path / "report", found, {})[0].read_text()
    assert "Classes that one model alone knows" in text
    assert "cut at 36" in text
    told = json.loads((tmp_path / "report" / "compare.json").read_text())["unshared"]
    assert told["classes"][0]["class"] == "grey"
    assert told["difference_shared"]["value"] == 0.0
    registry = tmp_path / "the models" / "registry.jsonl"
    Registry(registry).promote(made / "two", "night", why="the first")
    words = ["compare", f"{registry}:night", str(made / "three"), "--data", str(made / "all.h5")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--resamples", "200", "-q"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"--registry '{registry}' --as night --instead-of {found.champion.model} --why" in shown
