"""Pairs of pictures, one to be turned into the other: pix2pix folders, and embedded scenes.

A file of such a folder holds both pictures side by side, A on the left and B on the right. The set
is read once into arrays of one size. As in pix2pix, pictures to train on are made larger than what
a network sees by 30 parts in 256, so that random crops can move; those to test on are not.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from rgkit.data import scenes
from rgkit.data.source import (
    DataError,
    Dataset,
    Item,
    Row,
    Source,
    Split,
    named,
    opened,
    read,
    root,
)
from rgkit.method.spec import nearest

DIRECTIONS = ("a_to_b", "b_to_a")
KINDS = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Paired(Source):
    """A set of pairs; `shown` says in words what A and B show."""

    shown: tuple[str, str] = ("", "")


def _folder(name: str, folder: Path, split: str) -> list[Item]:
    """pix2pix's layout: the parts of a folder are train and val."""
    place = folder / name / ("train" if split == "train" else "val")
    found = sorted(p for p in place.glob("*") if p.suffix.lower() in KINDS and p.name[0] != ".")
    if not found:
        raise DataError(
            f"{place} has no pictures; unpack pix2pix's {name} there (train and val, "
            "both pictures of a pair side by side), under the folder that RGKIT_DATA names"
        )
    return [(path,) for path in found]


def _pix2pix(name: str, sizes: tuple[int, int], *shown: str) -> Paired:
    return Paired(sizes, files=functools.partial(_folder, name), shown=(shown[0], shown[1]))


_MAPS = _pix2pix("maps", (1_096, 1_098), "aerial", "map")
# "maps-200" is the copy of maps that was measured: made smaller by WebP, with 200 of its val.
SOURCES = {
    "maps": _MAPS,
    "maps-200": replace(_MAPS, sizes=(1_096, 200), known="eb0a04b981b5843a"),
    "facades": _pix2pix("facades", (400, 100), "photo", "labels"),
    "cityscapes": _pix2pix("cityscapes", (2_975, 500), "photo", "labels"),
    "edges2shoes": _pix2pix("edges2shoes", (49_825, 200), "edges", "photo"),
    "scenes": Paired((600, 200), (), scenes.FINGERPRINT, True, shown=("picture", "labels")),
}


def margin_of(size: int) -> int:
    """Return how many pixels there are on each side for random crops: 286 are cut to 256.

    >>> margin_of(256), margin_of(64)
    (15, 4)
    """
    return round(15 * size / 256)


def words(name: str, direction: str) -> str:
    """Return what is made from what.

    >>> words("maps", "b_to_a")
    'map → aerial'
    """
    a, b = SOURCES[name].shown
    return f"{a} → {b}" if direction == "a_to_b" else f"{b} → {a}"


def _pair(path: Path) -> tuple[Image.Image, Image.Image]:
    both = opened(path).convert("RGB")
    if both.width % 2:
        raise DataError(f"{path} is {both.width} pixels wide; a pair has two halves of one width")
    half = both.width // 2
    return both.crop((0, 0, half, both.height)), both.crop((half, 0, both.width, both.height))


@functools.lru_cache(maxsize=2)
def _load(name: str, size: int, margin: int, folder: Path) -> Dataset:
    source = SOURCES[name]
    if source.embedded:  # drawn at the size that is wanted
        splits = scenes.drawn(source.sizes, "maps", size, margin)
        return Dataset(source, *splits, source.known)

    def one(item: Item, split: str) -> Row:
        pair, side = _pair(item[0]), size + (2 * margin if split == "train" else 0)
        digest = hashlib.sha256(b"".join(half.tobytes() for half in pair)).digest()
        # Bicubic, as in pix2pix; Pillow takes the mean of what is made smaller.
        small = [half.resize((side, side), Image.Resampling.BICUBIC) for half in pair]
        a, b = (np.asarray(half).transpose(2, 0, 1) for half in small)
        return digest, a, b

    return read(SOURCES, name, folder, one)


def load(name: str, size: int, margin: int = 0, direction: str = "a_to_b") -> Dataset:
    """Load a set by name, at a size.

    Parameters
    ----------
    name : maps, maps-200, facades, cityscapes, edges2shoes, or scenes, which is embedded
    size : height and width of what a network sees
    margin : real pixels beyond that on each side of what is trained on, for random crops
    direction : "a_to_b" makes the right picture from the left one, "b_to_a" the left from the right

    Returns
    -------
    of each pair the input and the picture to be made of it, both uint8 [N, 3, side, side]; the side
    is size + 2 margin for those to train on, and size for those to test on

    Raises
    ------
    DataError
        Names the folder without pictures or the file that cannot be read, and what would do.

    Examples
    --------
    >>> found = load("scenes", 32, 2, "b_to_a")
    >>> found.train.images.shape, found.test.targets.shape
    ((600, 3, 36, 36), (200, 3, 32, 32))
    """
    named(SOURCES, name)
    if direction not in DIRECTIONS:
        raise DataError(f"direction={direction!r} given{nearest(direction, list(DIRECTIONS))}")
    if size < 8 or margin < 0:
        raise DataError(f"size={size}, margin={margin} given; 8 or more, and 0 or more")
    if name == "scenes" and not (size >= 16 and size + 2 * margin <= 256):
        raise DataError(f"size={size}, margin={margin} given; scenes have 16 to 256 pixels in all")
    found = _load(name, size, margin, root())
    if direction == "a_to_b":
        return found
    train, test = (Split(part.targets, part.images) for part in (found.train, found.test))
    return replace(found, train=train, test=test)
