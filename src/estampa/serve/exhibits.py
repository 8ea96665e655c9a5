"""Pictures of a bundle that pages show: its presets, thumbnails of its training examples, and which lie nearest."""

from __future__ import annotations

from functools import cached_property, lru_cache
from weakref import WeakKeyDictionary

import numpy as np

from estampa.bundle.contract import InputContract
from estampa.bundle.presets import Presets
from estampa.bundle.store import Bundle
from estampa.page import display
from estampa.page.display import Shown
from estampa.serve.models import Version

NEAREST = 6  #: training examples beside an answer
EXAMPLES = 8  #: of each class on the model's page
_SIDE = 64  #: pixels of a thumbnail's longer side
_KEPT: WeakKeyDictionary[Bundle, Exhibits] = WeakKeyDictionary()


def exhibits(version: Version) -> Exhibits:
    """The exhibits of a version, made once for each bundle."""
    found = _KEPT.get(version.bundle)
    if found is None:
        found = _KEPT[version.bundle] = Exhibits(version.bundle, version.gallery, version.presets)
    return found


class Exhibits:
    """What a bundle has to show. Everything is made when it is first asked for, and kept."""

    def __init__(self, bundle: Bundle, gallery: dict[str, np.ndarray] | None, presets: Presets | None) -> None:
        self._gallery, self.presets = gallery, presets
        self._contract = None if bundle.of_table else bundle.pictures
        self._thumb = lru_cache(maxsize=512)(self._made)

    @property
    def labels(self) -> np.ndarray:
        """(m,) labels of the training examples; empty without a gallery."""
        return np.zeros(0, np.int64) if self._gallery is None else self._gallery["labels"]

    def thumb(self, place: int) -> Shown:
        """The training example at a place of the gallery."""
        return self._thumb(place)

    def _made(self, place: int) -> Shown:
        assert self._gallery is not None
        assert self._contract is not None
        return small(self._gallery["thumbnails"][place], self._contract)

    def exemplar(self, label: int) -> Shown | None:
        """The picture that is most typical of a class; None where the bundle has none."""
        if self._gallery is None or not 0 <= label < len(self._gallery["exemplar"]):
            return None
        place = int(self._gallery["exemplar"][label])
        return self.thumb(place) if place >= 0 else None

    def examples(self, label: int) -> list[Shown]:
        """Some training examples of a class."""
        return [self.thumb(int(i)) for i in np.flatnonzero(self.labels == label)[:EXAMPLES]]

    def nearest(self, embedding: np.ndarray) -> list[int]:
        """Places of the training examples whose embeddings lie nearest to (e,), the nearest first."""
        if self._gallery is None or self._gallery["embedding"].shape[1] != len(embedding):
            return []
        away = ((self._gallery["embedding"] - embedding) ** 2).sum(axis=1)
        return [int(i) for i in np.argsort(away, kind="stable")[:NEAREST]]

    @cached_property
    def preset_thumbs(self) -> list[Shown]:
        """A thumbnail of each preset; empty for tables, and where the bundle has none."""
        if self.presets is None or self.presets.images is None or self._contract is None:
            return []
        return [small(image, self._contract) for image in self.presets.images]


def small(image: np.ndarray, contract: InputContract) -> Shown:
    """A picture as one thumbnail, its channels side by side."""
    from PIL import Image

    colour = display.is_colour(image.shape[2], np.dtype(contract.dtype), contract.channels)
    parts = []
    for _, pixels in display.tiles(image, contract.channels, colour=colour):
        tile = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
        if max(tile.size) > _SIDE:
            tile.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
        parts.append(np.asarray(tile))
    return display.picture(np.concatenate(parts, axis=1), stretch="stored", colour=True)[0]


def large(image: np.ndarray, contract: InputContract) -> list[Shown]:
    """A picture as the model sees it: one tile for grey or colour, else one for each channel."""
    return display.picture(image, contract.channels)


def png(pixels: np.ndarray) -> Shown:
    """(h, w, 3) uint8 as it is."""
    return display.picture(pixels, stretch="stored", colour=True)[0]
