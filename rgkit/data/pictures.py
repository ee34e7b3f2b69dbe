"""Pictures with masks, and pairs of pictures: real sets by their folders, and embedded scenes.

A set is read once into arrays of one size. `MASKS` have a class for every pixel: the
street scenes of CamVid are made smaller as a whole; the pictures of VOC differ in size and are cut,
or filled with void, around their centre, as RG's published code does. `PAIRS` are pix2pix folders,
whose files hold both pictures side by side, A on the left and B on the right.

A `margin` is of real pixels on each side of what a network sees, so that random crops can move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from rgkit.data import source
from rgkit.data.scenes import CLASSES, FINGERPRINT, VOID
from rgkit.data.source import Bytes, DataError, Dataset, Item, Row, Source, Split

KINDS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

_STREETS = "sky building pole road pavement tree sign fence car pedestrian bicyclist"
_OBJECTS = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike "
    "person plant sheep sofa train monitor"
)


class Masked(Source):
    """A set of pictures and masks.

    Attributes
    ----------
    void : labels that are void besides 255
    wide : width over height; 0 for pictures of all sizes, which are cut to a square
    """

    void: tuple[int, ...] = ()
    wide: float = 0.0

    def row(self, item: Item, split: str, size: int, margin: int) -> Row:
        """Return a picture and its mask at a size, after the hash of both as they are."""
        both, height = _with_mask(item, self), size + 2 * margin
        width = round(size * self.wide / 8) * 8 if self.wide else height
        return _hash(*both), *fit(*both, height, width, bool(self.wide))


class Paired(Source):
    """A set of pairs; `shown` says in words what A and B show."""

    shown: tuple[str, str] = ("", "")

    def row(self, item: Item, split: str, size: int, margin: int) -> Row:
        """Return both pictures at a size, after the hash of both as they are."""
        both, side = _halves(item[0]), size + (2 * margin if split == "train" else 0)
        # Bicubic, as in pix2pix; Pillow takes the mean of what is made smaller.
        small = [half.resize((side, side), Image.Resampling.BICUBIC) for half in both]
        a, b = (np.asarray(half).transpose(2, 0, 1) for half in small)
        return _hash(*both), a, b


def _listed(folder: Path, remedy: str = "copy the data set again") -> list[Path]:
    files = (path for path in folder.glob("*") if path.suffix.lower() in KINDS)
    found = sorted(path for path in files if not path.name.startswith("."))
    if not found:
        raise DataError(f"{folder / '*'}: no pictures; {remedy}")
    return found


def _camvid(folder: Path, split: str) -> list[Item]:
    """SegNet's layout: train and trainannot, test and testannot, the same names in both."""
    images = _listed(folder / "camvid" / split)
    return [(path, folder / "camvid" / f"{split}annot" / f"{path.stem}.png") for path in images]


def _voc(folder: Path, split: str) -> list[Item]:
    """torchvision's layout; the lists of segmentation name the pictures."""
    base = folder / "VOCdevkit" / "VOC2012"
    names = base / "ImageSets" / "Segmentation" / f"{'val' if split == 'test' else split}.txt"
    if not names.is_file():
        raise DataError(f"{names} is not there; copy the data set again")
    every = names.read_text("utf-8").split()
    pictures = {path.stem: path for path in (base / "JPEGImages").iterdir()}
    lost = [name for name in every if name not in pictures]
    if lost:
        raise DataError(f"{names.name} names {lost[0]!r}, which is not in {base / 'JPEGImages'}")
    return [(pictures[n], base / "SegmentationClass" / f"{n}.png") for n in every]


def _pix2pix(name: str, folder: Path, split: str) -> list[Item]:
    """pix2pix's layout: the parts of a folder are train and val."""
    remedy = (
        f"unpack pix2pix's {name} there (train and val, both pictures of a pair side by side), "
        "under the folder that RGKIT_DATA names"
    )
    place = folder / name / ("val" if split == "test" else split)
    return [(path,) for path in _listed(place, remedy)]


def _pairs(name: str, sizes: tuple[int, int], a: str, b: str) -> Paired:
    return Paired(sizes, files=partial(_pix2pix, name), shown=(a, b))


_CAMVID = Masked((367, 233), tuple(_STREETS.split()), files=_camvid, void=(11,), wide=4 / 3)
_VOC = Masked((1_464, 1_449), tuple(_OBJECTS.split()), files=_voc)
# "camvid" is a copy that was made smaller by WebP, "camvid-png" whatever else lies there;
# "voc2012-2007" is a copy of the pictures of that year, cut to 224 pixels.
MASKS = {
    "camvid": replace(_CAMVID, known="febd9e1e7350596f"),
    "camvid-png": _CAMVID,
    "voc2012": _VOC,
    "voc2012-2007": replace(_VOC, sizes=(311, 321), known="0fdf597f9c3c651d"),
    "scenes": Masked((600, 200), ("background", *CLASSES), FINGERPRINT, True),
}
_MAPS = _pairs("maps", (1_096, 1_098), "aerial", "map")
# "maps-200" is the copy of maps that was measured: made smaller by WebP, with 200 of its val.
PAIRS = {
    "maps": _MAPS,
    "maps-200": replace(_MAPS, sizes=(1_096, 200), known="eb0a04b981b5843a"),
    "facades": _pairs("facades", (400, 100), "photo", "labels"),
    "cityscapes": _pairs("cityscapes", (2_975, 500), "photo", "labels"),
    "edges2shoes": _pairs("edges2shoes", (49_825, 200), "edges", "photo"),
    "scenes": Paired((600, 200), (), FINGERPRINT, True, shown=("picture", "labels")),
}


def margin_of(size: int) -> int:
    """Return the margin of pairs: as in pix2pix, 286 pixels are cut to 256.

    >>> margin_of(256), margin_of(64)
    (15, 4)
    """
    return round(15 * size / 256)


def words(name: str, direction: str) -> str:
    """Return what is made from what.

    >>> words("maps", "b_to_a")
    'map → aerial'
    """
    a, b = PAIRS[name].shown
    return f"{a} → {b}" if direction == "a_to_b" else f"{b} → {a}"


def _labelled(mask: Bytes, of: Masked, path: Path) -> Bytes:
    """Give the labels their place in the order of the classes, and void 255."""
    table, count = np.full(256, 254, np.uint8), len(of.classes)  # 254 is what no set has
    table[:count] = np.arange(count)
    table[[VOID, *of.void]] = VOID
    labels = table[mask]
    if (labels == 254).any():
        odd = int(mask[labels == 254][0])
        raise DataError(
            f"{path} has the label {odd}; this set has 0 to {count - 1}, and {VOID} for void"
        )
    return labels


def _with_mask(item: Item, of: Masked) -> tuple[Image.Image, Image.Image]:
    """Return a picture and its mask of the same size, as they are in their files."""
    picture, mask = source.opened(item[0]).convert("RGB"), source.opened(item[1])
    if picture.size != mask.size:
        sizes = " and ".join(f"{w}x{h}" for w, h in (picture.size, mask.size))
        raise DataError(f"{item[0].name} and its mask {item[1]} differ in size: {sizes}")
    if mask.mode not in ("L", "P"):
        raise DataError(f"{item[1]} has the mode {mask.mode}; a mask has one number a pixel")
    return picture, Image.fromarray(_labelled(np.asarray(mask), of, item[1]))


def _halves(path: Path) -> tuple[Image.Image, Image.Image]:
    both = source.opened(path).convert("RGB")
    if both.width % 2:
        raise DataError(f"{path} is {both.width} pixels wide; a pair has two halves of one width")
    half = both.width // 2
    return both.crop((0, 0, half, both.height)), both.crop((half, 0, both.width, both.height))


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
    size = width, height
    if whole:
        image = image.resize(size, Image.Resampling.BILINEAR)
        mask = mask.resize(size, Image.Resampling.NEAREST)
    else:
        corner = -((image.width - width) // 2), -((image.height - height) // 2)
        parts, image, mask = (image, mask), Image.new("RGB", size), Image.new("L", size, VOID)
        image.paste(parts[0], corner)
        mask.paste(parts[1], corner)
    return np.asarray(image).transpose(2, 0, 1), np.asarray(mask)


def _hash(*pictures: Image.Image) -> bytes:
    return hashlib.sha256(b"".join(picture.tobytes() for picture in pictures)).digest()


@lru_cache(maxsize=4)
def _load(of: Masked | Paired, name: str, size: int, margin: int, folder: Path) -> Dataset:
    masked = isinstance(of, Masked)
    if of.embedded:  # drawn at the size that is wanted
        splits = source.drawn(of, "masks" if masked else "maps", size, margin)
        return Dataset(of, *splits, of.known, margin)
    table: Mapping[str, Source] = MASKS if masked else PAIRS
    found = source.read(table, name, folder, partial(of.row, size=size, margin=margin))
    return replace(found, margin=margin)


def load_masks(name: str, size: int, margin: int = 0) -> Dataset:
    """Load a set of pictures with masks by name, at a size.

    Parameters
    ----------
    name : camvid, voc2012, or scenes, which is embedded; see `MASKS`
    size : height of what a network sees; the width follows from the set
    margin : only pictures that are cut have one, see `rgkit.data.source.Dataset.margin`

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
    >>> found = load_masks("scenes", 32)
    >>> found.train.images.shape, found.train.targets.shape, len(found.source.classes)
    ((600, 3, 32, 32), (600, 32, 32), 11)
    """
    of = source.named(MASKS, name)
    # What is made smaller as a whole has nothing beyond its rim, and scenes are drawn as they are.
    return _load(of, name, size, 0 if of.wide or of.embedded else margin, source.root())


def load_pairs(name: str, size: int, margin: int = 0, direction: str = "a_to_b") -> Dataset:
    """Load a set of pairs by name, at a size.

    Parameters
    ----------
    name : maps, maps-200, facades, cityscapes, edges2shoes, or scenes, which is embedded
    size : height and width of what a network sees
    margin : only pictures to train on have one
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
    >>> found = load_pairs("scenes", 32, 2, "b_to_a")
    >>> found.train.images.shape, found.test.targets.shape
    ((600, 3, 36, 36), (200, 3, 32, 32))
    """
    of = source.named(PAIRS, name)
    if of.embedded and size + 2 * margin > 256:
        given = f"size={size}, margin={margin} given"
        raise DataError(f"{given}; scenes have 16 to 256 pixels in all")
    found = _load(of, name, size, margin, source.root())
    if direction == "a_to_b":
        return found
    train, test = (Split(part.targets, part.images) for part in (found.train, found.test))
    return replace(found, train=train, test=test)
