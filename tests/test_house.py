"""The rules of the house, held by reading the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from estampa import parts
from estampa.cli import VERBS
from estampa.recipe import Recipe, known_keys, shipped

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "estampa"
#: The river: a room imports only from earlier lines; rooms on one line do not know each other.
LEVELS = [
    {"errors"},
    {"recipe", "parts", "measure", "pixels", "machine", "files", "progress", "plain"},
    {"page"},
    {"data"},
    {"prepare", "reduce"},
    {"models"},
    {"train"},
    {"bundle"},
    {"predict"},
    {"explain"},
    {"evaluate", "explore"},
    {"monitor", "run"},
    {"river"},
    {"pipeline"},
    {"studies", "serve"},
    {"cli"},
]
#: Small tools that even a neighbour on the same line may use.
TOOLS = {"errors", "files", "machine", "progress", "plain", "measure"}
TORCH_ROOMS = ("models/", "train/", "bundle/export.py", "prepare/augment.py")
MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 400, 60, 8
FILES = sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def room_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: imports are absolute"
            yield node.module or "", node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def level_of(room: str) -> int:
    return next(i for i, level in enumerate(LEVELS) if room in level)


def everything() -> list[Path]:
    return [p for p in FILES if name_of(p) not in ("__init__.py", "__main__.py")]


@pytest.mark.parametrize("path", everything(), ids=name_of)
def test_imports_point_upstream(path: Path) -> None:
    here = room_of(path)
    for module, line in imports(path):
        if not module.startswith("estampa."):
            continue
        there = module.split(".")[1]
        if there == here or (not (SOURCE / there).exists() and not (SOURCE / f"{there}.py").exists()):
            continue
        upstream = level_of(there) < level_of(here) or (there in TOOLS and level_of(there) == level_of(here))
        assert upstream, f"{name_of(path)}:{line}: {here} must not import {there}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_FILE, f"{name_of(path)} is longer than {MAX_FILE} lines"
    for function in functions(path):
        is_command = name_of(path).startswith("cli/") and function.name == "command"
        first = function.body[0].lineno if is_command else function.lineno  # its signature: flags
        length = (function.end_lineno or 0) - first + 1
        assert length <= MAX_FUNCTION, f"{name_of(path)}:{function.lineno}: {function.name} has {length} lines"
        exempt = function.name == "__init__" or is_command
        arguments = function.args
        count = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs)
        count -= bool(arguments.args and arguments.args[0].arg in ("self", "cls"))
        assert exempt or count <= MAX_PARAMETERS, f"{name_of(path)}:{function.lineno}: {function.name} takes {count}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_forbidden(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        where = f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), f"{where}: import *"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{where}: bare except"
            silent = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
            assert not silent, f"{where}: swallowed except"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("pickle.load", "pickle.loads", "eval", "exec"), f"{where}: {called}"
            only_weights = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
            assert called != "torch.load" or only_weights, f"{where}: torch.load without weights_only=True"
            online = any(k.arg == "pretrained" and ast.unparse(k.value) != "False" for k in node.keywords)
            assert not called.endswith("create_model") or not online, f"{where}: timm would go to the network"
            loads_pickles = any(k.arg == "allow_pickle" and ast.unparse(k.value) == "True" for k in node.keywords)
            assert not loads_pickles, f"{where}: allow_pickle=True"
            in_library = not name_of(path).startswith("cli/")
            assert not (in_library and called == "print"), f"{where}: the library does not print"
    for module, line in imports(path):
        assert module.split(".")[0] != "pickle", f"{name_of(path)}:{line}: pickle"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_torch_stays_in_its_rooms(path: Path) -> None:
    if not name_of(path).startswith(TORCH_ROOMS):
        for module, line in imports(path):
            root = module.split(".")[0]
            assert root not in ("torch", "timm", "torchvision"), f"{name_of(path)}:{line}: {root} outside {TORCH_ROOMS}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_settings_object_at_import(path: Path) -> None:
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            text = ast.unparse(node.value)
            assert "os.environ" not in text, f"{name_of(path)}:{node.lineno}: reads the environment at import"
            assert not re.match(r"\w*Settings\(", text), f"{name_of(path)}:{node.lineno}: settings made at import"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_public_things_are_documented(path: Path) -> None:
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name_of(path)}:{node.lineno}: {node.name} has no docstring"


def documentation() -> str:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return "\n".join(p.read_text() for p in pages)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented_and_has_a_file(verb: str) -> None:
    assert f"estampa {verb}" in documentation()
    assert (SOURCE / "cli" / f"{verb}.py").is_file()


def test_every_recipe_key_is_documented() -> None:
    text = documentation()
    missing = [key for key in known_keys() if f"`{key}`" not in text]
    assert not missing
    assert "model.name" in known_keys()
    assert Recipe().name


@pytest.mark.parametrize("folder", ["data/sources", "data/builders", "models", "models/tables", "studies"])
def test_every_part_is_documented(folder: str) -> None:
    text = documentation()
    assert parts.names(folder)
    assert [n for n in parts.names(folder) if f"`{n}`" not in text] == []


def test_every_recipe_opens_with_command_cost_and_score() -> None:
    for name in shipped():
        opening = (SOURCE / "recipes" / f"{name}.toml").read_text().split("\n\n")[0]
        for word in (f"estampa train", f"--recipe {name}", "Cost:", "Score:"):  # noqa: F541
            assert word in opening, f"recipes/{name}.toml: its first lines lack {word!r}"
        assert f"`{name}`" in documentation()


def test_rooms_have_tests_and_a_page() -> None:
    for room in sorted({room_of(p) for p in FILES} - {"__init__", "__main__"}):
        has_tests = (ROOT / "tests" / room).is_dir() or (ROOT / "tests" / f"test_{room}.py").is_file()
        assert has_tests, f"no tests for {room}"
    for room in sorted(p.name for p in SOURCE.iterdir() if p.is_dir() and p.name not in ("recipes", "__pycache__")):
        assert (ROOT / "docs" / f"{room}.md").is_file(), f"docs/{room}.md is missing"


HEAVY = ("torch", "timm", "sklearn", "pydantic", "scipy", "matplotlib", "onnxruntime", "h5py", "numpy", "PIL")


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys\n"
        "from estampa.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stderr.strip().endswith("[]")


def test_the_package_imports_nothing_heavy() -> None:
    program = f"import sys, estampa; print([m for m in {HEAVY!r} if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
