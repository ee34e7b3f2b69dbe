"""Pictures with a class for every pixel: CamVid, Pascal VOC 2012, Cityscapes, embedded scenes.

A set is read once into two arrays of one size. CamVid and Cityscapes are street scenes and are
made smaller as a whole; the pictures of VOC differ in size and are cut, or filled with void, around
their centre, as RG's published code does. Of those, `margin` more pixels can be kept on each side
of what a network sees, so that random crops can move.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rgkit.data import Bytes, DataError, root
from rgkit.data.layouts import FINGERPRINTS, IMAGENET, LAYOUTS, SIZES, Layout, Pair
from rgkit.data.scenes import VOID
from rgkit.method.spec import nearest

NAMES = (*LAYOUTS, "scenes")


@dataclass(frozen=True)
class MaskSet:
    """Pictures and masks of one size, whole and in memory.

    Attributes
    ----------
    train_images, test_images : uint8 [N, 3, height + 2 margin, width + 2 margin]
    train_masks, test_masks : uint8 [N, height + 2 margin, width + 2 margin], from 0 to classes - 1,
        or 255 for void
    classes : their names
    margin : how many pixels there are beyond what a network sees
    mean, std : per channel, of pixels scaled to 0..1
    fingerprint : 16 hex digits that name the pixels of the files, whatever their order
    """

    name: str
    train_images: Bytes
    train_masks: Bytes
    test_images: Bytes
    test_masks: Bytes
    classes: tuple[str, ...]
    margin: int
    fingerprint: str
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError:
        raise DataError(f"{path} is not there; copy the data set again") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); copy the data set again") from error
    return image


def _classes_of(mask: NDArray[np.uint8], layout: Layout, path: Path) -> NDArray[np.uint8]:
    """Give the labels their place in the order of the classes, and void 255."""
    ids = layout.ids or tuple(range(len(layout.classes)))
    table = np.full(256, 254, np.uint8)  # 254 is what no set has
    table[list(ids)] = np.arange(len(ids))
    table[[VOID, *layout.void]] = VOID
    if layout.ids:  # all other numbers of such a set are void
        table[table == 254] = VOID
    labels = table[mask]
    if (labels == 254).any():
        odd = int(mask[labels == 254][0])
        raise DataError(
            f"{path} has the label {odd}; this set has 0 to {len(ids) - 1}, and {VOID} for void"
        )
    return labels


def _read(pair: Pair, layout: Layout) -> tuple[Image.Image, Image.Image]:
    """Return a picture and its mask of the same size, as they are in their files."""
    picture, mask = _open(pair[0]).convert("RGB"), _open(pair[1])
    if picture.size != mask.size:
        sizes = " and ".join(f"{w}x{h}" for w, h in (picture.size, mask.size))
        raise DataError(f"{pair[0].name} and its mask {pair[1]} differ in size: {sizes}")
    if mask.mode not in ("L", "P"):
        raise DataError(f"{pair[1]} has the mode {mask.mode}; a mask has one number a pixel")
    return picture, Image.fromarray(_classes_of(np.asarray(mask), layout, pair[1]))


def fit(
    image: Image.Image, mask: Image.Image, height: int, width: int, whole: bool
) -> tuple[Bytes, Bytes]:
    """Bring a picture and its mask to one size, together.

    Parameters
    ----------
    whole : made smaller as a whole, the mask by its nearest pixels; else cut around the centre,
        and where it is too small filled with black and void

    Returns
    -------
    uint8 [3, height, width] and [height, width]
    """
    if whole:
        size = (width, height)
        image = image.resize(size, Image.Resampling.BILINEAR)
        mask = mask.resize(size, Image.Resampling.NEAREST)
    else:
        left, top = (image.width - width) // 2, (image.height - height) // 2
        box = (left, top, left + width, top + height)
        # Beyond the rim crop() gives zeros; so void is zero while the mask is cut.
        image = image.crop(box)
        mask = mask.point(lambda value: (value + 1) % 256).crop(box)
        mask = mask.point(lambda value: (value - 1) % 256)
    return np.asarray(image).transpose(2, 0, 1), np.asarray(mask)


def _split(
    pairs: list[Pair], layout: Layout, height: int, width: int, hashes: list[bytes]
) -> tuple[Bytes, Bytes]:
    """Read all pairs of a split, in an order that depends on their pixels alone."""
    rows: list[tuple[bytes, Bytes, Bytes]] = []
    for pair in pairs:
        picture, mask = _read(pair, layout)
        digest = hashlib.sha256(picture.tobytes() + mask.tobytes()).digest()
        rows.append((digest, *fit(picture, mask, height, width, bool(layout.wide))))
    rows.sort(key=lambda row: row[0])
    hashes.append(hashlib.sha256(b"".join(row[0] for row in rows)).digest())
    return np.stack([row[1] for row in rows]), np.stack([row[2] for row in rows])


def _others(name: str) -> str:
    """Name what else the files may be: a set of the same layout."""
    stem = name.partition("-")[0]
    others = [other for other in LAYOUTS if other.partition("-")[0] == stem and other != name]
    again = "copy the data set again"
    return f"{again}, or name it as what it is: data={others[0]!r}" if others else again


@functools.lru_cache(maxsize=2)
def _load(name: str, size: int, margin: int, folder: Path) -> MaskSet:
    layout, hashes = LAYOUTS[name], list[bytes]()
    # What is made smaller as a whole has nothing beyond its rim.
    margin = 0 if layout.wide else margin
    height = size + 2 * margin
    width = round(size * layout.wide / 8) * 8 if layout.wide else height
    train, test = (
        _split(layout.pairs(folder, split), layout, height, width, hashes)
        for split in ("train", "test")
    )
    counts, whole = (len(train[1]), len(test[1])), SIZES[name]
    if counts != whole:
        have, want = (f"{a:,} to train on and {b:,} to test on" for a, b in (counts, whole))
        raise DataError(f"{name}: {have} are here, the set has {want}; {_others(name)}")
    fingerprint = hashlib.sha256(b"".join(hashes)).hexdigest()[:16]
    if fingerprint != FINGERPRINTS.get(name, fingerprint):
        raise DataError(
            f"{name}: the pixels have fingerprint {fingerprint}, those that were measured "
            f"{FINGERPRINTS[name]}; {_others(name)}"
        )
    return MaskSet(name, *train, *test, layout.classes, margin, fingerprint)


@functools.lru_cache(maxsize=2)
def _scenes(size: int) -> MaskSet:
    """Embedded scenes; their fingerprint names the scenes, whatever the size."""
    from rgkit.data.scenes import CLASSES, scenes

    train, test = scenes(600, size, split="train"), scenes(200, size, split="test")
    parts = train.images, train.masks, test.images, test.masks
    return MaskSet("scenes", *parts, ("background", *CLASSES), 0, FINGERPRINTS["scenes"])


def load(name: str, size: int, margin: int = 0) -> MaskSet:
    """Load a set by name, at a size.

    Parameters
    ----------
    name : camvid, voc2012, cityscapes, or scenes, which is embedded
    size : height of what a network sees; the width follows from the set
    margin : real pixels beyond that on each side, for random crops; only pictures that are cut
        have them, see `MaskSet.margin`

    Raises
    ------
    DataError
        Names the file that is missing, cannot be read, differs in size from its picture, or has a
        label that the set does not have.

    Examples
    --------
    >>> found = load("scenes", 32)
    >>> found.train_images.shape, found.train_masks.shape, len(found.classes)
    ((600, 3, 32, 32), (600, 32, 32), 11)
    """
    if name not in NAMES:
        raise DataError(f"unknown data set {name!r}{nearest(name, list(NAMES))}")
    if size < 8 or margin < 0:
        raise DataError(f"size={size}, margin={margin} given; 8 or more, and 0 or more")
    return _scenes(size) if name == "scenes" else _load(name, size, margin, root())
