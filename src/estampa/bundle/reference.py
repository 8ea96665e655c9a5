"""What a bundle keeps of its data: a reference to watch against, what was held, and pictures to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from estampa.data.summary import describe

COMPONENTS = 8  #: of the embedding that are kept and logged
GALLERY = 1000  #: thumbnails at most
THUMBNAIL = 64  #: longest side of a thumbnail, pixels
_FLAG = "flag_"
_SEED = 20160318  #: of the projection; it is stored beside what it made


def projection(width: int) -> np.ndarray:
    """(width, 8) float32 with orthonormal columns: the Q of a seeded normal matrix (Stewart 1980, SIAM J. Numer.
    Anal. 17, 403: a uniformly random frame). Narrower embeddings keep all they have, with zero columns after.
    """
    draw = np.random.Generator(np.random.PCG64(_SEED)).standard_normal((width, min(width, COMPONENTS)))
    frame, upper = np.linalg.qr(draw)
    frame = frame * np.where(np.diag(upper) < 0, -1, 1)  # the sign that makes the factorisation unique
    return np.pad(frame, ((0, 0), (0, COMPONENTS - frame.shape[1]))).astype(np.float32)


def reference(
    images: np.ndarray, output: np.ndarray, labels: np.ndarray, embedding: np.ndarray
) -> dict[str, np.ndarray]:
    """The validation part as monitoring needs it: describe vector, output, label and 8 components per object."""
    frame = projection(embedding.shape[1])
    return {
        "describe": describe(images),
        "output": output.astype(np.float32),
        "labels": labels.astype(np.float32 if labels.dtype.kind == "f" else np.int64),
        "components": (embedding @ frame).astype(np.float32),
        "projection": frame,
    }


def reference_table(features: np.ndarray, output: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The same of a table: what describes an object are its prepared features (n, k), which are its embedding too."""
    frame = projection(features.shape[1])
    return {
        "describe": features.astype(np.float32),
        "output": output.astype(np.float32),
        "labels": labels.astype(np.int64),
        "components": (features @ frame).astype(np.float32),
        "projection": frame,
    }


def flagged(marks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`flag_NAME` (m,) uint8 for each flag that an answer may carry: which objects of the reference carry it."""
    return {f"{_FLAG}{name}": marked.astype(np.uint8) for name, marked in marks.items()}


def flags_of(kept: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Flag -> which objects of a reference carry it, (m,) bool; {} of a bundle from before they were kept."""
    return {name.removeprefix(_FLAG): kept[name] > 0 for name in kept if name.startswith(_FLAG)}


def group_codes(groups: np.ndarray | None) -> dict[str, np.ndarray]:
    """`groups` (m,) int64, the group of each object as a number: objects that were taken together (an exposure, a
    person) are alike, and a batch of them is less sure than as many of anywhere. {} where each stands for itself.
    """
    if groups is None:
        return {}
    names, codes = np.unique(groups, return_inverse=True)
    return {"groups": codes.astype(np.int64)} if len(names) < len(groups) else {}


def held(parts: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Ids and content hashes of each part, as `held.safetensors` keeps them; `unpack_ids` reads the ids back.

    `parts` maps a part's name to its ids (n,) str and hashes (n,) uint64.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, (ids, hashes) in parts.items():
        encoded = [str(i).encode() for i in ids]
        arrays[f"ids_{name}"] = np.frombuffer(b"".join(encoded), np.uint8)
        arrays[f"ends_{name}"] = np.cumsum([len(e) for e in encoded], dtype=np.int64)
        arrays[f"hashes_{name}"] = np.asarray(hashes, np.uint64)
    return arrays


def unpack_ids(arrays: Mapping[str, np.ndarray], part: str) -> np.ndarray:
    """The ids (n,) of one part, from the arrays of `held`."""
    text, ends = arrays[f"ids_{part}"].tobytes(), arrays[f"ends_{part}"].tolist()
    return np.array([text[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)], dtype=np.str_)


def gallery_rows(labels: np.ndarray, classes: int, seed: int = 0, most: int = GALLERY) -> np.ndarray:
    """Which rows (at most `most`) become thumbnails: as many of each class where there are enough, seeded."""
    draw = np.random.default_rng(seed)
    if not classes:
        return np.sort(draw.permutation(len(labels))[:most])
    shuffled = [draw.permutation(np.flatnonzero(labels == c)) for c in range(classes)]
    turn = np.concatenate([np.arange(len(s)) for s in shuffled])
    order = np.argsort(turn, kind="stable")  # one of each class in turn
    chosen: np.ndarray = np.sort(np.concatenate(shuffled)[order][:most])
    return chosen


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Pictures for people: (n, h, w, channels) uint8, side at most 64, linear between the 0.5 % and 99.5 % quantile
    of each picture and channel (8-bit pictures that fit are left as they are).
    """
    step = -(-max(images.shape[1:3]) // THUMBNAIL)
    small = images
    if step > 1:
        h, w = (images.shape[1] // step) * step, (images.shape[2] // step) * step
        cut = images[:, :h, :w].astype(np.float32)
        small = cut.reshape(len(images), h // step, step, w // step, step, -1).mean(axis=(2, 4))
    if images.dtype != np.uint8:
        x = np.where(np.isfinite(small), small, 0).astype(np.float64)
        low, high = np.quantile(x, (0.005, 0.995), axis=(1, 2), keepdims=True)
        small = 255 * (x - low) / np.maximum(high - low, 1e-12)
    pictures: np.ndarray = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    return pictures


def gallery(
    images: np.ndarray, labels: np.ndarray, ids: Sequence[str] | np.ndarray, embedding: np.ndarray, classes: int
) -> dict[str, np.ndarray]:
    """Thumbnails with embeddings, and each class's exemplar: the one nearest to the mean embedding of its class.

    `exemplar` (classes,) holds positions in the gallery, -1 where the class has none.
    """
    exemplar = np.full(classes, -1, np.int64)
    for c in range(classes):
        members = np.flatnonzero(labels == c)
        if len(members):
            away = ((embedding[members] - embedding[members].mean(axis=0)) ** 2).sum(axis=1)
            exemplar[c] = members[np.argmin(away)]
    packed = held({"gallery": (np.asarray(ids), np.zeros(len(images), np.uint64))})
    return {
        "thumbnails": thumbnails(images),
        "embedding": embedding.astype(np.float32),
        "labels": labels.astype(np.float32 if labels.dtype.kind == "f" else np.int64),
        "exemplar": exemplar,
        "ids_gallery": packed["ids_gallery"],
        "ends_gallery": packed["ends_gallery"],
    }
