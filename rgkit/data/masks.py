"""Pictures with a class for every pixel: CamVid, Pascal VOC 2012, Cityscapes, embedded scenes.

A set is read once into arrays of one size. CamVid and Cityscapes are street scenes and are made
smaller as a whole; the pictures of VOC differ in size and are cut, or filled with void, around
their centre, as RG's published code does. Of those, `margin` more pixels can be kept on each side
of what a network sees, so that random crops can move.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rgkit.data import scenes
from rgkit.data.source import (
    VOID,
    Bytes,
    DataError,
    Dataset,
    Item,
    Row,
    Source,
    named,
    opened,
    read,
    root,
)

_STREETS = "sky building pole road pavement tree sign fence car pedestrian bicyclist"
_OBJECTS = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike "
    "person plant sheep sofa train monitor"
)
_CITIES = (
    "road sidewalk building wall fence pole light sign vegetation terrain sky person rider car "
    "truck bus train motorcycle bicycle"
)


@dataclass(frozen=True)
class Masked(Source):
    """A set of pictures and masks.

    Attributes
    ----------
    void : labels that are void besides 255
    ids : the set's own numbers of the classes, where they are not 0, 1, 2, ...; others are void
    wide : width over height; 0 for pictures of all sizes, which are cut to a square
    """

    void: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    wide: float = 0.0


def _listed(folder: Path, ask: str) -> list[Path]:
    files = (path for path in folder.glob(ask) if path.is_file())
    found = sorted(path for path in files if not path.name.startswith("."))
    if not found:
        raise DataError(f"{folder}/{ask} is not there; copy the data set again")
    return found


def _camvid(folder: Path, split: str) -> list[Item]:
    """SegNet's layout: train and trainannot, test and testannot, the same names in both."""
    images = _listed(folder / "camvid" / split, "*.*")
    return [(path, folder / "camvid" / f"{split}annot" / f"{path.stem}.png") for path in images]


def _voc(folder: Path, split: str) -> list[Item]:
    """torchvision's layout; the lists of segmentation name the pictures."""
    base = folder / "VOCdevkit" / "VOC2012"
    names = base / "ImageSets" / "Segmentation" / f"{'val' if split == 'test' else split}.txt"
    if not names.is_file():
        raise DataError(f"{names} is not there; copy the data set again")
    every = names.read_text().split()
    pictures = {path.stem: path for path in (base / "JPEGImages").iterdir()}
    lost = [name for name in every if name not in pictures]
    if lost:
        raise DataError(f"{names.name} names {lost[0]!r}, which is not in {base / 'JPEGImages'}")
    return [(pictures[n], base / "SegmentationClass" / f"{n}.png") for n in every]


def _cities(folder: Path, split: str) -> list[Item]:
    """torchvision's layout, fine annotations; val is what is tested on."""
    part = "val" if split == "test" else split
    images = _listed(folder / "leftImg8bit" / part, "*/*_leftImg8bit.png")
    fine = folder / "gtFine" / part
    names = [path.name.replace("_leftImg8bit", "_gtFine_labelIds") for path in images]
    return [(p, fine / p.parent.name / n) for p, n in zip(images, names, strict=True)]


_CAMVID = Masked((367, 233), tuple(_STREETS.split()), files=_camvid, void=(11,), wide=4 / 3)
_VOC = Masked((1_464, 1_449), tuple(_OBJECTS.split()), files=_voc)
# "camvid" is a copy that was made smaller by WebP, "camvid-png" whatever else lies there;
# "voc2012-2007" is a copy of the pictures of that year, cut to 224 pixels.
SOURCES = {
    "camvid": replace(_CAMVID, known="febd9e1e7350596f"),
    "camvid-png": _CAMVID,
    "voc2012": _VOC,
    "voc2012-2007": replace(_VOC, sizes=(311, 321), known="0fdf597f9c3c651d"),
    "cityscapes": Masked(
        (2_975, 500), tuple(_CITIES.split()), files=_cities, wide=2.0,
        ids=(7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33),
    ),
    "scenes": Masked((600, 200), ("background", *scenes.CLASSES), scenes.FINGERPRINT, True),
}  # fmt: skip


def _labelled(mask: NDArray[np.uint8], source: Masked, path: Path) -> NDArray[np.uint8]:
    """Give the labels their place in the order of the classes, and void 255."""
    ids = source.ids or tuple(range(len(source.classes)))
    table = np.full(256, VOID if source.ids else 254, np.uint8)  # 254 is what no set has
    table[list(ids)] = np.arange(len(ids))
    table[[VOID, *source.void]] = VOID
    labels = table[mask]
    if (labels == 254).any():
        odd = int(mask[labels == 254][0])
        raise DataError(
            f"{path} has the label {odd}; this set has 0 to {len(ids) - 1}, and {VOID} for void"
        )
    return labels


def _read(item: Item, source: Masked) -> tuple[Image.Image, Image.Image]:
    """Return a picture and its mask of the same size, as they are in their files."""
    picture, mask = opened(item[0]).convert("RGB"), opened(item[1])
    if picture.size != mask.size:
        sizes = " and ".join(f"{w}x{h}" for w, h in (picture.size, mask.size))
        raise DataError(f"{item[0].name} and its mask {item[1]} differ in size: {sizes}")
    if mask.mode not in ("L", "P"):
        raise DataError(f"{item[1]} has the mode {mask.mode}; a mask has one number a pixel")
    return picture, Image.fromarray(_labelled(np.asarray(mask), source, item[1]))


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


@functools.lru_cache(maxsize=2)
def _load(name: str, size: int, margin: int, folder: Path) -> Dataset:
    source = SOURCES[name]
    if source.embedded:
        return Dataset(source, *scenes.drawn(source.sizes, "masks", size), source.known)
    # What is made smaller as a whole has nothing beyond its rim.
    margin = 0 if source.wide else margin
    height = size + 2 * margin
    width = round(size * source.wide / 8) * 8 if source.wide else height

    def one(item: Item, split: str) -> Row:
        picture, mask = _read(item, source)
        digest = hashlib.sha256(picture.tobytes() + mask.tobytes()).digest()
        return digest, *fit(picture, mask, height, width, bool(source.wide))

    return replace(read(SOURCES, name, folder, one), margin=margin)


def load(name: str, size: int, margin: int = 0) -> Dataset:
    """Load a set by name, at a size.

    Parameters
    ----------
    name : camvid, voc2012, cityscapes, or scenes, which is embedded
    size : height of what a network sees; the width follows from the set
    margin : real pixels beyond that on each side, for random crops; only pictures that are cut
        have them, see `rgkit.data.source.Dataset.margin`

    Returns
    -------
    pictures uint8 [N, 3, height + 2 margin, width + 2 margin] and masks without the second axis,
    from 0 to classes - 1, or 255 for void; those to test on are of the same size

    Raises
    ------
    DataError
        Names the file that is missing, cannot be read, differs in size from its picture, or has a
        label that the set does not have.

    Examples
    --------
    >>> found = load("scenes", 32)
    >>> found.train.images.shape, found.train.targets.shape, len(found.source.classes)
    ((600, 3, 32, 32), (600, 32, 32), 11)
    """
    named(SOURCES, name)
    if size < 8 or margin < 0:
        raise DataError(f"size={size}, margin={margin} given; 8 or more, and 0 or more")
    return _load(name, size, margin, root())
