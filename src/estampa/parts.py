"""The folder is the registry: the file `models/x.py` IS the model x.

A name is looked up in the folder's listing before anything is imported, so a name that comes from a file (a
recipe, a bundle) can never import something else.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from estampa.errors import InputError, nearest

_ROOT = Path(__file__).parent


def names(folder: str) -> list[str]:
    """Names of the parts in `folder` ("models", "data/sources", ...), sorted. Files that begin with _ are not parts."""
    return sorted(p.stem for p in (_ROOT / folder).glob("*.py") if not p.stem.startswith("_"))


def load(folder: str, name: str) -> ModuleType:
    """Import the part `name` of `folder`; raises InputError, with the nearest real name, when there is none."""
    known = names(folder)
    if name not in known:
        raise InputError(f"unknown name {name!r}", where=folder, allowed=", ".join(known), cure=nearest(name, known))
    return importlib.import_module(f"estampa.{folder.replace('/', '.')}.{name}")
