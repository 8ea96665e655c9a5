"""Write the generated pages: docs/cli.md from the verbs' own help, docs/recipe.md from the records' own comments.

python docs/make_reference.py            write them
python docs/make_reference.py --check    exit 1 when a page is not what would be written
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src" / "estampa"

CLI = """# The command line

Results go to stdout, everything else to stderr. `--json` prints one JSON object on stdout and nothing else there. Exit codes: 0 ok, 1 failure,
2 wrong use or wrong data (one message, no traceback), 3 a check failed (a leak, a `--require` gate), 130 interrupted with the work saved: the
same command goes on where it stopped. `NO_COLOR` is honoured. Every recipe key can be set by `ESTAMPA_<STAGE>_<KEY>`; a flag is stronger.

*This page is written by `python docs/make_reference.py` from the verbs' own help.*
"""
RECIPE = """# Recipes

A recipe says how a model is made, whole, in TOML. Only what differs from the defaults need be written; the copy in a run folder (`recipe.toml`) has
every key. Strongest first: a flag, the environment (`ESTAMPA_TRAIN_EPOCHS=3`), the file, what the data say (`"auto"`). An unknown key is refused
with the nearest real one. `estampa train DATA --set stage.key=value` sets any of them.

*This page is written by `python docs/make_reference.py` from `src/estampa/recipe.py`, `src/estampa/models/` and `src/estampa/recipes/`.*
"""


def cli_page() -> str:
    from estampa.cli import VERBS

    text = CLI
    environment = {**os.environ, "COLUMNS": "110", "NO_COLOR": "1", "TERM": "dumb"}
    for verb in VERBS:
        words = [sys.executable, "-m", "estampa", verb, "--help"]
        help_text = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout
        lines = [line.rstrip() for line in help_text.strip().splitlines()]
        text += f"\n## `estampa {verb}`\n\n```text\n" + "\n".join(lines) + "\n```\n"
    return text


def records(module: str) -> list[tuple[str, str, list[tuple[str, str, str, str]]]]:
    """(class, docstring, [(key, type, default, meaning)]) of the pydantic records that a module defines.

    Keys and defaults are those of the imported class; type and meaning (the `#:` comment) are read in its source.
    """
    loaded = importlib.import_module(module)
    source = Path(str(loaded.__file__)).read_text()
    names = aliases((SOURCE / "recipe.py").read_text()) | aliases(source)
    found = []
    for node in ast.parse(source).body:
        kind = getattr(loaded, node.name) if isinstance(node, ast.ClassDef) else None
        if not (isinstance(node, ast.ClassDef) and isinstance(kind, type) and issubclass(kind, BaseModel)):
            continue
        keys = []
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                key = part.target.id
                default = kind.model_fields[key].get_default(call_default_factory=True)
                allowed = " ".join(str(ast.get_source_segment(source, part.annotation)).split())
                for name, meant in names.items():
                    allowed = re.sub(rf"\b{name}\b", meant, allowed)
                keys.append((key, allowed, spelled(default), comment(source, part)))
        found.append((node.name, " ".join((kind.__doc__ or "").split()), keys))
    return found


def aliases(source: str) -> dict[str, str]:
    """Names that a module gives to types (Share, Count), and what they stand for."""
    return {
        node.targets[0].id: str(ast.get_source_segment(source, node.value))
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and re.match(r"(Annotated|Literal)\[", str(ast.get_source_segment(source, node.value)))
    }


def spelled(default: object) -> str:
    """A default as one would write it: texts in double quotes."""
    return json.dumps(default, ensure_ascii=False) if isinstance(default, str) else repr(default)


def comment(source: str, node: ast.AnnAssign) -> str:
    """The `#:` comment in a field's lines, or in the lines right above it."""
    lines = source.splitlines()
    own = lines[node.lineno - 1 : node.end_lineno]
    first = node.lineno - 1
    while lines[first - 1].lstrip().startswith("#:"):
        first -= 1
    said = [line.partition("#:")[2].strip() for line in [*lines[first : node.lineno - 1], *own] if "#:" in line]
    return " ".join(said)


def key_table(stage: str, keys: list[tuple[str, str, str, str]]) -> str:
    rows = ["| key | allowed | default | meaning |", "| --- | --- | --- | --- |"]
    for key, kind, default, meaning in keys:
        allowed = re.sub(r"Annotated\[(\w+), Field\((.*?)\)\]", r"\1 (\2)", kind).replace("|", "or")
        allowed = re.sub(r"Literal\[(.*?)\]", lambda m: m[1].replace(",", ""), allowed)
        rows.append(f"| `{stage}{key}` | {allowed} | `{default}` | {meaning} |")
    return "\n".join(rows) + "\n"


def recipe_page() -> str:
    text = RECIPE
    stages = {
        "DataRecipe": "data",
        "PrepareRecipe": "prepare",
        "TrainRecipe": "train",
        "EvaluateRecipe": "evaluate",
        "SearchRecipe": "search",
        "FewRecipe": "few",
    }
    found = {name: (about, keys) for name, about, keys in records("estampa.recipe")}
    text += "\n## Top\n\n| key | meaning |\n| --- | --- |\n| `name` | the recipe's name, part of the run folder's |\n| `about` | one line on what it is |\n"
    for name, stage in stages.items():
        about, keys = found[name]
        text += f"\n## `[{stage}]`\n\n{about}\n\n" + key_table(f"{stage}.", keys)
        if stage == "prepare":
            text += "\n## `[model]`\n\n`model.name` is a file of `models/`, or `auto`; the other keys are that model's own.\n"
            for path in sorted((SOURCE / "models").glob("[a-z]*.py")):
                for _, own, own_keys in records(f"estampa.models.{path.stem}"):
                    text += f"\n### `{path.stem}`\n\n{own}\n\n" + key_table("model.", own_keys)
    text += "\n## Shipped recipes\n"
    for path in sorted((SOURCE / "recipes").glob("*.toml")):
        opening = [line.lstrip("# ") for line in path.read_text().split("\n\n")[0].splitlines()]
        text += f"\n### `{path.stem}`\n\n```text\n" + "\n".join(opening) + "\n```\n"
    return text


def main() -> int:
    stale = []
    for name, content in (("cli.md", cli_page()), ("recipe.md", recipe_page())):
        path = DOCS / name
        if "--check" in sys.argv:
            if not path.is_file() or path.read_text() != content:
                stale.append(name)
        else:
            path.write_text(content)
    if stale:
        print(f"stale: {', '.join(stale)}. Run: python docs/make_reference.py", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
