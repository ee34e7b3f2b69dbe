"""Pairs of pictures, one to be turned into the other: pix2pix folders, and embedded scenes.

A file of such a folder holds both pictures side by side, A on the left and B on the right. The set
is read once into arrays of one size. As in pix2pix, pictures to train on are made larger than what
a network sees by 30 parts in 256, so that random crops can move; those to test on are not.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rgkit.data import FINGERPRINTS as IMAGES
from rgkit.data import Bytes, DataError, root
from rgkit.method.spec import nearest

# How many pairs are trained and tested on; the parts of pix2pix's folders are train and val.
# "maps-200" is the copy of maps that was measured: made smaller by WebP, with 200 of its val.
SIZES = {
    "maps": (1_096, 1_098),
    "maps-200": (1_096, 200),
    "facades": (400, 100),
    "cityscapes": (2_975, 500),
    "edges2shoes": (49_825, 200),
    "scenes": (600, 200),
}
FOLDERS = {name: name.removesuffix("-200") for name in SIZES if name != "scenes"}
NAMES = tuple(SIZES)
DIRECTIONS = ("a_to_b", "b_to_a")
# What A and B show, for the words of a page.
SHOWN = {
    "maps": ("aerial", "map"),
    "maps-200": ("aerial", "map"),
    "facades": ("photo", "labels"),
    "cityscapes": ("photo", "labels"),
    "edges2shoes": ("edges", "photo"),
    "scenes": ("picture", "labels"),
}
# Of the pixels of sets whose records are committed: a run's key is known where the data are not.
FINGERPRINTS = {"scenes": IMAGES["scenes"], "maps-200": "eb0a04b981b5843a"}


@dataclass(frozen=True)
class PairSet:
    """Pairs of pictures of one size, whole and in memory.

    Attributes
    ----------
    train_inputs, train_targets : uint8 [N, 3, size + 2 margin, size + 2 margin]
    test_inputs, test_targets : uint8 [N, 3, size, size]
    fingerprint : 16 hex digits that name the pixels of the files, whatever their order
    """

    name: str
    train_inputs: Bytes
    train_targets: Bytes
    test_inputs: Bytes
    test_targets: Bytes
    fingerprint: str


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
    a, b = SHOWN[name]
    return f"{a} → {b}" if direction == "a_to_b" else f"{b} → {a}"


def _files(name: str, folder: Path, split: str) -> list[Path]:
    place = folder / FOLDERS[name] / ("train" if split == "train" else "val")
    kinds = (".jpg", ".jpeg", ".png", ".webp")
    found = sorted(p for p in place.glob("*") if p.suffix.lower() in kinds and p.name[0] != ".")
    if not found:
        raise DataError(
            f"{place} has no pictures; unpack pix2pix's {FOLDERS[name]} there (train and val, "
            "both pictures of a pair side by side), under the folder that RGKIT_DATA names"
        )
    return found


def available(name: str) -> bool:
    """Say whether a set can be loaded here without a network.

    >>> available("scenes")
    True
    """
    try:
        counts = (
            [len(_files(name, root(), s)) for s in ("train", "test")] if name in FOLDERS else []
        )
    except (DataError, OSError):
        return False
    return name == "scenes" or tuple(counts) == SIZES.get(name)


def fingerprint(name: str) -> str:
    """Return what names the data of a set without reading their pixels.

    Where it is not known, it is made of the names and sizes of the files; "absent" without files.
    """
    return FINGERPRINTS.get(name) or _listing(name, root())


@functools.lru_cache
def _listing(name: str, folder: Path) -> str:
    try:
        said = [
            f"{split} {path.name} {path.stat().st_size}"
            for split in ("train", "test")
            for path in _files(name, folder, split)
        ]
    except (DataError, OSError):
        return "absent"
    return hashlib.sha256("\n".join(sorted(said)).encode()).hexdigest()[:16]


def _pair(path: Path) -> tuple[Image.Image, Image.Image]:
    try:
        with Image.open(path) as file:
            both = file.convert("RGB")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); copy the data set again") from error
    if both.width % 2:
        raise DataError(f"{path} is {both.width} pixels wide; a pair has two halves of one width")
    half = both.width // 2
    return both.crop((0, 0, half, both.height)), both.crop((half, 0, both.width, both.height))


def _split(files: list[Path], size: int, hashes: list[bytes]) -> tuple[Bytes, Bytes]:
    """Read A and B of all files, in an order that depends on their pixels alone."""
    rows: list[tuple[bytes, Bytes, Bytes]] = []
    for path in files:
        pair = _pair(path)
        digest = hashlib.sha256(b"".join(half.tobytes() for half in pair)).digest()
        # Bicubic, as in pix2pix; Pillow takes the mean of what is made smaller.
        small = [half.resize((size, size), Image.Resampling.BICUBIC) for half in pair]
        a, b = (np.asarray(half).transpose(2, 0, 1) for half in small)
        rows.append((digest, a, b))
    rows.sort(key=lambda row: row[0])
    hashes.append(hashlib.sha256(b"".join(row[0] for row in rows)).digest())
    return np.stack([row[1] for row in rows]), np.stack([row[2] for row in rows])


@functools.lru_cache(maxsize=2)
def _load(name: str, size: int, margin: int, folder: Path) -> PairSet:
    files = [_files(name, folder, split) for split in ("train", "test")]
    counts = len(files[0]), len(files[1])
    if counts != SIZES[name]:
        have, want = (f"{a:,} to train on and {b:,} to test on" for a, b in (counts, SIZES[name]))
        fits = [n for n, f in FOLDERS.items() if f == FOLDERS[name] and SIZES[n] == counts]
        hint = f"name it as what it is: data={fits[0]!r}" if fits else "copy the data set again"
        raise DataError(f"{name}: {have} are here, the set has {want}; {hint}")
    hashes = list[bytes]()
    train = _split(files[0], size + 2 * margin, hashes)
    test = _split(files[1], size, hashes)
    found = hashlib.sha256(b"".join(hashes)).hexdigest()[:16]
    if found != FINGERPRINTS.get(name, found):
        raise DataError(
            f"{name}: the pixels have fingerprint {found}, those that were measured "
            f"{FINGERPRINTS[name]}; copy the data set again"
        )
    return PairSet(name, *train, *test, found)


@functools.lru_cache(maxsize=2)
def _scenes(size: int, margin: int) -> PairSet:
    """Embedded scenes, drawn at the size that is wanted: A is the picture, B its label map."""
    from rgkit.data.scenes import scenes

    train = scenes(SIZES["scenes"][0], size + 2 * margin, split="train")
    test = scenes(SIZES["scenes"][1], size, split="test")
    parts = train.images, train.maps, test.images, test.maps
    return PairSet("scenes", *parts, FINGERPRINTS["scenes"])


def load(name: str, size: int, margin: int = 0, direction: str = "a_to_b") -> PairSet:
    """Load a set by name, at a size.

    Parameters
    ----------
    name : maps, maps-200, facades, cityscapes, edges2shoes, or scenes, which is embedded
    size : height and width of what a network sees
    margin : real pixels beyond that on each side of what is trained on, for random crops
    direction : "a_to_b" makes the right picture from the left one, "b_to_a" the left from the right

    Raises
    ------
    DataError
        Names the folder without pictures or the file that cannot be read, and what would do.

    Examples
    --------
    >>> found = load("scenes", 32, 2, "b_to_a")
    >>> found.train_inputs.shape, found.test_targets.shape
    ((600, 3, 36, 36), (200, 3, 32, 32))
    """
    if name not in NAMES:
        raise DataError(f"unknown data set {name!r}{nearest(name, list(NAMES))}")
    if direction not in DIRECTIONS:
        raise DataError(f"direction={direction!r} given{nearest(direction, list(DIRECTIONS))}")
    if size < 8 or margin < 0:
        raise DataError(f"size={size}, margin={margin} given; 8 or more, and 0 or more")
    if name == "scenes" and not (size >= 16 and size + 2 * margin <= 256):
        raise DataError(f"size={size}, margin={margin} given; scenes have 16 to 256 pixels in all")
    found = _scenes(size, margin) if name == "scenes" else _load(name, size, margin, root())
    if direction == "a_to_b":
        return found
    swapped = found.train_targets, found.train_inputs, found.test_targets, found.test_inputs
    return PairSet(name, *swapped, found.fingerprint)
