"""Where the files of segmentation sets lie, and what the numbers in their masks mean."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rgkit.data import FINGERPRINTS as IMAGES
from rgkit.data import DataError, root

_CAMVID = "sky building pole road pavement tree sign fence car pedestrian bicyclist"
_VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike "
    "person plant sheep sofa train monitor"
)
_CITIES = (
    "road sidewalk building wall fence pole light sign vegetation terrain sky person rider car "
    "truck bus train motorcycle bicycle"
)
# Cityscapes' own numbers of the 19 classes that are evaluated, in order; all others are void.
CITY_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

Pair = tuple[Path, Path]


@dataclass(frozen=True)
class Layout:
    """Where a set's pairs are, what its masks mean, and how wide it is for its height.

    Attributes
    ----------
    pairs : from the folder of all data and "train" or "test" to the files
    classes : their names, in the order of the labels
    void : labels that are void besides 255
    ids : the set's own numbers of the classes, where they are not 0, 1, 2, ...
    wide : width over height; 0 for pictures of all sizes, which are cut to a square
    """

    pairs: Callable[[Path, str], list[Pair]]
    classes: tuple[str, ...]
    void: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    wide: float = 0.0


# Of the pixels of sets whose records are committed: a run's key is known where the data are not.
# "camvid" is a copy that was made smaller by WebP, "camvid-png" whatever else lies there;
# "voc2012-2007" is a copy of the pictures of that year, cut to 224 pixels.
FINGERPRINTS = {"camvid": "febd9e1e7350596f", "scenes": IMAGES["scenes"]}
FINGERPRINTS |= {"voc2012-2007": "0fdf597f9c3c651d"}
# Images to train on and to test on, of the whole sets.
# Mean and deviation of each colour, of pixels from 0 to 1, as the published code has them.
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = {
    "camvid": (367, 233),
    "camvid-png": (367, 233),
    "voc2012": (1_464, 1_449),
    "voc2012-2007": (311, 321),
    "cityscapes": (2_975, 500),
    "scenes": (600, 200),
}


def _listed(folder: Path, ask: str) -> list[Path]:
    files = (path for path in folder.glob(ask) if path.is_file())
    found = sorted(path for path in files if not path.name.startswith("."))
    if not found:
        raise DataError(f"{folder}/{ask} is not there; copy the data set again")
    return found


def _camvid(folder: Path, split: str) -> list[Pair]:
    """SegNet's layout: train and trainannot, test and testannot, the same names in both."""
    images = _listed(folder / "camvid" / split, "*.*")
    return [(path, folder / "camvid" / f"{split}annot" / f"{path.stem}.png") for path in images]


def _voc(folder: Path, split: str) -> list[Pair]:
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


def _cities(folder: Path, split: str) -> list[Pair]:
    """torchvision's layout, fine annotations; val is what is tested on."""
    part = "val" if split == "test" else split
    images = _listed(folder / "leftImg8bit" / part, "*/*_leftImg8bit.png")
    fine = folder / "gtFine" / part
    names = [path.name.replace("_leftImg8bit", "_gtFine_labelIds") for path in images]
    return [(p, fine / p.parent.name / n) for p, n in zip(images, names, strict=True)]


_STREETS = Layout(_camvid, tuple(_CAMVID.split()), void=(11,), wide=4 / 3)
_OBJECTS = Layout(_voc, tuple(_VOC.split()))
LAYOUTS = {
    "camvid": _STREETS,
    "camvid-png": _STREETS,
    "voc2012": _OBJECTS,
    "voc2012-2007": _OBJECTS,
    "cityscapes": Layout(_cities, tuple(_CITIES.split()), ids=CITY_IDS, wide=2.0),
}


def available(name: str) -> bool:
    """Say whether a set can be loaded here without a network."""
    if name == "scenes":
        return True
    try:
        return all(path.is_file() for path in LAYOUTS[name].pairs(root(), "train")[0])
    except (DataError, OSError):
        return False


def fingerprint(name: str) -> str:
    """Return what names the data of a set without reading their pixels.

    Where it is not known, it is made of the names and sizes of the files; "absent" without files.
    """
    return FINGERPRINTS.get(name) or _listing(name, root())


@functools.lru_cache
def _listing(name: str, folder: Path) -> str:
    said = []
    try:
        for split in ("train", "test"):
            files = [path for pair in LAYOUTS[name].pairs(folder, split) for path in pair]
            said += [f"{split} {path.name} {path.stat().st_size}" for path in files]
    except (DataError, OSError):
        return "absent"
    return hashlib.sha256("\n".join(sorted(said)).encode()).hexdigest()[:16]
