"""Which picture is which row: from folders per class, or from a manifest."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from unicodedata import normalize

import numpy as np

from estampa.data.record import PARTS
from estampa.data.sources._base import ReadOptions
from estampa.data.sources._labels import NO_ANSWERS, Answers, encode, from_texts, part_of, require_unique
from estampa.data.sources._picture import SUFFIXES
from estampa.data.sources._store import ARCHIVES, Folder, Store, open_store
from estampa.data.sources._tables import (
    GROUP_COLUMNS,
    Measured,
    Table,
    answer_of,
    heading,
    measured,
    read_table,
    roles_taken,
    split_of,
)
from estampa.errors import SourceError
from estampa.plain import numbered

FILE_COLUMNS = ("file", "filename", "path", "image", "imagepath", "picture")
MANIFEST_IDS = ("id", "ids")
OTHER_FILES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz", ".avro")  #: read by other sources
_PEEK = 1 << 16  # bytes of a manifest's first row


@dataclass
class Plan:
    """Rows of a set of pictures, before any is decoded."""

    store: Store
    names: list[str]  #: name in the store, per row
    ids: np.ndarray
    answers: Answers
    groups: np.ndarray | None = None
    split: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)
    table: Path | None = None  #: the manifest
    beside: Measured | None = None  #: its columns of numbers


def find_manifest(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Path | None:
    """The table in `folder` that names files with those suffixes: labels.csv or manifest.csv first, else the only one.

    Raises SourceError when two of them do.
    """
    tables = sorted(p for p in folder.glob("*.csv") if not p.name.startswith("."))
    fitting = [t for t in tables if names_files(t, suffixes)]
    named = [t for t in fitting if t.name.lower() in ("labels.csv", "manifest.csv")]
    if len(named or fitting) > 1:
        raise SourceError(
            f"more than one table names {'picture ' if suffixes == SUFFIXES else ''}files",
            where=folder,
            got=", ".join(t.name for t in fitting),
            cure="Give the one that is meant as the path",
        )
    return next(iter(named or fitting), None)


def names_files(table: Path, suffixes: tuple[str, ...] = SUFFIXES) -> bool:
    """Whether a table has a column of file names, and the first of them is a file of that kind.

    A name without any known suffix is a picture's: those are looked for with each suffix in turn. Arrays in .npy files
    are read by the source `table`.
    """
    at = file_column(heading(table))
    if not at:
        return False
    with table.open(encoding="utf-8-sig", errors="replace") as stream:
        stream.readline()
        first = re.split(r"[,;\t\s\"']+", stream.readline(_PEEK).lower())
    if suffixes != SUFFIXES:
        return any(word.endswith(suffixes) for word in first)
    return not any(word.endswith((".npy", *OTHER_FILES)) for word in first)


def file_column(names: Sequence[str]) -> str:
    """The one of a table's column names that says that it holds names of files, or ""."""
    lower = {name.strip().lower().replace("_", ""): name for name in reversed(names)}
    return next((lower[known] for known in FILE_COLUMNS if known in lower), "")


def from_manifest(path: Path, options: ReadOptions, given: Table | None = None, store: Store | None = None) -> Plan:
    """Rows of a manifest (read already where `given`), in its order; files are those of `store`, else beside it.

    A line whose file is missing stays, and is rejected when it is read.

    Columns, case aside: `file | filename | path | image`; `--label` or `label | class | y | target`; `--group` or
    `group | drawer | objectid`; `split`; `id` (else the file's name is the id). Other columns of numbers go to the
    table.
    """
    table = given or read_table(path)
    column = file_column(list(table.columns))
    if not column:
        raise SourceError(
            "no column names the pictures' files",
            where=path,
            allowed=", ".join(FILE_COLUMNS),
            got=", ".join(table.columns),
        )
    if table.n == 0:
        raise SourceError("no rows", where=path)
    store = store or open_store(pictures_of(path))
    named = table.columns[column]
    require_inside(named, path)
    names = _resolved(named, store)
    stored = set(store.names)
    missing = len(set(names) - stored)
    if missing == len(set(names)):
        raise SourceError(
            "none of the named files is there",
            where=path,
            got=repr(named[0]),
            cure=f"They are looked for in {store.path}",
        )
    plan = Plan(store, names, _manifest_ids(table, named), _manifest_answers(table, options), table=path)
    group = table.find(GROUP_COLUMNS, options.group)
    if group and (options.group or len(set(table.columns[group])) < table.n):
        plan.groups = np.array(table.columns[group])
    plan.split = split_of(table)
    taken = {*roles_taken(table, options.label, options.group), column}
    plan.beside = measured(table, taken, answer_of(table, options.label))
    plan.notes += plan.beside.notes
    unnamed = len(stored - set(names))
    if unnamed:
        kind = "picture" if store.suffixes == SUFFIXES else "file"
        plan.notes.append(f"{numbered(unnamed, kind)} not named in {path.name}: left out")
    return plan


def require_inside(named: Sequence[str], where: Path) -> None:
    """Refuse names of files that are absolute or climb out of the manifest's folder."""
    for row, name in enumerate(named):
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or name[1:2] == ":":
            raise SourceError(f"row {row} names a file outside of the folder: {name!r}", where=where)


def pictures_of(manifest: Path) -> Path:
    """The one archive beside the manifest, else its folder."""
    archives = sorted(p for p in manifest.parent.iterdir() if p.suffix.lower() in ARCHIVES)
    if len(archives) > 1:
        alike = [a for a in archives if a.stem in (manifest.stem, "images", "pictures")]
        if len(alike) != 1:
            raise SourceError(
                "more than one archive beside the manifest", where=manifest, got=", ".join(a.name for a in archives)
            )
        archives = alike
    return archives[0] if archives else manifest.parent


def _resolved(named: Sequence[str], store: Store) -> list[str]:
    """Names in the store: as they stand, else within its only folder, else with a picture's suffix."""
    known = set(store.names)
    tops = {name.split("/", 1)[0] for name in store.names if "/" in name}
    prefixes = ["", *(f"{top}/" for top in (tops if len(tops) == 1 else {"images"} & tops))]

    def find(name: str) -> str:
        clean = "/".join(PurePosixPath(name.replace("\\", "/")).parts)
        tries = (prefix + clean + suffix for prefix in prefixes for suffix in ("", *store.suffixes))
        return next((t for t in tries if t in known), clean)

    return [find(name) for name in named]


def _manifest_ids(table: Table, named: Sequence[str]) -> np.ndarray:
    column = table.find(MANIFEST_IDS)
    if column:
        return require_unique(np.array(table.columns[column]), f"{table.path}, column {column!r}")
    return require_unique(np.array(named), table.path)


def _manifest_answers(table: Table, options: ReadOptions) -> Answers:
    replay = options.record is not None
    if not replay:
        table.find((), options.label)  # one that is asked for and not there is told with the nearest
    column = answer_of(table, options.label)
    if not column:
        return NO_ANSWERS
    return from_texts(table.columns[column], options.classes, f"{table.path}, column {column!r}", replay)


def from_folders(store: Store, options: ReadOptions) -> Plan:
    """Rows of a folder per class, train / val / test above them honoured; pictures without a class are unlabelled.

    Classes are the union over the parts, so a class that is missing in one part moves no index.
    """
    if options.label or options.group:
        flag = "--label" if options.label else "--group"
        raise SourceError(
            f"{flag} names a column, and a folder per class has none",
            where=store.path,
            cure="Write a manifest: a CSV with the columns file, label and group beside the pictures",
        )
    names = store.names
    if not names:
        raise SourceError("no pictures", where=store.path, allowed=", ".join(store.suffixes))
    paths, stripped = _without_common_top([name.split("/") for name in names])
    split = _published_parts(paths, store.path)
    if split is not None:
        paths = [p[1:] for p in paths]
    # One name in one form: "gató" may be stored with its accent apart (macOS), and is the same class.
    folders = np.array([normalize("NFC", p[0]) if len(p) > 1 else "" for p in paths])
    answers, replay = NO_ANSWERS, options.record is not None
    if (folders != "").any():
        classes = [normalize("NFC", name) for name in options.classes]
        answers = encode(folders, classes, store.path, lenient=replay, missing=("",))
    plan = Plan(store, names, np.array(names), answers, split=split)
    plan.notes += [f"pictures are below {'/'.join(stripped)}/"] if stripped else []
    plan.notes += _folder_notes(answers, folders, split)
    files = getattr(store, "store", store)  # of objects of several files: where those lie
    if isinstance(files, Folder):
        plan.notes += _passed_over(files, len(stripped), split is not None, () if replay else {*folders.tolist()})
    return plan


def _passed_over(store: Folder, depth: int, parted: bool, classes: Collection[str]) -> list[str]:
    """What a person may miss: folders that make no class, for want of pictures, and files that are not read."""
    notes = []
    if classes:
        inside = [p.split("/")[:-1][depth:] for p in store.bare]
        inside = [p[1:] if parted and p and part_of(p[0]) is not None else p for p in inside]
        empty = sorted({p[0] for p in inside if len(p) == 1} - {normalize("NFC", name) for name in classes})
        if empty:
            notes.append(f"no pictures in {', '.join(empty)}: no class is made of an empty folder")
    if store.unread:
        kinds = ", ".join(sorted(store.unread))
        notes.append(f"{numbered(store.unread.total(), 'file')} of kinds that are not read ({kinds}) left out")
    return notes


def _without_common_top(paths: list[list[str]]) -> tuple[list[list[str]], list[str]]:
    """Strip folders that hold everything, as archives often have; a single folder of pictures stays, as the class."""
    stripped: list[str] = []
    while min(map(len, paths)) > 2 and len({p[0] for p in paths}) == 1 and part_of(paths[0][0]) is None:
        stripped.append(paths[0][0])
        paths = [p[1:] for p in paths]
    return paths, stripped


def _published_parts(paths: list[list[str]], where: Path) -> np.ndarray | None:
    """Part numbers when the top folders are train / val / test; None when they are classes."""
    tops = {p[0] if len(p) > 1 else "" for p in paths}
    known = {top for top in tops if part_of(top) is not None}
    if PARTS.index("train") not in {part_of(top) for top in known} or len(known) < 2:
        return None
    if known != tops:
        raise SourceError(
            "folders of parts and other pictures stand side by side",
            where=where,
            got=", ".join(sorted(t or "(no folder)" for t in tops)),
            cure="Move what is neither train, validation nor test elsewhere",
        )
    return np.array([part_of(p[0]) for p in paths], np.uint8)


def _folder_notes(answers: Answers, folders: np.ndarray, split: np.ndarray | None) -> list[str]:
    notes = []
    if answers.values is None:
        return ["no folders of classes: unlabelled"]
    bare = int((answers.values == -1).sum()) - answers.strange
    notes += [f"{numbered(bare, 'picture')} in no folder of a class: unlabelled"] if bare else []
    if answers.strange:
        strange = ", ".join(sorted({*folders.tolist()} - {"", *answers.classes}))
        notes.append(f"{numbered(answers.strange, 'picture')} in folders that are no class of the model: {strange}")
    if split is not None:
        for number in sorted(set(split.tolist())):
            there = set(answers.values[split == number].tolist())
            absent = [name for i, name in enumerate(answers.classes) if i not in there]
            notes += [f"the {PARTS[number]} part has no {', '.join(absent)}"] if absent and there != {-1} else []
    return notes
