"""A bundle is written whole, and read only after every file has been looked at."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from typer.testing import CliRunner

from estampa.bundle import store
from estampa.bundle.audit import audit, tensors
from estampa.bundle.card import card
from estampa.bundle.graph import audit_model
from estampa.bundle.manifest import FORMAT
from estampa.bundle.store import Bundle, pack, write
from estampa.errors import BundleError, ContractError, InputError, StorageError
from made_bundles import content_of, make, model_of, pictures

FILES = {
    "model.onnx", "weights.safetensors", "prepare.safetensors", "reference.safetensors", "held.safetensors",
    "gallery.safetensors", "presets.safetensors", "README.md", "bundle.json", "examples/request.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("bundle") / "model").folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def resign(folder: Path, **changes: object) -> None:
    """Make the manifest agree with the files again, as someone with bad intent would."""
    path = folder / "bundle.json"
    tree = json.loads(path.read_text()) | changes
    for name in tree["files"]:
        if (folder / name).is_file():
            data = (folder / name).read_bytes()
            tree["files"][name] = {"size": len(data), "sha256": sha256(data).hexdigest()}
    path.write_text(json.dumps(tree))


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder)
    assert caught.value.exit_code == 2
    for word in words:
        assert word in str(caught.value)


def test_a_bundle_holds_what_design_says(whole: Path) -> None:
    assert {str(p.relative_to(whole)) for p in whole.rglob("*") if p.is_file()} == FILES
    tree = json.loads((whole / "bundle.json").read_text())
    assert tree["format"] == FORMAT == 1
    assert set(tree["files"]) == FILES - {"bundle.json"}
    for name, entry in tree["files"].items():
        data = (whole / name).read_bytes()
        assert entry == {"size": len(data), "sha256": sha256(data).hexdigest()}
    assert tree["hashes"]["model"] == tree["files"]["model.onnx"]["sha256"]
    assert not list(whole.parent.glob("*.part"))


def test_it_reads_back_what_was_written(whole: Path) -> None:
    bundle, content = Bundle.open(whole), content_of()
    assert bundle.classes == ("dark", "light")
    assert bundle.contract.shape == (6, 5, 1)
    assert bundle.hash == sha256((whole / "bundle.json").read_bytes()).hexdigest()[:12]
    for name in ("weights", "prepare", "reference", "held", "gallery"):
        found, given_ = bundle.tensors(name), getattr(content, name)
        assert set(found) == set(given_)
        for key in found:
            np.testing.assert_array_equal(found[key], given_[key])
    ids, hashes = bundle.held("train")
    assert list(ids[:2]) == ["object 0 ñ", "object 1 ñ"]
    assert list(hashes[:3]) == [0, 1, 2]
    assert "dark, light" in bundle._repr_html_()
    assert bundle.hash in repr(bundle)


def test_a_run_folder_leads_to_its_bundle(whole: Path) -> None:
    assert Bundle.open(whole.parent).hash == Bundle.open(whole).hash


def test_scores_are_the_models(whole: Path) -> None:
    images = pictures(100)
    scores = Bundle.open(whole).score(images)
    mean = images.mean(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(scores.embedding[:, 0], mean, rtol=1e-5)
    np.testing.assert_allclose(scores.output.sum(axis=1), 1, rtol=1e-6)
    assert ((scores.output[:, 1] > 0.5) == (mean > 0.5)).all()


def test_threads_do_not_change_a_bit(whole: Path) -> None:
    bundle, images = Bundle.open(whole), pictures(1000)
    one, four = bundle.score(images, threads=1), bundle.score(images, threads=4)
    np.testing.assert_array_equal(one.output, four.output)
    assert bundle.score(images[:0]).output.shape == (0, 2)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 6, 5, 3), "u1"), np.zeros((2, 6, 5, 1), "f4"), np.zeros((6, 5, 1), "u1")]
)
def test_other_images_are_refused_with_both_sides(whole: Path, images: np.ndarray) -> None:
    with pytest.raises(ContractError, match=r"6 x 5 x 1 uint8.*Got: "):
        Bundle.open(whole).score(images)


# ------------------------------------------------------------------------------------------------ written atomically


def test_writing_the_same_bundle_again_changes_nothing(folder: Path) -> None:
    before = Bundle.open(folder).hash
    assert write(folder, content_of()).hash == before
    with pytest.raises(StorageError, match="something else"):
        write(folder, content_of(classes=("a", "b")))
    assert Bundle.open(folder).hash == before
    assert not list(folder.parent.glob("*.part"))


def test_a_killed_writing_leaves_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever file the power fails at, there is no folder that looks whole, and the next run clears up."""
    target, genuine = tmp_path / "run" / "model", store._write
    for stop_at in sorted(FILES):

        def failing(path: Path, data: bytes, stop_at: str = stop_at) -> dict[str, object]:
            if str(path).endswith(f"/{stop_at}"):
                raise KeyboardInterrupt
            return genuine(path, data)

        monkeypatch.setattr(store, "_write", failing)
        with pytest.raises(KeyboardInterrupt):
            write(target, content_of())
        assert not target.exists()
        refused(tmp_path / "run", "incomplete", "bundle.json")
    monkeypatch.setattr(store, "_write", genuine)
    assert write(target, content_of()).classes == ("dark", "light")


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        write(tmp_path / "model", content_of())
    assert not (tmp_path / "model").exists()


# ------------------------------------------------------------------------------------------------ hostile until read


@pytest.mark.parametrize("name", sorted(FILES - {"bundle.json"}))
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refused(folder, name, "missing")


@pytest.mark.parametrize("name", sorted(FILES - {"bundle.json", "README.md"}))
@pytest.mark.parametrize("harm", ["bit", "cut", "longer"])
def test_a_changed_byte_is_seen(folder: Path, name: str, harm: str) -> None:
    data = bytearray((folder / name).read_bytes())
    if harm == "bit":
        data[len(data) // 2] ^= 1
    (folder / name).write_bytes({"bit": data, "cut": data[:-1], "longer": data + b"\0"}[harm])
    refused(folder, name, "tampered" if harm == "bit" else "another size")


def test_the_card_speaks_of_intervals_only_where_there_are_some() -> None:
    content = content_of()
    assert "with 95 % intervals" in card(store.plain(content.manifest))
    alone = {"n": 1, "metrics": {"accuracy": {"value": 1.0, "low": None, "high": None}}}
    found = card(store.plain({**content.manifest, "metrics": alone}))
    assert "without intervals:\n\n| metric | value |" in found


def test_the_card_may_be_filled_in(folder: Path) -> None:
    (folder / "README.md").write_text("# Ours now")
    assert Bundle.open(folder).classes


@pytest.mark.parametrize("entry", ["notes.txt", ".hidden", "model.onnx.data", "custom_ops.so"])
def test_an_unknown_entry_is_refused(folder: Path, entry: str) -> None:
    (folder / entry).write_text("x")
    refused(folder, entry, "does not list")


def test_a_listed_stranger_is_refused_too(folder: Path) -> None:
    (folder / "hook.py").write_text("x")
    tree = json.loads((folder / "bundle.json").read_text())
    tree["files"]["hook.py"] = {"size": 1, "sha256": sha256(b"x").hexdigest()}
    tree["files"]["../outside"] = tree["files"]["hook.py"]
    (folder / "bundle.json").write_text(json.dumps(tree))
    refused(folder, "hook.py", "never holds")


@pytest.mark.parametrize("name", ["model.onnx", "held.safetensors", "README.md", "bundle.json"])
def test_links_are_refused(folder: Path, name: str) -> None:
    (folder / name).rename(folder.parent / name)
    (folder / name).symlink_to(folder.parent / name)
    refused(folder, "symbolic link")


def test_a_pipe_or_folder_is_refused(folder: Path) -> None:
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")
    refused(folder, "not a regular file")
    (folder / "README.md").unlink()
    (folder / "README.md").mkdir()
    refused(folder, "README.md")


def test_a_newer_format_says_the_cure(folder: Path) -> None:
    resign(folder, format=2, something="new")
    refused(folder, "newer", "format 1 or older", "format 2", "pip install --upgrade estampa")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not valid JSON"),
        (b"[]", "format number"),
        (b'{"format": true}', "format number"),
        (b'{"format": 1}', "is not one"),
        (b'{"format": 1, "format": 1}', "twice"),
        (b'{"format": NaN}', "NaN"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b" " * (5 << 20), "too large"),
    ],
)
def test_a_damaged_manifest_is_refused(folder: Path, text: bytes, words: str) -> None:
    (folder / "bundle.json").write_bytes(text)
    refused(folder, "bundle.json", words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"surprise": 1}, "surprise"),
        ({"classes": ["a", "a"]}, "different names"),
        ({"classes": ["a", "b", "c"]}, "as many outputs"),
        ({"display": {"es": ["x"]}}, "another number of classes"),
        ({"classes": ["other", "names"]}, "other classes"),
        ({"outputs": {"output": 2, "logits": 2, "embedding": 7}}, "outputs"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(folder: Path, change: dict[str, object], words: str) -> None:
    resign(folder, **change)
    refused(folder, words)


def test_a_contract_that_the_graph_contradicts_is_refused(folder: Path) -> None:
    tree = json.loads((folder / "bundle.json").read_text())
    resign(folder, contract=tree["contract"] | {"shape": [6, 6, 1]})
    refused(folder, "not what its contract says", "6 x 6 x 1")


def test_nothing_there_has_a_cure(tmp_path: Path) -> None:
    refused(tmp_path / "none", "no such folder")
    refused(tmp_path, "neither a run folder nor a bundle")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "a file, not a bundle")


def test_the_command_line_says_it_in_one_message(folder: Path, tmp_path: Path) -> None:
    from estampa.cli import application

    (folder / "model.onnx").write_bytes(b"")
    ended = CliRunner().invoke(application("predict"), ["predict", str(folder), str(tmp_path)])
    assert ended.exit_code == 2
    assert "another size" in ended.stderr
    assert "Traceback" not in ended.stderr


# ------------------------------------------------------------------------------------------------ safetensors


def _header(entries: dict[str, object], data: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        (1 << 40).to_bytes(8, "little") + b"{}",
        _header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
        _header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(8)),
        _header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
        _header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}),
        _header({"a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}}, bytes(4)),
        _header({"a": {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        _header({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}, "b": 3}, bytes(4)),
        _header({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4], "x": 1}}, bytes(4)),
        b"\x02" + bytes(7) + b"[]",
    ],
)
def test_impossible_tensors_are_refused(folder: Path, data: bytes) -> None:
    (folder / "held.safetensors").write_bytes(data)
    resign(folder)
    refused(folder, "held.safetensors")


@given(st.binary(max_size=200))
def test_random_bytes_are_never_tensors_by_accident(data: bytes) -> None:
    try:
        found = tensors(data, Path("x"))
    except BundleError:
        return
    assert sum(v.nbytes for v in found.values()) <= len(data)


def test_tensors_read_as_the_official_reader_does() -> None:
    from safetensors.numpy import load

    given_ = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.zeros((0, 2), np.uint64),
        "c": np.array(3, "i2"),
    }
    data = pack(given_)
    for name, value in load(data).items():
        found = tensors(data, Path("x"))[name]
        assert found.shape == given_[name].shape
        np.testing.assert_array_equal(found, value)


# ------------------------------------------------------------------------------------------------ ONNX


def spoiled(kind: str) -> onnx.ModelProto:
    model = model_of(domain="evil.ops" if kind == "domain" else "")
    if kind in ("external", "location"):
        tensor = model.graph.initializer[0]
        if kind == "location":
            tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")
    elif kind == "function":
        model.functions.append(
            helper.make_function("own", "F", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])], [])
        )
    elif kind == "nested":
        inner = helper.make_graph([helper.make_node("Run", [], ["z"], domain="evil.ops")], "inner", [], [])
        model.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner))
    elif kind == "opset":
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    elif kind == "attribute":
        value = onnx.numpy_helper.from_array(np.zeros(3, np.float32))
        value.external_data.add(key="location", value="../../secret")
        model.graph.node.append(helper.make_node("Constant", [], ["k"], value=value))
    elif kind == "training":
        model.training_info.add()
    return model


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("domain", "evil.ops"), ("external", "other files"), ("location", "other files"), ("function", "functions"),
        ("nested", "evil.ops"), ("opset", "com.microsoft"), ("attribute", "other files"), ("training", "training"),
    ],
)  # fmt: skip
def test_a_dangerous_graph_never_reaches_the_runtime(
    folder: Path, kind: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "model.onnx").write_bytes(spoiled(kind).SerializeToString())
    resign(folder)
    monkeypatch.setattr(store, "Session", None)  # would be called with it
    refused(folder, "model.onnx", words)


def test_a_graph_that_the_runtime_refuses_is_an_error_of_ours(folder: Path) -> None:
    model = model_of()
    model.graph.node[-1].op_type = "NoSuchOperator"
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    resign(folder)
    refused(folder, "ONNX Runtime refuses")


def test_the_walk_sees_what_the_onnx_package_sees() -> None:
    model = model_of(classes=("a", "b", "ñ"))
    facts = audit_model(model.SerializeToString(), "x")
    assert facts.nodes == len(model.graph.node)
    assert facts.opsets == {"": 18}
    assert json.loads(facts.metadata["estampa.classes"]) == ["a", "b", "ñ"]


@given(st.data())
def test_a_damaged_graph_never_raises_anything_else(data: st.DataObject) -> None:
    whole = model_of().SerializeToString()
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = data.draw(st.sampled_from([whole[:at], whole[:at] + b"\xff" * 12, b"\x3a" * at, whole[at:]]))
    try:
        audit_model(broken, "x")
    except BundleError:
        return
    onnx.load_model_from_string(broken)  # what passes the walk is a message to the official parser, too


def test_the_runtimes_own_format_is_refused() -> None:
    with pytest.raises(BundleError, match="own format"):
        audit_model(b"\x08\x00\x00\x00ORTM" + bytes(100), "x")


def test_the_audit_gives_the_bytes_that_it_hashed(whole: Path) -> None:
    manifest, digest, model = audit(whole)
    assert sha256(model).hexdigest() == manifest.hashes.model
    assert digest == sha256((whole / "bundle.json").read_bytes()).hexdigest()


def test_a_regression_bundle_has_values(tmp_path: Path) -> None:
    bundle = make(tmp_path / "m", classes=(), task="regression")
    scores = bundle.score(pictures(7))
    assert scores.output.shape == (7,)
    assert scores.logits is None


def test_no_gallery_when_pictures_must_not_travel(tmp_path: Path) -> None:
    bundle = write(tmp_path / "m", dataclasses.replace(content_of(), gallery=None))
    assert "gallery.safetensors" not in bundle.manifest.files
    with pytest.raises(InputError, match="has no gallery"):
        bundle.tensors("gallery")


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_every_format_that_was_ever_written_is_read(number: int) -> None:
    """formats/N is a bundle as estampa wrote it when N was new: make one with `make` before FORMAT is raised."""
    bundle = Bundle.open(Path(__file__).parent / "formats" / str(number))
    assert bundle.manifest.format == number
    if number == 1:
        assert bundle.manifest.reference_part == ""  # written before it was recorded
    assert bundle.score(pictures(4)).output.argmax(axis=1).tolist() == [0, 0, 0, 0]
